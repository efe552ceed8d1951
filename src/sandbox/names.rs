//! Names of companies: invented, marked as specimens, and in order by construction.
//!
//! A place of the register (0 to 2^23) decides the front of the name: a head, two syllables and
//! one of 16 groups of trades, which rise with the place in byte order. All that follows (which
//! trade, `& SONS`, the legal form) begins with a character below every letter, so no draw can
//! disturb the order, and two places never share a front. Every name holds the word `SPECIMEN`.

use super::numbers::{Kind, PLACES};
use super::rng::Rng;
use super::vocabulary::{CLOSED_MIDDLES, ENDS, HEAD_WEIGHTS, HEADS, OPEN_MIDDLES, TRADES};

/// How many groups the trades are read as.
const GROUPS: usize = 16;
/// How many fronts share one head.
pub(super) const FRONTS: u64 = (OPEN_MIDDLES.len() * ENDS.len() * GROUPS) as u64;

/// Where each head's places begin, so that names begin with letters as often as real ones.
pub(super) struct Fronts {
    starts: Vec<u64>,
}

impl Fronts {
    /// Returns the division of the register's places among the heads.
    pub(super) fn new() -> Self {
        let total: u64 = HEAD_WEIGHTS.iter().map(|&weight| u64::from(weight)).sum();
        let mut sum = 0;
        let mut starts = Vec::with_capacity(HEADS.len() + 1);
        for weight in HEAD_WEIGHTS {
            starts.push(sum * PLACES / total);
            sum += u64::from(weight);
        }
        starts.push(PLACES);
        Self { starts }
    }

    /// Appends the name of the company at `place` to `out`, as it reads (quotes not doubled).
    pub(super) fn write(&self, out: &mut Vec<u8>, place: u64, form: Form, rng: &mut Rng) {
        let head = self.starts.partition_point(|&start| start <= place).max(1) - 1;
        let (start, end) = (self.starts[head], self.starts[head + 1]);
        let front = (place - start) * FRONTS / (end - start);
        let front = usize::try_from(front).unwrap_or(0);
        let (group, word) = (front % GROUPS, front / GROUPS);
        out.extend_from_slice(HEADS[head].as_bytes());
        let middles = if is_open(HEADS[head]) { &OPEN_MIDDLES } else { &CLOSED_MIDDLES };
        out.extend_from_slice(middles[word / ENDS.len()].as_bytes());
        out.extend_from_slice(ENDS[word % ENDS.len()].as_bytes());
        match HEADS[head] {
            "\"" => out.push(b'"'),
            "(" => out.push(b')'),
            _ => {}
        }
        let each = TRADES.len() / GROUPS;
        out.push(b' ');
        out.extend_from_slice(rng.pick(&TRADES[group * each..(group + 1) * each]).as_bytes());
        write_addition(out, rng);
        out.extend_from_slice(b" SPECIMEN");
        out.extend_from_slice(form.ending(rng).as_bytes());
    }

    /// Returns the widest head's number of places; it must not exceed [`FRONTS`].
    #[cfg(test)]
    pub(super) fn widest(&self) -> u64 {
        self.starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    }
}

/// What decides the words a name ends with.
#[derive(Clone, Copy)]
pub(super) struct Form {
    /// The kind of body.
    pub kind: Kind,
    /// `CompanyCategory`.
    pub category: &'static str,
}

impl Form {
    fn ending(self, rng: &mut Rng) -> &'static str {
        match (self.kind, self.category) {
            (Kind::Llp, _) => " LLP",
            (Kind::LimitedPartnership, _) => rng.pick(&[" LP", " LP", " L.P.", ""]),
            (Kind::Society, _) => rng.pick(&[" SOCIETY LIMITED", " LIMITED", " CLUB LIMITED"]),
            (Kind::Charity, _) => rng.pick(&[" TRUST", " FOUNDATION", " CENTRE", ""]),
            (Kind::Overseas, _) => {
                rng.pick(&[" INC", " LLC", " B.V.", " GMBH", " S.À R.L.", " LIMITED", " LTD."])
            }
            (_, "Public Limited Company" | "Old Public Company") => " PLC",
            (_, "Private Unlimited Company" | "Private Unlimited") => "",
            (_, "Community Interest Company") => {
                rng.pick(&[" CIC", " CIC", " C.I.C.", " COMMUNITY INTEREST COMPANY"])
            }
            (_, category) if category.starts_with("PRI/LBG") => {
                rng.pick(&["", " TRUST", " ASSOCIATION", " FOUNDATION"])
            }
            _ => match rng.below(1000) {
                0..=449 => " LIMITED",
                450..=969 => " LTD",
                970..=987 => " LTD.",
                988..=992 => " CO. LIMITED",
                993..=996 => " LIMITED(THE)",
                997 => " CYF.",
                _ => " CYFYNGEDIG",
            },
        }
    }
}

/// Appends one invented word, as for a partner's name.
pub(super) fn write_word(out: &mut Vec<u8>, rng: &mut Rng) {
    out.extend_from_slice(rng.pick(&OPEN_MIDDLES).as_bytes());
    out.extend_from_slice(rng.pick(&ENDS).as_bytes());
}

/// Appends what stands between trade and marker in about one name of six. Shares of the
/// characters are those of the May 2020 sample (`&` 5.6 %, brackets 6.6 %, `'` 1.1 %, ...).
fn write_addition(out: &mut Vec<u8>, rng: &mut Rng) {
    let drawn = rng.below(100_000);
    let mut end = 0;
    for (share, before, after) in ADDITIONS {
        end += share;
        if drawn < end {
            out.extend_from_slice(before.as_bytes());
            if after != "." {
                write_word(out, rng);
                out.extend_from_slice(after.as_bytes());
            }
            return;
        }
    }
}

/// What may follow the trade in a name: share in 1/100,000, text before and after an invented
/// word, `"."` for no word. Each begins below the letters, so that the order of names stays.
const ADDITIONS: [(u32, &str, &str); 20] = [
    (2200, " & SONS", "."),
    (1500, " & CO", "."),
    (1800, " & ", ""),
    (3200, " (UK)", "."),
    (1700, " (", ")"),
    (1600, " (NO. 2)", "."),
    (1000, " O'", ""),
    (100, "'", " GUILD"),
    (400, ", ", " & CO"),
    (150, ", ", ""),
    (1600, "-", ""),
    (70, "!", "."),
    (15, "?", "."),
    (25, " + ", ""),
    (90, " @ ", ""),
    (60, " \"", "\""),
    (40, " CAFÉ", "."),
    (25, " £", ""),
    (25, " ‘", "’"),
    (30, "  ", ""),
];

/// Returns whether the next syllable should begin with a consonant.
fn is_open(head: &str) -> bool {
    !head.ends_with(|last: char| last.is_ascii_uppercase() && !"AEIOUY".contains(last))
}
