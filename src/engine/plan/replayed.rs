//! What is planned in another way in a replay: kept rows stand in place of what their node reads,
//! and are followed from plan to plan.

use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;

use super::{Planning, cannot_plan};
use crate::context::{Files, reference};
use crate::engine::file::Node;
use crate::engine::part::passes;
use crate::engine::replay::Replay;
use crate::spec::{Code, Diagnostic};
use crate::transforms::TransformKind;

impl Planning<'_> {
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
