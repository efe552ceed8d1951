//! `pipeline preview`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Surroundings, output};
use crate::engine::{Preview, Run};
use crate::error::{Error, Result};
use crate::spec::list;

/// Show the first rows of a node, without writing anything.
///
/// Sources are read in part: `--limit` says how many rows of each.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline preview pipelines/strike_off_bulk.yaml signals
  pipeline preview pipelines/strike_off_bulk.yaml usable.rejected -n 5 --format csv")]
pub(super) struct Arguments {
    /// The pipeline file; `-` is standard input.
    file: PathBuf,
    /// A source, a transform, or a port.
    node: String,
    /// The most rows to show.
    #[arg(short = 'n', value_name = "ROWS", default_value = "20")]
    rows: usize,
    /// The value of a variable, as `name=value`.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
    /// Read at most this many rows of each source.
    #[arg(long, value_name = "ROWS", default_value = "100000", value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

pub(super) async fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    let Arguments { file, node, rows, vars, limit } = arguments;
    show(Wanted { file, node, rows, vars, limit: Some(limit) }, surroundings).await
}

/// The first rows of a node.
pub(super) struct Wanted {
    pub(super) file: PathBuf,
    pub(super) node: String,
    pub(super) rows: usize,
    pub(super) vars: Vec<String>,
    /// The most rows to read of each source.
    pub(super) limit: Option<u64>,
}

/// Shows the first rows of a node or port.
pub(super) async fn show(arguments: Wanted, surroundings: &Surroundings) -> Result<ExitCode> {
    let mut options = surroundings.options(&arguments.vars, true, arguments.limit)?;
    options.is_dry = true;
    options.preview = Some(Preview { node: arguments.node.clone(), rows: arguments.rows });
    let loaded = surroundings.load(&arguments.file, options).await?;
    surroundings.show(&loaded, false);
    let Some(checked) = loaded.checked else { return Ok(ExitCode::from(2)) };
    let nodes: Vec<String> = checked
        .graph
        .iter()
        .filter(|node| node.family != "sink")
        .map(|node| node.id.clone())
        .collect();
    let Some((schema, batches)) = Run::new(checked).preview().await? else {
        let known = list(nodes.iter().map(String::as_str));
        let message = format!("no node or port `{}`; nodes are {known}", arguments.node);
        return Err(Error::user(message));
    };
    let mut out = output::RowsOut::new(surroundings.format, schema);
    for batch in batches {
        if !out.write(batch)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}
