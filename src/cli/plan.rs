//! `pipeline plan`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{Format, Loaded, Surroundings, output, schema};
use crate::engine::{
    self, Change, LookupOutlook, Outlook, SinkOutlook, SourceOutlook, Unfinished, grouped, words,
};
use crate::error::{Error, Result};

/// Show what a run would do now: what is new since the last one, what it reads and what it writes.
///
/// Nothing is changed and nothing is downloaded: this version does not use the network at all, so
/// it cannot tell whether a file elsewhere is newer than the copy that is kept.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline plan pipelines/strike_off_bulk.yaml
  pipeline plan pipelines/strike_off_bulk.yaml --var file=latest --format json")]
pub(super) struct Arguments {
    /// The pipeline file; `-` is standard input.
    file: PathBuf,
    /// The value of a variable, as `name=value`.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
}

pub(super) async fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    let options = surroundings.options(&arguments.vars, false, None)?;
    let text = surroundings.read(&arguments.file)?;
    let place = surroundings.place(&arguments.file);
    let (outlook, found) = engine::outlook(&text, &place, options).await?;
    let loaded = Loaded { name: arguments.file.display().to_string(), text, checked: None, found };
    let Some(outlook) = outlook else {
        surroundings.show(&loaded, true);
        return Ok(ExitCode::from(2));
    };
    surroundings.show_beside(&loaded);
    match surroundings.format {
        Some(Format::Json) => output::print(&schema::pretty(&outlook)?),
        Some(Format::Ndjson) => {
            let json = serde_json::to_string(&outlook)
                .map_err(|e| Error::internal("the plan cannot be written").because(e))?;
            output::print(&format!("{json}\n"));
        }
        _ => {
            let shown = Shown { outlook: &outlook, folder: &surroundings.working_folder };
            output::print(&shown.text());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An outlook for people in a folder.
struct Shown<'a> {
    outlook: &'a Outlook,
    folder: &'a Path,
}

/// Shows what a look-up would ask.
fn lookup(lookup: &LookupOutlook) -> Vec<String> {
    let or_more = if lookup.is_at_least { " or more" } else { "" };
    vec![
        lookup.node.clone(),
        lookup.server.clone(),
        format!("{}{or_more}", grouped(lookup.keys)),
        grouped(lookup.known),
        format!("{}{or_more}", grouped(lookup.calls)),
        words(Duration::from_secs(lookup.seconds)),
        lookup.rate_limit.clone(),
    ]
}

impl Shown<'_> {
    fn text(&self) -> String {
        let Outlook { pipeline, state, nodes, sources, sinks, .. } = self.outlook;
        let mut out = format!("{pipeline}  state {}\n", self.shorten(&state.display().to_string()));
        for line in self.lines() {
            out.push_str(&format!("  {line}\n"));
        }
        let node = |node: &engine::NodeOutlook| {
            [word(node.change), &node.family, &node.node, &node.kind].map(str::to_owned).to_vec()
        };
        let nodes = nodes.iter().map(node).collect();
        out.push_str(&output::table(&["change", "family", "node", "kind"], nodes));
        if !sources.is_empty() {
            let rows = sources.iter().map(|source| self.source(source)).collect();
            out.push_str(&output::table(&["source", "reads", "size", "note"], rows));
        }
        let lookups = &self.outlook.lookups;
        if !lookups.is_empty() {
            let rows = lookups.iter().map(lookup).collect();
            let header = ["look-up", "asks", "keys", "known", "calls", "takes", "rate limit"];
            out.push_str(&output::table(&header, rows));
        }
        if !sinks.is_empty() {
            let rows = sinks.iter().map(|sink| self.sink(sink)).collect();
            let header = ["sink", "from", "writes to", "write", "key", "there now", "a run"];
            out.push_str(&output::table(&header, rows));
        }
        out
    }

    /// Returns what is to be known of the run as a whole.
    fn lines(&self) -> Vec<String> {
        let outlook = self.outlook;
        let mut lines = Vec::new();
        lines.push(match &outlook.last_run {
            None => "never ran".to_owned(),
            Some(run) => {
                let ended = run.ended_at.as_ref().unwrap_or(&run.started_at);
                let error = run.error.iter().map(|error| format!(": {error}"));
                let error: String = error.collect();
                format!("last run {}  {}  {}{error}", run.run_id, second(ended), run.status)
            }
        });
        match outlook.is_running {
            true => lines.push("a process runs it now: a second run is refused".to_owned()),
            false => lines.extend(outlook.unfinished.iter().map(first)),
        }
        lines.extend(outlook.compared_with.as_ref().map(|run| self.since(run)));
        for var in &outlook.other_vars {
            let value = |value: &Option<String>| match value {
                Some(value) => format!("`{}`", self.shorten(value)),
                None => "no value".to_owned(),
            };
            let (before, now) = (value(&var.before), value(&var.now));
            lines.push(format!("variable `{}`: {before} then, {now} now", var.name));
        }
        for name in &outlook.missing_vars {
            let words = "has no value, a run needs one";
            lines.push(format!("variable `{name}` {words}: `--var {name}=…`"));
        }
        lines
    }

    /// Says what is other than in the run with which the nodes are compared.
    fn since(&self, run: &str) -> String {
        let outlook = self.outlook;
        let n_other = outlook.nodes.iter().filter(|node| node.change != Change::Same).count();
        // Whoever writes a database may be anybody: its changes are in no fingerprint.
        let is_table = |source: &SourceOutlook| source.bytes.is_none() && source.reads.is_some();
        let tables = match outlook.sources.iter().any(is_table) {
            true => "; tables that it reads are not compared",
            false => "",
        };
        match (outlook.is_unchanged, n_other + outlook.other_vars.len()) {
            (Some(true), _) => {
                format!(
                    "nothing changed since run {run}: the same file, variables and inputs{tables}"
                )
            }
            (_, 1..) => format!("compared with run {run}"),
            (Some(false), _) => format!(
                "since run {run} no node changed, but its inputs, `--limit` or the text of the file did"
            ),
            (None, _) => format!("since run {run} no node changed; its inputs cannot be compared"),
        }
    }

    fn source(&self, source: &SourceOutlook) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(download) = &source.download {
            notes.push(match &download.kept {
                Some(_) => format!("downloaded again if it changed, from {}", download.from),
                None => format!("downloaded first, from {}", download.from),
            });
        }
        if let Some(column) = &source.changed_since {
            notes.push(match (&source.position, &source.lag) {
                (Some(position), Some(lag)) => format!("from {lag} before {column} {position}"),
                (Some(position), None) => format!("after {column} {position}"),
                (None, _) => format!("everything: no position of {column} yet"),
            });
        } else if let Some(position) = &source.position {
            notes.push(format!("a batch after event {position}"));
        }
        let reads = match (&source.reads, &source.missing, &source.download) {
            (Some(reads), ..) => self.shorten(reads),
            (None, Some(missing), _) => format!("missing: {missing}"),
            (None, None, Some(_)) => "what is downloaded".to_owned(),
            (None, None, None) => "not known yet".to_owned(),
        };
        let size = source.bytes.map(size).unwrap_or_default();
        vec![source.node.clone(), reads, size, notes.join("; ")]
    }

    fn sink(&self, sink: &SinkOutlook) -> Vec<String> {
        let there = match sink.there {
            None if sink.target.is_none() => "not known yet".to_owned(),
            None => "will be made".to_owned(),
            Some(there) => match (there.rows, there.bytes) {
                (Some(1), _) => "1 row".to_owned(),
                (Some(n), _) => format!("{} rows", grouped(n)),
                (None, Some(bytes)) => size(bytes),
                (None, None) => "something".to_owned(),
            },
        };
        let target = sink.target.as_deref().map_or("not known yet".into(), |t| self.shorten(t));
        let (from, key) = (sink.from.join(", "), sink.key.join(", "));
        vec![
            sink.node.clone(),
            from,
            target,
            sink.write.to_owned(),
            key,
            there,
            sink.effect.clone(),
        ]
    }

    /// Shows a path relative to the folder in which the user is.
    fn shorten(&self, path: &str) -> String {
        let folder = format!("{}/", self.folder.display());
        path.strip_prefix(&folder).map_or_else(|| path.to_owned(), |rest| format!("./{rest}"))
    }
}

/// Says what the next start does with a run that was cut off.
fn first(unfinished: &Unfinished) -> String {
    let run = &unfinished.run.run_id;
    match (unfinished.next, unfinished.is_the_same) {
        ("finish", true) => format!(
            "run {run} was cut off after its commit and is this very run: it is finished, and \
             nothing is read again"
        ),
        ("finish", false) => {
            format!("run {run} was cut off after its commit: it is finished first")
        }
        _ => format!("run {run} was cut off before its commit: it is undone first"),
    }
}

/// Cuts a moment to its second.
fn second(moment: &str) -> String {
    match moment.split_once('.') {
        Some((second, _)) => format!("{second}Z"),
        None => moment.to_owned(),
    }
}

fn word(change: Change) -> &'static str {
    match change {
        Change::New => "new",
        Change::Changed => "changed",
        Change::Same => "same",
        Change::Gone => "gone",
        Change::Unknown => "unknown",
    }
}

/// Writes a number of bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_fits() {
        let shown = [999, 1000, 490_000_000, 2_500_000_000].map(size);
        assert_eq!(shown, ["999 B", "1.0 kB", "490.0 MB", "2.5 GB"]);
    }
}
