//! The result of splitting one block: where its records and fields are, what was refused, and how
//! far it got. It holds offsets only (one `u32` a field), so a column is read without touching the
//! others and a block is never copied.

use std::ops::Range;

use crate::record::{DOUBLED, OFFSET, QUOTED};
use crate::{Dialect, Fault, Field, Start};

/// Holds the field boundaries of one block's accepted records, and its faults.
///
/// Made by [`Splitter::split`](crate::Splitter::split); reuse one value for block after block to
/// reuse its memory.
#[derive(Clone, Debug, Default)]
pub struct Split {
    pub(crate) records: Vec<Record>,
    /// For each record `n_fields` ends: the offset from the record's start, with its marks.
    pub(crate) ends: Vec<u32>,
    pub(crate) n_fields: usize,
    pub(crate) quote: u8,
    pub(crate) faults: Vec<Fault>,
    pub(crate) consumed: usize,
    pub(crate) first_line: u64,
    pub(crate) next_start: Start,
}

/// Where an accepted record starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) start: usize,
    pub(crate) line: u64,
}

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

    /// Returns one field of one record, both counted from 0, of the block that was split.
    ///
    /// # Panics
    ///
    /// When `record` or `field` is out of range, or `block` is shorter than the block split.
    #[inline]
    pub fn field<'a>(&self, block: &'a [u8], record: usize, field: usize) -> Field<'a> {
        let raw = &block[self.records[record].start..];
        let ends = self.ends_of(record);
        let start = if field == 0 { 0 } else { (ends[field - 1] & OFFSET) as usize + 1 };
        let slot = ends[field];
        let end = (slot & OFFSET) as usize;
        let quoted = slot & QUOTED != 0;
        let bytes = if quoted { &raw[start + 1..end - 1] } else { &raw[start..end] };
        Field { bytes, quoted, doubled: (slot & DOUBLED != 0).then_some(self.quote) }
    }

    /// Returns the fields of one record in their order.
    ///
    /// # Panics
    ///
    /// As [`field`](Self::field) does.
    pub fn fields<'a>(
        &self,
        block: &'a [u8],
        record: usize,
    ) -> impl ExactSizeIterator<Item = Field<'a>> {
        (0..self.n_fields).map(move |field| self.field(block, record, field))
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
        let start = self.records[record].start;
        let len = self.ends_of(record).last().map_or(0, |slot| (slot & OFFSET) as usize);
        start..start + len
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
        self.faults.clear();
        self.n_fields = n_fields;
        self.quote = dialect.quote.unwrap_or_default();
        self.consumed = 0;
        self.first_line = start.line;
        self.next_start = start;
    }

    fn ends_of(&self, record: usize) -> &[u32] {
        &self.ends[record * self.n_fields..][..self.n_fields]
    }
}
