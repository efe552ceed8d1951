//! What a pipeline will do, shown as plans.

use datafusion::physical_plan::displayable;

use super::check::Checked;
use super::plan::{Into, Plan, Stage};
use crate::error::Result;

/// What a pipeline will do, as plans in the order in which they run.
pub struct Explained {
    /// The stages: what each reads for, and its plan.
    pub stages: Vec<(String, String)>,
}

/// Explains a checked pipeline: the physical plan of each stage.
pub async fn explain(checked: &Checked) -> Result<Explained> {
    let mut stages = Vec::new();
    for stage in checked.plan.stages.iter().chain(&checked.plan.late_stages) {
        let plan = stage.rows.clone().create_physical_plan().await?;
        let plan = displayable(plan.as_ref()).indent(false).to_string();
        stages.push((checked.plan.title(stage), plan));
    }
    Ok(Explained { stages })
}

impl Plan {
    /// Says what a stage is for.
    pub(super) fn title(&self, stage: &Stage) -> String {
        match &stage.into {
            Into::Landed(_) => format!("{} (landed: read by several)", stage.name),
            Into::Kept(_) => format!("{} (looked at)", stage.name),
            Into::Sinks(indices) => {
                let ids: Vec<&str> = indices
                    .iter()
                    .filter_map(|&i| self.sinks.get(i))
                    .map(|s| s.id.as_str())
                    .collect();
                format!("{} → {}", stage.name, ids.join(", "))
            }
        }
    }
}
