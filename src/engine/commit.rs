//! The decision of a run and what follows from it: announce, commit, publish, recover.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use rusqlite::TransactionBehavior;
use sha2::{Digest as _, Sha256};

use super::plan::PlannedNode;
use super::report::Report;
use super::run::{Run, StagedSink};
use crate::error::{Error, Kind, Result};
use crate::failpoint;
use crate::publish::{self, Merged};
use crate::state::{self, Pending, Position, RunRow, State, Status};

/// Name of the hidden folder, beside a sink's target, in which runs stage.
const STAGING: &str = ".pipeline-staging";

impl Run {
    /// Tells runs apart that would read and do something else.
    pub(super) fn fingerprint(&self) -> String {
        let mut sha = Sha256::new();
        sha.update(self.checked.text.as_bytes());
        sha.update(&self.checked.vars);
        for node in &self.checked.plan.nodes {
            if let Some(source) = &node.source {
                sha.update(&node.id);
                sha.update(source.fingerprint());
            }
        }
        for fragment in &self.checked.fragments {
            sha.update(fragment.text.as_bytes());
        }
        sha.update(format!("{:?}", self.checked.options.limit));
        // A stream reads something else from each place.
        for node in self.checked.plan.streams() {
            sha.update(format!("{} after {:?}", node.id, node.tally.position.from.get()));
        }
        if let Some(replay) = &self.checked.options.replay {
            sha.update(format!("replay of {} {}", replay.node, replay.fingerprint));
        }
        publish::hex(&sha.finalize())
    }

    /// Finishes what a dead process left behind. When that was this very run, already committed,
    /// it is now done, and doing it again would append its rows a second time.
    pub(super) fn recover(&self, state: &mut State, row: &RunRow) -> Result<Option<Report>> {
        let mut report = None;
        for run_id in recover(state, &self.checked.name, self.now())? {
            if state.fingerprint(&run_id)? == row.fingerprint {
                report = Some(self.finished_report(run_id));
            }
        }
        Ok(report)
    }

    fn finished_report(&self, run_id: String) -> Report {
        let note = "an earlier start of this very run was cut off after its commit; its outputs \
                    are published now and nothing was read again";
        let mut report = self.report(&[], "done");
        report.nodes.clear();
        report.notes.push(note.to_owned());
        report.run_id = run_id;
        report
    }

    pub(super) fn abandon(&self, state: &mut State, run_id: &str, error: &Error) {
        let status = match error.kind() {
            Kind::Interrupted => Status::Interrupted,
            _ => Status::Failed,
        };
        // What fails here is done by the next start; the user must hear of the first error. What
        // a committed run has staged is never swept away.
        let _ = state.note_gaps(&self.checked.name, run_id, self.now(), &self.gaps());
        let is_abandoned = state.abandon(run_id, status, self.now(), Some(&error.to_string()));
        if matches!(is_abandoned, Ok(true)) {
            let _ = sweep_all(state, run_id);
        }
    }

    /// Returns the folder for what the run itself keeps, beside the state file.
    pub(super) fn own_folder(&self) -> PathBuf {
        let beside = self.checked.state.parent().unwrap_or(Path::new("/"));
        staging_folder(beside, self.run_id())
    }

    /// Makes the folders in which this run stages, each written down before it is made.
    pub(super) fn announce(&self, state: &mut State) -> Result<Vec<PathBuf>> {
        let state_file = &self.checked.state;
        let mut announced = BTreeSet::from([self.own_folder()]);
        let mut folders: Vec<PathBuf> = Vec::new();
        for sink in &self.checked.plan.sinks {
            let beside = sink.sink.target().folder(state_file);
            let folder = staging_folder(&beside, self.run_id());
            folders.push(folder.join(&sink.id));
            announced.insert(folder);
        }
        for folder in &announced {
            state.announce(self.run_id(), folder)?;
            failpoint::pass("stage.announced")?;
            publish::make_folder(folder)?;
        }
        for folder in &folders {
            publish::make_folder(folder)?;
        }
        Ok(folders)
    }

    /// Tells sources that read only what changed how far the last run came.
    pub(super) fn set_positions(&self, positions: &[Position]) {
        for node in self.checked.plan.nodes.iter().filter(|node| node.has_position) {
            let known = positions.iter().find(|position| position.node == node.id);
            if let Some(known) = known {
                // Set once, before anything is read.
                let _ = node.tally.position.from.set(known.position.clone());
            }
        }
    }

