//! Files to read, whatever they are packed in: plain, gzip, zstd, members of a zip, standard
//! input. Nothing is unpacked to disk.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// One stream of bytes: a file, or a member of a zip archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The file; `-` is standard input.
    pub path: PathBuf,
    /// The member of the archive.
    pub member: Option<String>,
    /// How it is packed.
    packing: Packing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
    Zip,
}

impl Packing {
    /// Tells it by the ending of a name.
    fn of(path: &Path) -> Self {
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            Some("gz" | "gzip") => Self::Gzip,
            Some("zst" | "zstd") => Self::Zstd,
            Some("zip") => Self::Zip,
            _ => Self::Plain,
        }
    }
}

impl Part {
    /// Returns the part of a name in rejects, whether it is still there or not.
    pub(super) fn named(name: &str) -> Self {
        let (path, member) = match name.split_once(".zip!") {
            Some((archive, member)) => (format!("{archive}.zip"), Some(member.to_owned())),
            None => (name.to_owned(), None),
        };
        let path = PathBuf::from(path);
        let packing = if member.is_some() { Packing::Zip } else { Packing::of(&path) };
        Self { path, member, packing }
    }

    /// Returns its name in rejects and reports: the file, or `archive.zip!member.csv`.
    pub(super) fn name(&self) -> String {
        match &self.member {
            Some(member) => format!("{}!{member}", self.path.display()),
            None => self.path.display().to_string(),
        }
    }

