//! What the steps of a company make of its row, and what is filed about them.

use serde_json::{Value, json};

use super::super::api::{Company, Filing, column, iso, person, profile, put, stream};
use super::super::calendar::Date;
use super::super::life::STRIKE_OFF;
use super::super::rng::{Rng, mix};
use super::life::{Standing, State, Step, What, accounts_end, statement_end};

/// Returns the row of a company as it would be now; nothing when its record was taken away.
/// `day_of` tells on which day a step was published.
pub(super) fn changed(
    row: &Company,
    state: &State,
    seed: u64,
    day_of: impl Fn(u32) -> Date,
) -> Option<Company> {
    if state.is_deleted {
        return None;
    }
    let mut company = row.clone();
    let standing = match state.standing {
        Standing::AsBefore => None,
        Standing::Active => Some("Active"),
        Standing::Proposed => Some(STRIKE_OFF),
        Standing::Dissolved => Some("Dissolved"),
    };
    if let Some(standing) = standing {
        company = company.with(column::STATUS, standing);
    }
    if let Some(step) = state.ceased {
        company = company.with(column::CEASED, written(day_of(step)));
    }
    if let Some(step) = state.moved {
        company = moved(company, &address(seed, step));
    }
    if state.accounts > 0 {
        company = filed_accounts(company, row, state.accounts);
    }
    if let Some(made) = state.statements.checked_sub(1).and_then(|n| statement_end(row, n)) {
        let due = profile::year_later(made).plus_days(14);
        company = company.with(column::STATEMENT_MADE, written(made));
        company = company.with(column::STATEMENT_DUE, written(due));
    }
    Some(company)
}

fn filed_accounts(mut company: Company, row: &Company, n: u16) -> Company {
    let Some(made) = accounts_end(row, n - 1) else { return company };
    let due = profile::year_later(made).plus_months(9);
    if matches!(row.text(column::ACCOUNTS_CATEGORY), "NO ACCOUNTS FILED" | "") {
        company = company.with(column::ACCOUNTS_CATEGORY, "MICRO ENTITY");
    }
    company.with(column::ACCOUNTS_MADE, written(made)).with(column::ACCOUNTS_DUE, written(due))
}

/// Makes up where a company moves to at a step.
fn address(seed: u64, step: u32) -> Value {
    person::address(&mut rng(seed, step, 1))
}

fn moved(company: Company, address: &Value) -> Company {
    let text = |name: &str| address.get(name).and_then(Value::as_str).unwrap_or("");
    let line = format!("{} {}", text("premises"), text("address_line_1"));
    [
        (column::CARE_OF, ""),
        (column::PO_BOX, ""),
        (column::LINE_1, line.as_str()),
        (column::LINE_2, ""),
        (column::TOWN, text("locality")),
        (column::COUNTY, text("region")),
        (column::COUNTRY, text("country")),
        (column::POSTCODE, text("postal_code")),
    ]
    .into_iter()
    .fold(company, |company, (column, text)| company.with(column, text))
}

/// Returns the random numbers of a step for one purpose.
pub(super) fn rng(seed: u64, step: u32, purpose: u64) -> Rng {
    Rng::from_bits(mix(seed ^ 0x0057_e900 ^ purpose) ^ mix(u64::from(step)))
}

/// Returns what is filed about a step, as an item of the filing history; nothing when a filing is
/// taken away. `before` and `after` are the company's row.
pub(super) fn filing(
    seed: u64,
    n: u32,
    step: &Step,
    (before, after): (&Company, Option<&Company>),
    row: &Company,
    day: Date,
) -> Option<Value> {
    let number = row.number();
    let is_voluntary = stream(seed, number, 7).chance(300_000);
    let is_llp = row.is_llp();
    let (category, kind, description) = match (step.what, is_voluntary) {
        (What::Deleted, _) => return None,
        (What::Proposed, false) => ("gazette", "GAZ1", "gazette-notice-compulsory"),
        (What::Proposed, true) => ("gazette", "GAZ1(A)", "gazette-notice-voluntary"),
        (What::Withdrawn, false) => ("gazette", "DISS40", "gazette-filings-brought-up-to-date"),
        (What::Withdrawn, true) if is_llp => ("dissolution", "LLDS02", WITHDRAWN_LLP),
        (What::Withdrawn, true) => ("dissolution", "DS02", WITHDRAWN),
        (What::Dissolved, false) => ("gazette", "GAZ2", "gazette-dissolved-compulsory"),
        (What::Dissolved, true) => ("gazette", "GAZ2(A)", "gazette-dissolved-voluntary"),
        (What::Restored, _) => ("restoration", "RT01", "administrative-restoration-company"),
        (What::Moved, _) => ("address", "AD01", MOVED),
        (What::Accounts, _) => ("accounts", "AA", "accounts-with-accounts-type-"),
        (What::Statement | What::Nothing, _) => {
            ("confirmation-statement", "CS01", "confirmation-statement-with-no-updates")
        }
    };
    let mut description = description.to_owned();
    let (mut values, mut action) = (json!({}), None);
    match step.what {
        What::Accounts => {
            let company = after.unwrap_or(before);
            let kind = profile::accounts_type(company.text(column::ACCOUNTS_CATEGORY));
            // As in `history.rs`: the enumeration's own spelling, and no word for unknown types.
            description += &kind
                .replace("subsidiary", "subsiduary")
                .replace("no-accounts-type-available", "full");
            action = company.date(column::ACCOUNTS_MADE);
            put(&mut values, "made_up_date", action.map(iso));
        }
        What::Statement | What::Nothing => {
            action = after.unwrap_or(before).date(column::STATEMENT_MADE);
            put(&mut values, "made_up_date", action.map(iso));
        }
        What::Moved => {
            action = Some(day);
            put(&mut values, "change_date", Some(iso(day)));
            put(&mut values, "old_address", Some(line(before)));
            put(&mut values, "new_address", Some(line(after.unwrap_or(before))));
        }
        _ => {}
    }
    let filing = Filing { date: day, category, kind, description, values, action };
    Some(filing.shown(number, &mut rng(seed, n, 2)))
}

const MOVED: &str = "change-registered-office-address-company-with-date-old-address-new-address";
const WITHDRAWN: &str = "dissolution-withdrawal-application-strike-off-company";
const WITHDRAWN_LLP: &str =
    "dissolution-withdrawal-application-strike-off-limited-liability-partnership";

/// Writes an address in one line.
fn line(company: &Company) -> String {
    let columns = [column::LINE_1, column::LINE_2, column::TOWN, column::POSTCODE];
    let parts: Vec<&str> = columns.iter().filter_map(|column| company.some(*column)).collect();
    parts.join(", ")
}

/// Writes a day as the snapshot does.
fn written(date: Date) -> String {
    let (year, month, day) = date.parts();
    format!("{day:02}/{month:02}/{year:04}")
}
