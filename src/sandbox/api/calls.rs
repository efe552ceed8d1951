//! What the API was asked and how it answered, counted for tests.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use http::StatusCode;
use serde::Serialize;

use super::super::stream::FeedCalls;
use super::faults::Fault;

/// What was asked so far. `total` is `answered` + `limited` + `refused` + all `faults`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// All requests.
    pub total: u64,
    /// Those answered with what there is, or 404.
    pub answered: u64,
    /// How many paths were asked for, without their queries.
    pub distinct: u64,
    /// Requests for a path that was asked for before.
    pub repeated: u64,
    /// 429 because the window was used up.
    pub limited: u64,
    /// What the requests themselves were at fault for: 400, 401, 405.
    pub refused: u64,
    /// Faults by name; a 403 counts for as long as it holds.
    pub faults: BTreeMap<Fault, u64>,
    /// How many windows were begun.
    pub windows: u64,
    /// The most requests in one window, those over the limit included.
    pub most_in_a_window: u64,
    /// What a server would count as abuse: every answer of 400 and above but 404, by status.
    pub load: u64,
    /// What became of connections to streams, by feed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stream: BTreeMap<&'static str, FeedCalls>,
}

/// The counters while they count.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub calls: Calls,
    seen: HashSet<u64>,
}

impl Counters {
    /// Counts a request and returns how many came before it.
    pub(super) fn asked(&mut self, path: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let is_new = self.seen.insert(hasher.finish());
        self.calls.distinct += u64::from(is_new);
        self.calls.repeated += u64::from(!is_new);
        self.calls.total += 1;
        self.calls.total - 1
    }

    /// Counts an answer.
    pub(super) fn answered(&mut self, status: StatusCode, fault: Option<Fault>) {
        let is_fine = status.is_success() || status == StatusCode::NOT_FOUND;
        self.calls.load += u64::from(!is_fine);
        match fault {
            Some(fault) => *self.calls.faults.entry(fault).or_default() += 1,
            None if is_fine => self.calls.answered += 1,
            None if status == StatusCode::TOO_MANY_REQUESTS => self.calls.limited += 1,
            None => self.calls.refused += 1,
        }
    }
}
