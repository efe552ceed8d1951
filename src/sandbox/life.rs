//! The life of a place in the register: who is there in a given month, since when, and how it
//! fares.
//!
//! A place is never empty: when its company is dissolved, another begins there the same month, so
//! a snapshot always has the rows asked for while about 1 % leave and 1 % come each month. A
//! company's hazard depends on its age (highest in the second and third year, when the first
//! accounts are missed), which makes companies proposed for strike-off younger than the rest.
//!
//! Most dissolutions are preceded by `Active - Proposal to Strike off`, for two or three months
//! (the Gazette's two, Companies Act 2006 s1000 and s1003) or, where objections suspend it, for 7
//! to 30; some proposals are discontinued and the company lives on. So most proposals *begun* end
//! within three months, yet most proposals *standing* are long ones: only thus do 1 % dissolutions
//! a month and 7 % proposals in stock (both as in the real file) go together.

use super::calendar::Date;
use super::rng::{Key, Rng};

/// January 2026: the month companies are counted on from.
const FIRST_MONTH: i32 = 2026 * 12;

/// The time of one snapshot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The snapshot's date.
    pub date: Date,
    base: i32,
    generation: i32,
}

impl Moment {
    /// Returns the moment of a snapshot of `date`. Before 2026 nothing is remembered from month to
    /// month: each date is a beginning of its own.
    pub(super) fn new(date: Date) -> Self {
        let base = date.month_index().min(FIRST_MONTH);
        Self { date, base, generation: date.month_index() - base }
    }
}

/// How a company stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// In good order, or nobody has noticed yet.
    Active,
    /// Proposed for strike-off since the given day.
    StrikeOff(Date),
    /// Insolvent (the label says how) since the given day.
    Insolvent(&'static str, Date),
}

/// Who is in a place at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    /// How many companies were in the place before.
    pub tenancy: u32,
    /// The tenant's own random numbers.
    pub key: Key,
    /// When it was incorporated.
    pub incorporated: Date,
    /// How it stands.
    pub standing: Standing,
}

/// The label of a company proposed for strike-off.
pub(super) const STRIKE_OFF: &str = "Active - Proposal to Strike off";

impl Standing {
    /// Returns `CompanyStatus`.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::StrikeOff(_) => STRIKE_OFF,
            Self::Insolvent(label, _) => label,
        }
    }
}

impl Life {
    /// Returns who is at `index` of the register of `seed` at `moment`.
    pub(super) fn at(moment: Moment, seed: u64, index: u64) -> Self {
        let mut tenancy = 0;
        let mut key = Key::new(seed, index, 0);
        let mut rng = key.stream(0);
        let age_days = first_age(&mut rng);
        let age = age_days * 12 / 365;
        let mut born = -age;
        let mut incorporated = Date::month_start(moment.base).plus_days(-1 - age_days);
        let mut lasts = (lifetime(summed_hazard(age) + rng.exponential()) - age).max(1);
        let mut gone = lasts;
        while gone <= moment.generation {
            born = gone;
            tenancy += 1;
            key = Key::new(seed, index, tenancy);
            rng = key.stream(0);
            let before = rng.below(28).cast_signed() + 1;
            incorporated = Date::month_start(moment.base + born).plus_days(-before);
            lasts = lifetime(rng.exponential()).max(1);
            gone = born + lasts;
        }
        let standing = standing(moment, born, gone, &mut rng);
        Self { tenancy, key, incorporated, standing }
    }
}

