//! Rows that a node refused and a sink kept: found, and read to be run once more.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, StringViewArray};
use datafusion::arrow::compute::{
    CastOptions, cast_with_options, concat_batches, filter_record_batch,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::ParquetReadOptions;
use sha2::{Digest as _, Sha256};

use super::check::{self, Options};
use super::file::{self, File, Node};
use super::graph::is_late;
use super::project::open_sink;
use super::{outlet, plan};
use crate::context::KeptRow;
use crate::error::{Error, Result};
use crate::publish::hex;
use crate::sinks::{SinkKind, Target, as_it_came};
use crate::spec::{Diagnostic, Family as _, Located, Severity, did_you_mean, list};
use crate::table::REASON;

/// Rejected rows that are run again in place of what their node reads.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The node that refused them.
    pub node: String,
    /// Where they were kept.
    pub place: String,
    /// How many there are.
    pub n_rows: usize,
    /// Tells other rows apart.
    pub(super) fingerprint: String,
    rows: Rows,
}

#[derive(Clone, Debug)]
enum Rows {
    /// Of a source.
    Lines(Vec<KeptRow>),
    /// Of a `validate`.
    Batch(RecordBatch),
}

impl Replay {
    /// Returns the lines that a source refused.
    pub(super) fn lines(&self) -> &[KeptRow] {
        match &self.rows {
            Rows::Lines(lines) => lines,
            Rows::Batch(_) => &[],
        }
    }

    /// Returns the rows that a `validate` refused, as rows of its input; `Err` says why they are
    /// none.
    pub(super) fn rows(&self, schema: &SchemaRef) -> Result<RecordBatch, String> {
        let Rows::Batch(rows) = &self.rows else {
            return Ok(RecordBatch::new_empty(Arc::clone(schema)));
        };
        let strictly = CastOptions { safe: false, ..CastOptions::default() };
        let mut columns = Vec::new();
        for field in schema.fields() {
            let name = field.name();
            let Some(column) = rows.column_by_name(name) else {
                return Err(format!(
                    "the kept rows have no column `{name}`, which `{}` reads now",
                    self.node
                ));
            };
            let column = cast_with_options(column, field.data_type(), &strictly);
            columns.push(
                column.map_err(|error| format!("column `{name}` of the kept rows: {error}"))?,
            );
        }
        let fields: Vec<Field> = schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|e| e.to_string())
    }
}

/// Finds the rows that a node refused: in the sink that reads its port, or where `from` says.
/// Mistakes of the file are returned instead.
pub async fn kept_rows(
    text: &str,
    path: &Path,
    options: &Options,
    node: &str,
    from: Option<&str>,
) -> Result<(Option<Replay>, Vec<Diagnostic>)> {
    let (file, mut found) = file::parse(text);
    let Some(file) = file else { return Ok((None, found)) };
    let scope = check::scope(&file, options, path, &mut found);
    let state = check::state(&file, &scope, &mut found);
    let is_broken = |found: &[Diagnostic]| found.iter().any(|f| f.severity == Severity::Error);
    let Some(state) = state.filter(|_| !is_broken(&found)) else { return Ok((None, found)) };
    let is_source = is_source(&file, node)?;
    let mut sinks = Vec::new();
    for sink in &file.sinks {
        if let Some(built) = outlet::build_sink(sink, &scope, options, &mut found) {
            sinks.push((sink, built.target().clone()));
        }
    }
    if is_broken(&found) {
        return Ok((None, found));
    }
    let finding = Finding { file: &file, sinks: &sinks, state: &state, node, is_source };
    let (place, rows) = finding.find(from, &options.working_folder).await?;
    let rows = finding.own(&rows, &place)?;
    let (fingerprint, n_rows) = (fingerprint(&rows)?, rows.num_rows());
    let rows = match is_source {
        true => Rows::Lines(lines(&rows)?),
        false => Rows::Batch(rows),
    };
    Ok((Some(Replay { node: node.to_owned(), place, n_rows, fingerprint, rows }), found))
}

