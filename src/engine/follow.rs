//! Batch after batch: `run --follow`. Each batch is a run of its own, with one plan and one commit;
//! what they share is the right to run the pipeline and the connections of its streams.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;

use super::check::{Checked, Following, Options, check};
use super::commit::recover;
use super::report::Report;
use super::run::{Run, take_lock};
use super::streams::Streams;
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::feeds::stall::stalled_since;
use crate::spec::Severity;
use crate::state::{FeedRow, State};

/// So long after being told to stop the batch may take to be committed; then it is abandoned, and
/// the next start reads it again. Who stops services waits 30 s.
const LAST_BATCH: Duration = Duration::from_secs(20);
/// How often it is looked how the streams are.
const LOOK: Duration = Duration::from_secs(30);
/// The first and the longest wait after a batch that failed.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How many batches the history keeps, and after how many it is looked through.
const KEPT_BATCHES: u64 = 500;
const FOLD_EVERY: u64 = 100;

/// What happens while a pipeline is followed.
#[derive(Debug)]
pub enum Told {
    /// A batch is done; with it, so much is.
    Batch(Report, Followed),
    /// A batch failed and is read again after a time.
    Failed(Error, Duration),
    /// A stream has been silent since a moment, though it should not be.
    Stalled(String, jiff::Timestamp),
}

/// What came of following.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// Batches that were committed.
    pub n_batches: u64,
    /// Rows that the streams gave.
    pub n_rows: u64,
    /// Whether the last batch was abandoned, because it took too long after being told to stop.
    pub was_cut: bool,
}

/// A pipeline that is followed.
pub struct Follow {
    text: Arc<str>,
    path: PathBuf,
    name: String,
    state: PathBuf,
    options: Options,
    streams: Streams,
    done: Followed,
    n_failures: u32,
    /// Whether the id of the check was used: it is that of the first batch.
    has_begun: bool,
    /// Whether an earlier batch may have left something to finish or to undo. It must not wait for
    /// the next batch, which may come in the morning.
    is_unclean: bool,
    /// Streams of which it was told that they stalled.
    stalled: Vec<String>,
}

impl Follow {
    /// Takes the right to run a checked pipeline until it is dropped. The feeds of its options must
    /// have been told to follow.
    pub fn new(checked: Checked) -> Result<Self> {
        let streams = Streams::of(&checked);
        if streams.is_empty() {
            let message = "there is nothing to follow: no source of this pipeline is a stream";
            return Err(Error::user(message).because("run it without `--follow`"));
        }
        let lock = Arc::new(take_lock(&checked)?);
        let mut options = checked.options.clone();
        options.follow = Some(Following { run_id: options.run_id.clone(), lock });
        Ok(Self {
            text: Arc::clone(&checked.text),
            path: checked.path.clone(),
            name: checked.name.clone(),
            state: checked.state.clone(),
            options,
            streams,
            done: Followed::default(),
            n_failures: 0,
            has_begun: false,
            is_unclean: true,
            stalled: Vec::new(),
        })
    }

