//! What a run would do now: what is new since the last one, what it would read, what it would write.
//!
//! Nothing is changed, got or asked for on the way: files, tables and the state are looked at as
//! they are here. What only a reading could tell (which rows, how many) is not in it.

use std::path::{Path, PathBuf};

use datafusion::parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde::Serialize;

use super::check::{self, Options, check};
use super::definition::definitions;
use super::file::{self, File, Node};
use super::fragment;
use super::limits::{OtherVar, other_values};
use super::outlet::build_sink;
use super::plan;
use super::report::grouped;
use super::run::Run;
use crate::context::{BuildContext, Files, Sql};
use crate::error::{Error, Result};
use crate::publish::{Missing, quote};
use crate::sinks::{SinkKind, Target, Write};
use crate::sources::{Elsewhere, SourceKind};
use crate::spec::{Code, Diagnostic, Family, Located, Scope, Severity};
use crate::state::{Lock, Past, PastNode, PastRun, Position, State};

/// What a run would do now.
#[derive(Clone, Debug, Serialize)]
pub struct Outlook {
    /// Name of the pipeline.
    pub pipeline: String,
    /// The state file.
    pub state: PathBuf,
    /// The last run that ended, however it did; `None` when it never ran.
    pub last_run: Option<PastRun>,
    /// The last run that has happened, with which nodes and variables are compared.
    pub compared_with: Option<String>,
    /// Whether a process runs the pipeline now.
    pub is_running: bool,
    /// Runs that have not ended.
    pub unfinished: Vec<Unfinished>,
    /// Whether the file, its variables and what its sources read are as in the last run; `None`
    /// when that is not known without reading or asking.
    pub is_unchanged: Option<bool>,
    /// Variables that had other values in the last run.
    pub other_vars: Vec<OtherVar>,
    /// Variables without a value, which a run refuses.
    pub missing_vars: Vec<String>,
    /// The nodes, and those that are gone.
    pub nodes: Vec<NodeOutlook>,
    /// What is read.
    pub sources: Vec<SourceOutlook>,
    /// What is asked.
    pub lookups: Vec<LookupOutlook>,
    /// What is written.
    pub sinks: Vec<SinkOutlook>,
}

/// A run that has not ended.
#[derive(Clone, Debug, Serialize)]
pub struct Unfinished {
    /// The run.
    #[serde(flatten)]
    pub run: PastRun,
    /// What the next start does with it first: `finish` or `undo`.
    pub next: &'static str,
    /// Whether it is the run that would begin now: then the next start only finishes it.
    pub is_the_same: bool,
}

/// What became of a node since the last run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was not there.
    New,
    /// It was defined otherwise, or a variable that it names had another value.
    Changed,
    /// It was defined alike.
    Same,
    /// It is not there any more.
    Gone,
    /// It was there, and the state does not say how it was defined.
    Unknown,
}

/// A node since the last run.
#[derive(Clone, Debug, Serialize)]
pub struct NodeOutlook {
    /// Its id.
    pub node: String,
    /// `source`, `transform` or `sink`.
    pub family: String,
    /// Its kind, `csv`.
    pub kind: String,
    /// What became of it.
    pub change: Change,
}

/// What a source would read.
#[derive(Clone, Debug, Serialize)]
pub struct SourceOutlook {
    /// Its id.
    pub node: String,
    /// Its kind, `csv`.
    pub kind: &'static str,
    /// What it reads, in a few words; `None` when that is not known yet.
    pub reads: Option<String>,
    /// The size of that.
    pub bytes: Option<u64>,
    /// What is not there, for which a run would stop.
    pub missing: Option<String>,
    /// What is got before.
    pub download: Option<Download>,
    /// The column by which it tells what changed since the last run.
    pub changed_since: Option<String>,
    /// How far the last run came; without it everything is read.
    pub position: Option<String>,
    /// How much before the position it begins.
    pub lag: Option<String>,
}

/// A file that a run gets before it begins, unless the copy that is kept is still the same.
#[derive(Clone, Debug, Serialize)]
pub struct Download {
    /// From where.
    pub from: String,
    /// The copy that is kept.
    pub kept: Option<PathBuf>,
}

