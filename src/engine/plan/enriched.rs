//! Planning a look-up: its key, its columns, its place among what pipelines share.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DataFusionError;
use datafusion::dataframe::DataFrame;

use super::Planning;
use crate::context::{BuildContext, Sql};
use crate::engine::file::Node;
use crate::lookups::LookupKind;
use crate::quota::Limit;
use crate::spec::{Asking, Budget, Code, Diagnostic, Family as _, Located};
use crate::table::ColumnType;
use crate::transforms::{Enrichment, Operator, Planned, TransformKind};

/// Calls on their way at once, if the file does not say.
const IN_FLIGHT: u32 = 4;
/// How long an answer is as good as asking, if the file does not say.
const KEEP_FOR: Duration = Duration::from_secs(30 * 86_400);

impl Planning<'_> {
    /// Plans a look-up over the table `input`.
    pub(super) async fn enrich(
        &self,
        node: &Node<TransformKind>,
        lookup: &LookupKind,
        input: &str,
        sql: &Sql,
    ) -> Result<Planned, Vec<Diagnostic>> {
        let broken = |error: DataFusionError| {
            vec![Diagnostic::error(Code::SqlPlan, error.strip_backtrace(), node.kind_at)]
        };
        let asking = &node.common.asking;
        let rows = sql.table(input).await.map_err(broken)?;
        let mut found = check_by(node, &rows, sql);
        let mut context = BuildContext::new(self.scope, self.options.files());
        let built = lookup.settings().build(&asking.by, &mut context);
        found.append(&mut context.found);
        let limit = self.rate_limit(node, &mut found);
        let budgets = self.budgets(asking, &mut found);
        let (rows, order) = match sql.with_order(rows.clone(), &asking.first) {
            Ok((rows, order)) => (rows, order),
            Err(faults) => {
                found.extend(faults);
                return Err(found);
            }
        };
        let (Some(lookup), Some(limit), true) = (built, limit, found.is_empty()) else {
            return Err(found);
        };
        let own = rows.schema().fields().iter().take(rows.schema().fields().len() - order.len());
        let names: Vec<&str> = own.map(|field| field.name().as_str()).collect();
        let place = |name: &Located<String>| names.iter().position(|other| *other == name.value);
        let enrichment = Enrichment {
            lookup,
            by: asking.by.iter().filter_map(place).collect(),
            order,
            limit,
            budgets,
            in_flight: asking.in_flight.as_ref().map_or(IN_FLIGHT, |n| n.value).max(1) as usize,
            keep_for: asking.keep_for.as_ref().map_or(KEEP_FOR, |time| time.value.duration()),
            newer_by: asking.newer_by.as_ref().and_then(place),
            rows: said(asking.rows.as_ref()),
            on_missing: said(asking.on_missing.as_ref()),
            on_error: said(asking.on_error.as_ref()),
            retry: said(asking.retry.as_ref()),
            stop_after: asking.stop_after.as_ref().map(|time| time.value.duration()),
        };
        found.extend(clash(&enrichment, &names, node));
        if let Some(stand_in) = &self.options.stand_in {
            found.extend(stand_in.answers.check(&node.id, enrichment.lookup.as_ref()));
        }
        if !found.is_empty() {
            return Err(found);
        }
        Ok(Planned { rows, operator: Some(Operator::Enrich(Arc::new(enrichment))) })
    }

    fn rate_limit(
        &self,
        node: &Node<TransformKind>,
        found: &mut Vec<Diagnostic>,
    ) -> Option<Arc<Limit>> {
        let limits = &self.resources.rate_limits;
        let Some(name) = &node.common.asking.rate_limit else {
            let message = format!("`{}` does not say how often it may ask", node.id.value);
            let fault = Diagnostic::error(Code::BadValue, message, node.kind_at);
            found.push(fault.help(
                "add `rate_limit: name`, and at the top of the file `resources: { rate_limits: { name: { rates: [600/5m], follow_headers: true } } }`",
            ));
            return None;
        };
        let limit = limits.get(name);
        if limit.is_none() {
            found.push(unknown(name, "rate limit", limits.0.iter().map(|(known, _)| known)));
        }
        // One without rates was noted where it stands.
        limit
            .filter(|limit| !limit.rates.value.is_empty())
            .map(|limit| Arc::new(Limit::new(name, limit)))
    }

    fn budgets(
        &self,
        asking: &Asking,
        found: &mut Vec<Diagnostic>,
    ) -> Vec<(Located<String>, Budget, u64)> {
        let budgets = &self.resources.budgets;
        let mut all = Vec::new();
        for (name, cost) in &asking.budget.0 {
            match budgets.get(name) {
                Some(budget) => all.push((name.clone(), budget.clone(), cost.value)),
                None => {
                    found.push(unknown(name, "budget", budgets.0.iter().map(|(known, _)| known)));
                }
            }
        }
        all
    }
}

