//! `pipeline run`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{Format, Surroundings, interrupted, output, progress};
use crate::engine::{Options, Run};
use crate::error::{Error, Result};

/// Run a pipeline once.
///
/// Nothing is visible before everything is read and committed; a run that is cut off is finished
/// or forgotten by the next one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline run pipelines/strike_off_bulk.yaml --var file=BasicCompanyDataAsOneFile-2026-11-01.zip
  pipeline run pipelines/strike_off_bulk.yaml --limit 10000 --dry-run")]
pub(super) struct Arguments {
    /// The pipeline file; `-` is standard input.
    file: PathBuf,
    /// The value of a variable, as `name=value`.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
    /// Read at most this many rows of each source.
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Read and count everything, write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Accept sources that have far fewer rows than in the last run.
    #[arg(long)]
    may_shrink: bool,
}

pub(super) async fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    // A dry run forgets nothing, so it may be limited whatever the sinks do with missing rows.
    let mut options = surroundings.options(&arguments.vars, true, arguments.limit)?;
    options.is_dry = arguments.dry_run;
    options.may_shrink = arguments.may_shrink;
    start(&arguments.file, options, surroundings).await
}

/// Runs a pipeline file and shows what it did.
pub(super) async fn start(
    file: &Path,
    options: Options,
    surroundings: &Surroundings,
) -> Result<ExitCode> {
    let loaded = surroundings.load(file, options).await?;
    surroundings.show(&loaded, false);
    let Some(checked) = loaded.checked else { return Ok(ExitCode::from(2)) };
    let run = Run::new(checked);
    let progress = progress::show(run.progress(), surroundings.is_quiet);
    let report = tokio::select! {
        report = run.run(interrupted()) => report?,
        () = progress => return Err(Error::internal("the progress ended before the run")),
    };
    match surroundings.format {
        Some(Format::Json | Format::Ndjson) => {
            let json = serde_json::to_string(&report)
                .map_err(|e| Error::internal("the report cannot be written").because(e))?;
            output::print(&format!("{json}\n"));
        }
        _ if surroundings.is_quiet => {}
        _ => output::say(report.table().trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}
