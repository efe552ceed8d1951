//! `pipeline preview`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Surroundings, output};
use crate::engine::{Preview, Run};
use crate::error::{Error, Result};
use crate::spec::{did_you_mean, list};

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
    /// The columns to show, as `company_number,reason`; all otherwise.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    columns: Vec<String>,
}

pub(super) async fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    let Arguments { file, node, rows, vars, limit, columns } = arguments;
    show(Wanted { file, node, rows, vars, limit: Some(limit), columns }, surroundings).await
}

/// The first rows of a node.
pub(super) struct Wanted {
    pub(super) file: PathBuf,
    pub(super) node: String,
    pub(super) rows: usize,
    pub(super) vars: Vec<String>,
    /// The most rows to read of each source.
    pub(super) limit: Option<u64>,
    /// The columns to show; all when there are none.
    pub(super) columns: Vec<String>,
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
        if let Some(node) = arguments.node.strip_suffix(".rejected")
            && nodes.iter().any(|known| known == node)
        {
            let message = format!("`{node}` refuses no rows: only sources and `validate` do");
            return Err(Error::user(message));
        }
        let message = format!("no node or port `{}`; nodes are {known}", arguments.node);
        return Err(Error::user(message));
    };
    let mut shown = Vec::new();
    for name in &arguments.columns {
        let Some((index, _)) = schema.column_with_name(name) else {
            let names = || schema.fields().iter().map(|field| field.name().as_str());
            let advice = match did_you_mean(name, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("columns are {}", list(names())),
            };
            return Err(Error::user(format!("no column `{name}`; {advice}")));
        };
        shown.push(index);
    }
    if shown.is_empty() {
        shown.extend(0..schema.fields().len());
    }
    let project = |error| Error::internal("a projection").because(error);
    let schema = schema.project(&shown).map_err(project)?;
    let mut out = output::RowsOut::new(surroundings.format, schema.into());
    for batch in batches {
        if !out.write(batch.project(&shown).map_err(project)?)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}
