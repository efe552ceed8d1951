//! One download, from whatever is there to a whole file under its name.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::AsyncWriteExt as _;

use super::remote::{Answer, Ask, Body, Version};
use super::{Http, Kept, Meter, Wanted};
use crate::error::{Error, Result};
use crate::publish::{make_folder, sync_file, sync_folder};

/// How often in a row a server may send nothing new before it is given up.
const ATTEMPTS: u32 = 4;

/// The longest wait that a server may ask for before the user is told instead.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The largest file that is taken.
const MOST_BYTES: u64 = 8 << 30;

/// What is known of a file, or of a part of one.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    address: String,
    #[serde(flatten)]
    version: Version,
}

/// Gets a file: the one that is there if it is still the same, the rest of one that was cut off,
/// or all of it. `None` when the server has no such file. When the server cannot be asked, a file
/// that is there is used, with a warning.
pub async fn fetch(http: &Http, wanted: &Wanted<'_>, meter: &Meter) -> Result<Option<Kept>> {
    let folder = wanted.path.parent().unwrap_or(Path::new("."));
    make_folder(folder)?;
    let _lock = lock(&beside(&wanted.path, "lock"))?;
    let download = Download {
        http,
        wanted,
        meter,
        part: beside(&wanted.path, "part"),
        part_note: beside(&wanted.path, "part.json"),
        note: beside(&wanted.path, "fetched.json"),
    };
    let kept = download.kept();
    let path = wanted.path.clone();
    match download.all(kept.as_ref()).await {
        Ok(Got::Unchanged) => Ok(Some(Kept { path, is_new: false, warning: None })),
        Ok(Got::New) => Ok(Some(Kept { path, is_new: true, warning: None })),
        Ok(Got::Missing) => Ok(None),
        Err(error) if kept.is_some() && error.kind() == crate::error::Kind::External => {
            let warning = format!("the copy that is kept is used: {error}");
            Ok(Some(Kept { path, is_new: false, warning: Some(warning) }))
        }
        Err(error) => Err(error),
    }
}

enum Got {
    Unchanged,
    New,
    Missing,
}

struct Download<'a> {
    http: &'a Http,
    wanted: &'a Wanted<'a>,
    meter: &'a Meter,
    part: PathBuf,
    part_note: PathBuf,
    note: PathBuf,
}

