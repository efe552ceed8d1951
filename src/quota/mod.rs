//! How often APIs may be called, and how much may be spent: kept in the state file, so that all
//! nodes, runs and processes that name the same rate limit share it.
//!
//! Every call takes a permit before it goes out and settles it when its answer is there. Windows
//! are the server's own (`window.rs`); who waits for one is told by the state file alone, so a
//! process that dies leaves nothing locked.

mod budget;
mod headers;
mod limiter;
mod store;
mod window;

use std::time::Duration;

use crate::spec;

pub use headers::Said;
pub use limiter::{Claim, Ended, Permit, Quota};

/// A rate limit, as permits are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Its name, under which it is shared.
    pub name: String,
    rates: Vec<window::Rate>,
}

impl Limit {
    /// Makes a limit of what a file says.
    pub fn new(name: &str, limit: &spec::RateLimit) -> Self {
        let rates = limit.rates.value.iter().map(|rate| window::Rate {
            calls: rate.calls,
            length: milliseconds(rate.window),
            reserve: limit.reserve.map_or(0.0, spec::Share::of_one),
            follow: limit.follow_headers,
        });
        Self { name: name.to_owned(), rates: rates.collect() }
    }

    /// Returns how long a number of calls takes at least, when a window is just beginning.
    pub fn time_for(&self, n_calls: u64) -> Duration {
        let time = |rate: &window::Rate| {
            let reserved = (rate.calls as f64 * rate.reserve).ceil() as u64;
            let allowed = rate.calls.saturating_sub(reserved).max(1);
            let windows = n_calls.saturating_sub(1) / allowed;
            Duration::from_millis(rate.length.unsigned_abs().saturating_mul(windows))
        };
        self.rates.iter().map(time).max().unwrap_or_default()
    }
}

impl std::fmt::Display for Limit {
    /// `companies_house (600/5m, 10% left to others)`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (", self.name)?;
        for (index, rate) in self.rates.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            let length = Duration::from_millis(rate.length.unsigned_abs());
            write!(f, "{comma}{}/{}", rate.calls, spec::Period::of(length))?;
        }
        match self.rates.first().map_or(0.0, |rate| rate.reserve) {
            reserve if reserve > 0.0 => write!(f, ", {:.0}% left to others)", reserve * 100.0),
            _ => f.write_str(")"),
        }
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4)
}
