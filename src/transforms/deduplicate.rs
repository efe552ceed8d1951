//! `deduplicate`: keeps one row of those with the same key.

use async_trait::async_trait;
use datafusion::arrow::compute::SortOptions;
use datafusion::logical_expr::{Expr, ident};
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
        let mut order = Vec::new();
        for text in &self.prefer {
            match sql.sort(&rows, text) {
                Ok(sort) => order.push(sort),
                Err(fault) => found.push(fault),
            }
        }
        if !found.is_empty() {
            return Err(found);
        }
        let names: Vec<&str> =
            rows.schema().fields().iter().map(|field| field.name().as_str()).collect();
        let place = |name: &Located<String>| names.iter().position(|other| *other == name.value);
        let by = self.by.iter().filter_map(place).collect();
        let mut columns: Vec<Expr> = names.iter().map(|name| ident(*name)).collect();
        let directions = order
            .iter()
            .map(|sort| SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first })
            .collect();
        let order = order.into_iter().enumerate();
        columns.extend(order.map(|(index, sort)| sort.expr.alias(format!("__order_{index}"))));
        let rows = rows.select(columns).map_err(broken)?;
        Ok(Planned { rows, operator: Some(Operator::First { by, order: directions }) })
    }
}
