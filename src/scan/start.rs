//! Where in its file a block begins. One small value instead of a line number and two flags, so
//! that a caller who passes on what the last block returned cannot get it wrong.

/// Says where in the file the first byte of a block stands.
///
/// The first block of a file is at [`Start::FILE`], each further one at the
/// [`Split::next_start`](crate::Split::next_start) of the block before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub(crate) line: u64,
    pub(crate) inside: Inside,
}

/// What surrounds the first byte of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inside {
    /// The start of the file, where a byte order mark may stand.
    File,
    /// The start of a physical line at which a record may begin.
    Record,
    /// The rest of a refused line that is longer than the longest record, to be skipped.
    RefusedLine,
}

impl Start {
    /// The start of a file: line 1, where a UTF-8 byte order mark is skipped.
    pub const FILE: Self = Self { line: 1, inside: Inside::File };

    /// Returns the start of a record on physical line `line`, counted from 1.
    pub const fn record(line: u64) -> Self {
        Self { line, inside: Inside::Record }
    }

    /// Returns the physical line of the block's first byte, counted from 1.
    pub const fn line(self) -> u64 {
        self.line
    }

    /// Returns the same start on another line: for a block whose line is not known yet.
    #[must_use]
    pub const fn on_line(self, line: u64) -> Self {
        Self { line, inside: self.inside }
    }

    /// Says whether a record may begin here, which is so after the line end of one.
    pub const fn is_record(self) -> bool {
        matches!(self.inside, Inside::Record)
    }
}

impl Default for Start {
    fn default() -> Self {
        Self::FILE
    }
}

impl From<u64> for Start {
    /// Returns the start of a record on that line, as [`Start::record`] does.
    fn from(line: u64) -> Self {
        Self::record(line)
    }
}
