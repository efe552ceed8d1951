//! How a feed comes that never ends: line after line, in order, whatever breaks on the way.
//!
//! A feed has one connection, kept by a task of its own while batches come and go. The task knows
//! nothing of what an event means, only its number. It reads no faster than batches are taken: what
//! waits is bounded, and then the server waits.

mod lines;
mod order;
mod patience;
mod reader;
pub mod stall;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, OwnedMutexGuard, mpsc, watch};
use tokio::task::AbortHandle;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::net::{Request, Response, Transport};

/// Events that wait to be taken.
const WAITING: usize = 4_096;

/// How a feed is asked for and read.
#[derive(Clone)]
pub struct Settings {
    /// Where it comes from, for messages.
    pub server: String,
    /// Makes the request for the events from a number on; from now on without.
    pub request: Arc<dyn Fn(Option<u64>) -> Request + Send + Sync>,
    /// Where the first request begins, if it is not the number behind which events are wanted.
    pub start: Option<u64>,
    /// Reads the number of an event.
    pub number: fn(&[u8]) -> Option<u64>,
    /// Says what an answer without events means, without secrets.
    pub excerpt: Arc<dyn Fn(&Response) -> String + Send + Sync>,
    /// What sends the request.
    pub transport: Arc<dyn Transport>,
    /// What waits.
    pub clock: Clock,
    /// The wait after a connection that broke; longer each time.
    pub reconnect_after: Duration,
    /// Whether it goes on from now when the place to resume is too old.
    pub may_skip: bool,
    /// How often in a row it may go wrong before it is given up; for ever without.
    pub most_failures: Option<u32>,
}

/// What comes out of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An event: its number and its line.
    Event(u64, Vec<u8>),
    /// A line that is no event, and why.
    Broken(Vec<u8>, &'static str),
    /// Events are missing.
    Gap(Gap),
}

/// Events that a feed did not have any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last event before it.
    pub after: u64,
    /// The first event behind it; not known before one came.
    pub before: Option<u64>,
    /// How it was noticed.
    pub reason: GapReason,
}

/// How a gap was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The server said that the place to resume is too old.
    TooOld,
    /// The server resumed further on.
    Skipped,
}

impl GapReason {
    /// Returns its word in the state file.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::Skipped => "skipped",
        }
    }
}

/// How a feed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether there is a connection.
    pub is_connected: bool,
    /// Since when there is one, or none.
    pub since: Timestamp,
    /// When the last event came.
    pub last_event: Option<Timestamp>,
    /// When anything came at the last time, heartbeats included.
    pub last_sign: Option<Timestamp>,
    /// How many connections were made.
    pub n_connections: u64,
}

impl Health {
    fn new(now: Timestamp) -> Self {
        Self {
            is_connected: false,
            since: now,
            last_event: None,
            last_sign: None,
            n_connections: 0,
        }
    }
}

/// The feeds of a process, by source. They outlive the runs that read them batch by batch.
#[derive(Clone, Default)]
pub struct Feeds(Arc<All>);

#[derive(Default)]
struct All {
    feeds: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Slot>>>>,
    is_following: AtomicBool,
    is_closing: AtomicBool,
    closing: Notify,
    is_over: Arc<AtomicBool>,
}

#[derive(Default)]
struct Slot(Option<Feed>);

impl fmt::Debug for Feeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feeds")
    }
}

impl Feeds {
    /// Says that batch follows batch from now on.
    pub fn follow(&self) {
        self.0.is_following.store(true, Ordering::Relaxed);
    }

    /// Says whether batch follows batch: then a feed is waited for as long as it takes.
    pub fn is_following(&self) -> bool {
        self.0.is_following.load(Ordering::Relaxed)
    }

    /// Ends the batch that is being read, with what it has.
    pub fn close(&self) {
        self.0.is_closing.store(true, Ordering::Relaxed);
        self.0.closing.notify_waiters();
    }

    /// Says whether a feed was given up for ever.
    pub fn are_over(&self) -> bool {
        self.0.is_over.load(Ordering::Relaxed)
    }

    /// Says whether batches are to end.
    fn is_closing(&self) -> bool {
        self.0.is_closing.load(Ordering::Relaxed)
    }

    /// Waits until batches are to end.
    pub async fn closing(&self) {
        let notified = self.0.closing.notified();
        if !self.is_closing() {
            notified.await;
        }
    }

