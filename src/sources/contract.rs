//! What a pipeline promises itself of a source: its columns, and what happens when it breaks.

use datafusion::arrow::datatypes::Field;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::context::BuildContext;
use crate::spec::{Code, Diagnostic, Located, LocatedMap, Mark, Share};
use crate::table::{Column, ColumnType, is_date_format};

/// The contract of a source.
///
/// ```yaml
/// contract:
///   on_change: stop
///   on_bad_row: reject
///   at_most: 1%
///   columns:
///     company_number: { type: string, required: true, matches: "^[A-Z0-9]{8}$" }
/// ```
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Contract {
    /// What happens when the file has other columns than expected.
    pub on_change: OnChange,
    /// What happens to a row that is broken or does not fit its columns.
    pub on_bad_row: OnBadRow,
    /// The share of rejected rows above which the run stops before anything is published.
    pub at_most: Option<Share>,
    /// The share by which its rows may shrink from one run to the next.
    pub shrink_at_most: Option<Share>,
    /// Columns that must be there, and what they must hold.
    pub columns: LocatedMap<ContractColumn>,
}

/// What a contract says of a column.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContractColumn {
    /// Its type; that of the table schema, or text, otherwise.
    #[serde(rename = "type")]
    pub kind: Option<ColumnType>,
    /// How dates are written, as `dd/mm/yyyy`.
    pub format: Option<Located<String>>,
    /// Whether a row without a value is broken.
    #[serde(default)]
    pub required: bool,
    /// A regular expression that every value must match.
    pub matches: Option<Located<String>>,
}

/// What happens when a file has other columns than expected.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnChange {
    /// The run stops before a row is read.
    #[default]
    Stop,
    /// A warning; missing columns are null, further ones are text.
    Warn,
    /// Nothing; missing columns are null, further ones are text.
    Accept,
}

/// What happens to a bad row.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRow {
    /// It goes to the port `.rejected`.
    #[default]
    Reject,
    /// The run stops before anything is published.
    Stop,
}

/// A column, and the pattern that its values must match.
pub(super) type CheckedColumn = (Column, Option<regex::Regex>);

impl Contract {
    /// Joins the contract to the columns that a file has; notes contract columns that it lacks.
    pub(super) fn apply(
        &self,
        columns: Vec<Column>,
        context: &mut BuildContext<'_>,
    ) -> Vec<CheckedColumn> {
        let known: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
        for (name, _) in &self.columns.0 {
            if !known.contains(&name.value) {
                let fault = Diagnostic::error(
                    Code::UnknownColumn,
                    format!("the source has no column `{}`", name.value),
                    name.at,
                );
                let known = known.iter().map(String::as_str);
                context.found.push(fault.suggest(name, "columns", known));
            }
        }
        columns.into_iter().map(|column| self.apply_one(column, context)).collect()
    }

    fn apply_one(&self, mut column: Column, context: &mut BuildContext<'_>) -> CheckedColumn {
        let Some(said) = self.columns.get(&column.name) else { return (column, None) };
        column.kind = said.kind.unwrap_or(column.kind);
        column.required |= said.required;
        if let Some(format) = &said.format {
            if is_date_format(format) {
                column.format = Some(format.value.clone());
            } else {
                let message = format!("`{}` is not a date format", format.value);
                let fault = Diagnostic::error(Code::BadValue, message, format.at);
                context.found.push(fault.help("write it with `dd`, `mm`, `yyyy`: `dd/mm/yyyy`"));
            }
        }
        let pattern = said.pattern(context);
        (column, pattern)
    }

    /// Returns its columns as Arrow fields; text where it does not say a type.
    pub(super) fn fields(&self) -> Vec<Field> {
        let field = |(name, column): &(Located<String>, ContractColumn)| {
            Field::new(&name.value, column.kind.unwrap_or_default().data_type(), true)
        };
        self.columns.0.iter().map(field).collect()
    }

    /// Deals with a difference between the columns that are there and those that are expected.
    pub(super) fn changed(&self, message: String, at: Mark, context: &mut BuildContext<'_>) {
        let fault = match self.on_change {
            OnChange::Stop => Diagnostic::error(Code::File, message, at)
                .help("to run all the same, set `contract: { on_change: accept }`"),
            OnChange::Warn => Diagnostic::warning(Code::File, message, at),
            OnChange::Accept => return,
        };
        context.found.push(fault);
    }
}

impl ContractColumn {
    /// Reads the pattern; notes when it is none.
    pub(super) fn pattern(&self, context: &mut BuildContext<'_>) -> Option<regex::Regex> {
        let pattern = self.matches.as_ref()?;
        match regex::RegexBuilder::new(pattern).size_limit(1 << 20).build() {
            Ok(regex) => Some(regex),
            Err(error) => {
                let message = format!("not a regular expression: {}", last_line(&error));
                context.found.push(Diagnostic::error(Code::BadValue, message, pattern.at));
                None
            }
        }
    }
}

fn last_line(error: &regex::Error) -> String {
    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