impl Download<'_> {
    /// Returns the version of the whole file that is there.
    fn kept(&self) -> Option<Version> {
        let note: Note = read(&self.note).filter(|note| self.is_of(note))?;
        let bytes = std::fs::metadata(&self.wanted.path).ok()?.len();
        note.version.size.is_none_or(|size| size == bytes).then_some(note.version)
    }

    /// Returns the version of the part that is there, and its bytes.
    fn started(&self) -> Option<(Version, u64)> {
        let note: Note = read(&self.part_note).filter(|note| self.is_of(note))?;
        let bytes = std::fs::metadata(&self.part).ok()?.len();
        (bytes > 0).then_some((note.version, bytes))
    }

    fn is_of(&self, note: &Note) -> bool {
        note.address == self.wanted.address
    }

    async fn all(&self, kept: Option<&Version>) -> Result<Got> {
        let mut n_failures = 0;
        let mut was_damaged = false;
        loop {
            let started = self.started();
            let there = started.as_ref().map_or(0, |(_, bytes)| *bytes);
            // All of it came, and something ended the process before it got its name.
            let arrived = started.as_ref().filter(|(version, bytes)| version.size == Some(*bytes));
            let ask = match arrived {
                Some((version, _)) => Ask { unless: Some(version), rest_of: None },
                None => Ask { unless: kept, rest_of: started.as_ref().map(|(v, n)| (v, *n)) },
            };
            let (wait, why) = match self.http.get(&self.wanted.address, &ask).await? {
                Answer::Unchanged => match arrived {
                    Some((version, _)) if self.finish(version, &mut was_damaged)? => {
                        return Ok(Got::New);
                    }
                    Some(_) => continue,
                    None => return Ok(Got::Unchanged),
                },
                Answer::Missing => return Ok(Got::Missing),
                Answer::Whole(version, body) => {
                    self.begin(&version)?;
                    match self.take(body, 0, version.size).await? {
                        None if self.finish(&version, &mut was_damaged)? => return Ok(Got::New),
                        None => continue,
                        Some(why) => (None, why),
                    }
                }
                Answer::Rest(body) => {
                    let version = started.map(|(version, _)| version).unwrap_or_default();
                    match self.take(body, there, version.size).await? {
                        None if self.finish(&version, &mut was_damaged)? => return Ok(Got::New),
                        None => continue,
                        Some(why) => (None, why),
                    }
                }
                Answer::NoRest => {
                    self.forget();
                    (None, "what was there could not be continued".to_owned())
                }
                Answer::Later(wait, why) => (wait, why),
            };
            let now = self.started().map_or(0, |(_, bytes)| bytes);
            n_failures = if now > there { 0 } else { n_failures + 1 };
            if n_failures == ATTEMPTS {
                let message = format!("`{}`: {why}, {ATTEMPTS} times in a row", self.address());
                return Err(Error::external(message));
            }
            let wait = wait.unwrap_or_else(|| backoff(n_failures));
            if wait > LONGEST_WAIT {
                let message = format!("`{}`: {why}; again in {} s", self.address(), wait.as_secs());
                return Err(Error::external(message));
            }
            tracing::info!(address = self.address(), %why, bytes = now, "goes on");
            tokio::time::sleep(wait).await;
        }
    }

    /// Returns the address without what may be secret in it.
    fn address(&self) -> &str {
        self.wanted.address.split('?').next().unwrap_or_default()
    }

    /// Makes room for a new version: what a part is of is written before its first byte.
    fn begin(&self, version: &Version) -> Result<()> {
        if version.size.is_some_and(|size| size > MOST_BYTES) {
            return Err(self.too_large());
        }
        self.forget();
        let note = Note { address: self.wanted.address.clone(), version: version.clone() };
        write(&self.part_note, &note)
    }

    fn too_large(&self) -> Error {
        Error::user(format!("`{}` is larger than {} GiB", self.address(), MOST_BYTES >> 30))
    }

    /// Throws away the part that is there.
    fn forget(&self) {
        for path in [&self.part_note, &self.part] {
            // What is not there need not be removed; what cannot be removed is written over.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Writes a body after the first `from` bytes; says why it ended if that was too early.
    async fn take(&self, mut body: Body, from: u64, size: Option<u64>) -> Result<Option<String>> {
        let failed = |e| Error::io(&self.part, e);
        let mut options = tokio::fs::OpenOptions::new();
        let options = options.create(true).write(true).append(from > 0).truncate(from == 0);
        let mut file = options.open(&self.part).await.map_err(failed)?;
        let mut bytes = from;
        let mut why = None;
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => {
                    file.write_all(&piece).await.map_err(failed)?;
                    bytes += piece.len() as u64;
                    if bytes > MOST_BYTES {
                        return Err(self.too_large());
                    }
                    self.meter.set(bytes, size);
                }
                Err(reason) => {
                    why = Some(reason);
                    break;
                }
            }
        }
        file.flush().await.map_err(failed)?;
        let cut = || format!("the connection ended after {bytes} bytes");
        Ok(match size {
            Some(size) if bytes > size => {
                self.forget();
                Some(format!("{bytes} bytes came instead of {size}"))
            }
            Some(size) => (bytes < size).then(|| why.unwrap_or_else(cut)),
            None => why,
        })
    }

    /// Gives the whole part its name; `false` when it is damaged for the first time and must come
    /// again.
    fn finish(&self, version: &Version, was_damaged: &mut bool) -> Result<bool> {
        sync_file(&self.part)?;
        if let Err(error) = (self.wanted.check)(&self.part) {
            self.forget();
            let is_first = !std::mem::replace(was_damaged, true);
            return match is_first {
                true => Ok(false),
                false => {
                    Err(Error::external(format!("`{}` arrives damaged", self.address()))
                        .because(error))
                }
            };
        }
        let size = std::fs::metadata(&self.part).map_err(|e| Error::io(&self.part, e))?.len();
        let version = Version { size: Some(size), ..version.clone() };
        // The old note goes first: a new file with it would pass for the old version.
        let _ = std::fs::remove_file(&self.note);
        std::fs::rename(&self.part, &self.wanted.path)
            .map_err(|e| Error::io(&self.wanted.path, e))?;
        write(&self.note, &Note { address: self.wanted.address.clone(), version })?;
        let _ = std::fs::remove_file(&self.part_note);
        sync_folder(self.wanted.path.parent().unwrap_or(Path::new(".")))?;
        Ok(true)
    }
}

/// Waits longer after each failure in a row, at random so that many do not ask at once: up to 1,
/// 2, 4 … seconds; not at all when bytes came.
fn backoff(n_failures: u32) -> Duration {
    match n_failures {
        0 => Duration::ZERO,
        n => {
            let most = 1000_u64 << (n - 1).min(6);
            let (_, random) = uuid::Uuid::now_v7().as_u64_pair();
            Duration::from_millis(random % most)
        }
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    name.into()
}

fn lock(path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(|e| Error::io(path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!("another process is downloading it (`{}`)", path.display());
            Err(Error::external(message))
        }
        Err(TryLockError::Error(error)) => Err(Error::io(path, error)),
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn write(path: &Path, note: &Note) -> Result<()> {
    let text = serde_json::to_string(note)
        .map_err(|e| Error::internal("a note cannot be written").because(e))?;
    std::fs::write(path, text).map_err(|e| Error::io(path, e))?;
    sync_file(path)
}
