//! `sql`: one query over any nodes of the file.

use async_trait::async_trait;
use datafusion::sql::parser::Statement;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Planned, Transform};
use crate::context::{Sql, ast};
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
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SqlQuery(Located<String>);

#[async_trait]
impl Transform for SqlQuery {
    fn reads(&self, sql: &Sql) -> Result<Option<Vec<Located<String>>>, Diagnostic> {
        let statement = sql.parse_query(&self.0)?;
        let wrapped = Statement::Statement(Box::new(statement.clone()));
        let (tables, _) = datafusion::sql::resolve::resolve_table_references(&wrapped, true)
            .map_err(|error| {
                let code = crate::spec::Code::SqlPlan;
                Diagnostic::error(code, error.strip_backtrace(), self.0.at)
            })?;
        let located = |name: &String| {
            let at = sql.find(name, &self.0);
            Located::new(name.clone(), at)
        };
        let tables: Vec<String> = tables.iter().map(ToString::to_string).collect();
        Ok(Some(times_read(&statement, &tables).iter().map(located).collect()))
    }

    async fn plan(&self, _from: &str, sql: &Sql) -> Result<Planned, Vec<Diagnostic>> {
        sql.query(&self.0).await.map(Planned::from).map_err(|fault| vec![fault])
    }
}

/// Names each table as often as the plan will read it: a table that the query names twice, or
/// that stands in a WITH clause that it names twice, is read twice.
fn times_read(statement: &ast::Statement, tables: &[String]) -> Vec<String> {
    let mut named: Vec<String> = Vec::new();
    let _ = ast::visit_relations(statement, |relation| {
        named.push(relation.to_string().replace('"', "").to_lowercase());
        std::ops::ControlFlow::<()>::Continue(())
    });
    let is_table = |name: &String| tables.iter().any(|t| t.eq_ignore_ascii_case(name));
    let mut others: Vec<&String> = named.iter().filter(|name| !is_table(name)).collect();
    let n_others = others.len();
    others.sort();
    others.dedup();
    let is_clause_read_twice = others.len() < n_others;
    let mut read = Vec::new();
    for table in tables {
        let n = named.iter().filter(|name| name.eq_ignore_ascii_case(table)).count().max(1);
        let n = if is_clause_read_twice { n + 1 } else { n };
        read.extend(std::iter::repeat_n(table.clone(), n));
    }
    read
}
