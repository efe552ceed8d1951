//! How far sources have read, from run to run.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::State;
use crate::error::Result;

/// How far a source has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The source.
    pub node: String,
    /// A value of its column, as text.
    pub position: String,
    /// The run that came so far; `None` when it was set by hand.
    #[serde(default)]
    pub run_id: Option<String>,
}

impl State {
    /// Returns how far the sources of a pipeline have read, from a state that is not changed.
    pub fn positions(path: &Path, pipeline: &str) -> Result<Vec<Position>> {
        let connection = Self::read_only(path)?;
        // A state of an older version, or none at all, has no positions.
        if !connection.table_exists(None, "engine_positions")? {
            return Ok(Vec::new());
        }
        let mut statement = connection.prepare(
            "SELECT node, position, run_id FROM engine_positions WHERE pipeline = ?1 ORDER BY node",
        )?;
        let rows = statement.query_map([pipeline], |row| {
            Ok(Position { node: row.get(0)?, position: row.get(1)?, run_id: row.get(2)? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Sets how far a source has read, by hand.
    pub fn set_position(&mut self, pipeline: &str, node: &str, position: &str) -> Result<()> {
        set_position(&self.connection, pipeline, node, position, None)
    }

    /// Forgets how far a source, or every source of a pipeline, has read; returns how many.
    pub fn reset_positions(&mut self, pipeline: &str, node: Option<&str>) -> Result<usize> {
        let sql = "DELETE FROM engine_positions
                   WHERE pipeline = ?1 AND (?2 IS NULL OR node = ?2)";
        Ok(self.connection.execute(sql, params![pipeline, node])?)
    }

    /// Returns the variables of the last committed run of a pipeline, replays apart, as a JSON
    /// object.
    pub fn last_vars(&self, pipeline: &str) -> Result<Option<String>> {
        let sql = "SELECT vars FROM engine_runs
                   WHERE pipeline = ?1 AND status IN ('done', 'committed') AND replay IS NULL
                   ORDER BY run_id DESC LIMIT 1";
        Ok(self.connection.query_row(sql, [pipeline], |row| row.get(0)).optional()?)
    }

    /// Returns the rows that a node had in the last committed run of a pipeline, replays apart.
    pub fn last_rows(&self, pipeline: &str, node: &str) -> Result<Option<u64>> {
        let sql = "SELECT rows_out FROM engine_node_runs JOIN engine_runs USING (run_id)
                   WHERE pipeline = ?1 AND node = ?2 AND status IN ('done', 'committed') AND replay IS NULL
                   ORDER BY run_id DESC LIMIT 1";
        let rows = self.connection.query_row(sql, [pipeline, node], |row| row.get(0));
        Ok(rows.optional()?)
    }
}

/// Writes down how far a source has read, in the transaction that commits what it read.
pub(crate) fn set_position(
    connection: &Connection,
    pipeline: &str,
    node: &str,
    position: &str,
    run_id: Option<&str>,
) -> Result<()> {
    connection.execute(
        "INSERT OR REPLACE INTO engine_positions (pipeline, node, position, run_id)
         VALUES (?1, ?2, ?3, ?4)",
        params![pipeline, node, position, run_id],
    )?;
    Ok(())
}
