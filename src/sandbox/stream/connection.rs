//! One connection to a feed: what is sent over it, and when.
//!
//! It sends nothing itself and waits for nothing: it is asked what is next at a moment, and says
//! bytes, or until when there is nothing, or that this was the end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::disturb::{self, BURST, Disturbance};
use super::feed::Feed;
use super::{Fate, Inner};
use crate::clock::after;

/// What a connection does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// These bytes are sent, now.
    Bytes(Vec<u8>),
    /// Nothing is sent before this moment, unless the connection is closed from elsewhere.
    Wait(Timestamp),
    /// The server ends the connection, as it should.
    End,
    /// The connection breaks.
    Cut,
}

/// A connection to a feed. Dropped, it is closed.
#[derive(Debug)]
pub struct Connection {
    inner: Arc<Inner>,
    feed: Feed,
    id: u64,
    /// The next event, counted from 0.
    at: u64,
    /// For events before this one it is decided what befalls them.
    drawn: u64,
    heartbeat: Timestamp,
    ends: Timestamp,
    /// Events are held back until then.
    held: Option<(Timestamp, Then)>,
    /// What is on its way and may not be interrupted.
    queue: VecDeque<Part>,
}

/// What happens when events are held back no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// They go on.
    On,
    /// The next two come, the second first.
    Swapped,
    /// Several come together.
    Together,
}

#[derive(Debug)]
enum Part {
    Bytes(Vec<u8>),
    Until(Timestamp),
    Cut,
}

/// So long the pieces of an event are apart.
const BETWEEN_PIECES: Duration = Duration::from_millis(20);

impl Connection {
    pub(super) fn new(inner: Arc<Inner>, feed: Feed, id: u64, at: u64, now: Timestamp) -> Self {
        let heartbeat = after(now, inner.settings.heartbeat);
        let ends = after(now, inner.settings.longest);
        let queue = VecDeque::new();
        Self { inner, feed, id, at, drawn: at, heartbeat, ends, held: None, queue }
    }

    /// Returns what is done at `now`. To be asked again at once after bytes, and at the moment it
    /// names after a wait; once it ended it says so for ever.
    pub fn next(&mut self, now: Timestamp) -> Next {
        match self.inner.fate(self.id) {
            Fate::Open => {}
            Fate::Ended => return Next::End,
            Fate::Broken => return Next::Cut,
        }
        if let Some(next) = self.under_way(now) {
            return next;
        }
        if now >= self.ends {
            self.inner.close(self.id, Fate::Ended);
            return Next::End;
        }
        if now >= self.heartbeat {
            self.heartbeat = after(now, self.inner.settings.heartbeat);
            self.inner.count(self.feed, |calls| calls.heartbeats += 1);
            return Next::Bytes(b"\n".to_vec());
        }
        let published = self.inner.published(self.feed, now);
        if self.at < self.inner.oldest(self.feed, published) {
            // Too slow: the server has forgotten what would be next.
            return self.broken();
        }
        let idle = self.heartbeat.min(self.ends);
        match self.held {
            Some((until, _)) if now < until => return Next::Wait(until.min(idle)),
            Some((_, then)) => {
                self.held = None;
                self.released(then, published);
            }
            None if self.at >= published => {
                let until = self.inner.schedule(self.feed).time(self.at).min(idle);
                // At the end of a feed there is no next event.
                return Next::Wait(if until <= now { idle } else { until });
            }
            None => self.event(now, published),
        }
        match self.under_way(now) {
            Some(next) => next,
            None => self.next(now),
        }
    }

    /// Returns what is next of what was begun.
    fn under_way(&mut self, now: Timestamp) -> Option<Next> {
        loop {
            match self.queue.pop_front()? {
                Part::Bytes(bytes) => return Some(Next::Bytes(bytes)),
                Part::Until(until) if now < until => {
                    self.queue.push_front(Part::Until(until));
                    return Some(Next::Wait(until));
                }
                Part::Until(_) => {}
                Part::Cut => return Some(self.broken()),
            }
        }
    }

    fn broken(&mut self) -> Next {
        self.inner.close(self.id, Fate::Broken);
        Next::Cut
    }

