//! The keys beside `enrich`: how an API is asked, and what happens to what it does not answer.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Located, LocatedMap, Period};

/// How a look-up asks.
#[derive(Clone, Debug, Default)]
pub struct Asking {
    /// The columns that make the key.
    pub by: Vec<Located<String>>,
    /// The rate limit of `resources` that its calls share.
    pub rate_limit: Option<Located<String>>,
    /// What a call costs of budgets of `resources`.
    pub budget: LocatedMap<Located<u64>>,
    /// The most calls on their way at once.
    pub in_flight: Option<Located<u32>>,
    /// How long an answer is as good as asking.
    pub keep_for: Option<Located<Period>>,
    /// The column by which a row is newer than an answer.
    pub newer_by: Option<Located<String>>,
    /// What becomes of an answer with several rows.
    pub rows: Option<Located<AnswerRows>>,
    /// What happens to rows whose key the API does not know.
    pub on_missing: Option<Located<OnMissing>>,
    /// What happens to rows whose key got no answer.
    pub on_error: Option<Located<OnError>>,
    /// How often and when a call is made again.
    pub retry: Option<Located<Retry>>,
    /// The time after which no more keys are asked in a run.
    pub stop_after: Option<Located<Period>>,
    /// The order in which keys are asked, as in ORDER BY.
    pub first: Vec<Located<String>>,
    /// Those of its keys that the file gives.
    pub given: Vec<Located<String>>,
}

/// What becomes of an answer with several rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerRows {
    /// The row comes once for each of them.
    #[default]
    Each,
    /// The row comes once, with the first of them.
    First,
    /// The row comes once, with all of them as a list in the column `answers`.
    List,
}

/// What happens to rows whose key the API does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnMissing {
    /// They go no further; the port `.missing` has them.
    #[default]
    Drop,
    /// They go on without an answer.
    Keep,
}

/// What happens to rows whose key got no answer, once retries are spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// They go to the port `.rejected`, with the reason.
    #[default]
    Reject,
    /// They go on without an answer, and are counted.
    Keep,
    /// The run stops before anything is published.
    Stop,
}

/// How often and when a call is made again that brought no answer. The wait is a random part of
/// `wait`, twice of it, four times and so on; what the server asks for wins.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Calls for a key before it is given up; those that a rate limit refuses do not count.
    pub attempts: Located<u32>,
    /// The longest wait before the second.
    pub wait: Period,
    /// The longest wait before any.
    pub up_to: Period,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: Located { value: 5, ..Located::default() },
            wait: Period::seconds(1),
            up_to: Period::seconds(300),
        }
    }
}
