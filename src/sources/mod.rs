//! Where rows come from. A source is one file: its settings, their documentation, its behaviour.
//!
//! To add one: a file here, a line in [`SourceKind`], a line in the changelog.

mod companies_house_bulk;
mod contract;
mod csv;
mod delimited;
mod given;
mod input;
mod layout;
mod parquet;
mod refused;
mod replayed;
mod sqlite;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::mpsc;

use crate::context::{BuildContext, FetchContext, ReadContext};
use crate::error::{Error, Result};
use crate::fetch::Kept;
use crate::spec::{Scope, Share, kinds};

pub use companies_house_bulk::CompaniesHouseBulk;
pub use contract::{Contract, OnBadRow};
pub use csv::Csv;
pub use given::Given;
pub use parquet::Parquet;
pub use sqlite::{Sqlite, Table};

kinds! {
    /// A kind of source with its settings.
    pub enum SourceKind ("source" as dyn BuildSource) {
        /// Files of delimited text.
        "csv" => Csv,
        /// The monthly register of companies.
        "companies_house_bulk" => CompaniesHouseBulk,
        /// Parquet files.
        "parquet" => Parquet,
        /// A table of a SQLite database.
        "sqlite" => Sqlite,
    }
    reserved: ["companies_house_stream", "http_json"]
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

    /// Says whether it can read rows that it refused once more, from the text that was kept.
    fn takes_kept_rows(&self) -> bool {
        false
    }

    /// Says whether it reads a file from elsewhere, which has to be got before it can run.
    fn is_elsewhere(&self, _scope: &Scope) -> bool {
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
}

/// Rows that were read together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Accepted rows, with the projected columns.
    pub rows: RecordBatch,
    /// Rejected rows, with the columns of [`crate::table::rejected_schema`].
    pub rejected: Option<RecordBatch>,
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
