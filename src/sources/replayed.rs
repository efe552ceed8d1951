//! Lines that a delimited source refused, read once more as that source reads lines now.
//!
//! Each is split on its own: a broken line must not take a part of the next one.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::SchemaRef;
use scan::{Split, Splitter, Start};
use tokio::sync::mpsc;

use super::convert::{Converted, Converter, MOST_RAW};
use super::delimited::Delimited;
use super::pieces::Piece;
use super::refused::{Refused, rejected};
use super::{Batch, BatchStream, Source, on_thread};
use crate::context::{KeptRow, ReadContext};
use crate::error::{Error, Result};

/// Rows that are handed on together.
const BATCH: usize = 1024;

/// Lines in place of the files of a source.
#[derive(Clone, Debug)]
pub(super) struct Replayed {
    /// The source, with a part for each file that the lines came from.
    source: Delimited,
    /// The lines, each with the index of its part.
    rows: Vec<(usize, KeptRow)>,
}

impl Replayed {
    /// Makes lines of a source that has a part for each file that they came from. Those whose file
    /// was not kept belong to the first.
    pub(super) fn new(source: Delimited, kept: &[KeptRow]) -> Self {
        let part_of = |row: &KeptRow| source.parts.iter().position(|p| p.part.name() == row.file);
        let rows = kept.iter().map(|row| (part_of(row).unwrap_or(0), row.clone())).collect();
        Self { source, rows }
    }

    fn read_all(&self, context: &ReadContext, sender: &mpsc::Sender<Result<Batch>>) -> Result<()> {
        let context = ReadContext { limit: None, conditions: Vec::new(), ..context.clone() };
        let converter = self.source.converter(context);
        for rows in self.rows.chunks(BATCH) {
            let batches: Result<Vec<Vec<Batch>>> =
                rows.iter().map(|(part, row)| self.read_one(&converter, *part, row)).collect();
            let joined = batches.and_then(|all| joined(&converter, &all.concat()));
            if sender.blocking_send(joined).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Reads a line; what comes of it is accepted or refused.
    fn read_one(&self, converter: &Converter, part: usize, row: &KeptRow) -> Result<Vec<Batch>> {
        let part = &self.source.parts[part];
        let splitter = Splitter::new(self.source.dialect, part.n_fields);
        let mut split = Split::default();
        splitter.split(row.raw.as_bytes(), Start::record(row.line), true, &mut split);
        let reason = match (split.len(), split.faults()) {
            _ if row.raw.len() >= MOST_RAW => "only its first 64 KiB were kept".to_owned(),
            _ if row.raw.contains('\u{fffd}') => "not UTF-8 text".to_owned(),
            (1, []) => {
                let piece = Piece::whole(row.raw.clone().into_bytes());
                let converted = converter.convert(part, &piece, Start::record(1), true, None)?;
                return batches(converter, converted, row);
            }
            (_, [fault, ..]) => fault.kind.to_string(),
            (n, []) => format!("{n} records, expected 1"),
        };
        let refused = Refused { line: row.line, reason, raw: row.raw.clone() };
        let rows = RecordBatch::new_empty(Arc::clone(converter.schema()));
        let rejected = rejected(&row.file, &[refused])?;
        Ok(vec![Batch { rejected, ..Batch::new(rows) }])
    }
}

/// Gives what came of a line the place that it had in its file.
fn batches(converter: &Converter, converted: Converted, row: &KeptRow) -> Result<Vec<Batch>> {
    let mut refused = converted.refused;
    refused.iter_mut().for_each(|refused| refused.line = row.line);
    let mut batches: Vec<Batch> = converted.rows.into_iter().map(Batch::new).collect();
    if let Some(rejected) = rejected(&row.file, &refused)? {
        let rows = RecordBatch::new_empty(Arc::clone(converter.schema()));
        batches.push(Batch { rejected: Some(rejected), ..Batch::new(rows) });
    }
    Ok(batches)
}

fn joined(converter: &Converter, batches: &[Batch]) -> Result<Batch> {
    let failed = |e| Error::internal("rows do not fit their schema").because(e);
    let n_rows = batches.iter().map(|batch| batch.rows.num_rows()).sum();
    // Rows without columns have a count only, which joining would lose.
    let schema = converter.schema();
    let rows = match schema.fields().is_empty() {
        true => {
            let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
            RecordBatch::try_new_with_options(Arc::clone(schema), Vec::new(), &options)
        }
        false => concat_batches(schema, batches.iter().map(|batch| &batch.rows)),
    };
    let rows = rows.map_err(failed)?;
    let refused: Vec<&RecordBatch> = batches.iter().filter_map(|b| b.rejected.as_ref()).collect();
    let rejected = match refused.first() {
        Some(first) => {
            Some(concat_batches(&first.schema(), refused.iter().copied()).map_err(failed)?)
        }
        None => None,
    };
    Ok(Batch { rejected, ..Batch::new(rows) })
}

impl Source for Replayed {
    fn schema(&self) -> SchemaRef {
        self.source.schema()
    }

    fn read(&self, context: ReadContext) -> BatchStream {
        let replayed = self.clone();
        on_thread(move |sender| replayed.read_all(&context, sender))
    }

    fn size(&self) -> Option<u64> {
        None
    }

    fn fingerprint(&self) -> String {
        // The engine has the rows themselves in its fingerprint.
        "replayed".to_owned()
    }

    fn describe(&self) -> String {
        format!("{} kept rows", self.rows.len())
    }
}
