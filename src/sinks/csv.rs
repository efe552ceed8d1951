//! `csv`: a file of comma-separated values that is safe to open in a spreadsheet.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::record_batch::RecordBatch;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{BuildSink, Disposition, Hashing, Sink, Target, Write, names};
use crate::context::{Batches, BuildContext, RowStream, StageContext};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::publish::{Publish, PublishedFile, Staged, sync_folder};
use crate::spec::Text;
use crate::table::{Cell, Cells, plain_types};

/// Writes one file of comma-separated values with a header line (RFC 4180, UTF-8, CRLF).
///
/// A text that a spreadsheet would run as a formula (it starts with `=`, `+`, `-`, `@`, a tab or
/// the like) gets a `'` in front; `raw: true` leaves it as it is, for machines.
///
/// ```yaml
/// rejected:
///   from: register.rejected
///   csv: { path: ./out/rejected.csv }
///   write: replace
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Csv {
    /// The file.
    pub path: Text,
    /// Whether texts are written as they are, formulas included.
    #[serde(default)]
    pub raw: bool,
}

impl BuildSink for Csv {
    fn build(
        &self,
        disposition: &Disposition,
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Sink>> {
        if disposition.write.value != Write::Replace {
            disposition.refuse(context, "csv", "`replace`");
        }
        disposition.refuse_keys(context);
        let file = context.output(&self.path)?;
        Some(Arc::new(CsvSink { target: Target::Csv { file }, is_raw: self.raw }))
    }
}

#[derive(Clone, Debug)]
struct CsvSink {
    target: Target,
    is_raw: bool,
}

#[async_trait]
impl Sink for CsvSink {
    fn target(&self) -> &Target {
        &self.target
    }

    async fn stage(&self, rows: RowStream, context: Arc<StageContext>) -> Result<Staged> {
        let Target::Csv { file } = self.target.clone() else {
            return Err(Error::internal("a csv sink without a file"));
        };
        if file.is_dir() {
            return Err(Error::user(format!("`{}` is a folder", file.display())));
        }
        let header = names(&rows.schema());
        let is_raw = self.is_raw;
        let work = move |context: &StageContext, batches: &mut Batches| {
            let staged = context.folder.join("rows.csv");
            let failed =
                |e: csv::Error| Error::external(format!("`{}`", staged.display())).because(e);
            let mut writer = csv::WriterBuilder::new()
                .terminator(csv::Terminator::CRLF)
                .from_writer(Hashing::create(&staged)?);
            writer
                .write_record(header.iter().map(|name| safe(name, is_raw).into_owned()))
                .map_err(failed)?;
            let mut rows = 0;
            while let Some(batch) = batches.take()? {
                write(&batch, is_raw, &mut writer).map_err(failed)?;
                rows += batch.num_rows() as u64;
            }
            let io_failed = |e: std::io::Error| Error::io(&staged, e);
            let file_writer = writer.into_inner().map_err(|e| io_failed(e.into_error()))?;
            let (bytes, sha256) = file_writer.close().map_err(io_failed)?;
            failpoint::pass("stage.csv.closed")?;
            sync_folder(&context.folder)?;
            let published = PublishedFile { path: file.clone(), rows, bytes, sha256 };
            let publish = Publish::ReplaceFile { staged, target: file };
            Ok(Staged { rows, files: vec![published], publish })
        };
        context.blocking(rows, work).await
    }
}

fn write(
    batch: &RecordBatch,
    is_raw: bool,
    writer: &mut csv::Writer<Hashing>,
) -> std::result::Result<(), csv::Error> {
    let plain = plain_types(batch).map_err(std::io::Error::other)?;
    let columns: Vec<Cells<'_>> =
        plain.columns().iter().map(|column| Cells::of(column.as_ref())).collect();
    for row in 0..plain.num_rows() {
        for column in &columns {
            match column.get(row) {
                Cell::Null => writer.write_field("")?,
                Cell::Int(n) => writer.write_field(n.to_string())?,
                Cell::Float(n) => writer.write_field(n.to_string())?,
                Cell::Text(text) => writer.write_field(&*safe(text, is_raw))?,
                Cell::Owned(text) => writer.write_field(text)?,
            }
        }
        writer.write_record(None::<&[u8]>)?;
    }
    Ok(())
}

/// What a spreadsheet takes for the start of a formula (OWASP ASVS 1.2.10: `=`, `+`, `-`, `@`, tab
/// and NUL; also CR, LF and the full-width signs, which spreadsheets fold).
const STARTS: [char; 12] = ['=', '+', '-', '@', '\t', '\r', '\n', '\0', '＝', '＋', '－', '＠'];

/// Puts a `'` in front of what a spreadsheet would take for a formula.
fn safe(text: &str, is_raw: bool) -> std::borrow::Cow<'_, str> {
    if is_raw || !text.starts_with(STARTS) { text.into() } else { format!("'{text}").into() }
}

/// Takes the `'` away that this sink has put in front of a text.
pub fn as_it_came(text: &str) -> &str {
    text.strip_prefix('\'').filter(|rest| rest.starts_with(STARTS)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defuses_formulas_and_nothing_else() {
        for text in ["=1+1", "+44", "-1", "@SUM", "\t=1", "\r=1", "\0=", "＝1"] {
            assert_eq!(safe(text, false), format!("'{text}"));
            assert_eq!(safe(text, true), text);
            assert_eq!(as_it_came(&safe(text, false)), text);
        }
        for text in ["", "ACME LTD", " =1", "a=b", "'x"] {
            assert_eq!(safe(text, false), text);
            assert_eq!(as_it_came(text), text);
        }
    }
}
