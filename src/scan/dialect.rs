//! The two bytes in which delimited formats differ. Line ends are not among them: LF and CRLF are
//! always accepted.

/// Names the delimiter and the quote of a file; a comma and a double quote by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The byte between two fields.
    pub delimiter: u8,
    /// The byte around a quoted field; without one every field is taken as it stands.
    pub quote: Option<u8>,
}

impl Dialect {
    /// Says whether the two bytes can be told from each other and from a line end, and are ASCII.
    ///
    /// Splitting with another dialect does not panic, but what it yields has no meaning.
    pub fn is_sound(&self) -> bool {
        let usable = |byte: u8| byte.is_ascii() && byte != b'\n' && byte != b'\r';
        usable(self.delimiter)
            && self.quote.is_none_or(|quote| usable(quote) && quote != self.delimiter)
    }
}

impl Default for Dialect {
    fn default() -> Self {
        Self { delimiter: b',', quote: Some(b'"') }
    }
}