    /// Queues the next event, or holds it back, as its disturbance will have it.
    fn event(&mut self, now: Timestamp, published: u64) {
        let mut rng = disturb::rng(self.inner.seed, self.id, self.at);
        let shares = &self.inner.settings.disturbances;
        let disturbance = match self.at < self.drawn {
            true => None,
            false => disturb::drawn(shares, |kind| !kind.is_of_connections(), &mut rng),
        };
        self.drawn = self.drawn.max(self.at + 1);
        let Some(disturbance) = disturbance else { return self.send(1) };
        let schedule = self.inner.schedule(self.feed);
        let pause = after(now, self.inner.settings.pause);
        match disturbance {
            Disturbance::Silence => self.held = Some((pause, Then::On)),
            Disturbance::Burst => {
                let full = schedule.time(self.at + BURST - 1);
                self.held = Some((full.min(pause), Then::Together));
            }
            Disturbance::Disorder if self.at + 1 < published => {
                self.released(Then::Swapped, published);
            }
            Disturbance::Disorder => {
                let next = schedule.time(self.at + 1);
                self.held = Some((next.min(pause), Then::Swapped));
            }
            kind => self.disturbed(kind, now, &mut rng),
        }
    }

    /// Queues the next event with a disturbance of itself alone.
    fn disturbed(&mut self, kind: Disturbance, now: Timestamp, rng: &mut super::super::rng::Rng) {
        let Some(line) = self.inner.line(self.feed, self.at) else {
            return self.queue.push_back(Part::Cut);
        };
        let mut below = |n: usize| rng.below(u32::try_from(n).unwrap_or(u32::MAX)) as usize;
        match kind {
            Disturbance::Cut => {
                let kept = &line[..below(line.len())];
                if !kept.is_empty() {
                    self.queue.push_back(Part::Bytes(kept.to_vec()));
                }
                self.queue.push_back(Part::Cut);
            }
            Disturbance::Split => {
                let mut rest = line.as_slice();
                let mut at = now;
                for _ in 0..1 + below(3) {
                    let (piece, more) = rest.split_at(1 + below(rest.len() / 2));
                    rest = more;
                    at = after(at, BETWEEN_PIECES);
                    self.queue.push_back(Part::Bytes(piece.to_vec()));
                    self.queue.push_back(Part::Until(at));
                }
                self.queue.push_back(Part::Bytes(rest.to_vec()));
                self.sent(1, 1);
            }
            Disturbance::Garbage => {
                self.queue.push_back(Part::Bytes(disturb::garbage(&line, rng)));
                self.send(1);
            }
            _ => {
                self.queue.push_back(Part::Bytes(line.clone()));
                self.queue.push_back(Part::Bytes(line));
                self.sent(1, 2);
            }
        }
    }

    /// Queues what was held back.
    fn released(&mut self, then: Then, published: u64) {
        let n = published.saturating_sub(self.at);
        match then {
            Then::On => {}
            Then::Swapped if n >= 2 => {
                // In one piece: who has the second of them has the first too.
                let lines = [self.at + 1, self.at].map(|n| self.inner.line(self.feed, n));
                match lines {
                    [Some(second), Some(first)] => {
                        self.queue.push_back(Part::Bytes([second, first].concat()));
                        self.sent(2, 2);
                    }
                    _ => self.queue.push_back(Part::Cut),
                }
            }
            Then::Swapped => self.send(n.min(1)),
            Then::Together => self.send(n.min(BURST)),
        }
    }

    /// Queues the next `n` events in one piece.
    fn send(&mut self, n: u64) {
        if n == 0 {
            return;
        }
        let mut bytes = Vec::new();
        for n in self.at..self.at + n {
            match self.inner.line(self.feed, n) {
                Some(line) => bytes.extend(line),
                // The snapshot went away under us.
                None => return self.queue.push_back(Part::Cut),
            }
        }
        self.queue.push_back(Part::Bytes(bytes));
        self.sent(n, n);
    }

    fn sent(&mut self, n: u64, n_lines: u64) {
        self.at += n;
        self.drawn = self.drawn.max(self.at);
        self.inner.count(self.feed, |calls| calls.events += n_lines);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.inner.leave(self.id);
    }
}
