//! One line of the snapshot: a company's 55 fields in the file's own form.

use super::address::{self, Nation};
use super::calendar::Date;
use super::filings::Filings;
use super::life::{Life, Moment, Standing};
use super::names::{Form, Fronts};
use super::numbers::{Identity, Kind, PLACES, identity};
use super::rng::Rng;
use super::sic;
use super::vocabulary::{COUNTRIES, ODD_ORIGINS};

/// Writes fields, each in quotes and followed by a comma, into a line.
pub(super) struct Fields<'a> {
    line: &'a mut Vec<u8>,
}

impl<'a> Fields<'a> {
    /// Begins at the end of `line`.
    pub(super) fn new(line: &'a mut Vec<u8>) -> Self {
        Self { line }
    }

    /// Appends the quote before a field.
    pub(super) fn open(&mut self) {
        self.line.push(b'"');
    }

    /// Appends the quote and comma after a field.
    pub(super) fn close(&mut self) {
        self.line.extend_from_slice(b"\",");
    }

    /// Appends text inside a field; the text has no quotes.
    pub(super) fn push(&mut self, text: &str) {
        self.line.extend_from_slice(text.as_bytes());
    }

    /// Appends bytes inside a field; they are no quotes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.line.extend_from_slice(bytes);
    }

    /// Appends bytes inside a field, doubling quotes.
    fn quoted(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'"' {
                self.line.push(b'"');
            }
            self.line.push(byte);
        }
    }

    /// Appends a number inside a field.
    pub(super) fn digits(&mut self, value: u32) {
        if value >= 10 {
            self.digits(value / 10);
        }
        self.line.push(b'0' + u8::try_from(value % 10).unwrap_or(0));
    }

    /// Appends a whole field.
    pub(super) fn text(&mut self, text: &str) {
        self.open();
        self.push(text);
        self.close();
    }

    fn number(&mut self, value: u32) {
        self.open();
        self.digits(value);
        self.close();
    }

    /// Appends a date as `dd/mm/yyyy`, or an empty field.
    fn date(&mut self, date: Option<Date>) {
        self.open();
        if let Some(date) = date {
            let (year, month, day) = date.parts();
            let year = year.unsigned_abs();
            for (value, after) in [(day, b'/'), (month, b'/'), (year / 100, 0), (year % 100, 0)] {
                let [tens, units] = [value / 10 % 10, value % 10].map(|digit| digit as u8 + b'0');
                self.line.extend_from_slice(&[tens, units]);
                if after != 0 {
                    self.line.push(after);
                }
            }
        }
        self.close();
    }

    /// Ends the line: the last comma becomes CR LF.
    fn end(self) {
        self.line.pop();
        self.line.extend_from_slice(b"\r\n");
    }
}

/// What every row of a snapshot needs.
pub(super) struct Register {
    /// The snapshot's seed.
    pub seed: u64,
    /// The snapshot's time.
    pub moment: Moment,
    /// The fronts of names.
    pub fronts: Fronts,
}

impl Register {
    /// Appends the line of the company at `index`, whose name stands at `place` in the order of
    /// names, and returns whether it is proposed for strike-off. `name` is room to work in and
    /// holds the name afterwards.
    pub(super) fn write(
        &self,
        line: &mut Vec<u8>,
        index: u64,
        place: u64,
        name: &mut Vec<u8>,
    ) -> bool {
        let mut life = Life::at(self.moment, self.seed, index);
        let mut rng = life.key.stream(1);
        let Identity { class, category, number } =
            identity(self.seed, index, life.tenancy, &mut rng);
        let kind = class.kind;
        if !matches!(kind, Kind::Company | Kind::Llp) {
            life.standing = Standing::Active;
        }
        if class.prefix == "RC" && rng.chance(60_000) {
            life.incorporated = ancient(&mut rng);
        }
        let form = Form { kind, category };
        name.clear();
        self.fronts.write(name, place, form, &mut rng);
        let activity = Activity::drawn(kind, &mut rng);
        let filings = Filings::by(self.moment.date, &life, kind, activity.dormant());
        let nation = Nation::of(class.prefix, kind, &mut rng);

        let mut fields = Fields::new(line);
        fields.open();
        fields.quoted(name);
        fields.close();
        fields.open();
        fields.bytes(&number);
        fields.close();
        address::write(&mut fields, nation, kind, &mut life.key.stream(4));
        fields.text(category);
        fields.text(life.standing.label());
        fields.text(origin(kind, nation, &mut rng));
        fields.text("");
        fields.date(Some(life.incorporated));
        write_filings(&mut fields, &filings);
        write_mortgages(&mut fields, &life, kind, &mut life.key.stream(5));
        activity.write(&mut fields, &mut rng);
        write_partners(&mut fields, kind, &mut rng);
        fields.open();
        fields.push("http://business.data.gov.uk/id/company/");
        fields.bytes(&number);
        fields.close();
        self.write_previous(&mut fields, &life, form);
        fields.date(filings.statement_due);
        fields.date(filings.statement_made);
        fields.end();
        matches!(life.standing, Standing::StrikeOff(_))
    }

