//! `pipeline rejects`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::preview::{self, Wanted};
use super::{Loaded, Surroundings, output, query, run, runs};
use crate::engine;
use crate::error::{Error, Result};

/// Look into the rows that were refused, and run them again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline rejects list pipelines/strike_off_bulk.yaml
  pipeline rejects show pipelines/strike_off_bulk.yaml usable
  pipeline rejects replay pipelines/strike_off_bulk.yaml register --dry-run")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How many rows each node refused in the last run, and why.
    List {
        /// The pipeline file.
        file: PathBuf,
        /// The value of a variable, as `name=value`.
        #[arg(long = "var", value_name = "NAME=VALUE")]
        vars: Vec<String>,
    },
    /// The rows that a node refuses now, with the reasons: its sources are read to their end.
    Show {
        /// The pipeline file.
        file: PathBuf,
        /// The source or transform.
        node: String,
        /// The most rows to show.
        #[arg(short = 'n', value_name = "ROWS", default_value = "100")]
        rows: usize,
        /// The columns to show, as `company_number,reason`; all otherwise.
        #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
        columns: Vec<String>,
        /// The value of a variable, as `name=value`.
        #[arg(long = "var", value_name = "NAME=VALUE")]
        vars: Vec<String>,
    },
    /// Run rows that a node refused, and that a sink kept, through the pipeline as it is now.
    ///
    /// Sinks that replace all of their rows are left out, and so is what puts rows together: a
    /// replay has some of the rows. Those that were replayed stay where they are kept.
    Replay(Replayed),
}

#[derive(Debug, Args)]
struct Replayed {
    /// The pipeline file.
    file: PathBuf,
    /// The source or `validate` that refused the rows.
    node: String,
    /// A sink, a CSV file, or Parquet, that holds the rows; the sink that reads `NODE.rejected`
    /// otherwise.
    #[arg(long, value_name = "PATH")]
    from: Option<String>,
    /// Read and count, write nothing.
    #[arg(long)]
    dry_run: bool,
    /// The value of a variable, as `name=value`.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
}

pub(super) async fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    match arguments.command {
        Command::List { file, vars } => {
            let Some((session, tables)) = query::open(vec![file], &vars, surroundings).await?
            else {
                return Ok(ExitCode::from(2));
            };
            if !tables.iter().any(|table| table == "engine.node_runs") {
                output::say("nothing was run here yet");
                return Ok(ExitCode::SUCCESS);
            }
            let no_replay = match runs::has_replays(&session).await? {
                true => "and replay is null",
                false => "",
            };
            let sql = format!(
                "select node, rejected, rows_out as accepted, reasons, run_id
                 from engine.node_runs
                 where rejected > 0 and run_id = (select max(run_id) from engine.runs
                                                  where status = 'done' {no_replay})
                 order by rejected desc"
            );
            query::answer(&session, &tables, &sql, surroundings).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Show { file, node, rows, columns, vars } => {
            let node = format!("{node}.rejected");
            preview::show(Wanted { file, node, rows, vars, limit: None, columns }, surroundings)
                .await
        }
        Command::Replay(arguments) => replay(arguments, surroundings).await,
    }
}

async fn replay(arguments: Replayed, surroundings: &Surroundings) -> Result<ExitCode> {
    if arguments.file == Path::new("-") {
        return Err(Error::user("a replay reads its pipeline twice: name a file"));
    }
    let mut options = surroundings.options(&arguments.vars, true, None)?;
    let text = surroundings.read(&arguments.file)?;
    let place = surroundings.working_folder.join(&arguments.file);
    let (node, from) = (&arguments.node, arguments.from.as_deref());
    let (kept, found) = engine::kept_rows(&text, &place, &options, node, from).await?;
    let Some(kept) = kept else {
        let name = arguments.file.display().to_string();
        surroundings.show(&Loaded { name, text, checked: None, found }, false);
        return Ok(ExitCode::from(2));
    };
    if kept.n_rows == 0 {
        output::say(&format!("{} holds no rows that `{node}` refused", kept.place));
        return Ok(ExitCode::SUCCESS);
    }
    options.is_dry = arguments.dry_run;
    options.replay = Some(Arc::new(kept));
    run::start(&arguments.file, options, run::Follows::No, surroundings).await
}
