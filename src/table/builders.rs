//! Text fields into typed columns, a whole row or nothing. Fields are gathered row by row, as they
//! are read, and parsed column by column, as they are kept.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder,
    StringViewBuilder, TimestampMicrosecondBuilder,
};

use datafusion::arrow::compute::filter;

use super::parse::{self, DateFormat};
use super::{Column, ColumnType};

/// Why a row does not fit its columns.
#[derive(Debug, PartialEq, Eq)]
pub struct RowFault {
    /// Name of the column.
    pub column: String,
    /// What is wrong with its value, in lowercase words.
    pub message: String,
}

impl std::fmt::Display for RowFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.column, self.message)
    }
}

/// Texts of some rows, of the columns that a [`RowBuilder`] needs, all in one place.
#[derive(Debug, Default)]
pub struct Texts {
    all: String,
    /// For each row, for each needed column, where its text is.
    bounds: Vec<(u32, u32)>,
    n_columns: usize,
    n_rows: usize,
    /// Where the text of the last row begins.
    row: usize,
}

impl Texts {
    /// Begins a row; its fields are parts of `raw`, or texts of their own, or else empty.
    pub fn begin(&mut self, raw: &str) {
        self.row = self.all.len();
        self.all.push_str(raw);
        self.n_rows += 1;
        self.bounds.resize(self.n_rows * self.n_columns, (0, 0));
    }

    /// Says which part of the row's raw text is the field of a needed column, counted from 0.
    #[inline]
    pub fn put(&mut self, column: usize, from: usize, to: usize) {
        let at = (self.n_rows - 1) * self.n_columns + column;
        self.bounds[at] = ((self.row + from) as u32, (self.row + to) as u32);
    }

    /// Gives a needed column a text that the raw text does not hold.
    pub fn put_text(&mut self, column: usize, text: &str) {
        let from = self.all.len() - self.row;
        self.all.push_str(text);
        self.put(column, from, from + text.len());
    }

    /// Returns how many rows there are.
    pub fn len(&self) -> usize {
        self.n_rows
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.n_rows == 0
    }

    /// Forgets the rows, and keeps the memory.
    pub fn clear(&mut self) {
        self.all.clear();
        self.bounds.clear();
        self.n_rows = 0;
    }

    /// Says whether a needed column is empty in all rows, as many columns are.
    fn is_blank(&self, column: usize) -> bool {
        let bounds = self.bounds.iter().skip(column).step_by(self.n_columns.max(1));
        bounds.into_iter().all(|(from, to)| from == to)
    }

    /// Returns the texts of a needed column, row by row.
    fn of(&self, column: usize) -> impl Iterator<Item = &str> {
        let bounds = self.bounds.iter().skip(column).step_by(self.n_columns.max(1));
        bounds.map(|(from, to)| self.all.get(*from as usize..*to as usize).unwrap_or_default())
    }
}

/// One parsed value.
#[derive(Clone, Copy, Debug)]
enum Parsed {
    Null,
    Int(i64),
    Float(f64),
    Bool(bool),
    Date(i32),
    /// Text is not copied: the field itself is the value.
    Text,
}

/// Builds typed columns from rows of text fields. Every column is checked, whether it is kept or
/// not, so that the rows that are accepted do not depend on what a query reads.
pub struct RowBuilder {
    /// The columns that are kept, or could refuse a row.
    needed: Vec<Needed>,
    /// For each column that is kept which one of those it is, in the order in which they are asked
    /// for.
    kept: Vec<usize>,
    /// For each row added whether it fits.
    fits: Vec<bool>,
    has_misfits: bool,
}

struct Needed {
    /// Which column it is.
    index: usize,
    checker: Checker,
    builder: Option<Builder>,
}

struct Checker {
    name: String,
    kind: ColumnType,
    format: DateFormat,
    required: bool,
    matches: Option<regex::Regex>,
}

enum Builder {
    Text(StringViewBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
}

impl RowBuilder {
    /// Makes a builder for `columns`, each with a pattern its text must match or none, that
    /// keeps those at the indices `kept`, each once. `None` when a date format is not one.
    pub fn new(columns: &[(Column, Option<regex::Regex>)], kept: &[usize]) -> Option<Self> {
        let mut needed = Vec::new();
        for (index, (column, matches)) in columns.iter().enumerate() {
            let checker = Checker {
                name: column.name.clone(),
                kind: column.kind,
                format: DateFormat::new(column.format())?,
                required: column.required,
                matches: matches.clone(),
            };
            let builder = kept.contains(&index).then(|| Builder::new(column.kind));
            if builder.is_some() || checker.may_refuse() {
                needed.push(Needed { index, checker, builder });
            }
        }
        let place = |index: &usize| needed.iter().position(|needed| needed.index == *index);
        let kept = kept.iter().map(place).collect::<Option<Vec<usize>>>()?;
        Some(Self { needed, kept, fits: Vec::new(), has_misfits: false })
    }

