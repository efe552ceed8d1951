//! Reads one record: the rules of the format, and nothing of blocks, lines or recovery. The caller
//! passes the bytes from the record's start on; what cannot be decided from them is `Unfinished`.

use memchr::{memchr, memchr3};

use crate::{Dialect, FaultKind, Place};

/// Marks the end of a quoted field in a slot.
pub(crate) const QUOTED: u32 = 1 << 31;
/// Marks the end of a field that holds doubled quotes in a slot.
pub(crate) const DOUBLED: u32 = 1 << 30;
/// Masks the offset in a slot.
pub(crate) const OFFSET: u32 = DOUBLED - 1;

/// What the bytes from a record's start on turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A record of `fields` fields in `len` bytes, `next` bytes with its line end.
    Whole { fields: usize, len: usize, next: usize },
    /// A fault at byte `at`.
    Broken { kind: FaultKind, at: usize },
    /// More bytes are needed.
    Unfinished,
}

/// What stands where a field must end.
enum Terminator {
    Delimiter,
    /// The end of the record; the next one starts at `next`.
    RecordEnd {
        next: usize,
    },
    /// The byte may be a line end or not: the bytes run out.
    Unknown,
    /// Something that ends no field.
    Other,
}

/// Reads the record at the start of `bytes`; `whole` says that the input ends with them.
///
/// The end of each field (offset of the byte after it, and its marks) is put into `slots`; further
/// fields are only counted.
pub(crate) fn read(dialect: Dialect, bytes: &[u8], whole: bool, slots: &mut [u32]) -> Outcome {
    let mut fields = 0;
    let mut start = 0;
    loop {
        let opening = dialect.quote.filter(|quote| bytes.get(start) == Some(quote));
        let (end, marks) = match opening {
            Some(quote) => match closing_quote(bytes, start, quote) {
                Some((close, doubled)) => {
                    (close + 1, if doubled { QUOTED | DOUBLED } else { QUOTED })
                }
                None if whole => {
                    let place = Place::of(bytes, start, fields + 1);
                    // Only the end of input shows that the quote is never closed.
                    let at = bytes.len() - 1;
                    return Outcome::Broken { kind: FaultKind::UnterminatedQuote(place), at };
                }
                None => return Outcome::Unfinished,
            },
            None => (unquoted_end(bytes, start, dialect.delimiter), 0),
        };
        if let Some(slot) = slots.get_mut(fields) {
            *slot = end as u32 | marks;
        }
        match terminator(bytes, end, whole, dialect.delimiter) {
            Terminator::Delimiter => start = end + 1,
            Terminator::RecordEnd { next } => {
                return Outcome::Whole { fields: fields + 1, len: end, next };
            }
            Terminator::Unknown => return Outcome::Unfinished,
            Terminator::Other => {
                let place = Place::of(bytes, end, fields + 1);
                let kind = match opening {
                    Some(_) => FaultKind::TextAfterQuote(place),
                    None => FaultKind::BareCarriageReturn(place),
                };
                return Outcome::Broken { kind, at: end };
            }
        }
        fields += 1;
    }
}

/// Finds the quote that closes the field opened at `open`, and says whether quotes are doubled
/// before it. A quote in the last byte counts as closing; [`terminator`] knows whether it is.
fn closing_quote(bytes: &[u8], open: usize, quote: u8) -> Option<(usize, bool)> {
    let mut doubled = false;
    let mut from = open + 1;
    loop {
        let rest = bytes.get(from..)?;
        // Empty fields are the most frequent ones: not worth the start of a search.
        let close = if rest.first() == Some(&quote) { from } else { from + memchr(quote, rest)? };
        if bytes.get(close + 1) != Some(&quote) {
            return Some((close, doubled));
        }
        doubled = true;
        from = close + 2;
    }
}

/// Finds the first byte that may end the unquoted field at `start`, or the end of the bytes.
fn unquoted_end(bytes: &[u8], start: usize, delimiter: u8) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    let ends = |byte: &u8| *byte == delimiter || *byte == b'\n' || *byte == b'\r';
    if rest.first().is_some_and(ends) {
        return start;
    }
    start + memchr3(delimiter, b'\n', b'\r', rest).unwrap_or(rest.len())
}

/// Says what stands at byte `at`, where a field must end.
fn terminator(bytes: &[u8], at: usize, whole: bool, delimiter: u8) -> Terminator {
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(&byte), _) if byte == delimiter => Terminator::Delimiter,
        (Some(b'\n'), _) => Terminator::RecordEnd { next: at + 1 },
        (Some(b'\r'), Some(b'\n')) => Terminator::RecordEnd { next: at + 2 },
        // A file cut off between CR and LF, or ended by an old editor: not worth a refusal.
        (Some(b'\r'), None) if whole => Terminator::RecordEnd { next: at + 1 },
        (None, _) if whole => Terminator::RecordEnd { next: at },
        (None, _) | (Some(b'\r'), None) => Terminator::Unknown,
        (Some(_), _) => Terminator::Other,
    }
}
