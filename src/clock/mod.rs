//! The only reader of wall time, and the only place to wait for it, so that a test or `--at` can
//! stand in for both.

mod simulation;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use simulation::{Busy, Simulation};

/// What time it is: the system's, a fixed moment, or that of a [`Simulation`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Default)]
enum Kind {
    #[default]
    System,
    Fixed(Timestamp),
    Simulated(&'static Simulation),
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still. Waiting on it takes no time.
    pub fn fixed(at: Timestamp) -> Self {
        Self { kind: Kind::Fixed(at) }
    }

    /// A clock that jumps to the next moment for which somebody waits.
    pub fn simulated(simulation: &'static Simulation) -> Self {
        Self { kind: Kind::Simulated(simulation) }
    }

    /// Returns the present moment.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
    pub fn now(&self) -> Timestamp {
        match self.kind {
            Kind::System => Timestamp::now(),
            Kind::Fixed(at) => at,
            Kind::Simulated(simulation) => simulation.now(),
        }
    }

    /// Waits until a moment.
    pub async fn sleep_until(&self, at: Timestamp) {
        match self.kind {
            Kind::System => {
                // The system's clock may be set while it waits.
                while let Some(left) = positive(at.duration_since(self.now())) {
                    tokio::time::sleep(left.min(Duration::from_secs(1))).await;
                }
            }
            Kind::Fixed(_) => {}
            Kind::Simulated(simulation) => simulation.sleep_until(at).await,
        }
    }

    /// Waits for a time.
    pub async fn sleep(&self, time: Duration) {
        match self.kind {
            Kind::System => tokio::time::sleep(time).await,
            Kind::Fixed(_) => {}
            Kind::Simulated(_) => self.sleep_until(after(self.now(), time)).await,
        }
    }

    /// Says that something happens elsewhere (on another thread) that takes no simulated time,
    /// until what is returned is dropped.
    pub fn busy(&self) -> Option<Busy> {
        match self.kind {
            Kind::Simulated(simulation) => Some(simulation.busy()),
            _ => None,
        }
    }
}

fn positive(left: SignedDuration) -> Option<Duration> {
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

/// Returns the moment a time after another; the last there is if that is later.
pub fn after(at: Timestamp, time: Duration) -> Timestamp {
    at.checked_add(time).unwrap_or(Timestamp::MAX)
}
