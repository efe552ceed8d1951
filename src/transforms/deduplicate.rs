//! `deduplicate`: keeps one row of those with the same key.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Operator, Planned, Transform};
use crate::context::Sql;
use crate::spec::{Code, Diagnostic, Located};

/// Keeps one row of those that agree in all of `by`: the first in the order of `prefer`. Rows
/// that are equal in that order too are told apart by a hash of all their columns, so that the
/// same rows, in whatever order they come, always keep the same one.
///
/// ```yaml
/// companies:
///   from: usable
///   deduplicate: { by: [company_number], prefer: [incorporation_date desc] }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deduplicate {
    /// The columns that make the key.
    pub by: Located<Vec<Located<String>>>,
    /// The order of preference, as in ORDER BY.
    #[serde(default)]
    pub prefer: Vec<Located<String>>,
}

#[async_trait]
impl Transform for Deduplicate {
    async fn plan(&self, from: &str, sql: &Sql) -> Result<Planned, Vec<Diagnostic>> {
        if self.by.is_empty() {
            let message = "`by` names no column";
            return Err(vec![Diagnostic::error(Code::BadValue, message, self.by.at)]);
        }
        let broken = |error: datafusion::common::DataFusionError| {
            vec![Diagnostic::error(Code::SqlPlan, error.strip_backtrace(), self.by.at)]
        };
        let rows = sql.table(from).await.map_err(broken)?;
        let mut found: Vec<Diagnostic> =
            self.by.iter().filter_map(|name| sql.column_of(&rows, name).err()).collect();
        let names = rows.schema().fields().iter().map(|field| field.name().as_str());
        let names: Vec<&str> = names.collect();
        let place = |name: &Located<String>| names.iter().position(|other| *other == name.value);
        let by = self.by.iter().filter_map(place).collect();
        let (rows, order) = match sql.with_order(rows.clone(), &self.prefer) {
            Ok(ordered) => ordered,
            Err(faults) => {
                found.extend(faults);
                return Err(found);
            }
        };
        if !found.is_empty() {
            return Err(found);
        }
        Ok(Planned { rows, operator: Some(Operator::First { by, order }) })
    }
}
