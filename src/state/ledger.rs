//! The ledger: what APIs have answered, so that nothing is asked twice.

use std::collections::HashMap;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::params;
use serde::de::DeserializeOwned;

use super::{Shared, State};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::spec::Row;

/// What an API has answered about a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Why there is nothing, in a word; `None` when there is something.
    pub missing: Option<String>,
    /// Its rows, a text or null for each column of the look-up.
    pub rows: Vec<Row>,
    /// Calls that it took.
    pub calls: u64,
}

/// The answers in a state file.
#[derive(Clone, Debug)]
pub struct Ledger(pub(super) Shared);

impl Ledger {
    /// Opens the ledger to read and write.
    pub fn open(state: Shared) -> Self {
        Self(state)
    }

    /// Opens the ledger only to read; `None` when there is none.
    pub fn read_only(state: &Path, clock: Clock) -> Result<Option<Self>> {
        if !state.is_file() {
            return Ok(None);
        }
        let connection = State::read_only(state)?;
        let is_there = connection.table_exists(None, "engine_answers")?;
        Ok(is_there.then(|| Self(Shared::new(connection, clock))))
    }

    /// Returns the answers of a look-up to keys that were given since a moment.
    pub async fn answers(
        &self,
        lookup: &str,
        keys: Vec<String>,
        since: Timestamp,
    ) -> Result<HashMap<String, Answer>> {
        let sql = "SELECT key, missing, rows, calls FROM engine_answers
                   WHERE lookup = ?1 AND key IN (SELECT value FROM json_each(?2)) AND asked_at >= ?3";
        let read = |row: &rusqlite::Row<'_>| {
            let (key, rows): (String, String) = (row.get(0)?, row.get(2)?);
            Ok((key, row.get::<_, Option<String>>(1)?, rows, row.get::<_, u64>(3)?))
        };
        let found = self.select(sql, lookup, keys, since, read).await?;
        let mut answers = HashMap::with_capacity(found.len());
        for (key, missing, rows, calls) in found {
            answers.insert(key, Answer { missing, rows: json(&rows)?, calls });
        }
        Ok(answers)
    }

    /// Returns those of some keys that a look-up has answers to since a moment, and when each was
    /// given, in milliseconds since 1970.
    pub async fn known(
        &self,
        lookup: &str,
        keys: Vec<String>,
        since: Timestamp,
    ) -> Result<Vec<(String, i64)>> {
        let sql = "SELECT key, asked_at FROM engine_answers
                   WHERE lookup = ?1 AND key IN (SELECT value FROM json_each(?2)) AND asked_at >= ?3";
        self.select(sql, lookup, keys, since, |row| Ok((row.get(0)?, row.get(1)?))).await
    }

    async fn select<T: Send + 'static>(
        &self,
        sql: &'static str,
        lookup: &str,
        keys: Vec<String>,
        since: Timestamp,
        read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Vec<T>> {
        let lookup = lookup.to_owned();
        self.0
            .on_thread(move |connection, _| {
                let keys = serde_json::Value::from(keys).to_string();
                let mut statement = connection.prepare_cached(sql)?;
                let parameters = params![lookup, keys, since.as_millisecond()];
                let rows = statement.query_map(parameters, read)?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await
    }

    /// Returns the calls that the answers of a look-up took on the average; one without any.
    pub async fn calls_per_key(&self, lookup: &str) -> Result<f64> {
        let lookup = lookup.to_owned();
        self.0
            .on_thread(move |connection, _| {
                let sql = "SELECT avg(calls) FROM engine_answers WHERE lookup = ?1";
                let mean: Option<f64> = connection.query_row(sql, [lookup], |row| row.get(0))?;
                Ok(mean.unwrap_or(1.0))
            })
            .await
    }

    /// Writes an answer down, in place of an older one.
    pub async fn put(&self, lookup: &str, key: String, answer: Answer) -> Result<()> {
        let lookup = lookup.to_owned();
        self.0.on_thread(move |connection, now| {
            let sql = "INSERT OR REPLACE INTO engine_answers (lookup, key, asked_at, calls, missing, rows)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let rows = serde_json::Value::from_iter(answer.rows.into_iter().map(row_json));
            connection.prepare_cached(sql)?.execute(params![
                lookup,
                key,
                now.as_millisecond(),
                answer.calls,
                answer.missing,
                rows.to_string()
            ])?;
            Ok(())
        })
        .await
    }
}

fn row_json(row: Row) -> serde_json::Value {
    row.into_iter().map(serde_json::Value::from).collect()
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| Error::internal("the ledger holds an unreadable answer").because(error))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::after;

    #[tokio::test]
    async fn answers_until_they_are_too_old() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::io(Path::new("tmp"), e))?;
        let path = folder.path().join("state.db");
        let at = Timestamp::UNIX_EPOCH;
        let ledger = Ledger::open(Shared::open(&path, Clock::fixed(at))?);
        let answer = Answer {
            missing: None,
            rows: vec![vec![Some("a \"b\"".into()), None], vec![None, Some(String::new())]],
            calls: 2,
        };
        let none = Answer { missing: Some("unknown".into()), rows: Vec::new(), calls: 1 };
        ledger.put("l", "1".into(), Answer::default()).await?;
        ledger.put("l", "1".into(), answer.clone()).await?;
        ledger.put("l", "2".into(), none.clone()).await?;
        ledger.put("other", "3".into(), none.clone()).await?;
        let keys = || vec!["1".to_owned(), "2".into(), "3".into()];
        let found = ledger.answers("l", keys(), at).await?;
        assert_eq!(found, HashMap::from([("1".into(), answer), ("2".into(), none)]));
        assert_eq!(ledger.known("l", keys(), at).await?.len(), 2);
        assert!(ledger.known("l", keys(), after(at, Duration::from_millis(1))).await?.is_empty());
        assert!((ledger.calls_per_key("l").await? - 1.5).abs() < 1e-9);
        Ok(())
    }
}
