//! The fast way through a block: while everything is regular, quotes alone tell where records and
//! fields end, 64 bytes at a time. At the first byte that is not, the slow way (`walk.rs`) takes
//! over for a record; it knows the rules.
//!
//! Regular means: outside of quotes a quote stands only where a field begins, what follows a
//! closing quote ends the field or doubles the quote, and a CR only comes before LF. Then a byte
//! is inside a field exactly if an odd number of quotes precedes it, which is one multiplication
//! for 64 bytes, and each delimiter and LF outside ends a field or a record.

use crate::masks::{self, Masks, Signs, WIDTH, Work};
use crate::split::{MASKED, Record};
use crate::walk::Walk;
use crate::{Fault, FaultKind, Split};

impl Walk<'_> {
    /// Takes all records up to the first that is not regular, or not finished by a line end.
    pub(crate) fn take_regular(&mut self, split: &mut Split) {
        let dialect = self.splitter.dialect;
        if !self.is_at_record() || self.at >= self.regular_end || !dialect.is_sound() {
            return;
        }
        let signs = Signs { quote: dialect.quote, delimiter: dialect.delimiter };
        split.delimiters.resize(self.block.len().div_ceil(WIDTH), 0);
        let regular = Regular { walk: self, split };
        #[cfg(any(test, fuzzing))]
        if PORTABLE.get() {
            return masks::portable(signs, regular);
        }
        masks::fastest(signs, regular);
    }
}

#[cfg(any(test, fuzzing))]
thread_local! {
    /// Lets a test run the portable way on a processor that has a faster one.
    pub(crate) static PORTABLE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

struct Regular<'w, 'b, 's> {
    walk: &'w mut Walk<'b>,
    split: &'s mut Split,
}

/// What the bytes before a word mean for it.
struct Carry {
    /// All ones inside a quoted field.
    inside: u64,
    /// The lowest bit: the byte before lets a quote open.
    opens: u64,
    /// The lowest bit: the byte before closed a quoted field, or began a doubled quote.
    closed: u64,
    /// The lowest bit: the byte before was a CR outside.
    returned: u64,
}

/// What a word holds outside of quotes.
struct Outside {
    delimiters: u64,
    newlines: u64,
    doubled: u64,
    /// Bytes that are not regular.
    bad: u64,
}

impl Carry {
    /// Reads the quotes of a word.
    #[inline(always)]
    fn over(&mut self, masks: Masks, prefix_xor: &impl Fn(u64) -> u64) -> Outside {
        let inside = prefix_xor(masks.quotes) ^ self.inside;
        let (opening, closing) = (masks.quotes & inside, masks.quotes & !inside);
        let delimiters = masks.delimiters & !inside;
        let newlines = masks.newlines & !inside;
        let returns = masks.returns & !inside;
        let after_closing = closing << 1 | self.closed;
        let may_open = (delimiters | newlines) << 1 | self.opens | after_closing;
        let after_return = returns << 1 | self.returned;
        let bad = opening & !may_open
            | after_closing & !(delimiters | newlines | returns | masks.quotes)
            | after_return & !newlines;
        *self = Self {
            inside: (inside.cast_signed() >> 63).cast_unsigned(),
            opens: (delimiters | newlines) >> 63,
            closed: closing >> 63,
            returned: returns >> 63,
        };
        Outside { delimiters, newlines, doubled: opening & after_closing, bad }
    }
}

impl Work for Regular<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self, masks: impl Fn(&[u8; WIDTH]) -> Masks, prefix_xor: impl Fn(u64) -> u64) {
        let Self { walk, split } = self;
        let block = walk.block;
        let (n_fields, end) = (walk.splitter.n_fields, walk.regular_end);
        let first = walk.at % WIDTH;
        let mut carry = Carry { inside: 0, opens: 1 << first, closed: 0, returned: 0 };
        let mut valid = !0 << first;
        let (mut n_delimiters, mut n_newlines, mut doubled) = (0, 0, 0);
        for word in walk.at / WIDTH..end.div_ceil(WIDTH) {
            let from = word * WIDTH;
            let mut seen = match block.get(from..from + WIDTH).and_then(|b| b.try_into().ok()) {
                Some(bytes) => masks(bytes),
                None => masks(&padded(&block[from..])),
            };
            if end - from < WIDTH {
                valid &= (1 << (end - from)) - 1;
            }
            seen.quotes &= valid;
            seen.delimiters &= valid;
            seen.newlines &= valid;
            seen.returns &= valid;
            let outside = carry.over(seen, &prefix_xor);
            if outside.bad != 0 {
                break;
            }
            // The bits of records before this one stay: they may share the word.
            split.delimiters[word] = split.delimiters[word] & !valid | outside.delimiters;
            let (mut delimiters, mut newlines) = (outside.delimiters, seen.newlines);
            let mut doubles = outside.doubled;
            let mut ends = outside.newlines;
            while ends != 0 {
                let bit = ends.trailing_zeros();
                ends &= ends - 1;
                // Shifted twice: by 64 at once is not defined.
                let before = (1 << bit) - 1;
                let up_to = before << 1 | 1;
                n_delimiters += (delimiters & before).count_ones();
                n_newlines += (newlines & up_to).count_ones();
                doubled |= doubles & before;
                (delimiters, newlines) = (delimiters & !up_to, newlines & !up_to);
                doubles &= !up_to;
                let newline = from + bit as usize;
                let ended = Ended { newline, n_delimiters, n_newlines, is_doubled: doubled != 0 };
                if !ended.record(walk, split, n_fields) {
                    return;
                }
                (n_delimiters, n_newlines, doubled) = (0, 0, 0);
            }
            n_delimiters += delimiters.count_ones();
            n_newlines += newlines.count_ones();
            doubled |= doubles;
            valid = !0;
        }
    }
}

/// What stands between the start of a record and the LF that ends it.
struct Ended {
    newline: usize,
    n_delimiters: u32,
    /// With the LF at its end.
    n_newlines: u32,
    is_doubled: bool,
}

impl Ended {
    /// Takes the record or refuses it; `false` when that needs the slow way.
    #[inline(always)]
    fn record(self, walk: &mut Walk<'_>, split: &mut Split, n_fields: usize) -> bool {
        let start = walk.at;
        let has_return = self.newline > start && walk.block[self.newline - 1] == b'\r';
        let len = self.newline - usize::from(has_return) - start;
        let found = self.n_delimiters as usize + 1;
        let line = walk.start.line;
        if len > walk.splitter.max_record || len > u32::MAX as usize {
            return false;
        }
        if found == n_fields && len > 0 {
            let (len, is_doubled) = (len as u32, self.is_doubled);
            split.records.push(Record { start, len, line, ends: MASKED, is_doubled });
        } else if self.n_newlines > 1 {
            // Only its first line is refused, and the others are read again.
            return false;
        } else if len > 0 {
            let kind = FaultKind::FieldCount { found, expected: n_fields };
            split.faults.push(Fault { line, raw: start..start + len, kind });
        }
        walk.at = self.newline + 1;
        walk.start.line += u64::from(self.n_newlines);
        true
    }
}

/// Fills up to 64 bytes with zeros, which mean nothing.
#[cold]
fn padded(bytes: &[u8]) -> [u8; WIDTH] {
    let mut padded = [0; WIDTH];
    padded[..bytes.len()].copy_from_slice(bytes);
    padded
}
