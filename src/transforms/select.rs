//! `select`: chooses and computes columns.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Planned, Transform};
use crate::context::Sql;
use crate::spec::{Code, Diagnostic, Located};

/// Chooses columns, each a SQL expression with an optional name.
///
/// ```yaml
/// short:
///   from: register
///   select: [company_number, "upper(company_name) as name"]
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Select(Located<Vec<Located<String>>>);

#[async_trait]
impl Transform for Select {
    async fn plan(&self, from: &str, sql: &Sql) -> Result<Planned, Vec<Diagnostic>> {
        if self.0.is_empty() {
            let message = "`select` names no column";
            return Err(vec![Diagnostic::error(Code::BadValue, message, self.0.at)]);
        }
        let mut items = Vec::new();
        let mut found = Vec::new();
        for text in &self.0.value {
            match sql.item(text) {
                // Each alone first, so that a mistake is looked up in its own text.
                Ok(item) => match sql.select(from, vec![item.clone()], None, text).await {
                    Ok(_) => items.push(item),
                    Err(fault) => found.push(fault),
                },
                Err(fault) => found.push(fault),
            }
        }
        if !found.is_empty() {
            return Err(found);
        }
        let whole = Located::new(String::new(), self.0.at);
        let rows = sql.select(from, items, None, &whole).await;
        rows.map(Planned::from).map_err(|fault| vec![fault])
    }
}
