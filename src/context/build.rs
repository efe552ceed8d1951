//! What a component sees while it is made from its piece of the file.

use std::path::{Path, PathBuf};

use jiff::civil::Date;

use super::check_inside;
use crate::spec::{BatchSize, ChangedSince, Code, Diagnostic, Scope, Secret, Text};

/// What building may find out from the files of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// They have to be there: something is about to run.
    MustExist,
    /// They may be missing: something is checked.
    MayBeMissing,
    /// They are not looked at: something is tested.
    AreNotRead,
}

/// A row that a source refused, as a sink kept it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRow {
    /// The file that it came from; empty when that was not kept.
    pub file: String,
    /// Its line in that file.
    pub line: u64,
    /// Its text.
    pub raw: String,
}

/// Returns where an absolute path lies below another root.
pub fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// What a source knows of all that happened until a day: gaps of streams that end before are none
/// any more when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fills {
    /// The streams, as pipeline and source.
    pub streams: Vec<(String, String)>,
    /// The day.
    pub day: Date,
}

/// The surroundings of a component that is being built. Building reads no more than the first
/// lines of files that the pipeline names; mistakes are collected.
#[derive(Debug)]
pub struct BuildContext<'a> {
    /// What references in texts mean.
    pub scope: &'a Scope,
    /// What building may find out from files.
    pub files: Files,
    /// The folder that stands for the root of the file system, for everything that is written.
    pub root: Option<&'a Path>,
    /// The file that the source got from elsewhere.
    pub fetched: Option<&'a Path>,
    /// From where a source reads that reads only what changed.
    pub changed_since: Option<&'a ChangedSince>,
    /// How much of a stream is one batch.
    pub batch: BatchSize,
    /// Rows to be read in place of the source's files.
    pub kept: Option<&'a [KeptRow]>,
    /// What a source says that it fills.
    pub fills: Option<Fills>,
    /// Mistakes that were found.
    pub found: Vec<Diagnostic>,
}

impl<'a> BuildContext<'a> {
    /// Makes the surroundings of one component.
    pub fn new(scope: &'a Scope, files: Files) -> Self {
        Self {
            scope,
            files,
            root: None,
            fetched: None,
            changed_since: None,
            batch: BatchSize::default(),
            kept: None,
            fills: None,
            found: Vec::new(),
        }
    }

    /// Resolves a path; notes the mistake and returns `None` when it cannot.
    pub fn path(&mut self, text: &Text) -> Option<PathBuf> {
        let resolved = text.resolve_path(self.scope);
        let path = self.note_or(resolved)?;
        Some(self.root.map_or_else(|| path.clone(), |root| below(root, &path)))
    }

    /// Resolves a path to which something is written; notes when that may not be.
    pub fn output(&mut self, text: &Text) -> Option<PathBuf> {
        let resolved = text.resolve_path(self.scope);
        let path = self.note_or(resolved)?;
        let checked = check_inside(&path, text, self.scope);
        self.note_or(checked.map(Some))?;
        Some(self.root.map_or_else(|| path.clone(), |root| below(root, &path)))
    }

    /// Resolves a text; notes the mistake and returns `None` when it cannot.
    pub fn text(&mut self, text: &Text) -> Option<String> {
        let resolved = text.resolve(self.scope);
        self.note_or(resolved)
    }

    /// Reveals a secret, for the wire only; notes the mistake and returns `None` when it cannot. One
    /// that is not set is a mistake of a run alone: whoever checks or tests needs no secrets.
    pub fn secret(&mut self, secret: &Secret) -> Option<String> {
        match secret.reveal(self.scope) {
            Err(fault) if self.files != Files::MustExist && fault.code == Code::UnknownVariable => {
                Some(String::new())
            }
            revealed => self.note_or(revealed),
        }
    }

    fn note_or<T>(&mut self, resolved: Result<Option<T>, Diagnostic>) -> Option<T> {
        match resolved {
            // A variable without a value was noted when variables got theirs.
            Ok(value) => value,
            Err(fault) => {
                self.found.push(fault);
                None
            }
        }
    }
}
