//! The rows of a run: how it stands, what each node did, what is still to be published.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};

use super::State;
use crate::error::{Error, Result};
use crate::publish::{Merged, Publish, Staged};

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It reads and stages; nothing of it is visible.
    Running,
    /// It is decided; its outputs are being made visible, again after a crash.
    Committed,
    /// All its outputs are visible.
    Done,
    /// It failed; nothing of it is visible.
    Failed,
    /// It was stopped, or its process died, before it was committed; nothing of it is visible.
    Interrupted,
}

impl Status {
    /// Returns the word in `engine.runs`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Committed => "committed",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A run that begins.
#[derive(Clone, Debug)]
pub struct RunRow {
    /// Its id, unique and growing with time.
    pub run_id: String,
    /// Name of the pipeline.
    pub pipeline: String,
    /// The pipeline file.
    pub file: PathBuf,
    /// When it began.
    pub started_at: Timestamp,
    /// Values of its variables, as a JSON object.
    pub vars: String,
    /// Equal for two runs that read and do the same.
    pub fingerprint: String,
    /// The node whose rejected rows it runs again, if it is a replay.
    pub replay: Option<String>,
    /// The first batch of the `run --follow` that it is a batch of.
    pub follow: Option<String>,
}

/// Keys of a look-up in a run.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct AskedKeys {
    /// Distinct keys.
    pub keys: usize,
    /// Those that were answered before.
    pub known: usize,
    /// Those that were answered in this run.
    pub answered: usize,
    /// Those that got no answer.
    pub failed: usize,
    /// Those that were not asked.
    pub pending: usize,
    /// Why they were not, and when they may all be answered.
    pub note: Option<String>,
}

/// What a node did in a run.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct NodeRun {
    /// Id of the node.
    pub node: String,
    /// `source`, `transform` or `sink`.
    pub family: &'static str,
    /// Its kind, `csv`.
    pub kind: &'static str,
    /// Rows that left it, or that a sink wrote.
    pub rows_out: u64,
    /// Rows that it rejected.
    pub rejected: u64,
    /// Rejected rows by rule.
    pub reasons: Vec<(String, u64)>,
    /// Rows for which a rule warned, by rule.
    pub warnings: Vec<(String, u64)>,
    /// Rows by the port to which they went.
    pub ports: Vec<(String, u64)>,
    /// Calls that a look-up made.
    pub calls: Option<u64>,
    /// What came of the keys of a look-up.
    pub asked: Option<AskedKeys>,
    /// What a table made of the rows.
    pub merged: Option<Merged>,
    /// Seconds from its first to its last row.
    pub seconds: f64,
    /// Words for the closing table: where a sink wrote, what a source read.
    pub detail: String,
    /// A hash of what defines it.
    #[serde(skip)]
    pub definition: Option<String>,
}

/// An output of a committed run that may not be visible yet.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The run.
    pub run_id: String,
    /// The sink.
    pub node: String,
    /// How to make it visible.
    pub publish: Publish,
}

