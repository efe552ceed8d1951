//! `/company/{number}`: what the row says, in the register's own words.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::calendar::Date;
use super::company::{Company, column};
use super::reply::{day, etag, iso, put, titled};

/// Returns the profile of a company as it reads on the day of `now`: what is kept of it, and what
/// is reckoned when somebody asks.
pub(super) fn profile(company: &Company, now: Timestamp) -> Value {
    let mut profile = kept(company);
    let today = day(now);
    put(&mut profile, "has_charges", Some(company.count(column::CHARGES) > 0));
    if let Some(due) = company.date(column::ACCOUNTS_DUE)
        && let Some(accounts) = profile.get_mut("accounts")
    {
        put(&mut accounts["next_accounts"], "overdue", Some(due < today));
        put(accounts, "overdue", Some(due < today));
    }
    if let Some(due) = company.date(column::STATEMENT_DUE)
        && let Some(statement) = profile.get_mut("confirmation_statement")
    {
        put(statement, "overdue", Some(due < today));
    }
    profile
}

/// Returns what is kept of a company: its profile as events carry it, the same every day.
pub(in crate::sandbox) fn kept(company: &Company) -> Value {
    let number = company.number();
    let (status, detail) = status(company.text(column::STATUS));
    let is_insolvent = !["active", "dissolved"].contains(&status);
    let has_charges = company.count(column::CHARGES) > 0;
    let mut profile = json!({
        "company_name": company.text(column::NAME),
        "company_number": number,
        "company_status": status,
        "type": kind(company.text(column::CATEGORY)),
        "jurisdiction": jurisdiction(company.prefix()),
        "can_file": status == "active" && !accountless(company),
        "has_insolvency_history": is_insolvent,
        "has_super_secure_pscs": false,
        "registered_office_is_in_dispute": false,
        "undeliverable_registered_office_address": false,
        "registered_office_address": address(company),
        "links": {
            "self": format!("/company/{number}"),
            "filing_history": format!("/company/{number}/filing-history"),
            "officers": format!("/company/{number}/officers"),
            "persons_with_significant_control":
                format!("/company/{number}/persons-with-significant-control"),
        },
    });
    put(&mut profile, "has_charges", has_charges.then_some(true));
    put(&mut profile, "company_status_detail", detail);
    put(&mut profile, "date_of_creation", company.incorporated().map(iso));
    put(&mut profile, "date_of_cessation", company.date(column::CEASED).map(iso));
    put(&mut profile, "accounts", accounts(company));
    put(&mut profile, "confirmation_statement", statement(company));
    let codes = sic_codes(company);
    put(&mut profile, "sic_codes", (!codes.is_empty()).then_some(codes));
    let previous = previous(company);
    put(&mut profile, "previous_company_names", (!previous.is_empty()).then_some(previous));
    if company.text(column::CATEGORY) == "Community Interest Company" {
        put(&mut profile, "subtype", Some("community-interest-company"));
        put(&mut profile, "is_community_interest_company", Some(true));
    }
    let charges = has_charges.then(|| format!("/company/{number}/charges"));
    put(&mut profile["links"], "charges", charges);
    let etag = etag(&profile);
    put(&mut profile, "etag", Some(etag));
    profile
}

/// Returns the address of the registered office.
pub(in crate::sandbox) fn address(company: &Company) -> Value {
    let mut address = json!({});
    for (name, column) in [
        ("care_of", column::CARE_OF),
        ("po_box", column::PO_BOX),
        ("address_line_1", column::LINE_1),
        ("address_line_2", column::LINE_2),
        ("locality", column::TOWN),
        ("region", column::COUNTY),
        ("country", column::COUNTRY),
    ] {
        put(&mut address, name, company.some(column).map(titled));
    }
    put(&mut address, "postal_code", company.some(column::POSTCODE));
    address
}

/// Returns `company_status` and `company_status_detail`. A company proposed for strike-off is
/// active; only the detail tells.
fn status(label: &str) -> (&'static str, Option<&'static str>) {
    let label = label.to_lowercase();
    match label.as_str() {
        "active - proposal to strike off" => ("active", Some("active-proposal-to-strike-off")),
        "active" => ("active", None),
        "dissolved" => ("dissolved", None),
        "liquidation" => ("liquidation", None),
        _ if label.starts_with("voluntary arrangement") => ("voluntary-arrangement", None),
        _ if label.starts_with("in administration") => ("administration", None),
        "administration order" => ("administration", None),
        _ => ("receivership", None),
    }
}

