//! The result of splitting one block: where its records and fields are, what was refused, and how
//! far it got. It holds positions only, so a column is read without touching the others and a
//! block is never copied.
//!
//! A regular record has its delimiters as bits, one a byte of the block, from which its fields are
//! counted off when somebody asks for them; any other has the ends of its fields as numbers.

use std::ops::Range;

use crate::masks::{self, Masks, WIDTH, Work};
use crate::record::{DOUBLED, OFFSET, QUOTED};
use crate::{Dialect, Fault, Field, Start};

/// Holds the field boundaries of one block's accepted records, and its faults.
///
/// Made by [`Splitter::split`](crate::Splitter::split); reuse one value for block after block to
/// reuse its memory.
#[derive(Clone, Debug, Default)]
pub struct Split {
    pub(crate) records: Vec<Record>,
    /// For each record that is not regular `n_fields` ends: the offset from the record's start,
    /// with its marks.
    pub(crate) ends: Vec<u32>,
    /// For each byte of the block whether it is a delimiter of a regular record.
    pub(crate) delimiters: Vec<u64>,
    pub(crate) n_fields: usize,
    pub(crate) quote: Option<u8>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) consumed: usize,
    pub(crate) first_line: u64,
    pub(crate) next_start: Start,
}

/// Where an accepted record is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) start: usize,
    pub(crate) len: u32,
    pub(crate) line: u64,
    /// Where its ends begin, or [`MASKED`].
    pub(crate) ends: usize,
    /// Whether a regular record holds doubled quotes.
    pub(crate) is_doubled: bool,
}

/// Says that a record is regular.
pub(crate) const MASKED: usize = usize::MAX;

impl Split {
    /// Returns the number of accepted records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Says whether no record was accepted.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the number of fields of each accepted record.
    pub fn n_fields(&self) -> usize {
        self.n_fields
    }

    /// Returns one field of one record, both counted from 0, of the block that was split. The
    /// fields before it are counted off; for all fields of a record take [`fields`](Self::fields).
    ///
    /// # Panics
    ///
    /// When `record` or `field` is out of range, or `block` is shorter than the block split.
    #[inline(always)]
    pub fn field<'a>(&self, block: &'a [u8], record: usize, field: usize) -> Field<'a> {
        let Record { start, len, ends, is_doubled, .. } = self.records[record];
        if ends == MASKED {
            assert!(field < self.n_fields, "field {field} of {}", self.n_fields);
            let mut delimiters = Delimiters::new(&self.delimiters, start);
            let from = if field == 0 { start } else { delimiters.nth(field - 1) + 1 };
            let is_last = field + 1 == self.n_fields;
            let to = if is_last { start + len as usize } else { delimiters.nth(0) };
            return self.regular(block, from, to, is_doubled);
        }
        let ends = &self.ends[ends..][..self.n_fields];
        let from = if field == 0 { 0 } else { (ends[field - 1] & OFFSET) as usize + 1 };
        self.marked(block, start, from, ends[field])
    }

    /// Hands on one field of each record, in their order; the same as [`field`](Self::field) for
    /// one record after the other, and faster.
    ///
    /// # Panics
    ///
    /// As [`field`](Self::field) does.
    #[inline]
    pub fn each_field<'a>(
        &self,
        block: &'a [u8],
        field: usize,
        each: impl FnMut(usize, Field<'a>),
    ) {
        masks::fastest_alone(Column { split: self, block, field, each });
    }

    /// Returns the fields of one record in their order.
    ///
    /// # Panics
    ///
    /// As [`field`](Self::field) does.
    #[inline]
    pub fn fields<'a>(&'a self, block: &'a [u8], record: usize) -> Fields<'a> {
        let record = self.records[record];
        let delimiters = match record.ends {
            MASKED => Delimiters::new(&self.delimiters, record.start),
            _ => Delimiters::none(),
        };
        Fields { split: self, block, record, next: 0, from: record.start, delimiters }
    }

    /// Reads a field of a regular record: it is quoted if it begins with a quote.
    #[inline(always)]
    fn regular<'a>(&self, block: &'a [u8], from: usize, to: usize, is_doubled: bool) -> Field<'a> {
        match (&block[from..to], self.quote) {
            ([first, inner @ .., _], Some(quote)) if *first == quote => {
                let is_doubled = is_doubled && memchr::memchr(quote, inner).is_some();
                let doubled = is_doubled.then_some(quote);
                Field { bytes: inner, at: from + 1, quoted: true, doubled }
            }
            (bytes, _) => Field { bytes, at: from, quoted: false, doubled: None },
        }
    }

    /// Reads a field whose end is marked; its positions count from the start of its record.
    #[inline]
    fn marked<'a>(&self, block: &'a [u8], record: usize, from: usize, slot: u32) -> Field<'a> {
        let quoted = slot & QUOTED != 0;
        let inner = usize::from(quoted);
        let (from, to) = (from + inner, (slot & OFFSET) as usize - inner);
        let bytes = &block[record..][from..to];
        let doubled = self.quote.filter(|_| slot & DOUBLED != 0);
        Field { bytes, at: record + from, quoted, doubled }
    }

    /// Returns the physical line in the file at which a record starts, counted from 1.
    ///
    /// # Panics
    ///
    /// When `record` is out of range.
    pub fn line(&self, record: usize) -> u64 {
        self.records[record].line
    }

    /// Returns where in the block a record is, without its line end.
    ///
    /// # Panics
    ///
    /// When `record` is out of range.
    pub fn raw(&self, record: usize) -> Range<usize> {
        let Record { start, len, .. } = self.records[record];
        start..start + len as usize
    }

    /// Returns the faults in the order of their lines.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Returns the number of bytes that are done with. The caller puts the others in front of the
    /// next block; after the last block there are none.
    pub fn consumed(&self) -> usize {
        self.consumed
    }

    /// Returns the number of physical lines consumed, that is of LF bytes up to
    /// [`consumed`](Self::consumed); a last line without LF does not count.
    pub fn lines(&self) -> u64 {
        self.next_start.line - self.first_line
    }

    /// Returns the start to pass with the next block.
    pub fn next_start(&self) -> Start {
        self.next_start
    }

    /// Empties the split for another block, keeping its memory.
    pub(crate) fn clear(&mut self, n_fields: usize, dialect: Dialect, start: Start) {
        self.records.clear();
        self.ends.clear();
        self.delimiters.clear();
        self.faults.clear();
        self.n_fields = n_fields;
        self.quote = dialect.quote;
        self.consumed = 0;
        self.first_line = start.line;
        self.next_start = start;
    }
}

