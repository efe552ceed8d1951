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
        let (block, end) = (walk.block, walk.regular_end);
        let (first, mut word) = (walk.at % WIDTH, walk.at / WIDTH);
        let carry = Carry { inside: 0, opens: 1 << first, closed: 0, returned: 0 };
        let mut pass = Pass { walk, split, carry, open: Open::default() };
        // The first word and the last one may be whole or not; those between are.
        let mut valid = !0 << first;
        while word < end.div_ceil(WIDTH) {
            let from = word * WIDTH;
            if end - from < WIDTH {
                valid &= (1 << (end - from)) - 1;
            }
            let seen = match block.get(from..from + WIDTH).and_then(|b| b.try_into().ok()) {
                Some(bytes) => masks(bytes),
                None => masks(&padded(&block[from..])),
            };
            if !pass.take(word, seen.only(valid), valid, &prefix_xor) {
                return;
            }
            valid = !0;
            word += 1;
            let whole = &block[word.min(end / WIDTH) * WIDTH..end / WIDTH * WIDTH];
            for bytes in whole.as_chunks().0 {
                if !pass.take(word, masks(bytes), !0, &prefix_xor) {
                    return;
                }
                word += 1;
            }
        }
    }
}

/// A way through the words of a block.
struct Pass<'w, 'b, 's> {
    walk: &'w mut Walk<'b>,
    split: &'s mut Split,
    carry: Carry,
    open: Open,
}

/// What was seen of the record in hand.
#[derive(Clone, Copy, Default)]
struct Open {
    n_delimiters: u32,
    n_newlines: u32,
    is_doubled: bool,
}

impl Pass<'_, '_, '_> {
    /// Takes the records that end in a word, of which the `valid` bytes count; `false` when the
    /// slow way has to go on.
    #[inline(always)]
    fn take(
        &mut self,
        word: usize,
        seen: Masks,
        valid: u64,
        prefix_xor: &impl Fn(u64) -> u64,
    ) -> bool {
        let outside = self.carry.over(seen, prefix_xor);
        if outside.bad != 0 {
            return false;
        }
        // The bits of records before this one stay: they may share the word.
        let known = &mut self.split.delimiters[word];
        *known = *known & !valid | outside.delimiters;
        let mut open = self.open;
        let (mut delimiters, mut newlines) = (outside.delimiters, seen.newlines);
        let (mut doubled, mut ends) = (outside.doubled, outside.newlines);
        while ends != 0 {
            let bit = ends.trailing_zeros();
            ends &= ends - 1;
            // Shifted twice: by 64 at once is not defined.
            let before = (1 << bit) - 1;
            let up_to = before << 1 | 1;
            open.n_delimiters += (delimiters & before).count_ones();
            open.n_newlines += (newlines & up_to).count_ones();
            open.is_doubled |= doubled & before != 0;
            (delimiters, newlines) = (delimiters & !up_to, newlines & !up_to);
            doubled &= !up_to;
            if !open.end(word * WIDTH + bit as usize, self.walk, self.split) {
                return false;
            }
            open = Open::default();
        }
        open.n_delimiters += delimiters.count_ones();
        open.n_newlines += newlines.count_ones();
        open.is_doubled |= doubled != 0;
        self.open = open;
        true
    }
}

impl Open {
    /// Takes the record that the LF at `newline` ends, or refuses it; `false` when that needs the
    /// slow way.
    #[inline(always)]
    fn end(self, newline: usize, walk: &mut Walk<'_>, split: &mut Split) -> bool {
        let (start, line) = (walk.at, walk.start.line);
        let has_return = newline > start && walk.block[newline - 1] == b'\r';
        let len = newline - usize::from(has_return) - start;
        let found = self.n_delimiters as usize + 1;
        let expected = walk.splitter.n_fields;
        if len > walk.splitter.max_record || len > u32::MAX as usize {
            return false;
        }
        if found == expected && len > 0 {
            let (len, is_doubled) = (len as u32, self.is_doubled);
            split.records.push(Record { start, len, line, ends: MASKED, is_doubled });
        } else if self.n_newlines > 1 {
            // Only its first line is refused, and the others are read again.
            return false;
        } else if len > 0 {
            let kind = FaultKind::FieldCount { found, expected };
            split.faults.push(Fault { line, raw: start..start + len, kind });
        }
        walk.at = newline + 1;
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