/// Says whether a node whose rows can be replayed is a source; refuses others.
fn is_source(file: &File, node: &str) -> Result<bool> {
    if let Some(source) = file.sources.iter().find(|source| source.id.value == node) {
        return match source.kind.settings().takes_kept_rows() {
            true => Ok(true),
            false => Err(Error::user(format!(
                "a `{}` source cannot take its rejected rows again; mend them there and run the \
                 pipeline",
                source.kind.kind()
            ))),
        };
    }
    if file.with_rejects().any(|id| id == node) {
        return Ok(false);
    }
    let advice = match did_you_mean(node, file.with_rejects()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", list(file.with_rejects())),
    };
    Err(Error::user(format!("no source and no `validate` is named `{node}`; {advice}")))
}

struct Finding<'a> {
    file: &'a File,
    sinks: &'a [(&'a Node<SinkKind>, Target)],
    state: &'a Path,
    node: &'a str,
    is_source: bool,
}

impl Finding<'_> {
    async fn find(&self, from: Option<&str>, folder: &Path) -> Result<(String, RecordBatch)> {
        let port = format!("{}.rejected", self.node);
        let named = |id: &str| self.sinks.iter().find(|(sink, _)| sink.id.value == id);
        let reads = |sink: &Node<SinkKind>| sink.common.from.iter().any(|from| from.value == port);
        let (sink, target) = match from.map(|from| (from, named(from))) {
            Some((_, Some(sink))) => sink,
            Some((path, None)) => return self.read_path(&folder.join(path)).await,
            None => self.sinks.iter().find(|(sink, _)| reads(sink)).ok_or_else(|| {
                let message = format!("no sink keeps the rows that `{}` refuses", self.node);
                Error::user(message).because("name them: `--from rejected.csv`")
            })?,
        };
        if let Some(other) = self.other(&sink.common.from) {
            return Err(Error::user(format!(
                "`{}` holds rows of `{other}` too, and they cannot be told apart; name a file with \
                 `--from` that holds those of `{}` alone",
                sink.id.value, self.node
            )));
        }
        let rows = self.read(target, is_raw(sink)).await?;
        let place = format!("`{}`", sink.id.value);
        let rows = rows.ok_or_else(|| Error::user(format!("{place} holds nothing yet")))?;
        Ok((place, rows))
    }

    /// Returns an input of a sink whose rows look like those of the node: the port of another
    /// source for a source, of another `validate` for one, and whole nodes.
    fn other<'a>(&self, from: &'a [Located<String>]) -> Option<&'a str> {
        let is_source = |port: &str| {
            let id = port.strip_suffix(".rejected").unwrap_or(port);
            self.file.sources.iter().any(|source| source.id.value == id)
        };
        let port = format!("{}.rejected", self.node);
        let is_alike = |from: &str| !is_late(from) || is_source(from) == self.is_source;
        let others = from.iter().map(|from| from.as_str()).filter(|from| *from != port);
        let mut alike = others.filter(|from| is_alike(from));
        alike.next()
    }

    async fn read_path(&self, path: &Path) -> Result<(String, RecordBatch)> {
        let place = format!("`{}`", path.display());
        let path = path
            .canonicalize()
            .map_err(|e| Error::user(format!("{place} cannot be read")).because(e))?;
        let is_it = |target: &Target| match target {
            Target::Parquet { folder: written, .. } | Target::Csv { file: written } => {
                written.canonicalize().is_ok_and(|written| written == path)
            }
            _ => false,
        };
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        if let Some((sink, target)) = self.sinks.iter().find(|(_, target)| is_it(target)) {
            let rows = self.read(target, is_raw(sink)).await?;
            return rows.map(|rows| (place.clone(), rows)).ok_or_else(|| nothing_there(&place));
        }
        let rows = match ending.as_deref() {
            _ if path.is_dir() => {
                let target = Target::Parquet { folder: path.clone(), partition_by: Vec::new() };
                self.read(&target, false).await?.ok_or_else(|| nothing_there(&place))?
            }
            Some("csv") => read_csv(&path, false)?,
            Some("parquet") => {
                let (name, options) = (path.to_string_lossy(), ParquetReadOptions::default());
                collected(plan::session().read_parquet(&*name, options).await?).await?
            }
            _ => {
                let message = format!("{place} is no CSV file, no Parquet and no sink");
                return Err(Error::user(message));
            }
        };
        Ok((place, rows))
    }

    async fn read(&self, target: &Target, is_raw: bool) -> Result<Option<RecordBatch>> {
        if let Target::Csv { file } = target {
            return file.is_file().then(|| read_csv(file, is_raw)).transpose();
        }
        let session = plan::session();
        match open_sink(&session, target, self.state).await? {
            Some(table) => collected(session.read_table(table)?).await.map(Some),
            None => Ok(None),
        }
    }

    /// Returns the rows of the node: those of a source have a `raw`, those of a `validate` none.
    fn own(&self, rows: &RecordBatch, place: &str) -> Result<RecordBatch> {
        let wanted = if self.is_source { "raw" } else { REASON };
        let Some(column) = rows.column_by_name(wanted) else {
            let message = format!("{place} has no column `{wanted}`: it holds no rejected rows");
            return Err(Error::user(message));
        };
        let raw = rows.column_by_name("raw").filter(|_| !self.is_source);
        let is_own = |row: usize| column.is_valid(row) && raw.is_none_or(|raw| raw.is_null(row));
        let mask: BooleanArray = (0..rows.num_rows()).map(|row| Some(is_own(row))).collect();
        filter_record_batch(rows, &mask).map_err(|e| Error::internal("rows of a node").because(e))
    }
}

