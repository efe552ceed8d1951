//! `pipeline query`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::SessionContext;
use futures::StreamExt as _;

use super::{Loaded, Surroundings, output};
use crate::engine::{self, Outputs};
use crate::error::{Error, Result};
use crate::spec::{Period, Severity, did_you_mean, list};

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
    /// Whose SQL it is: DataFusion's, or DuckDB's in builds that have it.
    #[arg(long, value_enum, default_value = "datafusion")]
    engine: Engine,
    /// The most rows to show.
    #[arg(long, value_name = "ROWS")]
    rows: Option<usize>,
    /// The longest time to wait for the answer, as `30s`.
    #[arg(long, value_name = "PERIOD", value_parser = Period::parse)]
    timeout: Option<Period>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    Datafusion,
    Duckdb,
}

pub(super) async fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    let longest = arguments.timeout.map_or(Duration::MAX, Period::duration);
    let asked = tokio::time::timeout(longest, ask(arguments, surroundings)).await;
    asked.unwrap_or_else(|_| Err(Error::run("no answer within `--timeout`")))
}

async fn ask(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    if arguments.engine == Engine::Duckdb {
        let pipelines = pipelines(arguments.files, &arguments.vars, surroundings)?;
        let Some(pipelines) = pipelines else { return Ok(ExitCode::from(2)) };
        let (schema, rows) = engine::query_duckdb(&pipelines, &arguments.sql).await?;
        let mut out = output::RowsOut::new(surroundings.format, schema);
        for batch in rows {
            if !out.write(batch)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        out.finish()?;
        return Ok(ExitCode::SUCCESS);
    }
    let tables = open(arguments.files, &arguments.vars, surroundings).await?;
    let Some((session, tables)) = tables else { return Ok(ExitCode::from(2)) };
    let rows = arguments.rows;
    answer_with(&session, &tables, &arguments.sql, rows, surroundings).await?;
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
    match pipelines(files, vars, surroundings)? {
        Some(pipelines) => Ok(Some(engine::open_tables(&pipelines).await?)),
        None => Ok(None),
    }
}

/// Finds where pipelines write.
fn pipelines(
    files: Vec<PathBuf>,
    vars: &[String],
    surroundings: &Surroundings,
) -> Result<Option<Vec<Outputs>>> {
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
    Ok(Some(pipelines))
}

/// Says why a query cannot be answered, and what could have been meant.
fn refusal(error: &str, tables: &[String]) -> Error {
    if error.contains("DML not supported")
        || error.contains("DDL not supported")
        || error.contains("Statement not supported")
    {
        return Error::user("`query` only reads: SELECT, WITH, VALUES, EXPLAIN");
    }
    let names = || tables.iter().map(String::as_str);
    let unknown = error.split_once("table 'datafusion.").and_then(|(_, rest)| {
        let name = rest.split('\'').next()?;
        Some(name.strip_prefix("public.").unwrap_or(name))
    });
    let near = unknown.and_then(|name| did_you_mean(name, names()));
    let advice = match (near, tables) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => "there are no tables: nothing was run here yet".to_owned(),
        (None, _) => format!("tables are {}", list(names())),
    };
    match unknown {
        Some(name) => Error::user(format!("no table `{name}`; {advice}")),
        None => {
            let error = error.trim_start_matches("SQL error: ");
            let inner = error.strip_prefix("ParserError(\"").and_then(|e| e.strip_suffix("\")"));
            Error::user(inner.unwrap_or(error).replace("Schema error: ", ""))
        }
    }
}

/// Writes the answer to a query that may change nothing.
pub(super) async fn answer(
    session: &SessionContext,
    tables: &[String],
    sql: &str,
    surroundings: &Surroundings,
) -> Result<()> {
    answer_with(session, tables, sql, None, surroundings).await
}

async fn answer_with(
    session: &SessionContext,
    tables: &[String],
    sql: &str,
    most: Option<usize>,
    surroundings: &Surroundings,
) -> Result<()> {
    let read_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let rows = session
        .sql_with_options(sql, read_only)
        .await
        .map_err(|error| refusal(&error.strip_backtrace(), tables))?;
    let mut rows = rows.limit(0, most)?.execute_stream().await?;
    let mut out = output::RowsOut::new(surroundings.format, rows.schema());
    while let Some(batch) = rows.next().await {
        if !out.write(batch?)? {
            return Ok(());
        }
    }
    out.finish()
}
