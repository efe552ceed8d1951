//! `route`: divides rows into ports.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Operator, Planned, Transform};
use crate::context::{Sql, ast};
use crate::spec::{Code, Diagnostic, Located, LocatedMap, is_id};

/// Divides rows into ports, each a table of its own: `kinds.proposals`. A row goes to the port of
/// the first condition that is true for it. Rows for which none is go to the port that `otherwise`
/// names, and nowhere without it.
///
/// ```yaml
/// kinds:
///   from: latest
///   route:
///     deleted:   change = 'deleted'
///     proposals: status_detail = 'active-proposal-to-strike-off'
///     otherwise: settled
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Route(LocatedMap<Located<String>>);

/// The key that names the port of the rows that are left; all others are ports.
const OTHERWISE: &str = "otherwise";
/// The hidden column that names the port of each row.
pub(crate) const PORT: &str = "__port";

impl Route {
    fn conditions(&self) -> impl Iterator<Item = &(Located<String>, Located<String>)> {
        self.0.0.iter().filter(|(port, _)| port.value != OTHERWISE)
    }

    fn check_ports(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for port in self.ports() {
            let name = port.as_str();
            let problem = match name {
                "rejected" => Some("the port `rejected` is that of bad rows".to_owned()),
                name if super::LOOKUP_PORTS.contains(&name) => {
                    Some(format!("the port `{name}` is one of look-ups"))
                }
                name if !is_id(name) => Some(format!("`{name}` cannot be a port")),
                name if seen.contains(&name) => Some(format!("two ports are named `{name}`")),
                _ => None,
            };
            if let Some(message) = problem {
                let fault = Diagnostic::error(Code::Id, message, port.at);
                found.push(fault.help("ports are names in SQL: lowercase letters, digits and `_`"));
            }
            seen.push(name);
        }
        found
    }
}

#[async_trait]
impl Transform for Route {
    fn ports(&self) -> Vec<&Located<String>> {
        let ports = self.conditions().map(|(port, _)| port);
        ports.chain(self.0.get(OTHERWISE)).collect()
    }

    async fn plan(&self, from: &str, sql: &Sql) -> Result<Planned, Vec<Diagnostic>> {
        let mut found = self.check_ports();
        let all = ast::SelectItem::Wildcard(ast::WildcardAdditionalOptions::default());
        let mut cases = Vec::new();
        for (port, condition) in self.conditions() {
            let is_met = match sql.expression(condition) {
                Ok(expression) => expression,
                Err(fault) => {
                    found.push(fault);
                    continue;
                }
            };
            // Each alone first, so that a mistake is looked up in its own text.
            let alone = sql.select(from, vec![all.clone()], Some(is_met.clone()), condition).await;
            found.extend(alone.err());
            cases.push(ast::CaseWhen { condition: is_met, result: text(port) });
        }
        if !found.is_empty() {
            return Err(found);
        }
        let Some(first) = self.ports().first().copied() else {
            let at = self.0.0.first().map_or_else(Default::default, |(key, _)| key.at);
            return Err(vec![Diagnostic::error(Code::BadValue, "`route` names no port", at)]);
        };
        let otherwise = self.0.get(OTHERWISE).map(|port| Box::new(text(port)));
        let port = match cases.is_empty() {
            true => text(first),
            false => ast::Expr::Case {
                case_token: ast::helpers::attached_token::AttachedToken::empty(),
                end_token: ast::helpers::attached_token::AttachedToken::empty(),
                operand: None,
                conditions: cases,
                else_result: otherwise,
            },
        };
        let alias = ast::Ident::with_quote('"', PORT);
        let item = ast::SelectItem::ExprWithAlias { expr: port, alias };
        let whole = Located::new(String::new(), first.at);
        let rows = sql.select(from, vec![all, item], None, &whole).await.map_err(|f| vec![f])?;
        Ok(Planned { rows, operator: Some(Operator::Route) })
    }
}

fn text(port: &Located<String>) -> ast::Expr {
    ast::Expr::value(ast::Value::SingleQuotedString(port.value.clone()))
}
