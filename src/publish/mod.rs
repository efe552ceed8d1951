//! What a sink has staged, and how it becomes visible: every action can be repeated after a crash.
//!
//! A sink only stages. The engine commits, then publishes; after a crash it publishes again.

pub mod duckdb;
mod files;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub use files::{make_folder, sync_file, sync_folder, sync_folders};
pub use table::{Merged, Missing, TableMerge, TableWrite, quote};

/// What a sink has made durable and nobody sees yet.
#[derive(Clone, Debug)]
pub struct Staged {
    /// Rows in it.
    pub rows: u64,
    /// The files that will be visible, with their final paths.
    pub files: Vec<PublishedFile>,
    /// How it becomes visible.
    pub publish: Publish,
}

/// A file that a run publishes.
#[derive(Clone, Debug)]
pub struct PublishedFile {
    /// Its final path.
    pub path: PathBuf,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// How staged data becomes visible.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Publish {
    /// A file takes the place of another.
    ReplaceFile {
        /// The staged file.
        staged: PathBuf,
        /// Its final path.
        target: PathBuf,
    },
    /// A folder takes the place of another, at one stroke.
    ReplaceFolder {
        /// The staged folder.
        staged: PathBuf,
        /// Its final path.
        target: PathBuf,
        /// A file in the staged folder, relative to it. Its name holds the run id, so that after
        /// a crash its place tells whether the folders were exchanged already.
        witness: PathBuf,
    },
    /// Files join those of a folder, one after the other.
    AddFiles {
        /// The folder that holds the staged files.
        staged: PathBuf,
        /// The folder that they join.
        target: PathBuf,
        /// The files, relative to both. Their names hold the run id.
        files: Vec<PathBuf>,
    },
    /// Rows are merged into a table of a SQLite database.
    MergeTable(Box<TableMerge>),
    /// Rows, staged as Parquet, are merged into a table of a DuckDB database.
    MergeDuckdb(Box<TableMerge>),
}

impl Publish {
    /// Returns the merge when it goes into the database at `state`, where it belongs into the
    /// commit transaction itself.
    pub fn merge_into(&self, state: &Path) -> Option<&TableMerge> {
        match self {
            Self::MergeTable(merge) if merge.database == state => Some(merge),
            _ => None,
        }
    }

    /// Makes the staged data visible and durable. Repeating it changes nothing.
    pub fn publish(&self) -> Result<Option<Merged>> {
        match self {
            Self::ReplaceFile { staged, target } => files::replace_file(staged, target)?,
            Self::ReplaceFolder { staged, target, witness } => {
                files::replace_folder(staged, target, witness)?;
            }
            Self::AddFiles { staged, target, files } => files::add_files(staged, target, files)?,
            Self::MergeTable(merge) => {
                let mut connection = Connection::open(&merge.database)?;
                durable(&connection)?;
                return merge.merge_alone(&mut connection).map(Some);
            }
            Self::MergeDuckdb(merge) => return duckdb::merge(merge).map(Some),
        }
        Ok(None)
    }
}

/// Makes durable what a process that was killed may have left in memory only: the decision of its
/// run, in the state file, and the folders that it made on the way to its outputs. The next
/// process finds that done, and builds on it.
pub fn settle<'a>(state: &Path, outputs: impl Iterator<Item = &'a Publish>) -> Result<()> {
    let mut paths = logs(state).to_vec();
    for output in outputs {
        match output {
            Publish::ReplaceFile { target, .. } | Publish::ReplaceFolder { target, .. } => {
                paths.push(target.clone());
            }
            Publish::AddFiles { target, files, .. } => {
                paths.extend(files.iter().map(|file| target.join(file)));
            }
            Publish::MergeTable(merge) | Publish::MergeDuckdb(merge) => {
                paths.extend(logs(&merge.database));
            }
        }
    }
    files::settle(&paths)
}

/// Returns where SQLite and DuckDB write what they commit. The database itself must not be opened
/// here: closing it again would give up SQLite's locks.
fn logs(database: &Path) -> [PathBuf; 2] {
    ["-wal", ".wal"].map(|end| {
        let mut log = database.as_os_str().to_owned();
        log.push(end);
        log.into()
    })
}

/// How long a writer waits for another one.
pub const BUSY: Duration = Duration::from_secs(30);

/// Sets what every database of ours needs: readers that never wait, commits that survive a
/// power cut (`synchronous = FULL` costs less than a factor of two at a thousand rows a commit).
pub fn durable(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", "on")
}

/// Writes bytes, a hash, in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Removes a staging folder and, if it was the last in it, the hidden folder around it, durably:
/// the state forgets it next, and nobody would remove what a power cut brings back.
pub fn sweep(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io(folder, error)),
    }
    if let Some(parent) = folder.parent() {
        // Fails when another run stages there too, which is as it should be.
        let _ = std::fs::remove_dir(parent);
    }
    files::sync_removal(folder)
}
