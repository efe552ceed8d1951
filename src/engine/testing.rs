//! The tests of a pipeline file: each runs the pipeline for real, with rows that stand in for its
//! sources, a clock that stands still, and a folder that stands for the root of the file system.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::DataFrame;

use super::answers::Answers;
use super::check::{Options, check};
use super::file;
use super::plan;
use super::project::open_sink;
use super::run::Run;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::sinks::Target;
use crate::spec::{Code, Diagnostic, Located, Row, Severity, TestCase, TestRows, tidy};
use crate::table::typed_column;

/// What stands in for the world while a test runs.
#[derive(Clone, Debug)]
pub struct StandIn {
    /// The test.
    pub(super) case: TestCase,
    /// The folder that stands for the root of the file system.
    pub(super) root: PathBuf,
    /// What stands in for the APIs.
    pub(super) answers: Arc<Answers>,
}

/// What became of a test.
pub struct Tested {
    /// Its name.
    pub name: Located<String>,
    /// Seconds that it took.
    pub seconds: f64,
    /// What is not as expected; empty when it passed.
    pub differences: Vec<Difference>,
    /// Mistakes in the pipeline or the test itself, for which it could not run to its end.
    pub found: Vec<Diagnostic>,
    /// Why the run failed.
    pub error: Option<Error>,
}

impl Tested {
    /// Says whether everything was as expected.
    pub fn is_passed(&self) -> bool {
        self.differences.is_empty() && self.found.is_empty() && self.error.is_none()
    }
}

/// Rows of a node, port or sink that are not those expected.
pub struct Difference {
    /// The node, port or sink.
    pub id: Located<String>,
    /// The columns that were compared.
    pub columns: Vec<String>,
    /// Rows that were expected and did not come.
    pub expected: Vec<Row>,
    /// Rows that came and were not expected.
    pub got: Vec<Row>,
    /// All rows that came, in the order in which they did.
    pub came: Vec<Row>,
    /// In which of the repeated runs, from 1.
    pub round: u32,
}

/// Rows that a test looks at, kept while a pipeline runs.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) schema: SchemaRef,
    batches: Arc<Mutex<Vec<RecordBatch>>>,
}

