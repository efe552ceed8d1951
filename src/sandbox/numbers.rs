//! Kinds of company (category and number prefix) and numbers that can belong to nobody.
//!
//! Every number comes from a range Companies House has not issued and is not about to:
//! - England and Wales, 8 digits: real ones run to about 17,500,000 in 2026 and grow by less than
//!   a million a year. Ours begin with 9, and a later company in the same place of the register
//!   with 8, 7, 6 or 5.
//! - Two letters and six digits (`NI`, `OC`, `LP`, `SL`, `FC`, `CE`, ...): ours are 900000 and up.
//!   The fullest of them in reality, `NI`, stands near 740000 and grows by some 11,000 a year.
//! - `SC` is different: real numbers pass 880000 and will fill 900000 to 999999 within a few
//!   years, and Scotland needs four times that space here. Ours are `SC` + five digits + a letter,
//!   a form never used for Scotland, of the kind real numbers with a letter at the end have.
//! - Societies: `IP9nnnnR`, `IP9nnnnC`, `SP9nnnnR`, `RS9nnnnn`.

use super::rng::{Rng, mix};

/// How many companies a register can hold: 2^23 places.
pub(super) const PLACES: u64 = 1 << 23;

/// What a company is, as far as its number and its other columns depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A company under the Companies Acts: accounts, confirmation statements, SIC codes.
    Company,
    /// A limited liability partnership: as a company, without SIC code.
    Llp,
    /// A limited partnership: partners counted, no accounts.
    LimitedPartnership,
    /// A body with a confirmation statement and nothing else (society, overseas entity, ...).
    Society,
    /// A body of which the register tells no dates at all (charitable incorporated organisation).
    Charity,
    /// A company incorporated abroad with a place of business here.
    Overseas,
}

/// One line of the table of kinds.
pub(super) struct Class {
    /// Letters in front of the digits; empty for England and Wales.
    pub prefix: &'static str,
    /// Letter behind the digits; `'\0'` for none.
    suffix: u8,
    /// Share of the register in 1/10,000, as measured on a random sample of May 2020 (overseas
    /// entities, which came in 2022, from the published count).
    share: u32,
    /// `CompanyCategory`; empty where a company's own draw decides.
    category: &'static str,
    /// How the other columns are filled.
    pub kind: Kind,
}

const fn class(
    prefix: &'static str,
    suffix: u8,
    share: u32,
    category: &'static str,
    kind: Kind,
) -> Class {
    Class { prefix, suffix, share, category, kind }
}

/// The last line takes what the others leave of 10,000.
const CLASSES: [Class; 23] = [
    class("SC", 0, 530, "", Kind::Company),
    class("NI", 0, 100, "", Kind::Company),
    class("OC", 0, 80, "Limited Liability Partnership", Kind::Llp),
    class("SO", 0, 11, "Limited Liability Partnership", Kind::Llp),
    class("NC", 0, 3, "Limited Liability Partnership", Kind::Llp),
    class("LP", 0, 45, "Limited Partnership", Kind::LimitedPartnership),
    class("SL", 0, 72, "Limited Partnership", Kind::LimitedPartnership),
    class("NL", 0, 3, "Limited Partnership", Kind::LimitedPartnership),
    class("SG", 0, 1, "Scottish Partnership", Kind::Society),
    class("FC", 0, 28, "Other company type", Kind::Overseas),
    class("NF", 0, 2, "Other Company Type", Kind::Overseas),
    class("OE", 0, 56, "Overseas Entity", Kind::Overseas),
    class("CE", 0, 50, "Charitable Incorporated Organisation", Kind::Charity),
    class("CS", 0, 8, "Scottish Charitable Incorporated Organisation", Kind::Charity),
    class("RS", 0, 14, "Registered Society", Kind::Society),
    class("IP", b'R', 10, "Registered Society", Kind::Society),
    class("IP", b'C', 2, "Registered Society", Kind::Society),
    class("SP", b'R', 2, "Registered Society", Kind::Society),
    class("NO", 0, 1, "Industrial and Provident Society", Kind::Society),
    class("RC", 0, 2, "Royal Charter Company", Kind::Society),
    class("IC", 0, 2, "Investment Company with Variable Capital", Kind::Society),
    class("SE", 0, 1, "United Kingdom Societas", Kind::Society),
    class("", 0, 8977, "", Kind::Company),
];

