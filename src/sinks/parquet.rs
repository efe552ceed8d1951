//! `parquet`: Parquet files in a folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{Array, RecordBatch, UInt32Array};
use datafusion::arrow::compute::take_record_batch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use schemars::JsonSchema;
use serde::Deserialize;

use super::compact;
use super::encode::ParquetFile;
use super::{BuildSink, Disposition, Hashing, Sink, Target, Write};
use crate::context::{Batches, BuildContext, RowStream, StageContext};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::publish::{Publish, PublishedFile, Staged, sync_folders};
use crate::spec::{Code, Diagnostic, Located, Text};
use crate::table::{Cell, NULL_PARTITION, cell, plain_types};

/// Rows in a row group: enough for good encoding, few enough to be held in memory.
const ROW_GROUP: usize = 128 << 10;
/// Partitions that one run may write; each is an open file.
const MOST_PARTITIONS: usize = 1000;

/// Writes Parquet files (zstd) into a folder of their own.
///
/// `write: replace` puts a new folder in the place of the old one at one stroke; `append` adds
/// files, and `compact` puts the small ones together when the oldest is so old. Readers never see
/// half a file, nor a row twice. `partition_by` divides the files into folders
/// `column=value`; those columns are then in the folder names and not in the files.
///
/// ```yaml
/// lead_files:
///   from: leads
///   parquet: { path: ./out/leads, partition_by: [postcode_area] }
///   write: replace
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parquet {
    /// The folder. It holds nothing but the files of this sink.
    pub path: Text,
    /// Columns by whose values the files are divided into folders.
    #[serde(default)]
    pub partition_by: Vec<Located<String>>,
}

impl BuildSink for Parquet {
    fn build(
        &self,
        disposition: &Disposition,
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Sink>> {
        match disposition.write.value {
            Write::Replace | Write::Append => {}
            _ => disposition.refuse(context, "parquet", "`replace` and `append`"),
        }
        disposition.refuse_keys(context);
        let folder = context.output(&self.path)?;
        if folder.file_name().is_none() {
            let message = format!("`{}` cannot be a folder of Parquet files", folder.display());
            context.found.push(Diagnostic::error(Code::BadValue, message, self.path.at()));
            return None;
        }
        let partition_by = self.partition_by.iter().map(|column| column.value.clone()).collect();
        Some(Arc::new(ParquetSink {
            target: Target::Parquet { folder, partition_by },
            is_append: disposition.write.value == Write::Append,
            compact: disposition.compact.as_ref().map(|after| after.value.duration()),
        }))
    }

    fn columns(&self) -> &[Located<String>] {
        &self.partition_by
    }
}

#[derive(Clone, Debug)]
struct ParquetSink {
    target: Target,
    is_append: bool,
    /// How old small files may be before they are put together.
    compact: Option<Duration>,
}

#[async_trait]
impl Sink for ParquetSink {
    fn target(&self) -> &Target {
        &self.target
    }

