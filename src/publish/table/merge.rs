//! What a merge does, in sets, whatever the database: what is new, changed, the same, older, gone.

use super::history::{VALID_FROM, VALID_TO};
use super::{Merged, Missing, TableMerge, TableWrite, quote};
use crate::error::{Error, Result};

/// A database inside one transaction, in which rows that arrive can be read as a table.
pub(in crate::publish) trait Database {
    /// Runs a statement; returns how many rows it changed.
    fn execute(&self, sql: &str) -> Result<u64>;

    /// Returns the text that a query finds.
    fn text(&self, sql: &str) -> Result<Option<String>>;

    /// Returns the only row of a query, of whole numbers.
    fn numbers(&self, sql: &str) -> Result<Vec<u64>>;

    /// Returns the columns of a table; none when there is no such table.
    fn columns(&self, table: &str) -> Result<Vec<String>>;

    /// Says whether unique indexes find the rows with the same key.
    fn is_indexed(&self) -> bool;
}

/// Name of the column that says since when a row is gone.
const GONE_AT: &str = "gone_at";

/// Writes a text as a SQL literal.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Asks for a fixed number of whole numbers.
pub(super) fn numbers<const N: usize>(tx: &dyn Database, sql: &str) -> Result<[u64; N]> {
    let numbers = tx.numbers(sql)?;
    numbers.try_into().map_err(|_| Error::internal("a query of the engine has other columns"))
}

