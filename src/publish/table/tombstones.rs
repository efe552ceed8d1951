//! Keys that are gone as of a version, whether or not the table ever had them: what is older and
//! comes later, from another pipeline or out of its order, must not bring them to life.

use super::merge::Database;
use super::{Missing, TableMerge, quote};
use crate::error::Result;

impl TableMerge {
    /// Returns the table beside the table, in SQL; `None` without versions, and in databases that
    /// do not find keys by an index.
    fn tombstones(&self, tx: &dyn Database) -> Option<String> {
        self.newer_by.as_ref().filter(|_| tx.is_indexed())?;
        Some(format!("{}_gone_{}", self.table, self.key.join("_")))
    }

    /// Makes the table of tombstones. The one without a key is the floor: as of its version somebody
    /// knew all keys, so one that is not there and comes with an older version is gone, too.
    fn make_tombstones(&self, tx: &dyn Database, table: &str, version: &str) -> Result<()> {
        let key: Vec<String> = self.key.iter().map(|name| quote(name)).collect();
        let key = key.join(", ");
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS main.{table} ({key}, {version}, PRIMARY KEY ({key}))"
        );
        tx.execute(&sql).map(drop)
    }

    /// Remembers that the keys that arrive are gone, each as of its newest version.
    pub(super) fn bury(&self, tx: &dyn Database, from: &str) -> Result<()> {
        let (Some(table), Some(column)) = (self.tombstones(tx), &self.newer_by) else {
            return Ok(());
        };
        let (table, version) = (quote(&table), quote(column));
        self.make_tombstones(tx, &table, &version)?;
        let key: Vec<String> = self.key.iter().map(|name| quote(name)).collect();
        let key = key.join(", ");
        tx.execute(&format!(
            "INSERT INTO main.{table} ({key}, {version})
             SELECT {key}, {version} FROM {from} WHERE {version} IS NOT NULL
             ON CONFLICT ({key}) DO UPDATE SET {version} = excluded.{version}
             WHERE excluded.{version} > {table}.{version}"
        ))?;
        Ok(())
    }

    /// Takes rows out of those that arrive that are older than their tombstones or, without one and
    /// unknown to the table, older than the floor; returns how many.
    pub(super) fn drop_buried(&self, tx: &dyn Database, from: &str) -> Result<u64> {
        let (Some(name), Some(column)) = (self.tombstones(tx), &self.newer_by) else {
            return Ok(0);
        };
        let (table, version) = (quote(&name), quote(column));
        let is_whole = self.missing != Missing::Keep && self.within.is_empty();
        if is_whole {
            self.make_tombstones(tx, &table, &version)?;
            self.raise_floor(tx, from, (&table, &version))?;
        } else if tx.columns(&name)?.is_empty() {
            return Ok(0);
        }
        let join = self.join();
        let floor = match is_whole {
            true => String::new(),
            false => format!(
                "OR (s.{version} < (SELECT {version} FROM main.{table} WHERE {no_key})
                     AND NOT EXISTS (SELECT 1 FROM main.{rows} t WHERE {join}))",
                no_key = self.no_key(),
                rows = quote(&self.table)
            ),
        };
        tx.execute(&format!(
            "DELETE FROM {from} AS s WHERE EXISTS (
               SELECT 1 FROM main.{table} t
               WHERE {join} AND (s.{version} IS NULL OR s.{version} < t.{version})) {floor}"
        ))
    }

    /// Notes that a whole has arrived; tombstones that are not newer have nothing to hold back.
    fn raise_floor(
        &self,
        tx: &dyn Database,
        from: &str,
        (table, version): (&str, &str),
    ) -> Result<()> {
        let least = format!("SELECT min({version}) FROM {from} HAVING count(*) = count({version})");
        let no_key = self.no_key();
        tx.execute(&format!("DELETE FROM main.{table} WHERE {version} <= ({least})"))?;
        tx.execute(&format!(
            "INSERT INTO main.{table} ({version}) SELECT * FROM ({least}) AS w
             WHERE ({least}) IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM main.{table} WHERE {no_key})"
        ))?;
        Ok(())
    }

    fn no_key(&self) -> String {
        self.key
            .first()
            .map_or_else(|| "FALSE".to_owned(), |name| format!("{} IS NULL", quote(name)))
    }
}