/// Returns what the file says, or what holds if it says nothing.
fn said<T: Clone + Default>(value: Option<&Located<T>>) -> T {
    value.map(|value| value.value.clone()).unwrap_or_default()
}

/// Says when the input has a column that the look-up adds.
fn clash(
    enrichment: &Enrichment,
    names: &[&str],
    node: &Node<TransformKind>,
) -> Option<Diagnostic> {
    let added = enrichment.added();
    let taken: Vec<&str> = added
        .iter()
        .map(|field| field.name().as_str())
        .filter(|name| names.contains(name))
        .collect();
    let message = format!("its input has a column `{}` already", taken.join("`, `"));
    let fault = Diagnostic::error(Code::Id, message, node.id.at);
    let help = "leave it out, or give it another name, with `select` before";
    (!taken.is_empty()).then(|| fault.help(help))
}

fn check_by(node: &Node<TransformKind>, rows: &DataFrame, sql: &Sql) -> Vec<Diagnostic> {
    let by = &node.common.asking.by;
    if by.is_empty() {
        let message = format!("`{}` does not say by which columns it asks", node.id.value);
        let fault = Diagnostic::error(Code::BadValue, message, node.kind_at);
        return vec![fault.help("add them: `by: [company_number]`")];
    }
    let mut found: Vec<Diagnostic> =
        by.iter().filter_map(|name| sql.column_of(rows, name).err()).collect();
    if let Some(name) = &node.common.asking.newer_by {
        found.extend(sql.column_of(rows, name).err().or_else(|| no_moment(rows, name)));
    }
    found
}

/// Says when a column cannot tell when a row changed.
fn no_moment(rows: &DataFrame, name: &Located<String>) -> Option<Diagnostic> {
    let kind = rows.schema().field_with_unqualified_name(name).ok()?.data_type().clone();
    let is_moment = matches!(kind, DataType::Timestamp(_, _) | DataType::Date32)
        || ColumnType::String.takes(&kind);
    let message = format!("`{}` is {kind}, and no moment", name.value);
    let fault = Diagnostic::error(Code::WrongType, message, name.at);
    (!is_moment).then(|| {
        fault.help("name a column of type timestamp or date, or of texts as 2026-11-02T09:00:00Z")
    })
}

fn unknown<'a>(
    name: &Located<String>,
    what: &str,
    known: impl Iterator<Item = &'a Located<String>> + Clone,
) -> Diagnostic {
    let message = format!("no {what} `{}` in `resources`", name.value);
    let fault = Diagnostic::error(Code::UnknownVariable, message, name.at);
    fault.suggest(name, &format!("{what}s"), known.map(|name| name.value.as_str()))
}

/// Says when keys of a look-up stand beside another kind.
pub(in crate::engine) fn check_asking(node: &Node<TransformKind>) -> Vec<Diagnostic> {
    if node.kind.settings().enriches().is_some() {
        return Vec::new();
    }
    let fault = |key: &Located<String>| {
        let message = format!("a `{}` takes no `{}`", node.kind.kind(), key.value);
        Diagnostic::error(Code::UnknownKey, message, key.at).help("it goes with `enrich`")
    };
    node.common.asking.given.iter().map(fault).collect()
}
