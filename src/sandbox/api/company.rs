//! One row of a snapshot, read back: what the answers about a company are made from.

use super::super::calendar::Date;

/// Columns of the snapshot.
pub(in crate::sandbox) mod column {
    pub(in crate::sandbox) const NAME: usize = 0;
    pub(in crate::sandbox) const NUMBER: usize = 1;
    pub(in crate::sandbox) const CARE_OF: usize = 2;
    pub(in crate::sandbox) const PO_BOX: usize = 3;
    pub(in crate::sandbox) const LINE_1: usize = 4;
    pub(in crate::sandbox) const LINE_2: usize = 5;
    pub(in crate::sandbox) const TOWN: usize = 6;
    pub(in crate::sandbox) const COUNTY: usize = 7;
    pub(in crate::sandbox) const COUNTRY: usize = 8;
    pub(in crate::sandbox) const POSTCODE: usize = 9;
    pub(in crate::sandbox) const CATEGORY: usize = 10;
    pub(in crate::sandbox) const STATUS: usize = 11;
    pub(in crate::sandbox) const CEASED: usize = 13;
    pub(in crate::sandbox) const INCORPORATED: usize = 14;
    pub(in crate::sandbox) const REFERENCE_DAY: usize = 15;
    pub(in crate::sandbox) const REFERENCE_MONTH: usize = 16;
    pub(in crate::sandbox) const ACCOUNTS_DUE: usize = 17;
    pub(in crate::sandbox) const ACCOUNTS_MADE: usize = 18;
    pub(in crate::sandbox) const ACCOUNTS_CATEGORY: usize = 19;
    pub(in crate::sandbox) const CHARGES: usize = 22;
    pub(in crate::sandbox) const PART_SATISFIED: usize = 24;
    pub(in crate::sandbox) const SATISFIED: usize = 25;
    pub(in crate::sandbox) const SIC: usize = 26;
    pub(in crate::sandbox) const PREVIOUS: usize = 33;
    pub(in crate::sandbox) const STATEMENT_DUE: usize = 53;
    pub(in crate::sandbox) const STATEMENT_MADE: usize = 54;
}

/// How many columns there are.
const WIDTH: usize = 55;

/// A row, field by field.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Company {
    fields: Vec<String>,
}

impl Company {
    /// Reads a line; nothing when it is no row of 55 fields in UTF-8.
    pub(in crate::sandbox) fn read(line: &[u8]) -> Option<Self> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line);
        let record = reader.records().next()?.ok()?;
        let fields: Vec<String> = record.iter().map(str::to_owned).collect();
        (fields.len() == WIDTH).then_some(Self { fields })
    }

    /// Returns a field as it is in the file; empty for a column that is not there.
    pub(in crate::sandbox) fn text(&self, column: usize) -> &str {
        self.fields.get(column).map_or("", String::as_str)
    }

    /// Returns a field without spaces around it, or nothing.
    pub(in crate::sandbox) fn some(&self, column: usize) -> Option<&str> {
        Some(self.text(column).trim()).filter(|text| !text.is_empty())
    }

    /// Writes another text into a field.
    pub(in crate::sandbox) fn with(mut self, column: usize, text: impl Into<String>) -> Self {
        if let Some(field) = self.fields.get_mut(column) {
            *field = text.into();
        }
        self
    }

    pub(in crate::sandbox) fn date(&self, column: usize) -> Option<Date> {
        date(self.text(column).as_bytes())
    }

    pub(in crate::sandbox) fn count(&self, column: usize) -> u32 {
        self.text(column).parse().unwrap_or(0)
    }

    pub(in crate::sandbox) fn number(&self) -> &str {
        self.text(column::NUMBER)
    }

    pub(in crate::sandbox) fn incorporated(&self) -> Option<Date> {
        self.date(column::INCORPORATED)
    }

    /// Says whether the company is proposed for strike-off.
    pub(in crate::sandbox) fn is_proposed(&self) -> bool {
        self.text(column::STATUS) == super::super::life::STRIKE_OFF
    }

    /// Says whether the company is dissolved; never so in a snapshot.
    pub(in crate::sandbox) fn is_dissolved(&self) -> bool {
        self.text(column::STATUS) == "Dissolved"
    }

    /// Returns the two letters a number begins with, or nothing for England and Wales.
    pub(in crate::sandbox) fn prefix(&self) -> &str {
        let number = self.number();
        let end = number.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
        &number[..end]
    }

    pub(in crate::sandbox) fn is_llp(&self) -> bool {
        self.text(column::CATEGORY) == "Limited Liability Partnership"
    }

    /// Returns former names with the day each was given up, the last change first.
    pub(in crate::sandbox) fn previous(&self) -> impl Iterator<Item = (Date, &str)> {
        (0..10).filter_map(|n| {
            let day = self.date(column::PREVIOUS + 2 * n)?;
            Some((day, self.some(column::PREVIOUS + 2 * n + 1)?))
        })
    }
}

/// What is seen of a line without reading it all.
pub(super) struct Glance {
    pub number: [u8; 8],
    pub incorporated: Option<Date>,
    /// Whether the company is proposed for strike-off.
    pub is_proposed: bool,
}

/// Glances at a line; sees nothing when no number of eight letters and digits is in its place.
pub(super) fn glance(line: &[u8]) -> Option<Glance> {
    let mut fields = memchr::memmem::find_iter(line, b"\",\"");
    let at = fields.next()? + 3;
    let number = <[u8; 8]>::try_from(line.get(at..at + 8)?).ok()?;
    let is_number = number.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if !line.starts_with(b"\"") || !is_number || line.get(at + 8) != Some(&b'"') {
        return None;
    }
    let standing = fields.nth(column::STATUS - 2).and_then(|at| line.get(at + 3..));
    let proposed = super::super::life::STRIKE_OFF.as_bytes();
    let is_proposed = standing.is_some_and(|text| text.starts_with(proposed));
    let incorporated = fields.nth(column::INCORPORATED - column::STATUS - 1).map(|at| at + 3);
    let incorporated = incorporated.and_then(|at| date(line.get(at..at + 10)?));
    Some(Glance { number, incorporated, is_proposed })
}

/// Reads `dd/mm/yyyy`.
fn date(text: &[u8]) -> Option<Date> {
    let &[d, d2, b'/', m, m2, b'/', ref year @ ..] = text else { return None };
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u32>().ok();
    let year = i32::try_from(number(year)?).ok()?;
    Date::new(year, number(&[m, m2])?, number(&[d, d2])?)
}
