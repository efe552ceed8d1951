//! `filter`: keeps the rows for which a condition holds.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Planned, Transform};
use crate::context::Sql;
use crate::spec::{Diagnostic, Located};

/// Keeps the rows for which a SQL condition is true.
///
/// ```yaml
/// proposals:
///   from: register
///   filter: company_status = 'Active - Proposal to Strike off'
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Filter(Located<String>);

#[async_trait]
impl Transform for Filter {
    async fn plan(&self, from: &str, sql: &Sql) -> Result<Planned, Vec<Diagnostic>> {
        let condition = sql.expression(&self.0).map_err(|fault| vec![fault])?;
        let rows = sql.select(from, Vec::new(), Some(condition), &self.0).await;
        rows.map(Planned::from).map_err(|fault| vec![fault])
    }
}
