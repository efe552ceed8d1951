//! The sandbox: made-up data in the real sources' form, to try pipelines on.
//!
//! Here, the company register. `pipeline sandbox snapshot` writes a file like Companies House's
//! monthly `BasicCompanyData` with as many companies as the real one or a handful, in the real
//! proportions, with the real quirks, and on request with broken rows. Nothing in it is anybody's:
//! numbers come from ranges never issued (`numbers.rs`), names are invented and say `SPECIMEN`
//! (`names.rs`), postcodes lie in areas that do not exist (`vocabulary.rs`). Reads no file, no
//! clock and no network: the arguments decide every byte.
//!
//! `pipeline sandbox serve` answers over such a file as the register's REST API does (`api/`), on a
//! port of this machine (`serve.rs`).
//!
//! In the register that is served things can happen: companies are proposed for strike-off, dissolved,
//! move and file, people come and go. The streams on the same port tell of it (`stream/`), and what
//! the REST API answers at a moment is the register as the events published so far left it.
//! Snapshot, seed and schedule decide every event, and a test can live through them without a
//! socket: `Stream::connect`, then `Connection::next` with any moment it likes.

mod address;
mod api;
mod broken;
mod calendar;
mod filings;
mod life;
mod names;
mod numbers;
mod rng;
mod row;
mod serve;
mod sic;
mod snapshot;
mod stream;
mod time;
mod vocabulary;

#[cfg(test)]
mod tests;

pub use api::{Answer, Api, Calls, Delivery, Fault, Faults, Register, Settings};
pub use broken::{BrokenForm, Damage};
pub use calendar::Date;
pub use serve::serve;
pub use snapshot::{Broken, HEADER, Snapshot, Written};
pub use stream::{Connection, Disturbance, Feed, FeedCalls, Next, Rate, Stream, StreamSettings};
pub use time::Time;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Writes `snapshot` to `path`, calling `progress` with the rows so far now and then.
///
/// A path ending in `.zip` becomes an archive with one member, named as in the real one
/// (`BasicCompanyDataAsOneFile-YYYY-MM-01.csv`); any other path the bare CSV. The bytes go to a
/// neighbouring `.partial` file that is renamed at the end and removed on failure, so `path` never
/// holds half a snapshot. Missing directories are not made.
pub fn write_file(
    snapshot: &Snapshot,
    path: &Path,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Written> {
    let partial = partial_path(path)?;
    let written = write_partial(snapshot, path, &partial, progress)
        .and_then(|written| fs::rename(&partial, path).map(|()| written));
    if written.is_err() {
        // The first error is the one to report; a file that was never made cannot be removed.
        drop(fs::remove_file(&partial));
    }
    written
}

/// Returns the name of the CSV of `date`, in the archive and on Companies House's page.
pub fn member_name(date: Date) -> String {
    let (year, month, _) = date.parts();
    format!("BasicCompanyDataAsOneFile-{year:04}-{month:02}-01.csv")
}

fn write_partial(
    snapshot: &Snapshot,
    path: &Path,
    partial: &Path,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Written> {
    let file = File::create(partial)?;
    let is_zip = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("zip"));
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let written = if is_zip {
        // Level 4 packs about as tightly as the real archive (5.4 to 1) in half the time of level
        // 6.
        // Without a time of its own the member says 1980, and the same arguments the same bytes.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(4))
            .last_modified_time(zip::DateTime::default())
            .large_file(true);
        let mut archive = ZipWriter::new(&mut file);
        archive.start_file(member_name(snapshot.date), options)?;
        let written = snapshot.write_with(&mut archive, progress)?;
        archive.finish()?;
        written
    } else {
        snapshot.write_with(&mut file, progress)?
    };
    file.flush()?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(written)
}

fn partial_path(path: &Path) -> io::Result<PathBuf> {
    let Some(name) = path.file_name() else {
        let message = format!("`{}` names no file", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    };
    let mut partial = name.to_os_string();
    partial.push(format!(".{}.partial", std::process::id()));
    Ok(path.with_file_name(partial))
}
