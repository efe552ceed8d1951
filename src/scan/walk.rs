//! Walks a block record by record: skips blank lines, keeps the good records, refuses the first
//! line of each broken one, and stops before what the next block has to finish.

use memchr::{memchr, memchr_iter, memrchr};

use crate::record::{self, Outcome};
use crate::split::Record;
use crate::start::Inside;
use crate::{Fault, FaultKind, Split, Splitter, Start};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A position in a block that only moves over what is decided.
pub(crate) struct Walk<'a> {
    pub(crate) splitter: &'a Splitter,
    pub(crate) block: &'a [u8],
    last: bool,
    pub(crate) at: usize,
    pub(crate) start: Start,
    /// The end of the last line: what follows it may be unfinished.
    pub(crate) regular_end: usize,
}

impl<'a> Walk<'a> {
    /// Starts at the first byte of `block` at which a record may begin.
    pub(crate) fn new(splitter: &'a Splitter, block: &'a [u8], start: Start, last: bool) -> Self {
        let regular_end = memrchr(b'\n', block).map_or(0, |newline| newline + 1);
        let mut walk = Self { splitter, block, last, at: 0, start, regular_end };
        walk.enter();
        walk
    }

    /// Gets to where a record may begin: skips the byte order mark, or the rest of a refused line.
    fn enter(&mut self) {
        match self.start.inside {
            Inside::Record => {}
            Inside::File => {
                let marked = self.block.starts_with(BYTE_ORDER_MARK);
                let undecided = !self.last && BYTE_ORDER_MARK.starts_with(self.block);
                if marked {
                    self.at = BYTE_ORDER_MARK.len();
                }
                if marked || !undecided {
                    self.start.inside = Inside::Record;
                }
            }
            Inside::RefusedLine => self.skip_refused_line(),
        }
    }

    /// Says whether a record may begin here.
    pub(crate) fn is_at_record(&self) -> bool {
        self.start.inside == Inside::Record
    }

    /// Skips up to the next line, or to the end of the block while there is none.
    fn skip_refused_line(&mut self) {
        match memchr(b'\n', &self.block[self.at..]) {
            Some(newline) => {
                self.at += newline + 1;
                self.start = Start::record(self.start.line + 1);
            }
            None => {
                self.at = self.block.len();
                self.start.inside = Inside::RefusedLine;
            }
        }
    }

    /// Skips blank lines; says whether a byte that may start a record follows.
    pub(crate) fn skip_blank_lines(&mut self) -> bool {
        loop {
            match &self.block[self.at..] {
                [] => return false,
                [b'\n', ..] => self.at += 1,
                [b'\r', b'\n', ..] => self.at += 2,
                [b'\r'] => {
                    // A last CR is a blank line of its own, but without LF it is not counted.
                    self.at += usize::from(self.last);
                    return false;
                }
                _ => return true,
            }
            self.start.line += 1;
        }
    }

    /// Takes the next record or refuses its first line; says whether the block may hold more.
    pub(crate) fn step(&mut self, split: &mut Split) -> bool {
        if !self.is_at_record() || !self.skip_blank_lines() {
            return false;
        }
        let Splitter { dialect, n_fields, max_record } = *self.splitter;
        let rest = &self.block[self.at..];
        // A good record ends, CRLF included, within this window: what does not is too long, and
        // nothing beyond it needs to be seen.
        let window = &rest[..rest.len().min(max_record + 2)];
        let full = window.len() == max_record + 2;
        let whole = self.last && window.len() == rest.len();

        let base = split.ends.len();
        split.ends.resize(base + n_fields, 0);
        let kind = match record::read(dialect, window, whole, &mut split.ends[base..]) {
            Outcome::Whole { len, .. } if len > max_record => self.too_long(),
            Outcome::Broken { at, .. } if at >= max_record => self.too_long(),
            Outcome::Unfinished if full => self.too_long(),
            Outcome::Whole { fields, len, next } if fields == n_fields => {
                let record = Record {
                    start: self.at,
                    len: len as u32,
                    line: self.start.line,
                    ends: base,
                    is_doubled: false,
                };
                split.records.push(record);
                self.at += next;
                self.start.line += memchr_iter(b'\n', &window[..next]).count() as u64;
                return true;
            }
            Outcome::Whole { fields: found, .. } => {
                FaultKind::FieldCount { found, expected: n_fields }
            }
            Outcome::Broken { kind, .. } => kind,
            Outcome::Unfinished => {
                split.ends.truncate(base);
                return false;
            }
        };
        split.ends.truncate(base);
        self.refuse(window, kind, split)
    }

    fn too_long(&self) -> FaultKind {
        FaultKind::RecordTooLong { limit: self.splitter.max_record }
    }

    /// Refuses the line at the start of `window`; `false` when its end is still to come.
    fn refuse(&mut self, window: &[u8], kind: FaultKind, split: &mut Split) -> bool {
        let max_record = self.splitter.max_record;
        let newline = memchr(b'\n', window);
        if newline.is_none() && window.len() < max_record + 2 && !self.last {
            return false;
        }
        let line = &window[..newline.unwrap_or(window.len())];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let raw = self.at..self.at + line.len().min(max_record);
        split.faults.push(Fault { line: self.start.line, raw, kind });
        self.skip_refused_line();
        true
    }
}
