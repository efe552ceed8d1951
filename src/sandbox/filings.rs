//! What a company has filed by the snapshot's date, and what is due next.
//!
//! Dates follow the register's own rules: first accounts 21 months after incorporation, later ones
//! 9 months after a period's end, a confirmation statement 14 days after each anniversary, and the
//! annual return (abolished June 2016) 28 days after it. Each filing has a fixed day, early or
//! late,
//! so a company changes between two snapshots only because time passes. Overdue shares by status
//! are those of `companies-house.md` section 5.

use super::calendar::Date;
use super::life::{Life, Standing};
use super::numbers::Kind;
use super::rng::{Key, Rng};

/// The columns about accounts, returns and confirmation statements.
#[derive(Default)]
pub(super) struct Filings {
    /// Day and month of the accounting reference date.
    pub reference: Option<(u32, u32)>,
    /// `Accounts.NextDueDate`.
    pub accounts_due: Option<Date>,
    /// `Accounts.LastMadeUpDate`.
    pub accounts_made: Option<Date>,
    /// `Accounts.AccountCategory`.
    pub category: &'static str,
    /// `Returns.NextDueDate`.
    pub return_due: Option<Date>,
    /// `Returns.LastMadeUpDate`.
    pub return_made: Option<Date>,
    /// `ConfStmtNextDueDate`.
    pub statement_due: Option<Date>,
    /// `ConfStmtLastMadeUpDate`.
    pub statement_made: Option<Date>,
}

/// What stops a company's filings.
#[derive(Clone, Copy)]
enum Lapse {
    /// Nothing.
    None,
    /// It filed nothing after that day, and nothing due then was in arrears.
    Frozen(Date),
    /// Something was already due on that day and stays undone.
    Overdue(Date),
}

/// Purposes of random streams: one per filing, well apart.
const ACCOUNTS_FILED: u32 = 1 << 20;
const STATEMENT_FILED: u32 = 2 << 20;

impl Filings {
    /// Returns what the company of `life` has filed by `date`.
    pub(super) fn by(date: Date, life: &Life, kind: Kind, is_dormant: bool) -> Self {
        let mut rng = life.key.stream(2);
        match kind {
            Kind::Company | Kind::Llp => Self::company(date, life, is_dormant, &mut rng),
            Kind::LimitedPartnership | Kind::Society => {
                Self::partial(date, life, 850_000, &mut rng)
            }
            Kind::Overseas => Self::overseas(date, life, &mut rng),
            Kind::Charity => Self { category: NO_ACCOUNTS, ..Self::default() },
        }
    }

    fn company(date: Date, life: &Life, is_dormant: bool, rng: &mut Rng) -> Self {
        let accounts = Accounts::new(life.incorporated, life.key, rng);
        let statements = Statements::new(life.incorporated, life.key, rng);
        let (stop_accounts, stop_statements) = lapses(life, &accounts, &statements, rng);
        let n_filed = accounts.filed(date, stop_accounts);
        let n_statements = statements.filed(date, stop_statements);
        let (return_made, return_due) = statements.last_return();
        let struck = matches!(life.standing, Standing::StrikeOff(_));
        let category = accounts_category(is_dormant, struck, rng);
        Self {
            reference: Some(accounts.reference(rng)),
            accounts_due: Some(accounts.due(n_filed)),
            accounts_made: (n_filed > 0).then(|| accounts.end(n_filed - 1)),
            category: if n_filed > 0 { category } else { NO_ACCOUNTS },
            return_due: Some(return_due),
            return_made,
            statement_due: Some(statements.due(n_statements + 1)),
            statement_made: (n_statements > 0).then(|| statements.made(n_statements)),
        }
    }

    fn partial(date: Date, life: &Life, share: u32, rng: &mut Rng) -> Self {
        let statements = Statements::new(life.incorporated, life.key, rng);
        let n = statements.filed(date, Lapse::None);
        let known = rng.chance(share);
        Self {
            category: NO_ACCOUNTS,
            statement_due: known.then(|| statements.due(n + 1)),
            statement_made: (known && n > 0).then(|| statements.made(n)),
            ..Self::default()
        }
    }

