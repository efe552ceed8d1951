//! Text fields into typed columns, a whole row or nothing.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringViewBuilder,
    TimestampMicrosecondBuilder,
};

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

/// One parsed value, kept until the whole row is known to be good.
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
    columns: Vec<Checker>,
    parsed: Vec<Parsed>,
    builders: Vec<(usize, Builder)>,
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
    /// keeps those at the indices `kept`. `None` when a date format is not one.
    pub fn new(columns: &[(Column, Option<regex::Regex>)], kept: &[usize]) -> Option<Self> {
        let checkers: Option<Vec<Checker>> = columns
            .iter()
            .map(|(column, matches)| {
                Some(Checker {
                    name: column.name.clone(),
                    kind: column.kind,
                    format: DateFormat::new(column.format())?,
                    required: column.required,
                    matches: matches.clone(),
                })
            })
            .collect();
        let builders =
            kept.iter().map(|&index| (index, Builder::new(columns[index].0.kind))).collect();
        Some(Self { columns: checkers?, parsed: vec![Parsed::Null; columns.len()], builders })
    }

    /// Adds a row, or says why it does not fit and adds nothing. `fields` holds one text for each
    /// column and must be valid UTF-8.
    pub fn push(&mut self, fields: &[Cow<'_, [u8]>]) -> Result<(), RowFault> {
        for ((checker, field), parsed) in self.columns.iter().zip(fields).zip(&mut self.parsed) {
            *parsed = checker.check(field)?;
        }
        for (index, builder) in &mut self.builders {
            builder.push(self.parsed[*index], &fields[*index]);
        }
        Ok(())
    }

    /// Returns the kept columns and starts anew.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        self.builders.iter_mut().map(|(_, builder)| builder.finish()).collect()
    }
}

impl Checker {
    fn check(&self, field: &[u8]) -> Result<Parsed, RowFault> {
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
            None => Err(self.fault(format!("`{}` is not {}", shown(field), self.expected()))),
            Some(Parsed::Null) if self.required => Err(self.fault("no value".into())),
            Some(Parsed::Null) => Ok(Parsed::Null),
            Some(value) => match &self.matches {
                Some(pattern) if !std::str::from_utf8(field).is_ok_and(|t| pattern.is_match(t)) => {
                    Err(self.fault(format!("`{}` does not match `{pattern}`", shown(field))))
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
fn shown(field: &[u8]) -> String {
    const MOST: usize = 60;
    let text = String::from_utf8_lossy(field);
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
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

    fn push(&mut self, value: Parsed, field: &[u8]) {
        match (self, value) {
            (Self::Text(b), Parsed::Text) => b.append_option(std::str::from_utf8(field).ok()),
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

    fn faults(rows: &[[&str; 2]]) -> Vec<String> {
        let Some(mut builder) = RowBuilder::new(&columns(), &[0]) else { return vec![] };
        rows.iter()
            .filter_map(|row| builder.push(&row.map(|t| t.as_bytes().into())).err())
            .map(|fault| fault.to_string())
            .collect()
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
                "number: no value",
                "number: `9000` does not match `^[A-Z0-9]{8}$`",
                "born: `2020-02-31` is not a date",
            ]
        );
    }

    #[test]
    fn adds_a_row_whole_or_not_at_all() {
        let Some(mut builder) = RowBuilder::new(&columns(), &[0, 1]) else { return };
        assert!(builder.push(&[Cow::from(&b"90000001"[..]), Cow::from(&b"x"[..])]).is_err());
        assert!(builder.push(&[Cow::from(&b"90000002"[..]), Cow::from(&b""[..])]).is_ok());
        let arrays = builder.finish();
        assert_eq!((arrays[0].len(), arrays[1].len(), arrays[1].null_count()), (1, 1, 1));
    }
}
