//! Rows that are wrong in a known way, to see what a reader does with them.
//!
//! Two of the forms have been seen in the real file (`companies-house.md` 1.4: a fifth SIC column
//! in September 2026, a quote inside a postcode in 2015), one (impossible dates) in a re-typed
//! copy;
//! the others are what transport and hand editing do to files.

use super::numbers::spare_number;

/// A way a row can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BrokenForm {
    /// 56 fields: a fifth SIC column shifts all that follow.
    ExtraField,
    /// 40 fields: the line ends early.
    MissingFields,
    /// A quote that is not doubled inside a quoted postcode (`"JA!"AS"`).
    UnescapedQuote,
    /// The last field's quote is never closed; a reader that follows quotes across lines takes the
    /// next line, a good one, for part of this field.
    UnterminatedQuote,
    /// CR LF inside a quoted field. Legal CSV: the row is good and takes two physical lines.
    EmbeddedNewline,
    /// A date that does not exist: `31/13/2034` or `33/10/3035`.
    ImpossibleDate,
    /// Words where a count of charges belongs.
    NotANumber,
    /// A byte that is not UTF-8 (a Latin-1 `É`) in the town.
    InvalidUtf8,
    /// A line with nothing in it.
    BlankLine,
    /// A zero byte inside an address.
    NulByte,
    /// A CR without LF inside a quoted field. Legal CSV, on one physical line.
    BareCarriageReturn,
}

/// What a form damages, and so what a reader may do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Nothing: the row is unusual and must be accepted.
    Nothing,
    /// A value: 55 fields can be read, one of them says nothing sensible.
    Value,
    /// The line: it cannot be divided into 55 fields of text.
    Line,
}

impl BrokenForm {
    /// Every form, in the order they are written.
    pub const ALL: [Self; 11] = [
        Self::ExtraField,
        Self::MissingFields,
        Self::UnescapedQuote,
        Self::UnterminatedQuote,
        Self::EmbeddedNewline,
        Self::ImpossibleDate,
        Self::NotANumber,
        Self::InvalidUtf8,
        Self::BlankLine,
        Self::NulByte,
        Self::BareCarriageReturn,
    ];

    /// Returns what the form damages.
    pub fn damage(self) -> Damage {
        match self {
            Self::EmbeddedNewline | Self::BareCarriageReturn => Damage::Nothing,
            Self::ImpossibleDate | Self::NotANumber | Self::NulByte => Damage::Value,
            _ => Damage::Line,
        }
    }

    /// Returns whether a reader must accept the row as it is.
    pub fn is_legal(self) -> bool {
        self.damage() == Damage::Nothing
    }

    /// Returns how many physical lines the form takes.
    pub fn lines(self) -> u64 {
        if self == Self::EmbeddedNewline { 2 } else { 1 }
    }
}

/// Columns the forms touch, counted from 0.
const NAME: usize = 0;
const NUMBER: usize = 1;
const LINE_1: usize = 4;
const TOWN: usize = 6;
const POSTCODE: usize = 9;
const STATUS: usize = 11;
const ACCOUNTS_DUE: usize = 17;
const CHARGES: usize = 22;
const SIC_4: usize = 29;
const URI: usize = 32;
const STATEMENT_DUE: usize = 53;

/// Appends the `n`-th broken row to `out`, made from the good line `like` before it: same name with
/// a word more (so the order of names stays), `Active` (so counts of proposals stay), and a number
/// no company has.
pub(super) fn write(out: &mut Vec<u8>, like: &[u8], form: BrokenForm, n: u64) {
    if form == BrokenForm::BlankLine {
        out.extend_from_slice(b"\r\n");
        return;
    }
    let number = spare_number(n);
    let mut fields = divide(like);
    fields[NAME].extend_from_slice(b" (BROKEN)");
    fields[NUMBER] = number.to_vec();
    fields[STATUS] = b"Active".to_vec();
    let uri = fields[URI].len().saturating_sub(number.len());
    fields[URI].truncate(uri);
    fields[URI].extend_from_slice(&number);
    damage(&mut fields, form, n);
    let mut quote = "\"";
    for field in &fields {
        out.extend_from_slice(quote.as_bytes());
        out.extend_from_slice(field);
        quote = "\",\"";
    }
    let end = if form == BrokenForm::UnterminatedQuote { "\r\n" } else { "\"\r\n" };
    out.extend_from_slice(end.as_bytes());
}

fn damage(fields: &mut Vec<Vec<u8>>, form: BrokenForm, n: u64) {
    let even = (n / 11).is_multiple_of(2);
    match form {
        BrokenForm::ExtraField => {
            fields.insert(SIC_4 + 1, b"70100 - Activities of head offices".into());
        }
        BrokenForm::MissingFields => fields.truncate(40),
        BrokenForm::UnescapedQuote => fields[POSTCODE] = b"JA!\"AS".into(),
        BrokenForm::EmbeddedNewline => fields[LINE_1] = b"UNIT 9\r\nBRACKLOW MILL".into(),
        BrokenForm::BareCarriageReturn => fields[LINE_1] = b"UNIT 9\rBRACKLOW MILL".into(),
        BrokenForm::ImpossibleDate if even => fields[ACCOUNTS_DUE] = b"31/13/2034".into(),
        BrokenForm::ImpossibleDate => fields[STATEMENT_DUE] = b"33/10/3035".into(),
        BrokenForm::NotANumber => fields[CHARGES] = b"two".into(),
        BrokenForm::InvalidUtf8 => fields[TOWN] = b"CAF\xc9BURY".into(),
        BrokenForm::NulByte => fields[LINE_1] = b"UNIT\09 BRACKLOW MILL".into(),
        BrokenForm::UnterminatedQuote | BrokenForm::BlankLine => {}
    }
}

/// Divides a good line into its fields as written, doubled quotes and all. No good field holds
/// `","`, so the separator alone divides.
fn divide(line: &[u8]) -> Vec<Vec<u8>> {
    let inner = line.strip_prefix(b"\"").unwrap_or(line);
    let inner = inner.strip_suffix(b"\"\r\n").unwrap_or(inner);
    let mut fields = Vec::with_capacity(56);
    let mut start = 0;
    let mut at = 0;
    while at < inner.len() {
        if inner[at..].starts_with(b"\",\"") {
            fields.push(inner[start..at].to_vec());
            at += 3;
            start = at;
        } else {
            at += 1;
        }
    }
    fields.push(inner[start..].to_vec());
    fields
}
