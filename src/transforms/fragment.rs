//! `use`: the transforms of another file.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Planned, Transform};
use crate::context::Sql;
use crate::spec::{Code, Diagnostic, Text};

/// Uses the transforms of a fragment file: `with` says which nodes are its inputs, `output` which
/// of its outputs are the rows of this node (the only one otherwise). The fragment's nodes are
/// then named after this one: `leads/scored`.
///
/// ```yaml
/// leads:
///   use: shared/scoring.yaml
///   with: { companies: signals }
///   output: scored
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Use(pub Text);

#[async_trait]
impl Transform for Use {
    /// `from` is the output: the engine has put the fragment's nodes into the pipeline.
    async fn plan(&self, from: &str, sql: &Sql) -> Result<Planned, Vec<Diagnostic>> {
        let rows = sql.table(from).await.map_err(|error| {
            vec![Diagnostic::error(Code::SqlPlan, error.strip_backtrace(), self.0.at())]
        })?;
        Ok(Planned::from(rows))
    }
}
