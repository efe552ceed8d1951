//! Texts that wait to be parsed, a block of rows at a time.

/// Texts of some rows, of the columns that a [`RowBuilder`](super::RowBuilder) checks, all in one
/// place.
#[derive(Debug, Default)]
pub struct Texts {
    all: String,
    /// For each row, for each checked column, where its text is.
    bounds: Vec<(u32, u32)>,
    n_columns: usize,
    n_rows: usize,
    /// Where the text of the last row begins.
    row: usize,
}

impl Texts {
    pub(super) fn new(n_columns: usize) -> Self {
        Self { n_columns, ..Self::default() }
    }

    /// Begins a row; its fields are parts of `raw`, or texts of their own, or else empty.
    pub fn begin(&mut self, raw: &str) {
        self.row = self.all.len();
        self.all.push_str(raw);
        self.n_rows += 1;
        self.bounds.resize(self.n_rows * self.n_columns, (0, 0));
    }

    /// Says which part of the row's raw text is the field of a checked column, counted from 0.
    #[inline]
    pub fn put(&mut self, column: usize, from: usize, to: usize) {
        let at = (self.n_rows - 1) * self.n_columns + column;
        self.bounds[at] = ((self.row + from) as u32, (self.row + to) as u32);
    }

    /// Gives a checked column a text that the raw text does not hold.
    pub fn put_text(&mut self, column: usize, text: &str) {
        let from = self.all.len() - self.row;
        self.all.push_str(text);
        self.put(column, from, from + text.len());
    }

    /// Returns how many rows there are.
    pub fn len(&self) -> usize {
        self.n_rows
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.n_rows == 0
    }

    /// Forgets the rows, and keeps the memory.
    pub fn clear(&mut self) {
        self.all.clear();
        self.bounds.clear();
        self.n_rows = 0;
    }

    /// Says whether a checked column is empty in all rows, as many columns are.
    pub(super) fn is_blank(&self, column: usize) -> bool {
        let bounds = self.bounds.iter().skip(column).step_by(self.n_columns.max(1));
        bounds.into_iter().all(|(from, to)| from == to)
    }

    /// Returns the texts of a checked column, row by row.
    pub(super) fn of(&self, column: usize) -> impl Iterator<Item = &str> {
        let bounds = self.bounds.iter().skip(column).step_by(self.n_columns.max(1));
        bounds.map(|(from, to)| self.all.get(*from as usize..*to as usize).unwrap_or_default())
    }
}
