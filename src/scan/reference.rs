//! The rules once more, as slowly and plainly as possible: a state machine that takes one byte at a
//! time of a whole file in memory. The tests hold the splitter against it; where the two differ,
//! this one is right.

use crate::regular::PORTABLE;
use crate::{Dialect, Fault, FaultKind, Field, Place, Split, Splitter, Start};

/// An accepted record: its line, its bytes in the file, and the value of each field with a mark
/// whether it was quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The physical line of its first byte.
    pub line: u64,
    /// Where it is in the file, without its line end.
    pub raw: std::ops::Range<usize>,
    /// Its values, and whether each was quoted.
    pub fields: Vec<(Vec<u8>, bool)>,
}

/// All that is known of a file once it is split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// The accepted records.
    pub records: Vec<Record>,
    /// What was refused.
    pub faults: Vec<Fault>,
    /// How many LF there are.
    pub lines: u64,
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
pub fn split(dialect: Dialect, n_fields: usize, max_record: usize, file: &[u8]) -> Whole {
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

/// Splits a file in blocks of these sizes, by the fastest way and by plain Rust.
///
/// # Panics
///
/// When the splitter and the reference differ.
pub fn agrees(dialect: Dialect, n_fields: usize, max_record: usize, file: &[u8], sizes: &[usize]) {
    let expected = split(dialect, n_fields, max_record, file);
    let splitter = Splitter::new(dialect, n_fields).with_max_record(max_record);
    for is_portable in [false, true] {
        PORTABLE.set(is_portable);
        let got = in_blocks(&splitter, file, sizes);
        PORTABLE.set(false);
        assert_eq!(got, expected, "blocks of {sizes:?}, portable: {is_portable}");
    }
}

/// Splits a file in blocks, each ending one of `sizes` after the one before (empty: one block),
/// carrying leftovers over, and gathers the results with positions in the file.
pub fn in_blocks(splitter: &Splitter, file: &[u8], sizes: &[usize]) -> Whole {
    let mut whole = Whole::default();
    let mut split = Split::default();
    let mut sizes = sizes.iter().copied().cycle();
    let (mut from, mut to, mut start) = (0, 0, Start::FILE);
    loop {
        to = (to + sizes.next().unwrap_or(file.len())).min(file.len());
        let block = &file[from..to];
        let last = to == file.len();
        splitter.split(block, start, last, &mut split);
        let value = |field: Field<'_>| {
            assert!(block[field.start()..].starts_with(field.bytes()));
            (field.unescaped().into_owned(), field.is_quoted())
        };
        let n_before = whole.records.len();
        for record in 0..split.len() {
            let raw = split.raw(record);
            let fields: Vec<_> = split.fields(block, record).map(value).collect();
            let raw = from + raw.start..from + raw.end;
            whole.records.push(Record { line: split.line(record), raw, fields });
        }
        for index in 0..splitter.n_fields() {
            split.each_field(block, index, |record, field| {
                assert_eq!(field, split.field(block, record, index));
                assert_eq!(value(field), whole.records[n_before + record].fields[index]);
            });
        }
        for fault in split.faults() {
            let raw = from + fault.raw.start..from + fault.raw.end;
            whole.faults.push(Fault { raw, ..fault.clone() });
        }
        whole.lines += split.lines();
        assert_eq!(split.next_start().line(), 1 + whole.lines);
        assert!(block.len() - split.consumed() <= splitter.max_record().max(1) + 1);
        (from, start) = (from + split.consumed(), split.next_start());
        if last {
            assert_eq!(from, file.len(), "a last block leaves nothing");
            return whole;
        }
    }
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