fn nothing_there(place: &str) -> Error {
    Error::user(format!("{place} holds nothing"))
}

/// Says whether a sink writes texts as they are.
fn is_raw(sink: &Node<SinkKind>) -> bool {
    matches!(&sink.kind, SinkKind::Csv(csv) if csv.raw)
}

async fn collected(rows: datafusion::dataframe::DataFrame) -> Result<RecordBatch> {
    let schema = Arc::clone(rows.schema().inner());
    let batches = rows.collect().await?;
    concat_batches(&schema, &batches).map_err(|e| Error::internal("rows that were kept").because(e))
}

/// Reads a CSV file as texts; an empty one is null.
fn read_csv(path: &Path, is_raw: bool) -> Result<RecordBatch> {
    let unreadable = |e| Error::user(format!("`{}` cannot be read", path.display())).because(e);
    let mut reader = csv::Reader::from_path(path).map_err(|e: csv::Error| unreadable(e))?;
    let names = reader.headers().map_err(unreadable)?.clone();
    let mut columns: Vec<Vec<Option<String>>> = vec![Vec::new(); names.len()];
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        for (column, text) in columns.iter_mut().zip(&record) {
            let text = if is_raw { text } else { as_it_came(text) };
            column.push((!text.is_empty()).then(|| text.to_owned()));
        }
    }
    let fields: Vec<Field> =
        names.iter().map(|name| Field::new(name, DataType::Utf8View, true)).collect();
    let column = |texts: Vec<Option<String>>| -> ArrayRef {
        Arc::new(texts.into_iter().collect::<StringViewArray>())
    };
    let columns = columns.into_iter().map(column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|e| Error::user(format!("`{}` is no table", path.display())).because(e))
}

fn lines(rows: &RecordBatch) -> Result<Vec<KeptRow>> {
    let texts = |name: &str| -> Result<Vec<String>> {
        match rows.column_by_name(name) {
            Some(column) => texts(column),
            None => Ok(vec![String::new(); rows.num_rows()]),
        }
    };
    let (files, numbers) = (texts("file")?, texts("line")?);
    let named = files.into_iter().zip(numbers).zip(texts("raw")?);
    let row = |((file, line), raw): ((String, String), String)| KeptRow {
        file,
        line: line.parse().unwrap_or_default(),
        raw,
    };
    Ok(named.map(row).collect())
}

fn texts(column: &dyn Array) -> Result<Vec<String>> {
    let options = FormatOptions::default();
    let texts = ArrayFormatter::try_new(column, &options)
        .map_err(|e| Error::internal("rows cannot be shown").because(e))?;
    Ok((0..column.len()).map(|row| texts.value(row).to_string()).collect())
}

fn fingerprint(rows: &RecordBatch) -> Result<String> {
    let mut sha = Sha256::new();
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        sha.update(field.name());
        for text in texts(column)? {
            sha.update(text.len().to_le_bytes());
            sha.update(text);
        }
    }
    Ok(hex(&sha.finalize()))
}
