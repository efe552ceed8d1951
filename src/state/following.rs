//! Streams: what they lack, how they are, and the history of batches.

use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::State;
use crate::error::Result;
use crate::feeds::{Gap, Health};

/// How a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedRow {
    /// The source.
    pub node: String,
    /// How its feed is.
    pub health: Health,
    /// Since when it has been silent, while it should not be.
    pub stalled_since: Option<Timestamp>,
}

/// Notes gaps that a run found, each once.
pub(crate) fn note_gaps(
    connection: &Connection,
    pipeline: &str,
    run_id: &str,
    at: Timestamp,
    gaps: &[(String, Gap)],
) -> Result<()> {
    for (node, Gap { after, before, reason }) in gaps {
        let (after, before) = (after.to_string(), before.map(|before| before.to_string()));
        connection.execute(
            "INSERT INTO engine_gaps
               (pipeline, node, after_position, before_position, reason, found_at, run_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT DO UPDATE SET before_position =
               coalesce(engine_gaps.before_position, excluded.before_position)",
            params![pipeline, node, after, before, reason.name(), at.to_string(), run_id],
        )?;
    }
    Ok(())
}

/// Returns how far a source has read, inside a transaction.
pub(crate) fn saved_position(
    connection: &Connection,
    pipeline: &str,
    node: &str,
) -> Result<Option<String>> {
    let sql = "SELECT position FROM engine_positions WHERE pipeline = ?1 AND node = ?2";
    Ok(connection.query_row(sql, [pipeline, node], |row| row.get(0)).optional()?)
}

/// Closes the gaps of a stream that were found until a day: a run has read what is in them.
pub(crate) fn close_gaps(
    connection: &Connection,
    (pipeline, node): (&str, &str),
    day: Date,
    (run_id, at): (&str, Timestamp),
) -> Result<usize> {
    let sql = "UPDATE engine_gaps SET closed_at = ?4, closed_by = ?5
               WHERE pipeline = ?1 AND node = ?2 AND closed_at IS NULL
                 AND substr(found_at, 1, 10) <= ?3";
    let values = params![pipeline, node, day.to_string(), at.to_string(), run_id];
    Ok(connection.execute(sql, values)?)
}

impl State {
    /// Saves where a stream begins of which nothing was read; that ends its open gaps.
    pub fn begin_stream(&mut self, pipeline: &str, node: &str, position: &str) -> Result<()> {
        let tx = self.connection.transaction()?;
        super::set_position(&tx, pipeline, node, position, None)?;
        let first =
            position.parse().map_or_else(|_| position.to_owned(), |n: u64| (n + 1).to_string());
        tx.execute(
            "UPDATE engine_gaps SET before_position = ?3
             WHERE pipeline = ?1 AND node = ?2 AND before_position IS NULL",
            [pipeline, node, &first],
        )?;
        Ok(tx.commit()?)
    }

    /// Returns the gaps of a pipeline that nobody has filled, from a state that is not changed: the
    /// source, the last event before, how it was noticed, and when.
    pub fn open_gaps(path: &Path, pipeline: &str) -> Result<Vec<[String; 4]>> {
        let connection = Self::read_only(path)?;
        if !connection.table_exists(None, "engine_gaps")? {
            return Ok(Vec::new());
        }
        let mut statement = connection.prepare(
            "SELECT node, after_position, reason, found_at FROM engine_gaps
             WHERE pipeline = ?1 AND closed_at IS NULL ORDER BY found_at",
        )?;
        let rows = statement.query_map([pipeline], |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Notes gaps that a run found which was not committed.
    pub fn note_gaps(
        &mut self,
        pipeline: &str,
        run_id: &str,
        at: Timestamp,
        gaps: &[(String, Gap)],
    ) -> Result<()> {
        note_gaps(&self.connection, pipeline, run_id, at, gaps)
    }

    /// Notes how streams are.
    pub fn note_feeds(&mut self, pipeline: &str, at: Timestamp, feeds: &[FeedRow]) -> Result<()> {
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let tx = self.connection.transaction()?;
        for feed in feeds {
            tx.execute(
                "INSERT OR REPLACE INTO engine_feeds
                   (pipeline, node, is_connected, since, last_event_at, last_sign_at, connections,
                    stalled_since, looked_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    pipeline,
                    feed.node,
                    feed.health.is_connected,
                    feed.health.since.to_string(),
                    text(feed.health.last_event),
                    text(feed.health.last_sign),
                    feed.health.n_connections,
                    text(feed.stalled_since),
                    at.to_string()
                ],
            )?;
        }
        Ok(tx.commit()?)
    }

    /// Forgets what nodes did in the batches of a pipeline that are done, but for the last `keep`
    /// and the first of each `run --follow`. The files that they published are listed under the oldest
    /// run that is left. Returns how many.
    pub fn fold_batches(&mut self, pipeline: &str, keep: u64) -> Result<u64> {
        let old = "SELECT run_id FROM engine_runs
                   WHERE pipeline = ?1 AND status = 'done' AND follow IS NOT NULL AND follow <> run_id
                   ORDER BY run_id DESC LIMIT -1 OFFSET ?2";
        let tx = self.connection.transaction()?;
        let sql = format!(
            "UPDATE engine_files SET run_id = (
               SELECT min(run_id) FROM engine_runs WHERE pipeline = ?1 AND run_id NOT IN ({old}))
             WHERE run_id IN ({old})"
        );
        tx.execute(&sql, params![pipeline, keep])?;
        for table in ["engine_node_runs", "engine_outputs"] {
            let sql = format!("DELETE FROM {table} WHERE run_id IN ({old})");
            tx.execute(&sql, params![pipeline, keep])?;
        }
        let sql = format!("DELETE FROM engine_runs WHERE run_id IN ({old})");
        let n_folded = tx.execute(&sql, params![pipeline, keep])?;
        tx.commit()?;
        Ok(n_folded as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::state::{RunRow, Status};

    #[test]
    fn old_batches_are_folded_and_their_files_stay_listed() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::io(Path::new("tmp"), e))?;
        let mut state = State::open(&folder.path().join("state.db"))?;
        for n in 0..10 {
            let row = RunRow {
                run_id: format!("run{n}"),
                pipeline: "p".to_owned(),
                file: "p.yaml".into(),
                started_at: Timestamp::UNIX_EPOCH,
                vars: "{}".to_owned(),
                fingerprint: String::new(),
                replay: None,
                // The last one runs alone.
                follow: (n < 9).then(|| "run0".to_owned()),
            };
            state.begin(&row)?;
            let id = &row.run_id;
            state.connection.execute_batch(&format!(
                "INSERT INTO engine_files VALUES ('{id}', 'files', 'part-{id}', 1, 1, 'x');
                 INSERT INTO engine_node_runs (run_id, node, family, kind, rows_out, rejected,
                                               seconds, started_at, reasons)
                   VALUES ('{id}', 'n', 'source', 'x', 1, 0, 0, '', '{{}}');
                 UPDATE engine_runs SET status = '{}' WHERE run_id = '{id}'",
                Status::Done.word()
            ))?;
        }
        assert_eq!(state.fold_batches("p", 3)?, 5);
        let of = |state: &State, sql: &str| -> Result<String> {
            Ok(state.connection.query_row(sql, [], |row| row.get(0))?)
        };
        let runs =
            "SELECT group_concat(run_id) FROM (SELECT run_id FROM engine_runs ORDER BY run_id)";
        assert_eq!(of(&state, runs)?, "run0,run6,run7,run8,run9");
        assert_eq!(of(&state, "SELECT count(*) || '' FROM engine_files")?, "10");
        assert_eq!(
            of(&state, "SELECT count(*) || '' FROM engine_files WHERE run_id = 'run0'")?,
            "6"
        );
        assert_eq!(state.fold_batches("other", 0)?, 0);
        // Also when the first batch was never written down.
        state
            .connection
            .execute("UPDATE engine_runs SET follow = 'lost' WHERE follow = 'run0'", [])?;
        assert_eq!(state.fold_batches("p", 1)?, 3);
        assert_eq!(of(&state, "SELECT min(run_id) || max(run_id) FROM engine_files")?, "run8run9");
        Ok(())
    }
}
