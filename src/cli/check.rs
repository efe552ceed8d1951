//! `pipeline check`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Surroundings, output};
use crate::error::{Error, Result};
use crate::spec::Severity;

/// Find every mistake in pipeline files, without running them.
///
/// Reads no more than the pipeline files and the first lines of the files that they name.
#[derive(Debug, Args)]
#[command(visible_aliases = ["validate", "lint"], after_help = "Examples:
  pipeline check pipelines/*.yaml
  pipeline check pipelines/strike_off_bulk.yaml --format json")]
pub(super) struct Arguments {
    /// Pipeline files; a folder stands for the `*.yaml` in it.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The value of a variable, as `name=value`.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
    /// Treat warnings as mistakes.
    #[arg(long)]
    strict: bool,
}

pub(super) async fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    let mut is_fine = true;
    let mut n_files = 0;
    for file in surroundings.expand(&arguments.files) {
        n_files += 1;
        let options = surroundings.options(&arguments.vars, false, None)?;
        let loaded = match surroundings.load(&file, options).await {
            Ok(loaded) => loaded,
            Err(error) => {
                output::say(&format!("error: {error}"));
                is_fine = false;
                continue;
            }
        };
        surroundings.show(&loaded, true);
        let is_wrong = |severity| arguments.strict || severity == Severity::Error;
        is_fine &= !loaded.found.iter().any(|fault| is_wrong(fault.severity));
    }
    if n_files == 0 {
        return Err(Error::user("there are no pipeline files (`*.yaml`) there"));
    }
    if is_fine && !surroundings.is_quiet {
        output::say(&format!("{n_files} file{} checked", if n_files == 1 { "" } else { "s" }));
    }
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
