//! `/company/{number}/charges`: as many as the row counts, of the kinds it counts.

use serde_json::{Value, json};

use super::super::calendar::Date;
use super::board::stream;
use super::company::{Company, column};
use super::person::Person;
use super::reply::{Query, Reply, etag, id, iso, put};

/// How many items a page has unless the query says; the answer does not say either.
const PAGE: usize = 25;

/// A charge on a company.
#[derive(Debug)]
pub(super) struct Charge {
    number: u32,
    /// How filings call it: the code, or the number before there were codes.
    pub label: String,
    code: Option<String>,
    pub created: Date,
    pub delivered: Date,
    pub satisfied: Option<Date>,
    status: &'static str,
    lender: String,
    id: String,
}

/// Returns the charges of a company, the latest first.
pub(super) fn of(seed: u64, company: &Company, as_of: Date) -> Vec<Charge> {
    let mut rng = stream(seed, company.number(), 5);
    let Some(incorporated) = company.incorporated() else { return Vec::new() };
    let n = company.count(column::CHARGES);
    let n_paid = company.count(column::SATISFIED);
    let n_part = company.count(column::PART_SATISFIED);
    let first = incorporated.max(Date::from_days(0)).plus_days(30).min(as_of.plus_days(-1));
    let last = as_of.plus_days(-30).max(first);
    let span = (last.days() - first.days()).unsigned_abs();
    let mut days: Vec<Date> =
        (0..n).map(|_| first.plus_days(rng.below(span + 1).cast_signed())).collect();
    days.sort_unstable();
    let coded = Date::new(2013, 4, 6);
    let mut charges = Vec::new();
    for (place, created) in (1..=n).zip(days) {
        let is_coded = coded.is_some_and(|coded| created >= coded);
        let code = is_coded.then(|| format!("{}{place:04}", company.number()));
        let room = (as_of.days() - created.days()).unsigned_abs();
        let is_paid = place <= n_paid;
        let later = 20 + rng.below(room.max(21) - 20);
        charges.push(Charge {
            number: place,
            label: code.clone().unwrap_or_else(|| place.to_string()),
            code,
            created,
            delivered: created.plus_days(1 + rng.below(20).cast_signed()),
            satisfied: is_paid.then(|| created.plus_days(later.cast_signed())),
            status: match place {
                _ if is_paid => "fully-satisfied",
                _ if place <= n_paid + n_part => "part-satisfied",
                _ => "outstanding",
            },
            lender: lender(&mut rng),
            id: id(&mut rng, 27),
        });
    }
    charges.reverse();
    charges
}

/// A lender nobody has heard of.
fn lender(rng: &mut super::super::rng::Rng) -> String {
    let body = Person::corporate(rng).name;
    let word = body.split(' ').next().unwrap_or("SPECIMEN");
    format!("{} Specimen Bank PLC", super::reply::titled(word))
}

/// Answers with a page of charges.
pub(super) fn answer(
    seed: u64,
    company: &Company,
    as_of: Date,
    query: &Query,
) -> Result<Reply, Reply> {
    let start = query.number("start_index", 0)?;
    let per_page = match query.number("items_per_page", PAGE)? {
        0 => PAGE,
        n => n,
    };
    let charges = of(seed, company, as_of);
    let page = charges.iter().skip(start).take(per_page);
    let items: Vec<Value> = page.map(|charge| charge.shown(company)).collect();
    let mut body = json!({
        "items": items,
        "part_satisfied_count": company.count(column::PART_SATISFIED),
        "satisfied_count": company.count(column::SATISFIED),
        "total_count": charges.len(),
        "unfiltered_count": charges.len(),
    });
    let etag = etag(&body);
    put(&mut body, "etag", Some(etag));
    Ok(Reply::found(body))
}

impl Charge {
    fn shown(&self, company: &Company) -> Value {
        let number = company.number();
        let filing = |kind: &str, day: Date| {
            let link = format!("/company/{number}/filing-history/{}", self.id);
            json!({ "delivered_on": iso(day), "filing_type": kind, "links": { "filing": link } })
        };
        let (created, paid) = match company.is_llp() {
            true => (
                "create-charge-with-deed-limited-liability-partnership",
                "charge-satisfaction-limited-liability-partnership",
            ),
            false => ("create-charge-with-deed", "charge-satisfaction"),
        };
        let mut transactions = vec![filing(created, self.delivered)];
        transactions.extend(self.satisfied.map(|day| filing(paid, day)));
        let mut item = json!({
            "charge_number": self.number,
            "classification": {
                "description": "A registered charge",
                "type": "charge-description",
            },
            "created_on": iso(self.created),
            "delivered_on": iso(self.delivered),
            "links": { "self": format!("/company/{number}/charges/{}", self.id) },
            "particulars": {
                "type": "brief-description",
                "description": "Specimen of a charge; nothing is secured by it.",
                "contains_fixed_charge": true,
                "contains_negative_pledge": self.number.is_multiple_of(2),
            },
            "persons_entitled": [{ "name": self.lender }],
            "status": self.status,
            "transactions": transactions,
        });
        put(&mut item, "charge_code", self.code.clone());
        put(&mut item, "satisfied_on", self.satisfied.map(iso));
        let etag = etag(&item);
        put(&mut item, "etag", Some(etag));
        item
    }
}