/// What a look-up would ask. For this the rows that feed it are read, and nobody is asked.
#[derive(Clone, Debug, Serialize)]
pub struct LookupOutlook {
    /// Its id.
    pub node: String,
    /// The server that it asks.
    pub server: String,
    /// Distinct keys.
    pub keys: u64,
    /// Those that were answered before, and are not too old.
    pub known: u64,
    /// Calls that the others need, as many a key as those before.
    pub calls: u64,
    /// Seconds that the rate limit makes of them.
    pub seconds: u64,
    /// The rate limit.
    pub rate_limit: String,
    /// Whether answers of another look-up may bring more keys.
    pub is_at_least: bool,
}

/// What a sink would write.
#[derive(Clone, Debug, Serialize)]
pub struct SinkOutlook {
    /// Its id.
    pub node: String,
    /// Its kind, `csv`.
    pub kind: &'static str,
    /// The nodes and ports that feed it.
    pub from: Vec<String>,
    /// Where it writes; `None` when a variable has no value yet.
    pub target: Option<String>,
    /// `replace`, `append` and so on.
    pub write: &'static str,
    /// The columns that tell rows apart.
    pub key: Vec<String>,
    /// What is there now; `None` when it will be made.
    pub there: Option<There>,
    /// What that means for what is there, in one line.
    pub effect: String,
}

/// What a sink has written before.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct There {
    /// Its rows, where they are counted quickly.
    pub rows: Option<u64>,
    /// Its size: of the database, for a table.
    pub bytes: Option<u64>,
}

/// Looks at what a run of the pipeline file at `path` would do now. `None` when the file has
/// mistakes, which are returned beside it.
pub async fn outlook(
    text: &str,
    path: &Path,
    mut options: Options,
) -> Result<(Option<Outlook>, Vec<Diagnostic>)> {
    let (file, mut found) = file::parse(text);
    let Some(mut file) = file else { return Ok((None, found)) };
    let scope = check::scope(&file, &options, path, &mut Vec::new());
    for source in &file.sources {
        let kept = source.kind.settings().elsewhere(&scope).and_then(|file| file.kept);
        options.fetched.extend(kept.map(|kept| (source.id.value.clone(), kept)));
    }
    let (checked, faults) = check(text, path, options.clone()).await;
    found = faults;
    if let Some(name) = &file.fragment {
        let fault = Diagnostic::error(Code::BadValue, "a fragment does not run", name.at);
        found.push(fault.help("plan a pipeline that uses it"));
    }
    let state = check::state(&file, &scope, &mut Vec::new());
    let is_broken = found.iter().any(|fault| fault.severity == Severity::Error);
    let Some(state) = state.filter(|_| !is_broken) else { return Ok((None, found)) };
    let sql = Sql::new(plan::session(), Default::default(), text.into());
    fragment::expand(&mut file, &scope, &options.working_folder, &sql, &mut Vec::new());
    let run = checked.map(Run::new);
    let fingerprint = run.as_ref().map(Run::fingerprint);
    let looking = Looking { file: &file, text, scope: &scope, options: &options, state: &state };
    let mut outlook = looking.look(fingerprint)?;
    let is_there = outlook.sources.iter().all(|source| source.missing.is_none());
    if let (Some(run), true) = (run, is_there) {
        outlook.lookups = run.lookups().await?;
    }
    Ok((Some(outlook), found))
}

struct Looking<'a> {
    file: &'a File,
    text: &'a str,
    scope: &'a Scope,
    options: &'a Options,
    state: &'a Path,
}

