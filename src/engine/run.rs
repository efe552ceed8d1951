//! A run: read, stage, commit, publish. Only this file and `commit.rs` write the state.
//!
//! 1. Sinks stage their rows where nobody looks, durably.
//! 2. One transaction of the state file decides: rows of its own tables, the list of what is
//!    staged, the history. Until then a crash leaves nothing; from then on the run has happened.
//! 3. Each staged output is made visible, which can be repeated. A crash is finished by the next
//!    start.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{FutureExt as _, StreamExt as _};

use super::check::Checked;
use super::commit::{bug, publish_all};
use super::explain::Explained;
use super::graph::is_late;
use super::land::Tally;
use super::limits::check_limits;
use super::operator::LandedRows;
use super::outlook::LookupOutlook;
use super::plan::{Into, PlannedNode, Stage};
use super::replay::Replay;
use super::report::{Report, grouped, words};
use crate::context::StageContext;
use crate::error::{Error, Kind, Result};
use crate::failpoint;
use crate::publish::{self, Merged, Missing, Publish, Staged};
use crate::sinks::Target;
use crate::state::{Lock, NodeRun, RunRow, State};
use crate::transforms::Enrichment;

/// How far the sources of a run are.
#[derive(Clone)]
pub struct Progress {
    sources: Vec<(String, Option<u64>, Arc<Tally>)>,
    lookups: Vec<(String, Arc<Enrichment>, Arc<Tally>)>,
}

/// How far one source is.
#[derive(Clone, Debug)]
pub struct SourceProgress {
    /// Its id.
    pub node: String,
    /// Bytes that it has read.
    pub bytes: u64,
    /// Bytes that it will have read at the end.
    pub size: Option<u64>,
    /// Rows that it has delivered.
    pub rows: u64,
    /// Rows that it has rejected.
    pub rejected: u64,
}

impl Progress {
    /// Returns in a line how far each look-up is that has begun to ask.
    pub fn lookups(&self) -> Vec<String> {
        let line = |(node, enrichment, tally): &(String, Arc<Enrichment>, Arc<Tally>)| {
            let asked = tally.asked()?;
            let done = asked.known + asked.answered + asked.failed;
            let open = (asked.keys - done) as u64;
            let left = match open {
                0 => String::new(),
                _ => format!(", {} at least", words(enrichment.limit.time_for(open))),
            };
            let (done, keys) = (grouped(done as u64), grouped(asked.keys as u64));
            Some(format!("{node}: {done} of {keys} keys, {} calls{left}", grouped(tally.calls())))
        };
        self.lookups.iter().filter_map(line).collect()
    }

    /// Returns how far each source is now.
    pub fn now(&self) -> Vec<SourceProgress> {
        self.sources
            .iter()
            .map(|(node, size, tally)| SourceProgress {
                node: node.clone(),
                bytes: tally.bytes.load(Ordering::Relaxed),
                size: *size,
                rows: tally.accepted.load(Ordering::Relaxed),
                rejected: tally.rejected.load(Ordering::Relaxed),
            })
            .collect()
    }
}

/// A run about to begin.
pub struct Run {
    pub(super) checked: Checked,
    /// The plans of the stages that a dry run has executed, with their metrics.
    analyzed: Mutex<Vec<(String, String)>>,
}

impl Run {
    /// Prepares a run of a checked pipeline, dry or not as its options say.
    pub fn new(checked: Checked) -> Self {
        Self { checked, analyzed: Mutex::default() }
    }

    /// Returns how far its sources are, at any time.
    pub fn progress(&self) -> Progress {
        let nodes = self.checked.plan.nodes.iter();
        let sources = nodes.filter_map(|node| {
            let source = node.source.as_ref()?;
            Some((node.id.clone(), source.size(), Arc::clone(&node.tally)))
        });
        let lookups = self.checked.plan.nodes.iter().filter_map(|node| {
            let enrichment = node.enrichment.as_ref()?;
            Some((node.id.clone(), Arc::clone(enrichment), Arc::clone(&node.tally)))
        });
        Progress { sources: sources.collect(), lookups: lookups.collect() }
    }