    fn overseas(date: Date, life: &Life, rng: &mut Rng) -> Self {
        let mut filings = Self::partial(date, life, 700_000, rng);
        if rng.chance(140_000) {
            let accounts = Accounts::new(life.incorporated, life.key, rng);
            let n = accounts.filed(date, Lapse::None);
            if n > 0 {
                filings.accounts_made = Some(accounts.end(n - 1));
                filings.category = rng.pick(&["FULL", "FULL", "GROUP"]);
            }
        }
        filings
    }
}

const NO_ACCOUNTS: &str = "NO ACCOUNTS FILED";

/// Draws what is undone. Of proposals for strike-off about 47 % are behind with accounts, 65 % with
/// the statement, 75 % with either (the shares below hold for companies old enough to be behind);
/// the rest applied themselves. Nearly all insolvent companies are behind with everything.
fn lapses(
    life: &Life,
    accounts: &Accounts,
    statements: &Statements,
    rng: &mut Rng,
) -> (Lapse, Lapse) {
    let (first, second, back) = (rng.below(1000), rng.below(1000), rng.below(480).cast_signed());
    match life.standing {
        Standing::Active => (Lapse::None, Lapse::None),
        Standing::Insolvent(_, since) => {
            let stopped = since.plus_days(-back);
            (Lapse::Frozen(stopped), Lapse::Frozen(stopped))
        }
        Standing::StrikeOff(since) => {
            let accounts_can = accounts.due(0) < since;
            let statement_can = statements.due(1) < since;
            let no_accounts = accounts_can && first < 690;
            let share = match (accounts_can, no_accounts) {
                (true, true) => 750,
                (true, false) => 330,
                (false, _) => 820,
            };
            let no_statement = statement_can && second < share;
            let lapse = |undone| {
                if undone { Lapse::Overdue(since) } else { Lapse::Frozen(since) }
            };
            let accounts_lapse = if no_accounts { lapse(true) } else { Lapse::None };
            let statement_lapse = if no_statement { lapse(true) } else { Lapse::None };
            (accounts_lapse, statement_lapse)
        }
    }
}

fn accounts_category(is_dormant: bool, struck: bool, rng: &mut Rng) -> &'static str {
    let drawn = rng.below(10_000);
    let dormant = rng.below(1000);
    if is_dormant && dormant < 700 || struck && dormant < 230 {
        return "DORMANT";
    }
    let place = ACCOUNTS.partition_point(|&(_, end)| end <= drawn);
    ACCOUNTS.get(place).map_or("MICRO ENTITY", |&(label, _)| label)
}

/// Account categories of accounts filed, with running totals in 1/10,000: what active companies
/// file (published composition of September 2026).
const ACCOUNTS: [(&str, u32); 14] = [
    ("MICRO ENTITY", 4370),
    ("TOTAL EXEMPTION FULL", 7580),
    ("DORMANT", 8930),
    ("UNAUDITED ABRIDGED", 9320),
    ("SMALL", 9570),
    ("FULL", 9830),
    ("GROUP", 9890),
    ("AUDIT EXEMPTION SUBSIDIARY", 9950),
    ("TOTAL EXEMPTION SMALL", 9968),
    ("MEDIUM", 9988),
    ("ACCOUNTS TYPE NOT AVAILABLE", 9992),
    ("AUDITED ABRIDGED", 9998),
    ("FILING EXEMPTION SUBSIDIARY", 9999),
    ("PARTIAL EXEMPTION", 10_000),
];

/// The periods of account of one company, counted from 0.
struct Accounts {
    first_due: Date,
    /// Month index of the first period's end.
    first_end: i32,
    /// Day of the reference date where it is not the last of its month.
    day: u32,
    key: Key,
}

impl Accounts {
    fn new(incorporated: Date, key: Key, rng: &mut Rng) -> Self {
        let month = incorporated.month_index();
        let drawn = rng.below(100);
        let wanted = if drawn < 13 { 2 } else { 11 };
        let later = 7 + (wanted - (month + 7)).rem_euclid(12);
        let first_end = month + if drawn < 20 { later } else { 12 };
        let day = if rng.chance(8_000) { 5 } else { 0 };
        Self { first_due: incorporated.plus_months(21), first_end, day, key }
    }

    /// Returns the end of period `n`.
    fn end(&self, n: i32) -> Date {
        self.on(self.first_end + 12 * n)
    }

