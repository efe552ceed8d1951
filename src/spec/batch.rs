//! How much of a stream is one batch.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Code, Diagnostic, Located, Period};

/// How much of a stream is one batch: one plan and one commit. Whichever comes first closes it.
///
/// ```yaml
/// batch: { rows: 2000, every: 5s }
/// ```
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchSize {
    /// The most rows of a batch, 1000 otherwise.
    #[serde(default)]
    pub rows: Option<Located<u64>>,
    /// How long a batch takes rows, 5s otherwise.
    #[serde(default)]
    pub every: Option<Located<Period>>,
}

impl BatchSize {
    /// The most rows that can be asked for: they are in memory together.
    const MOST_ROWS: u64 = 100_000;

    /// Returns the most rows of a batch.
    pub fn rows(&self) -> u64 {
        self.rows.as_ref().map_or(1_000, |rows| rows.value)
    }

    /// Returns how long a batch takes rows.
    pub fn every(&self) -> Duration {
        self.every.as_ref().map_or(Duration::from_secs(5), |every| every.value.duration())
    }

    /// Finds what is wrong with it.
    pub fn check(&self) -> Option<Diagnostic> {
        if let Some(rows) =
            self.rows.as_ref().filter(|rows| !(1..=Self::MOST_ROWS).contains(&rows.value))
        {
            let message = format!(
                "a batch of {} rows; 1 to {} can be asked for",
                rows.value,
                Self::MOST_ROWS
            );
            return Some(Diagnostic::error(Code::BadValue, message, rows.at));
        }
        let long = Duration::from_secs(3_600);
        let every = self.every.as_ref().filter(|every| every.value.duration() > long)?;
        let fault = Diagnostic::error(Code::BadValue, "a batch of more than an hour", every.at);
        Some(fault.help("rows of a batch are seen by nobody before it is committed"))
    }
}
