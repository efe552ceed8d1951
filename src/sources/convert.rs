//! Pieces of delimited text into typed rows. A record that cannot be split, or does not fit its
//! columns, is refused; one for which a condition does not hold is left out before it is a row.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{ArrayRef, Date32Array, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use scan::{Field, Split, Splitter, Start};

use super::delimited::{Delimited, DelimitedPart};
use super::pieces::Piece;
use super::refused::Refused;
use crate::context::{Condition, ReadContext};
use crate::error::{Error, Result};
use crate::table::{Place, RowBuilder, RowFault, Texts};

/// Rows that leave together.
const ROWS: usize = 8192;
/// Raw text of a rejected row is cut after this many bytes.
pub(super) const MOST_RAW: usize = 64 << 10;

/// What came of a piece.
pub(super) struct Converted {
    /// Accepted rows.
    pub rows: Vec<RecordBatch>,
    /// Accepted rows that were left out.
    pub n_left_out: u64,
    /// How many of those were not checked.
    pub n_unchecked: u64,
    /// Refused rows, with lines counted from the start of the piece.
    pub refused: Vec<Refused>,
    /// Where in the file the piece began.
    pub begin: u64,
    /// Where in the file the record begins that it did not finish, or the next one.
    pub end: u64,
    /// The bytes of that record that the piece holds, if they cannot be read again.
    pub rest: Vec<u8>,
    /// Where the next piece starts; the first line of this one was 1.
    pub next_start: Start,
    /// How many more records are wanted after it.
    pub left: Option<u64>,
}

/// Turns the pieces of a source into rows.
pub(super) struct Converter {
    source: Delimited,
    context: ReadContext,
    schema: SchemaRef,
    /// What conversions left for the next ones: their memory is warm.
    spare: Mutex<Vec<Tools>>,
}

/// What a conversion works with.
struct Tools {
    builder: RowBuilder,
    /// Rows of a block that are wanted, and their records.
    wanted: (Texts, Vec<usize>),
    /// Rows that are left out, of which the values are checked.
    unwanted: (Texts, Vec<usize>),
    filters: Vec<Filter>,
    split: Split,
    block: Vec<u8>,
}

impl Converter {
    pub(super) fn new(source: Delimited, schema: SchemaRef, context: ReadContext) -> Self {
        Self { source, context, schema, spare: Mutex::default() }
    }

    /// Returns the schema of the rows.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Converts a piece of a part that stands at `start`, up to `left` records of it. In a first
    /// piece all rows are checked: a file of which no row is good shows there.
    pub(super) fn convert(
        &self,
        part: &DelimitedPart,
        piece: &Piece,
        start: Start,
        is_first: bool,
        left: Option<u64>,
    ) -> Result<Converted> {
        let broken = |error| part.part.cut_short(error);
        let mut tools = self.tools()?;
        let block = std::mem::take(&mut tools.block);
        let mut split = std::mem::take(&mut tools.split);
        let mut blocks = piece.open(&self.context.bytes, block).map_err(broken)?;
        let splitter = Splitter::new(self.source.dialect, part.n_fields);
        let checks_all = self.context.checks_all || is_first;
        let mut work = Work::new(self, tools, part, checks_all, left);
        let begin = blocks.position();
        let (mut start, mut consumed) = (start.on_line(1), 0);
        while work.left != Some(0)
            && let Some((bytes, is_last)) = blocks.next(consumed).map_err(broken)?
        {
            splitter.split(bytes, start, is_last, &mut split);
            work.take(bytes, &split)?;
            (consumed, start) = (split.consumed(), split.next_start());
        }
        work.flush()?;
        let (end, rest) = (blocks.position(), blocks.rest().to_vec());
        let tools = Tools { split, block: blocks.into_buffer(), ..work.tools };
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(tools);
        Ok(Converted {
            rows: work.rows,
            n_left_out: work.n_left_out,
            n_unchecked: work.n_unchecked,
            refused: work.refused,
            begin,
            end,
            rest,
            next_start: start,
            left: work.left,
        })
    }

