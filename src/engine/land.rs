//! Rows that several consumers need, or that a node sets aside: written down once, read often.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;

use crate::clock::Clock;
use crate::context::Position;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::state::AskedKeys;
use crate::table::compact;

/// Bytes of rows that stay in memory; more of them go to a file.
const MOST_IN_MEMORY: usize = 32 << 20;

/// Rows in a file of the run's own folder, or in memory while they are few.
pub(super) struct Landed {
    schema: SchemaRef,
    folder: Arc<OnceLock<PathBuf>>,
    name: String,
    rows: Mutex<Rows>,
}

#[derive(Default)]
struct Rows {
    memory: Vec<RecordBatch>,
    bytes: usize,
    file: Option<(PathBuf, StreamWriter<std::io::BufWriter<File>>)>,
    is_closed: bool,
}

impl Landed {
    /// Makes an empty place for rows; `folder` is set when the run begins.
    pub(super) fn new(schema: SchemaRef, name: &str, folder: Arc<OnceLock<PathBuf>>) -> Self {
        Self { schema, folder, name: name.to_owned(), rows: Mutex::default() }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Adds rows.
    pub(super) fn push(&self, batch: &RecordBatch) -> Result<()> {
        let batch = compact(batch);
        let mut rows = lock(&self.rows);
        rows.bytes += batch.get_array_memory_size();
        if rows.file.is_none() && rows.bytes > MOST_IN_MEMORY {
            let folder = self.folder.get().ok_or_else(|| Error::internal("no run folder"))?;
            let path = folder.join(format!("{}.arrow", self.name));
            let file = File::create(&path).map_err(|e| Error::io(&path, e))?;
            let file = std::io::BufWriter::with_capacity(1 << 20, file);
            let mut writer =
                StreamWriter::try_new(file, &self.schema).map_err(|e| cannot(&path, e))?;
            for batch in std::mem::take(&mut rows.memory) {
                writer.write(&batch).map_err(|e| cannot(&path, e))?;
            }
            rows.file = Some((path, writer));
        }
        match &mut rows.file {
            Some((path, writer)) => writer.write(&batch).map_err(|e| cannot(path, e))?,
            None => rows.memory.push(batch),
        }
        Ok(())
    }

    /// Says that all rows are there.
    pub(super) fn close(&self) -> Result<()> {
        let mut rows = lock(&self.rows);
        if let Some((path, writer)) = &mut rows.file {
            writer.finish().map_err(|e| cannot(path, e))?;
            // The writer buffers: what it holds must be in the file before it is read.
            std::io::Write::flush(writer.get_mut()).map_err(|e| Error::io(path, e))?;
        }
        rows.is_closed = true;
        failpoint::pass("land.written")
    }

    /// Reads the rows from the beginning, with the columns at `projection`.
    pub(super) fn read(
        &self,
        projection: &[usize],
    ) -> Result<Box<dyn Iterator<Item = Result<RecordBatch>> + Send>> {
        let rows = lock(&self.rows);
        if !rows.is_closed {
            return Err(Error::internal(format!("`{}` is read before it is written", self.name)));
        }
        let projection = projection.to_vec();
        let project = move |batch: RecordBatch| {
            batch.project(&projection).map_err(|e| Error::internal("a projection").because(e))
        };
        match &rows.file {
            None => Ok(Box::new(rows.memory.clone().into_iter().map(project))),
            Some((path, _)) => {
                let path = path.clone();
                let file = File::open(&path).map_err(|e| Error::io(&path, e))?;
                let reader =
                    StreamReader::try_new_buffered(file, None).map_err(|e| cannot(&path, e))?;
                Ok(Box::new(
                    reader.map(move |batch| batch.map_err(|e| cannot(&path, e)).and_then(&project)),
                ))
            }
        }
    }
}

fn cannot(path: &Path, error: datafusion::arrow::error::ArrowError) -> Error {
    Error::external(format!("`{}`", path.display())).because(error)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while it was held leaves whole values: every change is one push or one count.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is counted about a node while it runs, and the rows that it sets aside.
pub(super) struct Tally {
    /// Rows that left the node.
    pub(super) accepted: AtomicU64,
    /// How many of those a source left out without a look at their values.
    pub(super) unchecked: AtomicU64,
    /// Rows that it rejected.
    pub(super) rejected: AtomicU64,
    /// Bytes that it read.
    pub(super) bytes: Arc<AtomicU64>,
    /// From where it reads and how far it came, if it reads only what changed.
    pub(super) position: Arc<Position>,
    /// Rejected rows by reason, and rows that a rule warned about by rule.
    reasons: Mutex<BTreeMap<String, u64>>,
    warnings: Mutex<BTreeMap<String, u64>>,
    /// Rows by the port to which they went.
    ports: Mutex<BTreeMap<String, u64>>,
    /// Rows that do not go on, by port, when somebody reads them.
    late: BTreeMap<String, Landed>,
    /// Calls that a look-up made.
    calls: AtomicU64,
    /// What came of its keys.
    asked: Mutex<Option<AskedKeys>>,
    /// What is left of the node's rows when its consumer stopped early.
    rest: Mutex<Option<SendableRecordBatchStream>>,
    has_begun: AtomicBool,
    is_finished: AtomicBool,
    times: Mutex<Option<(jiff::Timestamp, jiff::Timestamp)>>,
    clock: Clock,
}

impl Tally {
    pub(super) fn new(late: BTreeMap<String, Landed>, clock: Clock) -> Self {
        Self {
            accepted: AtomicU64::new(0),
            unchecked: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            bytes: Arc::default(),
            position: Arc::default(),
            reasons: Mutex::default(),
            warnings: Mutex::default(),
            ports: Mutex::default(),
            late,
            calls: AtomicU64::new(0),
            asked: Mutex::default(),
            rest: Mutex::default(),
            has_begun: AtomicBool::new(false),
            is_finished: AtomicBool::new(false),
            times: Mutex::default(),
            clock,
        }
    }

    /// Counts rows that left the node.
    pub(super) fn accept(&self, n_rows: u64) {
        self.accepted.fetch_add(n_rows, Ordering::Relaxed);
        self.touch();
    }

    /// Counts rejected rows by reason, and keeps them if somebody reads them.
    pub(super) fn reject(
        &self,
        rows: RecordBatch,
        reasons: impl IntoIterator<Item = (String, u64)>,
    ) -> Result<()> {
        self.rejected.fetch_add(rows.num_rows() as u64, Ordering::Relaxed);
        for (reason, n) in reasons {
            *lock(&self.reasons).entry(reason).or_default() += n;
        }
        self.keep("rejected", &rows)
    }

    /// Keeps rows that do not go on, if somebody reads their port.
    fn keep(&self, port: &str, rows: &RecordBatch) -> Result<()> {
        self.touch();
        match self.late.get(port) {
            Some(landed) => landed.push(rows),
            None => Ok(()),
        }
    }

    /// Returns the rows of a port that are complete late; `None` when nobody reads them.
    pub(super) fn late(&self, port: &str) -> Option<&Landed> {
        self.late.get(port)
    }

    /// Returns the ports that are complete late and that somebody reads.
    pub(super) fn late_ports(&self) -> impl Iterator<Item = (&str, &Landed)> {
        self.late.iter().map(|(port, landed)| (port.as_str(), landed))
    }

    /// Says whether somebody reads rejected rows.
    pub(super) fn keeps_rejects(&self) -> bool {
        self.late.contains_key("rejected")
    }

    /// Counts rows whose key an API does not know.
    pub(super) fn miss(&self, rows: &RecordBatch) -> Result<()> {
        self.route("missing", rows.num_rows() as u64);
        self.keep("missing", rows)
    }

    /// Counts rows whose key was not asked.
    pub(super) fn leave(&self, rows: &RecordBatch) -> Result<()> {
        self.route("pending", rows.num_rows() as u64);
        self.keep("pending", rows)
    }

    /// Counts calls of a look-up.
    pub(super) fn call(&self, n: u64) {
        self.calls.fetch_add(n, Ordering::Relaxed);
    }

    /// Returns the calls of a look-up.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Notes how far a look-up is.
    pub(super) fn set_asked(&self, asked: AskedKeys) {
        *lock(&self.asked) = Some(asked);
    }

    /// Returns how far a look-up is; `None` for other nodes.
    pub(super) fn asked(&self) -> Option<AskedKeys> {
        lock(&self.asked).clone()
    }

    /// Counts rows that a rule warned about.
    pub(super) fn warn(&self, rule: &str, n: u64) {
        *lock(&self.warnings).entry(rule.to_owned()).or_default() += n;
    }

    /// Returns rejected rows by reason, the most frequent first.
    pub(super) fn reasons(&self) -> Vec<(String, u64)> {
        by_count(&lock(&self.reasons))
    }

    /// Returns rows by the rule that warned about them, the most frequent first.
    pub(super) fn warnings(&self) -> Vec<(String, u64)> {
        by_count(&lock(&self.warnings))
    }

    /// Counts rows that went to a port.
    pub(super) fn route(&self, port: &str, n: u64) {
        *lock(&self.ports).entry(port.to_owned()).or_default() += n;
    }

    /// Returns rows by port, the most frequent first.
    pub(super) fn ports(&self) -> Vec<(String, u64)> {
        by_count(&lock(&self.ports))
    }

    fn touch(&self) {
        let now = self.clock.now();
        let mut times = lock(&self.times);
        *times = Some((times.map_or(now, |(first, _)| first), now));
    }

    /// Returns the seconds between the node's first and last rows.
    pub(super) fn seconds(&self) -> f64 {
        lock(&self.times).map_or(0.0, |(first, last)| last.duration_since(first).as_secs_f64())
    }

    /// Notes that the node's rows begin; says whether they did before, which is a bug.
    pub(super) fn begin(&self, rows: SendableRecordBatchStream) -> Result<()> {
        self.touch();
        if self.has_begun.swap(true, Ordering::SeqCst) {
            return Err(Error::internal("a node is read twice in one run"));
        }
        *lock(&self.rest) = Some(rows);
        Ok(())
    }

    /// Says whether anything read the node.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::SeqCst)
    }

    /// Polls the node's rows with `poll`; they stay here, so that the engine can read on where a
    /// consumer (a LIMIT, a join without partners) stopped.
    pub(super) fn with_rows<T>(
        &self,
        poll: impl FnOnce(&mut SendableRecordBatchStream) -> T,
    ) -> Option<T> {
        lock(&self.rest).as_mut().map(poll)
    }

    /// Takes the rows that nobody has read yet; `None` when all were read.
    pub(super) fn take_rest(&self) -> Option<SendableRecordBatchStream> {
        lock(&self.rest).take()
    }

    /// Says whether the last row was read.
    pub(super) fn is_finished(&self) -> bool {
        self.is_finished.load(Ordering::SeqCst)
    }

    /// Notes that the last row was read.
    pub(super) fn finish(&self) -> Result<()> {
        self.touch();
        if self.is_finished.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.late.values().try_for_each(Landed::close)
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tally({:?}, {:?} rejected)", self.accepted, self.rejected)
    }
}

fn by_count(counts: &BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let mut counts: Vec<(String, u64)> = counts.iter().map(|(k, n)| (k.clone(), *n)).collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts
}
