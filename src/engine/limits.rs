//! What stops a run after everything was read and before anything is decided: too many bad rows,
//! or too few rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::plan::Plan;
use super::report::grouped;
use super::run::Run;
use crate::error::{Error, Result};
use crate::spec::Share;
use crate::state::State;
use crate::transforms::Otherwise;

/// Stops the run when more rows were rejected, or broke a rule, than may. A share of replayed rows
/// says nothing of all rows.
pub(super) fn check_limits(plan: &Plan) -> Result<()> {
    let is_part = |id: &str| plan.part.as_ref().is_some_and(|part| part.reached.contains(id));
    for node in plan.nodes.iter().filter(|node| !is_part(&node.id)) {
        let rejected = node.tally.rejected.load(Ordering::Relaxed);
        let accepted = node.tally.accepted.load(Ordering::Relaxed);
        let all = rejected + accepted;
        let is_good = accepted > node.tally.unchecked.load(Ordering::Relaxed);
        let is_all = rejected > 0 && !is_good && node.at_most.is_none();
        if node.source.is_some() && is_all {
            let why = node.tally.reasons().first().map(|(reason, _)| reason.clone());
            let message = format!(
                "all {} rows are bad ({}); nothing was published (`at_most: 100%` in the contract if \
                 that is right)",
                grouped(rejected),
                why.unwrap_or_default()
            );
            return Err(Error::run(message).in_node(&node.id));
        }
        if let Some(limit) = node.at_most.filter(|limit| limit.is_exceeded(rejected, all)) {
            return Err(too_many(&node.id, "rows are bad", rejected, all, limit));
        }
        let (reasons, warnings) = (node.tally.reasons(), node.tally.warnings());
        for rule in node.rules.iter() {
            let counts = if rule.otherwise == Otherwise::Reject { &reasons } else { &warnings };
            let n = counts.iter().find(|(name, _)| *name == rule.name).map_or(0, |(_, n)| *n);
            if let Some(limit) = rule.at_most.filter(|limit| limit.is_exceeded(n, all)) {
                let what = format!("rows break the rule `{}`", rule.name);
                return Err(too_many(&node.id, &what, n, all, limit));
            }
        }
    }
    Ok(())
}

/// A variable with another value than in an earlier run.
#[derive(Clone, Debug, Serialize)]
pub struct OtherVar {
    /// Its name.
    pub name: String,
    /// Its value then; `None` when it had none, or was not there.
    pub before: Option<String>,
    /// Its value now.
    pub now: Option<String>,
}

/// Compares the values of variables, each a JSON object of texts.
pub(super) fn other_values(before: &str, now: &str) -> Vec<OtherVar> {
    type Values = BTreeMap<String, Option<String>>;
    let read = |text: &str| serde_json::from_str::<Values>(text).unwrap_or_default();
    let (before, now) = (read(before), read(now));
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let value = |values: &Values, name: &str| values.get(name).cloned().flatten();
    let vars = names.into_iter().map(|name| OtherVar {
        name: name.clone(),
        before: value(&before, name),
        now: value(&now, name),
    });
    vars.filter(|var| var.before != var.now).collect()
}

fn too_many(node: &str, what: &str, n: u64, all: u64, limit: Share) -> Error {
    let share = n as f64 * 100.0 / all as f64;
    let (n, all) = (grouped(n), grouped(all));
    let message = format!(
        "{n} of {all} {what} ({share:.2}%), more than `at_most: {limit}`; nothing was published"
    );
    Error::run(message).in_node(node)
}

impl Run {
    /// Returns the variables, paths apart, that had other values in the last run.
    pub(super) fn other_vars(&self, state: &State) -> Result<Vec<String>> {
        let Some(before) = state.last_vars(&self.checked.name)? else { return Ok(Vec::new()) };
        let other = other_values(&before, &self.checked.vars);
        let is_other = |name: &&String| other.iter().any(|var| var.name == **name);
        Ok(self.checked.rule_vars.iter().filter(is_other).map(|name| format!("`{name}`")).collect())
    }

    /// Stops the run when a source has far fewer rows than it had in the last run: a file that was
    /// cut would pass for the end of many companies.
    pub(super) fn check_shrunk(&self, state: &State) -> Result<()> {
        let options = &self.checked.options;
        if options.limit.is_some() || options.may_shrink {
            return Ok(());
        }
        let replayed = options.replay.as_ref().map(|replay| replay.node.as_str());
        for node in self.checked.plan.nodes.iter().filter(|node| Some(&*node.id) != replayed) {
            let Some(limit) = node.shrink_at_most.filter(|_| node.tally.is_finished()) else {
                continue;
            };
            let now = node.tally.accepted.load(Ordering::Relaxed);
            let Some(before) = state.last_rows(&self.checked.name, &node.id)? else { continue };
            if limit.is_exceeded(before.saturating_sub(now), before) {
                let message = format!(
                    "{} rows, and {} in the last run: it shrank by more than `shrink_at_most: \
                     {limit}`; nothing was published (`--may-shrink` if that is right)",
                    grouped(now),
                    grouped(before)
                );
                return Err(Error::run(message).in_node(&node.id));
            }
        }
        Ok(())
    }
}