/// A field of all records, and what becomes of it.
struct Column<'s, 'a, E> {
    split: &'s Split,
    block: &'a [u8],
    field: usize,
    each: E,
}

impl<'a, E: FnMut(usize, Field<'a>)> Work for Column<'_, 'a, E> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: impl Fn(&[u8; WIDTH]) -> Masks, _: impl Fn(u64) -> u64) {
        let Self { split, block, field, mut each } = self;
        for record in 0..split.records.len() {
            each(record, split.field(block, record, field));
        }
    }
}

/// The delimiters from a position in a block on.
#[derive(Clone, Debug)]
struct Delimiters<'a> {
    words: &'a [u64],
    /// The word in hand.
    word: usize,
    /// What is left of it.
    bits: u64,
}

impl<'a> Delimiters<'a> {
    #[inline]
    fn new(words: &'a [u64], at: usize) -> Self {
        let word = at / WIDTH;
        Self { words, word, bits: words[word] & (!0 << (at % WIDTH)) }
    }

    fn none() -> Self {
        Self { words: &[], word: 0, bits: 0 }
    }

    /// Skips `n` delimiters and returns the position of the one after them, which must be there.
    #[inline(always)]
    fn nth(&mut self, mut n: usize) -> usize {
        loop {
            let here = self.bits.count_ones() as usize;
            if n < here {
                for _ in 0..n {
                    self.bits &= self.bits - 1;
                }
                let at = self.word * WIDTH + self.bits.trailing_zeros() as usize;
                self.bits &= self.bits - 1;
                return at;
            }
            n -= here;
            self.word += 1;
            self.bits = self.words[self.word];
        }
    }

    /// Returns the position of the next delimiter, which must be there.
    #[inline]
    fn next(&mut self) -> usize {
        while self.bits == 0 {
            self.word += 1;
            self.bits = self.words[self.word];
        }
        let at = self.word * WIDTH + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        at
    }
}

/// The fields of one record, in their order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    split: &'a Split,
    block: &'a [u8],
    record: Record,
    next: usize,
    /// Where in the block the next field begins.
    from: usize,
    delimiters: Delimiters<'a>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    // Not inlined it would return a field by way of memory, which takes longer than to find it.
    #[inline(always)]
    fn next(&mut self) -> Option<Field<'a>> {
        let Self { split, block, record, .. } = *self;
        if self.next == split.n_fields {
            return None;
        }
        let from = self.from;
        self.next += 1;
        if record.ends == MASKED {
            let is_last = self.next == split.n_fields;
            let to =
                if is_last { record.start + record.len as usize } else { self.delimiters.next() };
            self.from = to + 1;
            return Some(split.regular(block, from, to, record.is_doubled));
        }
        let slot = split.ends[record.ends + self.next - 1];
        self.from = record.start + (slot & OFFSET) as usize + 1;
        Some(split.marked(block, record.start, from - record.start, slot))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.split.n_fields - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Fields<'_> {}
