//! `parquet`: Parquet files, as a pipeline's sink has written them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, StringViewArray,
    new_null_array,
};
use datafusion::arrow::compute::{cast, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::contract::Contract;
use super::layout::not_there;
use super::refused::{Refused, rejected};
use super::{Batch, BatchStream, BuildSource, Source, looked_into, on_thread};
use crate::context::{BuildContext, Files, ReadContext};
use crate::error::{Error, Result};
use crate::spec::{Code, Diagnostic, Scope, Text};
use crate::table::NULL_PARTITION;

/// Rows that are read together.
const BATCH: usize = 8192;

/// Reads Parquet files: one, those of a folder and the folders in it, or those of a glob. Folders
/// named `column=value` give every row of their files that column, as text.
///
/// The columns are those of the first file, in the order of the names; a file that lacks one, or
/// has it as another type, is a change in terms of the contract. `contract.columns` can say that a
/// column is `required` or what it `matches`; its `type` must be the one of the file.
///
/// ```yaml
/// sources:
///   leads:
///     parquet: { path: ./out/leads }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parquet {
    /// A file, a folder, or a glob.
    pub path: Text,
}

impl Parquet {
    fn files(&self, context: &mut BuildContext<'_>) -> Option<(PathBuf, Vec<PathBuf>)> {
        if context.files == Files::AreNotRead {
            return None;
        }
        let path = context.path(&self.path)?;
        let mut files = Vec::new();
        collect(&path, &mut files);
        if files.is_empty() {
            let pattern = path.to_string_lossy();
            files.extend(glob::glob(&pattern).into_iter().flatten().flatten());
        }
        files.sort();
        if files.is_empty() {
            let message = format!("`{}` holds no Parquet files", path.display());
            context.found.push(not_there(message, &self.path, context));
            return None;
        }
        Some((path, files))
    }
}

/// Finds the files of a folder, or the file itself. What is hidden is no part of it.
fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    let is_hidden = |path: &Path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']))
    };
    if path.is_file() {
        files.push(path.to_owned());
    } else if let Ok(entries) = std::fs::read_dir(path) {
        for entry in entries.flatten().map(|entry| entry.path()) {
            let is_wanted = entry.is_dir() || entry.extension().is_some_and(|e| e == "parquet");
            if is_wanted && !is_hidden(&entry) {
                collect(&entry, files);
            }
        }
    }
}

#[async_trait]
impl BuildSource for Parquet {
    fn looks_into(&self, scope: &Scope) -> Vec<PathBuf> {
        looked_into(&self.path, scope)
    }