impl Kept {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self { schema, batches: Arc::default() }
    }

    pub(super) fn push(&self, batch: RecordBatch) {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
    }

    pub(super) fn take(&self) -> Vec<RecordBatch> {
        std::mem::take(&mut self.batches.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs the tests of the pipeline file at `path` whose names hold `wanted`, one after the other.
/// Mistakes of the file for which no test can run are returned beside them.
pub async fn test(
    text: &str,
    path: &Path,
    options: &Options,
    wanted: &str,
) -> (Vec<Tested>, Vec<Diagnostic>) {
    let is_wanted = |name: &str| name.contains(wanted);
    test_with(text, path, options, &is_wanted, &Fixtures::new()).await
}

/// Texts that stand for the files of tests, by their path.
pub(super) type Fixtures = BTreeMap<PathBuf, String>;

/// Runs the tests whose names are wanted, with texts in place of some of their files.
pub(super) async fn test_with(
    text: &str,
    path: &Path,
    options: &Options,
    is_wanted: &dyn Fn(&str) -> bool,
    fixtures: &Fixtures,
) -> (Vec<Tested>, Vec<Diagnostic>) {
    let (file, found) = file::parse(text);
    let Some(file) = file.filter(|_| !has_errors(&found)) else { return (Vec::new(), found) };
    let mut tested = Vec::new();
    for case in file.tests.into_iter().filter(|case| is_wanted(&case.name)) {
        tested.push(Test { text, path, options, case, fixtures }.run().await);
    }
    (tested, found)
}

fn has_errors(found: &[Diagnostic]) -> bool {
    found.iter().any(|fault| fault.severity == Severity::Error)
}

struct Test<'a> {
    text: &'a str,
    path: &'a Path,
    options: &'a Options,
    case: TestCase,
    fixtures: &'a Fixtures,
}

impl Test<'_> {
    async fn run(self) -> Tested {
        let started = self.options.clock.now();
        let mut tested = Tested {
            name: self.case.name.clone(),
            seconds: 0.0,
            differences: Vec::new(),
            found: Vec::new(),
            error: None,
        };
        let root = std::env::temp_dir().join(format!("pipeline-test-{}", uuid::Uuid::now_v7()));
        if let Err(error) = self.rounds(&root, &mut tested).await {
            tested.error = Some(error);
        }
        // A temporary folder: what cannot be removed now is removed by the system.
        let _ = std::fs::remove_dir_all(&root);
        let took = self.options.clock.now().duration_since(started);
        tested.seconds = took.as_secs_f64();
        tested
    }

    async fn rounds(&self, root: &Path, tested: &mut Tested) -> Result<()> {
        let (options, case) = match self.prepare(root) {
            Ok(prepared) => prepared,
            Err(found) => {
                tested.found = found;
                return Ok(());
            }
        };
        let n_rounds = case.repeat.as_ref().map_or(1, |n| n.value.max(1));
        for round in 1..=n_rounds {
            let mut options = options.clone();
            let stand_in = options.stand_in.clone();
            options.run_id = uuid::Uuid::now_v7().simple().to_string();
            let (checked, found) = check(self.text, self.path, options).await;
            let Some(checked) = checked else {
                if !has_errors(&found) {
                    return Err(Error::user("this is nothing that runs"));
                }
                tested.found = found;
                return Ok(());
            };
            let kept = checked.plan.kept.clone();
            let state = checked.state.clone();
            let sinks: Vec<(String, Target)> = checked
                .plan
                .sinks
                .iter()
                .map(|sink| (sink.id.clone(), sink.sink.target().clone()))
                .collect();
            let ran = Run::new(checked).run(std::future::pending()).await;
            match (&case.fails, ran) {
                (None, ran) => drop(ran?),
                (Some(words), Err(error)) if error.to_string().contains(&words.value) => continue,
                (Some(_), Err(error)) => return Err(error),
                (Some(words), Ok(_)) => {
                    let message = format!("the run did not fail with `{}`", words.value);
                    return Err(Error::run(message));
                }
            }
            for (id, expected) in &case.expect.rows.0 {
                let (schema, batches) = match kept.iter().find(|(kept, _)| *kept == id.value) {
                    Some((_, kept)) => (Arc::clone(&kept.schema), kept.take()),
                    None => match sinks.iter().find(|(sink, _)| *sink == id.value) {
                        Some((_, target)) => read_sink(target, &state).await?,
                        None => continue,
                    },
                };
                match compare(id, expected, &schema, &batches)? {
                    Ok(None) => {}
                    Ok(Some(difference)) => {
                        tested.differences.push(Difference { round, ..difference });
                    }
                    Err(faults) => tested.found.extend(faults),
                }
            }
            tested.differences.extend(self.other_calls(stand_in.as_deref(), round));
            if !tested.differences.is_empty() || !tested.found.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Compares how often look-ups were asked.
    fn other_calls(&self, stand_in: Option<&StandIn>, round: u32) -> Option<Difference> {
        let answers = &stand_in?.answers;
        let (mut expected, mut got) = (Vec::new(), Vec::new());
        for (node, n) in &self.case.expect.calls.0 {
            let asked = answers.calls(node);
            if asked != n.value {
                expected.push(vec![Some(node.value.clone()), Some(n.value.to_string())]);
                got.push(vec![Some(node.value.clone()), Some(asked.to_string())]);
            }
        }
        let (first, _) = self.case.expect.calls.0.first()?;
        let columns = vec!["look-up".to_owned(), "calls".to_owned()];
        let id = Located::new("calls".to_owned(), first.at);
        let came = got.clone();
        let difference = Difference { id, columns, expected, got, came, round };
        (!difference.got.is_empty()).then_some(difference)
    }

    /// Reads what the test is told by its texts and files.
    fn prepare(&self, root: &Path) -> std::result::Result<(Options, TestCase), Vec<Diagnostic>> {
        let mut options = self.options.clone();
        let mut found = Vec::new();
        let mut case = self.case.clone();
        match case.at.as_ref().map(|at| (at, at.value.parse::<jiff::Timestamp>())) {
            Some((_, Ok(moment))) => options.clock = Clock::fixed(moment),
            Some((at, Err(_))) => found.push(not_a_moment(at)),
            None => {}
        }
        for (name, value) in &case.vars.0 {
            options.vars.insert(name.value.clone(), value.value.clone());
        }
        let folder = tidy(self.path.parent().unwrap_or(Path::new("")));
        for rows in case.given.0.iter_mut().chain(&mut case.expect.rows.0).map(|(_, rows)| rows) {
            if let Err(fault) = load(rows, &folder, self.fixtures) {
                found.push(fault);
            }
            found.extend(rows.check());
        }
        options.is_dry = false;
        options.limit = None;
        let answers = Arc::new(Answers::new(case.answers.clone()));
        let root = root.to_owned();
        options.stand_in = Some(Arc::new(StandIn { case: case.clone(), root, answers }));
        if found.is_empty() { Ok((options, case)) } else { Err(found) }
    }
}

fn not_a_moment(at: &Located<String>) -> Diagnostic {
    let message = format!("`{}` is not a moment", at.value);
    Diagnostic::error(Code::BadValue, message, at.at).help("write it as 2026-11-02T09:00:00Z")
}

/// Looks up the names that a test uses.
pub(super) fn check_case(
    case: &TestCase,
    (sources, lookups): (&[&str], &[&str]),
    all: &[String],
) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut unknown = |id: &Located<String>, what: &str, known: &[&str]| {
        let message = format!("no {what} `{}`", id.value);
        let fault = Diagnostic::error(Code::UnknownInput, message, id.at);
        found.push(fault.suggest(id, &format!("{what}s"), known.iter().copied()));
    };
    for (id, _) in &case.given.0 {
        if !sources.contains(&id.as_str()) {
            unknown(id, "source", sources);
        }
    }
    let asked = case.answers.0.iter().map(|(id, _)| id);
    for id in asked.chain(case.expect.calls.0.iter().map(|(id, _)| id)) {
        if !lookups.contains(&id.as_str()) {
            unknown(id, "look-up", lookups);
        }
    }
    let known: Vec<&str> = all.iter().map(String::as_str).collect();
    for (id, _) in &case.expect.rows.0 {
        if !known.contains(&id.as_str()) {
            unknown(id, "node, port or sink", &known);
        }
    }
    let at = case.at.iter().filter(|at| at.value.parse::<jiff::Timestamp>().is_err());
    found.extend(at.map(not_a_moment));
    let rows = case.given.0.iter().chain(&case.expect.rows.0);
    found.extend(rows.flat_map(|(_, rows)| rows.check()));
    found
}

/// Reads the rows of a file into the test.
fn load(
    rows: &mut TestRows,
    folder: &Path,
    fixtures: &Fixtures,
) -> std::result::Result<(), Diagnostic> {
    let Some(file) = rows.file.take() else { return Ok(()) };
    let broken = |message: String| Diagnostic::error(Code::File, message, file.at);
    let path = tidy(&folder.join(&file.value));
    let unreadable = |error: csv::Error| broken(format!("`{}`: {error}", path.display()));
    if path.extension().is_none_or(|extension| extension != "csv") {
        return Err(broken(format!("`{}` is not a CSV file", path.display())));
    }
    let reader: Box<dyn std::io::Read> = match fixtures.get(&path) {
        Some(text) => Box::new(text.as_bytes()),
        None => Box::new(std::fs::File::open(&path).map_err(|e| unreadable(e.into()))?),
    };
    let mut reader = csv::Reader::from_reader(reader);
    let at = file.at;
    let header = reader.headers().map_err(unreadable)?;
    rows.columns = header.iter().map(|name| Located::new(name.to_owned(), at)).collect();
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let value = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        rows.rows.value.push(Located::new(record.iter().map(value).collect(), at));
    }
    Ok(())
}

