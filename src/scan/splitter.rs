//! The way in: what is expected of a file's records, and the two questions to ask of its bytes,
//! the header of the first block and the records of every block.

use crate::record::OFFSET;
use crate::walk::Walk;
use crate::{Dialect, Fault, FaultKind, Split, Start};

/// The longest record accepted unless the caller says otherwise: 4 MiB.
pub const DEFAULT_MAX_RECORD: usize = 4 << 20;

/// Splits blocks of one file into records of a known number of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splitter {
    pub(crate) dialect: Dialect,
    pub(crate) n_fields: usize,
    pub(crate) max_record: usize,
}

/// Holds the first record of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The values, with doubled quotes made one.
    pub fields: Vec<Vec<u8>>,
    /// The bytes up to the end of the record, with its line end.
    pub consumed: usize,
    /// The start of the record, counted from 1: not 1 if blank lines come first.
    pub line: u64,
    /// The start of the bytes after it, for [`Splitter::split`].
    pub next_start: Start,
}

impl Splitter {
    /// Makes a splitter for records of `n_fields` fields, at most [`DEFAULT_MAX_RECORD`] long.
    pub fn new(dialect: Dialect, n_fields: usize) -> Self {
        Self { dialect, n_fields, max_record: DEFAULT_MAX_RECORD }
    }

    /// Returns the splitter with another longest record, in bytes without the line end.
    ///
    /// It is capped just below 1 GiB, which keeps a field boundary in 32 bits.
    #[must_use]
    pub fn with_max_record(self, max_record: usize) -> Self {
        // The window of a record is two bytes longer, and all its offsets must fit a slot.
        Self { max_record: max_record.min(OFFSET as usize - 2), ..self }
    }

    /// Returns the delimiter and quote.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Returns the number of fields of a good record.
    pub fn n_fields(&self) -> usize {
        self.n_fields
    }

    /// Returns the length of the longest good record, in bytes without the line end.
    pub fn max_record(&self) -> usize {
        self.max_record
    }

    /// Splits the records of `block`, which stands at `start` (a [`Start`], or the line number of
    /// a record); `last` says that no bytes follow it.
    ///
    /// The result replaces what `split` held, in the same memory. The bytes from
    /// [`Split::consumed`] on belong to an unfinished record: the caller puts them in front of the
    /// next block, at [`Split::next_start`]. After a last block none are left.
    pub fn split(&self, block: &[u8], start: impl Into<Start>, last: bool, split: &mut Split) {
        let start = start.into();
        split.clear(self.n_fields, self.dialect, start);
        let mut walk = Walk::new(self, block, start, last);
        walk.take_regular(split);
        while walk.step(split) {
            walk.take_regular(split);
        }
        split.consumed = walk.at;
        split.next_start = walk.start;
    }

    /// Reads the header: the first record of the file that starts with `block`, however many
    /// fields it has, at most [`DEFAULT_MAX_RECORD`] long; `last` says that no bytes follow.
    ///
    /// Returns `None` when the block holds no whole record: with `last` the file is empty, without
    /// it more bytes are needed, from the start of the file.
    ///
    /// # Errors
    ///
    /// The fault of a broken header.
    pub fn header(dialect: Dialect, block: &[u8], last: bool) -> Result<Option<Header>, Fault> {
        let mut splitter = Self::new(dialect, 0);
        let mut split = Split::default();
        let mut walk = Walk::new(&splitter, block, Start::FILE, last);
        if !walk.skip_blank_lines() {
            return Ok(None);
        }
        let (at, start) = (walk.at, walk.start);
        // The first walk expects no fields at all, so what it finds is a fault that counts them.
        walk.step(&mut split);
        splitter.n_fields = match split.faults.pop() {
            None => return Ok(None),
            Some(Fault { kind: FaultKind::FieldCount { found, .. }, .. }) => found,
            Some(fault) => return Err(fault),
        };
        split.clear(splitter.n_fields, dialect, start);
        let mut walk = Walk::new(&splitter, block, start, last);
        walk.at = at;
        walk.step(&mut split);
        let fields = split.fields(block, 0).map(|field| field.unescaped().into_owned()).collect();
        let (consumed, next_start) = (walk.at, walk.start);
        Ok(Some(Header { fields, consumed, line: start.line, next_start }))
    }
}