    /// Runs to the end, or until `stop` is ready: then nothing of the run is visible.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Report> {
        match self.checked.options.is_dry {
            true => self.dry_run(stop).await,
            false => self.real_run(std::pin::pin!(stop)).await,
        }
    }

    /// Reads everything, writes nothing, and shows for each stage what each operator did.
    pub async fn analyze(self) -> Result<Explained> {
        let report = self.dry_run(std::future::pending());
        report.await?;
        let analyzed = self.analyzed.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Explained { stages: analyzed })
    }

    /// Returns the first rows of the node that the options name, and runs no more of the pipeline
    /// than it takes; `None` when there is no such node.
    pub async fn preview(self) -> Result<Option<(SchemaRef, Vec<RecordBatch>)>> {
        let plan = &self.checked.plan;
        let Some((node, kept)) = plan.kept.first() else { return Ok(None) };
        self.in_temporary_folder(self.look(is_late(node)), std::future::pending()).await?;
        Ok(Some((Arc::clone(&kept.schema), kept.take())))
    }

    /// Reads what feeds the look-ups, asks nobody, and returns what they would ask.
    pub(super) async fn lookups(self) -> Result<Vec<LookupOutlook>> {
        if self.has_lookups() {
            self.in_temporary_folder(self.look(true), std::future::pending()).await?;
        }
        self.to_ask().await
    }

    /// Runs all stages but those of sinks; nodes to their end when rejected rows are wanted.
    async fn look(&self, for_rejects: bool) -> Result<()> {
        let plan = &self.checked.plan;
        let is_inner = |stage: &&Stage| !matches!(stage.into, Into::Sinks(_));
        for stage in plan.stages.iter().filter(is_inner) {
            self.run_stage(stage, None).await?;
        }
        if for_rejects {
            for node in plan.nodes.iter().rev() {
                read_whole(node).await.map_err(|error| error.in_node(&node.id))?;
            }
        }
        for stage in plan.late_stages.iter().filter(is_inner) {
            self.run_stage(stage, None).await?;
        }
        Ok(())
    }

    async fn dry_run(&self, stop: impl Future<Output = ()>) -> Result<Report> {
        if self.checked.state.is_file() {
            self.set_positions(&State::positions(&self.checked.state, &self.checked.name)?);
        }
        let staged = self.in_temporary_folder(self.execute(None), stop).await?;
        Ok(self.report(&staged, "dry run"))
    }

    /// Does guarded work that leaves nothing behind: rows land in a folder that is removed.
    async fn in_temporary_folder<T>(
        &self,
        work: impl Future<Output = Result<T>>,
        stop: impl Future<Output = ()>,
    ) -> Result<T> {
        let folder = std::env::temp_dir().join(format!("pipeline-{}", self.run_id()));
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        let _ = self.checked.plan.folder.set(folder.clone());
        self.look_back()?;
        let done = self.guarded(work, stop).await;
        // A temporary folder: what cannot be removed now is removed by the system.
        let _ = std::fs::remove_dir_all(&folder);
        done
    }

    async fn real_run(&self, stop: Pin<&mut impl Future<Output = ()>>) -> Result<Report> {
        let _lock = match &self.checked.options.follow {
            Some(follow) => Arc::clone(&follow.lock),
            None => Arc::new(take_lock(&self.checked)?),
        };
        let mut state = State::open(&self.checked.state)?;
        self.set_positions(&State::positions(state.path(), &self.checked.name)?);
        let row = self.row();
        if let Some(report) = self.recover(&mut state, &row)? {
            return Ok(report);
        }
        let other_vars = self.other_vars(&state)?;
        state.begin(&row)?;
        failpoint::pass("run.recorded")?;
        match self.stage_and_commit(&mut state, &row, stop).await {
            Ok(mut staged) => {
                let published = publish_all(&mut state, &row.run_id, self.now());
                for (pending, merged) in published? {
                    if let Some(node) = staged.iter_mut().find(|s| s.node == pending.node) {
                        node.merged = merged;
                    }
                }
                let mut report = self.report(&staged, "done");
                let n_gone: u64 =
                    report.nodes.iter().filter_map(|node| Some(node.merged?.gone)).sum();
                if n_gone > 0 && !other_vars.is_empty() {
                    report.notes.push(format!(
                        "{} differ from the last run: rows that they leave out count as gone",
                        other_vars.join(", ")
                    ));
                }
                Ok(report)
            }
            Err(error) => {
                self.abandon(&mut state, &row.run_id, &error);
                Err(error)
            }
        }
    }

    async fn stage_and_commit(
        &self,
        state: &mut State,
        row: &RunRow,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Vec<StagedSink>> {
        if self.checked.options.follow.is_none() {
            self.guarded(self.begin_streams(state), stop.as_mut()).await?;
        }
        let folders = self.announce(state)?;
        let _ = self.checked.plan.folder.set(self.own_folder());
        self.get_means().await?;
        let mut staged = self.guarded(self.execute(Some(&folders)), stop).await?;
        self.check_shrunk(state)?;
        let commit = || self.commit(state, row, &mut staged);
        std::panic::catch_unwind(AssertUnwindSafe(commit)).unwrap_or_else(|p| Err(bug(p)))?;
        Ok(staged)
    }

    /// Runs work that may be stopped from outside, and turns a panic into an error.
    async fn guarded<T>(
        &self,
        work: impl Future<Output = Result<T>>,
        stop: impl Future<Output = ()>,
    ) -> Result<T> {
        let work = AssertUnwindSafe(work).catch_unwind();
        tokio::select! {
            done = work => done.unwrap_or_else(|panic| Err(bug(panic))),
            () = stop => Err(Error::new(Kind::Interrupted, "interrupted; nothing was published")),
        }
    }

    pub(super) fn run_id(&self) -> &str {
        &self.checked.options.run_id
    }

    pub(super) fn now(&self) -> jiff::Timestamp {
        self.checked.options.clock.now()
    }

    fn row(&self) -> RunRow {
        RunRow {
            run_id: self.run_id().to_owned(),
            pipeline: self.checked.name.clone(),
            file: self.checked.path.clone(),
            started_at: self.checked.started_at,
            vars: self.checked.vars.clone(),
            fingerprint: self.fingerprint(),
            replay: self.checked.options.replay.as_ref().map(|replay| replay.node.clone()),
            follow: self.checked.options.follow.as_ref().map(|follow| follow.run_id.clone()),
        }
    }

    /// Says what a replay runs, and what it leaves out.
    fn replay_notes(&self) -> Vec<String> {
        let Some(replay) = &self.checked.options.replay else { return Vec::new() };
        let Replay { node, place, n_rows, .. } = replay.as_ref();
        let n_rows = grouped(*n_rows as u64);
        let first = format!("rows that `{node}` refused, once more: {n_rows}, from {place}");
        let mut notes = vec![first];
        if let Some(part) = &self.checked.plan.part {
            notes.extend(part.left_out.iter().chain(&part.notes).cloned());
        }
        notes
    }

    /// Reads everything to its end. With folders, sinks stage in them; without, rows are counted.
    async fn execute(&self, folders: Option<&[PathBuf]>) -> Result<Vec<StagedSink>> {
        let plan = &self.checked.plan;
        let mut staged = Vec::new();
        for stage in &plan.stages {
            staged.extend(self.run_stage(stage, folders).await?);
        }
        for node in plan.nodes.iter().rev() {
            read_whole(node).await.map_err(|error| error.in_node(&node.id))?;
        }
        for stage in &plan.late_stages {
            staged.extend(self.run_stage(stage, folders).await?);
        }
        check_limits(plan)?;
        Ok(staged)
    }

    async fn run_stage(
        &self,
        stage: &Stage,
        folders: Option<&[PathBuf]>,
    ) -> Result<Vec<StagedSink>> {
        let context = Arc::new(stage.rows.task_ctx());
        let plan = stage.rows.clone().create_physical_plan().await?;
        let mut rows = execute_stream(Arc::clone(&plan), context)?;
        let staged = match (&stage.into, folders) {
            (Into::Landed(landed), _) => {
                if let LandedRows::Node(landed) = landed.as_ref() {
                    while let Some(batch) = rows.next().await {
                        landed.push(&batch?)?;
                    }
                    landed.close()?;
                }
                Ok(Vec::new())
            }
            (Into::Kept(kept), _) => {
                while let Some(batch) = rows.next().await {
                    kept.push(batch?);
                }
                Ok(Vec::new())
            }
            (Into::Sinks(indices), None) => {
                let n_rows = read_to_the_end(rows).await?;
                let nodes = indices.iter().map(|&index| &self.checked.plan.sinks[index].id);
                Ok(nodes.map(|node| StagedSink::counted(node, n_rows)).collect())
            }
            (Into::Sinks(indices), Some(folders)) => self.stage(indices, folders, rows).await,
        };
        if folders.is_none() {
            let plan = DisplayableExecutionPlan::with_metrics(plan.as_ref()).indent(false);
            let mut analyzed = self.analyzed.lock().unwrap_or_else(PoisonError::into_inner);
            analyzed.push((self.checked.plan.title(stage), plan.to_string()));
        }
        staged
    }

    /// Hands the same rows to several sinks at once.
    async fn stage(
        &self,
        indices: &[usize],
        folders: &[PathBuf],
        mut rows: SendableRecordBatchStream,
    ) -> Result<Vec<StagedSink>> {
        let schema = rows.schema();
        let mut senders = Vec::new();
        let mut sinks = Vec::new();
        for &index in indices {
            let (sender, receiver) = tokio::sync::mpsc::channel(2);
            senders.push(sender);
            let rows = futures::stream::unfold(receiver, |mut receiver| async move {
                receiver.recv().await.map(|batch| (Ok(batch), receiver))
            });
            let rows = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), rows));
            let sink = &self.checked.plan.sinks[index];
            let context = Arc::new(StageContext {
                pipeline: self.checked.name.clone(),
                node: sink.id.clone(),
                run_id: self.run_id().to_owned(),
                at: self.checked.started_at,
                folder: folders[index].clone(),
                state: self.checked.state.clone(),
            });
            sinks.push(async move {
                let started = self.now();
                let staged = sink.sink.stage(rows, context).await;
                let staged = staged.map_err(|error| error.in_node(&sink.id))?;
                let seconds = self.now().duration_since(started).as_secs_f64();
                Ok(StagedSink::new(&sink.id, staged, seconds))
            });
        }
        let pump = async move {
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                for sender in &senders {
                    if sender.send(batch.clone()).await.is_err() {
                        // A sink ended early: it has the reason.
                        return Ok(());
                    }
                }
            }
            Ok::<(), Error>(())
        };
        let (_, staged) = futures::try_join!(pump, futures::future::try_join_all(sinks))?;
        Ok(staged)
    }

    pub(super) fn node_runs(&self, staged: &[StagedSink]) -> Vec<NodeRun> {
        let plan = &self.checked.plan;
        let definition = |id: &str| self.checked.definitions.get(id).cloned();
        let ran =
            |node: &PlannedNode| NodeRun { definition: definition(&node.id), ..node_run(node) };
        let mut nodes: Vec<NodeRun> = plan.nodes.iter().map(ran).collect();
        for planned in &plan.sinks {
            let Some(sink) = staged.iter().find(|sink| sink.node == planned.id) else { continue };
            nodes.push(NodeRun {
                node: planned.id.clone(),
                family: "sink",
                kind: planned.kind,
                rows_out: sink.rows,
                merged: sink.merged,
                seconds: sink.seconds,
                detail: detail(planned.sink.target(), sink.staged.as_ref()),
                definition: definition(&planned.id),
                ..NodeRun::default()
            });
        }
        nodes
    }

    pub(super) fn report(&self, staged: &[StagedSink], status: &'static str) -> Report {
        let started = self.checked.started_at;
        let mut notes = self.replay_notes();
        notes.extend(staged.iter().filter_map(StagedSink::note));
        let of = |node: &PlannedNode| {
            let note = node.tally.asked()?.note?;
            Some(format!("{}: {note}", node.id))
        };
        notes.extend(self.checked.plan.nodes.iter().filter_map(of));
        Report {
            pipeline: self.checked.name.clone(),
            run_id: self.run_id().to_owned(),
            status,
            seconds: self.now().duration_since(started).as_secs_f64(),
            nodes: self.node_runs(staged),
            notes,
            working_folder: self.checked.options.working_folder.clone(),
        }
    }
}