impl Looking<'_> {
    fn look(&self, fingerprint: Option<String>) -> Result<Outlook> {
        let name = &self.file.name.value;
        let past = Past::open(self.state)?;
        let (mut last_run, mut base, mut not_ended) = (None, None, Vec::new());
        if let Some(past) = &past {
            last_run = past.last_ended(name)?;
            base = past.last_committed(name)?;
            not_ended = past.not_ended(name)?;
        }
        let nodes = match (&past, &base) {
            (Some(past), Some(run)) => past.nodes(&run.run_id)?,
            _ => Vec::new(),
        };
        let positions = match past {
            Some(_) => State::positions(self.state, name)?,
            None => Vec::new(),
        };
        let source = |node: &Node<SourceKind>| self.source(node, &positions);
        let sources: Vec<SourceOutlook> = self.file.sources.iter().map(source).collect();
        let sinks = self.file.sinks.iter().map(|node| self.sink(node));
        let is_elsewhere = sources.iter().any(|source| source.download.is_some());
        let unset = self.scope.vars.iter().filter(|(_, value)| value.is_none());
        let other_vars =
            base.as_ref().map(|run| other_values(&run.vars, &check::values(self.scope)));
        Ok(Outlook {
            pipeline: name.clone(),
            state: self.state.to_owned(),
            is_running: !not_ended.is_empty() && Lock::is_held(self.state, name),
            is_unchanged: is_unchanged(base.as_ref(), fingerprint.as_deref(), is_elsewhere),
            unfinished: not_ended
                .into_iter()
                .map(|run| unfinished(run, fingerprint.as_deref()))
                .collect(),
            last_run,
            compared_with: base.map(|run| run.run_id),
            other_vars: other_vars.unwrap_or_default(),
            missing_vars: unset.map(|(name, _)| name.clone()).collect(),
            nodes: self.nodes(nodes),
            sinks: sinks.collect::<Result<_>>()?,
            lookups: Vec::new(),
            sources,
        })
    }

    /// Compares the nodes with those of the last run.
    fn nodes(&self, mut before: Vec<PastNode>) -> Vec<NodeOutlook> {
        let definitions = definitions(self.file, self.text, self.scope);
        let mut compare = |id: &str, family: &'static str, kind: &'static str| {
            // A node that moved to another family is another one.
            let place = before.iter().position(|node| node.node == id && node.family == family);
            let change = match place.map(|place| before.remove(place).definition) {
                None => Change::New,
                Some(None) => Change::Unknown,
                Some(definition) if definition.as_ref() == definitions.get(id) => Change::Same,
                Some(_) => Change::Changed,
            };
            NodeOutlook { node: id.to_owned(), family: family.into(), kind: kind.into(), change }
        };
        let mut nodes = Vec::new();
        for node in &self.file.sources {
            nodes.push(compare(&node.id, SourceKind::NAME, node.kind.kind()));
        }
        for node in &self.file.transforms {
            nodes.push(compare(&node.id, "transform", node.kind.kind()));
        }
        for node in &self.file.sinks {
            nodes.push(compare(&node.id, SinkKind::NAME, node.kind.kind()));
        }
        nodes.extend(before.into_iter().map(|PastNode { node, family, kind, .. }| NodeOutlook {
            node,
            family,
            kind,
            change: Change::Gone,
        }));
        nodes
    }

    fn source(&self, node: &Node<SourceKind>, positions: &[Position]) -> SourceOutlook {
        let settings = node.kind.settings();
        let id = &node.id.value;
        let mut context = BuildContext::new(self.scope, Files::MayBeMissing);
        context.fetched = self.options.fetched.get(id).map(PathBuf::as_path);
        let since = node.common.changed_since.as_ref();
        context.changed_since = since;
        let built = settings.build(&node.common.contract, &mut context);
        // A source of files that are not there is one without files, if its columns are known.
        let built = built.filter(|source| source.size() != Some(0));
        let is_absent = |fault: &&Diagnostic| built.is_none() && fault.code == Code::File;
        let missing = context.found.iter().find(is_absent).map(|fault| fault.message.clone());
        let keeps_position = since.is_some() || settings.is_stream();
        let position = positions.iter().find(|known| keeps_position && known.node == *id);
        SourceOutlook {
            node: id.clone(),
            kind: node.kind.kind(),
            reads: built.as_ref().map(|source| source.describe()),
            bytes: built.as_ref().and_then(|source| source.size()),
            missing,
            download: settings
                .elsewhere(self.scope)
                .map(|Elsewhere { from, kept }| Download { from, kept }),
            changed_since: since.map(|since| since.column.value.clone()),
            position: position.map(|known| known.position.clone()),
            lag: since.and_then(|since| since.lag).map(|lag| lag.to_string()),
        }
    }

    fn sink(&self, node: &Node<SinkKind>) -> Result<SinkOutlook> {
        let names =
            |names: &[Located<String>]| names.iter().map(|name| name.value.clone()).collect();
        let sink = build_sink(node, self.scope, self.options, &mut Vec::new());
        let target = sink.as_ref().map(|sink| sink.target());
        let there = target.map(|target| there(target, self.state)).transpose();
        let there = there.map_err(|error| error.in_node(&node.id))?.flatten();
        let write = node.common.write.as_ref().map_or(Write::Replace, |write| write.value);
        let missing = node.common.missing.as_ref().map_or(Missing::Keep, |missing| missing.value);
        let key: Vec<String> = names(&node.common.key);
        Ok(SinkOutlook {
            node: node.id.value.clone(),
            kind: node.kind.kind(),
            from: names(&node.common.from),
            target: target.map(ToString::to_string),
            write: write.word(),
            effect: effect(write, &key, missing, there),
            key,
            there,
        })
    }
}

