//! Staged rows into a SQLite table, in sets: what is new, changed, the same, older or gone.
//!
//! The rows wait in a SQLite file of their own (table `staged`), which is attached. All that a
//! merge does happens in one transaction of the database it goes into.

mod history;
mod merge;
mod tombstones;

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use self::merge::Database;
use crate::error::Result;
use crate::failpoint;

/// What a table does with rows that arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableWrite {
    /// They join those that are there.
    Append,
    /// They take the place of all that are there.
    Replace,
    /// They take the place of those with the same key, and join the others.
    Upsert,
    /// They end those with the same key that differ, and join them: every state is kept.
    History,
    /// Those with the same key are marked gone.
    MarkGone,
}

/// What a table does with rows that arrive no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// They stay.
    #[default]
    Keep,
    /// They stay, and `gone_at` says since when they are gone.
    MarkGone,
    /// They are deleted.
    Delete,
}

/// A merge of staged rows into a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableMerge {
    /// The SQLite file that holds the rows, in a table `staged`.
    pub staged: PathBuf,
    /// The SQLite file that holds the table.
    pub database: PathBuf,
    /// The table.
    pub table: String,
    /// Names and SQLite types of the columns of the rows.
    pub columns: Vec<(String, String)>,
    /// What happens to rows that arrive.
    pub write: TableWrite,
    /// The columns that tell rows apart; none for an append or a replacement.
    pub key: Vec<String>,
    /// The column whose greater value is the newer row.
    pub newer_by: Option<String>,
    /// The columns of the key that tell groups apart: only in groups of which a row arrives are rows
    /// missing. In all of them if there are none.
    #[serde(default)]
    pub within: Vec<String>,
    /// What happens to rows that arrive no more.
    pub missing: Missing,
    /// The column that says when a row was last added, changed, gone or back.
    #[serde(default)]
    pub changed_at: Option<String>,
    /// Pipeline and sink, which own the merge.
    pub owner: String,
    /// The run, so that a repetition is recognised.
    pub run_id: String,
    /// When the run began, for `gone_at`.
    pub at: String,
}

/// What a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merged {
    /// Rows whose key was not there, or was marked gone.
    pub new: u64,
    /// Rows that differ from the one that was there.
    pub changed: u64,
    /// Rows that were there already, alike.
    pub same: u64,
    /// Rows that were not taken because the one there is newer.
    pub older: u64,
    /// Rows that were marked gone or deleted.
    pub gone: u64,
}

/// Writes a name as a SQL identifier.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl TableMerge {
    /// Makes the staged rows readable as `schema.staged`. Not possible inside a transaction.
    pub fn attach(&self, connection: &Connection, schema: &str) -> Result<()> {
        connection.execute(
            &format!("ATTACH DATABASE ?1 AS {}", quote(schema)),
            params![self.staged.to_string_lossy()],
        )?;
        Ok(())
    }

    /// Merges in a transaction of its own. A merge that was done before is not done again: its
    /// run is kept in `engine_applied`, in the same transaction.
    pub fn merge_alone(&self, connection: &mut Connection) -> Result<Merged> {
        self.attach(connection, "stage")?;
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let merged = self.merge_once(&tx, "stage.staged")?;
        failpoint::pass("publish.table_merged")?;
        tx.commit()?;
        Ok(merged)
    }

    /// Merges rows attached as `schema` inside a transaction of the caller.
    pub fn merge(&self, tx: &Transaction<'_>, schema: &str) -> Result<Merged> {
        self.merge_from(tx, &format!("{}.staged", quote(schema)))
    }
}

impl Database for Transaction<'_> {
    fn execute(&self, sql: &str) -> Result<u64> {
        Ok(Connection::execute(self, sql, [])? as u64)
    }

    fn text(&self, sql: &str) -> Result<Option<String>> {
        Ok(self.query_row(sql, [], |row| row.get(0)).optional()?)
    }

    fn numbers(&self, sql: &str) -> Result<Vec<u64>> {
        Ok(self.query_row(sql, [], |row| {
            (0..row.as_ref().column_count()).map(|index| row.get(index)).collect()
        })?)
    }

    fn columns(&self, table: &str) -> Result<Vec<String>> {
        let mut statement = self.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let names = statement.query_map([table], |row| row.get(0))?;
        Ok(names.collect::<rusqlite::Result<_>>()?)
    }

    fn is_indexed(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod orders;
#[cfg(test)]
mod tests;