    fn build(
        &self,
        contract: &Contract,
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Source>> {
        let (root, files) = self.files(context)?;
        let mut parts: Vec<Part> = Vec::new();
        for path in files {
            match Part::open(&root, path) {
                Ok(part) => parts.push(part),
                Err(error) => {
                    let fault = Diagnostic::error(Code::File, error.to_string(), self.path.at());
                    context.found.push(fault);
                    return None;
                }
            }
        }
        let fields = parts.first()?.fields();
        for part in &parts[1..] {
            if let Some(message) = part.differs(&fields) {
                contract.changed(message, self.path.at(), context);
            }
        }
        let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        let mut checks = Vec::new();
        for (name, said) in &contract.columns.0 {
            let Some(index) = names.iter().position(|known| *known == name.value) else {
                let message = format!("the source has no column `{}`", name.value);
                let fault = Diagnostic::error(Code::UnknownColumn, message, name.at);
                context.found.push(fault.suggest(name, "columns", names.iter().copied()));
                continue;
            };
            let kind = fields[index].data_type();
            if let Some(wanted) = said.kind.filter(|wanted| !wanted.takes(kind)) {
                let message = format!("`{}` is {kind}, not {}", name.value, wanted.name());
                contract.changed(message, name.at, context);
            }
            let matches = said.pattern(context);
            if matches.is_some() && *kind != DataType::Utf8View {
                let message = format!("`{}` is {kind}: only a text can match", name.value);
                context.found.push(Diagnostic::error(Code::BadValue, message, name.at));
            }
            checks.push(ColumnCheck { index, required: said.required, matches });
        }
        let schema = Arc::new(Schema::new(fields));
        Some(Arc::new(Folder { root, parts, schema, checks }))
    }
}

/// What the contract says of a column.
#[derive(Clone, Debug)]
struct ColumnCheck {
    index: usize,
    required: bool,
    matches: Option<regex::Regex>,
}

impl ColumnCheck {
    /// Says what is wrong with a value, or nothing.
    fn fault(&self, column: &dyn Array, row: usize) -> Option<String> {
        match (&self.matches, column.is_null(row)) {
            (_, true) => self.required.then(|| "no value".to_owned()),
            (Some(pattern), false) => {
                let text = column.as_string_view_opt()?.value(row);
                (!pattern.is_match(text)).then(|| format!("`{text}` does not match `{pattern}`"))
            }
            (None, false) => None,
        }
    }
}

/// One file.
#[derive(Clone, Debug)]
struct Part {
    path: PathBuf,
    /// The columns in the file.
    inner: Vec<Field>,
    /// The columns that its folders name, with their value.
    partitions: Vec<(String, Option<String>)>,
    bytes: u64,
    rows: u64,
}

impl Part {
    fn open(root: &Path, path: PathBuf) -> Result<Self> {
        let failed = |e| unreadable(&path, e);
        let file = File::open(&path).map_err(|e| Error::io(&path, e))?;
        let bytes = file.metadata().map_err(|e| Error::io(&path, e))?.len();
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
        let inner = builder
            .schema()
            .fields()
            .iter()
            .map(|field| Field::new(field.name(), plain(field.data_type()), true));
        let inner = inner.collect();
        let rows = builder.metadata().file_metadata().num_rows() as u64;
        let folders = path.parent().and_then(|folder| folder.strip_prefix(root).ok());
        let partition = |folder: std::path::Component<'_>| {
            let folder = folder.as_os_str().to_string_lossy();
            let (name, value) = folder.split_once('=')?;
            Some((name.to_owned(), (value != NULL_PARTITION).then(|| unescaped(value))))
        };
        let partitions = folders.into_iter().flat_map(Path::components).filter_map(partition);
        let partitions = partitions.collect();
        Ok(Self { path, inner, partitions, bytes, rows })
    }

    fn fields(&self) -> Vec<Field> {
        let partition = |(name, _): &(String, _)| Field::new(name, DataType::Utf8View, true);
        self.inner.iter().cloned().chain(self.partitions.iter().map(partition)).collect()
    }

    /// Says in what its columns differ from those of the first file.
    fn differs(&self, first: &[Field]) -> Option<String> {
        let own = self.fields();
        let path = self.path.display();
        let of = |fields: &[Field], name: &str| fields.iter().find(|f| f.name() == name).cloned();
        let lacking = first.iter().find_map(|field| match of(&own, field.name()) {
            None => Some(format!("`{path}` has no column `{}`", field.name())),
            Some(other) if other.data_type() != field.data_type() => Some(format!(
                "`{}` is {} in `{path}` and {} in the first file",
                field.name(),
                other.data_type(),
                field.data_type()
            )),
            Some(_) => None,
        });
        let more = || own.iter().find(|field| of(first, field.name()).is_none());
        lacking.or_else(|| {
            more().map(|field| {
                format!("`{path}` has a column `{}` that the first file lacks", field.name())
            })
        })
    }

    /// Returns a column of the source from rows of this file.
    fn column(&self, field: &Field, rows: &RecordBatch) -> Result<ArrayRef> {
        if let Some((_, value)) = self.partitions.iter().find(|(name, _)| name == field.name()) {
            let values = std::iter::repeat_n(value.as_deref(), rows.num_rows());
            return Ok(Arc::new(values.collect::<StringViewArray>()));
        }
        match rows.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type())
                .map_err(|e| Error::run(format!("column `{}`", field.name())).because(e)),
            None => Ok(new_null_array(field.data_type(), rows.num_rows())),
        }
    }
}

fn unreadable(path: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::user(format!("`{}` is not a Parquet file that can be read", path.display()))
        .because(error)
}

/// Texts of every encoding are one type to us.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Dictionary(_, value) => plain(value),
        other => other.clone(),
    }
}

/// Turns `%2F` in the name of a folder back into the letter.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Files with the same columns.
#[derive(Clone, Debug)]
struct Folder {
    root: PathBuf,
    parts: Vec<Part>,
    schema: SchemaRef,
    checks: Vec<ColumnCheck>,
}

