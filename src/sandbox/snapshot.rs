//! A made-up `BasicCompanyData` snapshot: its header, its rows in order, its broken rows.
//!
//! The form is the real file's, byte for byte (`companies-house.md` 1.1): a bare header with its
//! odd
//! leading spaces, every field of every row in quotes, quotes doubled, CR LF, UTF-8 without BOM,
//! rows in the byte order of names. Nothing is held in memory but one block of lines.

use super::broken::{self, BrokenForm};
use super::calendar::Date;
use super::life::Moment;
use super::names::Fronts;
use super::numbers::PLACES;
use super::row::Register;
use std::io::{self, Write};

/// The real file's first line, without its end.
pub const HEADER: &str = concat!(
    "CompanyName, CompanyNumber,RegAddress.CareOf,RegAddress.POBox,RegAddress.AddressLine1,",
    " RegAddress.AddressLine2,RegAddress.PostTown,RegAddress.County,RegAddress.Country,",
    "RegAddress.PostCode,CompanyCategory,CompanyStatus,CountryOfOrigin,DissolutionDate,",
    "IncorporationDate,Accounts.AccountRefDay,Accounts.AccountRefMonth,Accounts.NextDueDate,",
    "Accounts.LastMadeUpDate,Accounts.AccountCategory,Returns.NextDueDate,",
    "Returns.LastMadeUpDate,Mortgages.NumMortCharges,Mortgages.NumMortOutstanding,",
    "Mortgages.NumMortPartSatisfied,Mortgages.NumMortSatisfied,SICCode.SicText_1,",
    "SICCode.SicText_2,SICCode.SicText_3,SICCode.SicText_4,LimitedPartnerships.NumGenPartners,",
    "LimitedPartnerships.NumLimPartners,URI,PreviousName_1.CONDATE, PreviousName_1.CompanyName,",
    " PreviousName_2.CONDATE, PreviousName_2.CompanyName,PreviousName_3.CONDATE,",
    " PreviousName_3.CompanyName,PreviousName_4.CONDATE, PreviousName_4.CompanyName,",
    "PreviousName_5.CONDATE, PreviousName_5.CompanyName,PreviousName_6.CONDATE,",
    " PreviousName_6.CompanyName,PreviousName_7.CONDATE, PreviousName_7.CompanyName,",
    "PreviousName_8.CONDATE, PreviousName_8.CompanyName,PreviousName_9.CONDATE,",
    " PreviousName_9.CompanyName,PreviousName_10.CONDATE, PreviousName_10.CompanyName,",
    "ConfStmtNextDueDate, ConfStmtLastMadeUpDate",
);

/// What to write.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// How many companies, at most 2^23. A smaller register is a selection of a larger one: company
    /// `i` is the same whatever the number.
    pub rows: u64,
    /// Which register: another seed has other companies.
    pub seed: u64,
    /// The snapshot's date, the first of a month. From January 2026 on, successive months show the
    /// same companies: about 1 % leave, as many come, the rest grow older and file.
    pub date: Date,
    /// Which rows to spoil.
    pub broken: Broken,
}

/// Which broken rows to put among the good ones, which stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// None.
    None,
    /// Every form in turn, one row in 1,000 and more often in small snapshots, so that each form
    /// occurs from 100 rows on.
    EveryForm,
    /// One form only, as often.
    Only(BrokenForm),
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// Good rows, without the broken ones.
    pub rows: u64,
    /// Bytes of CSV, whatever it is packed in.
    pub bytes: u64,
    /// Good rows whose status is `Active - Proposal to Strike off`.
    pub strike_off: u64,
    /// Broken rows: form, and physical line where the row begins (lines end with LF; the header is
    /// line 1).
    pub broken: Vec<(BrokenForm, u64)>,
}

/// How many bytes are gathered before they are written.
const BLOCK: usize = 1 << 18;

impl Snapshot {
    /// Writes the CSV to `out` and returns what was written. Fails when `out` does, or when more
    /// rows are asked for than a register can hold.
    pub fn write(&self, out: &mut impl Write) -> io::Result<Written> {
        self.write_with(out, &mut |_| {})
    }

    /// Writes like [`Snapshot::write`] and calls `progress` with the rows so far, now and then and
    /// at the end.
    pub fn write_with(
        &self,
        out: &mut impl Write,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<Written> {
        if self.rows > PLACES {
            let message = format!("at most {PLACES} rows; `{}` were asked for", self.rows);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let moment = Moment::new(self.date);
        let register = Register { seed: self.seed, moment, fronts: Fronts::new() };
        let mut written = Written::default();
        let mut block = Vec::with_capacity(BLOCK + 4096);
        let mut name = Vec::new();
        let mut line = 2;
        block.extend_from_slice(HEADER.as_bytes());
        block.extend_from_slice(b"\r\n");
        // Companies are scattered over the order of names by reversing the bits of their index:
        // any number of them covers the alphabet evenly, and none is needed twice or kept.
        let shift = u64::BITS - PLACES.trailing_zeros();
        for place in 0..PLACES {
            let index = place.reverse_bits() >> shift;
            if index >= self.rows {
                continue;
            }
            let start = block.len();
            written.strike_off += u64::from(register.write(&mut block, index, place, &mut name));
            written.rows += 1;
            line += 1;
            if let Some(form) = self.spoiled(written.rows, written.broken.len()) {
                let like = block[start..].to_vec();
                broken::write(&mut block, &like, form, written.broken.len() as u64);
                written.broken.push((form, line));
                line += form.lines();
            }
            if block.len() >= BLOCK {
                out.write_all(&block)?;
                written.bytes += block.len() as u64;
                block.clear();
                progress(written.rows);
            }
        }
        out.write_all(&block)?;
        written.bytes += block.len() as u64;
        progress(written.rows);
        Ok(written)
    }

    /// Returns the form of the broken row after good row `n`, if one follows.
    fn spoiled(&self, n: u64, so_far: usize) -> Option<BrokenForm> {
        let forms = BrokenForm::ALL.len();
        let every = (self.rows / (forms as u64 + 1)).clamp(1, 1000);
        if n % every != every / 2 {
            return None;
        }
        match self.broken {
            Broken::None => None,
            Broken::EveryForm => BrokenForm::ALL.get(so_far % forms).copied(),
            Broken::Only(form) => Some(form),
        }
    }
}
