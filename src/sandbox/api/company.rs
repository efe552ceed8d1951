//! One row of a snapshot, read back: what the answers about a company are made from.

use super::super::calendar::Date;

/// Columns of the snapshot.
pub(super) mod column {
    pub(in super::super) const NAME: usize = 0;
    pub(in super::super) const NUMBER: usize = 1;
    pub(in super::super) const CARE_OF: usize = 2;
    pub(in super::super) const PO_BOX: usize = 3;
    pub(in super::super) const LINE_1: usize = 4;
    pub(in super::super) const LINE_2: usize = 5;
    pub(in super::super) const TOWN: usize = 6;
    pub(in super::super) const COUNTY: usize = 7;
    pub(in super::super) const COUNTRY: usize = 8;
    pub(in super::super) const POSTCODE: usize = 9;
    pub(in super::super) const CATEGORY: usize = 10;
    pub(in super::super) const STATUS: usize = 11;
    pub(in super::super) const INCORPORATED: usize = 14;
    pub(in super::super) const REFERENCE_DAY: usize = 15;
    pub(in super::super) const REFERENCE_MONTH: usize = 16;
    pub(in super::super) const ACCOUNTS_DUE: usize = 17;
    pub(in super::super) const ACCOUNTS_MADE: usize = 18;
    pub(in super::super) const ACCOUNTS_CATEGORY: usize = 19;
    pub(in super::super) const CHARGES: usize = 22;
    pub(in super::super) const PART_SATISFIED: usize = 24;
    pub(in super::super) const SATISFIED: usize = 25;
    pub(in super::super) const SIC: usize = 26;
    pub(in super::super) const PREVIOUS: usize = 33;
    pub(in super::super) const STATEMENT_DUE: usize = 53;
    pub(in super::super) const STATEMENT_MADE: usize = 54;
}

/// How many columns there are.
const WIDTH: usize = 55;

/// A row, field by field.
#[derive(Debug, Clone)]
pub(super) struct Company {
    fields: Vec<String>,
}

impl Company {
    /// Reads a line; nothing when it is no row of 55 fields in UTF-8.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line);
        let record = reader.records().next()?.ok()?;
        let fields: Vec<String> = record.iter().map(str::to_owned).collect();
        (fields.len() == WIDTH).then_some(Self { fields })
    }

    /// Returns a field as it is in the file; empty for a column that is not there.
    pub(super) fn text(&self, column: usize) -> &str {
        self.fields.get(column).map_or("", String::as_str)
    }

    /// Returns a field without spaces around it, or nothing.
    pub(super) fn some(&self, column: usize) -> Option<&str> {
        Some(self.text(column).trim()).filter(|text| !text.is_empty())
    }

    pub(super) fn date(&self, column: usize) -> Option<Date> {
        date(self.text(column).as_bytes())
    }

    pub(super) fn count(&self, column: usize) -> u32 {
        self.text(column).parse().unwrap_or(0)
    }

    pub(super) fn number(&self) -> &str {
        self.text(column::NUMBER)
    }

    pub(super) fn incorporated(&self) -> Option<Date> {
        self.date(column::INCORPORATED)
    }

    /// Says whether the company is proposed for strike-off.
    pub(super) fn is_proposed(&self) -> bool {
        self.text(column::STATUS) == super::super::life::STRIKE_OFF
    }

    /// Returns the two letters a number begins with, or nothing for England and Wales.
    pub(super) fn prefix(&self) -> &str {
        let number = self.number();
        let end = number.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
        &number[..end]
    }

    pub(super) fn is_llp(&self) -> bool {
        self.text(column::CATEGORY) == "Limited Liability Partnership"
    }

    /// Returns former names with the day each was given up, the last change first.
    pub(super) fn previous(&self) -> impl Iterator<Item = (Date, &str)> {
        (0..10).filter_map(|n| {
            let day = self.date(column::PREVIOUS + 2 * n)?;
            Some((day, self.some(column::PREVIOUS + 2 * n + 1)?))
        })
    }
}

/// Returns number and day of incorporation of a line, without reading it all; nothing when no
/// number of eight letters and digits is in its place.
pub(super) fn glance(line: &[u8]) -> Option<([u8; 8], Option<Date>)> {
    let mut fields = memchr::memmem::find_iter(line, b"\",\"");
    let at = fields.next()? + 3;
    let number = <[u8; 8]>::try_from(line.get(at..at + 8)?).ok()?;
    let is_number = number.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if !line.starts_with(b"\"") || !is_number || line.get(at + 8) != Some(&b'"') {
        return None;
    }
    let incorporated = fields.nth(column::INCORPORATED - 2).map(|at| at + 3);
    Some((number, incorporated.and_then(|at| date(line.get(at..at + 10)?))))
}

/// Reads `dd/mm/yyyy`.
fn date(text: &[u8]) -> Option<Date> {
    let &[d, d2, b'/', m, m2, b'/', ref year @ ..] = text else { return None };
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u32>().ok();
    let year = i32::try_from(number(year)?).ok()?;
    Date::new(year, number(&[m, m2])?, number(&[d, d2])?)
}
