//! Keys that are gone as of a version, whether or not the table ever had them: what is older and
//! comes later, from another pipeline or out of its order, must not bring them to life.

use super::merge::Database;
use super::{Missing, TableMerge, TableWrite, quote};
use crate::error::Result;

impl TableMerge {
    /// Returns the table beside the table, in SQL; `None` without versions, and in databases that
    /// do not find keys by an index.
    fn tombstones(&self, tx: &dyn Database) -> Option<String> {
        self.newer_by.as_ref().filter(|_| tx.is_indexed())?;
        Some(format!("{}_gone_{}", self.table, self.key.join("_")))
    }

    /// Remembers that the keys that arrive are gone, each as of its newest version.
    pub(super) fn bury(&self, tx: &dyn Database, from: &str) -> Result<()> {
        let (Some(table), Some(column)) = (self.tombstones(tx), &self.newer_by) else {
            return Ok(());
        };
        let (table, version) = (quote(&table), quote(column));
        let key: Vec<String> = self.key.iter().map(|name| quote(name)).collect();
        let key = key.join(", ");
        tx.execute(&format!(
            "CREATE TABLE IF NOT EXISTS main.{table} ({key}, {version}, PRIMARY KEY ({key}))"
        ))?;
        tx.execute(&format!(
            "INSERT INTO main.{table} ({key}, {version})
             SELECT {key}, {version} FROM {from} WHERE {version} IS NOT NULL
             ON CONFLICT ({key}) DO UPDATE SET {version} = excluded.{version}
             WHERE excluded.{version} > {table}.{version}"
        ))?;
        Ok(())
    }

    /// Takes rows out of those that arrive that are older than their tombstones; returns how
    /// many. When a newer whole arrives, older tombstones have nothing to hold back any more.
    pub(super) fn drop_buried(&self, tx: &dyn Database, from: &str) -> Result<u64> {
        let (Some(table), Some(column)) = (self.tombstones(tx), &self.newer_by) else {
            return Ok(0);
        };
        if self.write != TableWrite::Upsert || tx.columns(&table)?.is_empty() {
            return Ok(0);
        }
        let (table, version) = (quote(&table), quote(column));
        let same: Vec<String> =
            self.key.iter().map(|name| format!("t.{0} = s.{0}", quote(name))).collect();
        let same = same.join(" AND ");
        if self.missing != Missing::Keep && self.within.is_empty() {
            tx.execute(&format!(
                "DELETE FROM main.{table}
                 WHERE {version} <= (SELECT min({version}) FROM {from} HAVING count(*) = count({version}))"
            ))?;
        }
        tx.execute(&format!(
            "DELETE FROM {from} AS s WHERE EXISTS (
               SELECT 1 FROM main.{table} t
               WHERE {same} AND (s.{version} IS NULL OR s.{version} < t.{version}))"
        ))
    }
}
