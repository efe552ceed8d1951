//! Where a source begins that reads only what changed.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Located, Period};

/// Reads only what changed: the rows of a source since a position that is kept from run to run.
///
/// ```yaml
/// changed_since: { column: updated_at, lag: 5m }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangedSince {
    /// The column whose value grows with every change: a moment, a day or a number.
    pub column: Located<String>,
    /// How much before the position to begin, for rows that were written late.
    pub lag: Option<Period>,
}
