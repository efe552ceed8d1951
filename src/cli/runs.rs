//! `pipeline runs`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use datafusion::arrow::array::AsArray as _;
use datafusion::prelude::SessionContext;

use super::{Format, Surroundings, output, query};
use crate::context::reference;
use crate::error::{Error, Result};

/// Show what ran, the latest first, or what the nodes of one run did.
///
/// The same and more is in the tables `engine.runs` and `engine.node_runs` of `pipeline query`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline runs
  pipeline runs 01a20b33de6e7258ae71bd86b89dc2d2
  pipeline runs --file pipelines/strike_off_bulk.yaml --format json")]
pub(super) struct Arguments {
    /// The id of a run; its beginning is enough.
    run: Option<String>,
    /// Pipeline files; those of this folder and `pipelines/` otherwise.
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The value of a variable, as `name=value`.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
    /// The most runs to show.
    #[arg(short = 'n', default_value = "20")]
    most: u32,
}

pub(super) async fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    let tables = query::open(arguments.files, &arguments.vars, surroundings).await?;
    let Some((session, tables)) = tables else { return Ok(ExitCode::from(2)) };
    if !tables.iter().any(|table| table == "engine.runs") {
        output::say("nothing was run here yet");
        return Ok(ExitCode::SUCCESS);
    }
    let replay = if has_replays(&session).await? { "replay," } else { "" };
    let known_run = match &arguments.run {
        Some(run) => Some(known(&session, run).await?),
        None => None,
    };
    let sql = match &known_run {
        None => format!(
            "select run_id, pipeline, status, date_trunc('second', cast(started_at as timestamp)) as started_at,
                    round(date_part('epoch', cast(ended_at as timestamp) - cast(started_at as timestamp)), 1) as seconds,
                    {replay} vars, error
             from engine.runs order by run_id desc limit {}",
            arguments.most
        ),
        Some(run) => format!(
            "select node, family, kind, rows_out, rejected, new, changed, same, older, gone,
                    seconds, reasons, ports
             from engine.node_runs where run_id = '{run}'"
        ),
    };
    query::answer(&session, &tables, &sql, surroundings).await?;
    // One document is one table: programs ask for this one by `query`.
    let is_for_people =
        !matches!(surroundings.format, Some(Format::Json | Format::Ndjson | Format::Csv));
    if let (Some(run), true) = (known_run, is_for_people && has_asked(&session, &tables).await?) {
        let sql = asked(&run);
        if session.sql(&sql).await?.count().await? > 0 {
            query::answer(&session, &tables, &sql, surroundings).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says whether the states tell how far look-ups are; those of older versions do not.
async fn has_asked(session: &SessionContext, tables: &[String]) -> Result<bool> {
    let is_there = |name: &str| tables.iter().any(|table| table == name);
    if !is_there("engine.asked") || !is_there("engine.limits") {
        return Ok(false);
    }
    let asked = session.table(reference("engine.asked")).await?;
    Ok(asked.schema().has_column_with_unqualified_name("done_at"))
}

/// Returns the query for how far the look-ups of a run are, and what is left of their rate limits.
fn asked(run: &str) -> String {
    format!(
        "select a.node, a.keys, a.known, a.answered, a.failed,
                a.keys - a.known - a.answered - a.failed as left, a.rate_limit,
                max(l.remain) as calls_left, to_timestamp_millis(max(l.ends_at)) as window_ends,
                to_timestamp_millis(a.done_at) as done_at_the_earliest
         from engine.asked a left join engine.limits l on l.name = a.rate_limit
         where a.run_id = '{run}'
         group by a.node, a.keys, a.known, a.answered, a.failed, a.rate_limit, a.done_at"
    )
}

/// Says whether the states tell replays from other runs; those of older versions have none.
pub(super) async fn has_replays(session: &SessionContext) -> Result<bool> {
    let runs = session.table(reference("engine.runs")).await?;
    Ok(runs.schema().has_column_with_unqualified_name("replay"))
}

/// Returns the id of the one run that begins so.
async fn known(session: &SessionContext, begins: &str) -> Result<String> {
    let sql = format!(
        "select run_id from engine.runs where starts_with(run_id, '{}')",
        begins.replace('\'', "''")
    );
    let rows = session.sql(&sql).await?.collect().await?;
    let ids = rows.iter().flat_map(|batch| batch.column(0).as_string_view_opt());
    let ids: Vec<&str> = ids.flatten().flatten().collect();
    match ids.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err(Error::user(format!("no run begins with `{begins}`"))),
        many => Err(Error::user(format!("{} runs begin with `{begins}`: give more", many.len()))),
    }
}
