//! Small files of a folder that grows run by run, put together now and then.
//!
//! A run that finds it due stages the whole folder anew: its own rows and those of the small files
//! in one file for each partition, and links to the large ones. The folders are then exchanged like
//! those of `write: replace`, so a reader sees every row once, whenever it looks.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::publish::sync_file;

/// A file below this is small.
const SMALL: u64 = 32 << 20;
/// So many small files are put together whatever their age.
const MOST_SMALL: usize = 1_000;

/// Files of a folder, relative to it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    /// Those that are put together.
    pub(super) small: Vec<PathBuf>,
    /// Those that stay as they are.
    pub(super) large: Vec<PathBuf>,
}

/// Looks whether small files are to be put together: when the oldest is older than `after`, or when
/// there are very many.
pub(super) fn due(folder: &Path, after: Duration, now: Timestamp) -> Result<Option<Files>> {
    let mut files = Files::default();
    let mut oldest = now;
    collect(folder, Path::new(""), &mut files, &mut oldest)?;
    let is_old = now.duration_since(oldest).unsigned_abs() >= after && oldest <= now;
    let is_due = files.small.len() >= MOST_SMALL || (files.small.len() > 1 && is_old);
    Ok(is_due.then_some(files))
}

fn collect(root: &Path, below: &Path, files: &mut Files, oldest: &mut Timestamp) -> Result<()> {
    let folder = root.join(below);
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(()) };
    for entry in entries {
        let entry = entry.map_err(|e| Error::io(&folder, e))?;
        let path = below.join(entry.file_name());
        let metadata = entry.metadata().map_err(|e| Error::io(&entry.path(), e))?;
        if metadata.is_dir() {
            collect(root, &path, files, oldest)?;
        } else if metadata.len() < SMALL {
            let written = metadata.modified().map_err(|e| Error::io(&entry.path(), e))?;
            *oldest = (*oldest).min(Timestamp::try_from(written).unwrap_or(*oldest));
            files.small.push(path);
        } else {
            files.large.push(path);
        }
    }
    files.small.sort();
    files.large.sort();
    Ok(())
}

/// Opens a file for its rows; `None` when its columns are not those of `schema` and it has to stay
/// as it is.
pub(super) fn rows(path: &Path, schema: &SchemaRef) -> Result<Option<ParquetRecordBatchReader>> {
    let damaged = |e| Error::external(format!("`{}` cannot be read", path.display())).because(e);
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
    let have = builder.schema().fields();
    let is_alike = have.len() == schema.fields().len()
        && have.iter().zip(schema.fields()).all(|(have, wanted)| {
            have.name() == wanted.name()
                && have.data_type().equals_datatype(wanted.data_type())
                    | (have.data_type().is_string() && wanted.data_type().is_string())
        });
    if !is_alike {
        return Ok(None);
    }
    builder.build().map(Some).map_err(damaged)
}

/// Gives rows the very types of a schema: text is text in a file, and may be views in memory.
pub(super) fn typed(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let misfit = |e| Error::internal("rows of a file do not fit their columns").because(e);
    let columns = batch.columns().iter().zip(schema.fields());
    let columns: Vec<_> = columns
        .map(|(column, field)| cast(column, field.data_type()))
        .collect::<Result<_, _>>()
        .map_err(misfit)?;
    RecordBatch::try_new(SchemaRef::clone(schema), columns).map_err(misfit)
}

/// Lets a file stand in another folder, too.
pub(super) fn link(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
    }
    // A file system without links has copies, which are as new as what is written.
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).map_err(|e| Error::io(to, e))?;
        sync_file(to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn files_are_due_when_they_are_old_or_very_many() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(path, "x").expect("written");
        };
        let hour = Duration::from_secs(3_600);
        write("a=1/part-1.parquet");
        let now = Timestamp::try_from(
            fs::metadata(folder.path().join("a=1/part-1.parquet"))
                .and_then(|file| file.modified())
                .expect("a time"),
        )
        .expect("a moment");
        let at = |seconds: i64| crate::clock::after(now, Duration::from_secs(seconds as u64));
        let small =
            |now| due(folder.path(), hour, now).expect("looked").map(|files| files.small.len());
        assert_eq!(small(at(7_200)), None, "one is as few as can be");
        write("a=2/part-1.parquet");
        assert_eq!(small(at(60)), None);
        assert_eq!(small(at(7_200)), Some(2));
        for n in 0..MOST_SMALL {
            write(&format!("a=1/part-2-{n}.parquet"));
        }
        assert_eq!(small(at(60)), Some(MOST_SMALL + 2));
        assert_eq!(due(&folder.path().join("none"), hour, now).expect("looked"), None);
    }
}
