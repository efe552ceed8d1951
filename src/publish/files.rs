//! Files and folders that change places, durably: every rename is followed by a sync of the
//! folder that it moved into, or a power cut could undo it after the commit.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::failpoint;

/// Makes the bytes of a file durable.
pub fn sync_file(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|e| Error::io(path, e))
}

/// Makes the entries of a folder durable.
pub fn sync_folder(path: &Path) -> Result<()> {
    sync_file(path)
}

/// Makes the entries of a folder and of all folders below it durable. The bytes of files are made
/// durable by who writes them.
pub fn sync_folders(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        if path.is_dir() {
            sync_folders(&path)?;
        }
    }
    sync_folder(folder)
}

/// Makes it durable that something is gone: syncs the nearest folder above it that is still there.
pub(super) fn sync_removal(path: &Path) -> Result<()> {
    for folder in path.ancestors().skip(1) {
        match File::open(folder).and_then(|folder| folder.sync_all()) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            synced => return synced.map_err(|e| Error::io(folder, e)),
        }
    }
    Ok(())
}

/// Makes files and all folders above them durable, as far as they are there. What may not be
/// opened, or is on a file system that cannot be written to, was not changed by us.
pub(super) fn settle(paths: &[PathBuf]) -> Result<()> {
    use ErrorKind::{InvalidInput, NotFound, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    let all: BTreeSet<&Path> = paths.iter().flat_map(|path| path.ancestors()).collect();
    for path in all.into_iter().filter(|path| !path.as_os_str().is_empty()) {
        match File::open(path).and_then(|file| file.sync_all()) {
            Err(error)
                if matches!(
                    error.kind(),
                    NotFound | PermissionDenied | ReadOnlyFilesystem | InvalidInput | Unsupported
                ) => {}
            synced => synced.map_err(|e| Error::io(path, e))?,
        }
    }
    Ok(())
}

pub(super) fn replace_file(staged: &Path, target: &Path) -> Result<()> {
    let parent = make_parent(target)?;
    match fs::rename(staged, target) {
        Ok(()) => {}
        // A repetition after a crash: it is in place already.
        Err(error) if error.kind() == ErrorKind::NotFound && is_there(target)? => {}
        Err(error) => return Err(Error::io(target, error)),
    }
    failpoint::pass("publish.replaced")?;
    sync_folder(parent)?;
    failpoint::pass("publish.dir_synced")
}

pub(super) fn replace_folder(staged: &Path, target: &Path, witness: &Path) -> Result<()> {
    let parent = make_parent(target)?;
    if is_there(&staged.join(witness))? {
        if is_there(target)? {
            exchange(staged, target)?;
        } else {
            fs::rename(staged, target).map_err(|e| Error::io(target, e))?;
        }
    } else if !is_there(&target.join(witness))? {
        return Err(Error::external(format!(
            "`{}` was to be published and is neither staged nor in place",
            target.join(witness).display()
        )));
    }
    failpoint::pass("publish.replaced")?;
    // The other folder need not be synced: a journal has a rename whole, and without one a power
    // cut between two syncs could leave the new folder in both, for the sweep to empty.
    sync_folder(parent)?;
    failpoint::pass("publish.dir_synced")
}

pub(super) fn add_files(staged: &Path, target: &Path, files: &[PathBuf]) -> Result<()> {
    for file in files {
        replace_file(&staged.join(file), &target.join(file))?;
    }
    Ok(())
}

/// Swaps two folders at one stroke, so that a reader sees the old one or the new one, whole.
/// A file system that cannot (NFS, say) does it in two: the folder is missing for a moment.
fn exchange(staged: &Path, target: &Path) -> Result<()> {
    match renameat_with(CWD, staged, CWD, target, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            let old = staged.with_extension("old");
            fs::rename(target, &old).map_err(|e| Error::io(target, e))?;
            fs::rename(staged, target).map_err(|e| Error::io(target, e))
        }
        Err(error) => Err(Error::io(target, error.into())),
    }
}

/// Makes a folder and those above it, durably.
pub fn make_folder(folder: &Path) -> Result<()> {
    if is_there(folder)? {
        return Ok(());
    }
    let parent = make_parent(folder)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(Error::io(folder, error)),
        _ => sync_folder(parent),
    }
}

/// Makes the folders above a target, durably, and returns the one right above it.
fn make_parent(target: &Path) -> Result<&Path> {
    let parent = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(parent)?;
    Ok(parent)
}

fn is_there(path: &Path) -> Result<bool> {
    path.try_exists().map_err(|e| Error::io(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn replaces_a_folder_at_any_number_of_tries() -> Result<()> {
        let root = tempfile::tempdir().map_err(|e| Error::io(Path::new("tmp"), e))?;
        let (staged, target) = (root.path().join("s/new"), root.path().join("out/leads"));
        for run in ["run1", "run2"] {
            let witness = PathBuf::from(format!("part-{run}.txt"));
            fs::create_dir_all(&staged).map_err(|e| Error::io(&staged, e))?;
            fs::write(staged.join(&witness), run).map_err(|e| Error::io(&staged, e))?;
            for _ in 0..3 {
                replace_folder(&staged, &target, &witness)?;
                assert_eq!(read(&target.join(&witness)), run);
            }
        }
        assert!(!target.join("part-run1.txt").exists(), "the old files left with the old folder");
        Ok(())
    }

    #[test]
    fn says_when_what_was_staged_is_gone() -> Result<()> {
        let root = tempfile::tempdir().map_err(|e| Error::io(Path::new("tmp"), e))?;
        let (staged, target) = (root.path().join("s"), root.path().join("t"));
        let lost = replace_folder(&staged, &target, Path::new("w"));
        assert!(lost.is_err_and(|e| e.to_string().contains("neither staged nor in place")));
        assert!(replace_file(&staged, &target).is_err());
        Ok(())
    }

    #[test]
    fn adds_files_at_any_number_of_tries() -> Result<()> {
        let root = tempfile::tempdir().map_err(|e| Error::io(Path::new("tmp"), e))?;
        let (staged, target) = (root.path().join("s"), root.path().join("t"));
        fs::create_dir_all(staged.join("a=1")).map_err(|e| Error::io(&staged, e))?;
        let files = [PathBuf::from("a=1/x"), PathBuf::from("y")];
        for file in &files {
            fs::write(staged.join(file), "1").map_err(|e| Error::io(&staged, e))?;
        }
        add_files(&staged, &target, &files)?;
        add_files(&staged, &target, &files)?;
        assert_eq!(read(&target.join("a=1/x")) + &read(&target.join("y")), "11");
        Ok(())
    }
}
