//! Splits delimited bytes (CSV and its relatives) into records and fields, exactly, and reports
//! every broken record. It knows bytes only: no I/O, no character sets, no types, no columns by
//! name. A caller reads blocks, hands them to a [`Splitter`], and carries the bytes that a block
//! did not finish over to the next one.
//!
//! ```
//! use scan::{Dialect, Split, Splitter, Start};
//!
//! let file = b"name,town\n\"Acme \"\"A\"\"\",Leeds\nbroken\n";
//! let header = Splitter::header(Dialect::default(), file, true).unwrap().unwrap();
//! let rest = &file[header.consumed..];
//! let splitter = Splitter::new(Dialect::default(), header.fields.len());
//! let mut split = Split::default();
//! splitter.split(rest, header.next_start, true, &mut split);
//! assert_eq!(&*split.field(rest, 0, 0).unescaped(), b"Acme \"A\"");
//! assert_eq!(split.faults()[0].to_string(), "line 3: found 1 field, expected 2");
//! ```
//!
//! # The format
//!
//! The rules are those of Python's `csv.reader(strict=True)`, over lines that end in LF (Python
//! alone lets several CRs stand before one):
//!
//! - A record ends at LF or CRLF, also mixed in one file, or at the end of input. A lone CR at the
//!   end of input is a line end too. Blank lines at the start of a record are skipped.
//! - A field is quoted only if the quote is its very first byte. Inside, a doubled quote is one
//!   quote, and delimiter, CR and LF are data. After the closing quote only a delimiter or the end
//!   of the record may follow. There are no backslash escapes and no trimmed spaces.
//! - In an unquoted field a quote is data, and a CR that is not part of a line end is a fault.
//! - A UTF-8 byte order mark is skipped at [`Start::FILE`] and is data everywhere else.
//!
//! # Invariants
//!
//! 1. *Nothing is lost*: every byte up to [`Split::consumed`] belongs to exactly one accepted
//!    record, refused line, blank line, line end or the byte order mark.
//! 2. *A broken record never swallows a good one*: a fault refuses the first physical line of its
//!    record and nothing else; splitting resumes at the next physical line. This is where Python
//!    differs: it drops or joins the lines that the broken record ran through.
//! 3. *Blocks do not matter*: a file split in one block, or in any sequence of blocks with
//!    the unfinished bytes carried over and [`Split::next_start`] passed on, has the same records,
//!    lines and faults. Nothing is decided on bytes that were not yet seen.
//! 4. *Every accepted record has exactly the expected number of fields* and is at most
//!    [`Splitter::max_record`] bytes long without its line end.
//! 5. *Memory is bounded*: at most `max_record + 1` bytes of a block stay unfinished (or the first
//!    two of a byte order mark), also if the file holds no line end at all.
//! 6. *Lines are physical*: LF bytes count lines, whatever is quoted, and the line of a record or
//!    fault is that of its first byte.
//! 7. *No input panics.* Only an index out of range does, as in a slice.
//!
//! Time is linear in the input but for one case: a broken record that runs over many lines is read
//! up to its fault, and its second line is then read again. A file in which every line starts such
//! a record (each is `a","b`, say) costs up to `max_record` bytes of reading a line.

#![deny(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]
#![cfg_attr(not(any(test, fuzzing)), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod dialect;
mod fault;
mod field;
#[allow(unsafe_code)]
mod masks;
mod record;
mod regular;
mod split;
mod splitter;
mod start;
mod walk;

#[cfg(test)]
mod properties;
#[cfg(any(test, fuzzing))]
pub mod reference;
#[cfg(test)]
mod tests;

pub use dialect::Dialect;
pub use fault::{Fault, FaultKind, Place};
pub use field::Field;
pub use split::{Fields, Split};
pub use splitter::{DEFAULT_MAX_RECORD, Header, Splitter};
pub use start::Start;
