//! A connection of its own to a state file, for what is written while a run goes on and others look.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rusqlite::Connection;

use super::State;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::publish::BUSY;

/// A connection to a state file that several tasks use in turn.
#[derive(Clone, Debug)]
pub struct Shared {
    connection: Arc<Mutex<Connection>>,
    clock: Clock,
}

impl Shared {
    /// Opens a state file, and makes it if there is none. What is written survives the end of the
    /// process at once, and a power cut a moment later.
    pub fn open(state: &Path, clock: Clock) -> Result<Self> {
        State::open(state)?;
        let connection = Connection::open(state)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "synchronous", "normal")?;
        Ok(Self::new(connection, clock))
    }

    pub(super) fn new(connection: Connection, clock: Clock) -> Self {
        Self { connection: Arc::new(Mutex::new(connection)), clock }
    }

    /// Returns the clock by which it is used.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Works on the state file on a thread where waiting for another process holds up nobody; the
    /// work is told what time it is.
    pub async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection, Timestamp) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Self { connection, clock } = self.clone();
        let _busy = clock.busy();
        let work = tokio::task::spawn_blocking(move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut connection, clock.now())
        });
        work.await.map_err(|error| Error::internal("work on the state file").because(error))?
    }
}
