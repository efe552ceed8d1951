//! A test of a pipeline, as it stands in its file.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Code, Diagnostic, Located, LocatedMap, Mark, Text};

/// A test: rows that stand in for sources, and rows that are expected of nodes, ports and sinks.
///
/// ```yaml
/// tests:
///   - name: keeps a proposal
///     at: 2026-11-02T09:00:00Z
///     given:
///       register: { columns: [company_number, company_status], rows: [[90000001, Active]] }
///     expect:
///       leads: { columns: [company_number], rows: [] }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestCase {
    /// What it shows, as a sentence.
    pub name: Located<String>,
    /// The moment at which the run stands still, as RFC 3339; the present otherwise.
    #[serde(default)]
    pub at: Option<Located<String>>,
    /// How often the pipeline runs, 1 otherwise: what holds after the last must hold after each.
    #[serde(default)]
    pub repeat: Option<Located<u32>>,
    /// Values of variables.
    #[serde(default)]
    #[schemars(with = "LocatedMap<Text>")]
    pub vars: LocatedMap<Located<String>>,
    /// Rows of sources; a source that is not named has none.
    #[serde(default)]
    pub given: LocatedMap<TestRows>,
    /// Words of the error with which the run must fail.
    #[serde(default)]
    pub fails: Option<Located<String>>,
    /// Rows of nodes, ports and sinks, in any order.
    #[serde(default)]
    pub expect: LocatedMap<TestRows>,
}

/// A row as texts; `None` is null.
pub type Row = Vec<Option<String>>;

/// Rows written down. Values are texts that are read as the type of their column; `null` is none.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestRows {
    /// The columns; others are null when given, and not looked at when expected.
    #[serde(default)]
    pub columns: Vec<Located<String>>,
    /// The rows, each with a value for every column.
    #[serde(default)]
    #[schemars(with = "Vec<Vec<serde_json::Value>>")]
    pub rows: Located<Vec<Located<Row>>>,
    /// A CSV file that holds columns and rows instead; empty fields are null.
    #[serde(default)]
    pub file: Option<Located<String>>,
}

impl TestRows {
    /// Returns the texts of a column, one for each row; nulls when there is no such column.
    pub fn column(&self, name: &str) -> Vec<Option<&str>> {
        let place = self.columns.iter().position(|column| column.value == name);
        let rows = self.rows.value.iter();
        rows.map(|row| place.and_then(|place| row.value.get(place)?.as_deref())).collect()
    }

    /// Returns where a row stands.
    pub fn row_at(&self, row: usize) -> Mark {
        self.rows.value.get(row).map_or(self.rows.at, |row| row.at)
    }

    /// Finds rows that do not have a value for every column.
    pub fn check(&self) -> Vec<Diagnostic> {
        let n_columns = self.columns.len();
        let rows = self.rows.value.iter().filter(|row| row.value.len() != n_columns);
        rows.map(|row| {
            let message = format!("{} values for {n_columns} columns", row.value.len());
            Diagnostic::error(Code::BadValue, message, row.at)
        })
        .collect()
    }

    /// Says that a value is none of its column's type.
    pub fn misfit(&self, row: usize, column: &str, text: Option<&str>, kind: &str) -> Diagnostic {
        let text = text.unwrap_or("null");
        let message = format!("`{text}` is no value of the column `{column}`, which is {kind}");
        Diagnostic::error(Code::WrongType, message, self.row_at(row))
    }
}