impl TableMerge {
    /// Merges rows unless that was done before: the run is kept in `engine_applied`, in the same
    /// transaction.
    pub(in crate::publish) fn merge_once(&self, tx: &dyn Database, from: &str) -> Result<Merged> {
        tx.execute(
            "CREATE TABLE IF NOT EXISTS engine_applied (
               owner TEXT PRIMARY KEY, run_id TEXT NOT NULL, merged TEXT NOT NULL)",
        )?;
        let (owner, run_id) = (text(&self.owner), text(&self.run_id));
        let sql = format!(
            "SELECT merged FROM engine_applied WHERE owner = {owner} AND run_id = {run_id}"
        );
        if let Some(done) = tx.text(&sql)? {
            return serde_json::from_str(&done)
                .map_err(|e| Error::internal("an earlier merge cannot be read").because(e));
        }
        let merged = self.merge_from(tx, from)?;
        let told = text(&serde_json::json!(merged).to_string());
        tx.execute(&format!(
            "INSERT OR REPLACE INTO engine_applied (owner, run_id, merged)
             VALUES ({owner}, {run_id}, {told})"
        ))?;
        Ok(merged)
    }

    /// Merges rows that can be read as `from` inside a transaction of the caller.
    pub(in crate::publish) fn merge_from(&self, tx: &dyn Database, from: &str) -> Result<Merged> {
        let has_marks = self.make_table(tx)?;
        match self.write {
            TableWrite::Append => self.insert(tx, from),
            TableWrite::Replace => {
                let table = quote(&self.table);
                tx.execute(&format!("DELETE FROM main.{table}"))?;
                // The table has the columns of the rows, in their order. SQLite copies records as
                // they stand, without taking them apart, only if none is named and none is sorted.
                let new = tx.execute(&format!("INSERT INTO main.{table} SELECT * FROM {from}"))?;
                Ok(Merged { new, ..Merged::default() })
            }
            TableWrite::Upsert => self.upsert(tx, from, has_marks),
            TableWrite::History => self.history(tx, from),
            TableWrite::MarkGone => self.mark_gone(tx, from),
        }
    }

    /// Returns the type of a column.
    fn kind_of(&self, column: &str) -> &str {
        let found = self.columns.iter().find(|(name, _)| name == column);
        found.map_or("TEXT", |(_, kind)| kind.as_str())
    }

    /// Returns the type of versions: that of `newer_by`, or of the moment of the run, a text.
    pub(super) fn version_kind(&self) -> &str {
        self.newer_by.as_deref().map_or("TEXT", |column| self.kind_of(column))
    }

    /// Says whether the rows are an older state of the whole than one that was merged before, and
    /// remembers the newest. Only for inputs that are whole: `missing` says that they are.
    pub(super) fn is_older_whole(&self, tx: &dyn Database, from: &str) -> Result<bool> {
        let is_part = self.missing == Missing::Keep || !self.within.is_empty();
        let (Some(column), false) = (&self.newer_by, is_part) else {
            return Ok(false);
        };
        tx.execute(
            "CREATE TABLE IF NOT EXISTS engine_newest (owner TEXT PRIMARY KEY, newest TEXT)",
        )?;
        let newest = format!("(SELECT max({}) FROM {from})", quote(column));
        let (owner, kind) = (text(&self.owner), self.kind_of(column));
        let n_older = tx.numbers(&format!(
            "SELECT count(*) FROM engine_newest
             WHERE owner = {owner} AND CAST(newest AS {kind}) > {newest}"
        ))?;
        let is_older = n_older != [0];
        if !is_older {
            tx.execute(&format!(
                "INSERT OR REPLACE INTO engine_newest
                 SELECT {owner}, CAST({newest} AS TEXT) WHERE {newest} IS NOT NULL"
            ))?;
        }
        Ok(is_older)
    }

    /// Returns the columns that the table needs.
    fn wanted(&self) -> Vec<(String, String)> {
        let mut wanted = self.columns.clone();
        if self.write == TableWrite::MarkGone {
            wanted.retain(|(name, _)| {
                self.key.contains(name) || self.newer_by.as_ref() == Some(name)
            });
        }
        let (own, kind): (&[&str], _) = match (self.write, self.missing) {
            (TableWrite::History, _) => (&[VALID_FROM, VALID_TO], self.version_kind()),
            (TableWrite::MarkGone, _) | (_, Missing::MarkGone) => (&[GONE_AT], "TEXT"),
            _ => (&[], "TEXT"),
        };
        wanted.extend(own.iter().map(|name| ((*name).to_owned(), kind.to_owned())));
        wanted.extend(self.changed_at.iter().map(|name| (name.clone(), "TEXT".to_owned())));
        wanted
    }

    /// Makes the table, or adds the columns that it lacks. A replaced table is made anew when its
    /// columns are others. Says whether the table marks rows that are gone.
    fn make_table(&self, tx: &dyn Database) -> Result<bool> {
        let table = quote(&self.table);
        let wanted = self.wanted();
        let have = tx.columns(&self.table)?;
        let is_other = have.len() != wanted.len()
            || have.iter().zip(&wanted).any(|(have, (name, _))| have != name);
        if self.write == TableWrite::Replace && !have.is_empty() && is_other {
            tx.execute(&format!("DROP TABLE main.{table}"))?;
        }
        let columns: Vec<String> =
            wanted.iter().map(|(name, kind)| format!("{} {kind}", quote(name))).collect();
        tx.execute(&format!("CREATE TABLE IF NOT EXISTS main.{table} ({})", columns.join(", ")))?;
        if self.write != TableWrite::Replace && !have.is_empty() {
            for (name, kind) in &wanted {
                if !have.iter().any(|have| have.eq_ignore_ascii_case(name)) {
                    let column = quote(name);
                    tx.execute(&format!("ALTER TABLE main.{table} ADD COLUMN {column} {kind}"))?;
                }
            }
        }
        let open = format!("WHERE {VALID_TO} IS NULL");
        let (kind, which) = match self.write {
            // A part of a key may stand for many rows.
            TableWrite::MarkGone if !have.is_empty() => ("", ""),
            TableWrite::Upsert | TableWrite::MarkGone => ("key", ""),
            TableWrite::History => ("open", open.as_str()),
            TableWrite::Append | TableWrite::Replace => return Ok(false),
        };
        if tx.is_indexed() && !kind.is_empty() {
            let index = quote(&format!("{}_{kind}_{}", self.table, self.key.join("_")));
            let key = list(&self.key);
            tx.execute(&format!(
                "CREATE UNIQUE INDEX IF NOT EXISTS main.{index} ON {table} ({key}) {which}"
            ))?;
        }
        let is_mark = |name: &String| name.eq_ignore_ascii_case(GONE_AT);
        let is_own = self.columns.iter().any(|(name, _)| is_mark(name));
        Ok(!is_own && (have.iter().any(is_mark) || wanted.iter().any(|(name, _)| is_mark(name))))
    }

    fn insert(&self, tx: &dyn Database, from: &str) -> Result<Merged> {
        let columns = self.columns_list();
        let sql = format!(
            "INSERT INTO main.{} ({columns}) SELECT {columns} FROM {from} ORDER BY rowid",
            quote(&self.table)
        );
        let new = tx.execute(&sql)?;
        Ok(Merged { new, ..Merged::default() })
    }

    /// Returns the condition that a row `t` of the table has the key of a row `s` that arrives.
    pub(super) fn join(&self) -> String {
        let equal = self.key.iter().map(|name| format!("t.{0} = s.{0}", quote(name)));
        equal.collect::<Vec<_>>().join(" AND ")
    }

    /// Marks the rows gone whose keys arrive. That they are gone is known as of the version that
    /// arrives; a key that is not there stays away until a newer version of it comes.
    fn mark_gone(&self, tx: &dyn Database, from: &str) -> Result<Merged> {
        let table = format!("main.{}", quote(&self.table));
        let (join, newer) = (self.join(), self.newer("s.", "t."));
        self.bury(tx, from)?;
        let counts = format!(
            "SELECT count(*) FILTER (WHERE NOT ({newer})), count(*)
             FROM {from} s JOIN {table} t ON {join}"
        );
        let [older, known] = numbers(tx, &counts)?;
        let version = match &self.newer_by {
            Some(column) => format!(", {0} = coalesce(s.{0}, t.{0})", quote(column)),
            None => String::new(),
        };
        let sql = format!(
            "UPDATE {table} AS t SET {GONE_AT} = {}{version}{} FROM {from} s
             WHERE {join} AND t.{GONE_AT} IS NULL AND ({newer})",
            text(&self.at),
            self.set_changed_at()
        );
        let gone = tx.execute(&sql)?;
        Ok(Merged { gone, older, same: known - older - gone, ..Merged::default() })
    }

    fn upsert(&self, tx: &dyn Database, from: &str, has_marks: bool) -> Result<Merged> {
        let buried = self.drop_buried(tx, from)?;
        let table = format!("main.{}", quote(&self.table));
        let join = self.join();
        let is_gone = match has_marks {
            true => format!("t.{GONE_AT} IS NOT NULL"),
            false => "FALSE".to_owned(),
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
        let [fresh, older, back, changed, all] = numbers(tx, &counts)?;
        let same = all - fresh - back - changed - older;
        let is_older_whole = self.is_older_whole(tx, from)?;
        self.write_rows(tx, from, has_marks, is_older_whole)?;
        if is_older_whole {
            let older = older + fresh + buried;
            return Ok(Merged { new: back, changed, same, older, gone: 0 });
        }
        let gone = self.gone(tx, from, &table, &join, all)?;
        Ok(Merged { new: fresh + back, changed, same, older: older + buried, gone })
    }

    /// Writes rows over those with the same key, and adds the others; of an older whole it adds
    /// none: what is not there was gone already when a newer one was merged.
    fn write_rows(
        &self,
        tx: &dyn Database,
        from: &str,
        has_marks: bool,
        is_older_whole: bool,
    ) -> Result<()> {
        let table = format!("main.{}", quote(&self.table));
        let (columns, join) = (self.columns_list(), self.join());
        let sets = |new: &str| {
            let own = self.columns.iter().map(|(name, _)| name);
            let values = own.filter(|name| !self.key.contains(name));
            let mut sets: Vec<String> =
                values.map(|name| format!("{0} = {new}.{0}", quote(name))).collect();
            if has_marks {
                sets.push(format!("{GONE_AT} = NULL"));
            }
            if let Some(column) = &self.changed_at {
                let old =
                    if new == "s" { "t.".to_owned() } else { format!("{}.", quote(&self.table)) };
                let back = if has_marks {
                    format!(" OR {old}{GONE_AT} IS NOT NULL")
                } else {
                    String::new()
                };
                let differs = self.differs(&format!("{new}."), &old);
                let (column, at) = (quote(column), text(&self.at));
                sets.push(format!(
                    "{column} = CASE WHEN {differs}{back} THEN {at} ELSE {old}{column} END"
                ));
            }
            sets.join(", ")
        };
        let (changed_at, at) = match &self.changed_at {
            Some(column) => (format!(", {}", quote(column)), format!(", {}", text(&self.at))),
            None => (String::new(), String::new()),
        };
        let there = format!("EXISTS (SELECT 1 FROM {table} t WHERE {join})");
        if !tx.is_indexed() {
            let newer = self.newer("s.", "t.");
            if !sets("s").is_empty() {
                tx.execute(&format!(
                    "UPDATE {table} AS t SET {} FROM {from} s WHERE {join} AND {newer}",
                    sets("s")
                ))?;
            }
            if !is_older_whole {
                tx.execute(&format!(
                    "INSERT INTO {table} ({columns}{changed_at})
                     SELECT {columns}{at} FROM {from} s WHERE NOT {there}"
                ))?;
            }
            return Ok(());
        }
        let update = match sets("excluded") {
            sets if sets.is_empty() => "NOTHING".to_owned(),
            sets => {
                let existing = format!("{}.", quote(&self.table));
                format!("UPDATE SET {sets} WHERE {}", self.newer("excluded.", &existing))
            }
        };
        // Without a WHERE clause SQLite reads ON CONFLICT as a join condition.
        let which = if is_older_whole { there.as_str() } else { "TRUE" };
        tx.execute(&format!(
            "INSERT INTO {table} ({columns}{changed_at})
             SELECT {columns}{at} FROM {from} s WHERE {which}
             ORDER BY rowid ON CONFLICT ({}) DO {update}",
            list(&self.key)
        ))?;
        Ok(())
    }

    /// Deals with the rows that arrive no more. When nothing arrived at all nothing is gone: an
    /// empty input is rather a mistake than the end of all companies. With `newer_by`, rows newer
    /// than everything that arrived are left alone: the input could not know them.
    fn gone(
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
        let version = match &self.newer_by {
            Some(column) => format!(", {} = {newest}", quote(column)),
            None => String::new(),
        };
        let same = self.within.iter().map(|name| format!("t.{0} = s.{0}", quote(name)));
        let same: Vec<String> = same.collect();
        let is_asked = match same.is_empty() {
            true => String::new(),
            false => format!("AND EXISTS (SELECT 1 FROM {from} s WHERE {})", same.join(" AND ")),
        };
        let absent = format!("NOT EXISTS (SELECT 1 FROM {from} s WHERE {join}) {known} {is_asked}");
        match self.missing {
            // That it is gone is known as of the newest row that arrived: an older input must not
            // bring it back.
            Missing::MarkGone => tx.execute(&format!(
                "UPDATE {table} AS t SET {GONE_AT} = {}{version}{}
                 WHERE t.{GONE_AT} IS NULL AND {absent}",
                text(&self.at),
                self.set_changed_at()
            )),
            _ => tx.execute(&format!("DELETE FROM {table} AS t WHERE {absent}")),
        }
    }

    /// Returns the condition that a row `t` is one that the input could know, and the newest version
    /// of the input (null without versions).
    pub(super) fn known_by(&self, from: &str) -> (String, String) {
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
    pub(super) fn newer(&self, new: &str, old: &str) -> String {
        match &self.newer_by {
            Some(column) => {
                let column = quote(column);
                format!(
                    "({old}{column} IS NULL OR ({new}{column} IS NOT NULL AND {new}{column} >= {old}{column}))"
                )
            }
            None => "TRUE".to_owned(),
        }
    }

    /// The version alone is no difference: the same company in the next month's file is the same.
    pub(super) fn differs(&self, new: &str, old: &str) -> String {
        let differs: Vec<String> = self
            .columns
            .iter()
            .filter(|(name, _)| !self.key.contains(name) && self.newer_by.as_ref() != Some(name))
            .map(|(name, _)| format!("{new}{0} IS DISTINCT FROM {old}{0}", quote(name)))
            .collect();
        if differs.is_empty() { "FALSE".to_owned() } else { differs.join(" OR ") }
    }

    /// Returns the assignment that notes a change.
    fn set_changed_at(&self) -> String {
        let set = |column: &String| format!(", {} = {}", quote(column), text(&self.at));
        self.changed_at.as_ref().map(set).unwrap_or_default()
    }

    pub(super) fn columns_list(&self) -> String {
        list(self.columns.iter().map(|(name, _)| name))
    }
}

/// Lists names as SQL identifiers.
fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| quote(name)).collect();
    quoted.join(", ")
}
