//! A file in pieces that are read at the same time. A piece is some megabytes of whole lines; its
//! first line is taken for the start of a record. That is wrong only where a quoted field runs
//! over the end of a line just there, and is noticed when the piece before it has been read.
//!
//! A plain file is cut by position, and each piece is read by whoever works on it. What is packed
//! is unpacked by one thread while others work on what is there.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use memchr::{memchr, memrchr};

/// How files are cut, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// A block of a plain file, which is read at a time and split.
    pub block: usize,
    /// A piece of a plain file, give or take a line.
    pub piece: usize,
    /// The same of what is unpacked: it waits in memory until somebody has time for it.
    pub unpacked: usize,
    /// A line that goes on for longer is cut anywhere: its record is too long in any case.
    pub most_line: usize,
}

impl Cut {
    /// A block stays in the processor's cache; a piece is some 17,000 rows of the register.
    pub(super) const USUAL: Self = Self {
        block: 512 << 10,
        piece: 8 << 20,
        unpacked: 4 << 20,
        most_line: scan::DEFAULT_MAX_RECORD + 2,
    };
}

/// Room before a block for what the one before did not finish: most records are shorter.
const ROOM: usize = 64 << 10;
/// Buffers begin at a page, as blocks of a file do: the kernel copies four times as fast.
const PAGE: usize = 4096;

/// A piece of a file.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// Of a plain file: the lines that begin after the first line end at or after `from`, or
    /// exactly there, up to the first line end at or after `to`.
    Lines { file: Arc<File>, from: u64, is_exact: bool, to: u64, size: u64, cut: Cut },
    /// Unpacked bytes.
    Bytes { bytes: Arc<Bytes>, is_last: bool, cut: Cut },
}

impl Piece {
    /// Makes the only piece of bytes that are there.
    pub(super) fn whole(bytes: Vec<u8>) -> Self {
        Self::Bytes { bytes: Arc::new(bytes.into()), is_last: true, cut: Cut::USUAL }
    }

    /// Cuts a plain file of `size` bytes into pieces from the record at `from` on.
    pub(super) fn of_file(
        file: File,
        from: u64,
        size: u64,
        cut: Cut,
    ) -> impl Iterator<Item = Self> + Send {
        let file = Arc::new(file);
        let piece = cut.piece as u64;
        let n_pieces = size.saturating_sub(from).div_ceil(piece).max(1);
        (0..n_pieces).map(move |n| {
            let (from, to) = (from + n * piece, (from + (n + 1) * piece).min(size));
            Self::Lines { file: Arc::clone(&file), from, is_exact: n == 0, to, size, cut }
        })
    }

    /// Returns the piece from an exact position on; `rest` are the bytes before it that the piece
    /// before could not finish.
    pub(super) fn from(&self, position: u64, rest: &[u8]) -> Self {
        let mut piece = self.clone();
        match &mut piece {
            Self::Lines { from, is_exact, .. } => (*from, *is_exact) = (position, true),
            Self::Bytes { bytes, .. } => {
                *bytes = Arc::new([rest, &***bytes].concat().into());
            }
        }
        piece
    }

    /// Begins to read it. `progress` counts the bytes of a plain file, `buffer` is what the
    /// [`Blocks`] of another piece gave back.
    pub(super) fn open(&self, progress: &Arc<AtomicU64>, buffer: Vec<u8>) -> io::Result<Blocks> {
        match self {
            Self::Bytes { bytes, is_last, cut } => {
                let (bytes, block) = (Arc::clone(bytes), cut.block);
                Ok(Blocks::Bytes { bytes, at: 0, to: 0, is_last: *is_last, block, buffer })
            }
            Self::Lines { file, from, is_exact, to, size, cut } => {
                let mut lines = Lines {
                    file: Arc::clone(file),
                    size: *size,
                    next: *from,
                    end: *size,
                    buffer,
                    base: 0,
                    kept: 0..0,
                    cut: *cut,
                    progress: Arc::clone(progress),
                };
                lines.end = if *to >= *size { *size } else { lines.after_line_end(*to)? };
                let begin = if *is_exact { *from } else { lines.after_line_end(*from)? };
                lines.settle();
                lines.next = begin.min(lines.end);
                Ok(Blocks::Lines(lines))
            }
        }
    }
}

/// The blocks of a piece, one after the other.
pub(super) enum Blocks {
    /// Of a plain file.
    Lines(Lines),
    /// Of bytes that are there.
    Bytes { bytes: Arc<Bytes>, at: usize, to: usize, is_last: bool, block: usize, buffer: Vec<u8> },
}

impl Blocks {
    /// Returns the next block: what is left of the last one after `consumed` bytes of it, and the
    /// bytes that follow; and whether the file ends with it. `None` when nothing follows.
    pub(super) fn next(&mut self, consumed: usize) -> io::Result<Option<(&[u8], bool)>> {
        match self {
            Self::Lines(lines) => lines.next(consumed),
            Self::Bytes { bytes, at, to, is_last, block, .. } => {
                *at += consumed;
                if *to == bytes.len() {
                    return Ok(None);
                }
                *to = (*to + *block).min(bytes.len());
                Ok(Some((&bytes[*at..*to], *is_last && *to == bytes.len())))
            }
        }
    }

    /// Returns the position in the file of the first byte that was not consumed.
    pub(super) fn position(&self) -> u64 {
        match self {
            Self::Lines(lines) => lines.position(),
            Self::Bytes { at, .. } => *at as u64,
        }
    }

