//! What a build with DuckDB does.

use std::path::Path;

use duckdb::{Connection, OptionalExt as _, Transaction};

use super::super::quote;
use super::super::table::{Database, Merged, TableMerge};
use super::literal;
use crate::error::{Error, Result};
use crate::failpoint;

pub(super) fn merge(merge: &TableMerge) -> Result<Merged> {
    let mut connection = open(&merge.database)?;
    let tx = connection.transaction()?;
    let staged = literal(&merge.staged);
    // Rows that are alike in all columns are one row where rows have a key.
    let distinct = if merge.key.is_empty() { "" } else { "DISTINCT" };
    tx.execute_batch(&format!(
        "CREATE OR REPLACE TEMP TABLE staged AS SELECT {distinct} * FROM read_parquet({staged})"
    ))?;
    let merged = merge.merge_once(&tx, "staged")?;
    failpoint::pass("publish.table_merged")?;
    tx.commit()?;
    Ok(merged)
}

pub(super) fn check_keys(staged: &Path, key: &[String]) -> Result<(u64, u64, Option<String>)> {
    let connection = Connection::open_in_memory()?;
    let key: Vec<String> = key.iter().map(|name| quote(name)).collect();
    let is_null: Vec<String> = key.iter().map(|name| format!("{name} IS NULL")).collect();
    let (from, list) = (format!("read_parquet({})", literal(staged)), key.join(", "));
    let n_null = format!("SELECT count(*) FROM {from} WHERE {}", is_null.join(" OR "));
    let n_null = connection.query_row(&n_null, [], |row| row.get(0))?;
    let twice = format!(
        "SELECT count(*), min(concat_ws(', ', {list})) FROM
         (SELECT {list} FROM (SELECT DISTINCT * FROM {from}) GROUP BY {list} HAVING count(*) > 1)"
    );
    let (n_twice, first) =
        connection.query_row(&twice, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((n_null, n_twice, first))
}

pub(super) fn copy(
    sql: &str,
    databases: &[(String, &Path)],
    tables: &[(String, String)],
    into: &Path,
) -> Result<()> {
    let connection = Connection::open_in_memory()?;
    for (name, path) in databases {
        let (name, path) = (quote(name), literal(path));
        connection.execute_batch(&format!("ATTACH {path} AS {name} (READ_ONLY)"))?;
    }
    for (name, what) in tables {
        let name: Vec<String> = name.split('.').map(quote).collect();
        if let [schema, _] = name.as_slice() {
            connection.execute_batch(&format!("CREATE SCHEMA IF NOT EXISTS {schema}"))?;
        }
        let view = format!("CREATE VIEW {} AS SELECT * FROM {what}", name.join("."));
        connection.execute_batch(&view)?;
    }
    let failed =
        |error: duckdb::Error| Error::user(error.to_string().lines().next().unwrap_or_default());
    // A sum of whole numbers is wider than any of Parquet's, which would make it a float.
    let wide = "SELECT string_agg(format('CAST(\"{0}\" AS DECIMAL(38, 0)) AS \"{0}\"', \
                replace(column_name, '\"', '\"\"')), ', ') FROM (DESCRIBE ";
    let wide: Option<String> = connection
        .query_row(&format!("{wide}{sql}\n) WHERE column_type = 'HUGEINT'"), [], |row| row.get(0))
        .map_err(failed)?;
    let replaced = wide.map_or(String::new(), |columns| format!(" REPLACE ({columns})"));
    let copy =
        format!("COPY (SELECT *{replaced} FROM ({sql}\n)) TO {} (FORMAT parquet)", literal(into));
    connection.execute_batch(&copy).map_err(failed)
}

pub(super) fn has_table(database: &Path, table: &str) -> Result<bool> {
    let connection = open(database)?;
    Ok(!columns(&connection, table)?.is_empty())
}

fn open(path: &Path) -> Result<Connection> {
    Connection::open(path).map_err(|error| {
        let message = format!("cannot open `{}` as a DuckDB database", path.display());
        Error::external(message).because(error)
    })
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
        columns(self, table)
    }

    fn is_indexed(&self) -> bool {
        // Its unique indexes refuse rows that are replaced in one transaction.
        false
    }
}

fn columns(connection: &Connection, table: &str) -> Result<Vec<String>> {
    let sql = "SELECT column_name FROM information_schema.columns
               WHERE table_schema = 'main' AND table_name = ? ORDER BY ordinal_position";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([table], |row| row.get(0))?;
    Ok(names.collect::<duckdb::Result<_>>()?)
}

impl From<duckdb::Error> for Error {
    fn from(error: duckdb::Error) -> Self {
        Self::external("duckdb").because(error)
    }
}