    /// Decides the run in one transaction.
    pub(super) fn commit(
        &self,
        state: &mut State,
        row: &RunRow,
        staged: &mut [StagedSink],
    ) -> Result<()> {
        let path = state.path().to_owned();
        let connection = state.connection();
        let schema = |index: usize| format!("stage_{index}");
        let mut attached = Vec::new();
        for (index, sink) in staged.iter().enumerate() {
            if let Some(merge) = sink.staged.as_ref().and_then(|s| s.publish.merge_into(&path)) {
                merge.attach(connection, &schema(index))?;
                attached.push(schema(index));
            }
        }
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        failpoint::pass("commit.begun")?;
        let mut outputs = Vec::new();
        for (index, sink) in staged.iter_mut().enumerate() {
            let Some(output) = &sink.staged else { continue };
            let merge = output.publish.merge_into(&path);
            if let Some(merge) = merge {
                let merged = merge.merge(&tx, &schema(index));
                sink.merged = Some(merged.map_err(|error| error.in_node(&sink.node))?);
            }
            outputs.push((sink.node.clone(), output.clone(), merge.is_some()));
        }
        failpoint::pass("commit.merged")?;
        state::record(&tx, row, &outputs, &self.node_runs(staged))?;
        // What a replay read beside its rows is read by the next run all the same.
        let is_replay = row.replay.is_some();
        // Nor does a source move on whose rows wait for answers: they are read again.
        let is_waiting = self.has_pending_keys();
        let moves = |node: &&PlannedNode| {
            node.has_position && !is_replay && (node.is_stream() || !is_waiting)
        };
        self.check_streams(&tx)?;
        self.close_gaps(&tx, row)?;
        state::note_gaps(&tx, &row.pipeline, &row.run_id, self.now(), &self.gaps())?;
        for node in self.checked.plan.nodes.iter().filter(moves) {
            if let Some(position) = node.tally.position.reached.get() {
                let run_id = Some(row.run_id.as_str());
                state::set_position(&tx, &row.pipeline, &node.id, position, run_id)?;
            }
        }
        failpoint::pass("commit.recorded")?;
        tx.commit()?;
        for schema in attached {
            // The run has happened: what fails from here on must not undo it.
            let _ = connection.execute("DETACH DATABASE ?1", [schema]);
        }
        Ok(())
    }
}

/// Undoes what was not committed and publishes what was; returns the runs that are done by that.
pub(super) fn recover(
    state: &mut State,
    pipeline: &str,
    now: jiff::Timestamp,
) -> Result<Vec<String>> {
    for run_id in state.left_behind(pipeline, Status::Running)? {
        sweep_all(state, &run_id)?;
        state.abandon(&run_id, Status::Interrupted, now, None)?;
    }
    for run_id in state.unswept(pipeline)? {
        sweep_all(state, &run_id)?;
    }
    let committed = state.left_behind(pipeline, Status::Committed)?;
    for run_id in &committed {
        let pending = state.pending(run_id)?;
        publish::settle(state.path(), pending.iter().map(|pending| &pending.publish))?;
        publish_all(state, run_id, now)?;
    }
    Ok(committed)
}

/// Makes an error of a panic.
pub(super) fn bug(panic: Box<dyn std::any::Any + Send>) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
    Error::internal(format!("this is a bug in pipeline: {text}"))
}

/// Returns the folder in which a run stages what will stand in another one.
fn staging_folder(beside: &Path, run_id: &str) -> PathBuf {
    beside.join(STAGING).join(run_id)
}

/// Makes the outputs of a committed run visible, one after the other, and cleans up.
pub(super) fn publish_all(
    state: &mut State,
    run_id: &str,
    now: jiff::Timestamp,
) -> Result<Vec<(Pending, Option<Merged>)>> {
    let published = AssertUnwindSafe(|| try_publish_all(state, run_id, now));
    let published = std::panic::catch_unwind(published).unwrap_or_else(|panic| Err(bug(panic)));
    published.map_err(|error| {
        let message = "the run is committed and the next start publishes it";
        Error::new(error.kind(), message).because(error)
    })
}

fn try_publish_all(
    state: &mut State,
    run_id: &str,
    now: jiff::Timestamp,
) -> Result<Vec<(Pending, Option<Merged>)>> {
    let mut published = Vec::new();
    failpoint::pass("commit.done")?;
    for pending in state.pending(run_id)? {
        failpoint::pass("publish.begun")?;
        let merged = pending.publish.publish().map_err(|error| error.in_node(&pending.node))?;
        state.published(&pending, merged.as_ref())?;
        failpoint::pass("publish.item_done")?;
        published.push((pending, merged));
    }
    sweep_all(state, run_id)?;
    failpoint::pass("publish.swept")?;
    state.finish(run_id, now)?;
    Ok(published)
}

/// Removes the staging folders of a run that did not happen, or that is published.
fn sweep_all(state: &mut State, run_id: &str) -> Result<()> {
    for folder in state.staging(run_id)? {
        publish::sweep(&folder)?;
    }
    state.forget_staging(run_id)
}
