//! Whether a text is a value of its column, and which.

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

/// One parsed value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parsed {
    Null,
    Int(i64),
    Float(f64),
    Bool(bool),
    Date(i32),
    /// Text is not copied: the field itself is the value.
    Text,
}

/// What a column asks of its texts.
pub(super) struct Checker {
    name: String,
    kind: ColumnType,
    format: DateFormat,
    required: bool,
    matches: Option<regex::Regex>,
}

impl Checker {
    /// Makes the checker of a column, with a pattern that its text must match or none. `None` when
    /// its date format is not one.
    pub(super) fn new(column: &Column, matches: Option<regex::Regex>) -> Option<Self> {
        Some(Self {
            name: column.name.clone(),
            kind: column.kind,
            format: DateFormat::new(column.format())?,
            required: column.required,
            matches,
        })
    }

    /// Says whether a row without a value does not fit.
    pub(super) fn is_required(&self) -> bool {
        self.required
    }

    /// Says whether there are texts that do not fit.
    pub(super) fn may_refuse(&self) -> bool {
        self.kind != ColumnType::String || self.required || self.matches.is_some()
    }

    /// Hands the value of each text on, null for rows that do not fit; notes those that were not
    /// noted before.
    pub(super) fn each<'t>(
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
