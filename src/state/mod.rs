//! The state file: one SQLite database that is the truth about every run.
//!
//! Only `engine::run` and `engine::commit` write it. The protocol is told in `docs/architecture.md`.

mod asked;
mod following;
mod ledger;
mod lock;
mod past;
mod positions;
mod runs;
mod shared;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, Result};
use crate::publish::{BUSY, durable};

pub use asked::LimitNow;
pub use following::FeedRow;
pub(crate) use following::{close_gaps, note_gaps, saved_position};
pub use ledger::{Answer, Ledger};
pub use lock::Lock;
pub use past::{Past, PastNode, PastRun};
pub use positions::Position;
pub(crate) use positions::set_position;
pub(crate) use runs::record;
pub use runs::{AskedKeys, NodeRun, Pending, RunRow, Status};
pub use shared::Shared;

const SCHEMA: &str = include_str!("schema.sql");
const POSITIONS: &str = include_str!("positions.sql");
const ASKING: &str = include_str!("asking.sql");
const FOLLOWING: &str = include_str!("following.sql");
const VERSION: i64 = 7;
/// What brings a state file of each older version to the next.
const UPGRADES: &[(i64, &str)] = &[
    (1, "ALTER TABLE engine_node_runs ADD COLUMN ports TEXT NOT NULL DEFAULT '{}'"),
    (2, POSITIONS),
    (3, "ALTER TABLE engine_node_runs ADD COLUMN definition TEXT"),
    (4, "ALTER TABLE engine_runs ADD COLUMN replay TEXT"),
    (5, "ALTER TABLE engine_node_runs ADD COLUMN calls INTEGER"),
    (5, "ALTER TABLE engine_node_runs ADD COLUMN pending INTEGER"),
    (5, ASKING),
    (6, "ALTER TABLE engine_runs ADD COLUMN follow TEXT"),
    (6, FOLLOWING),
];

/// Names of the engine's tables in the state file, without the prefix `engine_`.
pub const TABLES: &[&str] = &[
    "runs",
    "node_runs",
    "files",
    "outputs",
    "positions",
    "limits",
    "calls",
    "pauses",
    "budgets",
    "answers",
    "asked",
    "gaps",
    "feeds",
];

/// An open state file.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    connection: Connection,
}

impl State {
    /// Opens the state file, and makes it if there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let mut connection = Connection::open(path).map_err(|e| cannot_open(path, e))?;
        durable(&connection).map_err(|e| cannot_open(path, e))?;
        migrate(&mut connection).map_err(|e| e.in_node(&path.display().to_string()))?;
        Ok(Self { path: path.to_owned(), connection })
    }

    /// Opens a SQLite file for reading only. SQLite reads a file in WAL mode through files beside
    /// it; where those cannot be made and nobody has any, it is read as a file that nobody writes.
    pub fn read_only(path: &Path) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|e| cannot_open(path, e))?;
        connection.busy_timeout(BUSY)?;
        let is_readable = connection.pragma_query_value(None, "schema_version", |_| Ok(()));
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        match is_readable {
            Err(_) if path.is_file() && !Path::new(&wal).exists() => {
                let uri = format!("file:{}?immutable=1", escaped(path));
                let flags = flags | OpenFlags::SQLITE_OPEN_URI;
                Connection::open_with_flags(uri, flags).map_err(|e| cannot_open(path, e))
            }
            _ => Ok(connection),
        }
    }

    /// Returns where the state file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the connection, for the one transaction that commits a run.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// Writes a path as a part of a URI.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}

fn cannot_open(path: &Path, error: rusqlite::Error) -> Error {
    Error::external(format!("cannot open `{}` as a SQLite database", path.display())).because(error)
}

fn migrate(connection: &mut Connection) -> Result<()> {
    let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // Asked by a query: `table_exists` looks into what the connection knew before it had the lock, and
    // another process may have made the tables in between.
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'engine_runs')";
    let is_there: bool = tx.query_row(sql, [], |row| row.get(0))?;
    match (version, is_there) {
        (VERSION, true) => return Ok(()),
        (_, true) => {
            refuse_newer(version)?;
            for (_, upgrade) in UPGRADES.iter().filter(|(from, _)| *from >= version) {
                tx.execute_batch(upgrade)?;
            }
        }
        (_, false) => tx.execute_batch(&[SCHEMA, POSITIONS, ASKING, FOLLOWING].concat())?,
    }
    tx.pragma_update(None, "user_version", VERSION)?;
    Ok(tx.commit()?)
}

