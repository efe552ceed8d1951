//! `pipeline run`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{Format, Surroundings, interrupted, output, progress};
use crate::engine::{Checked, Follow, Followed, Options, Report, Run, Told, grouped};
use crate::error::{Error, Result};
use crate::feeds::Feeds;

/// Run a pipeline.
///
/// Nothing is visible before everything is read and committed; a run that is cut off is finished
/// or forgotten by the next one. Of a stream a run reads one batch; with `--follow`, or when its
/// `schedule` says `always`, batch follows batch until Ctrl-C or SIGTERM, which ends it within 25 s
/// with exit code 0.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline run pipelines/strike_off_bulk.yaml --var file=BasicCompanyDataAsOneFile-2026-11-01.zip
  pipeline run pipelines/strike_off_bulk.yaml --limit 10000 --dry-run
  pipeline run pipelines/strike_off_stream.yaml --follow")]
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
    /// Run batch after batch of its streams until it is stopped.
    #[arg(long, conflicts_with_all = ["dry_run", "limit"])]
    follow: bool,
    /// Run one batch, whatever its schedule says.
    #[arg(long, conflicts_with = "follow")]
    once: bool,
    /// Accept sources that have far fewer rows than in the last run.
    #[arg(long)]
    may_shrink: bool,
}

pub(super) async fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    // A dry run forgets nothing, so it may be limited whatever the sinks do with missing rows.
    let mut options = surroundings.options(&arguments.vars, true, arguments.limit)?;
    options.is_dry = arguments.dry_run;
    options.may_shrink = arguments.may_shrink;
    let may_follow = !arguments.once && !arguments.dry_run && arguments.limit.is_none();
    let follows = if arguments.follow { Follows::Yes } else { Follows::IfAlways };
    start(&arguments.file, options, if may_follow { follows } else { Follows::No }, surroundings)
        .await
}

/// Whether batch follows batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    Yes,
    /// If the schedule of the pipeline says so.
    IfAlways,
    No,
}

/// Runs a pipeline file and shows what it did.
pub(super) async fn start(
    file: &Path,
    mut options: Options,
    follows: Follows,
    surroundings: &Surroundings,
) -> Result<ExitCode> {
    let feeds = Feeds::default();
    options.feeds = feeds.clone();
    let loaded = surroundings.load(file, options).await?;
    surroundings.show(&loaded, false);
    let Some(checked) = loaded.checked else { return Ok(ExitCode::from(2)) };
    if follows == Follows::Yes || follows == Follows::IfAlways && checked.is_always {
        feeds.follow();
        return follow(checked, surroundings).await;
    }
    let run = Run::new(checked);
    let progress = progress::show(run.progress(), surroundings.is_quiet);
    let report = tokio::select! {
        report = run.run(interrupted()) => report?,
        () = progress => return Err(Error::internal("the progress ended before the run")),
    };
    show(&report, surroundings, true)?;
    Ok(ExitCode::SUCCESS)
}

/// Shows what a run did: as JSON on standard output, or for people, if they are to see it.
fn show(report: &Report, surroundings: &Surroundings, for_people: bool) -> Result<()> {
    match surroundings.format {
        Some(Format::Json | Format::Ndjson) => {
            let json = serde_json::to_string(report)
                .map_err(|e| Error::internal("the report cannot be written").because(e))?;
            output::print(&format!("{json}\n"));
        }
        _ if surroundings.is_quiet || !for_people => {}
        _ => output::say(report.table().trim_end()),
    }
    Ok(())
}

/// So often it is said how far a pipeline is that is followed.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// Runs batch after batch until a signal comes. The first batch is shown whole, then now and then a
/// line; as JSON every batch is.
async fn follow(checked: Checked, surroundings: &Surroundings) -> Result<ExitCode> {
    let (name, clock) = (checked.name.clone(), checked.options.clock);
    let follow = Follow::new(checked)?;
    if !surroundings.is_quiet {
        output::say(&format!("{name}  follows its streams; Ctrl-C ends it"));
    }
    let mut said = clock.now();
    let tell = |told: Told| match told {
        Told::Batch(report, done) => {
            // What cannot be written to standard output now cannot be later either.
            let _ = show(&report, surroundings, done.n_batches == 1);
            let is_due =
                clock.now().duration_since(said) >= SAY_EVERY.try_into().unwrap_or_default();
            if is_due && !surroundings.is_quiet && surroundings.format.is_none() {
                said = clock.now();
                output::say(&format!("{name}  {}", counted(&done)));
            }
        }
        Told::Failed(error, wait) => {
            output::say(&format!("error: {error}; again in {} s", wait.as_secs()));
        }
        Told::Stalled(node, since) => {
            let since = since.strftime("%Y-%m-%d %H:%M UTC");
            output::say(&format!(
                "warning: {node}: no event since {since}, though offices are open; the connection \
                 looks sound"
            ));
        }
    };
    let new_id = || uuid::Uuid::now_v7().simple().to_string();
    let followed = follow.run(interrupted(), new_id, tell).await?;
    if !surroundings.is_quiet {
        let cut = match followed.was_cut {
            true => "; the last batch took too long and is read again by the next start",
            false => "; the next start goes on there",
        };
        output::say(&format!("{name}  stopped after {}{cut}", counted(&followed)));
    }
    Ok(ExitCode::SUCCESS)
}

fn counted(followed: &Followed) -> String {
    let (batches, rows) = (grouped(followed.n_batches), grouped(followed.n_rows));
    format!("{batches} batch{}, {rows} rows", if followed.n_batches == 1 { "" } else { "es" })
}