    fn due(&self, n: i32) -> Date {
        if n == 0 { self.first_due } else { self.on(self.first_end + 12 * n + 9) }
    }

    fn on(&self, month: i32) -> Date {
        match self.day {
            0 => Date::month_end(month),
            day => Date::month_start(month).plus_days(day.cast_signed() - 1),
        }
    }

    fn reference(&self, rng: &mut Rng) -> (u32, u32) {
        let (_, month, day) = Date::month_end(self.first_end).parts();
        match (self.day, month) {
            (0, 2) => (28 + rng.below(2), 2),
            (0, _) => (day, month),
            (day, _) => (day, month),
        }
    }

    fn filed_on(&self, n: i32) -> Date {
        let mut rng = self.key.stream(ACCOUNTS_FILED + n.unsigned_abs());
        let late = rng.chance(130_000);
        // First accounts are left to the last weeks more often than later ones.
        let span = if n == 0 { 80 } else { 170 };
        let (early_by, late_by) = (rng.below(span).cast_signed(), rng.below(180).cast_signed());
        self.due(n).plus_days(if late { 1 + late_by } else { -1 - early_by })
    }

    /// Returns for how many periods accounts are filed by `date`.
    fn filed(&self, date: Date, lapse: Lapse) -> i32 {
        let until = match lapse {
            Lapse::None => date,
            Lapse::Frozen(day) | Lapse::Overdue(day) => day.min(date),
        };
        let mut n = (until.month_index() - self.first_end).div_euclid(12);
        if matches!(lapse, Lapse::Overdue(_)) {
            while n > 0 && self.due(n) >= until {
                n -= 1;
            }
            // Some are more than a year behind already, and some young ones never filed at all.
            return match self.key.stream(3).below(100) {
                0..=34 if n <= 5 => 0,
                0..=49 => (n - 1).max(0),
                _ => n.max(0),
            };
        }
        while n >= 0 && self.filed_on(n) > until {
            n -= 1;
        }
        (n + 1).max(0)
    }
}

/// The confirmation statements of one company, counted from 1.
struct Statements {
    /// The day whose anniversaries are the made-up dates.
    anchor: Date,
    incorporated: Date,
    key: Key,
}

impl Statements {
    fn new(incorporated: Date, key: Key, rng: &mut Rng) -> Self {
        let moved = rng.below(330).cast_signed();
        // One company of five has moved its date forward, once.
        let moved = if rng.chance(200_000) { moved - 330 } else { 0 };
        Self { anchor: incorporated.plus_days(moved - 1), incorporated, key }
    }

    fn made(&self, n: i32) -> Date {
        self.anchor.plus_months(12 * n)
    }

    fn due(&self, n: i32) -> Date {
        self.made(n).plus_days(14)
    }

    fn filed_on(&self, n: i32) -> Date {
        let mut rng = self.key.stream(STATEMENT_FILED + n.unsigned_abs());
        let late = rng.chance(260_000);
        let (early_by, late_by) = (rng.below(14).cast_signed(), rng.below(220).cast_signed());
        self.due(n).plus_days(if late { 1 + late_by } else { -early_by })
    }

    /// Returns how many statements are filed by `date`.
    fn filed(&self, date: Date, lapse: Lapse) -> i32 {
        let until = match lapse {
            Lapse::None => date,
            Lapse::Frozen(day) | Lapse::Overdue(day) => day.min(date),
        };
        let mut n = (until.month_index() - self.anchor.month_index()).div_euclid(12);
        if matches!(lapse, Lapse::Overdue(_)) {
            while n > 1 && self.due(n) >= until {
                n -= 1;
            }
            return (n - 1).max(0);
        }
        while n >= 1 && self.filed_on(n) > until {
            n -= 1;
        }
        n.max(0)
    }

    /// Returns the last annual return made and the day of the next: the form ended on 30 June
    /// 2016, but both columns are still filled, for younger companies with a day that never was
    /// due.
    fn last_return(&self) -> (Option<Date>, Date) {
        let (year, month, _) = self.anchor.parts();
        let last = self.made(2016 - i32::from(month > 6) - year);
        let made = (last > self.incorporated.plus_days(180)).then_some(last);
        let from = made.unwrap_or(self.incorporated);
        (made, from.plus_months(12).plus_days(28))
    }
}
