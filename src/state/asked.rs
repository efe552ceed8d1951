//! How far look-ups are, and what is left of rate limits: written while a run asks, read by others.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Row, params};
use serde::Serialize;

use super::{AskedKeys, Ledger, State};
use crate::error::Result;

/// What is left of a window of a rate limit.
#[derive(Clone, Debug, Serialize)]
pub struct LimitNow {
    /// The rate limit.
    pub name: String,
    /// Calls of ours in its present window.
    pub sent: u64,
    /// Calls that the server allows in a window; `None` when it does not say.
    pub allowed: Option<u64>,
    /// Calls that are left, as far as the server has said.
    pub remain: Option<u64>,
    /// Calls that others made in the window, at least.
    pub others: u64,
    /// When the window ends.
    pub ends_at: Option<Timestamp>,
}

impl Ledger {
    /// Notes how far a look-up is.
    pub async fn note(
        &self,
        run_id: &str,
        (node, rate_limit): (&str, &str),
        asked: &AskedKeys,
        done_at: Timestamp,
    ) -> Result<()> {
        let (run_id, node, limit) = (run_id.to_owned(), node.to_owned(), rate_limit.to_owned());
        let AskedKeys { keys, known, answered, failed, .. } = asked.clone();
        self.0
            .on_thread(move |connection, _| {
                let sql = "INSERT OR REPLACE INTO engine_asked
                         (run_id, node, keys, known, answered, failed, rate_limit, done_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
                let (keys, known, answered) = (keys as u64, known as u64, answered as u64);
                let done_at = done_at.as_millisecond();
                connection.prepare_cached(sql)?.execute(params![
                    run_id,
                    node,
                    keys,
                    known,
                    answered,
                    failed as u64,
                    limit,
                    done_at
                ])?;
                Ok(())
            })
            .await
    }
}

impl State {
    /// Returns what is left of the rate limits of a state file.
    pub fn limits(path: &Path) -> Result<Vec<LimitNow>> {
        let sql = "SELECT name, sent, allowed, remain, others, ends_at FROM engine_limits
                   ORDER BY name, length";
        let read = |row: &Row<'_>| {
            Ok(LimitNow {
                name: row.get(0)?,
                sent: row.get(1)?,
                allowed: row.get(2)?,
                remain: row.get(3)?,
                others: row.get(4)?,
                ends_at: row.get::<_, Option<i64>>(5)?.map(moment),
            })
        };
        if !path.is_file() {
            return Ok(Vec::new());
        }
        let connection = State::read_only(path)?;
        // A state of an older version has none.
        if !connection.table_exists(None, "engine_limits")? {
            return Ok(Vec::new());
        }
        let mut statement = connection.prepare(sql)?;
        let limits = statement.query_map([], read)?;
        Ok(limits.collect::<rusqlite::Result<_>>()?)
    }
}

fn moment(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}
