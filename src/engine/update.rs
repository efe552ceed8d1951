//! Tests that expect what came: their files are rewritten, once it is known that they then pass.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::check::Options;
use super::file::{self, File};
use super::testing::{Difference, Fixtures, Tested, test_with};
use crate::error::{Error, Result};
use crate::publish::sync_folder;
use crate::spec::{Row, RowsEdit, TestCase, rewrite_csv, rewrite_rows, tidy};

/// What became of the tests of a file that were to expect what came.
pub struct Updated {
    /// The text of the pipeline file as it is now.
    pub text: String,
    /// The tests as they are now.
    pub tests: Vec<Tested>,
    /// The expectations that were rewritten.
    pub rewritten: Vec<Rewritten>,
    /// The tests that fail and were left alone, each with the reason.
    pub left: Vec<(String, String)>,
}

/// An expectation that was rewritten.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The test.
    pub test: String,
    /// The node, port or sink.
    pub id: String,
    /// The CSV file that holds its rows, as the test names it.
    pub file: Option<String>,
}

/// Rewrites the expectations of failed tests with the rows that came. Nothing is replaced unless
/// the tests pass with what would stand there.
pub async fn update(
    text: &str,
    path: &Path,
    options: &Options,
    wanted: &str,
    tests: Vec<Tested>,
) -> Result<Updated> {
    let (file, _) = file::parse(text);
    let mut updated =
        Updated { text: text.to_owned(), tests, rewritten: Vec::new(), left: Vec::new() };
    let Some(file) = file else { return Ok(updated) };
    let update = Update { text, path, options, file };
    let mut all = Edits::default();
    for test in updated.tests.iter().filter(|test| !test.is_passed()) {
        match update.edits(test).await {
            Ok((edits, rewritten)) => match all.join(edits) {
                Ok(()) => updated.rewritten.extend(rewritten),
                Err(why) => updated.left.push((test.name.value.clone(), why)),
            },
            Err(why) => updated.left.push((test.name.value.clone(), why)),
        }
    }
    if updated.rewritten.is_empty() {
        return Ok(updated);
    }
    let written = all.apply(text).map_err(Error::run)?;
    let is_wanted = |name: &str| name.contains(wanted);
    let tests = update.test(&written, &is_wanted).await;
    let is_left = |name: &str| updated.left.iter().any(|(left, _)| left == name);
    let failed = tests.iter().find(|test| !test.is_passed() && !is_left(&test.name));
    if let Some(failed) = failed.map(|test| test.name.value.clone()) {
        let why = format!("with the rows that came, the test `{failed}` fails");
        let mut names: Vec<String> = updated.rewritten.drain(..).map(|one| one.test).collect();
        names.dedup();
        updated.left.extend(names.into_iter().map(|name| (name, why.clone())));
        return Ok(updated);
    }
    update.replace(&written)?;
    (updated.text, updated.tests) = (written.text, tests);
    Ok(updated)
}

struct Update<'a> {
    text: &'a str,
    path: &'a Path,
    options: &'a Options,
    file: File,
}

/// Rows to be written, by where they go. Rows of one place for two tests are kept once.
#[derive(Clone, Default)]
struct Edits {
    rows: Vec<RowsEdit>,
    files: BTreeMap<PathBuf, Vec<Row>>,
}

/// What would stand in the files.
struct Written {
    text: String,
    fixtures: Fixtures,
}

impl Edits {
    /// Adds what another test expects, all or nothing.
    fn join(&mut self, other: Self) -> Result<(), String> {
        let is_other = |(path, rows): (&PathBuf, &Vec<Row>)| {
            self.files.get(path).is_some_and(|known| known != rows)
        };
        let at = |edit: &RowsEdit| self.rows.iter().find(|known| known.at == edit.at).cloned();
        let shares = |edit: &RowsEdit| at(edit).is_some_and(|known| known != *edit);
        if other.files.iter().any(is_other) || other.rows.iter().any(shares) {
            return Err("it shares rows with another test, and other rows came there".to_owned());
        }
        let new = other.rows.into_iter().filter(|edit| !self.rows.contains(edit));
        let new: Vec<RowsEdit> = new.collect();
        self.rows.extend(new);
        self.files.extend(other.files);
        Ok(())
    }

    fn apply(&self, text: &str) -> Result<Written, String> {
        let text = rewrite_rows(text, &self.rows)?;
        let mut fixtures = Fixtures::new();
        for (path, rows) in &self.files {
            let name = path.display();
            let old = fs::read_to_string(path).map_err(|error| format!("`{name}`: {error}"))?;
            let new = rewrite_csv(&old, rows).map_err(|why| format!("`{name}`: {why}"))?;
            fixtures.insert(path.clone(), new);
        }
        Ok(Written { text, fixtures })
    }
}

