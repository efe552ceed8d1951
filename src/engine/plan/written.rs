//! Planning what is written: sinks, and the stages that feed them.

use datafusion::dataframe::DataFrame;

use super::{Into, PlannedSink, Planning, Stage, cannot_plan};
use crate::engine::file::{Common, File, Node};
use crate::engine::graph::{is_late, node_of};
use crate::engine::outlet::{build_sink, check_target};
use crate::sinks::{SinkKind, Write};
use crate::spec::{Diagnostic, Family as _};

impl Planning<'_> {
    /// Builds the sinks, and adds a stage for each group of them that shares a reading.
    pub(super) async fn sinks(
        &mut self,
        file: &File,
        found: &mut Vec<Diagnostic>,
    ) -> Vec<PlannedSink> {
        let mut sinks: Vec<PlannedSink> = Vec::new();
        let mut groups: Vec<(Vec<String>, DataFrame, Vec<usize>)> = Vec::new();
        for node in &file.sinks {
            let Some(sink) = build_sink(node, self.scope, self.options, found) else {
                self.unknown.insert(node.id.value.clone());
                continue;
            };
            check_target(node, sink.target(), &sinks, self.state, found);
            let from = &node.common.from;
            let is_known = !from.iter().any(|from| self.unknown.contains(node_of(from)));
            if !is_known || !self.has_inputs(from) || from.is_empty() {
                self.unknown.insert(node.id.value.clone());
                continue;
            }
            let rows = match self.union(&self.session, from).await {
                Ok(rows) => rows,
                Err(error) => {
                    found.push(cannot_plan(&error, &node.id));
                    continue;
                }
            };
            self.check_columns(node, &rows, found);
            let index = sinks.len();
            let write = node.common.write.as_ref().map_or(Write::Replace, |write| write.value);
            let id = node.id.value.clone();
            sinks.push(PlannedSink { id, kind: node.kind.kind(), write, sink });
            let from: Vec<String> = from.iter().map(|from| from.value.clone()).collect();
            match groups.iter_mut().find(|(other, _, _)| *other == from) {
                Some((_, _, indices)) => indices.push(index),
                None => groups.push((from, rows, vec![index])),
            }
        }
        for (from, rows, indices) in groups {
            let stage = Stage { name: from.join(", "), rows, into: Into::Sinks(indices) };
            // Rejected rows are complete only after everything else was read.
            let is_late = from.iter().all(|from| is_late(from));
            if is_late { &mut self.late_stages } else { &mut self.stages }.push(stage);
        }
        sinks
    }

    /// Looks up the columns that a sink's settings name.
    fn check_columns(&self, node: &Node<SinkKind>, rows: &DataFrame, found: &mut Vec<Diagnostic>) {
        let Common { key, newer_by, .. } = &node.common;
        let named = key.iter().chain(newer_by).chain(node.kind.settings().columns());
        for column in named {
            found.extend(self.sql.column_of(rows, column).err());
        }
    }
}
