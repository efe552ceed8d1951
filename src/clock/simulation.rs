//! Time that passes only when nobody has anything to do but wait: a day of calls takes seconds,
//! and each of them happens at its exact moment.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use jiff::Timestamp;

/// A simulated time. Everything that waits for it must run on one single-threaded runtime, with
/// [`Simulation::drive`] beside it.
#[derive(Debug)]
pub struct Simulation {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: Timestamp,
    /// Moments that somebody waits for, the next first, and who.
    waits: BinaryHeap<Reverse<(Timestamp, u64)>>,
    wakers: std::collections::HashMap<u64, Waker>,
    next_id: u64,
    /// Grows when somebody begins to wait.
    n_begun: u64,
    n_busy: usize,
}

/// While it lives, simulated time stands still.
#[derive(Debug)]
pub struct Busy(&'static Simulation);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.n_busy -= 1;
        // Whoever waited for it has not been polled yet.
        state.n_begun += 1;
    }
}

/// Somebody who waits; one who is dropped waits no more.
struct Wait<'a> {
    simulation: &'a Simulation,
    id: Option<u64>,
}

impl Wait<'_> {
    fn poll(&mut self, at: Timestamp, waker: &Waker) -> Poll<()> {
        let mut state = self.simulation.lock();
        if state.now >= at {
            return Poll::Ready(());
        }
        let id = *self.id.get_or_insert_with(|| {
            let id = state.next_id;
            state.next_id += 1;
            state.n_begun += 1;
            state.waits.push(Reverse((at, id)));
            id
        });
        state.wakers.insert(id, waker.clone());
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.simulation.lock().wakers.remove(&id);
        }
    }
}

impl Simulation {
    /// Begins a simulated time at a moment. It is never freed: clocks are copied freely.
    pub fn begin(at: Timestamp) -> &'static Self {
        let state = State {
            now: at,
            waits: BinaryHeap::new(),
            wakers: std::collections::HashMap::new(),
            next_id: 0,
            n_begun: 0,
            n_busy: 0,
        };
        Box::leak(Box::new(Self { state: Mutex::new(state) }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.lock().now
    }

    pub(super) fn busy(&'static self) -> Busy {
        self.lock().n_busy += 1;
        Busy(self)
    }

    pub(super) async fn sleep_until(&self, at: Timestamp) {
        let mut wait = Wait { simulation: self, id: None };
        poll_fn(|context| wait.poll(at, context.waker())).await;
    }

    /// Lets time pass, for ever: it jumps to the next moment that somebody waits for whenever
    /// nobody else has anything to do.
    pub async fn drive(&self) -> std::convert::Infallible {
        /// Rounds of the runtime in which nothing new happened.
        const QUIET: usize = 4;
        let mut quiet = 0;
        let mut seen = 0;
        loop {
            tokio::task::yield_now().await;
            let mut state = self.lock();
            if state.n_busy > 0 || state.n_begun != seen {
                seen = state.n_begun;
                quiet = 0;
                continue;
            }
            quiet += 1;
            if quiet < QUIET {
                continue;
            }
            quiet = 0;
            while let Some(Reverse((_, id))) = state.waits.peek().copied()
                && !state.wakers.contains_key(&id)
            {
                state.waits.pop();
            }
            let Some(Reverse((at, _))) = state.waits.peek().copied() else { continue };
            state.now = state.now.max(at);
            while let Some(Reverse((next, id))) = state.waits.peek().copied()
                && next <= at
            {
                state.waits.pop();
                if let Some(waker) = state.wakers.remove(&id) {
                    waker.wake();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::clock::{Clock, Simulation, after};

    #[tokio::test]
    async fn a_day_passes_at_once_and_in_order() {
        let simulation = Simulation::begin(jiff::Timestamp::UNIX_EPOCH);
        let clock = Clock::simulated(simulation);
        let day = async {
            let sleepers = [3u64, 1, 2].map(|hours| async move {
                clock.sleep(Duration::from_secs(hours * 3600)).await;
                clock.now().as_second() / 3600
            });
            let hours = futures::future::join_all(sleepers).await;
            clock.sleep_until(after(clock.now(), Duration::from_secs(21 * 3600))).await;
            (hours, clock.now().as_second())
        };
        let done = tokio::select! {
            done = day => done,
            never = simulation.drive() => match never {},
        };
        assert_eq!(done, (vec![3, 1, 2], 86_400));
    }

    #[tokio::test]
    async fn time_stands_still_while_another_thread_works() {
        let simulation = Simulation::begin(jiff::Timestamp::UNIX_EPOCH);
        let clock = Clock::simulated(simulation);
        let work = async {
            let busy = clock.busy();
            let late = tokio::spawn(async move { clock.sleep(Duration::from_secs(9)).await });
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            let during = clock.now().as_second();
            drop(busy);
            let _ = late.await;
            (during, clock.now().as_second())
        };
        let done = tokio::select! {
            done = work => done,
            never = simulation.drive() => match never {},
        };
        assert_eq!(done, (0, 9));
    }
}
