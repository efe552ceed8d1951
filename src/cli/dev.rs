//! `pipeline dev`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::preview::{self, Wanted};
use super::watch::{Stamps, Watch, stamps};
use super::{Format, Surroundings, output, test, wait_for_signal};
use crate::engine;
use crate::error::{Error, Result};
use crate::spec::Severity;

/// Watch a pipeline file while it is written: on every change it is checked and tested again.
///
/// The files that it reads are watched too: fragments, table schemas, fixtures of tests and the
/// files of its sources. Ctrl-C ends it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline dev pipelines/strike_off_bulk.yaml
  pipeline dev pipelines/strike_off_bulk.yaml --node signals
  pipeline dev pipelines/strike_off_bulk.yaml --once")]
pub(super) struct Arguments {
    /// The pipeline file.
    file: PathBuf,
    /// A source, a transform or a port whose first rows are shown, as `preview` does.
    #[arg(long)]
    node: Option<String>,
    /// The value of a variable, as `name=value`.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
    /// Do it once and end: with 0 when nothing is wrong.
    #[arg(long)]
    once: bool,
}

/// How often files are looked at.
const EVERY: Duration = Duration::from_millis(300);

/// Rows of a node that are shown.
const ROWS: usize = 20;

/// Rows of each source that are read for them.
const LIMIT: u64 = 100_000;

pub(super) async fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    if arguments.file == Path::new("-") {
        return Err(Error::user("standard input cannot be watched; name a file"));
    }
    // What is not there at all is rather a slip than a file to wait for.
    surroundings.read(&arguments.file)?;
    if arguments.once {
        let is_fine = arguments.round(surroundings).await?;
        return Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::from(2) });
    }
    let end = wait_for_signal();
    tokio::select! {
        () = arguments.watch(surroundings) => {}
        () = end => {}
    }
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    async fn watch(&self, surroundings: &Surroundings) {
        let mut changed = Vec::new();
        loop {
            self.separate(&changed, surroundings);
            // The look comes first: what is written meanwhile is a change.
            let mut watch = Watch::new(self.stamps(surroundings));
            if let Err(error) = self.round(surroundings).await {
                output::say(&format!("error: {error}"));
            }
            output::print("── waiting for a change; Ctrl-C ends\n");
            changed = loop {
                tokio::time::sleep(EVERY).await;
                let now = stamps(watch.files());
                let changed = watch.look(now);
                if !changed.is_empty() {
                    break changed;
                }
            };
        }
    }

    /// Looks at the files that decide how the pipeline fares.
    fn stamps(&self, surroundings: &Surroundings) -> Stamps {
        let place = surroundings.place(&self.file);
        let text = surroundings.read(&self.file).unwrap_or_default();
        match surroundings.options(&self.vars, false, None) {
            Ok(options) => stamps(&engine::watched(&text, &place, &options)),
            Err(_) => stamps([&place]),
        }
    }

    /// Writes a line between two rounds; a terminal is cleared before it.
    fn separate(&self, changed: &[PathBuf], surroundings: &Surroundings) {
        let folder = &surroundings.working_folder;
        let name = |path: &PathBuf| path.strip_prefix(folder).unwrap_or(path).display().to_string();
        let names: Vec<String> = changed.iter().map(name).filter(|name| !name.is_empty()).collect();
        let file = self.file.display();
        if changed.is_empty() {
            output::print(&format!("── {file}\n"));
            return;
        }
        output::clear();
        let what = if names.is_empty() { "its folder".to_owned() } else { names.join(", ") };
        output::print(&format!("── {file}, changed: {what}\n"));
    }

    /// Checks the pipeline, runs its tests and shows rows of the node; says whether all is fine.
    async fn round(&self, surroundings: &Surroundings) -> Result<bool> {
        let options = surroundings.options(&self.vars, false, None)?;
        let loaded = surroundings.load(&self.file, options).await?;
        surroundings.show_beside(&loaded);
        let is_error = |fault: &&crate::spec::Diagnostic| fault.severity == Severity::Error;
        let n_wrong = loaded.found.iter().filter(is_error).count();
        let name = self.file.display();
        if n_wrong > 0 {
            let plural = if n_wrong == 1 { "" } else { "s" };
            output::print(&format!("✗ {name}: {n_wrong} mistake{plural}\n"));
            return Ok(false);
        }
        output::print(&format!("✓ {name}: no mistakes\n"));
        let suite = test::run_file(&self.file, "", false, surroundings).await?;
        let (n_passed, n_failed) = (suite.n_passed(), suite.n_failed());
        if n_passed + n_failed > 0 {
            output::print(&format!("{n_passed} passed, {n_failed} failed\n"));
        }
        let is_shown = self.preview(surroundings).await?;
        Ok(suite.is_fine && n_failed == 0 && is_shown)
    }

    /// Shows the first rows of the node, if one is named; `false` when they cannot be shown.
    async fn preview(&self, surroundings: &Surroundings) -> Result<bool> {
        let Some(node) = &self.node else { return Ok(true) };
        let (file, vars, node) = (self.file.clone(), self.vars.clone(), node.clone());
        let (rows, limit, columns) = (ROWS, Some(LIMIT), Vec::new());
        // The check has warned already, and people watch: they get a table.
        let format = surroundings.format.or(Some(Format::Table));
        let surroundings = Surroundings { is_quiet: true, format, ..surroundings.clone() };
        let shown = preview::show(Wanted { file, node, rows, vars, limit, columns }, &surroundings);
        Ok(shown.await? == ExitCode::SUCCESS)
    }
}
