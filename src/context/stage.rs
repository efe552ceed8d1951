//! What a sink sees while it stages.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use jiff::Timestamp;

use crate::error::{Error, Kind, Result};

/// Rows on their way into a sink.
pub type RowStream = SendableRecordBatchStream;

/// The surroundings of a sink that stages.
#[derive(Clone, Debug)]
pub struct StageContext {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Id of the sink.
    pub node: String,
    /// The run; part of every file name, so that runs never mix.
    pub run_id: String,
    /// When the run began, for rows that it marks.
    pub at: Timestamp,
    /// The sink's own folder, on the file system of its target. It exists and is empty.
    pub folder: PathBuf,
    /// The state file.
    pub state: PathBuf,
}

impl StageContext {
    /// Runs blocking work that takes the rows one batch after the other, on a thread of its own.
    /// `None` ends the rows; an error in the rows ends the work with that error.
    pub async fn blocking<T, W>(self: Arc<Self>, mut rows: RowStream, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Self, &mut Batches) -> Result<T> + Send + 'static,
    {
        use futures::StreamExt as _;

        let (sender, receiver) = tokio::sync::mpsc::channel(2);
        let worker = tokio::task::spawn_blocking(move || work(&self, &mut Batches { receiver }));
        while let Some(batch) = rows.next().await {
            if sender.send(Some(batch)).await.is_err() {
                // The worker ended early: it has the reason.
                break;
            }
        }
        // Only this is the end: a channel that just closes was cut off.
        let _ = sender.send(None).await;
        match worker.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => Err(Error::internal("a sink was cancelled").because(error)),
        }
    }
}

/// Batches that arrive at a sink's thread.
#[derive(Debug)]
pub struct Batches {
    receiver: tokio::sync::mpsc::Receiver<Option<datafusion::common::Result<Batch>>>,
}

type Batch = datafusion::arrow::record_batch::RecordBatch;

impl Batches {
    /// Waits for the next batch and takes it; `None` after the last.
    pub fn take(&mut self) -> Result<Option<Batch>> {
        match self.receiver.blocking_recv() {
            Some(Some(Ok(batch))) => Ok(Some(batch)),
            Some(Some(Err(error))) => Err(error.into()),
            Some(None) => Ok(None),
            None => Err(Error::new(Kind::Interrupted, "the rows were cut off")),
        }
    }
}
