//! A test of a pipeline, as it stands in its file.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::{Code, Diagnostic, Located, LocatedMap, Mark, Period, Text};

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
    /// What stands in for the APIs that look-ups ask, by look-up.
    #[serde(default)]
    pub answers: LocatedMap<Vec<TestAnswer>>,
    /// Rows of nodes, ports and sinks, in any order; `calls` are those of look-ups.
    #[serde(default)]
    pub expect: Expected,
}

/// What a test expects.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Rows of nodes, ports and sinks.
    pub rows: LocatedMap<TestRows>,
    /// Calls that look-ups have made, in all runs so far.
    pub calls: LocatedMap<Located<u64>>,
}

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ExpectedVisitor;

        impl<'de> Visitor<'de> for ExpectedVisitor {
            type Value = Expected;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from nodes, ports and sinks to rows")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Expected, A::Error> {
                let mut expected = Expected::default();
                while let Some(key) = map.next_key::<Located<String>>()? {
                    match key.as_str() {
                        "calls" => expected.calls = map.next_value()?,
                        _ => expected.rows.0.push((key, map.next_value()?)),
                    }
                }
                Ok(expected)
            }
        }

        deserializer.deserialize_map(ExpectedVisitor)
    }
}

impl JsonSchema for Expected {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Expected".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let rows = generator.subschema_for::<TestRows>();
        json_schema!({
            "type": "object",
            "properties": { "calls": {
                "type": "object",
                "description": "Calls that look-ups have made, in all runs so far.",
                "additionalProperties": { "type": "integer", "minimum": 0 },
            } },
            "additionalProperties": rows,
        })
    }
}

/// What an API answers about a key in a test.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestAnswer {
    /// The values of `by`.
    #[schemars(with = "Vec<serde_json::Value>")]
    pub key: Located<Vec<String>>,
    /// The rows of the answer: values of the look-up's columns; others are null.
    #[serde(default)]
    #[schemars(with = "Vec<LocatedMap<serde_json::Value>>")]
    pub rows: Vec<LocatedMap<Option<String>>>,
    /// There is nothing about the key, and why in a word: `unknown`, `none`.
    #[serde(default)]
    pub missing: Option<Located<String>>,
    /// Responses that come before the answer, each a call.
    #[serde(default)]
    pub fail_first: Vec<TestFailure>,
    /// The response that comes to every call.
    #[serde(default)]
    pub fails: Option<TestFailure>,
}

/// A response that is no answer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestFailure {
    /// Its status: 429, 503.
    pub status: u16,
    /// How long the server says to wait.
    #[serde(default)]
    pub retry_after: Option<Period>,
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