    async fn stage(&self, rows: RowStream, context: Arc<StageContext>) -> Result<Staged> {
        let Target::Parquet { folder, partition_by } = self.target.clone() else {
            return Err(Error::internal("a parquet sink without a folder"));
        };
        check_folder(&folder)?;
        let schema = rows.schema();
        let (is_append, compact) = (self.is_append, self.compact);
        let work = move |context: &StageContext, batches: &mut Batches| {
            let staged = context.folder.join("rows");
            fs::create_dir(&staged).map_err(|e| Error::io(&staged, e))?;
            let mut writers = Writers::new(&schema, &partition_by, &staged, &context.run_id)?;
            let mut rows = 0;
            while let Some(batch) = batches.take()? {
                writers.write(&batch)?;
                rows += batch.num_rows() as u64;
            }
            let due = match compact {
                Some(after) => compact::due(&folder, after, context.at)?,
                None => None,
            };
            if let Some(files) = &due {
                writers.put_together(&folder, files)?;
            }
            // Batches of a stream are often empty: a folder with files needs none without rows.
            let is_needed = !is_append || !has_files(&folder);
            let written = writers.close(is_needed)?;
            sync_folders(&context.folder)?;
            failpoint::pass("stage.synced")?;
            let is_added = is_append && due.is_none();
            Ok(staged_files(staged, folder, written, rows, is_added))
        };
        context.blocking(rows, work).await
    }
}

/// A file that was written, relative to the staged folder.
struct WrittenFile {
    path: PathBuf,
    rows: u64,
    bytes: u64,
    sha256: String,
}

fn staged_files(
    staged: PathBuf,
    target: PathBuf,
    written: Vec<WrittenFile>,
    rows: u64,
    is_append: bool,
) -> Staged {
    let paths: Vec<PathBuf> = written.iter().map(|file| file.path.clone()).collect();
    let files = written
        .into_iter()
        .map(|file| PublishedFile {
            path: target.join(file.path),
            rows: file.rows,
            bytes: file.bytes,
            sha256: file.sha256,
        })
        .collect();
    let publish = match (is_append, paths.first()) {
        (false, Some(first)) => Publish::ReplaceFolder { staged, target, witness: first.clone() },
        _ => Publish::AddFiles { staged, target, files: paths },
    };
    Staged { rows, files, publish }
}

/// Says whether there is anything in a folder.
fn has_files(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// Refuses a folder that holds anything which this sink would not have written: replacing it
/// would destroy what is somebody else's.
fn check_folder(folder: &Path) -> Result<()> {
    let is_symlink = folder.is_symlink();
    if is_symlink || (folder.exists() && !folder.is_dir()) {
        let message = format!("`{}` is in the way: it is not a folder", folder.display());
        return Err(Error::user(message));
    }
    match first_stranger(folder)? {
        Some(path) => Err(Error::user(format!(
            "`{}` was not written by a parquet sink; choose a folder of its own",
            path.display()
        ))),
        None => Ok(()),
    }
}

fn first_stranger(folder: &Path) -> Result<Option<PathBuf>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(None) };
    for entry in entries {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_ours = match path.is_dir() && !path.is_symlink() {
            true if name.contains('=') => first_stranger(&path)?.is_none(),
            true => false,
            false => name.starts_with("part-") && name.ends_with(".parquet"),
        };
        if !is_ours {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// One open file for each partition.
struct Writers<'a> {
    staged: &'a Path,
    run_id: &'a str,
    schema: SchemaRef,
    kept: Vec<usize>,
    partition_by: Vec<(String, usize)>,
    open: BTreeMap<PathBuf, (Writer, u64)>,
}

/// A file that is being written. One alone is encoded on all cores; many at a time would take too
/// much memory for that.
enum Writer {
    Alone(Box<ParquetFile<Hashing>>),
    OfMany(Box<ArrowWriter<Hashing>>),
}

impl Writer {
    fn write(&mut self, rows: &RecordBatch) -> Written<()> {
        match self {
            Self::Alone(writer) => writer.write(rows),
            Self::OfMany(writer) => writer.write(rows),
        }
    }

    fn close(self) -> Written<Hashing> {
        match self {
            Self::Alone(writer) => writer.close(),
            Self::OfMany(writer) => writer.into_inner(),
        }
    }
}

type Written<T> = datafusion::parquet::errors::Result<T>;

impl<'a> Writers<'a> {
    fn new(
        schema: &SchemaRef,
        partition_by: &[String],
        staged: &'a Path,
        run_id: &'a str,
    ) -> Result<Self> {
        let place = |name: &String| {
            let (index, _) = schema
                .column_with_name(name)
                .ok_or_else(|| Error::internal(format!("no column `{name}`")))?;
            Ok((name.clone(), index))
        };
        let partition_by: Vec<(String, usize)> =
            partition_by.iter().map(place).collect::<Result<_>>()?;
        let kept: Vec<usize> = (0..schema.fields().len())
            .filter(|index| partition_by.iter().all(|(_, other)| other != index))
            .collect();
        let fields: Vec<_> = kept.iter().map(|&index| schema.field(index).clone()).collect();
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { staged, run_id, schema, kept, partition_by, open: BTreeMap::new() })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let failed = |e: datafusion::arrow::error::ArrowError| {
            Error::internal("rows cannot be divided").because(e)
        };
        if self.partition_by.is_empty() {
            return self.write_to(PathBuf::new(), batch);
        }
        let plain = plain_types(batch).map_err(failed)?;
        let mut divided: BTreeMap<PathBuf, Vec<u32>> = BTreeMap::new();
        for row in 0..plain.num_rows() {
            divided.entry(self.folder_of(&plain, row)).or_default().push(row as u32);
        }
        for (folder, rows) in divided {
            let rows = take_record_batch(batch, &UInt32Array::from(rows)).map_err(failed)?;
            let rows = rows.project(&self.kept).map_err(failed)?;
            self.write_to(folder, &rows)?;
        }
        Ok(())
    }

    /// Names the folder of a row as Hive does: `column=value`, unusual characters as `%XX`.
    fn folder_of(&self, plain: &RecordBatch, row: usize) -> PathBuf {
        let mut folder = PathBuf::new();
        for (name, index) in &self.partition_by {
            let column: &dyn Array = plain.column(*index);
            let value = match cell(column, row) {
                Cell::Null => NULL_PARTITION.to_owned(),
                Cell::Int(n) => n.to_string(),
                Cell::Float(n) => n.to_string(),
                Cell::Text(text) => escape(text),
                Cell::Owned(text) => escape(&text),
            };
            folder.push(format!("{}={value}", escape(name)));
        }
        folder
    }

    fn write_to(&mut self, folder: PathBuf, rows: &RecordBatch) -> Result<()> {
        if !self.open.contains_key(&folder) {
            if self.open.len() == MOST_PARTITIONS {
                return Err(Error::user(format!(
                    "more than {MOST_PARTITIONS} partitions; partition by a column with fewer values"
                )));
            }
            let writer = self.create(&folder)?;
            self.open.insert(folder.clone(), (writer, 0));
        }
        let Some((writer, n_rows)) = self.open.get_mut(&folder) else { return Ok(()) };
        writer.write(rows).map_err(|e| cannot_write(&self.staged.join(&folder), e))?;
        *n_rows += rows.num_rows() as u64;
        failpoint::pass("stage.parquet.batch")
    }

    fn create(&self, folder: &Path) -> Result<Writer> {
        // One after the other, so that a staged folder that was swept away stays away.
        let mut path = self.staged.to_owned();
        for part in folder.components() {
            path.push(part);
            match fs::create_dir(&path) {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(Error::io(&path, e)),
                _ => {}
            }
        }
        path.push(self.file_name());
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .build();
        let (file, schema) = (Hashing::create(&path)?, &self.schema);
        if self.partition_by.is_empty() {
            return Ok(Writer::Alone(Box::new(ParquetFile::new(file, schema, properties))));
        }
        // Without Arrow's own schema in the file every reader sees plain text, not text views.
        let options =
            ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        ArrowWriter::try_new_with_options(file, Arc::clone(schema), options)
            .map(|writer| Writer::OfMany(Box::new(writer)))
            .map_err(|e| cannot_write(&path, e))
    }

    fn file_name(&self) -> String {
        format!("part-{}.parquet", self.run_id)
    }

    /// Writes the rows of small files once more, each into the file of its partition, and lets the
    /// others stand here, too.
    fn put_together(&mut self, folder: &Path, files: &compact::Files) -> Result<()> {
        let schema = Arc::clone(&self.schema);
        for file in &files.small {
            let partition = file.parent().unwrap_or(Path::new(""));
            let Some(rows) = compact::rows(&folder.join(file), &schema)? else {
                compact::link(&folder.join(file), &self.staged.join(file))?;
                continue;
            };
            for batch in rows {
                let batch = batch.map_err(|e| {
                    let path = folder.join(file);
                    Error::external(format!("`{}` cannot be read", path.display())).because(e)
                })?;
                self.write_to(partition.to_owned(), &compact::typed(&batch, &schema)?)?;
            }
        }
        for file in &files.large {
            compact::link(&folder.join(file), &self.staged.join(file))?;
        }
        Ok(())
    }

    /// Closes all files. Where one is needed there is one without rows, so that the columns are
    /// known.
    fn close(mut self, is_needed: bool) -> Result<Vec<WrittenFile>> {
        if self.open.is_empty() && is_needed {
            let writer = self.create(Path::new(""))?;
            self.open.insert(PathBuf::new(), (writer, 0));
        }
        let name = self.file_name();
        let mut written = Vec::new();
        for (folder, (writer, rows)) in self.open {
            let path = folder.join(&name);
            let staged = self.staged.join(&path);
            let file = writer.close().map_err(|e| cannot_write(&staged, e))?;
            let (bytes, sha256) = file.close().map_err(|e| Error::io(&staged, e))?;
            written.push(WrittenFile { path, rows, bytes, sha256 });
            failpoint::pass("stage.parquet.closed")?;
        }
        Ok(written)
    }
}

fn cannot_write(path: &Path, error: datafusion::parquet::errors::ParquetError) -> Error {
    Error::external(format!("`{}` cannot be written", path.display())).because(error)
}

/// Escapes what would not survive in a folder name.
fn escape(text: &str) -> String {
    if text.is_empty() {
        return NULL_PARTITION.to_owned();
    }
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
    let mut escaped = String::new();
    for c in text.chars() {
        if is_plain(c) && !(text.starts_with('.') && escaped.is_empty()) {
            escaped.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                escaped.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_a_folder_name_cannot_hold() {
        assert_eq!(escape("EC"), "EC");
        assert_eq!(escape("a/b=c%"), "a%2Fb%3Dc%25");
        assert_eq!(escape(".."), "%2E.");
        assert_eq!(escape(""), "__HIVE_DEFAULT_PARTITION__");
    }

    #[test]
    fn refuses_a_folder_that_holds_what_is_not_ours() -> Result<()> {
        let root = tempfile::tempdir().map_err(|e| Error::io(Path::new("tmp"), e))?;
        let folder = root.path().join("out");
        assert!(check_folder(&folder).is_ok());
        fs::create_dir_all(folder.join("area=EC")).map_err(|e| Error::io(&folder, e))?;
        fs::write(folder.join("area=EC/part-1.parquet"), "").map_err(|e| Error::io(&folder, e))?;
        assert!(check_folder(&folder).is_ok());
        fs::write(folder.join("thesis.doc"), "").map_err(|e| Error::io(&folder, e))?;
        assert!(check_folder(&folder).is_err_and(|e| e.to_string().contains("thesis.doc")));
        Ok(())
    }
}
