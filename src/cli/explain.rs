//! `pipeline explain`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Surroundings, output};
use crate::engine::{self, Run};
use crate::error::Result;

/// Show the plan of a pipeline.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline explain pipelines/strike_off_bulk.yaml
  pipeline explain pipelines/strike_off_bulk.yaml --analyze --var file=register.zip")]
pub(super) struct Arguments {
    /// The pipeline file; `-` is standard input.
    file: PathBuf,
    /// The value of a variable, as `name=value`.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
    /// Read everything, write nothing, and show what each operator did.
    #[arg(long)]
    analyze: bool,
    /// Read at most this many rows of each source.
    #[arg(long, value_name = "ROWS", requires = "analyze", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

pub(super) async fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    let mut options = surroundings.options(&arguments.vars, arguments.analyze, arguments.limit)?;
    options.is_dry = true;
    let loaded = surroundings.load(&arguments.file, options).await?;
    surroundings.show(&loaded, false);
    let Some(checked) = loaded.checked else {
        let is_wrong = |d: &crate::spec::Diagnostic| d.severity == crate::spec::Severity::Error;
        if !loaded.found.iter().any(is_wrong) {
            output::say("the plan depends on variables or files that are not given; use `--var`");
        }
        return Ok(ExitCode::from(2));
    };
    let explained = match arguments.analyze {
        false => engine::explain(&checked).await?,
        true => Run::new(checked).analyze().await?,
    };
    for (title, plan) in explained.stages {
        output::print(&format!("{title}\n"));
        for line in plan.lines() {
            output::print(&format!("  {line}\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
