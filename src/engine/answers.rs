//! What stands in for APIs in a test, and how often it was asked.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::lookups::{Key, Lookup, LookupColumn};
use crate::spec::{Code, Diagnostic, Located, LocatedMap, Row, TestAnswer, TestFailure};
use crate::state::Answer;
use crate::table::typed_column;
use crate::transforms::Enrichment;

/// The answers of a test, by look-up.
#[derive(Debug, Default)]
pub(super) struct Answers {
    given: LocatedMap<Vec<TestAnswer>>,
    /// Calls so far, by look-up.
    calls: Mutex<BTreeMap<String, u64>>,
}

/// What came of asking.
pub(super) struct Asked {
    /// Calls that it took.
    pub(super) calls: u64,
    /// The answer, or why there is none and the status of the last response.
    pub(super) answer: std::result::Result<Answer, (String, Option<u16>)>,
}

impl Answers {
    pub(super) fn new(given: LocatedMap<Vec<TestAnswer>>) -> Self {
        Self { given, calls: Mutex::default() }
    }

    /// Answers about a key as the test says; it must say something about every key.
    pub(super) fn ask(&self, node: &str, enrichment: &Enrichment, key: &Key) -> Result<Asked> {
        let answers = self.given.get(node).map(Vec::as_slice).unwrap_or_default();
        let lookup = enrichment.lookup.as_ref();
        let Some(answer) = answers.iter().find(|answer| is_of(answer, key, lookup)) else {
            let message = format!("the test says nothing about the key [{}]", key.join(", "));
            let help = format!(
                "add it to `answers: {{ {node}: … }}`, with `missing: unknown` if there is nothing"
            );
            return Err(Error::user(message).because(help));
        };
        let most = u64::from(enrichment.retry.attempts.value.max(1));
        let counts = |failure: &&TestFailure| failure.status != 429;
        let n_failures = answer.fail_first.iter().filter(counts).count() as u64;
        let failed =
            |failure: &TestFailure| (format!("answered {}", failure.status), Some(failure.status));
        let asked = match (&answer.fails, answer.fail_first.last()) {
            (Some(failure), _) => Asked { calls: most, answer: Err(failed(failure)) },
            (None, Some(last)) if n_failures >= most => {
                Asked { calls: answer.fail_first.len() as u64, answer: Err(failed(last)) }
            }
            (None, _) => {
                let calls = answer.fail_first.len() as u64 + 1;
                Asked { calls, answer: Ok(read(answer, lookup.columns(), calls)) }
            }
        };
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry(node.to_owned()).or_default() += asked.calls;
        Ok(asked)
    }

    /// Returns how often a look-up was asked.
    pub(super) fn calls(&self, node: &str) -> u64 {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.get(node).copied().unwrap_or(0)
    }

    /// Finds what is wrong with the answers to a look-up.
    pub(super) fn check(&self, node: &str, lookup: &dyn Lookup) -> Vec<Diagnostic> {
        let answers = self.given.get(node).map(Vec::as_slice).unwrap_or_default();
        answers.iter().flat_map(|answer| check(answer, lookup)).collect()
    }
}

fn is_of(answer: &TestAnswer, key: &Key, lookup: &dyn Lookup) -> bool {
    let values: Vec<&str> = answer.key.value.iter().map(String::as_str).collect();
    lookup.key(&values).is_ok_and(|known| known == *key)
}

fn read(answer: &TestAnswer, columns: &[LookupColumn], calls: u64) -> Answer {
    let row = |row: &LocatedMap<Option<String>>| -> Row {
        columns.iter().map(|column| row.get(&column.name).cloned().flatten()).collect()
    };
    let missing = answer.missing.as_ref().map(|word| word.value.clone());
    let rows: Vec<Row> = answer.rows.iter().map(row).collect();
    let missing = missing.or_else(|| rows.is_empty().then(|| "none".to_owned()));
    Answer { missing, rows, calls }
}

fn check(answer: &TestAnswer, lookup: &dyn Lookup) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let values: Vec<&str> = answer.key.value.iter().map(String::as_str).collect();
    if let Err(why) = lookup.key(&values) {
        found.push(Diagnostic::error(Code::BadValue, why, answer.key.at));
    }
    if let (Some(word), false) = (&answer.missing, answer.rows.is_empty()) {
        let message = "an answer has rows, or is missing";
        found.push(Diagnostic::error(Code::BadValue, message, word.at));
    }
    let columns = lookup.columns();
    for (name, value) in answer.rows.iter().flat_map(|row| &row.0) {
        let Some(column) = columns.iter().find(|column| column.name == name.value) else {
            found.push(unknown(name, columns));
            continue;
        };
        if typed_column(&[value.as_deref()], &column.kind.data_type()).is_err() {
            let value = value.as_deref().unwrap_or_default();
            let kind = column.kind.name();
            let message = format!("`{value}` is no value of `{}`, which is {kind}", name.value);
            found.push(Diagnostic::error(Code::WrongType, message, name.at));
        }
    }
    found
}

fn unknown(name: &Located<String>, columns: &[LookupColumn]) -> Diagnostic {
    let message = format!("the look-up adds no column `{}`", name.value);
    let fault = Diagnostic::error(Code::UnknownColumn, message, name.at);
    fault.suggest(name, "columns", columns.iter().map(|column| column.name.as_str()))
}