    /// Returns the columns that it needs, as indices, in the order in which [`Texts`] has them.
    pub fn needed(&self) -> impl Iterator<Item = usize> {
        self.needed.iter().map(|needed| needed.index)
    }

    /// Makes a place for texts.
    pub fn texts(&self) -> Texts {
        Texts { n_columns: self.needed.len(), ..Texts::default() }
    }

    /// Returns the rows that do not fit, in the order of their columns, and adds nothing.
    pub fn check(&self, texts: &Texts) -> Vec<(usize, RowFault)> {
        let mut faults = Vec::new();
        let mut fits = vec![true; texts.len()];
        for (column, needed) in self.needed.iter().enumerate() {
            let is_blank = || texts.is_blank(column) && !needed.checker.required;
            if needed.checker.may_refuse() && !is_blank() {
                needed.checker.each(texts.of(column), &mut fits, &mut faults, |_, _| {});
            }
        }
        faults
    }

    /// Adds the rows that fit; returns those that do not, in the order of their columns.
    pub fn push(&mut self, texts: &Texts) -> Vec<(usize, RowFault)> {
        let mut faults = Vec::new();
        let mut fits = vec![true; texts.len()];
        for (column, Needed { checker, builder, .. }) in self.needed.iter_mut().enumerate() {
            let n_blank = if texts.is_blank(column) { texts.len() } else { 0 };
            let texts = texts.of(column);
            match builder {
                None if n_blank > 0 && !checker.required => {}
                Some(builder) if n_blank > 0 && !checker.required => builder.push_nulls(n_blank),
                Some(Builder::Text(builder)) if !checker.may_refuse() => {
                    texts.for_each(|text| builder.append_option(some(text)));
                }
                Some(builder) => checker.each(texts, &mut fits, &mut faults, |value, text| {
                    builder.push(value, text);
                }),
                None => checker.each(texts, &mut fits, &mut faults, |_, _| {}),
            }
        }
        self.has_misfits |= !faults.is_empty();
        self.fits.extend(fits);
        faults
    }

    /// Returns the kept columns with the rows that fit, and starts anew.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        let fits = BooleanArray::from(std::mem::take(&mut self.fits));
        let has_misfits = std::mem::take(&mut self.has_misfits);
        let mut arrays = Vec::with_capacity(self.kept.len());
        for place in &self.kept {
            let Some(builder) = &mut self.needed[*place].builder else { continue };
            let built = builder.finish();
            // As long as each other: the filter cannot fail.
            arrays.push(if has_misfits { filter(&built, &fits).unwrap_or(built) } else { built });
        }
        arrays
    }
}

/// An empty text is no value.
fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

impl Checker {
    /// Says whether there are texts that do not fit.
    fn may_refuse(&self) -> bool {
        self.kind != ColumnType::String || self.required || self.matches.is_some()
    }

    /// Hands the value of each text on, null for rows that do not fit; notes those that were not
    /// noted before.
    fn each<'t>(
        &self,
        texts: impl Iterator<Item = &'t str>,
        fits: &mut [bool],
        faults: &mut Vec<(usize, RowFault)>,
        mut take: impl FnMut(Parsed, &str),
    ) {
        for (row, (text, fits)) in texts.zip(fits).enumerate() {
            match self.check(text) {
                Ok(value) => take(value, text),
                Err(fault) => {
                    if std::mem::replace(fits, false) {
                        faults.push((row, fault));
                    }
                    take(Parsed::Null, text);
                }
            }
        }
    }

    #[inline]
    fn check(&self, text: &str) -> Result<Parsed, RowFault> {
        let field = text.as_bytes();
        let value = match self.kind {
            ColumnType::String if field.is_empty() => Some(Parsed::Null),
            ColumnType::String => Some(Parsed::Text),
            _ if parse::is_missing(field) => Some(Parsed::Null),
            ColumnType::Int => parse::int(field).map(Parsed::Int),
            ColumnType::Float => parse::float(field).map(Parsed::Float),
            ColumnType::Bool => parse::boolean(field).map(Parsed::Bool),
            ColumnType::Date => self.format.parse(field).map(Parsed::Date),
            ColumnType::Timestamp => parse::timestamp(field).map(Parsed::Int),
        };
        match value {
            None => Err(self.fault(format!("`{}` is not {}", shown(text), self.expected()))),
            Some(Parsed::Null) if self.required => Err(self.fault("no value".into())),
            Some(Parsed::Null) => Ok(Parsed::Null),
            Some(value) => match &self.matches {
                Some(pattern) if !pattern.is_match(text) => {
                    Err(self.fault(format!("`{}` does not match `{pattern}`", shown(text))))
                }
                _ => Ok(value),
            },
        }
    }

    fn fault(&self, message: String) -> RowFault {
        RowFault { column: self.name.clone(), message }
    }

    fn expected(&self) -> &'static str {
        match self.kind {
            ColumnType::String => "text",
            ColumnType::Int => "a whole number",
            ColumnType::Float => "a number",
            ColumnType::Bool => "true or false",
            ColumnType::Date => "a date",
            ColumnType::Timestamp => "a moment",
        }
    }
}

