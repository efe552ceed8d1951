//! Delimited text into typed rows: what `csv` and `companies_house_bulk` have in common.
//!
//! One thread reads and splits, several convert; the rows keep the order of the file. A record
//! that cannot be split, or does not fit its columns, becomes a row of `.rejected`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use datafusion::arrow::array::{ArrayRef, Date32Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use futures::StreamExt as _;
use scan::{Dialect, Split, Splitter, Start};
use tokio::sync::mpsc;

use super::contract::CheckedColumn;
use super::input::Part;
use super::refused::{Refused, rejected};
use super::{Batch, BatchStream, Source, on_thread};
use crate::context::ReadContext;
use crate::error::{Error, Result};
use crate::table::RowBuilder;

/// Bytes that are read, split and converted together: some 8,000 rows of the register.
const BLOCK: usize = 4 << 20;
/// Bytes in which the header line must end.
const HEADER: usize = 1 << 20;
/// Raw text of a rejected row is cut after this many bytes.
pub(super) const MOST_RAW: usize = 64 << 10;

/// Files of delimited text with known columns.
#[derive(Clone, Debug)]
pub(super) struct Delimited {
    /// What it reads, for reports.
    pub name: String,
    /// The files.
    pub parts: Vec<DelimitedPart>,
    /// How fields are delimited.
    pub dialect: Dialect,
    /// Whether the first record of each file names the columns.
    pub has_header: bool,
    /// Columns of the files, in the order of the first file.
    pub columns: Vec<CheckedColumn>,
    /// A day that is the same in all rows of a file, as the last column of this name.
    pub day_column: Option<&'static str>,
}

/// One file and where its fields go.
#[derive(Clone, Debug)]
pub(super) struct DelimitedPart {
    /// The file.
    pub part: Part,
    /// For each column its field in this file; `None` for one that this file lacks.
    pub fields: Vec<Option<usize>>,
    /// Fields in a record of this file.
    pub n_fields: usize,
    /// The day of the file, in days since 1970.
    pub day: Option<i32>,
}

/// Reads the first record of a file: the names of its columns, without surrounding spaces, or the
/// first row when it has no header. `None` when the file is empty.
pub(super) fn first_record(part: &Part, dialect: Dialect) -> Result<Option<Vec<String>>> {
    let (start, is_all) = part.start(HEADER)?;
    let header = Splitter::header(dialect, &start, is_all).map_err(|fault| {
        Error::user(format!("`{}`: the first line is broken: {fault}", part.name()))
    })?;
    let Some(header) = header else { return Ok(None) };
    let name = |field: &Vec<u8>| String::from_utf8_lossy(field).trim().to_owned();
    Ok(Some(header.fields.iter().map(name).collect()))
}

impl Delimited {
    fn fields(&self) -> Vec<Field> {
        let mut fields: Vec<Field> = self.columns.iter().map(|(c, _)| c.field()).collect();
        if let Some(name) = self.day_column {
            fields.push(Field::new(name, DataType::Date32, true));
        }
        fields
    }
}

impl Source for Delimited {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.fields()))
    }

    fn read(&self, context: ReadContext) -> BatchStream {
        let converter = Arc::new(Converter::new(self, &context.projection));
        let source = self.clone();
        on_thread(move |sender| source.read_all(&context, sender))
            .map(move |block| {
                let converter = Arc::clone(&converter);
                async move {
                    let block = block?;
                    let convert = move || converter.convert(&block);
                    let handle = tokio::task::spawn_blocking(convert);
                    match handle.await {
                        Ok(result) => result,
                        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
                        Err(e) => Err(Error::internal("a reader was cancelled").because(e)),
                    }
                }
            })
            .buffered(2)
            .boxed()
    }

    fn size(&self) -> Option<u64> {
        let mut paths: Vec<_> = self.parts.iter().map(|part| &part.part).collect();
        paths.dedup_by_key(|part| &part.path);
        paths.into_iter().map(Part::size).sum()
    }

    fn fingerprint(&self) -> String {
        let stamp = |part: &DelimitedPart| {
            let metadata = std::fs::metadata(&part.part.path);
            let modified = metadata.as_ref().ok().and_then(|m| m.modified().ok());
            format!("{} {:?} {modified:?}", part.part.name(), metadata.map(|m| m.len()).ok())
        };
        self.parts.iter().map(stamp).collect()
    }

    fn describe(&self) -> String {
        match self.parts.as_slice() {
            [one] => one.part.file_name(),
            parts => format!("{} files of {}", parts.len(), self.name),
        }
    }
}