impl Update<'_> {
    /// Returns what makes a test pass, once it was seen to; `Err` says why there is nothing.
    async fn edits(&self, test: &Tested) -> Result<(Edits, Vec<Rewritten>), String> {
        let case = self.file.tests.iter().find(|case| case.name == test.name);
        let case = case.ok_or("the file has no such test")?;
        if case.fails.is_some() {
            return Err("it expects a failure".to_owned());
        }
        if !test.found.is_empty() || test.error.is_some() {
            return Err("it did not run to its end".to_owned());
        }
        differs_between_rounds(&test.differences)?;
        let mut edits = Edits::default();
        let mut rewritten = Vec::new();
        for difference in &test.differences {
            self.edit(case, difference, &mut edits)?;
            let id = difference.id.value.clone();
            let file = case.expect.rows.get(&id).and_then(|rows| rows.file.as_ref());
            let file = file.map(|file| file.value.clone());
            rewritten.push(Rewritten { test: test.name.value.clone(), id, file });
        }
        let is_it = |name: &str| name == test.name.value;
        let again = self.test(&edits.apply(self.text)?, &is_it).await;
        match again.first().filter(|again| !again.is_passed()) {
            None => Ok((edits, rewritten)),
            Some(again) => {
                differs_between_rounds(&again.differences)?;
                let why = again.found.first().map(|fault| fault.message.clone());
                let why = why.or_else(|| again.error.as_ref().map(Error::to_string));
                Err(why.unwrap_or_else(|| "other rows came when it ran again".to_owned()))
            }
        }
    }

    fn edit(
        &self,
        case: &TestCase,
        difference: &Difference,
        edits: &mut Edits,
    ) -> Result<(), String> {
        let id = &difference.id.value;
        let expected = case.expect.rows.get(id).ok_or("the test expects no such rows")?;
        let rows = difference.came.clone();
        let Some(file) = &expected.file else {
            if expected.rows.at.line == 0 {
                return Err(format!("`{id}` has no `rows` to rewrite; add `rows: []`"));
            }
            return edits.join(Edits {
                rows: vec![RowsEdit { at: expected.rows.at, rows }],
                files: BTreeMap::new(),
            });
        };
        let folder = tidy(self.path.parent().unwrap_or(Path::new("")));
        let path = tidy(&folder.join(&file.value));
        edits.join(Edits { rows: Vec::new(), files: BTreeMap::from([(path, rows)]) })
    }

    async fn test(&self, written: &Written, is_wanted: &dyn Fn(&str) -> bool) -> Vec<Tested> {
        let Written { text, fixtures } = written;
        test_with(text, self.path, self.options, is_wanted, fixtures).await.0
    }

    fn replace(&self, written: &Written) -> Result<()> {
        for (path, text) in &written.fixtures {
            replace(path, text)?;
        }
        if written.text == self.text {
            return Ok(());
        }
        if fs::read_to_string(self.path).map_err(|e| Error::io(self.path, e))? != self.text {
            let name = self.path.display();
            return Err(Error::run(format!("`{name}` changed meanwhile and is left as it is")));
        }
        replace(self.path, &written.text)
    }
}

fn differs_between_rounds(differences: &[Difference]) -> Result<(), String> {
    match differences.iter().find(|difference| difference.round > 1) {
        Some(Difference { id, round, .. }) => {
            Err(format!("`{}` differs between run 1 and run {round}", id.value))
        }
        None => Ok(()),
    }
}

/// Replaces a file at one stroke; who may read it stays as it was. A link stays a link.
fn replace(path: &Path, text: &str) -> Result<()> {
    let path = path.canonicalize().map_err(|e| Error::io(path, e))?;
    let failed = |e| Error::io(&path, e);
    let (folder, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name());
    let name = name.unwrap_or_default().to_string_lossy();
    let new = folder.join(format!(".{name}.{}", uuid::Uuid::now_v7().simple()));
    let written = || {
        let permissions = fs::metadata(&path)?.permissions();
        let mut file = fs::File::create_new(&new)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(permissions)?;
        file.sync_all()?;
        fs::rename(&new, &path)
    };
    written().map_err(|error| {
        // What was half written is in nobody's way.
        let _ = fs::remove_file(&new);
        failed(error)
    })?;
    sync_folder(folder)
}
