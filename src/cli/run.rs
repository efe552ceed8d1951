//! `pipeline run`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Format, Surroundings, output, progress};
use crate::engine::Run;
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
}

pub(super) async fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    // A dry run forgets nothing, so it may be limited whatever the sinks do with missing rows.
    let mut options = surroundings.options(&arguments.vars, true, arguments.limit)?;
    options.is_dry = arguments.dry_run;
    let loaded = surroundings.load(&arguments.file, options).await?;
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

/// Waits for Ctrl-C or SIGTERM. A second one ends the process at once.
async fn interrupted() {
    wait_for_signal().await;
    output::say("stopping; once more to stop at once");
    tokio::spawn(async {
        wait_for_signal().await;
        std::process::exit(130);
    });
}

async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};

    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(_) => {
            // Without a handler Ctrl-C ends the process as ever.
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
