//! `pipeline query`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::SessionContext;
use futures::StreamExt as _;

use super::{Loaded, Surroundings, output};
use crate::engine;
use crate::error::{Error, Result};
use crate::spec::{Severity, list};

/// Query with SQL what pipelines have written.
///
/// The tables are the sinks of the pipelines in this folder and in `pipelines/`, by their names,
/// files by their path in quotes, and `engine.runs`, `engine.node_runs`,
/// `engine.outputs`, `engine.files`. Nothing
/// can be changed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline query \"select postcode_area, count(*) from lead_files group by 1 order by 2 desc\"
  pipeline query \"select * from 'pipelines/out/leads' limit 5\" --format csv
  pipeline query \"select * from engine.runs\" --file examples/quickstart/quickstart.yaml")]
pub(super) struct Arguments {
    /// The SQL query.
    sql: String,
    /// Pipeline files whose sinks are tables; those of this folder and `pipelines/` otherwise.
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The value of a variable, as `name=value`.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
}

pub(super) async fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    let tables = open(arguments.files, &arguments.vars, surroundings).await?;
    let Some((session, tables)) = tables else { return Ok(ExitCode::from(2)) };
    answer(&session, &tables, &arguments.sql, surroundings).await?;
    Ok(ExitCode::SUCCESS)
}

/// Opens the tables of pipelines, those of this folder and `pipelines/` when none are named.
/// Returns the session and the names of its tables; `None` when a named file has mistakes, which
/// were shown.
pub(super) async fn open(
    files: Vec<PathBuf>,
    vars: &[String],
    surroundings: &Surroundings,
) -> Result<Option<(SessionContext, Vec<String>)>> {
    let are_named = !files.is_empty();
    let files = match are_named {
        true => files,
        false => engine::pipelines_in(&surroundings.working_folder),
    };
    let mut pipelines = Vec::new();
    for file in files {
        let options = surroundings.options(vars, false, None)?;
        let place = surroundings.working_folder.join(&file);
        let text = surroundings.read(&file)?;
        let (outputs, found) = engine::outputs(&text, &place, &options);
        let is_broken = found.iter().any(|fault| fault.severity == Severity::Error);
        if is_broken {
            let name = file.display().to_string();
            let loaded = Loaded { name, text, checked: None, found };
            match are_named {
                true => surroundings.show(&loaded, false),
                false => output::say(&format!("warning: {} has mistakes", file.display())),
            }
        }
        if is_broken && are_named {
            return Ok(None);
        }
        pipelines.extend(outputs);
    }
    Ok(Some(engine::open_tables(&pipelines).await?))
}

/// Writes the answer to a query that may change nothing.
pub(super) async fn answer(
    session: &SessionContext,
    tables: &[String],
    sql: &str,
    surroundings: &Surroundings,
) -> Result<()> {
    let read_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let rows = session.sql_with_options(sql, read_only).await.map_err(|error| {
        let known = list(tables.iter().map(String::as_str));
        let known = if known.is_empty() { "none: nothing was run here yet".into() } else { known };
        Error::user(format!("{}\n  tables are {known}", error.strip_backtrace()))
    })?;
    let mut rows = rows.execute_stream().await?;
    let mut out = output::RowsOut::new(surroundings.format, rows.schema());
    while let Some(batch) = rows.next().await {
        if !out.write(batch?)? {
            return Ok(());
        }
    }
    out.finish()
}