    /// Gives back the buffer that it was opened with, or a larger one.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        match self {
            Self::Lines(lines) => lines.buffer,
            Self::Bytes { buffer, .. } => buffer,
        }
    }

    /// Returns the bytes that were not consumed, for the next piece.
    pub(super) fn rest(&self) -> &[u8] {
        match self {
            Self::Lines(_) => &[],
            Self::Bytes { bytes, at, .. } => &bytes[*at..],
        }
    }
}

/// Blocks of a plain file. What was not consumed is put before the next block, so that this
/// begins at a page of the buffer as it does in the file.
pub(super) struct Lines {
    file: Arc<File>,
    size: u64,
    /// Where in the file the next block begins.
    next: u64,
    /// Where in the file the piece ends.
    end: u64,
    buffer: Vec<u8>,
    /// Where in the buffer the page of a block's first byte begins.
    base: usize,
    /// Where in the buffer the bytes are that were not consumed.
    kept: Range<usize>,
    cut: Cut,
    progress: Arc<AtomicU64>,
}

impl Lines {
    /// Finds the byte after the first line end at or after a position.
    fn after_line_end(&self, from: u64) -> io::Result<u64> {
        let mut bytes = [0; PAGE];
        let mut at = from;
        let most = from + self.cut.most_line as u64;
        loop {
            let n = self.file.read_at(&mut bytes, at)?;
            match memchr(b'\n', &bytes[..n]) {
                Some(newline) => return Ok((at + newline as u64 + 1).min(self.size)),
                None if n == 0 => return Ok(self.size),
                None if at >= most => return Ok(most.min(self.size)),
                None => at += n as u64,
            }
        }
    }

    fn next(&mut self, consumed: usize) -> io::Result<Option<(&[u8], bool)>> {
        self.kept.start += consumed;
        if self.next == self.end {
            return Ok(None);
        }
        if self.kept.len() > self.base || self.base == 0 {
            self.grow();
        }
        let block = self.cut.block as u64;
        let into = self.base + (self.next % PAGE as u64) as usize;
        let n_kept = self.kept.len();
        self.buffer.copy_within(self.kept.clone(), into - n_kept);
        let n = (self.end - self.next).min(block - self.next % block) as usize;
        self.file.read_exact_at(&mut self.buffer[into..into + n], self.next)?;
        self.progress.fetch_add(n as u64, Ordering::Relaxed);
        self.next += n as u64;
        self.kept = into - n_kept..into + n;
        Ok(Some((&self.buffer[self.kept.clone()], self.next == self.size)))
    }

    /// Finds the place of a block in the buffer that it was given, if this is large enough.
    fn settle(&mut self) {
        if self.buffer.len() >= ROOM + self.cut.block + 2 * PAGE {
            self.base = self.buffer.len() - self.cut.block - 2 * PAGE;
            self.base += self.buffer[self.base..].as_ptr().align_offset(PAGE) % PAGE;
            self.kept = self.base..self.base;
        }
    }

    /// Takes a buffer with more room for what is kept before a block.
    fn grow(&mut self) {
        let n_kept = self.kept.len();
        let room = (2 * n_kept).next_multiple_of(PAGE).max(ROOM);
        let mut buffer = vec![0; room + self.cut.block + 2 * PAGE];
        buffer[..n_kept].copy_from_slice(&self.buffer[self.kept.clone()]);
        self.base = room + buffer[room..].as_ptr().align_offset(PAGE) % PAGE;
        self.kept = 0..n_kept;
        self.buffer = buffer;
    }

    fn position(&self) -> u64 {
        self.next - self.kept.len() as u64
    }
}

/// Bytes whose memory is used again: warm memory is written to faster than new one.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    all: Vec<u8>,
    /// How many of them count.
    len: usize,
    /// Where the memory goes.
    spare: Weak<Mutex<Vec<Vec<u8>>>>,
}

impl From<Vec<u8>> for Bytes {
    fn from(all: Vec<u8>) -> Self {
        Self { len: all.len(), all, spare: Weak::new() }
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.all[..self.len]
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if let Some(spare) = self.spare.upgrade() {
            let all = std::mem::take(&mut self.all);
            spare.lock().unwrap_or_else(PoisonError::into_inner).push(all);
        }
    }
}

/// Reads bytes to their end in pieces of whole lines, and hands each on until `take` says no more.
pub(super) fn unpack(
    mut reader: impl Read,
    cut: Cut,
    mut take: impl FnMut(Piece) -> bool,
) -> io::Result<()> {
    let spare: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let another = || spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
    let (mut all, mut len) = (another(), 0);
    loop {
        let wanted = cut.unpacked.max(len + cut.block);
        if all.len() < wanted {
            all.resize(wanted, 0);
        }
        let mut is_last = false;
        while len < wanted && !is_last {
            match reader.read(&mut all[len..wanted]) {
                Ok(n) => (len, is_last) = (len + n, n == 0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let end = match memrchr(b'\n', &all[..len]) {
            _ if is_last => len,
            Some(newline) => newline + 1,
            None if len < cut.most_line => continue,
            None => len,
        };
        let mut next = another();
        if next.len() < len - end {
            next.resize(cut.unpacked.max(len - end), 0);
        }
        next[..len - end].copy_from_slice(&all[end..len]);
        let all = std::mem::replace(&mut all, next);
        let bytes = Arc::new(Bytes { all, len: end, spare: Arc::downgrade(&spare) });
        len -= end;
        if !take(Piece::Bytes { bytes, is_last, cut }) || is_last {
            return Ok(());
        }
    }
}
