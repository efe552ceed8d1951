//! `sql`: one query over any nodes of the file.

use async_trait::async_trait;
use datafusion::sql::parser::Statement;
use serde::Deserialize;

use super::{Planned, Transform};
use crate::context::Sql;
use crate::spec::{Diagnostic, Located};

/// Runs one SQL query. Every node of the file is a table, every port too (`usable.rejected`), so
/// there is no `from`. Variables and `$today`, `$now`, `$run_id` are parameters.
///
/// ```yaml
/// overdue:
///   sql: |
///     select company_number, snapshot_date - accounts_next_due_date as days
///     from register
///     where accounts_next_due_date < snapshot_date
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct SqlQuery(Located<String>);

#[async_trait]
impl Transform for SqlQuery {
    fn reads(&self, sql: &Sql) -> Result<Option<Vec<Located<String>>>, Diagnostic> {
        let statement = Statement::Statement(Box::new(sql.parse_query(&self.0)?));
        let (tables, _) = datafusion::sql::resolve::resolve_table_references(&statement, true)
            .map_err(|error| {
                let code = crate::spec::Code::SqlPlan;
                Diagnostic::error(code, error.strip_backtrace(), self.0.at)
            })?;
        let located = |name: String| {
            let at = sql.find(&name, &self.0).unwrap_or(self.0.at);
            Located::new(name, at)
        };
        Ok(Some(tables.iter().map(|table| located(table.to_string())).collect()))
    }

    async fn plan(&self, _from: &str, sql: &Sql) -> Result<Planned, Vec<Diagnostic>> {
        sql.query(&self.0).await.map(Planned::from).map_err(|fault| vec![fault])
    }
}
