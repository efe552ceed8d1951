//! Tables that keep every state of a row: `valid_from` and `valid_to` say when each was true.
//!
//! A row is true from its version (`newer_by`, or when the run began) until the version of the one
//! that took its place, or until it was seen to be gone. The open row of a key is the one without
//! `valid_to`.

use super::merge::{Database, numbers, text};
use super::{Merged, Missing, TableMerge, quote};
use crate::error::Result;

/// Name of the column that says from when a row was true.
pub(super) const VALID_FROM: &str = "valid_from";

/// Name of the column that says until when a row was true.
pub(super) const VALID_TO: &str = "valid_to";

impl TableMerge {
    /// Merges rows into a history.
    pub(super) fn history(&self, tx: &dyn Database, from: &str) -> Result<Merged> {
        let table = format!("main.{}", quote(&self.table));
        let join = format!("{} AND t.{VALID_TO} IS NULL", self.join());
        let (newer, differs) = (self.newer("s.", "t."), self.differs("s.", "t."));
        let version = match &self.newer_by {
            // A row without a version is true from when the run began, if versions are texts.
            Some(column) if self.version_kind() == "TEXT" => {
                format!("coalesce(s.{}, {})", quote(column), text(&self.at))
            }
            Some(column) => format!("s.{}", quote(column)),
            None => text(&self.at),
        };
        // A key that is gone comes back only by a version that is not older.
        let ended = format!(
            "EXISTS (SELECT 1 FROM {table} t WHERE {} AND t.{VALID_TO} > {version})",
            self.join()
        );
        let counts = format!(
            "SELECT count(*) FILTER (WHERE t.rowid IS NULL AND NOT {ended}),
                    count(*) FILTER (WHERE t.rowid IS NULL AND {ended} OR NOT ({newer})),
                    count(*) FILTER (WHERE t.rowid IS NOT NULL AND ({newer}) AND ({differs})),
                    count(*)
             FROM {from} s LEFT JOIN {table} t ON {join}"
        );
        let [fresh, older, changed, all] = numbers(tx, &counts)?;
        let same = all - fresh - older - changed;
        if self.is_older_whole(tx, from)? {
            return Ok(Merged { older: all, ..Merged::default() });
        }
        // The same version with other values is a correction, not a change.
        let set: Vec<String> =
            self.columns.iter().map(|(name, _)| format!("{0} = s.{0}", quote(name))).collect();
        let correct = format!(
            "UPDATE {table} AS t SET {} FROM {from} s
             WHERE {join} AND ({newer}) AND (t.{VALID_FROM} = {version} OR NOT ({differs}))",
            set.join(", ")
        );
        tx.execute(&correct)?;
        let close = format!(
            "UPDATE {table} AS t SET {VALID_TO} = {version} FROM {from} s
             WHERE {join} AND ({newer}) AND ({differs})"
        );
        tx.execute(&close)?;
        let columns = self.columns_list();
        let own: Vec<String> =
            self.columns.iter().map(|(name, _)| format!("s.{}", quote(name))).collect();
        let open = format!(
            "INSERT INTO {table} ({columns}, {VALID_FROM})
             SELECT {}, {version} FROM {from} s
             WHERE NOT EXISTS (SELECT 1 FROM {table} t WHERE {join}) AND NOT {ended}
             ORDER BY s.rowid",
            own.join(", ")
        );
        tx.execute(&open)?;
        let gone = self.end_missing(tx, from, &table, &join, all)?;
        Ok(Merged { new: fresh, changed, same, older, gone })
    }

    /// Ends the rows that arrive no more, unless nothing arrived at all.
    fn end_missing(
        &self,
        tx: &dyn Database,
        from: &str,
        table: &str,
        join: &str,
        all: u64,
    ) -> Result<u64> {
        if all == 0 || self.missing == Missing::Keep {
            return Ok(0);
        }
        let (known, newest) = self.known_by(from);
        let end = match self.newer_by {
            Some(_) => newest,
            None => text(&self.at),
        };
        tx.execute(&format!(
            "UPDATE {table} AS t SET {VALID_TO} = {end}
             WHERE t.{VALID_TO} IS NULL AND NOT EXISTS (SELECT 1 FROM {from} s WHERE {join}) {known}"
        ))
    }
}