/// Returns `type`.
fn kind(category: &str) -> &'static str {
    match category {
        "Public Limited Company" => "plc",
        "Old Public Company" => "old-public-company",
        "Private Unlimited Company" => "private-unlimited",
        "Private Unlimited" => "private-unlimited-nsc",
        "Limited Liability Partnership" => "llp",
        "Limited Partnership" => "limited-partnership",
        "Scottish Partnership" => "scottish-partnership",
        "Overseas Entity" => "registered-overseas-entity",
        "Other company type" | "Other Company Type" => "oversea-company",
        "Charitable Incorporated Organisation" => "charitable-incorporated-organisation",
        "Scottish Charitable Incorporated Organisation" => {
            "scottish-charitable-incorporated-organisation"
        }
        "Registered Society" => "registered-society-non-jurisdictional",
        "Industrial and Provident Society" => "industrial-and-provident-society",
        "Royal Charter Company" => "royal-charter",
        "Investment Company with Variable Capital" => "investment-company-with-variable-capital",
        "United Kingdom Societas" => "united-kingdom-societas",
        _ if category.starts_with("PRI/LTD BY GUAR") => "private-limited-guarant-nsc",
        _ if category.starts_with("PRI/LBG") => "private-limited-guarant-nsc-limited-exemption",
        _ if category.starts_with("PRIV LTD SECT. 30") => {
            "private-limited-shares-section-30-exemption"
        }
        // Private limited companies, community interest companies among them.
        _ => "ltd",
    }
}

fn jurisdiction(prefix: &str) -> &'static str {
    match prefix {
        "SC" | "SO" | "SL" | "SG" | "CS" | "SP" => "scotland",
        "NI" | "NC" | "NL" | "NO" | "NF" => "northern-ireland",
        "FC" | "OE" => "noneu",
        "SE" => "united-kingdom",
        _ => "england-wales",
    }
}

fn accountless(company: &Company) -> bool {
    company.date(column::ACCOUNTS_DUE).is_none() && company.date(column::STATEMENT_DUE).is_none()
}

/// Returns `accounts`; nothing for bodies that file none.
fn accounts(company: &Company) -> Option<Value> {
    let due = company.date(column::ACCOUNTS_DUE)?;
    let incorporated = company.incorporated()?;
    let (day, month) =
        (company.count(column::REFERENCE_DAY), company.count(column::REFERENCE_MONTH));
    let made = company.date(column::ACCOUNTS_MADE);
    let end = made.map_or_else(|| first_end(incorporated, day, month), year_later);
    let start = made.map_or(incorporated, |made| made.plus_days(1));
    // Who never filed has the text "null" for a type, and nothing else.
    let mut last = json!({ "type": "null" });
    if let Some(made) = made {
        let before = year_earlier(made).plus_days(1).max(incorporated);
        last = json!({
            "made_up_to": iso(made),
            "period_end_on": iso(made),
            "period_start_on": iso(before),
            "type": accounts_type(company.text(column::ACCOUNTS_CATEGORY)),
        });
    }
    Some(json!({
        "accounting_reference_date": { "day": format!("{day:02}"), "month": format!("{month:02}") },
        "last_accounts": last,
        "next_accounts": {
            "due_on": iso(due),
            "period_start_on": iso(start),
            "period_end_on": iso(end),
        },
        "next_due": iso(due),
        "next_made_up_to": iso(end),
    }))
}

/// The first accounts end on the first reference date more than six months after incorporation.
pub(in crate::sandbox) fn first_end(incorporated: Date, day: u32, month: u32) -> Date {
    let from = incorporated.month_index() + 7;
    let index = from + (month.cast_signed() - 1 - from).rem_euclid(12);
    Date::month_end(index).min(Date::month_start(index).plus_days(day.cast_signed() - 1))
}

/// A year later; the last of February stays the last.
pub(in crate::sandbox) fn year_later(date: Date) -> Date {
    moved(date, 12)
}

/// A year earlier; the last of February stays the last.
pub(super) fn year_earlier(date: Date) -> Date {
    moved(date, -12)
}

fn moved(date: Date, months: i32) -> Date {
    let index = date.month_index() + months;
    let is_last = date.plus_days(1).month_index() > date.month_index();
    if is_last { Date::month_end(index) } else { date.plus_months(months) }
}

/// Returns the word for a kind of accounts; that of a filing's description is made from it.
pub(in crate::sandbox) fn accounts_type(category: &str) -> String {
    match category {
        "ACCOUNTS TYPE NOT AVAILABLE" => "no-accounts-type-available".to_owned(),
        "NO ACCOUNTS FILED" | "" => "null".to_owned(),
        _ => category.to_lowercase().replace(' ', "-"),
    }
}

fn statement(company: &Company) -> Option<Value> {
    let due = company.date(column::STATEMENT_DUE)?;
    let mut statement = json!({
        "next_due": iso(due),
        "next_made_up_to": iso(due.plus_days(-14)),
    });
    put(&mut statement, "last_made_up_to", company.date(column::STATEMENT_MADE).map(iso));
    Some(statement)
}

fn sic_codes(company: &Company) -> Vec<String> {
    let texts = (column::SIC..column::SIC + 4).filter_map(|column| company.some(column));
    let codes = texts.filter_map(|text| text.split_once(" - ")).map(|(code, _)| code.to_owned());
    codes.filter(|code| code.bytes().all(|b| b.is_ascii_digit())).collect()
}

fn previous(company: &Company) -> Vec<Value> {
    let names: Vec<_> = company.previous().collect();
    let began = |n: usize| names.get(n + 1).map(|(day, _)| *day).or(company.incorporated());
    let shown = names.iter().enumerate().filter_map(|(n, (ceased, name))| {
        let from = began(n)?;
        Some(json!({ "name": name, "ceased_on": iso(*ceased), "effective_from": iso(from) }))
    });
    shown.collect()
}