    /// Ten pairs of date and former name, the last change first; one company in nine has any.
    fn write_previous(&self, fields: &mut Fields<'_>, life: &Life, form: Form) {
        let mut rng = life.key.stream(6);
        let mut left = 10;
        let mut name = Vec::new();
        // Days count from incorporation, so that they stay when the snapshot's date moves.
        let mut since = 20 + rng.below(3000);
        let mut share = 187_000;
        while left > 0 && form.kind != Kind::Charity && rng.chance(share) {
            let day = life.incorporated.plus_days(since.cast_signed());
            if day >= self.moment.date || since < 10 {
                break;
            }
            name.clear();
            let place = rng.bits() % PLACES;
            self.fronts.write(&mut name, place, form, &mut rng);
            fields.date(Some(day));
            fields.open();
            fields.quoted(&name);
            fields.push(if rng.chance(20_000) { " " } else { "" });
            fields.close();
            since = rng.below(since);
            share = 250_000;
            left -= 1;
        }
        for _ in 0..left {
            fields.bytes(b"\"\",\"\",");
        }
    }
}

/// A few chartered bodies are older than the register of 1844 by centuries.
fn ancient(rng: &mut Rng) -> Date {
    let year = 1320 + rng.below(520).cast_signed();
    Date::month_start(year * 12 + rng.below(12).cast_signed())
}

fn origin(kind: Kind, nation: Nation, rng: &mut Rng) -> &'static str {
    match nation {
        Nation::Abroad(_) if rng.chance(40_000) => rng.pick(&ODD_ORIGINS),
        Nation::Abroad(country) => country,
        _ if kind == Kind::Overseas => rng.pick(&COUNTRIES),
        _ => "United Kingdom",
    }
}

fn write_filings(fields: &mut Fields<'_>, filings: &Filings) {
    match filings.reference {
        Some((day, month)) => {
            fields.number(day);
            fields.number(month);
        }
        None => fields.bytes(b"\"\",\"\","),
    }
    fields.date(filings.accounts_due);
    fields.date(filings.accounts_made);
    fields.text(filings.category);
    fields.date(filings.return_due);
    fields.date(filings.return_made);
}

/// Charges: 11.7 % of active companies, 4 % of those proposed for strike-off and 30 % of the
/// insolvent have one outstanding.
fn write_mortgages(fields: &mut Fields<'_>, life: &Life, kind: Kind, rng: &mut Rng) {
    let drawn = rng.below(1000);
    let (open, paid) = match life.standing {
        Standing::Active => (124, 148),
        Standing::StrikeOff(_) => (40, 55),
        Standing::Insolvent(..) => (300, 340),
    };
    let bodies = matches!(kind, Kind::Company | Kind::Llp);
    let counts = [rng.below(1000), rng.below(1000), rng.below(1000)].map(few);
    let outstanding = if bodies && drawn < open { counts[0] } else { 0 };
    let extra = if bodies && drawn < paid && rng.chance(330_000) { counts[1] } else { 0 };
    let only_paid = if bodies && (open..paid).contains(&drawn) { counts[2] } else { 0 };
    let part = u32::from(outstanding > 2 && drawn.is_multiple_of(40));
    let satisfied = extra + only_paid;
    for count in [outstanding + part + satisfied, outstanding, part, satisfied] {
        fields.number(count);
    }
}

/// Turns thousandths into a count of charges: half have one, one in a thousand dozens.
fn few(drawn: u32) -> u32 {
    match drawn {
        0..=509 => 1,
        510..=769 => 2,
        770..=859 => 3,
        860..=989 => 4 + drawn % 6,
        990..=998 => 10 + drawn % 7 * 3,
        _ => 271,
    }
}

fn write_partners(fields: &mut Fields<'_>, kind: Kind, rng: &mut Rng) {
    let (general, limited) = match (kind, rng.below(100)) {
        (Kind::LimitedPartnership, 0..=69) => (1, 1),
        (Kind::LimitedPartnership, 70..=86) => (1, 2 + rng.below(2)),
        (Kind::LimitedPartnership, 87..=95) => (1 + rng.below(2), 4 + rng.below(30)),
        _ => (0, 0),
    };
    fields.number(general);
    fields.number(limited);
}

/// What a company says it does.
struct Activity {
    /// The first SIC text, where it is fixed.
    fixed: Option<&'static str>,
}

impl Activity {
    fn drawn(kind: Kind, rng: &mut Rng) -> Self {
        let fixed = match (kind, rng.below(1000)) {
            (Kind::Company, 0..=5) => Some(sic::NONE),
            (Kind::Company, 6..=28) => Some(sic::DORMANT),
            (Kind::Company, 29..=52) => Some(sic::RESIDENTS),
            (Kind::Company, _) => None,
            _ => Some(sic::NONE),
        };
        Self { fixed }
    }

    fn dormant(&self) -> bool {
        self.fixed == Some(sic::DORMANT)
    }

    fn write(&self, fields: &mut Fields<'_>, rng: &mut Rng) {
        let drawn = rng.below(1000);
        let n_texts = match (self.fixed, drawn) {
            (Some(_), _) | (None, 134..) => 1,
            (None, 49..) => 2,
            (None, 24..) => 3,
            _ => 4,
        };
        fields.text(self.fixed.unwrap_or_else(|| sic::drawn(rng)));
        for n in 1..4 {
            fields.text(if n < n_texts { sic::drawn(rng) } else { "" });
        }
    }
}
