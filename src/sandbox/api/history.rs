//! `/company/{number}/filing-history`: what must have been filed for the row to be as it is.
//!
//! Dates in a row are followed exactly (made-up dates, changes of name); what it does not tell, the
//! day of a Gazette for instance, is made up between its dates, so that a company proposed for
//! strike-off has its notice, and a compulsory one where something is overdue. Words are those of
//! the register's enumerations (`companies-house.md` section 5).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::calendar::Date;
use super::super::rng::Rng;
use super::board::{self, stream};
use super::charges;
use super::company::{Company, column};
use super::officers::Kind;
use super::profile::{accounts_type, year_earlier};
use super::reply::{Query, Reply, day, id, iso, put};

/// How many items a page has unless the query says.
const PAGE: usize = 25;
/// Older years are not gone into.
const FIRST_YEAR: i32 = 1995;

/// Words of the enumeration that are longer than a line.
const CREATED: &str = "mortgage-create-with-deed-with-charge-number-charge-creation-date";
const CREATED_LLP: &str = concat!(
    "mortgage-create-with-deed-with-charge-number-charge-creation-date",
    "-limited-liability-partnership"
);
const ARRANGED: &str = concat!(
    "liquidation-voluntary-arrangement-meeting-approving",
    "-companies-voluntary-arrangement"
);

/// One filing.
#[derive(Debug)]
pub(in crate::sandbox) struct Filing {
    pub date: Date,
    pub category: &'static str,
    pub kind: &'static str,
    pub description: String,
    pub values: Value,
    pub action: Option<Date>,
}

/// Answers with a page of filings, the latest first; `newer` are items that came after the
/// snapshot.
pub(super) fn answer(
    seed: u64,
    company: &Company,
    as_of: Date,
    newer: Vec<Value>,
    query: &Query,
    now: Timestamp,
) -> Result<Reply, Reply> {
    let start = query.number("start_index", 0)?;
    let per_page = match query.number("items_per_page", PAGE)? {
        0 => PAGE,
        n => n,
    };
    let number = company.number();
    let mut filings = History::of(seed, company, as_of, day(now)).filings;
    filings.sort_by_key(|filing| std::cmp::Reverse(filing.date));
    let mut rng = stream(seed, number, 4);
    let mut items = newer;
    items.extend(filings.iter().map(|filing| filing.shown(number, &mut rng)));
    if let Some(wanted) = query.get("category") {
        let wanted: Vec<&str> = wanted.split(',').collect();
        items.retain(|item| wanted.iter().any(|category| item["category"] == *category));
    }
    let n = items.len();
    let page: Vec<Value> = items.into_iter().skip(start).take(per_page).collect();
    Ok(Reply::found(json!({
        "filing_history_status": "filing-history-available",
        "items": page,
        "items_per_page": per_page,
        "start_index": start,
        "total_count": n,
    })))
}

impl Filing {
    /// Returns the filing as one of the list's items, with an id from `rng`.
    pub(in crate::sandbox) fn shown(&self, number: &str, rng: &mut Rng) -> Value {
        let transaction = id(rng, 24);
        let document = id(rng, 43);
        let mut item = json!({
            "category": self.category,
            "date": iso(self.date),
            "description": self.description,
            "barcode": format!("X{:07}", rng.below(9_999_999)),
            "pages": 1 + rng.below(12),
            "transaction_id": transaction,
            "type": self.kind,
            "links": {
                "self": format!("/company/{number}/filing-history/{transaction}"),
                "document_metadata": format!("https://document.example/document/{document}"),
            },
        });
        put(&mut item, "action_date", self.action.map(iso));
        let has_values = self.values.as_object().is_some_and(|values| !values.is_empty());
        put(&mut item, "description_values", has_values.then(|| self.values.clone()));
        item
    }
}

/// The filings of one company while they are gathered.
struct History<'a> {
    company: &'a Company,
    incorporated: Date,
    /// No filing is later.
    until: Date,
    rng: Rng,
    filings: Vec<Filing>,
}

