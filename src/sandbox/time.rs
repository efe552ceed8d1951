//! The sandbox's time: that of a clock, or so many times as fast.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;

/// A time that begins with the clock's and runs a whole number of times as fast.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    clock: Clock,
    start: Timestamp,
    speed: u32,
}

impl Time {
    /// Begins a time at the clock's moment, `speed` times as fast as the clock's.
    pub fn begin(clock: Clock, speed: u32) -> Self {
        Self { clock, start: clock.now(), speed: speed.max(1) }
    }

    /// Returns the moment at which it began.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// Returns the present moment.
    pub fn now(&self) -> Timestamp {
        let past = self.clock.now().duration_since(self.start).as_nanos();
        let past = past.saturating_mul(i128::from(self.speed));
        let past = SignedDuration::try_from_nanos_i128(past).unwrap_or(SignedDuration::MAX);
        self.start.checked_add(past).unwrap_or(Timestamp::MAX)
    }

    /// Waits for a length of this time.
    pub(super) async fn sleep(&self, length: Duration) {
        self.clock.sleep(length / self.speed).await;
    }

    /// Waits until a moment of this time, or for a while of the clock's if that is shorter.
    pub(super) async fn sleep_until(&self, at: Timestamp, longest: Duration) {
        let left = Duration::try_from(at.duration_since(self.now())).unwrap_or(Duration::ZERO);
        // Rounded up: nobody is to wake before the moment, and ask and wait again.
        let left = (left / self.speed).saturating_add(Duration::from_micros(1));
        self.clock.sleep(left.min(longest)).await;
    }
}
