//! Spares a server that is down: after some failures in a row nobody asks for a while, then one call
//! goes ahead, and the rest follow if it succeeds.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::clock::{Clock, after};

/// Failures in a row that open it.
const MOST_FAILURES: u32 = 5;
/// The first and the longest pause.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long the call that goes ahead may take before another one does.
const AHEAD: Duration = Duration::from_secs(60);

/// A circuit breaker of one server.
#[derive(Debug)]
pub(super) struct Breaker {
    clock: Clock,
    state: Mutex<State>,
    closed: Notify,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// The moment of the first failure in a row.
    since: Option<Timestamp>,
    open_until: Option<Timestamp>,
}

impl Breaker {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default(), closed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a call may go.
    pub(super) async fn pass(&self) {
        loop {
            let closed = self.closed.notified();
            let until = {
                let mut state = self.state();
                let now = self.clock.now();
                match state.open_until {
                    None => return,
                    Some(until) if now >= until => {
                        state.open_until = Some(after(now, AHEAD));
                        return;
                    }
                    Some(until) => until,
                }
            };
            tokio::select! {
                () = closed => {}
                () = self.clock.sleep_until(until) => {}
            }
        }
    }

    /// Notes that the server works.
    pub(super) fn succeeded(&self) {
        let mut state = self.state();
        let was_open = state.open_until.is_some();
        *state = State::default();
        drop(state);
        if was_open {
            self.closed.notify_waiters();
        }
    }

    /// Notes that it does not; returns for how long, when it was many times in a row. `random` is from
    /// 0 to 1.
    pub(super) fn failed(&self, random: f64) -> Duration {
        let now = self.clock.now();
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        let since = *state.since.get_or_insert(now);
        if state.failures >= MOST_FAILURES {
            let doubled = 1u32 << (state.failures - MOST_FAILURES).min(6);
            let pause = (PAUSES.0 * doubled).min(PAUSES.1).mul_f64(0.5 + random / 2.0);
            state.open_until = Some(after(now, pause));
        }
        let down_for = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        if state.failures < MOST_FAILURES + 2 { Duration::ZERO } else { down_for }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Simulation;

    #[tokio::test]
    async fn opens_after_five_failures_and_lets_one_go_ahead() {
        let simulation = Simulation::begin(Timestamp::UNIX_EPOCH);
        let clock = Clock::simulated(simulation);
        let breaker = Breaker::new(clock);
        let test = async {
            for _ in 0..4 {
                breaker.failed(1.0);
            }
            breaker.pass().await;
            assert_eq!(clock.now(), Timestamp::UNIX_EPOCH);
            breaker.failed(1.0);
            let passes = async {
                breaker.pass().await;
                clock.now().as_millisecond()
            };
            let ahead = passes.await;
            let others = futures::future::join(
                async {
                    breaker.pass().await;
                    clock.now().as_millisecond()
                },
                async {
                    clock.sleep(Duration::from_secs(3)).await;
                    breaker.succeeded();
                },
            );
            assert_eq!((ahead, others.await.0), (1000, 4000));
        };
        tokio::select! {
            () = test => {}
            never = simulation.drive() => match never {},
        }
    }
}
