//! `pipeline explain-error`.

use std::process::ExitCode;

use clap::Args;

use super::output;
use crate::error::{Error, Result};
use crate::spec::explanation;

/// Tell what the code of a mistake means, with an example of it and of its mending.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pipeline explain-error P012")]
pub(super) struct Arguments {
    /// The code, as `P012`.
    code: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Some(text) = explanation(&arguments.code) else {
        let message =
            format!("no code `{}`; `pipeline check` prints them in brackets", arguments.code);
        return Err(Error::user(message));
    };
    output::print(&format!("{text}\n"));
    Ok(ExitCode::SUCCESS)
}