/// Takes the right to run a pipeline.
pub(super) fn take_lock(checked: &Checked) -> Result<Lock> {
    if let Some(folder) = checked.state.parent() {
        publish::make_folder(folder)?;
    }
    Lock::take(&checked.state, &checked.name)
}

/// What a sink staged, and what became of it.
pub(super) struct StagedSink {
    pub(super) node: String,
    rows: u64,
    /// Seconds that staging took.
    seconds: f64,
    pub(super) staged: Option<Staged>,
    pub(super) merged: Option<Merged>,
}

impl StagedSink {
    fn new(node: &str, staged: Staged, seconds: f64) -> Self {
        let (node, rows) = (node.to_owned(), staged.rows);
        Self { node, rows, seconds, staged: Some(staged), merged: None }
    }

    fn counted(node: &str, rows: u64) -> Self {
        Self { node: node.to_owned(), rows, seconds: 0.0, staged: None, merged: None }
    }

    /// Says when rows were not marked gone because none arrived at all.
    fn note(&self) -> Option<String> {
        match &self.staged.as_ref()?.publish {
            Publish::MergeTable(merge) if merge.missing != Missing::Keep && self.rows == 0 => {
                Some(format!("{}: no row arrived, so none was taken for gone", self.node))
            }
            _ => None,
        }
    }
}

