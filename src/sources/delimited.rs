//! Delimited text into typed rows: what `csv` and `companies_house_bulk` have in common.
//!
//! A file is read in pieces, several at the same time (`pieces.rs`); each is split and converted at
//! once (`convert.rs`), and the rows are put back into the order of the file. A record that cannot
//! be split, or does not fit its columns, becomes a row of `.rejected`.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read as _};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use futures::stream::{self, BoxStream, StreamExt as _};
use scan::{Dialect, Header, Splitter, Start};

use super::contract::CheckedColumn;
use super::convert::{Converted, Converter};
use super::input::Part;
use super::pieces::{Cut, Piece, unpack};
use super::refused::rejected;
use super::{Batch, BatchStream, Source, on_thread};
use crate::context::ReadContext;
use crate::cores;
use crate::error::{Error, Result};

/// Bytes in which the header line must end.
const HEADER: usize = 1 << 20;

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
    let Some(header) = header(part, dialect)? else { return Ok(None) };
    let name = |field: &Vec<u8>| String::from_utf8_lossy(field).trim().to_owned();
    Ok(Some(header.fields.iter().map(name).collect()))
}

fn header(part: &Part, dialect: Dialect) -> Result<Option<Header>> {
    let (start, is_all) = part.start(HEADER)?;
    Splitter::header(dialect, &start, is_all).map_err(|fault| {
        Error::user(format!("`{}`: the first line is broken: {fault}", part.name()))
    })
}

impl Delimited {
    fn fields(&self) -> Vec<Field> {
        let mut fields: Vec<Field> = self.columns.iter().map(|(c, _)| c.field()).collect();
        if let Some(name) = self.day_column {
            fields.push(Field::new(name, DataType::Date32, true));
        }
        fields
    }

    /// Returns what turns its pieces into rows.
    pub(super) fn converter(&self, context: ReadContext) -> Converter {
        let fields = self.fields();
        let projected: Vec<Field> =
            context.projection.iter().filter_map(|&i| fields.get(i).cloned()).collect();
        Converter::new(self.clone(), Arc::new(Schema::new(projected)), context)
    }

    fn read_in(&self, cut: Cut, context: ReadContext) -> BatchStream {
        let reading = Reading {
            source: self.clone(),
            cut,
            context: context.clone(),
            left: Arc::new(Mutex::new(context.limit)),
            converter: Arc::new(self.converter(context)),
        };
        let parts = stream::iter(0..self.parts.len());
        parts.flat_map(move |index| reading.clone().part(index)).boxed()
    }
}