/// Categories of ordinary companies with running totals in 1/10,000.
const CATEGORIES: [&str; 9] = [
    "Private Limited Company",
    "PRI/LTD BY GUAR/NSC (Private, limited by guarantee, no share capital)",
    "PRI/LBG/NSC (Private, Limited by guarantee, no share capital, use of 'Limited' exemption)",
    "Community Interest Company",
    "Public Limited Company",
    "Private Unlimited Company",
    "Private Unlimited",
    "PRIV LTD SECT. 30 (Private limited company, section 30 of the Companies Act)",
    "Old Public Company",
];
const CATEGORY_ENDS: [u32; 9] = [9565, 9815, 9921, 9971, 9986, 9997, 9998, 9999, 10_000];

/// What one company is and is called by number.
pub(super) struct Identity {
    /// The line of the table of kinds.
    pub class: &'static Class,
    /// `CompanyCategory`.
    pub category: &'static str,
    /// `CompanyNumber`, always 8 characters.
    pub number: [u8; 8],
}

/// Returns kind and number of the company at `index`, the `tenancy`-th in that place.
///
/// Numbers never repeat inside one snapshot: within a class they follow the index one to one, and
/// later tenants of a place have a first digit (in Scotland, a last letter) of their own. A later
/// tenant of a place of a rare kind is an English company, for want of numbers.
pub(super) fn identity(seed: u64, index: u64, tenancy: u32, rng: &mut Rng) -> Identity {
    let block = index / 10_000;
    // 7919 has no factor in common with 10,000: each block of indexes meets each line of the table
    // exactly `share` times, spread evenly, so that small snapshots have the right shares too.
    let spot = (index % 10_000 * 7919 + mix(seed) % 10_000) % 10_000;
    let mut start = 0;
    let mut class = &CLASSES[CLASSES.len() - 1];
    for line in &CLASSES {
        if spot < start + u64::from(line.share) {
            class = line;
            break;
        }
        start += u64::from(line.share);
    }
    let ordinal = block * u64::from(class.share) + (spot - start);
    if tenancy > 0 && class.prefix != "SC" {
        class = &CLASSES[CLASSES.len() - 1];
        let number = english(index, tenancy);
        return Identity { class, category: category(class, rng), number };
    }
    let number = match class.prefix {
        "" => english(index, tenancy),
        "SC" => scottish(ordinal, tenancy),
        prefix => prefixed(prefix, class.suffix, ordinal),
    };
    Identity { class, category: category(class, rng), number }
}

/// Returns the number of the `n`-th broken row: from 99000000, which no company here has.
pub(super) fn spare_number(n: u64) -> [u8; 8] {
    digits(99_000_000 + n % 1_000_000)
}

/// Returns how far the table is from giving away exactly 10,000 shares (tests hold it to 0).
#[cfg(test)]
pub(super) fn undistributed() -> i64 {
    10_000 - CLASSES.iter().map(|class| i64::from(class.share)).sum::<i64>()
}

fn category(class: &'static Class, rng: &mut Rng) -> &'static str {
    let drawn = CATEGORIES[rng.weighted(&CATEGORY_ENDS)];
    if class.category.is_empty() { drawn } else { class.category }
}

/// The multiplier is prime, so it permutes the numbers below 9,000,000 and neighbours in the
/// register do not have neighbouring numbers.
fn english(index: u64, tenancy: u32) -> [u8; 8] {
    let first = 9 - u64::from(tenancy % 5);
    digits(first * 10_000_000 + index * 6_700_417 % 9_000_000)
}

fn scottish(ordinal: u64, tenancy: u32) -> [u8; 8] {
    let letter = ordinal / 100_000 + 5 * u64::from(tenancy % 5);
    let mut number = digits(ordinal % 100_000);
    number.rotate_left(1);
    number[0] = b'S';
    number[1] = b'C';
    number[7] = b'Z' - u8::try_from(letter % 26).unwrap_or(0);
    number
}

fn prefixed(prefix: &str, suffix: u8, ordinal: u64) -> [u8; 8] {
    let mut number = digits(900_000 + ordinal % 100_000);
    if suffix != 0 {
        number = digits(90_000 + ordinal % 10_000);
        number.rotate_left(1);
        number[7] = suffix;
    }
    for (place, letter) in number.iter_mut().zip(prefix.bytes()) {
        *place = letter;
    }
    number
}

fn digits(mut value: u64) -> [u8; 8] {
    let mut number = [b'0'; 8];
    for place in number.iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
    number
}
