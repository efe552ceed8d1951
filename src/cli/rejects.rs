//! `pipeline rejects`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::preview::{self, Wanted};
use super::{Surroundings, output, query};
use crate::error::Result;

/// Look into the rows that were refused.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline rejects list pipelines/strike_off_bulk.yaml
  pipeline rejects show pipelines/strike_off_bulk.yaml usable")]
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
            let sql = "select node, rejected, rows_out as accepted, reasons, run_id
                       from engine.node_runs
                       where rejected > 0 and run_id = (select max(run_id) from engine.runs
                                                        where status = 'done')
                       order by rejected desc";
            query::answer(&session, &tables, sql, surroundings).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Show { file, node, rows, columns, vars } => {
            let node = format!("{node}.rejected");
            preview::show(Wanted { file, node, rows, vars, limit: None, columns }, surroundings)
                .await
        }
    }
}
