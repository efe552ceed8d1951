//! What a component sees while it is made from its piece of the file.

use std::path::PathBuf;

use crate::spec::{Diagnostic, Scope, Text};

/// The surroundings of a component that is being built. Building reads no more than the first
/// lines of files that the pipeline names; mistakes are collected.
#[derive(Debug)]
pub struct BuildContext<'a> {
    /// What references in texts mean.
    pub scope: &'a Scope,
    /// Whether the files of sources have to be there: `run` needs them, `check` does not.
    pub files_must_exist: bool,
    /// Mistakes that were found.
    pub found: Vec<Diagnostic>,
}

impl<'a> BuildContext<'a> {
    /// Makes the surroundings of one component.
    pub fn new(scope: &'a Scope, files_must_exist: bool) -> Self {
        Self { scope, files_must_exist, found: Vec::new() }
    }

    /// Resolves a path; notes the mistake and returns `None` when it cannot.
    pub fn path(&mut self, text: &Text) -> Option<PathBuf> {
        let resolved = text.resolve_path(self.scope);
        self.note_or(resolved)
    }

    /// Resolves a text; notes the mistake and returns `None` when it cannot.
    pub fn text(&mut self, text: &Text) -> Option<String> {
        let resolved = text.resolve(self.scope);
        self.note_or(resolved)
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
