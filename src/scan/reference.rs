//! The rules once more, as slowly and plainly as possible: a state machine that takes one byte at a
//! time of a whole file in memory. The tests hold the splitter against it; where the two differ,
//! this one is right.

use crate::{Dialect, Fault, FaultKind, Place};

/// An accepted record: its line, its bytes in the file, and the value of each field with a mark
/// whether it was quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) line: u64,
    pub(crate) raw: std::ops::Range<usize>,
    pub(crate) fields: Vec<(Vec<u8>, bool)>,
}

/// All that is known of a file once it is split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) records: Vec<Record>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) lines: u64,
}

/// Where the machine is in a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Unquoted,
    Quoted,
    QuoteInQuoted,
}

/// How a record ended: after `len` bytes, `next` with the line end, or by a fault seen at `at`.
enum End {
    Good { fields: Vec<(Vec<u8>, bool)>, len: usize, next: usize },
    Bad { kind: FaultKind, at: usize },
}

/// Splits a whole file, byte order mark included, into records of `n_fields` fields.
pub(crate) fn split(dialect: Dialect, n_fields: usize, max_record: usize, file: &[u8]) -> Whole {
    let mut whole = Whole::default();
    let mut at = if file.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    while at < file.len() {
        let line = 1 + file[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        let rest = &file[at..];
        let physical = rest.split(|byte| *byte == b'\n').next().unwrap();
        let next_line = at + physical.len() + 1;
        let physical = physical.strip_suffix(b"\r").unwrap_or(physical);
        if physical.is_empty() {
            at = next_line;
            continue;
        }
        let too_long = FaultKind::RecordTooLong { limit: max_record };
        let kind = match record(dialect, rest) {
            End::Good { len, .. } if len > max_record => too_long,
            End::Bad { at, .. } if at >= max_record => too_long,
            End::Bad { kind, .. } => kind,
            End::Good { fields, .. } if fields.len() != n_fields => {
                FaultKind::FieldCount { found: fields.len(), expected: n_fields }
            }
            End::Good { fields, len, next } => {
                whole.records.push(Record { line, raw: at..at + len, fields });
                at += next;
                continue;
            }
        };
        let raw = at..at + physical.len().min(max_record);
        whole.faults.push(Fault { line, raw, kind });
        at = next_line;
    }
    whole.lines = file.iter().filter(|byte| **byte == b'\n').count() as u64;
    whole
}

/// Reads the record at the start of `rest`, which ends where the file ends.
fn record(dialect: Dialect, rest: &[u8]) -> End {
    let mut fields = Vec::new();
    let mut value = Vec::new();
    let mut quoted = false;
    let mut state = State::FieldStart;
    // The line and column of the byte in hand, and of the last opening quote.
    let (mut lines_below, mut column) = (0, 0);
    let mut opening = Place { field: 0, lines_below: 0, column: 0 };
    for (at, &byte) in rest.iter().enumerate() {
        column += 1;
        let here = Place { field: fields.len() + 1, lines_below, column };
        let is_quote = dialect.quote == Some(byte);
        let followed_by_newline = rest.get(at + 1) == Some(&b'\n');
        let at_end_of_file = at + 1 == rest.len();
        if state == State::Quoted {
            if is_quote {
                state = State::QuoteInQuoted;
            } else {
                value.push(byte);
            }
        } else if state == State::FieldStart && is_quote {
            (quoted, opening, state) = (true, here, State::Quoted);
        } else if state == State::QuoteInQuoted && is_quote {
            value.push(byte);
            state = State::Quoted;
        } else if byte == dialect.delimiter {
            fields.push((std::mem::take(&mut value), std::mem::take(&mut quoted)));
            state = State::FieldStart;
        } else if byte == b'\n' || byte == b'\r' && (followed_by_newline || at_end_of_file) {
            fields.push((value, quoted));
            let next = if byte == b'\r' && followed_by_newline { at + 2 } else { at + 1 };
            return End::Good { fields, len: at, next };
        } else if state == State::QuoteInQuoted {
            return End::Bad { kind: FaultKind::TextAfterQuote(here), at };
        } else if byte == b'\r' {
            return End::Bad { kind: FaultKind::BareCarriageReturn(here), at };
        } else {
            value.push(byte);
            state = State::Unquoted;
        }
        if byte == b'\n' {
            (lines_below, column) = (lines_below + 1, 0);
        }
    }
    let len = rest.len();
    if state == State::Quoted {
        return End::Bad { kind: FaultKind::UnterminatedQuote(opening), at: len - 1 };
    }
    fields.push((value, quoted));
    End::Good { fields, len, next: len }
}