impl<'a> History<'a> {
    fn of(seed: u64, company: &'a Company, as_of: Date, today: Date) -> Self {
        let rng = stream(seed, company.number(), 3);
        let until = as_of.plus_days(-1).min(today);
        let incorporated = company.incorporated().unwrap_or(until);
        let mut history = Self { company, incorporated, until, rng, filings: Vec::new() };
        if company.incorporated().is_some() {
            history.incorporation();
            history.accounts();
            history.statements();
            history.names();
            history.officers(seed, today);
            history.charges(seed, as_of);
            history.standing();
        }
        history
    }

    /// Adds a filing; a day after the last possible one becomes that.
    fn add(&mut self, date: Date, category: &'static str, kind: &'static str, description: &str) {
        let date = date.max(self.incorporated).min(self.until.max(self.incorporated));
        let description = description.to_owned();
        let values = json!({});
        self.filings.push(Filing { date, category, kind, description, values, action: None });
    }

    fn detail(&mut self, name: &str, value: impl Into<Value>) {
        if let Some(filing) = self.filings.last_mut() {
            put(&mut filing.values, name, Some(value));
        }
    }

    fn acted(&mut self, name: &str, day: Date) {
        self.detail(name, iso(day));
        if let Some(filing) = self.filings.last_mut() {
            filing.action = Some(day);
        }
    }

    fn days(&mut self, from: u32, span: u32) -> i32 {
        (from + self.rng.below(span)).cast_signed()
    }

    fn incorporation(&mut self) {
        let description = match self.company.is_llp() {
            true => "incorporation-limited-liability-partnership",
            false => "incorporation-company",
        };
        self.add(self.incorporated, "incorporation", "NEWINC", description);
    }

    fn accounts(&mut self) {
        let Some(mut made) = self.company.date(column::ACCOUNTS_MADE) else { return };
        let kind = accounts_type(self.company.text(column::ACCOUNTS_CATEGORY));
        // The enumeration spells it so, and knows no word for accounts of unknown type.
        let kind =
            kind.replace("subsidiary", "subsiduary").replace("no-accounts-type-available", "full");
        let description = format!("accounts-with-accounts-type-{kind}");
        while made > self.incorporated && made.parts().0 >= FIRST_YEAR {
            let later = self.days(60, 200);
            self.add(made.plus_days(later), "accounts", "AA", &description);
            self.acted("made_up_date", made);
            made = year_earlier(made);
        }
    }

    fn statements(&mut self) {
        let Some(mut made) = self.company.date(column::STATEMENT_MADE) else { return };
        let is_llp = self.company.is_llp();
        let changed = Date::new(2016, 7, 1);
        while made > self.incorporated && made.parts().0 >= FIRST_YEAR {
            let later = self.days(0, 14);
            let day = made.plus_days(later);
            if changed.is_some_and(|changed| made >= changed) {
                let description = match self.rng.chance(750_000) {
                    true => "confirmation-statement-with-no-updates",
                    false => "confirmation-statement-with-updates",
                };
                self.add(day, "confirmation-statement", "CS01", description);
            } else if is_llp {
                let description = "annual-return-limited-liability-partnership-with-made-up-date";
                self.add(day, "annual-return", "LLAR01", description);
            } else {
                let description = "annual-return-company-with-made-up-date-full-list-shareholders";
                self.add(day, "annual-return", "AR01", description);
            }
            self.acted("made_up_date", made);
            made = year_earlier(made);
        }
    }

    fn names(&mut self) {
        let names: Vec<(Date, String)> =
            self.company.previous().map(|(day, name)| (day, name.to_owned())).collect();
        for (date, name) in names {
            self.add(date, "change-of-name", "CERTNM", "certificate-change-of-name-company");
            let (year, month, day) = date.parts();
            let issued = format!("{day:02}/{month:02}/{:02}", year % 100);
            let text = format!("Company name changed {name}\\certificate issued on {issued}");
            self.detail("description", text);
        }
    }

