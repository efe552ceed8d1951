//! What watched files are like, and whether they have changed since something was made of them.
//!
//! The decision is apart from the looking: `Watch` sees no file and no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a file is like, as far as it takes to see that it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    /// It is not there.
    Absent,
    /// When it was written, and its size.
    File(Option<SystemTime>, u64),
    /// The names of the files in a folder.
    Folder(BTreeSet<PathBuf>),
}

/// Files and what they are like.
pub(super) type Stamps = BTreeMap<PathBuf, Stamp>;

/// Names of files that a pipeline may read end so; what else comes and goes in a folder, such as
/// the state and what editors leave, is nobody's business.
const ENDINGS: &[&str] = &["yaml", "yml", "csv", "gz", "zst", "zip", "parquet"];

/// Looks at files.
pub(super) fn stamps<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Stamps {
    files.into_iter().map(|file| (file.clone(), stamp(file))).collect()
}

fn stamp(file: &Path) -> Stamp {
    let Ok(metadata) = std::fs::metadata(file) else { return Stamp::Absent };
    if !metadata.is_dir() {
        return Stamp::File(metadata.modified().ok(), metadata.len());
    }
    let entries = std::fs::read_dir(file).into_iter().flatten().flatten();
    Stamp::Folder(entries.map(|entry| entry.path()).filter(|path| is_input(path)).collect())
}

fn is_input(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    !is_hidden && ENDINGS.contains(&ending.as_str())
}

/// Files that are looked at again and again.
#[derive(Debug)]
pub(super) struct Watch {
    /// What they were like when something was made of them.
    made: Stamps,
    /// What they were like at the last look.
    last: Stamps,
}

impl Watch {
    /// Begins with what files are like while something is made of them.
    pub(super) fn new(made: Stamps) -> Self {
        Self { last: made.clone(), made }
    }

    /// Returns the files that are watched.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.made.keys()
    }

    /// Takes a look; returns the files that changed since something was made of them, once they
    /// stand still: at two looks in a row they are the same. An editor writes in several steps.
    pub(super) fn look(&mut self, now: Stamps) -> Vec<PathBuf> {
        let is_still = now == self.last;
        self.last = now;
        if !is_still {
            return Vec::new();
        }
        let is_other = |(file, stamp): &(&PathBuf, &Stamp)| self.made.get(*file) != Some(*stamp);
        self.last.iter().filter(is_other).map(|(file, _)| file.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bytes: u64) -> Stamp {
        Stamp::File(Some(SystemTime::UNIX_EPOCH), bytes)
    }

    fn seen(stamps: [(&str, Stamp); 2]) -> Stamps {
        stamps.into_iter().map(|(file, stamp)| (PathBuf::from(file), stamp)).collect()
    }

    #[test]
    fn files_have_changed_when_they_are_other_and_stand_still() {
        let mut watch = Watch::new(seen([("a", at(1)), ("b", at(1))]));
        let mut look = |a, b| watch.look(seen([("a", a), ("b", b)]));
        assert_eq!(look(at(1), at(1)), [""; 0].map(PathBuf::from));
        assert_eq!(look(at(0), at(1)), [""; 0].map(PathBuf::from), "it is being written");
        assert_eq!(look(at(2), at(1)), [""; 0].map(PathBuf::from), "still");
        assert_eq!(look(at(2), at(1)), ["a"].map(PathBuf::from));
        assert_eq!(look(at(2), Stamp::Absent), [""; 0].map(PathBuf::from));
        assert_eq!(look(at(2), Stamp::Absent), ["a", "b"].map(PathBuf::from));
        // What is as it was needs nothing to be made again.
        assert_eq!(look(at(1), at(1)), [""; 0].map(PathBuf::from));
        assert_eq!(look(at(1), at(1)), [""; 0].map(PathBuf::from));
    }

    #[test]
    fn the_time_of_writing_tells_apart_what_has_one_size() {
        let later = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        let mut watch = Watch::new(seen([("a", at(1)), ("b", at(1))]));
        let now = || seen([("a", at(1)), ("b", Stamp::File(Some(later), 1))]);
        watch.look(now());
        assert_eq!(watch.look(now()), ["b"].map(PathBuf::from));
    }

    #[test]
    fn a_folder_changes_by_the_files_that_a_pipeline_may_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str| std::fs::write(folder.path().join(name), "").expect("written");
        let before = stamp(folder.path());
        for name in ["pipeline.db", "pipeline.db-wal", "p.yaml~", ".p.yaml.swp", "4913"] {
            write(name);
        }
        assert_eq!(stamp(folder.path()), before);
        write("new.csv");
        assert_ne!(stamp(folder.path()), before);
        assert_eq!(stamp(&folder.path().join("none")), Stamp::Absent);
    }
}
