//! Where rows come from. A source is one file: its settings, their documentation, its behaviour.
//!
//! To add one: a file here, a line in [`SourceKind`], a line in the changelog.

mod companies_house_bulk;
mod companies_house_stream;
mod contract;
mod convert;
mod csv;
mod delimited;
mod given;
mod http_json;
mod input;
mod layout;
mod parquet;
mod pieces;
mod refused;
mod replayed;
mod sqlite;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::mpsc;

use crate::context::{BuildContext, FetchContext, Outside, Position, ReadContext};
use crate::error::{Error, Result};
use crate::fetch::Kept;
use crate::spec::{Scope, Share, Text, kinds};

pub use companies_house_bulk::CompaniesHouseBulk;
pub use companies_house_stream::CompaniesHouseStream;
pub use contract::{Contract, OnBadRow};
pub use csv::Csv;
pub use given::Given;
pub use http_json::HttpJson;
pub use parquet::Parquet;
pub use sqlite::{Sqlite, Table};

kinds! {
    /// A kind of source with its settings.
    pub enum SourceKind ("source" as dyn BuildSource) {
        /// Files of delimited text.
        "csv" => Csv,
        /// The monthly register of companies.
        "companies_house_bulk" => CompaniesHouseBulk,
        /// Changes of the register, as they happen.
        "companies_house_stream" => CompaniesHouseStream,
        /// Parquet files.
        "parquet" => Parquet,
        /// A table of a SQLite database.
        "sqlite" => Sqlite,
        /// Any API that answers in JSON.
        "http_json" => HttpJson,
    }
    reserved: []
}

/// Settings that can become a source.
#[async_trait]
pub trait BuildSource: fmt::Debug + Send + Sync {
    /// Returns the share by which its rows may shrink if the contract does not say.
    fn shrink_at_most(&self) -> Option<Share> {
        None
    }

    /// Says whether it can read only what changed since the last run.
    fn keeps_position(&self) -> bool {
        false
    }

    /// Says whether it never ends: then it is read batch by batch, and keeps a position.
    fn is_stream(&self) -> bool {
        false
    }

    /// Returns from where it gets a file, if that is elsewhere: then it has to be got before a run.
    fn elsewhere(&self, _scope: &Scope) -> Option<Elsewhere> {
        None
    }

    /// Returns the files that it looks into while it is built, there or not; a folder stands for
    /// the files in it.
    fn looks_into(&self, _scope: &Scope) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Says whether it can read rows that it refused once more, from the text that was kept.
    fn takes_kept_rows(&self) -> bool {
        false
    }

    /// Gets that file; `None` when there is none to get.
    async fn fetch(&self, _context: &FetchContext<'_>) -> Result<Option<Kept>> {
        Ok(None)
    }

    /// Builds the source. `None` when it cannot: the mistakes are in the context, or a variable
    /// has no value yet and without it the columns cannot be known.
    fn build(&self, contract: &Contract, context: &mut BuildContext<'_>)
    -> Option<Arc<dyn Source>>;
}

/// A file elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Where it is: an address, or words for what is looked up first.
    pub from: String,
    /// The copy of it that was kept, which may be an older one.
    pub kept: Option<PathBuf>,
}

/// Returns what a path means: itself, or for a glob its files and the folder that they are in.
fn looked_into(path: &Text, scope: &Scope) -> Vec<PathBuf> {
    let Some(path) = path.resolve_path(scope).ok().flatten() else { return Vec::new() };
    let is_plain = |path: &&Path| !path.to_string_lossy().contains(['*', '?', '[']);
    let around = path.ancestors().find(is_plain).map(Path::to_owned);
    match around {
        Some(around) if around != path => {
            let files = glob::glob(&path.to_string_lossy()).into_iter().flatten().flatten();
            files.chain([around]).collect()
        }
        _ => vec![path],
    }
}

/// Something that can be read, from the beginning, any number of times.
pub trait Source: fmt::Debug + Send + Sync {
    /// Returns its columns.
    fn schema(&self) -> SchemaRef;

    /// Reads it. Nothing happens until the stream is polled; dropping the stream stops it.
    fn read(&self, context: ReadContext) -> BatchStream;

    /// Returns the size of what it reads in bytes, if it is known.
    fn size(&self) -> Option<u64>;

    /// Returns a text that changes when what it reads does.
    fn fingerprint(&self) -> String;

    /// Says in a few words what it reads, for reports.
    fn describe(&self) -> String;

    /// Says whether it asks the conditions of a [`ReadContext`] before it makes a row.
    fn asks_conditions(&self) -> bool {
        false
    }

    /// Returns itself if it never ends. Then a reading is one batch, which ends as soon as it may.
    fn stream(&self) -> Option<&dyn Stream> {
        None
    }
}

/// A source that never ends.
#[async_trait]
pub trait Stream: Send + Sync {
    /// Waits until there is something to read after a position. Without one, returns the position
    /// at which it begins, which is to be saved before anything is read. May be dropped while it
    /// waits.
    async fn ready(&self, outside: &Outside, position: &Position) -> Result<Option<String>>;

    /// Returns how long it may be silent in business time.
    fn stall_after(&self) -> Duration;
}

/// Rows that were read together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Accepted rows, with the projected columns.
    pub rows: RecordBatch,
    /// Rejected rows, with the columns of [`crate::table::rejected_schema`].
    pub rejected: Option<RecordBatch>,
    /// Accepted rows that were left out, because a condition does not hold for them.
    pub n_left_out: u64,
    /// How many of those were not checked, and so may be bad rows.
    pub n_unchecked: u64,
}

impl Batch {
    /// Makes a batch of accepted rows.
    pub fn new(rows: RecordBatch) -> Self {
        Self { rows, rejected: None, n_left_out: 0, n_unchecked: 0 }
    }
}

/// Batches as they are read.
pub type BatchStream = BoxStream<'static, Result<Batch>>;

/// Reads on a thread of its own, which starts when the stream is first polled and blocks while
/// two items wait. An error ends the stream, and so does a panic: rows that were cut off must
/// never pass for all of them.
fn on_thread<T: Send + 'static>(
    read: impl FnOnce(&mpsc::Sender<Result<T>>) -> Result<()> + Send + 'static,
) -> BoxStream<'static, Result<T>> {
    let start = async move {
        let (sender, receiver) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || {
            let bug = |_| Err(Error::internal("this is a bug in pipeline: a reader panicked"));
            let read = catch_unwind(AssertUnwindSafe(|| read(&sender))).unwrap_or_else(bug);
            if let Err(error) = read {
                // The receiver may be gone: then nobody wants to know.
                let _ = sender.blocking_send(Err(error));
            }
        });
        receiver
    };
    stream::once(start)
        .flat_map(|receiver| {
            stream::unfold(receiver, |mut receiver| async move {
                receiver.recv().await.map(|item| (item, receiver))
            })
        })
        .boxed()
}
