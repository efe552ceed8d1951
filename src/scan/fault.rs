//! What is wrong with a broken record, where, and which bytes were refused for it. The messages
//! are for the person who has to repair the file.

use std::fmt;
use std::ops::Range;

/// Reports one refused line of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The physical line in the file at which the broken record starts, counted from 1.
    pub line: u64,
    /// The refused bytes in the block: the first physical line of the record, without its line
    /// end, and of a longer line its first `max_record` bytes.
    pub raw: Range<usize>,
    /// What is wrong.
    pub kind: FaultKind,
}

/// Says what is wrong with a broken record: the first thing found, in the order of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The closing quote of a field is followed by neither a delimiter nor the end of the record;
    /// the place is that of the byte after the quote.
    TextAfterQuote(Place),
    /// The input ends inside a quoted field; the place is that of the opening quote.
    UnterminatedQuote(Place),
    /// A CR in or after an unquoted field is not followed by LF; the place is that of the CR.
    BareCarriageReturn(Place),
    /// The record has another number of fields than the file.
    FieldCount {
        /// The fields of the record, all of them counted.
        found: usize,
        /// The fields it should have.
        expected: usize,
    },
    /// The record does not end within the longest length allowed.
    RecordTooLong {
        /// The longest length allowed, in bytes without the line end.
        limit: usize,
    },
}

/// Points at one byte of a broken record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The field of the record, counted from 1.
    pub field: usize,
    /// The physical lines between the start of the record and this byte; 0 on its first line.
    pub lines_below: usize,
    /// The byte in its physical line, counted from 1 (after a byte order mark).
    pub column: usize,
}

impl Place {
    /// Finds the line and column of byte `at` in the record that starts at the first byte of
    /// `record`.
    pub(crate) fn of(record: &[u8], at: usize, field: usize) -> Self {
        let before = &record[..at];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        let lines_below = memchr::memchr_iter(b'\n', before).count();
        Self { field, lines_below, column: at - line_start + 1 }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.kind)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TextAfterQuote(place) => {
                write!(f, "field {}: text after the closing quote at {place}", place.field)
            }
            Self::UnterminatedQuote(place) => {
                write!(f, "field {}: quote never closed, opened at {place}", place.field)
            }
            Self::BareCarriageReturn(place) => {
                write!(f, "field {}: carriage return without line feed at {place}", place.field)
            }
            Self::FieldCount { found, expected } => {
                let noun = if *found == 1 { "field" } else { "fields" };
                write!(f, "found {found} {noun}, expected {expected}")
            }
            Self::RecordTooLong { limit } => write!(f, "record longer than {limit} bytes"),
        }
    }
}

impl fmt::Display for Place {
    /// Writes the column, and the line only when it is not the record's first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lines_below {
            0 => write!(f, "column {}", self.column),
            1 => write!(f, "column {} of the next line", self.column),
            n => write!(f, "column {}, {n} lines below", self.column),
        }
    }
}
