//! `pipeline state`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Surroundings, output, schema};
use crate::engine::{self, Outputs};
use crate::error::{Error, Result};
use crate::spec::{Severity, did_you_mean, list};
use crate::state::{LimitNow, Lock, Position, State};

/// Look at what a pipeline remembers from run to run, and change it.
///
/// That is how far its streams and its sources with `changed_since` have read. A change is refused while the
/// pipeline runs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline state show officers.yaml
  pipeline state set officers.yaml leads 2026-11-01T00:00:00Z
  pipeline state reset officers.yaml leads --yes
  pipeline state export officers.yaml > state.json")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show how far each source has read, and what is left of rate limits.
    Show(Named),
    /// Set how far a source has read.
    Set {
        #[command(flatten)]
        pipeline: Named,
        /// The source.
        source: String,
        /// A value of its `changed_since` column; of a stream the timepoint of an event, or `now`.
        position: String,
    },
    /// Forget how far a source, or all of them, have read: the next run reads everything.
    Reset {
        #[command(flatten)]
        pipeline: Named,
        /// The source; all otherwise.
        source: Option<String>,
        /// Really forget.
        #[arg(long)]
        yes: bool,
    },
    /// Write what is remembered to standard output, as JSON.
    Export(Named),
    /// Read from standard input what `export` wrote.
    Import(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The pipeline file.
    file: PathBuf,
    /// The value of a variable, as `name=value`.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
}

pub(super) fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    let (Command::Show(named)
    | Command::Set { pipeline: named, .. }
    | Command::Reset { pipeline: named, .. }
    | Command::Export(named)
    | Command::Import(named)) = &arguments.command;
    let Some(pipeline) = open(named, surroundings)? else { return Ok(ExitCode::from(2)) };
    match arguments.command {
        Command::Show(_) => {
            let positions = positions(&pipeline)?;
            for Position { node, position, run_id } in &positions {
                let by = run_id.as_deref().unwrap_or("set by hand");
                output::print(&format!("{node}  {position}  {by}\n"));
            }
            if positions.is_empty() {
                output::say("no source has a position");
            }
            for [node, after, reason, found] in gaps(&pipeline)? {
                output::print(&format!(
                    "{node}  gap after {after} ({reason}), found {found}, open\n"
                ));
            }
            for limit in State::limits(&pipeline.state)? {
                output::print(&format!("{}\n", left_of(&limit)));
            }
        }
        Command::Set { source, position, .. } => {
            known(&pipeline, &source)?;
            let is_stream = pipeline.streams.contains(&source);
            if is_stream && position != "now" && position.parse::<u64>().is_err() {
                let message = format!("`{position}` is no timepoint: a whole number, or `now`");
                return Err(Error::user(message));
            }
            change(&pipeline, |state| state.set_position(&pipeline.name, &source, &position))?;
            output::say(&format!("{source}: the next run begins at {position}"));
        }
        Command::Reset { source, yes, .. } => {
            if let Some(source) = &source {
                known(&pipeline, source)?;
            }
            if !yes {
                let message = "the next run would read everything again";
                return Err(Error::user(message).because("add `--yes` if it shall"));
            }
            let n = change(&pipeline, |state| {
                state.reset_positions(&pipeline.name, source.as_deref())
            })?;
            output::say(&format!("{n} position{} forgotten", if n == 1 { "" } else { "s" }));
        }
        Command::Export(_) => output::print(&schema::pretty(&positions(&pipeline)?)?),
        Command::Import(_) => {
            let read: Vec<Position> = serde_json::from_reader(std::io::stdin())
                .map_err(|e| Error::user("standard input is no export of a state").because(e))?;
            for position in &read {
                known(&pipeline, &position.node)?;
            }
            change(&pipeline, |state| {
                for Position { node, position, .. } in &read {
                    state.set_position(&pipeline.name, node, position)?;
                }
                Ok(())
            })?;
            let n = read.len();
            output::say(&format!("{n} position{} imported", if n == 1 { "" } else { "s" }));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a pipeline file as far as it takes to find its state.
fn open(named: &Named, surroundings: &Surroundings) -> Result<Option<Outputs>> {
    let options = surroundings.options(&named.vars, false, None)?;
    let text = surroundings.read(&named.file)?;
    let place = surroundings.working_folder.join(&named.file);
    let (outputs, found) = engine::outputs(&text, &place, &options);
    if found.iter().any(|fault| fault.severity == Severity::Error) {
        let name = named.file.display().to_string();
        surroundings.show(&super::Loaded { name, text, checked: None, found }, false);
        return Ok(None);
    }
    Ok(outputs)
}

/// Says what is left of a rate limit.
fn left_of(limit: &LimitNow) -> String {
    let left = match (limit.allowed, limit.remain) {
        (Some(allowed), Some(remain)) => format!("{remain} of {allowed} calls left"),
        _ => format!("{} calls made", limit.sent),
    };
    let others = match limit.others {
        0 => String::new(),
        n => format!(", {n} by others"),
    };
    let end = limit.ends_at.map(|at| format!(", window ends {}", at.strftime("%H:%M:%S UTC")));
    format!("{}  {left}{others}{}", limit.name, end.unwrap_or_default())
}

/// Refuses a source that keeps no position.
fn known(pipeline: &Outputs, source: &str) -> Result<()> {
    let sources = || pipeline.positioned.iter().map(String::as_str);
    if sources().any(|known| known == source) {
        return Ok(());
    }
    let advice = match did_you_mean(source, sources()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if pipeline.positioned.is_empty() => "none of its sources has one".to_owned(),
        None => format!("sources with one are {}", list(sources())),
    };
    Err(Error::user(format!("no source `{source}` that keeps a position; {advice}")))
}

fn positions(pipeline: &Outputs) -> Result<Vec<Position>> {
    match pipeline.state.is_file() {
        true => State::positions(&pipeline.state, &pipeline.name),
        false => Ok(Vec::new()),
    }
}

fn gaps(pipeline: &Outputs) -> Result<Vec<[String; 4]>> {
    match pipeline.state.is_file() {
        true => State::open_gaps(&pipeline.state, &pipeline.name),
        false => Ok(Vec::new()),
    }
}

/// Changes the state while no run can.
fn change<T>(pipeline: &Outputs, change: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
    let _lock = Lock::take(&pipeline.state, &pipeline.name)?;
    change(&mut State::open(&pipeline.state)?)
}