    /// Runs batch after batch until `stop` is ready or no try would be better. `new_id` makes the
    /// ids of runs, `tell` hears what happens.
    pub async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        new_id: impl Fn() -> String,
        mut tell: impl FnMut(Told),
    ) -> Result<Followed> {
        let stop = stop.shared();
        let clock = self.options.clock;
        loop {
            let done = tokio::select! {
                biased;
                () = stop.clone() => return Ok(self.done),
                ready = self.ready(&mut tell) => ready,
            };
            if std::mem::replace(&mut self.has_begun, true) {
                self.options.run_id = new_id();
            }
            let feeds = self.options.feeds.clone();
            let stopped = async {
                stop.clone().await;
                feeds.close();
                clock.sleep(LAST_BATCH).await;
            };
            let done = match done {
                Ok(()) => self.batch(stopped).await,
                Err(error) => Err(error),
            };
            match done {
                Ok(report) => self.count(report, &mut tell),
                Err(error) if error.kind() == Kind::Interrupted => {
                    self.done.was_cut = true;
                    return Ok(self.done);
                }
                Err(error) if error.kind() == Kind::External && !feeds.are_over() => {
                    let wait = self.failed();
                    tell(Told::Failed(error, wait));
                    tokio::select! {
                        () = stop.clone() => return Ok(self.done),
                        () = clock.sleep(wait) => {}
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn count(&mut self, report: Report, tell: &mut impl FnMut(Told)) {
        self.n_failures = 0;
        self.done.n_batches += 1;
        self.done.n_rows += report.rows_of_sources();
        tell(Told::Batch(report, self.done));
        if !self.done.n_batches.is_multiple_of(FOLD_EVERY) {
            return;
        }
        let folded = State::open(&self.state)
            .and_then(|mut state| state.fold_batches(&self.name, KEPT_BATCHES));
        if let Err(error) = folded {
            // The history is longer than it need be until it is tried again.
            tracing::warn!(%error, "old batches cannot be folded");
        }
    }

    /// Notes a failure that may pass; returns how long to wait.
    fn failed(&mut self) -> Duration {
        self.options.feeds.disconnect();
        self.is_unclean = true;
        let wait = RETRY.0.saturating_mul(1 << self.n_failures.min(10)).min(RETRY.1);
        self.n_failures += 1;
        wait
    }

    /// Waits until a stream has something to read; looks now and then how they are.
    async fn ready(&mut self, tell: &mut impl FnMut(Told)) -> Result<()> {
        let clock = self.options.clock;
        loop {
            let mut state = State::open(&self.state)?;
            if std::mem::take(&mut self.is_unclean) {
                recover(&mut state, &self.name, clock.now())?;
            }
            let begun = tokio::select! {
                begun = self.streams.ready((&state, &self.name), false) => Some(begun?),
                () = clock.sleep(LOOK) => None,
            };
            for (node, position) in begun.iter().flatten() {
                state.begin_stream(&self.name, node, position)?;
            }
            self.look(&mut state, clock, tell, begun.is_none())?;
            if begun.is_some() {
                return Ok(());
            }
        }
    }

    /// Notes how the streams are, and tells when one is silent that should not be.
    fn look(
        &mut self,
        state: &mut State,
        clock: Clock,
        tell: &mut impl FnMut(Told),
        is_quiet: bool,
    ) -> Result<()> {
        let now = clock.now();
        let mut rows = Vec::new();
        for (outside, patience) in self.streams.watched() {
            let Some(health) = outside.feeds.health(&outside.node) else { continue };
            let stalled = stalled_since(&health, patience, now);
            let was_told = self.stalled.contains(&outside.node);
            match stalled {
                Some(since) if !was_told => {
                    self.stalled.push(outside.node.clone());
                    tell(Told::Stalled(outside.node.clone(), since));
                }
                None => self.stalled.retain(|node| *node != outside.node),
                Some(_) => {}
            }
            rows.push(FeedRow { node: outside.node.clone(), health, stalled_since: stalled });
        }
        // While batch follows batch, their rows tell that all is well.
        match is_quiet || self.done.n_batches.is_multiple_of(FOLD_EVERY) {
            true => state.note_feeds(&self.name, now, &rows),
            false => Ok(()),
        }
    }

    /// Plans and runs one batch.
    async fn batch(&self, stop: impl Future<Output = ()>) -> Result<Report> {
        let (checked, found) = check(&self.text, &self.path, self.options.clone()).await;
        let Some(checked) = checked else {
            let mistake = found.iter().find(|fault| fault.severity == Severity::Error);
            let mistake = mistake.map_or("", |fault| fault.message.as_str());
            return Err(Error::user(format!("the pipeline does not check any more: {mistake}")));
        };
        Run::new(checked).run(stop).await
    }
}
