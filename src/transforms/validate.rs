//! `validate`: checks rows against rules.

use std::collections::BTreeSet;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Operator, Otherwise, Planned, Rule, Transform};
use crate::context::{Sql, ast};
use crate::spec::{Code, Diagnostic, Located, Share};

/// Checks each row against rules, SQL conditions that must be true. A row that breaks a rule is
/// rejected (port `.rejected`, with all its columns and the first broken rule as `reason`),
/// counted (`warn`), or stops the run before anything is published.
///
/// ```yaml
/// usable:
///   from: proposals
///   validate:
///     - { name: named,   that: company_name is not null, otherwise: reject }
///     - { name: located, that: post_code is not null, otherwise: warn, at_most: 5% }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Validate(Located<Vec<ValidateRule>>);

/// A rule of `validate`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ValidateRule {
    /// Its name: the `reason` of rejected rows.
    pub name: Located<String>,
    /// A SQL condition that must be true.
    pub that: Located<String>,
    /// What happens to a row for which it is not.
    pub otherwise: Otherwise,
    /// The share of rows that may break it; more stops the run before anything is published.
    #[serde(default)]
    pub at_most: Option<Share>,
}

#[async_trait]
impl Transform for Validate {
    async fn plan(&self, from: &str, sql: &Sql) -> Result<Planned, Vec<Diagnostic>> {
        let mut found = Vec::new();
        let mut names = BTreeSet::new();
        let all = ast::SelectItem::Wildcard(ast::WildcardAdditionalOptions::default());
        let mut items = vec![all.clone()];
        let mut rules = Vec::new();
        for (index, rule) in self.0.iter().enumerate() {
            if !names.insert(rule.name.as_str()) {
                let message = format!("two rules are named `{}`", rule.name.value);
                found.push(Diagnostic::error(Code::Id, message, rule.name.at));
            }
            let kept = match sql.expression(&rule.that) {
                Ok(expression) => is_true(expression),
                Err(fault) => {
                    found.push(fault);
                    continue;
                }
            };
            let item = ast::SelectItem::ExprWithAlias {
                expr: kept,
                alias: ast::Ident::with_quote('"', format!("__rule_{index}")),
            };
            // Each alone first, so that a mistake is looked up in its own text.
            let alone = vec![all.clone(), item.clone()];
            if let Err(fault) = sql.select(from, alone, None, &rule.that).await {
                found.push(fault);
            }
            items.push(item);
            rules.push(Rule {
                name: rule.name.value.clone(),
                otherwise: rule.otherwise,
                at_most: rule.at_most,
            });
        }
        if !found.is_empty() {
            return Err(found);
        }
        let whole = Located::new(String::new(), self.0.at);
        let rows = sql.select(from, items, None, &whole).await.map_err(|fault| vec![fault])?;
        Ok(Planned { rows, operator: Some(Operator::Divide(rules.into())) })
    }
}

/// Wraps a condition as `(condition) IS TRUE`: unknown is not true, and what is no condition is
/// a mistake that the planner finds.
fn is_true(condition: ast::Expr) -> ast::Expr {
    ast::Expr::IsTrue(Box::new(ast::Expr::Nested(Box::new(condition))))
}
