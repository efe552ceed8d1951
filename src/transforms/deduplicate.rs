//! `deduplicate`: keeps one row of those with the same key.

use async_trait::async_trait;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{ExprFunctionExt as _, col, ident, lit};
use serde::Deserialize;

use super::{Planned, Transform};
use crate::context::Sql;
use crate::spec::{Code, Diagnostic, Located};

/// Keeps one row of those that agree in all of `by`: the first in the order of `prefer`. Rows
/// that are equal in that order too are told apart by their other columns, so that the same input
/// always keeps the same row.
///
/// ```yaml
/// companies:
///   from: usable
///   deduplicate: { by: [company_number], prefer: [incorporation_date desc] }
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deduplicate {
    /// The columns that make the key.
    pub by: Located<Vec<Located<String>>>,
    /// The order of preference, as in ORDER BY.
    #[serde(default)]
    pub prefer: Vec<Located<String>>,
}

/// Name of the column that numbers the rows of a key; gone again when the plan is done.
const NUMBER: &str = "__number";

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
        let names: Vec<String> =
            rows.schema().fields().iter().map(|field| field.name().clone()).collect();
        order.extend(names.iter().map(|name| Sort::new(ident(name), true, true)));
        let by: Vec<_> = self.by.iter().map(|name| ident(name.as_str())).collect();
        let numbered = row_number().partition_by(by).order_by(order).build().map_err(broken)?;
        let kept: Vec<_> = names.iter().map(ident).collect();
        rows.window(vec![numbered.alias(NUMBER)])
            .and_then(|rows| rows.filter(col(NUMBER).eq(lit(1))))
            .and_then(|rows| rows.select(kept))
            .map(Planned::from)
            .map_err(broken)
    }
}
