//! One field of an accepted record, still in the block it was read from. Copying happens only
//! where a doubled quote makes it unavoidable.

use std::borrow::Cow;

/// Borrows one field of an accepted record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub(crate) bytes: &'a [u8],
    /// Where in the block they begin.
    pub(crate) at: usize,
    pub(crate) quoted: bool,
    /// The quote, if it is doubled anywhere in the bytes.
    pub(crate) doubled: Option<u8>,
}

impl<'a> Field<'a> {
    /// Returns the bytes as they stand in the file, without the quotes around them; a doubled
    /// quote is still doubled.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns where in the block that it was read from its [`bytes`](Self::bytes) begin.
    #[inline]
    pub fn start(&self) -> usize {
        self.at
    }

    /// Says whether the field was quoted, which tells `""` from nothing at all.
    pub fn is_quoted(&self) -> bool {
        self.quoted
    }

    /// Says whether [`bytes`](Self::bytes) holds doubled quotes, so is not yet the value.
    #[inline]
    pub fn has_doubled_quotes(&self) -> bool {
        self.doubled.is_some()
    }

    /// Returns the value: the bytes with each doubled quote made one.
    #[inline]
    pub fn unescaped(&self) -> Cow<'a, [u8]> {
        match self.doubled {
            None => Cow::Borrowed(self.bytes),
            Some(_) => Cow::Owned(self.copied()),
        }
    }

    #[cold]
    fn copied(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(self.bytes.len());
        self.append_to(&mut value);
        value
    }

    /// Appends the value to `out`, so that a column can be gathered without an allocation a field.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let mut rest = self.bytes;
        if let Some(quote) = self.doubled {
            // Inside an accepted field quotes only come in pairs: keep the first, drop the second.
            while let Some(first) = memchr::memchr(quote, rest) {
                out.extend_from_slice(&rest[..=first]);
                rest = rest.get(first + 2..).unwrap_or_default();
            }
        }
        out.extend_from_slice(rest);
    }
}