/// Says whether a run would read and do the same as the last one. What is elsewhere may have
/// changed without anybody here knowing.
fn is_unchanged(
    base: Option<&PastRun>,
    fingerprint: Option<&str>,
    is_elsewhere: bool,
) -> Option<bool> {
    let Some(base) = base else { return Some(false) };
    let is_same = base.fingerprint == fingerprint?;
    (!is_elsewhere).then_some(is_same)
}

fn unfinished(run: PastRun, fingerprint: Option<&str>) -> Unfinished {
    let is_committed = run.status == "committed";
    Unfinished {
        next: if is_committed { "finish" } else { "undo" },
        is_the_same: is_committed && fingerprint == Some(&run.fingerprint),
        run,
    }
}

/// Says in one line what a sink does to what is there.
fn effect(write: Write, key: &[String], missing: Missing, there: Option<There>) -> String {
    let present = match there.map(|there| there.rows) {
        Some(Some(1)) => "1 row".to_owned(),
        Some(Some(n)) => format!("{} rows", grouped(n)),
        _ => "what is there".to_owned(),
    };
    let key = key.join(", ");
    let missing = match (write, missing) {
        (Write::History, Missing::MarkGone) => "; the state of what is missing ends",
        (_, Missing::Keep) => "",
        (_, Missing::MarkGone) => "; what is missing is marked gone",
        (_, Missing::Delete) => "; what is missing is deleted",
    };
    match (write, there) {
        (Write::Replace, Some(_)) => format!("replaces {present}"),
        (Write::Append, Some(_)) => format!("adds to {present}"),
        (Write::Replace | Write::Append, None) => "writes all rows".to_owned(),
        (Write::Upsert, _) => format!("merges by {key}{missing}"),
        (Write::History, _) => format!("keeps every state by {key}{missing}"),
        (Write::MarkGone, _) => format!("marks what arrives gone, by {key}"),
    }
}

/// Looks at what a sink has written before; `None` when there is nothing.
fn there(target: &Target, state: &Path) -> Result<Option<There>> {
    match target {
        Target::Parquet { folder, .. } => Ok(folder.is_dir().then(|| parquet_files(folder))),
        Target::Csv { file } => Ok(bytes_of(file).map(|bytes| csv_file(file, bytes))),
        Target::Table { database, table } => {
            let database = database.as_deref().unwrap_or(state);
            if database.is_file() { table_of(database, table) } else { Ok(None) }
        }
        // To count its rows the database would have to be opened, which locks it.
        Target::Duckdb { database, .. } => {
            Ok(bytes_of(database).map(|bytes| There { rows: None, bytes: Some(bytes) }))
        }
    }
}

fn bytes_of(file: &Path) -> Option<u64> {
    std::fs::metadata(file).ok().filter(std::fs::Metadata::is_file).map(|m| m.len())
}

