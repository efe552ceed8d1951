//! Lines out of pieces that were cut anywhere.

/// A line of a feed, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Something is on it.
    Text(Vec<u8>),
    /// Nothing is on it: the server says that it is there.
    Heartbeat,
    /// It is longer than any may be: its first bytes.
    TooLong(Vec<u8>),
}

/// The longest line.
const LONGEST: usize = 4 << 20;
/// What is kept of a longer one.
const KEPT: usize = 64 << 10;

/// Takes pieces and gives lines. What is left of a line when a connection breaks is no line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
    /// Whether the line that has begun is too long already.
    is_skipping: bool,
}

impl Lines {
    /// Takes a piece and returns the lines that end in it.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut parts = piece.split(|&byte| byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            self.add(part);
            if parts.peek().is_some() {
                lines.push(self.end());
            }
        }
        lines
    }

    fn add(&mut self, part: &[u8]) {
        if self.is_skipping {
            return;
        }
        self.begun.extend_from_slice(part);
        if self.begun.len() > LONGEST {
            self.is_skipping = true;
            self.begun.truncate(KEPT);
            self.begun.shrink_to_fit();
        }
    }

    fn end(&mut self) -> Line {
        let line = std::mem::take(&mut self.begun);
        match std::mem::take(&mut self.is_skipping) {
            true => Line::TooLong(line),
            false if line.trim_ascii().is_empty() => Line::Heartbeat,
            false => Line::Text(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED: &[u8] = b"{\"a\":1}\n\n{\"b\":\"\xc3\xa9\"}\r\n \n{\"c\":3}\n{\"cut";

    fn lines(cuts: &[usize]) -> Vec<Line> {
        let mut lines = Lines::default();
        let mut from = 0;
        let ends = cuts.iter().copied().chain([FEED.len()]);
        ends.flat_map(|end| lines.push(&FEED[std::mem::replace(&mut from, end)..end])).collect()
    }

    #[test]
    fn gives_the_same_lines_however_they_are_cut() {
        let whole = lines(&[]);
        assert_eq!(whole.len(), 5);
        assert_eq!(whole[1], Line::Heartbeat);
        assert_eq!(whole[3], Line::Heartbeat);
        assert_eq!(whole[4], Line::Text(b"{\"c\":3}".to_vec()));
        for first in 0..FEED.len() {
            assert_eq!(lines(&[first]), whole, "{first}");
            for second in first..FEED.len() {
                assert_eq!(lines(&[first, second]), whole, "{first} {second}");
            }
        }
        assert_eq!(lines(&(0..FEED.len()).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn a_line_without_end_takes_no_more_than_a_line_may() {
        let mut lines = Lines::default();
        for _ in 0..64 {
            assert!(lines.push(&vec![b'x'; 1 << 20]).is_empty());
            assert!(lines.begun.capacity() <= 2 * LONGEST + (1 << 20));
        }
        let ended = lines.push(b"x\n{}\n");
        assert!(matches!(&ended[0], Line::TooLong(kept) if kept.len() == KEPT));
        assert_eq!(ended[1..], [Line::Text(b"{}".to_vec())]);
    }
}
