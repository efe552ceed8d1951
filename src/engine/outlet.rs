//! From a sink as it is written to one that can take rows.

use std::path::Path;
use std::sync::Arc;

use super::check::Options;
use super::file::{Common, Node};
use super::plan::PlannedSink;
use crate::context::BuildContext;
use crate::publish::Missing;
use crate::sinks::{Disposition, Sink, SinkKind, Target, Write};
use crate::spec::{Code, Diagnostic, Family as _, Scope};

/// Builds a sink; mistakes are in `found`.
pub(super) fn build_sink(
    node: &Node<SinkKind>,
    scope: &Scope,
    options: &Options,
    found: &mut Vec<Diagnostic>,
) -> Option<Arc<dyn Sink>> {
    let Common { write, key, newer_by, missing, within, compact, .. } = &node.common;
    let Some(write) = write.clone() else {
        let message = format!("sink `{}` does not say what it does with its rows", node.id.value);
        let fault = Diagnostic::error(Code::Write, message, node.id.at);
        found.push(fault.help("add `write: replace`, `append` or `upsert`"));
        return None;
    };
    let forgets = missing.as_ref().filter(|missing| missing.value != Missing::Keep);
    let is_limited = options.limit.is_some() && !options.is_dry;
    if let (Some(missing), true) = (forgets, is_limited) {
        let message = "with `--limit`, rows that were not read would count as missing";
        let fault = Diagnostic::error(Code::Write, message, missing.at);
        found.push(fault.help("run it without `--limit`, or with `--dry-run`"));
    }
    let disposition = Disposition {
        write,
        key: key.clone(),
        newer_by: newer_by.clone(),
        within: if options.replay.is_none() { within.clone() } else { Vec::new() },
        // A replay is a part: what is not in it is not gone.
        missing: missing.clone().filter(|_| options.replay.is_none()),
        compact: compact.clone(),
    };
    if let Some(compact) = &disposition.compact
        && (node.kind.kind() != "parquet" || disposition.write.value != Write::Append)
    {
        let message = "`compact` puts files together that `write: append` of a `parquet` sink adds";
        found.push(Diagnostic::error(Code::Write, message, compact.at));
    }
    let mut context = BuildContext::new(scope, options.files());
    context.root = options.stand_in.as_ref().map(|stand_in| stand_in.root.as_path());
    let built = node.kind.settings().build(&disposition, &mut context);
    found.extend(context.found);
    built
}

/// Finds sinks that would write to the same place.
pub(super) fn check_target(
    node: &Node<SinkKind>,
    target: &Target,
    sinks: &[PlannedSink],
    state: &Path,
    found: &mut Vec<Diagnostic>,
) {
    /// SQLite attaches ten databases at most; one is kept for the state.
    const MOST_TABLES: usize = 8;
    let write = node.common.write.as_ref().map(|write| write.value);
    // Two sinks may keep one table: one its rows, the other which of them are gone.
    let is_shared = |other: &PlannedSink| {
        [Some(other.write), write] == [Some(Write::Upsert), Some(Write::MarkGone)]
            || [Some(other.write), write] == [Some(Write::MarkGone), Some(Write::Upsert)]
    };
    let is_same = |other: &&PlannedSink| other.sink.target().is_same(target, state);
    if let Some(other) = sinks.iter().find(is_same).filter(|other| !is_shared(other)) {
        let message = format!("`{}` and `{}` write to the same place", other.id, node.id.value);
        found.push(Diagnostic::error(Code::Write, message, node.id.at));
    }
    let n_tables = sinks.iter().filter(|s| matches!(s.sink.target(), Target::Table { .. })).count();
    if n_tables == MOST_TABLES && matches!(target, Target::Table { .. }) {
        let message = format!("a pipeline can write {MOST_TABLES} tables at most");
        found.push(Diagnostic::error(Code::Write, message, node.id.at));
    }
}