    /// Returns the name of the innermost file, without folders.
    pub(super) fn file_name(&self) -> String {
        let path = self.member.as_deref().map_or(self.path.as_path(), Path::new);
        path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Says whether it is standard input, which can be read once.
    pub(super) fn is_stdin(&self) -> bool {
        self.path == Path::new("-")
    }

    /// Returns up to `most` bytes from the beginning, and whether those are all. They are read
    /// again by [`Part::read`], also from standard input.
    pub(super) fn start(&self, most: usize) -> Result<(Vec<u8>, bool)> {
        let mut start = Vec::new();
        self.read(Arc::default(), |reader| {
            let mut limited = reader.take(most as u64);
            limited.read_to_end(&mut start).map_err(|e| Error::io(&self.path, e))?;
            Ok(())
        })?;
        if self.is_stdin() {
            read_ahead().clone_from(&start);
        }
        let is_all = start.len() < most;
        Ok((start, is_all))
    }

    /// Returns the bytes of the file on disk, if they are known.
    pub(super) fn size(&self) -> Option<u64> {
        std::fs::metadata(&self.path).ok().filter(std::fs::Metadata::is_file).map(|m| m.len())
    }

    /// Says that it cannot be read to its end.
    pub(super) fn cut_short(&self, error: io::Error) -> Error {
        Error::external(format!("`{}` cannot be read to its end", self.name())).because(error)
    }

    /// Opens a plain file that can be read at any position, with its size; `None` for anything else.
    pub(super) fn open_plain(&self) -> Result<Option<(File, u64)>> {
        if self.packing != Packing::Plain || self.is_stdin() || self.size().is_none() {
            return Ok(None);
        }
        let file = File::open(&self.path).map_err(|e| Error::io(&self.path, e))?;
        let size = file.metadata().map_err(|e| Error::io(&self.path, e))?.len();
        Ok(Some((file, size)))
    }

    /// Hands a reader of the unpacked bytes to `work`. `progress` counts bytes of the file on disk.
    pub(super) fn read<T>(
        &self,
        progress: Arc<AtomicU64>,
        work: impl FnOnce(&mut dyn Read) -> Result<T>,
    ) -> Result<T> {
        if self.is_stdin() {
            let ahead = std::mem::take(&mut *read_ahead());
            let inner = io::Cursor::new(ahead).chain(io::stdin().lock());
            return work(&mut Counted { inner, progress });
        }
        let file = File::open(&self.path).map_err(|e| Error::io(&self.path, e))?;
        let mut counted = Counted { inner: file, progress };
        match self.packing {
            Packing::Plain => work(&mut counted),
            Packing::Gzip => {
                let decoder = flate2::read::MultiGzDecoder::new(counted);
                work(&mut Bounded::new(decoder, self.size().unwrap_or(0)))
            }
            Packing::Zstd => {
                let decoder = zstd::Decoder::new(counted).map_err(|e| Error::io(&self.path, e))?;
                work(&mut Bounded::new(decoder, self.size().unwrap_or(0)))
            }
            Packing::Zip => {
                // The central directory is found by seeking, which must not count as progress.
                let mut archive =
                    zip::ZipArchive::new(counted.inner).map_err(|e| not_a_zip(&self.path, e))?;
                let name = self.member.as_deref().unwrap_or_default();
                let mut member = archive.by_name(name).map_err(|e| not_a_zip(&self.path, e))?;
                let n_packed = member.compressed_size();
                let packed = n_packed as f64 / member.size().max(1) as f64;
                let inner = Bounded::new(&mut member, n_packed);
                work(&mut Scaled { inner, progress: counted.progress, packed })
            }
        }
    }
}

/// What was read from standard input to learn its columns, and is still to be read as rows.
fn read_ahead() -> MutexGuard<'static, Vec<u8>> {
    static AHEAD: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    AHEAD.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Counted<R> {
    inner: R,
    progress: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.progress.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Counts unpacked bytes of an archive's member as the packed bytes that they stand for.
struct Scaled<R> {
    inner: R,
    progress: Arc<AtomicU64>,
    packed: f64,
}

impl<R: Read> Read for Scaled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.progress.fetch_add((n as f64 * self.packed) as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Refuses what unpacks to far more than any table does.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R> Bounded<R> {
    /// Small files may unpack to anything; the register unpacks to 5.4 times its size.
    fn new(inner: R, n_packed: u64) -> Self {
        const HARMLESS: u64 = 64 << 20;
        const RATIO: u64 = 200;
        const MOST: u64 = 16 << 30;
        Self { inner, left: n_packed.saturating_mul(RATIO).clamp(HARMLESS, MOST) }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            io::Error::other("it unpacks to more than 200 times its size, or 16 GiB: unpack it yourself if that is right")
        })?;
        Ok(n)
    }
}

/// Reads a downloaded archive to its end, which checks the sums of its members.
pub(super) fn check_whole(path: &Path, name: &str) -> Result<()> {
    if !name.to_lowercase().ends_with(".zip") {
        return Ok(());
    }
    for part in members(path, &|_| true)? {
        part.read(Arc::default(), |reader| {
            let read = io::copy(reader, &mut io::sink());
            read.map(drop).map_err(|e| Error::external(part.name()).because(e))
        })?;
    }
    Ok(())
}

/// Finds the parts that a path means: standard input (`-`), a file, the files of a glob in the
/// order of their names, and of each archive the members that `is_wanted`.
pub(super) fn find(path: &Path, is_wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Part>> {
    if path.file_name().is_some_and(|name| name == "-") {
        let path = PathBuf::from("-");
        return Ok(vec![Part { path, member: None, packing: Packing::Plain }]);
    }
    let mut parts = Vec::new();
    for file in files(path)? {
        match Packing::of(&file) {
            Packing::Zip => parts.extend(members(&file, is_wanted)?),
            packing => parts.push(Part { path: file, member: None, packing }),
        }
    }
    Ok(parts)
}

/// Says whether a member of an archive is a table: `*.csv`, and no dot-file of a Mac.
pub(super) fn is_table(member: &str) -> bool {
    let name = member.rsplit('/').next().unwrap_or_default();
    !member.starts_with("__MACOSX/")
        && !name.starts_with('.')
        && name.to_lowercase().ends_with(".csv")
}

fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let pattern = path.to_string_lossy();
    if !pattern.contains(['*', '?', '[']) {
        let reason = if path.is_dir() { "is a folder" } else { "does not exist" };
        return Err(Error::user(format!("`{pattern}` {reason}")));
    }
    let found =
        glob::glob(&pattern).map_err(|e| Error::user(format!("`{pattern}` is not a glob: {e}")))?;
    let mut files: Vec<PathBuf> =
        found.filter_map(std::result::Result::ok).filter(|p| p.is_file()).collect();
    if files.is_empty() {
        return Err(Error::user(format!("no file matches `{pattern}`")));
    }
    files.sort();
    Ok(files)
}

fn members(path: &Path, is_wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Part>> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let archive = zip::ZipArchive::new(file).map_err(|e| not_a_zip(path, e))?;
    let mut all = Vec::new();
    for name in archive.file_names() {
        all.push(name.map_err(|e| not_a_zip(path, e))?.into_owned());
    }
    let mut names: Vec<String> = all.iter().filter(|name| is_wanted(name)).cloned().collect();
    names.sort();
    if names.is_empty() {
        let all = crate::spec::list(all.iter().map(String::as_str));
        let message = format!("`{}` holds no member to read; it holds {all}", path.display());
        return Err(Error::user(message));
    }
    let part = |name| Part { path: path.to_owned(), member: Some(name), packing: Packing::Zip };
    Ok(names.into_iter().map(part).collect())
}

fn not_a_zip(path: &Path, error: zip::result::ZipError) -> Error {
    Error::user(format!("`{}` is not a readable zip archive", path.display())).because(error)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn text(part: &Part) -> Result<String> {
        part.read(Arc::default(), |reader| {
            let mut text = String::new();
            reader.read_to_string(&mut text).map_err(|e| Error::io(&part.path, e))?;
            Ok(text)
        })
    }

    fn pack(path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        match path.extension().and_then(|e| e.to_str()) {
            Some("gz") => {
                let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
                gz.write_all(b"a\n")?;
                gz.finish().map(drop)
            }
            Some("zst") => zstd::stream::copy_encode(&b"a\n"[..], file, 1),
            Some("zip") => {
                let mut zip = zip::ZipWriter::new(file);
                for name in ["b.csv", "a.csv", "__MACOSX/._a.csv", "notes.txt"] {
                    zip.start_file(name, zip::write::SimpleFileOptions::default())?;
                    zip.write_all(b"a\n")?;
                }
                zip.finish().map(drop).map_err(io::Error::other)
            }
            _ => (&file).write_all(b"a\n"),
        }
    }

    #[test]
    fn reads_every_packing_and_skips_junk_members() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::io(Path::new("tmp"), e))?;
        for name in ["1.csv", "2.csv.gz", "3.csv.zst", "4.zip"] {
            let path = folder.path().join(name);
            pack(&path).map_err(|e| Error::io(&path, e))?;
        }
        let parts = find(&folder.path().join("*"), &is_table)?;
        let names: Vec<String> = parts.iter().map(Part::file_name).collect();
        assert_eq!(names, ["1.csv", "2.csv.gz", "3.csv.zst", "a.csv", "b.csv"]);
        for part in &parts {
            assert_eq!(text(part)?, "a\n", "{}", part.name());
        }
        Ok(())
    }

    #[test]
    fn says_what_is_wrong_with_a_path() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::io(Path::new("tmp"), e))?;
        let bad = folder.path().join("bad.zip");
        std::fs::write(&bad, "PK?").map_err(|e| Error::io(&bad, e))?;
        for (path, words) in [
            (folder.path().join("none.csv"), "does not exist"),
            (folder.path().to_owned(), "is a folder"),
            (folder.path().join("*.gz"), "no file matches"),
            (bad, "not a readable zip archive"),
        ] {
            let message = find(&path, &is_table).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(message.contains(words), "{message}");
        }
        Ok(())
    }
}