    fn officers(&mut self, seed: u64, today: Date) {
        for officer in board::officers(seed, self.company, today) {
            let (appoint, leave) = match officer.kind {
                Kind::Director => (
                    ("AP01", "appoint-person-director-company-with-name-date"),
                    ("TM01", "termination-director-company-with-name-termination-date"),
                ),
                Kind::Secretary => (
                    ("AP03", "appoint-person-secretary-company-with-name-date"),
                    ("TM02", "termination-secretary-company-with-name-termination-date"),
                ),
                _ => continue,
            };
            let is_told = officer.person.natural.is_some() && officer.appointed.parts().0 >= 2009;
            if is_told && officer.appointed > self.incorporated && officer.appointed <= self.until {
                let later = self.days(0, 14);
                self.add(officer.appointed.plus_days(later), "officers", appoint.0, appoint.1);
                self.detail("officer_name", officer.person.name.as_str());
                self.acted("appointment_date", officer.appointed);
            }
            if let Some(day) = officer.resigned.filter(|day| is_told && *day <= self.until) {
                let later = self.days(0, 14);
                self.add(day.plus_days(later), "officers", leave.0, leave.1);
                self.detail("officer_name", officer.person.name.as_str());
                self.acted("termination_date", day);
            }
        }
    }

    fn charges(&mut self, seed: u64, as_of: Date) {
        for charge in charges::of(seed, self.company, as_of) {
            let created = match self.company.is_llp() {
                true => CREATED_LLP,
                false => CREATED,
            };
            self.add(charge.delivered, "mortgage", "MR01", created);
            self.detail("charge_number", charge.label.as_str());
            self.acted("charge_creation_date", charge.created);
            if let Some(day) = charge.satisfied {
                let paid = match self.company.is_llp() {
                    true => "mortgage-satisfy-charge-full-limited-liability-partnership",
                    false => "mortgage-satisfy-charge-full",
                };
                self.add(day, "mortgage", "MR04", paid);
                self.detail("charge_number", charge.label.as_str());
            }
        }
    }

    /// Adds what led to the standing: the way to a strike-off, or to insolvency.
    fn standing(&mut self) {
        let status = self.company.text(column::STATUS).to_lowercase();
        let day = self.until.plus_days(-self.days(10, 700));
        match status.as_str() {
            "active" => {}
            _ if self.company.is_proposed() => self.strike_off(),
            "liquidation" => {
                let description = "liquidation-voluntary-appointment-of-liquidator";
                self.add(day, "insolvency", "600", description);
            }
            _ if status.contains("receiver") && !status.starts_with("in admin") => {
                let description = "liquidation-receiver-appointment-of-receiver";
                self.add(day, "insolvency", "RM01", description);
            }
            _ if status.starts_with("voluntary arrangement") => {
                self.add(day, "insolvency", "CVA1", ARRANGED);
            }
            _ => {
                let description = "liquidation-in-administration-appointment-of-administrator";
                self.add(day, "insolvency", "AM01", description);
            }
        }
    }

    fn strike_off(&mut self) {
        let due = [column::ACCOUNTS_DUE, column::STATEMENT_DUE];
        let overdue = due.iter().filter_map(|column| self.company.date(*column));
        let overdue = overdue.filter(|due| *due < self.until).min();
        let last = self.filings.iter().map(|filing| filing.date).max();
        let (draw, spread) = (self.rng.below(100), self.days(2, 24));
        let latest = self.until.plus_days(-spread);
        if let Some(overdue) = overdue {
            let wait = self.days(45, 100);
            let notice = overdue.plus_days(wait).min(latest);
            let key = match draw {
                0..=19 => "gazette-notice-compulsary",
                _ => "gazette-notice-compulsory",
            };
            self.add(notice, "gazette", "GAZ1", key);
            if draw < 45 {
                let wait = self.days(10, 50);
                let key = "dissolved-compulsory-strike-off-suspended";
                self.add(notice.plus_days(wait), "dissolution", "DISS16(SOAS)", key);
            }
            return;
        }
        let wait = self.days(20, 180);
        let notice = last.unwrap_or(self.incorporated).plus_days(wait).min(latest);
        let key = match self.company.is_llp() {
            true => "dissolution-application-strike-off-limited-liability-partnership",
            false => "dissolution-application-strike-off-company",
        };
        self.add(notice.plus_days(-7), "dissolution", "DS01", key);
        self.add(notice, "gazette", "GAZ1(A)", "gazette-notice-voluntary");
        if draw < 30 {
            let wait = self.days(10, 50);
            let key = "dissolution-voluntary-strike-off-suspended";
            self.add(notice.plus_days(wait), "dissolution", "SOAS(A)", key);
        }
    }
}
