//! How many requests each key has left: a window that begins with a key's first request.
//!
//! The window is fixed, not rolling: it begins with the first request after the last one ended,
//! and its end stays where it is while what is left falls (`companies-house.md` 3.1). It begins
//! at a whole second, so that the second in `x-ratelimit-reset` is exactly when the next may.

use std::collections::HashMap;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;

/// The windows of all keys.
#[derive(Debug)]
pub(super) struct Limit {
    limit: u32,
    length: Duration,
    windows: HashMap<String, Window>,
    /// How many windows were begun.
    pub n_windows: u64,
    /// The most requests in one window, those refused included.
    pub most: u64,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    /// The second at which it ends.
    reset: i64,
    n_asked: u64,
}

/// What a request was told about its window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    limit: u32,
    remain: u64,
    reset: i64,
    length: Duration,
    /// Whether the request is within the limit.
    pub is_within: bool,
}

impl Limit {
    pub(super) fn new(limit: u32, length: Duration) -> Self {
        // A window shorter than a second cannot be said in the headers.
        let length = length.max(Duration::from_secs(1));
        Self { limit, length, windows: HashMap::new(), n_windows: 0, most: 0 }
    }

    /// Counts a request of `key`.
    pub(super) fn count(&mut self, key: &str, now: Timestamp) -> Told {
        let length = i64::try_from(self.length.as_secs()).unwrap_or(i64::MAX / 2);
        let old = self.windows.get(key).copied();
        let mut window = match old.filter(|window| now.as_second() < window.reset) {
            Some(window) => window,
            None => {
                self.n_windows += 1;
                Window { reset: now.as_second().saturating_add(length), n_asked: 0 }
            }
        };
        window.n_asked += 1;
        self.most = self.most.max(window.n_asked);
        self.windows.insert(key.to_owned(), window);
        Told {
            limit: self.limit,
            remain: u64::from(self.limit).saturating_sub(window.n_asked),
            reset: window.reset,
            length: self.length,
            is_within: window.n_asked <= u64::from(self.limit),
        }
    }

    /// Forgets all windows.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limit, self.length);
    }
}

impl Told {
    /// Adds the four headers.
    pub(super) fn write(self, headers: &mut HeaderMap) {
        let values = [
            ("x-ratelimit-limit", self.limit.to_string()),
            ("x-ratelimit-remain", self.remain.to_string()),
            ("x-ratelimit-reset", self.reset.to_string()),
            ("x-ratelimit-window", shown(self.length)),
        ];
        for (name, value) in values {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
}

/// Writes a length as `5m`, `90s`, `1h`.
fn shown(length: Duration) -> String {
    match length.as_secs() {
        s if s >= 3600 && s.is_multiple_of(3600) => format!("{}h", s / 3600),
        s if s >= 60 && s.is_multiple_of(60) => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}
