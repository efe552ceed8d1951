//! What a state file remembers, read without changing it: for those who look ahead.

use std::path::Path;

use rusqlite::{Connection, Row, params};
use serde::Serialize;

use super::{State, cannot_open, refuse_newer};
use crate::error::Result;

/// A state file that is only looked at.
#[derive(Debug)]
pub struct Past {
    connection: Connection,
    /// States of older versions have none.
    has_definitions: bool,
    /// States of older versions know no replays.
    has_replays: bool,
}

/// A run of the past.
#[derive(Clone, Debug, Serialize)]
pub struct PastRun {
    /// Its id.
    pub run_id: String,
    /// How it stands, as in `engine.runs`.
    pub status: String,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// Values of its variables, as a JSON object.
    #[serde(skip)]
    pub vars: String,
    /// Equal for two runs that read and do the same.
    #[serde(skip)]
    pub fingerprint: String,
}

/// A node of a run of the past.
#[derive(Clone, Debug)]
pub struct PastNode {
    /// Its id.
    pub node: String,
    /// `source`, `transform` or `sink`.
    pub family: String,
    /// Its kind, `csv`.
    pub kind: String,
    /// A hash of what defined it; `None` when the run was made by an older version.
    pub definition: Option<String>,
}

impl Past {
    /// Opens a state file; `None` when nothing was ever run on it.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        if !path.is_file() {
            return Ok(None);
        }
        let connection = State::read_only(path)?;
        let is_state = connection.table_exists(None, "engine_runs");
        if !is_state.map_err(|e| cannot_open(path, e))? {
            return Ok(None);
        }
        refuse_newer(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)?;
        let has_definitions = connection.column_exists(None, "engine_node_runs", "definition")?;
        let has_replays = connection.column_exists(None, "engine_runs", "replay")?;
        Ok(Some(Self { connection, has_definitions, has_replays }))
    }

    /// Returns the last run of a pipeline that ended, however it did; replays apart.
    pub fn last_ended(&self, pipeline: &str) -> Result<Option<PastRun>> {
        self.last(pipeline, "status IN ('done', 'failed', 'interrupted')")
    }

    /// Returns the last run of a pipeline that has happened: its outputs are visible, or will be.
    /// Replays apart: they are no whole runs.
    pub fn last_committed(&self, pipeline: &str) -> Result<Option<PastRun>> {
        self.last(pipeline, "status IN ('done', 'committed')")
    }

    fn last(&self, pipeline: &str, which: &str) -> Result<Option<PastRun>> {
        let whole = if self.has_replays { "AND replay IS NULL" } else { "" };
        let last = format!("{which} {whole} ORDER BY run_id DESC LIMIT 1");
        Ok(self.runs(pipeline, &last)?.pop())
    }

    /// Returns the runs of a pipeline that have not ended: they go on, or were cut off.
    pub fn not_ended(&self, pipeline: &str) -> Result<Vec<PastRun>> {
        self.runs(pipeline, "status IN ('running', 'committed') ORDER BY run_id")
    }

    /// Returns the nodes of a run.
    pub fn nodes(&self, run_id: &str) -> Result<Vec<PastNode>> {
        let definition = if self.has_definitions { "definition" } else { "NULL" };
        let sql = format!(
            "SELECT node, family, kind, {definition} FROM engine_node_runs
             WHERE run_id = ?1 ORDER BY rowid"
        );
        let mut statement = self.connection.prepare(&sql)?;
        let nodes = statement.query_map([run_id], |row| {
            Ok(PastNode {
                node: row.get(0)?,
                family: row.get(1)?,
                kind: row.get(2)?,
                definition: row.get(3)?,
            })
        })?;
        Ok(nodes.collect::<rusqlite::Result<_>>()?)
    }

    fn runs(&self, pipeline: &str, which: &str) -> Result<Vec<PastRun>> {
        let sql = format!(
            "SELECT run_id, status, started_at, ended_at, error, vars, fingerprint
             FROM engine_runs WHERE pipeline = ?1 AND {which}"
        );
        let mut statement = self.connection.prepare(&sql)?;
        let runs = statement.query_map(params![pipeline], run)?;
        Ok(runs.collect::<rusqlite::Result<_>>()?)
    }
}

fn run(row: &Row<'_>) -> rusqlite::Result<PastRun> {
    Ok(PastRun {
        run_id: row.get(0)?,
        status: row.get(1)?,
        started_at: row.get(2)?,
        ended_at: row.get(3)?,
        error: row.get(4)?,
        vars: row.get(5)?,
        fingerprint: row.get(6)?,
    })
}
