//! `pipeline schema`, `list`, `completions` and `man`: what the program knows of itself.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Format, Surroundings, output};
use crate::engine::{self, Component};
use crate::error::{Error, Result};
use crate::spec::did_you_mean;

/// Print the JSON Schema of pipeline files, for editors.
///
/// With `# yaml-language-server: $schema=PATH` as its first line, an editor completes a pipeline
/// file and marks mistakes of form.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pipeline schema > .pipeline/schema.json")]
pub(super) struct SchemaArguments {}

/// List the kinds of sources, transforms and sinks and the keys of a file, or tell everything about
/// one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline list
  pipeline list sqlite
  pipeline list contract
  pipeline list --format json")]
pub(super) struct ListArguments {
    /// A kind or a key, as `sqlite` or `contract`.
    kind: Option<String>,
}

/// Print a script that completes commands and flags in a shell.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pipeline completions bash > ~/.local/share/bash-completion/completions/pipeline")]
pub(super) struct CompletionsArguments {
    /// The shell.
    shell: Shell,
}

/// Write a manual page for each command into a folder.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pipeline man ~/.local/share/man/man1")]
pub(super) struct ManArguments {
    /// The folder.
    folder: PathBuf,
}

/// Prints the JSON Schema.
pub(super) fn schema(_: &SchemaArguments) -> Result<ExitCode> {
    output::print(&pretty(&engine::schema())?);
    Ok(ExitCode::SUCCESS)
}

/// Writes JSON for people and programs alike.
pub(super) fn pretty(value: &impl serde::Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::internal("it cannot be written as JSON").because(e))?;
    Ok(text + "\n")
}

pub(super) fn list_kinds(
    arguments: &ListArguments,
    surroundings: &Surroundings,
) -> Result<ExitCode> {
    let all = engine::components();
    let wanted: Vec<&Component> = match &arguments.kind {
        Some(kind) => all.iter().filter(|component| component.kind == *kind).collect(),
        None => all.iter().collect(),
    };
    if let (Some(kind), true) = (&arguments.kind, wanted.is_empty()) {
        let kinds = all.iter().map(|component| component.kind.as_str());
        let advice = match did_you_mean(kind, kinds) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`pipeline list` shows them all".to_owned(),
        };
        return Err(Error::user(format!("no kind or key `{kind}`; {advice}")));
    }
    if matches!(surroundings.format, Some(Format::Json | Format::Ndjson)) {
        output::print(&pretty(&wanted)?);
    } else if arguments.kind.is_some() {
        for component in wanted {
            output::print(&told(component, "#"));
        }
    } else {
        for component in wanted {
            let (family, kind) = (component.family, &component.kind);
            output::print(&format!("{family:<10} {kind:<22} {}\n", component.summary));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells everything about a component, as Markdown.
fn told(component: &Component, level: &str) -> String {
    let mut out = format!("{level} {} (a {})\n\n", component.kind, component.family);
    let _ = writeln!(out, "{}", component.description.trim());
    if !component.fields.is_empty() {
        out.push('\n');
    }
    for field in &component.fields {
        let need = if field.is_required { ", required" } else { "" };
        let description = field.description.replace('\n', " ");
        let _ = writeln!(out, "- `{}` ({}{need}): {description}", field.name, field.takes);
    }
    out
}

/// Returns the reference of all components, as the Markdown of `docs/reference/components.md`.
pub fn components_reference() -> String {
    let mut out = String::from(
        "# Components\n\nMade by `cargo test` from the types that read pipeline files; do not edit.\n\
         `pipeline list KIND` prints the same.\n",
    );
    for family in ["source", "transform", "sink", "key"] {
        let _ = write!(out, "\n## {}{}s\n", family[..1].to_uppercase(), &family[1..]);
        for component in engine::components().iter().filter(|c| c.family == family) {
            let _ = write!(out, "\n{}", told(component, "###"));
        }
    }
    out
}

/// Returns the reference of all commands, as the Markdown of `docs/reference/commands.md`.
pub fn commands_reference() -> String {
    let mut out = String::from(
        "# Commands\n\nMade by `cargo test` from the command line itself; do not edit.\n\
         `pipeline COMMAND --help` prints the same.\n",
    );
    let mut command = super::Arguments::command();
    command.build();
    for sub in command.get_subcommands_mut() {
        if sub.get_name() == "help" {
            continue;
        }
        let name = sub.get_name().to_owned();
        let help = sub.render_long_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        let _ = write!(out, "\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim());
    }
    out
}

pub(super) fn completions(arguments: &CompletionsArguments) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut super::Arguments::command(),
        "pipeline",
        &mut script,
    );
    output::print(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}

pub(super) fn man(arguments: &ManArguments) -> Result<ExitCode> {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    clap_mangen::generate_to(super::Arguments::command(), folder)
        .map_err(|e| Error::io(folder, e))?;
    Ok(ExitCode::SUCCESS)
}
