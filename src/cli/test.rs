//! `pipeline test`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{Loaded, Surroundings, output};
use crate::engine::{self, Difference, Tested, Updated};
use crate::error::{Error, Result};
use crate::spec::{Diagnostic, Row};

/// Run the tests of pipeline files, without touching the world.
///
/// Each test runs its pipeline for real, with rows in place of its sources, a clock that stands
/// still, and outputs in a temporary folder.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline test pipelines/*.yaml
  pipeline test pipelines/strike_off_bulk.yaml -k 'too young' --junit report.xml
  pipeline test pipelines/strike_off_bulk.yaml --update")]
pub(super) struct Arguments {
    /// Pipeline files; a folder stands for the `*.yaml` in it.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Only tests whose name holds this text.
    #[arg(short = 'k', value_name = "TEXT", default_value = "")]
    wanted: String,
    /// Also write the results to a file, as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Where other rows came than expected, rewrite the files so that they are.
    #[arg(long)]
    update: bool,
}

pub(super) async fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    let mut is_fine = true;
    let (mut n_passed, mut n_failed) = (0, 0);
    let mut suites = Vec::new();
    for file in surroundings.expand(&arguments.files) {
        let suite = run_file(&file, &arguments.wanted, arguments.update, surroundings).await?;
        is_fine &= suite.is_fine;
        n_passed += suite.n_passed();
        n_failed += suite.n_failed();
        suites.push(suite);
    }
    output::print(&format!("{n_passed} passed, {n_failed} failed\n"));
    if n_passed + n_failed == 0 && is_fine {
        let message = match arguments.wanted.as_str() {
            "" => "the files have no tests".to_owned(),
            wanted => format!("no test has `{wanted}` in its name"),
        };
        return Err(Error::user(message));
    }
    if let Some(path) = arguments.junit {
        std::fs::write(&path, junit(&suites)).map_err(|e| Error::io(&path, e))?;
    }
    Ok(if is_fine && n_failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// The tests of a file, after they ran.
pub(super) struct Suite {
    /// The file.
    name: String,
    tests: Vec<Tested>,
    /// Whether the file has no mistakes of its own.
    pub(super) is_fine: bool,
}

impl Suite {
    /// Returns how many tests passed.
    pub(super) fn n_passed(&self) -> usize {
        self.tests.iter().filter(|test| test.is_passed()).count()
    }

    /// Returns how many tests did not pass.
    pub(super) fn n_failed(&self) -> usize {
        self.tests.len() - self.n_passed()
    }
}

/// Runs the tests of a file whose names hold a text, rewrites what they expect if that is asked
/// for, and shows what became of each.
pub(super) async fn run_file(
    file: &Path,
    wanted: &str,
    is_update: bool,
    surroundings: &Surroundings,
) -> Result<Suite> {
    if is_update && file == Path::new("-") {
        return Err(Error::user("standard input cannot be rewritten: name a file"));
    }
    let options = surroundings.options(&[], false, None)?;
    let text = surroundings.read(file)?;
    let place = surroundings.working_folder.join(file);
    let (tests, found) = engine::test(&text, &place, &options, wanted).await;
    let name = file.display().to_string();
    let is_fine = found.is_empty();
    let show = |text: &str, found: Vec<Diagnostic>| {
        let (name, text) = (name.clone(), text.to_owned());
        surroundings.show(&Loaded { name, text, checked: None, found }, false);
    };
    show(&text, found);
    let updated = match is_update {
        true => engine::update(&text, &place, &options, wanted, tests).await?,
        false => Updated { text, tests, rewritten: Vec::new(), left: Vec::new() },
    };
    for test in &updated.tests {
        let mark = if test.is_passed() { "✓" } else { "✗" };
        let seconds = test.seconds;
        output::print(&format!("{mark} {name}: {}  {seconds:.2} s\n", test.name.value));
        output::print(&told(test));
        output::print(&rewritten(&updated, &test.name.value));
        show(&updated.text, test.found.clone());
    }
    Ok(Suite { name, tests: updated.tests, is_fine })
}

/// Tells which expectations of a test were rewritten, or why none was.
fn rewritten(updated: &Updated, test: &str) -> String {
    let mut out = String::new();
    for rewritten in updated.rewritten.iter().filter(|rewritten| rewritten.test == test) {
        let place = rewritten.file.as_ref().map(|file| format!(" in `{file}`"));
        let _ = writeln!(out, "  rewrote {}{}", rewritten.id, place.unwrap_or_default());
    }
    if let Some((_, why)) = updated.left.iter().find(|(left, _)| left == test) {
        let _ = writeln!(out, "  not rewritten: {why}");
    }
    out
}

/// Tells what is not as expected: expected rows beside those that came.
fn told(test: &Tested) -> String {
    let mut out = String::new();
    for difference in &test.differences {
        out.push_str(&table(difference));
    }
    if let Some(error) = &test.error {
        let _ = writeln!(out, "  the run failed: {error}");
    }
    out
}

fn table(difference: &Difference) -> String {
    let shown =
        |row: &Row| row.iter().map(|value| value.clone().unwrap_or("null".into())).collect();
    let lines: Vec<(&str, Vec<String>)> = std::iter::once(("", difference.columns.clone()))
        .chain(difference.expected.iter().map(|row| ("- expected", shown(row))))
        .chain(difference.got.iter().map(|row| ("+ got", shown(row))))
        .collect();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|(_, row)| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..difference.columns.len()).map(width).collect();
    let id = &difference.id;
    let round = match difference.round {
        1 => String::new(),
        round => format!(", in run {round}"),
    };
    let mut out = format!("  {} (line {}){round}\n", id.value, id.at.line);
    for (mark, row) in &lines {
        let mut line = format!("    {mark:<12}");
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Writes the results as JUnit XML.
fn junit(suites: &[Suite]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for suite in suites {
        let (file, tests, n_failed) = (&suite.name, &suite.tests, suite.n_failed());
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{n_failed}\">",
            escape(file),
            tests.len()
        );
        for test in tests {
            let _ = write!(
                out,
                "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
                escape(file),
                escape(&test.name),
                test.seconds
            );
            if test.is_passed() {
                out.push_str("/>\n");
                continue;
            }
            let faults = test.found.iter().map(|fault| {
                format!("{}:{}:{}: {}\n", file, fault.at.line, fault.at.column, fault.message)
            });
            let told = told(test) + &faults.collect::<String>();
            let first = told.lines().next().unwrap_or_default().trim().to_owned();
            let _ = writeln!(
                out,
                "><failure message=\"{}\">{}</failure></testcase>",
                escape(&first),
                escape(&told)
            );
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// Escapes a text for XML, and leaves out the control characters that XML cannot hold.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