/// A block of bytes with whole records, split.
pub(super) struct Block {
    pub part: usize,
    pub bytes: Vec<u8>,
    pub split: Split,
    /// The line of the last record that is wanted; all of them otherwise.
    pub last_line: Option<u64>,
}

/// Takes the records of a block, good and bad ones, from those that are left to be read. Returns
/// the line of the last one when there are more than are left.
fn last_line(split: &Split, left: &mut u64) -> Option<u64> {
    let mut lines: Vec<u64> = (0..split.len()).map(|record| split.line(record)).collect();
    lines.extend(split.faults().iter().map(|fault| fault.line));
    lines.sort_unstable();
    let n_wanted = *left as usize;
    *left = left.saturating_sub(lines.len() as u64);
    if lines.len() <= n_wanted { None } else { n_wanted.checked_sub(1).map(|last| lines[last]) }
}

impl Delimited {
    fn read_all(&self, context: &ReadContext, sender: &mpsc::Sender<Result<Block>>) -> Result<()> {
        let mut left = context.limit;
        for index in 0..self.parts.len() {
            let reading = PartReading { source: self, index, bytes: &context.bytes };
            if left == Some(0) || !reading.read(sender, &mut left)? {
                break;
            }
        }
        Ok(())
    }
}

struct PartReading<'a> {
    source: &'a Delimited,
    index: usize,
    bytes: &'a Arc<AtomicU64>,
}

impl PartReading<'_> {
    /// Reads one file to its end. `Ok(false)` when no more rows are wanted.
    fn read(&self, sender: &mpsc::Sender<Result<Block>>, left: &mut Option<u64>) -> Result<bool> {
        let part = &self.source.parts[self.index];
        part.part.read(Arc::clone(self.bytes), |reader| {
            let splitter = Splitter::new(self.source.dialect, part.n_fields);
            let mut rest: Vec<u8> = Vec::new();
            let mut start = Start::FILE;
            let mut is_header = self.source.has_header;
            let mut wanted = BLOCK;
            loop {
                let mut bytes = std::mem::take(&mut rest);
                let is_last = !self.fill(reader, &mut bytes, wanted)?;
                let mut skipped = 0;
                if is_header {
                    let Some((consumed, next)) = self.header(&bytes, is_last)? else {
                        return Ok(true);
                    };
                    (skipped, start, is_header) = (consumed, next, false);
                }
                if skipped > 0 {
                    bytes.drain(..skipped);
                }
                let mut split = Split::default();
                splitter.split(&bytes, start, is_last, &mut split);
                start = split.next_start();
                rest.extend_from_slice(&bytes[split.consumed()..]);
                // A record longer than a block needs a longer block; the splitter has the limit.
                wanted = if split.consumed() == 0 { bytes.len() + BLOCK } else { BLOCK };
                let last_line = left.as_mut().and_then(|left| last_line(&split, left));
                let block = Block { part: self.index, bytes, split, last_line };
                if sender.blocking_send(Ok(block)).is_err() || *left == Some(0) {
                    return Ok(false);
                }
                if is_last {
                    return Ok(true);
                }
            }
        })
    }

    /// Reads until `bytes` holds `wanted` bytes; returns `false` at the end of the file.
    fn fill(&self, reader: &mut dyn Read, bytes: &mut Vec<u8>, wanted: usize) -> Result<bool> {
        let missing = wanted.saturating_sub(bytes.len()).max(1);
        bytes.reserve_exact(missing);
        let n = reader.take(missing as u64).read_to_end(bytes).map_err(|error| {
            let name = self.source.parts[self.index].part.name();
            Error::external(format!("`{name}` cannot be read to its end")).because(error)
        })?;
        Ok(n == missing)
    }

    /// Skips the header; `None` when the file is empty.
    fn header(&self, bytes: &[u8], is_last: bool) -> Result<Option<(usize, Start)>> {
        let header = Splitter::header(self.source.dialect, bytes, is_last).map_err(|fault| {
            let name = self.source.parts[self.index].part.name();
            Error::user(format!("`{name}`: the first line is broken: {fault}"))
        })?;
        Ok(header.map(|header| (header.consumed, header.next_start)))
    }
}

