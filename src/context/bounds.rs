//! What a pipeline may read of its files, and where it may write: below the folder of its project,
//! unless the file says otherwise.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::spec::{Code, Diagnostic, Scope, Text};

/// Reads a text of at most a mebibyte, as files that people write are.
pub fn read_text(path: &Path) -> io::Result<String> {
    const MOST: u64 = 1 << 20;
    let mut text = String::new();
    File::open(path)?.take(MOST + 1).read_to_string(&mut text)?;
    match text.len() as u64 > MOST {
        true => Err(io::Error::other("it is larger than 1 MiB")),
        false => Ok(text),
    }
}

/// Returns the folder of the project of a pipeline file: the nearest one around it that holds
/// `.pipeline` or `.git`, or the folder of the file.
pub fn project_folder(file: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new("/"));
    let is_project =
        |folder: &&Path| folder.join(".pipeline").is_dir() || folder.join(".git").exists();
    folder.ancestors().find(is_project).unwrap_or(folder).to_owned()
}

/// Refuses a path to which a pipeline may not write: outside of its project by name, or by a link
/// on the way. What `--var` names is the user's own word.
pub fn check_inside(path: &Path, text: &Text, scope: &Scope) -> Result<(), Diagnostic> {
    let fault = |message: String| Diagnostic::error(Code::BadValue, message, text.at());
    if path.to_string_lossy().contains('\0') {
        return Err(fault("the path holds a NUL".to_owned()));
    }
    if scope.may_write_anywhere || scope.writable.is_empty() {
        return Ok(());
    }
    let outside = |path: &Path, what: &str| {
        let project = scope.writable.first().map(|folder| folder.display().to_string());
        let project = project.unwrap_or_default();
        fault(format!("`{}` {what} outside of the project `{project}`", path.display()))
            .help("write below it, or say `allow_outside: true` at the top of the file; a folder that `--var` gives to a variable of type `path` is fine too")
    };
    if !scope.writable.iter().any(|folder| path.starts_with(folder)) {
        return Err(outside(path, "is"));
    }
    let Some(real) = path.ancestors().find_map(|there| there.canonicalize().ok()) else {
        return Ok(());
    };
    let is_inside = |folder: &PathBuf| {
        // A folder that is not there yet will be where its nearest parent is.
        let there = folder.ancestors().find_map(|there| there.canonicalize().ok());
        there.is_some_and(|there| real.starts_with(there))
    };
    match scope.writable.iter().filter(|folder| path.starts_with(folder)).any(is_inside) {
        true => Ok(()),
        false => Err(outside(path, "leads by a link")),
    }
}
