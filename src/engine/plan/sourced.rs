//! Sources as nodes of a plan: built, given rows of a test in their place, registered.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;

use super::super::file::Node;
use super::super::operator::{Rows, Table};
use super::super::testing::StandIn;
use super::{Plan, PlannedNode, Planning, cannot_plan};
use crate::context::BuildContext;
use crate::sources::{Contract, Given, OnBadRow, Source, SourceKind};
use crate::spec::{ChangedSince, Code, Diagnostic, Family};
use crate::table;

impl Plan {
    /// Returns the sources that never end.
    pub(in crate::engine) fn streams(&self) -> impl Iterator<Item = &PlannedNode> {
        self.nodes.iter().filter(|node| node.is_stream())
    }
}

impl PlannedNode {
    /// Says whether it is a source that never ends.
    pub(in crate::engine) fn is_stream(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.stream().is_some())
    }
}

impl Planning<'_> {
    pub(super) fn source(&mut self, node: &Node<SourceKind>, found: &mut Vec<Diagnostic>) {
        let replay = self.replay_of(&node.id);
        let mut context = BuildContext::new(self.scope, self.files_of(&node.id));
        context.kept = replay.map(|replay| replay.lines());
        context.fetched = self.options.fetched.get(&node.id.value).map(PathBuf::as_path);
        let contract: &Contract = &node.common.contract;
        let changed_since = node.common.changed_since.as_ref();
        if let (Some(since), false) = (changed_since, node.kind.settings().keeps_position()) {
            let message = format!("a `{}` source cannot tell what changed", node.kind.kind());
            let fault = Diagnostic::error(Code::BadValue, message, since.column.at);
            found.push(fault.help("`changed_since` goes with `sqlite`"));
        }
        context.changed_since = changed_since;
        found.extend(batch_of(node, &mut context));
        let mut built = node.kind.settings().build(contract, &mut context);
        let fills = context.fills.take();
        found.extend(context.found);
        if let Some(stand_in) = &self.options.stand_in {
            built = given(node, built, stand_in, found);
        }
        let Some(source) = built else {
            self.unknown.insert(node.id.value.clone());
            found.extend(self.unknown_in_part(&node.id));
            return;
        };
        found.extend(changed_since.and_then(|since| no_column(since, &source.schema())));
        let id = &node.id.value;
        let tally = self.tally(id, &|_| table::rejected_schema());
        let rows = Rows::Source {
            node: id.clone(),
            source: Arc::clone(&source),
            on_bad_row: contract.on_bad_row,
            limit: self.options.limit,
            checks_all: contract.on_bad_row == OnBadRow::Stop
                || contract.at_most.is_some()
                || tally.keeps_rejects(),
            tally: Some(Arc::clone(&tally)),
            outside: self.options.outside(id),
        };
        let is_stream = source.stream().is_some();
        let table = Table::new(source.schema(), rows);
        self.nodes.push(PlannedNode {
            id: id.clone(),
            family: "source",
            kind: node.kind.kind(),
            tally: Arc::clone(&tally),
            source: Some(source),
            at_most: contract.at_most,
            shrink_at_most: contract.shrink_at_most.or(node.kind.settings().shrink_at_most()),
            has_position: changed_since.is_some() || is_stream,
            fills,
            rules: Arc::new([]),
            enrichment: None,
            whole: self.session.read_table(Arc::new(table.clone())).ok(),
            is_read_whole: contract.at_most.is_some()
                || contract.shrink_at_most.is_some()
                || changed_since.is_some()
                || is_stream
                || tally.keeps_rejects(),
        });
        if let Err(error) = self.register(id, table, &tally) {
            found.push(cannot_plan(&error, &node.id));
        }
    }
}

/// Tells a stream how much of it is one batch; notes when that is said of another source.
fn batch_of(node: &Node<SourceKind>, context: &mut BuildContext<'_>) -> Option<Diagnostic> {
    let batch = node.common.batch.as_ref()?;
    if !node.kind.settings().is_stream() {
        let message = format!("a `{}` source ends: it is one batch", node.kind.kind());
        return Some(Diagnostic::error(Code::BadValue, message, node.id.at));
    }
    context.batch = batch.clone();
    batch.check()
}

/// Puts the rows of a test in place of a source.
fn given(
    node: &Node<SourceKind>,
    built: Option<Arc<dyn Source>>,
    stand_in: &StandIn,
    found: &mut Vec<Diagnostic>,
) -> Option<Arc<dyn Source>> {
    let given = stand_in.case.given.get(&node.id);
    let schema = built.map(|source| source.schema());
    match Given::new(schema, &node.common.contract, given) {
        Ok(rows) => Some(Arc::new(rows)),
        Err(faults) => {
            found.extend(faults);
            None
        }
    }
}

/// Says when a source does not have the column that tells what changed.
fn no_column(since: &ChangedSince, schema: &SchemaRef) -> Option<Diagnostic> {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    if names.clone().any(|name| name == since.column.value) {
        return None;
    }
    let message = format!("the source has no column `{}`", since.column.value);
    let fault = Diagnostic::error(Code::UnknownColumn, message, since.column.at);
    Some(fault.suggest(&since.column, "columns", names))
}
