//! `pipeline graph`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{Surroundings, output};
use crate::engine::{self, Drawing};
use crate::error::Result;

/// Show the nodes of a pipeline and what feeds each.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline graph pipelines/strike_off_bulk.yaml
  pipeline graph pipelines/strike_off_bulk.yaml --as mermaid > graph.mmd
  pipeline graph pipelines/strike_off_bulk.yaml --as dot | dot -Tsvg > graph.svg")]
pub(super) struct Arguments {
    /// The pipeline file; `-` is standard input.
    file: PathBuf,
    /// The value of a variable, as `name=value`.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
    /// How it is written.
    #[arg(long = "as", value_enum, default_value = "text")]
    style: Style,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Style {
    /// One line a node.
    Text,
    /// For Markdown.
    Mermaid,
    /// For Graphviz.
    Dot,
}

pub(super) async fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    let options = surroundings.options(&arguments.vars, false, None)?;
    let loaded = surroundings.load(&arguments.file, options).await?;
    let Some(checked) = &loaded.checked else {
        surroundings.show(&loaded, false);
        return Ok(ExitCode::from(2));
    };
    let drawing = match arguments.style {
        Style::Text => Drawing::Text,
        Style::Mermaid => Drawing::Mermaid,
        Style::Dot => Drawing::Dot,
    };
    output::print(&engine::draw(checked, drawing));
    Ok(ExitCode::SUCCESS)
}