    /// Takes tools that nobody works with.
    fn tools(&self) -> Result<Tools> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(tools) = spare {
            return Ok(tools);
        }
        let columns = &self.source.columns;
        let projection = self.context.projection.iter().copied();
        let kept: Vec<usize> = projection.filter(|&index| index < columns.len()).collect();
        let builder = RowBuilder::new(columns, &kept)
            .ok_or_else(|| Error::internal("an unchecked date format"))?;
        let conditions = self.context.conditions.iter();
        Ok(Tools {
            wanted: (builder.texts(), Vec::new()),
            unwanted: (builder.texts(), Vec::new()),
            builder,
            filters: conditions.map(|condition| Filter::new(condition.clone())).collect(),
            split: Split::default(),
            block: Vec::new(),
        })
    }
}

/// A piece on its way into rows.
struct Work<'a> {
    converter: &'a Converter,
    part: &'a DelimitedPart,
    tools: Tools,
    /// For each field of the file where the builder takes it, up to the last one.
    places: Vec<Option<Place>>,
    /// The same of the columns that are checked.
    checked: Vec<Option<usize>>,
    n_built: usize,
    checks_all: bool,
    left: Option<u64>,
    rows: Vec<RecordBatch>,
    n_left_out: u64,
    n_unchecked: u64,
    refused: Vec<Refused>,
}