impl State {
    /// Writes down that a run begins.
    pub fn begin(&mut self, run: &RunRow) -> Result<()> {
        self.connection.execute(
            "INSERT INTO engine_runs (run_id, pipeline, file, status, started_at, vars, fingerprint, replay,
                                      follow)
             VALUES (?1, ?2, ?3, 'running', ?4, ?5, ?6, ?7, ?8)",
            params![
                run.run_id,
                run.pipeline,
                run.file.to_string_lossy(),
                run.started_at.to_string(),
                run.vars,
                run.fingerprint,
                run.replay,
                run.follow
            ],
        )?;
        Ok(())
    }

    /// Writes down a staging folder before it is made, so that a crash cannot orphan it.
    pub fn announce(&mut self, run_id: &str, folder: &Path) -> Result<()> {
        self.connection.execute(
            "INSERT OR IGNORE INTO engine_staging (run_id, folder) VALUES (?1, ?2)",
            params![run_id, folder.to_string_lossy()],
        )?;
        Ok(())
    }

    /// Ends a run that was not committed; `false` when it was, and stays as it is.
    pub fn abandon(
        &mut self,
        run_id: &str,
        status: Status,
        at: Timestamp,
        error: Option<&str>,
    ) -> Result<bool> {
        let n_ended = self.connection.execute(
            "UPDATE engine_runs SET status = ?2, ended_at = ?3, error = ?4
             WHERE run_id = ?1 AND status = 'running'",
            params![run_id, status.word(), at.to_string(), error],
        )?;
        Ok(n_ended == 1)
    }

    /// Notes that one output of a committed run is visible, and what the table made of it.
    pub fn published(&mut self, pending: &Pending, merged: Option<&Merged>) -> Result<()> {
        let tx = self.connection.transaction()?;
        tx.execute(
            "UPDATE engine_outputs SET published = 1 WHERE run_id = ?1 AND node = ?2",
            params![pending.run_id, pending.node],
        )?;
        if let Some(merged) = merged {
            write_merged(&tx, &pending.run_id, &pending.node, merged)?;
        }
        Ok(tx.commit()?)
    }

    /// Ends a committed run whose outputs are all visible and whose staging folders are gone.
    pub fn finish(&mut self, run_id: &str, at: Timestamp) -> Result<()> {
        self.connection.execute(
            "UPDATE engine_runs SET status = 'done', ended_at = ?2
             WHERE run_id = ?1 AND status = 'committed'",
            params![run_id, at.to_string()],
        )?;
        Ok(())
    }

    /// Forgets the staging folders of a run after they were removed.
    pub fn forget_staging(&mut self, run_id: &str) -> Result<()> {
        self.connection.execute("DELETE FROM engine_staging WHERE run_id = ?1", [run_id])?;
        Ok(())
    }

    /// Returns the staging folders of a run.
    pub fn staging(&self, run_id: &str) -> Result<Vec<PathBuf>> {
        let sql = "SELECT folder FROM engine_staging WHERE run_id = ?1";
        let folders: Vec<String> = all(&self.connection, sql, run_id)?;
        Ok(folders.into_iter().map(PathBuf::from).collect())
    }

    /// Returns the runs of a pipeline that a dead process left behind in a status.
    pub fn left_behind(&self, pipeline: &str, status: Status) -> Result<Vec<String>> {
        let sql = format!(
            "SELECT run_id FROM engine_runs WHERE pipeline = ?1 AND status = '{}' ORDER BY run_id",
            status.word()
        );
        Ok(all(&self.connection, &sql, pipeline)?)
    }

    /// Returns runs that ended and whose staging folders could not be removed at the time.
    pub fn unswept(&self, pipeline: &str) -> Result<Vec<String>> {
        let sql = "SELECT DISTINCT run_id FROM engine_staging JOIN engine_runs USING (run_id)
                   WHERE pipeline = ?1 AND status IN ('failed', 'interrupted') ORDER BY run_id";
        Ok(all(&self.connection, sql, pipeline)?)
    }

    /// Returns the outputs of a committed run that are not known to be visible.
    pub fn pending(&self, run_id: &str) -> Result<Vec<Pending>> {
        let mut statement = self.connection.prepare(
            "SELECT node, publish FROM engine_outputs WHERE run_id = ?1 AND published = 0
             ORDER BY rowid",
        )?;
        let rows = statement
            .query_map([run_id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        let mut pending = Vec::new();
        for row in rows {
            let (node, publish) = row?;
            let publish = serde_json::from_str(&publish).map_err(|error| {
                Error::internal(format!("the state holds an unreadable output of run {run_id}"))
                    .because(error)
            })?;
            pending.push(Pending { run_id: run_id.to_owned(), node, publish });
        }
        Ok(pending)
    }

    /// Returns the fingerprint of a run.
    pub fn fingerprint(&self, run_id: &str) -> Result<String> {
        let sql = "SELECT fingerprint FROM engine_runs WHERE run_id = ?1";
        Ok(self.connection.query_row(sql, [run_id], |row| row.get(0))?)
    }
}

fn all(connection: &Connection, sql: &str, parameter: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([parameter], |row| row.get(0))?;
    rows.collect()
}

/// Writes the decision into the commit transaction: the run is committed, these are its outputs.
pub(crate) fn record(
    tx: &Transaction<'_>,
    run: &RunRow,
    outputs: &[(String, Staged, bool)],
    nodes: &[NodeRun],
) -> Result<()> {
    let updated = tx.execute(
        "UPDATE engine_runs SET status = 'committed' WHERE run_id = ?1 AND status = 'running'",
        [&run.run_id],
    )?;
    if updated != 1 {
        return Err(Error::internal(format!("run {} is not running", run.run_id)));
    }
    for (node, staged, published) in outputs {
        let publish = serde_json::to_string(&staged.publish)
            .map_err(|error| Error::internal("an output cannot be written down").because(error))?;
        tx.execute(
            "INSERT INTO engine_outputs (run_id, node, publish, published) VALUES (?1, ?2, ?3, ?4)",
            params![run.run_id, node, publish, published],
        )?;
        for file in &staged.files {
            tx.execute(
                "INSERT INTO engine_files (run_id, node, path, row_count, bytes, sha256)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    run.run_id,
                    node,
                    file.path.to_string_lossy(),
                    file.rows,
                    file.bytes,
                    file.sha256
                ],
            )?;
        }
    }
    for node in nodes {
        write_node(tx, run, node)?;
    }
    Ok(())
}

fn write_node(tx: &Transaction<'_>, run: &RunRow, node: &NodeRun) -> Result<()> {
    let reasons = json(node.reasons.iter().chain(&node.warnings));
    tx.execute(
        "INSERT INTO engine_node_runs
           (run_id, node, family, kind, rows_out, rejected, seconds, started_at, reasons,
            ports, definition, calls, pending)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            run.run_id,
            node.node,
            node.family,
            node.kind,
            node.rows_out,
            node.rejected,
            node.seconds,
            run.started_at.to_string(),
            reasons,
            json(&node.ports),
            node.definition,
            node.calls,
            node.asked.as_ref().map(|asked| asked.pending as u64)
        ],
    )?;
    match &node.merged {
        Some(merged) => write_merged(tx, &run.run_id, &node.node, merged),
        None => Ok(()),
    }
}

/// Writes counts as a JSON object.
fn json<'a>(counts: impl IntoIterator<Item = &'a (String, u64)>) -> String {
    let counts = counts.into_iter().map(|(name, n)| (name.clone(), (*n).into()));
    serde_json::Value::Object(counts.collect()).to_string()
}

fn write_merged(tx: &Transaction<'_>, run_id: &str, node: &str, merged: &Merged) -> Result<()> {
    tx.execute(
        "UPDATE engine_node_runs SET new = ?3, changed = ?4, same = ?5, older = ?6, gone = ?7
         WHERE run_id = ?1 AND node = ?2",
        params![run_id, node, merged.new, merged.changed, merged.same, merged.older, merged.gone],
    )?;
    Ok(())
}
