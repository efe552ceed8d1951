//! All that a component may reach: the network when it gets its files, its surroundings when it is
//! built, SQL when it is planned, a place to stage and a signal to stop when it runs. Nothing else.

mod bounds;
mod build;
mod condition;
mod fetch;
mod outside;
mod place;
mod sql;
mod stage;

pub use bounds::{check_inside, project_folder, read_text};
pub use build::{BuildContext, Files, Fills, KeptRow, below};
pub use condition::Condition;
pub use fetch::{FetchContext, download_folder};
pub use outside::Outside;
pub use sql::{Sql, add_schema, ast, reference};
pub use stage::{Batches, RowStream, StageContext};

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use crate::feeds::Gap;

/// What one reading of a source needs to know.
#[derive(Clone, Debug, Default)]
pub struct ReadContext {
    /// The columns that are read, as indices into the source's schema, in this order.
    pub projection: Vec<usize>,
    /// The most rows to read (accepted and rejected ones); all of them otherwise.
    pub limit: Option<u64>,
    /// Conditions without which a row is not wanted. A source may leave out, and only count, rows
    /// for which one of them does not hold.
    pub conditions: Vec<Condition>,
    /// Whether the values of rows that are left out are checked all the same.
    pub checks_all: bool,
    /// Bytes read so far, of the source's size, for progress.
    pub bytes: Arc<AtomicU64>,
    /// From where a source reads that keeps a position, and how far it came.
    pub position: Arc<Position>,
    /// The world.
    pub outside: Outside,
}

/// How far a source has read: with `changed_since` a value of its column, a stream the number of an
/// event, as text.
#[derive(Debug, Default)]
pub struct Position {
    /// How far the last committed run came; unset before there was one.
    pub from: OnceLock<String>,
    /// How far this run came; set when everything was read.
    pub reached: OnceLock<String>,
    /// What a stream lacks between events that it has.
    pub gaps: Mutex<Vec<Gap>>,
}
