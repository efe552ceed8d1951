//! Text fields into typed columns, a whole row or nothing. Columns of text take their fields as they
//! come; the fields of others are gathered row by row and parsed column by column.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder,
    LargeStringArray, StringViewArray, TimestampMicrosecondBuilder,
};
use datafusion::arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::compute::filter;
use datafusion::arrow::error::ArrowError;

use super::checker::{Checker, Parsed, RowFault};
use super::texts::Texts;
use super::{Column, ColumnType};

/// Builds typed columns from rows of text fields. Every column is checked, whether it is kept or
/// not, so that the rows that are accepted do not depend on what a query reads.
///
/// Rows are added a block at a time: the fields of each row are handed in by [`Place`], with
/// [`put`](Self::put) or into [`Texts`], and [`push`](Self::push) ends the block.
pub struct RowBuilder {
    /// Columns of text that are kept and take every text.
    free: Vec<Free>,
    /// The columns that could refuse a row.
    checked: Vec<Checked>,
    /// For each column that is kept, in the order in which they are asked for, where it is.
    kept: Vec<Place>,
    /// For each row added whether it fits.
    fits: Vec<bool>,
    has_misfits: bool,
    /// Where a row that is added alone is gathered.
    alone: Texts,
}

/// Where a [`RowBuilder`] takes the fields of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// By [`RowBuilder::put`].
    Free(usize),
    /// In [`Texts`].
    Checked(usize),
}

struct Free {
    /// Which column it is.
    index: usize,
    texts: TextColumn,
}

struct Checked {
    /// Which column it is.
    index: usize,
    checker: Checker,
    builder: Option<Builder>,
}

enum Builder {
    Text(TextColumn),
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
        let (mut free, mut checked) = (Vec::new(), Vec::new());
        let mut places = vec![None; columns.len()];
        for (index, (column, matches)) in columns.iter().enumerate() {
            let checker = Checker::new(column, matches.clone())?;
            let is_kept = kept.contains(&index);
            if checker.may_refuse() {
                places[index] = Some(Place::Checked(checked.len()));
                let builder = is_kept.then(|| Builder::new(column.kind));
                checked.push(Checked { index, checker, builder });
            } else if is_kept {
                places[index] = Some(Place::Free(free.len()));
                free.push(Free { index, texts: TextColumn::default() });
            }
        }
        let kept = kept.iter().map(|&index| *places.get(index)?).collect::<Option<Vec<Place>>>()?;
        let alone = Texts::new(checked.len());
        Some(Self { free, checked, kept, fits: Vec::new(), has_misfits: false, alone })
    }

    /// Returns the columns of which it takes the fields, as indices, and where.
    pub fn places(&self) -> impl Iterator<Item = (usize, Place)> {
        let free = self.free.iter().map(|free| free.index);
        let checked = self.checked.iter().map(|checked| checked.index);
        let free = free.enumerate().map(|(place, index)| (index, Place::Free(place)));
        free.chain(checked.enumerate().map(|(place, index)| (index, Place::Checked(place))))
    }

    /// Makes a place for the texts of columns that are checked.
    pub fn texts(&self) -> Texts {
        Texts::new(self.checked.len())
    }

    /// Takes the field of the next row at a [`Place::Free`], in UTF-8. Nothing stands for no value.
    #[inline]
    pub fn put(&mut self, place: usize, text: &[u8]) {
        self.free[place].texts.push(text);
    }

    /// Returns the rows that do not fit, in the order of their columns, and adds nothing.
    pub fn check(&self, texts: &Texts) -> Vec<(usize, RowFault)> {
        let mut faults = Vec::new();
        let mut fits = vec![true; texts.len()];
        for (column, Checked { checker, .. }) in self.checked.iter().enumerate() {
            if checker.is_required() || !texts.is_blank(column) {
                checker.each(texts.of(column), &mut fits, &mut faults, |_, _| {});
            }
        }
        faults
    }

    /// Adds the rows that fit of those in `texts`, of which [`put`](Self::put) took the other
    /// fields or nothing; returns those that do not, in the order of their columns.
    pub fn push(&mut self, texts: &Texts) -> Vec<(usize, RowFault)> {
        let mut faults = Vec::new();
        let mut fits = vec![true; texts.len()];
        let n_rows = self.fits.len() + texts.len();
        for Free { texts, .. } in &mut self.free {
            texts.fill(n_rows);
        }
        for (column, Checked { checker, builder, .. }) in self.checked.iter_mut().enumerate() {
            let is_blank = !checker.is_required() && texts.is_blank(column);
            let texts = texts.of(column);
            match builder {
                None if is_blank => {}
                Some(builder) if is_blank => builder.push_nulls(fits.len()),
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

    /// Adds a row whose fields are told by the index of their column; says why if it does not fit.
    pub fn add<'t>(&mut self, field: impl Fn(usize) -> &'t str) -> Option<RowFault> {
        let mut texts = std::mem::take(&mut self.alone);
        texts.clear();
        texts.begin("");
        for place in 0..self.free.len() {
            let text = field(self.free[place].index);
            self.put(place, text.as_bytes());
        }
        for (place, checked) in self.checked.iter().enumerate() {
            texts.put_text(place, field(checked.index));
        }
        let fault = self.push(&texts).pop().map(|(_, fault)| fault);
        self.alone = texts;
        fault
    }

    /// Returns the kept columns with the rows that fit, and starts anew.
    ///
    /// # Errors
    ///
    /// When bytes that were [`put`](Self::put) are not UTF-8.
    pub fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        let fits = BooleanArray::from(std::mem::take(&mut self.fits));
        let has_misfits = std::mem::take(&mut self.has_misfits);
        let mut arrays = Vec::with_capacity(self.kept.len());
        for place in &self.kept {
            let built = match *place {
                Place::Free(place) => self.free[place].texts.finish()?,
                Place::Checked(place) => match &mut self.checked[place].builder {
                    Some(builder) => builder.finish()?,
                    None => continue,
                },
            };
            arrays.push(if has_misfits { filter(&built, &fits)? } else { built });
        }
        Ok(arrays)
    }
}

