//! One process at a time runs a pipeline on a state file.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The right to run a pipeline; given back when dropped, also by a crash.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says who holds it. The file beside the state (`<state>-<pipeline>.lock`)
    /// stays: removing it would let two processes lock two files of the same name.
    pub fn take(state: &Path, pipeline: &str) -> Result<Self> {
        let path = &file_of(state, pipeline);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(|e| Error::io(path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::external(format!(
                "another process is running `{pipeline}` on `{}`; wait until it ends",
                state.display()
            ))),
            Err(TryLockError::Error(error)) => Err(Error::io(path, error)),
        }
    }

    /// Says whether a process runs a pipeline now. Makes no file. A run that begins at this very
    /// moment could be refused: ask only when there are signs of one.
    pub fn is_held(state: &Path, pipeline: &str) -> bool {
        let Ok(file) = File::open(file_of(state, pipeline)) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}

fn file_of(state: &Path, pipeline: &str) -> PathBuf {
    let mut path = state.as_os_str().to_owned();
    path.push(format!("-{pipeline}.lock"));
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_held_by_one_at_a_time() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::io(Path::new("tmp"), e))?;
        let state = folder.path().join("state.db");
        assert!(!Lock::is_held(&state, "a"));
        let held = Lock::take(&state, "a")?;
        assert!(Lock::is_held(&state, "a"));
        Lock::take(&state, "b")?;
        let refused = Lock::take(&state, "a").err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused.contains("another process is running `a`"), "{refused}");
        drop(held);
        assert!(!Lock::is_held(&state, "a"));
        Lock::take(&state, "a").map(drop)
    }
}