impl<'a> Work<'a> {
    fn new(
        converter: &'a Converter,
        tools: Tools,
        part: &'a DelimitedPart,
        checks_all: bool,
        left: Option<u64>,
    ) -> Self {
        let (mut places, mut checked) = (vec![None; part.n_fields], vec![None; part.n_fields]);
        for (index, place) in tools.builder.places() {
            let Some(field) = part.fields[index] else { continue };
            places[field] = Some(place);
            if let Place::Checked(place) = place {
                checked[field] = Some(place);
            }
        }
        places.truncate(places.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
        checked.truncate(checked.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
        Self {
            converter,
            part,
            tools,
            places,
            checked,
            n_built: 0,
            checks_all,
            left,
            rows: Vec::new(),
            n_left_out: 0,
            n_unchecked: 0,
            refused: Vec::new(),
        }
    }

    /// Takes the records of a block.
    fn take(&mut self, bytes: &[u8], split: &Split) -> Result<()> {
        let last_line = self.left.as_mut().and_then(|left| last_line(split, left));
        let is_asked = |line: u64| last_line.is_none_or(|last| line <= last);
        let n_records = match last_line {
            None => split.len(),
            Some(_) => (0..split.len()).take_while(|&r| is_asked(split.line(r))).count(),
        };
        let n_refused = self.refused.len();
        for fault in split.faults().iter().take_while(|fault| is_asked(fault.line)) {
            let raw = text(&bytes[fault.raw.clone()]);
            self.refused.push(Refused { line: fault.line, reason: fault.kind.to_string(), raw });
        }
        let mut wanted = vec![true; n_records];
        for filter in &mut self.tools.filters {
            let field = self.part.fields.get(filter.condition.column).copied().flatten();
            filter.ask(bytes, split, field, &mut wanted)?;
        }
        for (record, is_wanted) in wanted.into_iter().enumerate() {
            if is_wanted || self.checks_all {
                self.gather(bytes, split, record, is_wanted);
            } else {
                self.n_left_out += 1;
                self.n_unchecked += 1;
            }
        }
        self.build(bytes, split);
        self.refused[n_refused..].sort_by_key(|row| row.line);
        if self.n_built >= ROWS { self.flush() } else { Ok(()) }
    }

    /// Gathers the fields of a record, unless it is no text.
    fn gather(&mut self, bytes: &[u8], split: &Split, record: usize, is_wanted: bool) {
        let range = split.raw(record);
        let Ok(raw) = std::str::from_utf8(&bytes[range.clone()]) else {
            let reason = self.not_text(bytes, split, record);
            self.refuse(bytes, split, record, reason);
            return;
        };
        let Tools { builder, wanted, unwanted, .. } = &mut self.tools;
        let (texts, records) = if is_wanted { wanted } else { unwanted };
        texts.begin(if self.checked.is_empty() { "" } else { raw });
        records.push(record);
        let fields = split.fields(bytes, record);
        if is_wanted {
            for (place, field) in self.places.iter().zip(fields) {
                match *place {
                    None => {}
                    Some(Place::Checked(place)) => check(texts, place, field, range.start),
                    Some(Place::Free(place)) => builder.put(place, &field.unescaped()),
                }
            }
        } else {
            for (place, field) in self.checked.iter().zip(fields) {
                if let Some(place) = *place {
                    check(texts, place, field, range.start);
                }
            }
        }
    }

    /// Makes rows of what was gathered.
    fn build(&mut self, bytes: &[u8], split: &Split) {
        let Tools { builder, wanted, unwanted, .. } = &mut self.tools;
        let faults = (builder.push(&wanted.0), builder.check(&unwanted.0));
        self.n_built += wanted.0.len() - faults.0.len();
        self.n_left_out += (unwanted.0.len() - faults.1.len()) as u64;
        let of_wanted = faults.0.into_iter().map(|(row, fault)| (wanted.1[row], fault));
        let of_unwanted = faults.1.into_iter().map(|(row, fault)| (unwanted.1[row], fault));
        let faults: Vec<(usize, RowFault)> = of_wanted.chain(of_unwanted).collect();
        for (texts, records) in [wanted, unwanted] {
            texts.clear();
            records.clear();
        }
        for (record, fault) in faults {
            self.refuse(bytes, split, record, fault.to_string());
        }
    }

    fn refuse(&mut self, bytes: &[u8], split: &Split, record: usize, reason: String) {
        let (line, raw) = (split.line(record), text(&bytes[split.raw(record)]));
        self.refused.push(Refused { line, reason, raw });
    }

    /// Names the first column that is not UTF-8.
    fn not_text(&self, bytes: &[u8], split: &Split, record: usize) -> String {
        let fields: Vec<Field<'_>> = split.fields(bytes, record).collect();
        let columns = self.part.fields.iter().zip(&self.converter.source.columns);
        let bad = columns.filter_map(|(field, column)| Some((fields.get((*field)?)?, column)));
        let mut bad = bad.filter(|(field, _)| std::str::from_utf8(field.bytes()).is_err());
        match bad.next() {
            Some((_, (column, _))) => format!("{}: not UTF-8 text", column.name),
            None => "not UTF-8 text".to_owned(),
        }
    }

    /// Makes a batch of the rows that are there.
    fn flush(&mut self) -> Result<()> {
        let n_rows = std::mem::take(&mut self.n_built);
        let built = self.tools.builder.finish();
        let mut built = built.map_err(|e| Error::internal("a column").because(e))?.into_iter();
        if n_rows == 0 {
            return Ok(());
        }
        let n_columns = self.converter.source.columns.len();
        let column = |&index: &usize| match index < n_columns {
            true => built.next(),
            false => Some(Arc::new(Date32Array::from(vec![self.part.day; n_rows])) as ArrayRef),
        };
        let columns = self.converter.context.projection.iter().filter_map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        let schema = Arc::clone(&self.converter.schema);
        let rows = RecordBatch::try_new_with_options(schema, columns, &options)
            .map_err(|e| Error::internal("rows do not fit their schema").because(e))?;
        self.rows.push(rows);
        Ok(())
    }
}

/// Hands on the field of a column that is checked; its record begins at `start`.
#[inline]
fn check(texts: &mut Texts, place: usize, field: Field<'_>, start: usize) {
    if field.has_doubled_quotes() {
        texts.put_text(place, &String::from_utf8_lossy(&field.unescaped()));
    } else {
        let from = field.start() - start;
        texts.put(place, from, from + field.bytes().len());
    }
}

/// A condition, and what it said of the texts that come again and again.
struct Filter {
    condition: Condition,
    /// Texts that it was asked of, the frequent ones in front.
    known: Vec<Known>,
}

struct Known {
    head: u128,
    text: Vec<u8>,
    is_wanted: bool,
}

impl Filter {
    /// Texts that are remembered; columns that tell few kinds apart have no more.
    const MOST_KNOWN: usize = 16;

    fn new(condition: Condition) -> Self {
        Self { condition, known: Vec::new() }
    }

    /// Notes which records are not wanted; `column` is the field of its column, `None` for one that
    /// the file lacks.
    fn ask(
        &mut self,
        bytes: &[u8],
        split: &Split,
        column: Option<usize>,
        wanted: &mut [bool],
    ) -> Result<()> {
        let Some(column) = column else {
            let is_wanted = self.condition.keeps(&[None])? == [true];
            wanted.iter_mut().for_each(|wanted| *wanted &= is_wanted);
            return Ok(());
        };
        let mut asked: Vec<(usize, Field<'_>)> = Vec::new();
        split.each_field(bytes, column, |record, field| {
            let Some(wanted) = wanted.get_mut(record).filter(|wanted| **wanted) else { return };
            match self.known(bytes, field) {
                Some(is_wanted) => *wanted = is_wanted,
                None => asked.push((record, field)),
            }
        });
        if asked.is_empty() {
            return Ok(());
        }
        let texts: Vec<Cow<'_, [u8]>> = asked.iter().map(|(_, field)| field.unescaped()).collect();
        // What is no text is looked at, and refused.
        let (places, texts): (Vec<usize>, Vec<Option<&str>>) = texts
            .iter()
            .enumerate()
            .filter_map(|(place, text)| Some((place, std::str::from_utf8(text).ok()?)))
            .map(|(place, text)| (place, (!text.is_empty()).then_some(text)))
            .unzip();
        for (place, is_wanted) in places.into_iter().zip(self.condition.keeps(&texts)?) {
            let (record, field) = asked[place];
            wanted[record] = is_wanted;
            self.learn(field, is_wanted);
        }
        Ok(())
    }

    /// Returns what is known of a text; a doubled quote makes it another one than its bytes.
    #[inline]
    fn known(&mut self, block: &[u8], field: Field<'_>) -> Option<bool> {
        if field.has_doubled_quotes() {
            return None;
        }
        let text = field.bytes();
        let head = head(block, field.start(), text.len());
        let is_it = |known: &Known| {
            known.head == head
                && known.text.len() == text.len()
                && (text.len() <= HEAD || known.text[HEAD..] == text[HEAD..])
        };
        let place = self.known.iter().position(is_it)?;
        let is_wanted = self.known[place].is_wanted;
        if place > 1 {
            self.known.swap(place, place / 2);
        }
        Some(is_wanted)
    }

    fn learn(&mut self, field: Field<'_>, is_wanted: bool) {
        let is_new = self.known.len() < Self::MOST_KNOWN && !field.has_doubled_quotes();
        if is_new && self.known.iter().all(|known| known.text != field.bytes()) {
            let text = field.bytes().to_vec();
            self.known.push(Known { head: head(&text, 0, text.len()), text, is_wanted });
        }
    }
}

/// Bytes of a text that are compared at once.
const HEAD: usize = 16;

/// Returns the first bytes of a text in a block, and zeros behind it.
#[inline]
fn head(block: &[u8], at: usize, len: usize) -> u128 {
    let n = len.min(HEAD);
    match block.get(at..at + HEAD).and_then(|head| head.try_into().ok()) {
        Some(head) => {
            let head = u128::from_le_bytes(head);
            if n == HEAD { head } else { head & ((1 << (8 * n)) - 1) }
        }
        None => {
            let mut head = [0; HEAD];
            head[..n].copy_from_slice(&block[at..at + n]);
            u128::from_le_bytes(head)
        }
    }
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

fn text(raw: &[u8]) -> String {
    String::from_utf8_lossy(&raw[..raw.len().min(MOST_RAW)]).into_owned()
}
