//! Staged rows into a SQLite table, in sets: what is new, changed, the same, older or gone.
//!
//! The rows wait in a SQLite file of their own (table `staged`), which is attached. All that a
//! merge does happens in one transaction of the database it goes into.

mod history;

use std::path::PathBuf;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::history::{VALID_FROM, VALID_TO};
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
    /// What happens to rows that arrive no more.
    pub missing: Missing,
    /// Pipeline and sink, which own the merge.
    pub owner: String,
    /// The run, so that a repetition is recognised.
    pub run_id: String,
    /// When the run began, for `gone_at`.
    pub at: String,
}

/// What a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
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

/// Name of the column that says since when a row is gone.
const GONE_AT: &str = "gone_at";

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
        tx.execute_batch(
            "CREATE TABLE IF NOT EXISTS engine_applied (
               owner TEXT PRIMARY KEY, run_id TEXT NOT NULL, merged TEXT NOT NULL)",
        )?;
        let done: Option<(u64, u64, u64, u64, u64)> = {
            let mut statement = tx.prepare(
                "SELECT merged ->> 'new', merged ->> 'changed', merged ->> 'same',
                        merged ->> 'older', merged ->> 'gone'
                 FROM engine_applied WHERE owner = ?1 AND run_id = ?2",
            )?;
            let mut rows = statement.query_map(params![self.owner, self.run_id], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
            })?;
            rows.next().transpose()?
        };
        if let Some((new, changed, same, older, gone)) = done {
            return Ok(Merged { new, changed, same, older, gone });
        }
        let merged = self.merge(&tx, "stage")?;
        tx.execute(
            "INSERT OR REPLACE INTO engine_applied (owner, run_id, merged) VALUES (?1, ?2, ?3)",
            params![self.owner, self.run_id, serde_json::json!(merged).to_string()],
        )?;
        failpoint::pass("publish.table_merged")?;
        tx.commit()?;
        Ok(merged)
    }

    /// Says whether the rows are an older state of the whole than one that was merged before, and
    /// remembers the newest. Only for inputs that are whole: `missing` says that they are.
    fn is_older_whole(&self, tx: &Transaction<'_>, from: &str) -> Result<bool> {
        let (Some(column), false) = (&self.newer_by, self.missing == Missing::Keep) else {
            return Ok(false);
        };
        tx.execute_batch(
            "CREATE TABLE IF NOT EXISTS engine_newest (owner TEXT PRIMARY KEY, newest)",
        )?;
        let newest = format!("(SELECT max({}) FROM {from})", quote(column));
        let is_older: bool = tx.query_row(
            &format!(
                "SELECT coalesce((SELECT newest > {newest} FROM engine_newest WHERE owner = ?1), 0)"
            ),
            [&self.owner],
            |row| row.get(0),
        )?;
        if !is_older {
            let sql = format!(
                "INSERT OR REPLACE INTO engine_newest SELECT ?1, {newest}
                               WHERE {newest} IS NOT NULL"
            );
            tx.execute(&sql, [&self.owner])?;
        }
        Ok(is_older)
    }

    /// Merges rows attached as `schema` inside a transaction of the caller.
    pub fn merge(&self, tx: &Transaction<'_>, schema: &str) -> Result<Merged> {
        let from = format!("{}.staged", quote(schema));
        let has_marks = self.make_table(tx)?;
        match self.write {
            TableWrite::Append => self.insert(tx, &from),
            TableWrite::Replace => {
                tx.execute(&format!("DELETE FROM main.{}", quote(&self.table)), [])?;
                self.insert(tx, &from)
            }
            TableWrite::Upsert => self.upsert(tx, &from, has_marks),
            TableWrite::History => self.history(tx, &from),
            TableWrite::MarkGone => self.mark_gone(tx, &from),
        }
    }

    /// Returns the columns that the table needs.
    fn wanted(&self) -> Vec<(String, String)> {
        let mut wanted = self.columns.clone();
        if self.write == TableWrite::MarkGone {
            wanted.retain(|(name, _)| {
                self.key.contains(name) || self.newer_by.as_ref() == Some(name)
            });
        }
        let own: &[&str] = match (self.write, self.missing) {
            (TableWrite::History, _) => &[VALID_FROM, VALID_TO],
            (TableWrite::MarkGone, _) | (_, Missing::MarkGone) => &[GONE_AT],
            _ => &[],
        };
        wanted.extend(own.iter().map(|name| ((*name).to_owned(), "TEXT".to_owned())));
        wanted
    }

    /// Makes the table, or adds the columns that it lacks. A replaced table is made anew when its
    /// columns are others. Says whether the table marks rows that are gone.
    fn make_table(&self, tx: &Transaction<'_>) -> Result<bool> {
        let table = quote(&self.table);
        let wanted = self.wanted();
        let have: Vec<String> = {
            let mut statement = tx.prepare("SELECT name FROM pragma_table_info(?1)")?;
            let names = statement.query_map([&self.table], |row| row.get(0))?;
            names.collect::<rusqlite::Result<_>>()?
        };
        let is_other = have.len() != wanted.len()
            || have.iter().zip(&wanted).any(|(have, (name, _))| have != name);
        if self.write == TableWrite::Replace && !have.is_empty() && is_other {
            tx.execute(&format!("DROP TABLE main.{table}"), [])?;
        }
        let columns: Vec<String> =
            wanted.iter().map(|(name, kind)| format!("{} {kind}", quote(name))).collect();
        tx.execute(
            &format!("CREATE TABLE IF NOT EXISTS main.{table} ({})", columns.join(", ")),
            [],
        )?;
        if self.write != TableWrite::Replace && !have.is_empty() {
            for (name, kind) in &wanted {
                if !have.iter().any(|have| have.eq_ignore_ascii_case(name)) {
                    let column = quote(name);
                    tx.execute(
                        &format!("ALTER TABLE main.{table} ADD COLUMN {column} {kind}"),
                        [],
                    )?;
                }
            }
        }
        let open = format!("WHERE {VALID_TO} IS NULL");
        let (kind, which) = match self.write {
            TableWrite::Upsert | TableWrite::MarkGone => ("key", ""),
            TableWrite::History => ("open", open.as_str()),
            TableWrite::Append | TableWrite::Replace => return Ok(false),
        };
        let index = quote(&format!("{}_{kind}_{}", self.table, self.key.join("_")));
        let key = list(&self.key);
        tx.execute(
            &format!("CREATE UNIQUE INDEX IF NOT EXISTS main.{index} ON {table} ({key}) {which}"),
            [],
        )?;
        let is_mark = |name: &String| name.eq_ignore_ascii_case(GONE_AT);
        let is_own = self.columns.iter().any(|(name, _)| is_mark(name));
        Ok(!is_own && (have.iter().any(is_mark) || wanted.iter().any(|(name, _)| is_mark(name))))
    }

    fn insert(&self, tx: &Transaction<'_>, from: &str) -> Result<Merged> {
        let columns = self.columns_list();
        let sql = format!(
            "INSERT INTO main.{} ({columns}) SELECT {columns} FROM {from} ORDER BY rowid",
            quote(&self.table)
        );
        let new = tx.execute(&sql, [])? as u64;
        Ok(Merged { new, ..Merged::default() })
    }

    /// Returns the condition that a row `t` of the table has the key of a row `s` that arrives.
    fn join(&self) -> String {
        let equal = self.key.iter().map(|name| format!("t.{0} = s.{0}", quote(name)));
        equal.collect::<Vec<_>>().join(" AND ")
    }

    /// Marks the rows gone whose keys arrive. That they are gone is known as of the version that
    /// arrives; a key that is not there stays unknown.
    fn mark_gone(&self, tx: &Transaction<'_>, from: &str) -> Result<Merged> {
        let table = format!("main.{}", quote(&self.table));
        let (join, newer) = (self.join(), self.newer("s.", "t."));
        let counts = format!(
            "SELECT count(*) FILTER (WHERE NOT ({newer})), count(*)
             FROM {from} s JOIN {table} t ON {join}"
        );
        let (older, known): (u64, u64) =
            tx.query_row(&counts, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let version = match &self.newer_by {
            Some(column) => format!(", {0} = coalesce(s.{0}, t.{0})", quote(column)),
            None => String::new(),
        };
        let sql = format!(
            "UPDATE {table} AS t SET {GONE_AT} = ?1{version} FROM {from} s
             WHERE {join} AND t.{GONE_AT} IS NULL AND ({newer})"
        );
        let gone = tx.execute(&sql, [&self.at])? as u64;
        Ok(Merged { gone, older, same: known - older - gone, ..Merged::default() })
    }

    fn upsert(&self, tx: &Transaction<'_>, from: &str, has_marks: bool) -> Result<Merged> {
        let table = format!("main.{}", quote(&self.table));
        let join = self.join();
        let is_gone = match has_marks {
            true => format!("t.{GONE_AT} IS NOT NULL"),
            false => "0".to_owned(),
        };
        let counts = format!(
            "SELECT count(*) FILTER (WHERE t.rowid IS NULL),
                    count(*) FILTER (WHERE t.rowid IS NOT NULL AND NOT ({newer})),
                    count(*) FILTER (WHERE t.rowid IS NOT NULL AND ({newer}) AND {is_gone}),
                    count(*) FILTER (WHERE t.rowid IS NOT NULL AND ({newer}) AND NOT {is_gone}
                                       AND ({differs})),
                    count(*)
             FROM {from} s LEFT JOIN {table} t ON {join}",
            newer = self.newer("s.", "t."),
            differs = self.differs("s.", "t."),
        );
        let (fresh, older, back, changed, all): (u64, u64, u64, u64, u64) =
            tx.query_row(&counts, [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
            })?;
        let same = all - fresh - back - changed - older;
        if self.is_older_whole(tx, from)? {
            // What is not there was gone already when a newer whole was merged.
            let known = format!("WHERE EXISTS (SELECT 1 FROM {table} t WHERE {join})");
            self.write_rows(tx, from, &table, has_marks, &known)?;
            return Ok(Merged { new: back, changed, same, older: older + fresh, gone: 0 });
        }
        self.write_rows(tx, from, &table, has_marks, "WHERE true")?;
        let gone = self.gone(tx, from, &table, &join, all)?;
        Ok(Merged { new: fresh + back, changed, same, older, gone })
    }

    /// `which` must be a WHERE clause: without one SQLite reads ON CONFLICT as a join condition.
    fn write_rows(
        &self,
        tx: &Transaction<'_>,
        from: &str,
        table: &str,
        has_marks: bool,
        which: &str,
    ) -> Result<()> {
        let columns = self.columns_list();
        let mut sets: Vec<String> = self
            .columns
            .iter()
            .filter(|(name, _)| !self.key.contains(name))
            .map(|(name, _)| format!("{0} = excluded.{0}", quote(name)))
            .collect();
        if has_marks {
            sets.push(format!("{GONE_AT} = NULL"));
        }
        let update = if sets.is_empty() {
            "NOTHING".to_owned()
        } else {
            let existing = format!("{}.", quote(&self.table));
            format!("UPDATE SET {} WHERE {}", sets.join(", "), self.newer("excluded.", &existing))
        };
        let sql = format!(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM {from} s {which} ORDER BY rowid
             ON CONFLICT ({}) DO {update}",
            list(&self.key)
        );
        tx.execute(&sql, [])?;
        Ok(())
    }

    /// Deals with the rows that arrive no more. When nothing arrived at all nothing is gone: an
    /// empty input is rather a mistake than the end of all companies. With `newer_by`, rows newer
    /// than everything that arrived are left alone: the input could not know them.
    fn gone(
        &self,
        tx: &Transaction<'_>,
        from: &str,
        table: &str,
        join: &str,
        all: u64,
    ) -> Result<u64> {
        if all == 0 || self.missing == Missing::Keep {
            return Ok(0);
        }
        let (known, newest) = self.known_by(from);
        let version = match &self.newer_by {
            Some(column) => format!(", {} = {newest}", quote(column)),
            None => String::new(),
        };
        let absent = format!("NOT EXISTS (SELECT 1 FROM {from} s WHERE {join}) {known}");
        let n = match self.missing {
            // That it is gone is known as of the newest row that arrived: an older input must not
            // bring it back.
            Missing::MarkGone => tx.execute(
                &format!(
                    "UPDATE {table} AS t SET {GONE_AT} = ?1{version}
                     WHERE t.{GONE_AT} IS NULL AND {absent}"
                ),
                [&self.at],
            )?,
            _ => tx.execute(&format!("DELETE FROM {table} AS t WHERE {absent}"), [])?,
        };
        Ok(n as u64)
    }

    /// Returns the condition that a row `t` is one that the input could know, and the newest version
    /// of the input (null without versions).
    fn known_by(&self, from: &str) -> (String, String) {
        match &self.newer_by.as_deref().map(quote) {
            Some(column) => {
                let newest = format!("(SELECT max({column}) FROM {from})");
                (format!("AND (t.{column} IS NULL OR t.{column} <= {newest})"), newest)
            }
            None => (String::new(), "NULL".to_owned()),
        }
    }

    /// A row replaces another one unless that is known to be newer. The same version may replace
    /// itself: a rule that changed must reach the rows that are there.
    fn newer(&self, new: &str, old: &str) -> String {
        match &self.newer_by {
            Some(column) => {
                let column = quote(column);
                format!(
                    "({old}{column} IS NULL OR ({new}{column} IS NOT NULL AND {new}{column} >= {old}{column}))"
                )
            }
            None => "1".to_owned(),
        }
    }

    /// The version alone is no difference: the same company in the next month's file is the same.
    fn differs(&self, new: &str, old: &str) -> String {
        let differs: Vec<String> = self
            .columns
            .iter()
            .filter(|(name, _)| !self.key.contains(name) && self.newer_by.as_ref() != Some(name))
            .map(|(name, _)| format!("{new}{0} IS NOT {old}{0}", quote(name)))
            .collect();
        if differs.is_empty() { "0".to_owned() } else { differs.join(" OR ") }
    }

    fn columns_list(&self) -> String {
        list(self.columns.iter().map(|(name, _)| name))
    }
}

/// Lists names as SQL identifiers.
fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| quote(name)).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests;