/// Adds up the files of a folder; what their ends say of their rows.
fn parquet_files(folder: &Path) -> There {
    let mut all = There { rows: Some(0), bytes: Some(0) };
    let Ok(entries) = std::fs::read_dir(folder) else { return all };
    for path in entries.flatten().map(|entry| entry.path()) {
        let one = match bytes_of(&path) {
            None if path.is_dir() => parquet_files(&path),
            bytes => There { rows: rows_of(&path), bytes },
        };
        let sum = |one: Option<u64>, other: Option<u64>| Some(one? + other?);
        all = There { rows: sum(all.rows, one.rows), bytes: sum(all.bytes, one.bytes) };
    }
    all
}

fn rows_of(file: &Path) -> Option<u64> {
    let reader = SerializedFileReader::new(std::fs::File::open(file).ok()?).ok()?;
    u64::try_from(reader.metadata().file_metadata().num_rows()).ok()
}

/// Counts the rows of a file, unless that would take long.
fn csv_file(file: &Path, bytes: u64) -> There {
    const MOST: u64 = 64 << 20;
    let count = || {
        let mut reader = csv::Reader::from_path(file).ok()?;
        let mut record = csv::ByteRecord::new();
        let mut rows = 0;
        while reader.read_byte_record(&mut record).ok()? {
            rows += 1;
        }
        Some(rows)
    };
    There { rows: if bytes <= MOST { count() } else { None }, bytes: Some(bytes) }
}

fn table_of(database: &Path, table: &str) -> Result<Option<There>> {
    let cannot_read = |error: rusqlite::Error| {
        Error::external(format!("`{}` cannot be read", database.display())).because(error)
    };
    let connection = State::read_only(database)?;
    if !connection.table_exists(None, table).map_err(cannot_read)? {
        return Ok(None);
    }
    let sql = format!("SELECT count(*) FROM {}", quote(table));
    let rows = connection.query_row(&sql, [], |row| row.get(0)).map_err(cannot_read)?;
    Ok(Some(There { rows: Some(rows), bytes: bytes_of(database) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_happens_to_what_is_there() {
        let there = |rows| Some(There { rows, bytes: Some(1) });
        let key = ["a".to_owned(), "b".to_owned()];
        let said = |write, missing, there| effect(write, &key, missing, there);
        for (write, missing, present, words) in [
            (Write::Replace, Missing::Keep, there(Some(1420)), "replaces 1,420 rows"),
            (Write::Replace, Missing::Keep, there(Some(1)), "replaces 1 row"),
            (Write::Replace, Missing::Keep, there(None), "replaces what is there"),
            (Write::Replace, Missing::Keep, None, "writes all rows"),
            (Write::Append, Missing::Keep, there(Some(2)), "adds to 2 rows"),
            (Write::Append, Missing::Keep, None, "writes all rows"),
            (Write::Upsert, Missing::Keep, None, "merges by a, b"),
            (
                Write::Upsert,
                Missing::MarkGone,
                None,
                "merges by a, b; what is missing is marked gone",
            ),
            (Write::Upsert, Missing::Delete, None, "merges by a, b; what is missing is deleted"),
            (
                Write::History,
                Missing::MarkGone,
                None,
                "keeps every state by a, b; the state of what is missing ends",
            ),
            (Write::MarkGone, Missing::Keep, None, "marks what arrives gone, by a, b"),
        ] {
            assert_eq!(said(write, missing, present), words);
        }
    }

    #[test]
    fn claims_nothing_of_what_is_elsewhere() {
        let run = PastRun {
            run_id: "01".into(),
            status: "done".into(),
            started_at: String::new(),
            ended_at: None,
            error: None,
            vars: String::new(),
            fingerprint: "f".into(),
        };
        assert_eq!(is_unchanged(None, Some("f"), false), Some(false));
        assert_eq!(is_unchanged(Some(&run), Some("f"), false), Some(true));
        assert_eq!(is_unchanged(Some(&run), Some("g"), false), Some(false));
        assert_eq!(is_unchanged(Some(&run), Some("f"), true), None);
        assert_eq!(is_unchanged(Some(&run), None, false), None);
    }
}