/// A column of texts one behind the other. An empty one is no value.
///
/// Arrow checks the UTF-8 of such a column at one stroke. It would check views one by one, which
/// takes longer than to make them.
struct TextColumn {
    bytes: Vec<u8>,
    /// Where each text begins, and where the last one ends.
    offsets: Vec<i64>,
}

impl Default for TextColumn {
    fn default() -> Self {
        Self { bytes: Vec::new(), offsets: vec![0] }
    }
}

impl TextColumn {
    #[inline]
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.offsets.push(self.bytes.len() as i64);
    }

    /// Adds rows without a value, up to `n_rows` rows in all.
    fn fill(&mut self, n_rows: usize) {
        self.offsets.resize(n_rows + 1, self.bytes.len() as i64);
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let n_rows = self.len();
        let mut next = Self {
            bytes: Vec::with_capacity(self.bytes.len()),
            offsets: Vec::with_capacity(n_rows + 1),
        };
        next.offsets.push(0);
        let Self { bytes, offsets } = std::mem::replace(self, next);
        if bytes.is_empty() {
            return Ok(Arc::new(StringViewArray::new_null(n_rows)));
        }
        let has_text = BooleanBuffer::collect_bool(n_rows, |n| offsets[n] < offsets[n + 1]);
        let nulls = Some(NullBuffer::new(has_text)).filter(|nulls| nulls.null_count() > 0);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let texts = LargeStringArray::try_new(offsets, Buffer::from_vec(bytes), nulls)?;
        Ok(Arc::new(StringViewArray::from(&texts)))
    }
}

impl Builder {
    fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::String => Self::Text(TextColumn::default()),
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
            (Self::Text(texts), Parsed::Text) => texts.push(text.as_bytes()),
            (Self::Text(texts), _) => texts.push(b""),
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
            Self::Text(texts) => texts.fill(texts.len() + n),
            Self::Int(b) => b.append_nulls(n),
            Self::Float(b) => b.append_nulls(n),
            Self::Bool(b) => b.append_nulls(n),
            Self::Date(b) => b.append_nulls(n),
            Self::Timestamp(b) => b.append_nulls(n),
        }
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Text(texts) => texts.finish()?,
            Self::Int(b) => Arc::new(b.finish()),
            Self::Float(b) => Arc::new(b.finish()),
            Self::Bool(b) => Arc::new(b.finish()),
            Self::Date(b) => Arc::new(b.finish()),
            Self::Timestamp(b) => Arc::new(b.finish()),
        })
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

    /// Gathers rows of `columns()`, both of which are checked.
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
        let Ok(arrays) = builder.finish() else { return };
        assert_eq!((arrays[0].len(), arrays[1].len(), arrays[1].null_count()), (1, 1, 1));
        assert!(builder.finish().is_ok_and(|arrays| arrays[0].is_empty()));
    }

    proptest::proptest! {
        #[test]
        fn texts_of_any_length_come_out_as_they_went_in(
            rows in proptest::collection::vec("[a-zé]{0,40}", 0..60),
            n_in_block in 1_usize..20,
        ) {
            let columns = [(Column::text("t".into(), "t"), None)];
            let Some(mut builder) = RowBuilder::new(&columns, &[0]) else { return Ok(()) };
            let places: Vec<_> = builder.places().collect();
            proptest::prop_assert_eq!(places, [(0, Place::Free(0))]);
            for block in rows.chunks(n_in_block) {
                let mut texts = builder.texts();
                for row in block {
                    texts.begin("");
                    builder.put(0, row.as_bytes());
                }
                proptest::prop_assert!(builder.push(&texts).is_empty());
            }
            let arrays = builder.finish();
            let expected: StringViewArray =
                rows.iter().map(|row| (!row.is_empty()).then_some(row)).collect();
            proptest::prop_assert!(arrays.is_ok_and(|arrays| *arrays[0] == expected));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        let columns = [(Column::text("t".into(), "t"), None)];
        let Some(mut builder) = RowBuilder::new(&columns, &[0]) else { return };
        let mut texts = builder.texts();
        texts.begin("");
        builder.put(0, b"\xFF");
        builder.push(&texts);
        assert!(builder.finish().is_err());
    }
}
