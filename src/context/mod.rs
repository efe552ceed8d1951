//! All that a component may reach: its surroundings when it is built, SQL when it is planned, a
//! place to stage and a signal to stop when it runs. Nothing else.

mod build;
mod place;
mod sql;
mod stage;

pub use build::{BuildContext, Files, below};
pub use sql::{Sql, ast, reference};
pub use stage::{Batches, RowStream, StageContext};

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// What one reading of a source needs to know.
#[derive(Clone, Debug, Default)]
pub struct ReadContext {
    /// The columns that are read, as indices into the source's schema, in this order.
    pub projection: Vec<usize>,
    /// The most rows to read (accepted and rejected ones); all of them otherwise.
    pub limit: Option<u64>,
    /// Bytes read so far, of the source's size, for progress.
    pub bytes: Arc<AtomicU64>,
}