/// Reads what a sink has written.
async fn read_sink(target: &Target, state: &Path) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let session = plan::session();
    let rows: DataFrame = match open_sink(&session, target, state).await? {
        Some(table) => session.read_table(table)?,
        None => session.read_empty()?,
    };
    let schema = Arc::clone(rows.schema().inner());
    Ok((schema, rows.collect().await?))
}

type Compared = std::result::Result<Option<Difference>, Vec<Diagnostic>>;

/// Compares rows in the columns that are expected, whatever their order.
fn compare(
    id: &Located<String>,
    expected: &TestRows,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<Compared> {
    let mut found = Vec::new();
    let mut wanted = Vec::new();
    let mut texts: Vec<Row> = vec![Vec::new(); expected.rows.value.len()];
    for name in &expected.columns {
        let Some((index, field)) = schema.column_with_name(name) else {
            let message = format!("`{}` has no column `{}`", id.value, name.value);
            let fault = Diagnostic::error(Code::UnknownColumn, message, name.at);
            let names = schema.fields().iter().map(|field| field.name().as_str());
            found.push(fault.suggest(name, "columns", names));
            continue;
        };
        wanted.push(index);
        let values = expected.column(name);
        match typed_column(&values, field.data_type()) {
            Ok(column) => show(&column, &mut texts)?,
            Err(row) => {
                let kind = field.data_type().to_string();
                found.push(expected.misfit(row, name, values[row], &kind));
            }
        }
    }
    if !found.is_empty() {
        return Ok(Err(found));
    }
    let mut came: Vec<Row> = Vec::new();
    for batch in batches {
        let mut rows = vec![Vec::new(); batch.num_rows()];
        for &index in &wanted {
            show(batch.column(index), &mut rows)?;
        }
        came.extend(rows);
    }
    let mut got = came.clone();
    let mut missing = Vec::new();
    for row in texts {
        match got.iter().position(|other| *other == row) {
            Some(place) => drop(got.remove(place)),
            None => missing.push(row),
        }
    }
    if missing.is_empty() && got.is_empty() {
        return Ok(Ok(None));
    }
    let columns = expected.columns.iter().map(|name| name.value.clone()).collect();
    let id = id.clone();
    Ok(Ok(Some(Difference { id, columns, expected: missing, got, came, round: 1 })))
}

/// Adds the values of a column to rows of texts.
fn show(column: &dyn datafusion::arrow::array::Array, rows: &mut [Row]) -> Result<()> {
    let options = FormatOptions::default().with_null("null");
    let formatter = ArrayFormatter::try_new(column, &options)
        .map_err(|error| Error::internal("rows cannot be shown").because(error))?;
    for (index, row) in rows.iter_mut().enumerate() {
        row.push((!column.is_null(index)).then(|| formatter.value(index).to_string()));
    }
    Ok(())
}
