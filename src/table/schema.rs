//! Table schemas: the columns that a delimited file promises, from `schemas/*.yaml`.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use schemars::JsonSchema;
use serde::Deserialize;

/// The columns of a kind of file.
///
/// ```yaml
/// name: prices
/// columns:
///   - { name: sku, header: "SKU", type: string, required: true }
///   - { name: valid_from, header: "Valid From", type: date, format: dd/mm/yyyy }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableSchema {
    /// Name by which a source asks for it.
    pub name: String,
    /// What the file is and where it comes from.
    pub description: Option<String>,
    /// Its columns; the file may hold them in another order.
    pub columns: Vec<Column>,
}

/// A column of a file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name in SQL.
    pub name: String,
    /// Its name in the header line, compared without surrounding spaces; the SQL name otherwise.
    pub header: Option<String>,
    /// What its values look like.
    #[serde(rename = "type", default)]
    pub kind: ColumnType,
    /// How dates are written: `dd`, `mm` and `yyyy` with separators. `yyyy-mm-dd` otherwise.
    pub format: Option<String>,
    /// Whether a row without a value is broken.
    #[serde(default)]
    pub required: bool,
    /// The first vintage of the file had no such column: it may be missing and is null then.
    #[serde(default)]
    pub may_be_absent: bool,
}

/// The type of a column.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Text; empty is null.
    #[default]
    String,
    /// A whole number of 64 bits.
    Int,
    /// A number.
    Float,
    /// `true` or `false`, in any case.
    Bool,
    /// A day.
    Date,
    /// A moment in UTC, written as RFC 3339.
    Timestamp,
}

impl ColumnType {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::String, Self::Int, Self::Float, Self::Bool, Self::Date, Self::Timestamp];

    /// Returns its name in YAML.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
        }
    }

    /// Returns the type with a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Says whether an Arrow column can stand for one of this type.
    pub fn takes(self, data_type: &DataType) -> bool {
        match self {
            Self::String => {
                matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)
            }
            Self::Int => data_type.is_integer(),
            Self::Float => data_type.is_numeric(),
            Self::Bool => *data_type == DataType::Boolean,
            Self::Date => *data_type == DataType::Date32,
            Self::Timestamp => matches!(data_type, DataType::Timestamp(_, _)),
        }
    }

    /// Returns the Arrow type.
    pub fn data_type(self) -> DataType {
        match self {
            Self::String => DataType::Utf8View,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

impl Column {
    /// Makes a text column named after its header.
    pub fn text(name: String, header: &str) -> Self {
        Self {
            name,
            header: Some(header.to_owned()),
            kind: ColumnType::String,
            format: None,
            required: false,
            may_be_absent: false,
        }
    }

    /// Returns the name that the header line has for it.
    pub fn header(&self) -> &str {
        self.header.as_deref().unwrap_or(&self.name)
    }

    /// Returns how its dates are written.
    pub fn format(&self) -> &str {
        self.format.as_deref().unwrap_or("yyyy-mm-dd")
    }

    /// Returns the Arrow field.
    pub fn field(&self) -> Field {
        Field::new(&self.name, self.kind.data_type(), true)
    }
}

/// The schemas that the binary carries, by name.
const BUILT_IN: &[(&str, &str)] =
    &[("basic_company_data", include_str!("../../schemas/basic_company_data.yaml"))];

/// Returns a table schema that the binary carries.
pub fn built_in(name: &str) -> Option<TableSchema> {
    let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
    serde_saphyr::from_str(text).ok()
}

/// Returns the columns of every source's `.rejected` port.
pub fn rejected_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("file", DataType::Utf8View, false),
        Field::new("line", DataType::Int64, false),
        Field::new(super::REASON, DataType::Utf8View, false),
        Field::new("raw", DataType::Utf8View, false),
    ]))
}

/// Turns a header name into a SQL name: `RegAddress.CareOf` becomes `reg_address_care_of`.
pub fn snake_case(header: &str) -> String {
    let mut name = String::new();
    let mut before = ' ';
    for c in header.trim().chars() {
        if c.is_alphanumeric() {
            let starts_word = c.is_uppercase() && (before.is_lowercase() || before.is_numeric());
            if starts_word && !name.is_empty() && !name.ends_with('_') {
                name.push('_');
            }
            name.extend(c.to_lowercase());
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
        before = c;
    }
    let name = name.trim_end_matches('_');
    match name.chars().next() {
        None => "column".to_owned(),
        Some(first) if first.is_numeric() => format!("_{name}"),
        Some(_) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_the_register_of_companies() {
        let schema = built_in("basic_company_data").map(|s| s.columns);
        let columns = schema.unwrap_or_default();
        assert_eq!(columns.len(), 55);
        assert_eq!(columns.iter().filter(|c| c.may_be_absent).count(), 2);
        assert_eq!(columns.iter().filter(|c| c.kind == ColumnType::Date).count(), 18);
        assert!(columns.iter().all(|c| c.header() == c.header().trim()));
    }

    #[test]
    fn makes_sql_names() {
        for (header, name) in [
            (" CompanyNumber", "company_number"),
            ("RegAddress.CareOf", "reg_address_care_of"),
            ("URI", "uri"),
            ("E-mail (work)", "e_mail_work"),
            ("2nd line", "_2nd_line"),
            ("…", "column"),
        ] {
            assert_eq!(snake_case(header), name);
        }
    }
}