impl Folder {
    fn select(&self, context: &ReadContext, sender: &mpsc::Sender<Result<Batch>>) -> Result<()> {
        let mut left = context.limit.unwrap_or(u64::MAX);
        for part in &self.parts {
            let failed = |e| unreadable(&part.path, e);
            let file = File::open(&part.path).map_err(|e| Error::io(&part.path, e))?;
            let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
            // A rejected row is shown whole.
            let is_read = |index: usize| {
                !self.checks.is_empty()
                    || context
                        .projection
                        .iter()
                        .any(|&wanted| self.schema.field(wanted).name() == part.inner[index].name())
            };
            let wanted = (0..part.inner.len()).filter(|&index| is_read(index));
            let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
            let reader = builder.with_projection(mask).with_batch_size(BATCH);
            let reader = reader.with_limit(usize::try_from(left).unwrap_or(usize::MAX));
            let mut line = 0;
            for rows in reader.build().map_err(failed)? {
                let rows = rows.map_err(|e| unreadable(&part.path, e))?;
                let n_rows = rows.num_rows() as u64;
                let batch = self.batch(part, &rows, line, &context.projection);
                line += n_rows;
                left = left.saturating_sub(n_rows);
                let bytes = part.bytes * n_rows / part.rows.max(1);
                context.bytes.fetch_add(bytes, Ordering::Relaxed);
                if sender.blocking_send(batch).is_err() || left == 0 {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn batch(
        &self,
        part: &Part,
        rows: &RecordBatch,
        line: u64,
        projection: &[usize],
    ) -> Result<Batch> {
        let column = |index: usize| part.column(self.schema.field(index), rows);
        let columns: Result<Vec<ArrayRef>> = projection.iter().map(|&i| column(i)).collect();
        let schema = self.schema.project(projection);
        let schema = Arc::new(schema.map_err(|e| Error::internal("a projection").because(e))?);
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let batch = RecordBatch::try_new_with_options(schema, columns?, &options)
            .map_err(|e| Error::internal("rows do not fit their schema").because(e))?;
        let mut faults: Vec<Option<String>> = vec![None; rows.num_rows()];
        for check in &self.checks {
            let column = column(check.index)?;
            for (row, fault) in faults.iter_mut().enumerate().filter(|(_, fault)| fault.is_none()) {
                let name = self.schema.field(check.index).name();
                *fault = check.fault(&column, row).map(|fault| format!("{name}: {fault}"));
            }
        }
        if faults.iter().all(Option::is_none) {
            return Ok(Batch::new(batch));
        }
        let is_good: BooleanArray = faults.iter().map(|fault| Some(fault.is_none())).collect();
        let good = filter_record_batch(&batch, &is_good)
            .map_err(|e| Error::internal("rows do not fit their schema").because(e))?;
        let mut refused = Vec::new();
        for (row, fault) in faults.into_iter().enumerate() {
            if let Some(reason) = fault {
                let raw = raw(rows, row)?;
                refused.push(Refused { line: line + row as u64 + 1, reason, raw });
            }
        }
        let name = part.path.display().to_string();
        Ok(Batch { rejected: rejected(&name, &refused)?, ..Batch::new(good) })
    }
}

/// Writes a row as a JSON object of texts.
fn raw(rows: &RecordBatch, row: usize) -> Result<String> {
    let mut object = serde_json::Map::new();
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        let options = FormatOptions::default();
        let text = ArrayFormatter::try_new(column, &options)
            .map_err(|e| Error::internal("rows cannot be shown").because(e))?;
        let value = (!column.is_null(row)).then(|| text.value(row).to_string());
        object.insert(field.name().clone(), value.into());
    }
    Ok(serde_json::Value::Object(object).to_string())
}

impl Source for Folder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn read(&self, context: ReadContext) -> BatchStream {
        let folder = self.clone();
        on_thread(move |sender| folder.select(&context, sender))
    }

    fn size(&self) -> Option<u64> {
        Some(self.parts.iter().map(|part| part.bytes).sum())
    }

    fn fingerprint(&self) -> String {
        let part = |part: &Part| format!("{} {} {}", part.path.display(), part.bytes, part.rows);
        self.parts.iter().map(part).collect::<Vec<_>>().join("\n")
    }

    fn describe(&self) -> String {
        let name = self.root.file_name().unwrap_or_default().to_string_lossy();
        match self.parts.len() {
            1 => name.into_owned(),
            n => format!("{n} files of {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_names_give_their_values_back() {
        assert_eq!(unescaped("a%2Fb%25%"), "a/b%%");
        assert_eq!(unescaped("%C3%A9é%zz"), "éé%zz");
    }
}
