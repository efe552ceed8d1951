//! DuckDB databases: tables that are merged into and read. Only in builds with the feature `duckdb`
//! (docs/decisions/012); others say so.

#[cfg(not(feature = "duckdb"))]
#[path = "duckdb/absent.rs"]
mod linked;
#[cfg(feature = "duckdb")]
mod linked;

use std::path::Path;

use super::table::{Merged, TableMerge};
use crate::error::Result;

/// Whether this build can read and write DuckDB databases.
pub const IS_LINKED: bool = cfg!(feature = "duckdb");

/// Merges staged rows, a Parquet file, into a table, once.
pub(super) fn merge(merge: &TableMerge) -> Result<Merged> {
    linked::merge(merge)
}

/// Counts, among staged rows, those without a value in the key and the keys of several rows, and
/// returns one of the latter.
pub fn check_keys(staged: &Path, key: &[String]) -> Result<(u64, u64, Option<String>)> {
    linked::check_keys(staged, key)
}

/// Writes the rows of a query over the tables of databases into a Parquet file. `tables` are made
/// first: a name, and what it is in DuckDB's SQL; `databases` are attached for reading, by name.
pub fn copy(
    sql: &str,
    databases: &[(String, &Path)],
    tables: &[(String, String)],
    into: &Path,
) -> Result<()> {
    linked::copy(sql, databases, tables, into)
}

/// Says whether a database has a table.
pub fn has_table(database: &Path, table: &str) -> Result<bool> {
    linked::has_table(database, table)
}

/// Writes a path as a SQL literal.
pub fn literal(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "''"))
}
