//! `/company/{number}/officers`: the list, its pages, its orders and what it refuses.
//!
//! As the server code reads (`companies-house.md` 3.3): 35 items a page without an upper cap, an
//! `order_by` of three, `filter=active`, and 200 with nothing in it for a number that is unknown.

use http::StatusCode;
use serde_json::{Value, json};

use super::board::{self, Officer};
use super::reply::{Query, Reply, etag};

/// Which register of its officers a company enters somebody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Kind {
    Director,
    Secretary,
    Member,
    Other,
}

/// How many items a page has unless the query says.
const PAGE: usize = 35;

/// Answers with a page of `all` officers of a company.
pub(super) fn answer(
    seed: u64,
    number: &str,
    all: &[Officer],
    is_dissolved: bool,
    query: &Query,
) -> Result<Reply, Reply> {
    let refused = |error: &str| Reply::errors(StatusCode::BAD_REQUEST, error);
    let start = query.number("start_index", 0)?;
    let per_page = match query.number("items_per_page", PAGE)? {
        0 => PAGE,
        n => n,
    };
    let order = query.get("order_by");
    if order.is_some_and(|order| !["appointed_on", "resigned_on", "surname"].contains(&order)) {
        return Err(refused("invalid-order-by"));
    }
    if query.get("filter").is_some_and(|filter| filter != "active") {
        return Err(refused("invalid-filter"));
    }
    let register = register(query).map_err(refused)?;
    if register.is_some() && !board::stream(seed, number, 2).chance(100_000) {
        // Nine companies in ten keep their registers themselves.
        return Err(Reply::empty(StatusCode::NOT_FOUND));
    }
    let n_resigned = all.iter().filter(|officer| officer.resigned.is_some()).count();
    // Of a dissolved company nobody is active; who did not resign is inactive, without a day.
    let n_there = all.len() - n_resigned;
    let (n_active, n_inactive) = if is_dissolved { (0, n_there) } else { (n_there, 0) };
    let only_active = query.get("filter").is_some() || register.is_some();
    let mut shown: Vec<&Officer> = all
        .iter()
        .filter(|officer| !only_active || officer.resigned.is_none() && !is_dissolved)
        .filter(|officer| register.is_none_or(|kind| officer.kind == kind))
        .collect();
    sort(&mut shown, order);
    let items: Vec<Value> =
        shown.iter().skip(start).take(per_page).map(|officer| officer.shown(number)).collect();
    let is_empty = all.is_empty();
    let mut body = json!({
        "active_count": n_active,
        "inactive_count": n_inactive,
        "resigned_count": n_resigned,
        "items": items,
        "items_per_page": per_page,
        "kind": "officer-list",
        "links": {},
        "start_index": start,
        "total_results": shown.len(),
        "etag": "",
    });
    if !is_empty {
        body["links"]["self"] = format!("/company/{number}/officers").into();
        body["etag"] = etag(&body).into();
    }
    Ok(Reply::found(body))
}

/// Returns the register asked for, if a view of one is.
fn register(query: &Query) -> Result<Option<Kind>, &'static str> {
    match (query.get("register_view"), query.get("register_type")) {
        (None | Some("false"), _) => Ok(None),
        (Some("true"), Some("directors")) => Ok(Some(Kind::Director)),
        (Some("true"), Some("secretaries")) => Ok(Some(Kind::Secretary)),
        (Some("true"), Some("llp_members")) => Ok(Some(Kind::Member)),
        (Some("true"), _) => Err("invalid-register-type"),
        (Some(_), _) => Err("invalid-register-view"),
    }
}

fn sort(officers: &mut [&Officer], order: Option<&str>) {
    match order {
        Some("appointed_on") => {
            officers.sort_by_key(|officer| std::cmp::Reverse(officer.appointed));
        }
        Some("resigned_on") => officers.sort_by_key(|officer| std::cmp::Reverse(officer.resigned)),
        Some("surname") => officers.sort_by(|a, b| a.person.name.cmp(&b.person.name)),
        _ => {}
    }
}