fn node_run(node: &PlannedNode) -> NodeRun {
    NodeRun {
        node: node.id.clone(),
        family: node.family,
        kind: node.kind,
        rows_out: node.tally.accepted.load(Ordering::Relaxed),
        rejected: node.tally.rejected.load(Ordering::Relaxed),
        reasons: node.tally.reasons(),
        warnings: node.tally.warnings(),
        ports: node.tally.ports(),
        calls: node.enrichment.as_ref().map(|_| node.tally.calls()),
        asked: node.tally.asked(),
        merged: None,
        seconds: node.tally.seconds(),
        detail: node.source.as_ref().map(|source| source.describe()).unwrap_or_default(),
        definition: None,
    }
}

fn detail(target: &Target, staged: Option<&Staged>) -> String {
    match (target, staged) {
        (Target::Parquet { folder, partition_by }, Some(staged)) if !partition_by.is_empty() => {
            format!("{}, {} partitions", folder.display(), grouped(staged.files.len() as u64))
        }
        (target, _) => target.to_string(),
    }
}

/// Reads what is left of a node whose rows must all be seen.
async fn read_whole(node: &PlannedNode) -> Result<()> {
    if !node.is_read_whole {
        return Ok(());
    }
    if !node.tally.has_begun() {
        let Some(whole) = node.whole.clone() else { return Ok(()) };
        return read_to_the_end(whole.execute_stream().await?).await.map(drop);
    }
    if let Some(rest) = node.tally.take_rest() {
        read_to_the_end(rest).await?;
    }
    node.tally.finish()
}

/// Reads rows and counts them.
async fn read_to_the_end(mut rows: SendableRecordBatchStream) -> Result<u64> {
    let mut n_rows = 0;
    while let Some(batch) = rows.next().await {
        n_rows += batch?.num_rows() as u64;
    }
    Ok(n_rows)
}