/// Draws the fate once, always in the same order, then looks how far it has come.
fn standing(moment: Moment, born: i32, gone: i32, rng: &mut Rng) -> Standing {
    let now = moment.generation;
    let insolvency = match gone - born {
        ..60 => 16_000,
        60..150 => 90_000,
        _ => 200_000,
    };
    let is_insolvent = rng.chance(insolvency);
    let length = if is_insolvent {
        12 + rng.below(54)
    } else if rng.chance(590_000) {
        2 + rng.below(2)
    } else {
        7 + rng.below(24)
    };
    let quiet = rng.chance(30_000);
    let too_soon = rng.chance(130_000);
    let label = rng.weighted(&INSOLVENCY_ENDS);
    let phase = rng.below(12).cast_signed();
    // Hardly any company is proposed before its first confirmation statement is late.
    let earliest = if too_soon || is_insolvent { born + 4 } else { born + 13 };
    let begins = (gone - length.cast_signed()).max(earliest);
    let since = Date::month_start(moment.base + begins);
    let age = now - born;
    if is_insolvent && now >= begins && age >= 20 {
        return Standing::Insolvent(INSOLVENCIES[label], since);
    }
    if !is_insolvent && !quiet && now >= begins {
        return Standing::StrikeOff(since);
    }
    discontinued(moment, phase, rng).filter(|_| age >= 14).unwrap_or(Standing::Active)
}

/// Proposals that come to nothing: in a year of its own, one company of sixteen has one for two or
/// three months.
fn discontinued(moment: Moment, phase: i32, rng: &mut Rng) -> Option<Standing> {
    let month = moment.generation + phase;
    let mut year = Rng::from_bits(rng.bits() ^ u64::from((month / 12).unsigned_abs()));
    let lasts = 2 + year.below(2).cast_signed();
    let struck = year.chance(72_000) && month % 12 < lasts;
    let since = Date::month_start(moment.date.month_index() - month % 12);
    struck.then_some(Standing::StrikeOff(since))
}

/// Statuses of insolvent companies with running totals in 1/10,000.
const INSOLVENCIES: [&str; 12] = [
    "Liquidation",
    "In Administration",
    "Voluntary Arrangement",
    "Live but Receiver Manager on at least one charge",
    "ADMINISTRATION ORDER",
    "RECEIVERSHIP",
    "In Administration/Administrative Receiver",
    "ADMINISTRATIVE RECEIVER",
    "RECEIVER MANAGER / ADMINISTRATIVE RECEIVER",
    "In Administration/Receiver Manager",
    "VOLUNTARY ARRANGEMENT / ADMINISTRATIVE RECEIVER",
    "VOLUNTARY ARRANGEMENT / RECEIVERSHIP",
];
const INSOLVENCY_ENDS: [u32; 12] =
    [9270, 9560, 9710, 9850, 9890, 9920, 9940, 9960, 9974, 9988, 9995, 10_000];

/// Ages in days of companies on the register by twentieths (May 2020 sample); the last twentieth
/// is drawn apart.
const AGES: [u32; 20] = [
    2, 110, 220, 365, 475, 657, 804, 1023, 1242, 1498, 1790, 2118, 2484, 2922, 3470, 4164, 5004,
    5917, 7086, 9898,
];

fn first_age(rng: &mut Rng) -> i32 {
    let twentieth = rng.below(20) as usize;
    let (low, high) = match AGES.get(twentieth..twentieth + 2) {
        Some(&[low, high]) => (low, high),
        _ if rng.chance(850_000) => (9898, 18_000),
        _ => (18_000, 46_000),
    };
    (low + rng.below(high - low)).cast_signed()
}

/// Ages in months from which a monthly hazard (in 2^-16) holds, and the hazard summed up to there.
const HAZARDS: [(i32, u64, u64); 4] =
    [(0, 66, 0), (12, 2163, 792), (30, 655, 39_726), (120, 360, 98_676)];

fn summed_hazard(age: i32) -> u64 {
    let piece = HAZARDS.partition_point(|&(from, _, _)| from <= age).max(1) - 1;
    let (from, rate, sum) = HAZARDS[piece];
    sum + rate * u64::from((age - from).unsigned_abs())
}

/// Returns the age in months at which the summed hazard reaches `target`.
fn lifetime(target: u64) -> i32 {
    let piece = HAZARDS.partition_point(|&(_, _, sum)| sum <= target).max(1) - 1;
    let (from, rate, sum) = HAZARDS[piece];
    from + i32::try_from((target - sum) / rate).unwrap_or(i32::MAX / 2)
}