impl Source for Delimited {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.fields()))
    }

    fn read(&self, context: ReadContext) -> BatchStream {
        self.read_in(Cut::USUAL, context)
    }

    fn asks_conditions(&self) -> bool {
        true
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

/// One reading of the files.
#[derive(Clone)]
struct Reading {
    source: Delimited,
    cut: Cut,
    context: ReadContext,
    converter: Arc<Converter>,
    /// How many more records are wanted; all of them otherwise.
    left: Arc<Mutex<Option<u64>>>,
}

impl Reading {
    /// Reads a file: its pieces at the same time, their rows in order.
    fn part(self, index: usize) -> BatchStream {
        let begin = async move {
            let reading = self.clone();
            match blocking(move || reading.begin(index)).await {
                Ok(Some((position, start))) => self.pieces(index, position, start),
                Ok(None) => stream::empty().boxed(),
                Err(error) => stream::once(async { Err(error) }).boxed(),
            }
        };
        stream::once(begin).flatten().boxed()
    }

    /// Finds where the rows of a file begin; `None` when there are none.
    fn begin(&self, index: usize) -> Result<Option<(u64, Start)>> {
        let part = &self.source.parts[index].part;
        if self.left() == Some(0) {
            return Ok(None);
        }
        if !self.source.has_header {
            return Ok(Some((0, Start::FILE)));
        }
        let header = header(part, self.source.dialect)?;
        Ok(header.map(|header| (header.consumed as u64, header.next_start)))
    }

    fn pieces(self, index: usize, position: u64, start: Start) -> BatchStream {
        let pieces = match self.source.parts[index].part.open_plain() {
            Ok(Some((file, size))) => {
                stream::iter(Piece::of_file(file, position, size, self.cut).map(Ok)).boxed()
            }
            Ok(None) => self.clone().unpacked(index, position),
            Err(error) => return stream::once(async { Err(error) }).boxed(),
        };
        // A limit is kept one piece after the other: none is read that is not wanted.
        let n_at_once = match self.context.limit {
            Some(_) => 1,
            None => 1 + cores::free(),
        };
        let reading = self.clone();
        let convert = move |(n, piece): (usize, Result<Piece>)| {
            let reading = reading.clone();
            async move {
                let piece = piece?;
                let start = Start::record(1);
                let converted = reading.convert(index, piece.clone(), start, n == 0).await?;
                Ok((piece, converted))
            }
        };
        let joined = Joined {
            reading: self,
            index,
            pieces: pieces.enumerate().map(convert).buffered(n_at_once).boxed(),
            position,
            rest: Vec::new(),
            start,
            batches: VecDeque::new(),
            is_done: false,
        };
        let next = |mut joined: Joined| async move { joined.next().await.map(|b| (b, joined)) };
        stream::unfold(joined, next).boxed()
    }

    /// Unpacks a file on a thread of its own, from a position on. Everything waits for that.
    fn unpacked(self, index: usize, position: u64) -> BoxStream<'static, Result<Piece>> {
        let core = cores::occupy();
        on_thread(move |sender| {
            let _core = core;
            let part = &self.source.parts[index].part;
            part.read(Arc::clone(&self.context.bytes), |reader| {
                let broken = |error| part.cut_short(error);
                io::copy(&mut reader.take(position), &mut io::sink()).map_err(broken)?;
                let take = |piece| sender.blocking_send(Ok(piece)).is_ok();
                unpack(reader, self.cut, take).map_err(broken)
            })
        })
    }

    async fn convert(
        &self,
        index: usize,
        piece: Piece,
        start: Start,
        is_first: bool,
    ) -> Result<Converted> {
        let reading = self.clone();
        blocking(move || {
            let part = &reading.source.parts[index];
            reading.converter.convert(part, &piece, start, is_first, reading.left())
        })
        .await
    }

    fn left(&self) -> Option<u64> {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rows of a file's pieces in their order. A piece that did not begin where the one before
/// ended is converted again, from there.
struct Joined {
    reading: Reading,
    index: usize,
    pieces: BoxStream<'static, Result<(Piece, Converted)>>,
    /// Where the next record is.
    position: u64,
    /// What the last piece read of it.
    rest: Vec<u8>,
    start: Start,
    batches: VecDeque<Batch>,
    is_done: bool,
}

impl Joined {
    async fn next(&mut self) -> Option<Result<Batch>> {
        loop {
            if let Some(batch) = self.batches.pop_front() {
                return Some(Ok(batch));
            }
            if self.is_done {
                return None;
            }
            match self.pieces.next().await? {
                Ok((piece, converted)) => {
                    if let Err(error) = self.take(piece, converted).await {
                        self.is_done = true;
                        return Some(Err(error));
                    }
                }
                Err(error) => {
                    self.is_done = true;
                    return Some(Err(error));
                }
            }
        }
    }

    async fn take(&mut self, piece: Piece, mut converted: Converted) -> Result<()> {
        let is_bytes = matches!(piece, Piece::Bytes { .. });
        let is_right = self.start.is_record()
            && self.rest.is_empty()
            && (is_bytes || converted.begin == self.position);
        if !is_right {
            let piece = piece.from(self.position, &self.rest);
            converted = self.reading.convert(self.index, piece, self.start, false).await?;
        }
        let first_line = self.start.line();
        self.position = converted.end;
        self.start = converted.next_start.on_line(first_line + converted.next_start.line() - 1);
        self.rest = converted.rest;
        *self.reading.left.lock().unwrap_or_else(PoisonError::into_inner) = converted.left;
        self.is_done = converted.left == Some(0);
        for refused in &mut converted.refused {
            refused.line += first_line - 1;
        }
        let part = &self.reading.source.parts[self.index].part;
        let mut rejected = rejected(&part.name(), &converted.refused)?;
        let (mut n_left_out, mut n_unchecked) = (converted.n_left_out, converted.n_unchecked);
        if converted.rows.is_empty() && (n_left_out > 0 || rejected.is_some()) {
            let schema = Arc::clone(self.reading.converter.schema());
            converted.rows.push(RecordBatch::new_empty(schema));
        }
        self.batches.extend(converted.rows.into_iter().map(|rows| Batch {
            rows,
            rejected: rejected.take(),
            n_left_out: std::mem::take(&mut n_left_out),
            n_unchecked: std::mem::take(&mut n_unchecked),
        }));
        Ok(())
    }
}

/// Runs work that blocks on a thread for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::internal("a reader was cancelled").because(error)),
    }
}

/// Finds for each of `columns` its field in a file whose header is `names`.
pub(super) fn match_header(columns: &[CheckedColumn], names: &[String]) -> Vec<Option<usize>> {
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    for (index, name) in names.iter().enumerate() {
        by_name.entry(name.as_str()).or_insert(index);
    }
    columns.iter().map(|(column, _)| by_name.get(column.header()).copied()).collect()
}

#[cfg(test)]
mod tests;
