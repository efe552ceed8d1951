//! What became of the connections to each feed, counted for tests.

use std::collections::BTreeMap;

use serde::Serialize;

/// The connections to one feed so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FeedCalls {
    /// Those that were let in.
    pub connections: u64,
    /// Those that are open.
    pub open: u64,
    /// Those that were refused, by status.
    pub refused: BTreeMap<u16, u64>,
    /// Events sent whole; one that is sent twice counts twice.
    pub events: u64,
    /// Blank lines sent.
    pub heartbeats: u64,
    /// Connections ended by the server: too long, or the oldest of three.
    pub ended: u64,
    /// Connections broken by the server: a cut, a restart, a reader too slow.
    pub broken: u64,
}