    /// Forgets all connections: what was not committed comes again.
    pub fn disconnect(&self) {
        self.feeds().clear();
    }

    /// Returns how the feed of a source is; `None` before it was opened.
    pub fn health(&self, source: &str) -> Option<Health> {
        let slot = Arc::clone(self.feeds().get(source)?);
        let slot = slot.try_lock().ok()?;
        slot.0.as_ref().map(Feed::health)
    }

    /// Takes the feed of a source for a batch that begins after `from`. One that is elsewhere,
    /// because what it gave was not committed, is opened anew.
    pub async fn take(
        &self,
        source: &str,
        from: Option<u64>,
        settings: impl FnOnce() -> Result<Settings>,
    ) -> Result<Taken> {
        let slot = Arc::clone(self.feeds().entry(source.to_owned()).or_default());
        let mut slot = slot.lock_owned().await;
        if slot.0.as_ref().is_none_or(|feed| feed.taken != from || feed.task.is_finished()) {
            slot.0 = Some(Feed::open(settings()?, from, Arc::clone(&self.0.is_over)));
        }
        Ok(Taken(slot))
    }

    fn feeds(&self) -> MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<Slot>>>> {
        // A map of handles: a thread that died left nothing half done.
        self.0.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A feed that one batch has to itself.
pub struct Taken(OwnedMutexGuard<Slot>);

/// A connection and what came of it.
struct Feed {
    items: mpsc::Receiver<Result<Item>>,
    /// What was looked at and not taken.
    next: Option<Result<Item>>,
    /// The number up to which events were taken.
    taken: Option<u64>,
    health: watch::Receiver<Health>,
    task: AbortHandle,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Feed {
    fn open(settings: Settings, from: Option<u64>, is_over: Arc<AtomicBool>) -> Self {
        let (sender, items) = mpsc::channel(WAITING);
        let (health_sender, health) = watch::channel(Health::new(settings.clock.now()));
        let reader = reader::Reader::new(settings, from, (sender, health_sender, is_over));
        let task = tokio::spawn(reader.run()).abort_handle();
        Self { items, next: None, taken: from, health, task }
    }

    fn health(&self) -> Health {
        *self.health.borrow()
    }
}

impl Taken {
    fn feed(&mut self) -> Result<&mut Feed> {
        self.0.0.as_mut().ok_or_else(|| Error::internal("a feed that was never opened"))
    }

    /// Waits until there is a connection, or something came.
    pub async fn connected(&mut self) -> Result<()> {
        let feed = self.feed()?;
        if feed.next.is_some() || !feed.items.is_empty() {
            return Ok(());
        }
        let mut health = feed.health.clone();
        // A task that ended has left its reason among the items.
        let _ = health.wait_for(|health| health.is_connected).await;
        Ok(())
    }

    /// Waits until something is there, and returns the number of the next event. May be dropped
    /// while it waits.
    pub async fn wait(&mut self) -> Result<Option<u64>> {
        let feed = self.feed()?;
        if feed.next.is_none() {
            feed.next = feed.items.recv().await;
        }
        match &feed.next {
            Some(Ok(Item::Event(number, _))) => Ok(Some(*number)),
            _ => Ok(None),
        }
    }

    /// Takes the next item; `None` when no more come. May be dropped while it waits.
    pub async fn take(&mut self) -> Result<Option<Item>> {
        let feed = self.feed()?;
        let next = match feed.next.take() {
            None => feed.items.recv().await,
            next => next,
        };
        let Some(item) = next.transpose()? else { return Ok(None) };
        match &item {
            Item::Event(number, _) => feed.taken = feed.taken.max(Some(*number)),
            // Whoever resumes begins behind it.
            Item::Gap(Gap { before: Some(before), .. }) => {
                feed.taken = Some(before.saturating_sub(1));
            }
            Item::Gap(_) | Item::Broken(..) => {}
        }
        Ok(Some(item))
    }

    /// Returns the number up to which events were taken.
    pub fn taken(&self) -> Option<u64> {
        self.0.0.as_ref().and_then(|feed| feed.taken)
    }

    /// Says that nothing was known of where it begins, and that it begins after a number.
    pub fn begins_after(&mut self, number: u64) -> Result<()> {
        let feed = self.feed()?;
        feed.taken.get_or_insert(number);
        Ok(())
    }
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Taken")
    }
}

#[cfg(test)]
mod tests;