/// Refuses what a newer version of the program has written: its words may mean something else.
fn refuse_newer(version: i64) -> Result<()> {
    match version > VERSION {
        true => Err(Error::external(format!(
            "the state was written by a newer version of pipeline (schema {version}, this one knows {VERSION})"
        ))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_twice_and_refuses_the_state_of_a_newer_version() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::io(Path::new("tmp"), e))?;
        let path = folder.path().join("state.db");
        State::open(&path)?;
        let mut state = State::open(&path)?;
        state.connection().pragma_update(None, "user_version", VERSION + 1)?;
        drop(state);
        let refused = State::open(&path).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused.contains("newer version"), "{refused}");
        Ok(())
    }

    /// Takes away what versions 6 and 7 brought.
    fn drop_asking(state: &mut State) -> Result<()> {
        state.connection().execute_batch("ALTER TABLE engine_runs DROP COLUMN follow")?;
        for table in ["limits", "calls", "pauses", "budgets", "answers", "asked", "gaps", "feeds"] {
            state.connection().execute_batch(&format!("DROP TABLE engine_{table}"))?;
        }
        for column in ["calls", "pending"] {
            let sql = format!("ALTER TABLE engine_node_runs DROP COLUMN {column}");
            state.connection().execute_batch(&sql)?;
        }
        Ok(())
    }

    #[test]
    fn upgrades_a_state_of_the_first_version() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::io(Path::new("tmp"), e))?;
        let path = folder.path().join("state.db");
        let mut state = State::open(&path)?;
        let first = "ALTER TABLE engine_node_runs DROP COLUMN ports;
                     ALTER TABLE engine_node_runs DROP COLUMN definition;
                     ALTER TABLE engine_runs DROP COLUMN replay;
                     DROP TABLE engine_positions; PRAGMA user_version = 1";
        drop_asking(&mut state)?;
        state.connection().execute_batch(first)?;
        drop(state);
        let mut state = State::open(&path)?;
        state.connection().prepare("SELECT ports FROM engine_node_runs")?;
        state.connection().prepare("SELECT position FROM engine_positions")?;
        state.connection().prepare("SELECT definition FROM engine_node_runs")?;
        state.connection().prepare("SELECT replay FROM engine_runs")?;
        state.connection().prepare("SELECT missing FROM engine_answers")?;
        state.connection().prepare("SELECT follow, reason FROM engine_runs, engine_gaps")?;
        Ok(())
    }

    #[test]
    fn keeps_the_history_of_a_state_without_definitions() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::io(Path::new("tmp"), e))?;
        let path = folder.path().join("state.db");
        let mut state = State::open(&path)?;
        let third = "ALTER TABLE engine_node_runs DROP COLUMN definition;
                     ALTER TABLE engine_runs DROP COLUMN replay; PRAGMA user_version = 3;
                     INSERT INTO engine_runs (run_id, pipeline, file, status, started_at, vars, fingerprint)
                       VALUES ('01', 'p', 'p.yaml', 'done', '2026-11-01T00:00:00Z', '{}', 'f');
                     INSERT INTO engine_node_runs (run_id, node, family, kind, rows_out, rejected,
                                                   seconds, started_at, reasons)
                       VALUES ('01', 'a', 'source', 'csv', 7, 0, 0, '2026-11-01T00:00:00Z', '{}')";
        drop_asking(&mut state)?;
        state.connection().execute_batch(third)?;
        drop(state);
        let nodes = |past: Option<Past>| {
            let nodes = past.map(|past| past.nodes("01")).transpose()?.unwrap_or_default();
            Ok::<_, Error>(nodes.into_iter().map(|n| (n.node, n.definition)).collect::<Vec<_>>())
        };
        let before = nodes(Past::open(&path)?)?;
        assert_eq!(before, [("a".to_owned(), None)]);
        let mut state = State::open(&path)?;
        state.connection().prepare("SELECT definition FROM engine_node_runs")?;
        assert_eq!(nodes(Past::open(&path)?)?, before);
        let version: i64 =
            state.connection().pragma_query_value(None, "user_version", |row| row.get(0))?;
        assert_eq!((version, state.last_rows("p", "a")?), (VERSION, Some(7)));
        Ok(())
    }

    #[test]
    fn says_when_the_file_is_something_else() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::io(Path::new("tmp"), e))?;
        let path = folder.path().join("state.db");
        std::fs::write(&path, "not a database, certainly not one")
            .map_err(|e| Error::io(&path, e))?;
        let refused = State::open(&path).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused.contains("as a SQLite database"), "{refused}");
        Ok(())
    }
}
