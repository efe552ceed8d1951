//! A look-up as an operator of a plan: rows go in, rows with answers come out, and no API is asked
//! about a key twice.
//!
//! 1. Rows are landed, and their distinct keys collected.
//! 2. Keys to which the ledger has an answer that is young enough are done.
//! 3. The others are asked about, some at a time. Each answer is in the ledger before another call
//!    takes its place, so a crash loses no more than the calls on their way.
//! 4. Rows are read again and go on with the answers to their keys, or to a port.

mod breaker;
mod calls;
mod emit;
mod keys;
mod means;
mod outcome;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result as PlanResult;
use datafusion::execution::SendableRecordBatchStream;
use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use self::calls::{Caller, Failed, Outcome, Stop};
use self::emit::Emitter;
use self::keys::{Distinct, RowKey, Wanted, keys_of};
use super::land::{Landed, Tally};
use crate::clock::after;
use crate::error::{Error, Result};
use crate::publish::hex;
use crate::state::AskedKeys;
use crate::transforms::Enrichment;

pub(super) use self::emit::port_schema;
pub(super) use self::means::{Asked, Means};

/// How often it is noted how far a look-up is.
const NOTED_EVERY: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);

/// Keys that are looked up in the ledger at a time.
const AT_A_TIME: usize = 5000;

/// A look-up of one node in one run.
pub(super) struct Enriching {
    pub(super) node: String,
    pub(super) enrichment: Arc<Enrichment>,
    /// The columns that are wanted.
    pub(super) projection: Vec<usize>,
    /// Those columns.
    pub(super) schema: SchemaRef,
    /// Where rows are landed.
    pub(super) folder: Arc<OnceLock<PathBuf>>,
    pub(super) means: Arc<OnceLock<Means>>,
    pub(super) tally: Arc<Tally>,
}

/// What is known of keys after they were asked about.
struct Known {
    rows: Arc<Landed>,
    failed: HashMap<String, Failed>,
    since: Timestamp,
    lookup: String,
}

/// Returns the name of a look-up in the ledger: a hash of what its answers depend on.
pub(super) fn ledger_name(enrichment: &Enrichment) -> String {
    hex(&Sha256::digest(enrichment.lookup.identity().as_bytes()))
}

impl Enriching {
    /// Returns the rows of a stream with the answers to their keys.
    pub(super) fn of(
        self,
        rows: SendableRecordBatchStream,
    ) -> impl Stream<Item = PlanResult<RecordBatch>> + Send {
        futures::stream::once(self.run(rows)).try_flatten()
    }

    async fn run(
        self,
        input: SendableRecordBatchStream,
    ) -> PlanResult<impl Stream<Item = PlanResult<RecordBatch>> + Send> {
        let (rows, keys) = self.land(input).await?;
        let known = self.ask(rows, keys).await?;
        let n_columns = known.rows.schema().fields().len();
        let all: Vec<usize> = (0..n_columns).collect();
        let batches = futures::stream::iter(known.rows.read(&all)?);
        let state = Arc::new((self, known));
        Ok(batches.then(move |batch| {
            let state = Arc::clone(&state);
            async move {
                let (enriching, known) = state.as_ref();
                enriching.emit(known, &batch?).await
            }
        }))
    }

    /// Lands the rows; returns their distinct keys in the order in which they are asked.
    async fn land(
        &self,
        mut input: SendableRecordBatchStream,
    ) -> PlanResult<(Landed, Vec<Wanted>)> {
        let name = format!("{}.rows", self.node);
        let rows = Landed::new(input.schema(), &name, Arc::clone(&self.folder));
        let mut distinct =
            Distinct::new(&input.schema(), &self.enrichment.order, self.enrichment.newer_by)?;
        while let Some(batch) = input.next().await {
            let batch = batch?;
            let keys = keys_of(&batch, &self.enrichment.by, self.enrichment.lookup.as_ref())?;
            distinct.add(&batch, keys)?;
            rows.push(&batch)?;
        }
        rows.close()?;
        Ok((rows, distinct.in_order()))
    }

    fn means(&self) -> Result<&Means> {
        self.means.get().ok_or_else(|| Error::internal("nobody to ask"))
    }

