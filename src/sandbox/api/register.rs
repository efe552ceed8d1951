//! Where each company's line is in a snapshot.
//!
//! Of each company 16 bytes are held, number and offset; its line is read when somebody asks. A
//! register of 5.7 million rows takes 91 MB. Only snapshots that the sandbox made are served: to
//! make up people for companies that exist would be another thing.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::super::calendar::Date;
use super::super::snapshot::HEADER;
use super::company::{self, Company};
use crate::error::{Error, Result};

/// A snapshot, and where in it each company is.
#[derive(Debug)]
pub struct Register {
    source: Source,
    /// Number and offset, by number.
    places: Vec<([u8; 8], u64)>,
    /// The places of companies proposed for strike-off.
    proposed: Vec<u32>,
    n_skipped: u64,
    as_of: Date,
}

#[derive(Debug)]
enum Source {
    File(File),
    Bytes(Vec<u8>),
}

/// No line of a snapshot is longer; the longest real one has 1,230 characters.
const LONGEST: usize = 16 << 10;

impl Register {
    /// Reads through the snapshot at `path`, a bare CSV, and remembers where its companies are.
    pub fn open(path: &Path) -> Result<Self> {
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip")) {
            let message = format!(
                "`{}` is packed, and a packed file cannot be read here and there; unpack it, or \
                 make the snapshot with an `--out` that ends in `.csv`",
                path.display()
            );
            return Err(Error::user(message));
        }
        let file = File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::user(format!(
                "`{0}` is not there; make it with `pipeline sandbox snapshot --rows 10000 --out \
                 {0}`",
                path.display()
            )),
            _ => Error::io(path, error),
        })?;
        let read = file.try_clone().map_err(|e| Error::io(path, e))?;
        let lines = BufReader::with_capacity(1 << 20, read);
        Self::indexed(lines, Source::File(file), &path.display().to_string())
    }

    /// Makes a register of a snapshot in memory.
    pub fn of_bytes(bytes: Vec<u8>) -> Result<Self> {
        let index = index(bytes.as_slice(), "the snapshot")?;
        Ok(Self::of(index, Source::Bytes(bytes)))
    }

    /// Returns how many companies there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Says whether there is no company.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns how many lines are no row of a company: the broken ones.
    pub fn n_skipped(&self) -> u64 {
        self.n_skipped
    }

    /// Returns the numbers of all companies, in their order.
    pub fn numbers(&self) -> impl Iterator<Item = &str> {
        self.places.iter().filter_map(|(number, _)| std::str::from_utf8(number).ok())
    }

    /// Returns the first of the month after the youngest company: the day of the snapshot, unless
    /// it is a very small one.
    pub(in crate::sandbox) fn as_of(&self) -> Date {
        self.as_of
    }

    /// Reads the row of a company; nothing when the snapshot has no such number, or a broken row.
    pub(super) fn company(&self, number: &str) -> std::io::Result<Option<Company>> {
        self.place(number).map_or(Ok(None), |place| self.at(place))
    }

    /// Returns where a company is in the order of numbers.
    pub(in crate::sandbox) fn place(&self, number: &str) -> Option<u32> {
        let number = <[u8; 8]>::try_from(number.as_bytes()).ok()?;
        let place = self.places.binary_search_by_key(&number, |place| place.0).ok()?;
        place.try_into().ok()
    }

    /// Reads the row of the company at a place; nothing when it is broken.
    pub(in crate::sandbox) fn at(&self, place: u32) -> std::io::Result<Option<Company>> {
        let Some((number, offset)) = self.places.get(place as usize) else { return Ok(None) };
        let line = self.line(*offset)?;
        Ok(Company::read(&line).filter(|company| company.number().as_bytes() == number))
    }

    /// Returns the places of companies proposed for strike-off.
    pub(in crate::sandbox) fn proposed(&self) -> &[u32] {
        &self.proposed
    }

    fn line(&self, offset: u64) -> std::io::Result<Vec<u8>> {
        let mut line = Vec::new();
        match &self.source {
            Source::Bytes(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                line.extend_from_slice(&bytes[from..bytes.len().min(from + LONGEST)]);
            }
            Source::File(file) => {
                line.resize(2048, 0);
                let mut n = 0;
                loop {
                    let got = file.read_at(&mut line[n..], offset + n as u64)?;
                    n += got;
                    let is_whole = memchr::memchr(b'\n', &line[..n]).is_some();
                    if is_whole || got == 0 || n >= LONGEST {
                        break;
                    }
                    if n == line.len() {
                        line.resize(n * 2, 0);
                    }
                }
                line.truncate(n);
            }
        }
        if let Some(end) = memchr::memchr(b'\n', &line) {
            line.truncate(end);
        }
        Ok(line)
    }

    fn indexed(lines: impl BufRead, source: Source, name: &str) -> Result<Self> {
        Ok(Self::of(index(lines, name)?, source))
    }

    fn of(index: Index, source: Source) -> Self {
        let Index { mut places, proposed, n_skipped, as_of } = index;
        places.shrink_to_fit();
        let place = |number: &[u8; 8]| places.binary_search_by_key(number, |place| place.0).ok();
        let proposed = proposed.iter().filter_map(place);
        let mut proposed: Vec<u32> = proposed.filter_map(|place| place.try_into().ok()).collect();
        proposed.sort_unstable();
        proposed.dedup();
        Self { source, places, proposed, n_skipped, as_of }
    }
}

/// What is kept of a snapshot that was read through.
struct Index {
    places: Vec<([u8; 8], u64)>,
    /// The numbers of companies proposed for strike-off.
    proposed: Vec<[u8; 8]>,
    n_skipped: u64,
    as_of: Date,
}

fn index(mut lines: impl BufRead, name: &str) -> Result<Index> {
    let unreadable = |e: std::io::Error| Error::external(format!("`{name}`")).because(e);
    let foreign = |why: &str| {
        Error::user(format!(
            "`{name}` {why}; only what `pipeline sandbox snapshot` made is served, because the \
             answers make up people"
        ))
    };
    let mut line = Vec::new();
    let mut offset = lines.read_until(b'\n', &mut line).map_err(unreadable)? as u64;
    if line.trim_ascii_end() != HEADER.as_bytes() {
        return Err(foreign("does not begin with the header of BasicCompanyData"));
    }
    let (mut places, mut proposed) = (Vec::new(), Vec::new());
    let (mut n_skipped, mut youngest) = (0, Date::from_days(0));
    loop {
        line.clear();
        let n = lines.read_until(b'\n', &mut line).map_err(unreadable)?;
        if n == 0 {
            break;
        }
        match company::glance(&line) {
            Some(seen) => {
                if places.is_empty() && memchr::memmem::find(&line, b" SPECIMEN").is_none() {
                    return Err(foreign("holds companies that are not made up"));
                }
                youngest = youngest.max(seen.incorporated.unwrap_or(youngest));
                places.push((seen.number, offset));
                proposed.extend(seen.is_proposed.then_some(seen.number));
            }
            None => n_skipped += 1,
        }
        offset += n as u64;
    }
    // Of two rows with one number the first stands, whatever the order they are sorted in.
    places.sort_unstable();
    places.dedup_by_key(|place| place.0);
    let as_of = Date::month_start(youngest.month_index() + 1);
    Ok(Index { places, proposed, n_skipped, as_of })
}