/// Shortens a value for a message.
fn shown(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl Builder {
    fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::String => Self::Text(StringViewBuilder::new()),
            ColumnType::Int => Self::Int(Int64Builder::new()),
            ColumnType::Float => Self::Float(Float64Builder::new()),
            ColumnType::Bool => Self::Bool(BooleanBuilder::new()),
            ColumnType::Date => Self::Date(Date32Builder::new()),
            ColumnType::Timestamp => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
        }
    }

    #[inline]
    fn push(&mut self, value: Parsed, text: &str) {
        match (self, value) {
            (Self::Text(b), Parsed::Text) => b.append_value(text),
            (Self::Text(b), _) => b.append_null(),
            (Self::Int(b), Parsed::Int(n)) => b.append_value(n),
            (Self::Int(b), _) => b.append_null(),
            (Self::Float(b), Parsed::Float(n)) => b.append_value(n),
            (Self::Float(b), _) => b.append_null(),
            (Self::Bool(b), Parsed::Bool(v)) => b.append_value(v),
            (Self::Bool(b), _) => b.append_null(),
            (Self::Date(b), Parsed::Date(days)) => b.append_value(days),
            (Self::Date(b), _) => b.append_null(),
            (Self::Timestamp(b), Parsed::Int(micros)) => b.append_value(micros),
            (Self::Timestamp(b), _) => b.append_null(),
        }
    }

    fn push_nulls(&mut self, n: usize) {
        match self {
            Self::Text(b) => (0..n).for_each(|_| b.append_null()),
            Self::Int(b) => b.append_nulls(n),
            Self::Float(b) => b.append_nulls(n),
            Self::Bool(b) => b.append_nulls(n),
            Self::Date(b) => b.append_nulls(n),
            Self::Timestamp(b) => b.append_nulls(n),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(b) => Arc::new(b.finish()),
            Self::Int(b) => Arc::new(b.finish()),
            Self::Float(b) => Arc::new(b.finish()),
            Self::Bool(b) => Arc::new(b.finish()),
            Self::Date(b) => Arc::new(b.finish()),
            Self::Timestamp(b) => Arc::new(b.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<(Column, Option<regex::Regex>)> {
        let mut number = Column::text("number".into(), "number");
        number.required = true;
        let mut born = Column::text("born".into(), "born");
        born.kind = ColumnType::Date;
        vec![(number, regex::Regex::new("^[A-Z0-9]{8}$").ok()), (born, None)]
    }

    fn texts(builder: &RowBuilder, rows: &[[&str; 2]]) -> Texts {
        let mut texts = builder.texts();
        for [number, born] in rows {
            texts.begin(number);
            texts.put(0, 0, number.len());
            texts.put_text(1, born);
        }
        texts
    }

    fn faults(rows: &[[&str; 2]]) -> Vec<String> {
        let Some(mut builder) = RowBuilder::new(&columns(), &[0]) else { return vec![] };
        let texts = texts(&builder, rows);
        let faults = builder.check(&texts);
        assert_eq!(builder.push(&texts), faults);
        faults.iter().map(|(row, fault)| format!("{row} {fault}")).collect()
    }

    #[test]
    fn says_what_is_wrong_also_in_columns_that_are_not_kept() {
        assert_eq!(
            faults(&[
                ["90000001", "2020-01-31"],
                ["90000001", "NA"],
                ["", "2020-01-31"],
                ["9000", ""],
                ["90000001", "2020-02-31"],
            ]),
            [
                "2 number: no value",
                "3 number: `9000` does not match `^[A-Z0-9]{8}$`",
                "4 born: `2020-02-31` is not a date",
            ]
        );
    }

    #[test]
    fn adds_a_row_whole_or_not_at_all() {
        let Some(mut builder) = RowBuilder::new(&columns(), &[0, 1]) else { return };
        let rows = texts(&builder, &[["9000", "x"], ["90000001", "x"], ["90000002", ""]]);
        let faults = builder.push(&rows);
        let faults: Vec<_> = faults.iter().map(|(row, fault)| (*row, &fault.column[..])).collect();
        assert_eq!(faults, [(0, "number"), (1, "born")]);
        let arrays = builder.finish();
        assert_eq!((arrays[0].len(), arrays[1].len(), arrays[1].null_count()), (1, 1, 1));
        assert_eq!(builder.finish()[0].len(), 0);
    }
}