    /// Asks about the keys that the ledger does not know.
    async fn ask(&self, rows: Landed, keys: Vec<Wanted>) -> Result<Known> {
        let means = self.means()?;
        let lookup = ledger_name(&self.enrichment);
        let began = means.clock.now();
        let since = earlier(means.started_at, self.enrichment.keep_for);
        let n_keys = keys.len();
        let open = self.without_known(keys, &lookup, since).await?;
        let caller = Caller {
            enrichment: &self.enrichment,
            means,
            tally: &self.tally,
            lookup: &lookup,
            node: &self.node,
            breaker: means.breaker(self.enrichment.lookup.server()),
            deadline: self.enrichment.stop_after.map(|time| after(began, time)),
            since,
            stop: OnceLock::new(),
            stopped: tokio::sync::Notify::new(),
        };
        let mut asked =
            AskedKeys { keys: n_keys, known: n_keys - open.len(), ..AskedKeys::default() };
        self.note(&asked).await?;
        let mut noted_at = began;
        let mut failed = HashMap::new();
        let mut open = open.into_iter();
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < self.enrichment.in_flight && caller.stop.get().is_none() {
                let Some(key) = open.next() else { break };
                in_flight.push(caller.ask(key));
            }
            let Some(done) = in_flight.next().await else { break };
            match done? {
                (_, Outcome::Answered) => asked.answered += 1,
                (wanted, Outcome::Failed(why)) => {
                    asked.failed += 1;
                    failed.insert(wanted.key, why);
                }
                (_, Outcome::Pending) => asked.pending += 1,
            }
            self.tally.set_asked(asked.clone());
            let now = means.clock.now();
            if now.duration_since(noted_at) >= NOTED_EVERY {
                noted_at = now;
                self.note(&asked).await?;
            }
        }
        asked.pending += open.len();
        drop(in_flight);
        asked.note = outcome::note(&asked, caller.stop.get(), &self.enrichment, means.clock.now());
        self.note(&asked).await?;
        Ok(Known { rows: Arc::new(rows), failed, since, lookup })
    }

    /// Notes how far it is, for the report and for whoever looks at the state file.
    async fn note(&self, asked: &AskedKeys) -> Result<()> {
        self.tally.set_asked(asked.clone());
        let means = self.means()?;
        let Some(ledger) = means.ledger.as_ref().filter(|_| !means.asks_nobody()) else {
            return Ok(());
        };
        let open = asked.keys - asked.known - asked.answered - asked.failed;
        let done_at = after(means.clock.now(), self.enrichment.limit.time_for(open as u64));
        let limit = &self.enrichment.limit.name;
        ledger.note(&means.run_id, (&self.node, limit), asked, done_at).await
    }

    /// Returns the keys to which the ledger has no answer that is young enough.
    async fn without_known(
        &self,
        keys: Vec<Wanted>,
        lookup: &str,
        since: Timestamp,
    ) -> Result<Vec<Wanted>> {
        let Some(ledger) = &self.means()?.ledger else { return Ok(keys) };
        let mut open = Vec::new();
        for keys in keys.chunks(AT_A_TIME) {
            let names = keys.iter().map(|wanted| wanted.key.clone()).collect();
            let known = ledger.known(lookup, names, since).await?;
            let known: HashMap<String, i64> = known.into_iter().collect();
            let is_open = |wanted: &&Wanted| !wanted.is_met(known.get(&wanted.key).copied());
            open.extend(keys.iter().filter(is_open).cloned());
        }
        Ok(open)
    }

    async fn emit(&self, known: &Known, batch: &RecordBatch) -> PlanResult<RecordBatch> {
        let emitter = Emitter {
            enrichment: &self.enrichment,
            tally: &self.tally,
            failed: &known.failed,
            projection: &self.projection,
            schema: Arc::clone(&self.schema),
        };
        let keys = emitter.keys(batch)?;
        let answers = match &self.means()?.ledger {
            Some(ledger) => {
                let distinct = keys.iter().filter_map(|key| match key {
                    RowKey::Key(key) => Some(key.clone()),
                    RowKey::Null | RowKey::Impossible(_) => None,
                });
                let distinct: HashSet<String> = distinct.collect();
                ledger.answers(&known.lookup, distinct.into_iter().collect(), known.since).await?
            }
            None => HashMap::new(),
        };
        emitter.emit(batch, &keys, &answers)
    }
}

fn earlier(at: Timestamp, time: std::time::Duration) -> Timestamp {
    at.checked_sub(time).unwrap_or(Timestamp::MIN)
}
