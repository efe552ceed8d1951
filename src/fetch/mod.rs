//! Files from elsewhere, kept on disk: a download is resumed where it was cut, asked for again only
//! when it changed, and never seen before it is whole.
//!
//! `<name>.part` grows beside `<name>.part.json`, which says what it is a part of. When the last
//! byte has arrived and the file was looked through, it gets its name, and `<name>.fetched.json`
//! says where it is from. Each step can be cut off: the next fetch goes on from there.

mod download;
mod remote;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use download::fetch;
pub use remote::Http;

use crate::error::Result;

/// A file to get.
pub struct Wanted<'a> {
    /// Where it is.
    pub address: String,
    /// Where it is kept.
    pub path: PathBuf,
    /// Looks through the whole file before it gets its name; an error throws it away.
    pub check: &'a (dyn Fn(&Path) -> Result<()> + Sync),
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it came just now; otherwise it was there and is still the same.
    pub is_new: bool,
    /// What the user should know of it.
    pub warning: Option<String>,
}

/// How far a download is; shared with whoever shows it.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    size: AtomicU64,
}

impl Meter {
    /// Returns the bytes that are there, and those that there will be (0 when nobody said).
    pub fn now(&self) -> (u64, u64) {
        (self.0.bytes.load(Ordering::Relaxed), self.0.size.load(Ordering::Relaxed))
    }

    fn set(&self, bytes: u64, size: Option<u64>) {
        self.0.bytes.store(bytes, Ordering::Relaxed);
        self.0.size.store(size.unwrap_or(0), Ordering::Relaxed);
    }
}

/// Says whether a text is an address of something elsewhere.
pub fn is_address(text: &str) -> bool {
    text.contains("://")
}

/// Returns what an address begins with, if files are not got from there.
pub fn unknown_scheme(address: &str) -> Option<&str> {
    let (scheme, _) = address.split_once("://")?;
    let is_known = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    (!is_known).then_some(scheme)
}

/// Returns the name under which a file of an address is kept: the last piece of its path, without
/// anything that could lead out of a folder.
pub fn file_name(address: &str) -> String {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let last = path.split_once('/').and_then(|(_, path)| path.rsplit('/').next());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String =
        last.unwrap_or_default().chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    match name.trim_start_matches('.') {
        "" => "download".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_files_so_that_they_stay_in_their_folder() {
        for (address, name) in [
            ("https://example.org/a/register-2026-11-01.zip", "register-2026-11-01.zip"),
            ("https://example.org/a/b.csv?key=1#x", "b.csv"),
            ("https://example.org", "download"),
            ("https://example.org/", "download"),
            ("https://example.org/..", "download"),
            ("https://example.org/a/..%2f..%2fetc", "_2f.._2fetc"),
            ("https://example.org/.ssh\\x", "ssh_x"),
        ] {
            assert_eq!(file_name(address), name, "{address}");
        }
    }
}