/// Turns blocks into rows.
pub(super) struct Converter {
    source: Delimited,
    projection: Vec<usize>,
    pub schema: SchemaRef,
}

impl Converter {
    pub(super) fn new(source: &Delimited, projection: &[usize]) -> Self {
        let fields = source.fields();
        let projected: Vec<Field> =
            projection.iter().filter_map(|&i| fields.get(i).cloned()).collect();
        let schema = Arc::new(Schema::new(projected));
        Self { source: source.clone(), projection: projection.to_vec(), schema }
    }

    /// Makes rows of which only the number matters.
    pub(super) fn counted(&self, n_rows: usize) -> Result<RecordBatch> {
        self.rows(Vec::new(), n_rows, None)
    }

    pub(super) fn convert(&self, block: &Block) -> Result<Batch> {
        let part = &self.source.parts[block.part];
        let n_columns = self.source.columns.len();
        let kept: Vec<usize> =
            self.projection.iter().copied().filter(|&index| index < n_columns).collect();
        let mut builder = RowBuilder::new(&self.source.columns, &kept)
            .ok_or_else(|| Error::internal("an unchecked date format"))?;
        let mut refused: Vec<Refused> = Vec::new();
        let split = &block.split;
        let is_text = std::str::from_utf8(&block.bytes[..split.consumed()]).is_ok();
        let mut fields: Vec<Cow<'_, [u8]>> = Vec::with_capacity(n_columns);
        let mut n_rows = 0;
        let is_wanted = |line: u64| block.last_line.is_none_or(|last| line <= last);
        for record in (0..split.len()).filter(|&record| is_wanted(split.line(record))) {
            let raw = &block.bytes[split.raw(record)];
            fields.clear();
            fields.extend(part.fields.iter().map(|field| match field {
                Some(field) => split.field(&block.bytes, record, *field).unescaped(),
                None => Cow::Borrowed(&b""[..]),
            }));
            let fault = match is_text || std::str::from_utf8(raw).is_ok() {
                true => builder.push(&fields).err().map(|fault| fault.to_string()),
                false => Some(not_text(&part.fields, &fields, &self.source.columns)),
            };
            match fault {
                None => n_rows += 1,
                Some(reason) => {
                    refused.push(Refused { line: split.line(record), reason, raw: text(raw) });
                }
            }
        }
        for fault in split.faults().iter().filter(|fault| is_wanted(fault.line)) {
            let raw = text(&block.bytes[fault.raw.clone()]);
            refused.push(Refused { line: fault.line, reason: fault.kind.to_string(), raw });
        }
        refused.sort_by_key(|row| row.line);
        let rows = self.rows(builder.finish(), n_rows, part.day)?;
        Ok(Batch { rows, rejected: rejected(&part.part.name(), &refused)? })
    }

    fn rows(&self, built: Vec<ArrayRef>, n_rows: usize, day: Option<i32>) -> Result<RecordBatch> {
        let mut built = built.into_iter();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.projection.len());
        for &index in &self.projection {
            if index < self.source.columns.len() {
                columns.extend(built.next());
            } else {
                columns.push(Arc::new(Date32Array::from(vec![day; n_rows])));
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|e| Error::internal("rows do not fit their schema").because(e))
    }
}

/// Names the first field that is not UTF-8.
fn not_text(
    places: &[Option<usize>],
    fields: &[Cow<'_, [u8]>],
    columns: &[CheckedColumn],
) -> String {
    let bad = fields.iter().position(|field| std::str::from_utf8(field).is_err());
    match bad.filter(|&index| places[index].is_some()) {
        Some(index) => format!("{}: not UTF-8 text", columns[index].0.name),
        None => "not UTF-8 text".to_owned(),
    }
}

fn text(raw: &[u8]) -> String {
    String::from_utf8_lossy(&raw[..raw.len().min(MOST_RAW)]).into_owned()
}

/// Finds for each of `columns` its field in a file whose header is `names`.
pub(super) fn match_header(columns: &[CheckedColumn], names: &[String]) -> Vec<Option<usize>> {
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    for (index, name) in names.iter().enumerate() {
        by_name.entry(name.as_str()).or_insert(index);
    }
    columns.iter().map(|(column, _)| by_name.get(column.header()).copied()).collect()
}
