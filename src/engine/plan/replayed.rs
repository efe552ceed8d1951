//! What is planned in another way in a replay: kept rows stand in place of what their node reads,
//! and are followed from plan to plan.

use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;

use super::{Plan, PlannedSink, Planning, cannot_plan};
use crate::context::{Files, reference};
use crate::engine::file::Node;
use crate::engine::part::{Part, passes};
use crate::engine::replay::Replay;
use crate::engine::testing::Kept;
use crate::spec::{Code, Diagnostic, Located};
use crate::transforms::TransformKind;

impl Planning<'_> {
    /// Returns what was planned, in a replay the part that runs; `None` when that is not known.
    pub(super) fn finished(
        self,
        sinks: Vec<PlannedSink>,
        kept: Vec<(String, Kept)>,
        part: Option<Part>,
    ) -> Option<Plan> {
        let is_wanted = |id: &String| part.as_ref().is_none_or(|part| part.planned.contains(id));
        if self.unknown.iter().any(is_wanted) {
            return None;
        }
        let mut plan = Plan {
            nodes: self.nodes,
            sinks,
            stages: self.stages,
            late_stages: self.late_stages,
            kept,
            folder: self.folder,
            means: self.means,
            part: part.clone(),
        };
        if let Some(part) = &part {
            plan.keep_only(part);
        }
        Some(plan)
    }

    /// Refuses a source that a replay needs, and whose columns only a missing file could tell.
    pub(super) fn unknown_in_part(&self, id: &Located<String>) -> Option<Diagnostic> {
        let is_needed = self.part.as_ref().is_some_and(|part| part.planned.contains(&id.value));
        let message = "its columns are not known without its file";
        is_needed.then(|| Diagnostic::error(Code::File, message, id.at))
    }

    /// Returns the rows that are run again in place of those of a node.
    pub(super) fn replay_of(&self, id: &str) -> Option<&Replay> {
        self.options.replay.as_deref().filter(|replay| replay.node == id)
    }

    /// Says what building a source may find out from files: what a replay does not read may be
    /// missing.
    pub(super) fn files_of(&self, id: &str) -> Files {
        let is_read = self.part.as_ref().is_none_or(|part| part.needed.contains(id));
        match self.options.files() {
            Files::MustExist if !is_read || self.replay_of(id).is_some() => Files::MayBeMissing,
            files => files,
        }
    }

    /// Registers the replayed rows in place of the input of their node.
    pub(super) async fn or_replayed(
        &self,
        input: String,
        node: &Node<TransformKind>,
        session: &SessionContext,
    ) -> Result<String, Diagnostic> {
        let Some(replay) = self.replay_of(&node.id) else { return Ok(input) };
        let failed = |error: DataFusionError| cannot_plan(&error, &node.id);
        let usual = session.table(reference(&input)).await.map_err(failed)?;
        let rows = replay.rows(usual.schema().inner()).map_err(|why| {
            let fault = Diagnostic::error(Code::File, why, node.id.at);
            fault.help("run the pipeline, which reads these rows where they came from")
        })?;
        let name = format!("__replayed_{}", node.id.value);
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).map_err(failed)?;
        session.register_table(reference(&name), Arc::new(table)).map_err(failed)?;
        Ok(name)
    }

    /// Follows the rows of a replay through a plan.
    pub(super) fn follow(&mut self, id: &str, plan: &LogicalPlan) {
        let Some(replay) = self.options.replay.as_deref().filter(|replay| replay.node != id) else {
            return;
        };
        if let Some(part) = &mut self.part {
            match passes(plan, &replay.node, &part.reached) {
                Some(true) => drop(part.reached.insert(id.to_owned())),
                Some(false) => {
                    part.reached.remove(id);
                    self.mixing.insert(id.to_owned());
                }
                None => {}
            }
        }
    }
}
