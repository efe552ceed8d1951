//! Gives the look-ups of a run what they need: the ledger, and somebody to ask.

use std::sync::Arc;

use super::enrich::{Asked, Means, ledger_name};
use super::outlook::LookupOutlook;
use super::run::Run;
use crate::error::Result;
use crate::net::{Bounds, Client, Transport};
use crate::quota::Quota;
use crate::state::{Ledger, Shared};

impl Run {
    pub(super) fn has_lookups(&self) -> bool {
        self.checked.plan.nodes.iter().any(|node| node.enrichment.is_some())
    }

    /// Lets look-ups ask.
    pub(super) async fn get_means(&self) -> Result<()> {
        if !self.has_lookups() {
            return Ok(());
        }
        let options = &self.checked.options;
        let state = Shared::open(&self.checked.state, options.clock)?;
        let asked = match &options.stand_in {
            Some(stand_in) => Asked::StandIn(Arc::clone(&stand_in.answers)),
            None => {
                let quota = Quota::open(state.clone(), &self.checked.name).await?;
                let transport: Arc<dyn Transport> = match &options.transport {
                    Some(transport) => Arc::clone(transport),
                    None => Arc::new(Client::new(Bounds::default())?),
                };
                Asked::Api { quota, transport }
            }
        };
        self.set_means(Some(Ledger::open(state)), asked);
        Ok(())
    }

    /// Lets look-ups see what was answered before, and ask nobody.
    pub(super) fn look_back(&self) -> Result<()> {
        if !self.has_lookups() {
            return Ok(());
        }
        let ledger = Ledger::read_only(&self.checked.state, self.checked.options.clock)?;
        self.set_means(ledger, Asked::Nobody);
        Ok(())
    }

    fn set_means(&self, ledger: Option<Ledger>, asked: Asked) {
        let (started_at, clock) = (self.checked.started_at, self.checked.options.clock);
        let means = Means::new(ledger, asked, clock, started_at, self.run_id());
        // Set once, before anything is read.
        let _ = self.checked.plan.means.set(means);
    }

    /// Returns what look-ups would ask, when what feeds them was read.
    pub(super) async fn to_ask(&self) -> Result<Vec<LookupOutlook>> {
        let mut all: Vec<LookupOutlook> = Vec::new();
        for node in &self.checked.plan.nodes {
            let (Some(enrichment), Some(asked)) = (&node.enrichment, node.tally.asked()) else {
                continue;
            };
            let ledger = self.checked.plan.means.get().and_then(Means::ledger);
            let calls_per_key = match ledger {
                Some(ledger) => ledger.calls_per_key(&ledger_name(enrichment)).await?,
                None => 1.0,
            };
            let open = (asked.keys - asked.known) as f64;
            let calls = (open * calls_per_key).ceil() as u64;
            all.push(LookupOutlook {
                node: node.id.clone(),
                server: enrichment.lookup.server().to_owned(),
                keys: asked.keys as u64,
                known: asked.known as u64,
                calls,
                seconds: enrichment.limit.time_for(calls).as_secs(),
                rate_limit: enrichment.limit.to_string(),
                is_at_least: !all.is_empty(),
            });
        }
        Ok(all)
    }

    /// Says whether keys are pending: then the next run reads what this one has read.
    pub(super) fn has_pending_keys(&self) -> bool {
        let asked = self.checked.plan.nodes.iter().filter_map(|node| node.tally.asked());
        asked.into_iter().any(|asked| asked.pending > 0)
    }
}
