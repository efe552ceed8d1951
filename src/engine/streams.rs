//! The streams of a run: waited for, begun, checked against what is saved when a batch is committed.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use rusqlite::Transaction;

use super::check::Checked;
use super::plan::PlannedNode;
use super::run::Run;
use crate::context::{Outside, Position};
use crate::error::{Error, Result};
use crate::feeds::Gap;
use crate::sources::Source;
use crate::state::{RunRow, State, close_gaps, saved_position};

/// The streams of a pipeline, apart from its plans.
#[derive(Clone)]
pub(super) struct Streams(Vec<(Arc<dyn Source>, Outside)>);

impl Streams {
    pub(super) fn of(checked: &Checked) -> Self {
        let stream = |node: &PlannedNode| {
            Some((Arc::clone(node.source.as_ref()?), checked.options.outside(&node.id)))
        };
        Self(checked.plan.streams().filter_map(stream).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns what each has of the world, and how long it may be silent.
    pub(super) fn watched(&self) -> impl Iterator<Item = (&Outside, Duration)> {
        self.0
            .iter()
            .filter_map(|(source, outside)| Some((outside, source.stream()?.stall_after())))
    }

    /// Waits until one of them has something to read, or all of them; returns the positions at which
    /// those begin that have none in `state`. May be dropped while it waits.
    pub(super) async fn ready(
        &self,
        (state, pipeline): (&State, &str),
        all: bool,
    ) -> Result<Vec<(String, String)>> {
        let saved = State::positions(state.path(), pipeline)?;
        let wait = |(source, outside): &(Arc<dyn Source>, Outside)| {
            let (source, outside) = (Arc::clone(source), outside.clone());
            let position = Position::default();
            if let Some(known) = saved.iter().find(|known| known.node == outside.node) {
                let _ = position.from.set(known.position.clone());
            }
            async move {
                let Some(stream) = source.stream() else { return Ok(None) };
                let begun = stream.ready(&outside, &position).await;
                let begun = begun.map_err(|error| error.in_node(&outside.node))?;
                Ok::<_, Error>(begun.map(|begun| (outside.node.clone(), begun)))
            }
        };
        let mut waits: FuturesUnordered<_> = self.0.iter().map(wait).collect();
        let mut begun = Vec::new();
        while let Some(done) = waits.next().await {
            begun.extend(done?);
            if !all {
                // One that is always ready must not keep others from beginning.
                while let Some(Some(done)) = waits.next().now_or_never() {
                    begun.extend(done?);
                }
                break;
            }
        }
        Ok(begun)
    }
}

impl Run {
    /// Waits for the streams of a run that no batch follows, and saves where they begin.
    pub(super) async fn begin_streams(&self, state: &mut State) -> Result<()> {
        let streams = Streams::of(&self.checked);
        let begun = streams.ready((state, &self.checked.name), true).await?;
        for (node, position) in begun {
            state.begin_stream(&self.checked.name, &node, &position)?;
        }
        self.set_positions(&State::positions(state.path(), &self.checked.name)?);
        Ok(())
    }

    /// Refuses to commit a batch that somebody else has committed, or whose rows would be lost
    /// because they wait for answers.
    pub(super) fn check_streams(&self, tx: &Transaction<'_>) -> Result<()> {
        for node in self.checked.plan.streams() {
            let from = node.tally.position.from.get();
            if saved_position(tx, &self.checked.name, &node.id)?.as_ref() != from {
                let message = "the position of this stream was moved by somebody else meanwhile";
                return Err(Error::external(message).in_node(&node.id));
            }
        }
        if self.checked.plan.streams().next().is_none() {
            return Ok(());
        }
        for node in &self.checked.plan.nodes {
            let pending = node.tally.asked().map_or(0, |asked| asked.pending);
            if pending > 0 && node.tally.late("pending").is_none() {
                let message = format!(
                    "{pending} keys of this batch are pending, and nothing reads `{}.pending`: the \
                     batch is read again, its answers are kept",
                    node.id
                );
                return Err(Error::external(message).in_node(&node.id));
            }
        }
        Ok(())
    }

    /// Closes the gaps that the sources of this run fill, if it read them whole.
    pub(super) fn close_gaps(&self, tx: &Transaction<'_>, row: &RunRow) -> Result<()> {
        if row.replay.is_some() || self.checked.options.limit.is_some() {
            return Ok(());
        }
        for fills in self.checked.plan.nodes.iter().filter_map(|node| node.fills.as_ref()) {
            for (pipeline, node) in &fills.streams {
                let n = close_gaps(tx, (pipeline, node), fills.day, (&row.run_id, self.now()))?;
                tracing::info!(pipeline, node, n, "gaps are filled");
            }
        }
        Ok(())
    }

    /// Returns what the streams of this run lack.
    pub(super) fn gaps(&self) -> Vec<(String, Gap)> {
        let of = |node: &PlannedNode| {
            let gaps = node.tally.position.gaps.lock();
            let gaps = gaps.map(|gaps| gaps.clone()).unwrap_or_default();
            let node = node.id.clone();
            gaps.into_iter().map(move |gap| (node.clone(), gap))
        };
        self.checked.plan.streams().flat_map(of).collect()
    }
}
