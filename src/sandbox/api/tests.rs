//! What the made-up API promises: windows exact to the call, pages, the same answers again, faults
//! that are what they are called, and counters that add up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::{Request, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use super::super::{Broken, Date, Snapshot};
use super::company::{Company, column};
use super::*;

fn register(rows: u64) -> Register {
    let date = Date::new(2026, 11, 1).unwrap();
    let snapshot = Snapshot { rows, seed: 7, date, broken: Broken::EveryForm };
    let mut bytes = Vec::new();
    snapshot.write(&mut bytes).unwrap();
    Register::of_bytes(bytes).unwrap()
}

fn at(second: i64) -> Timestamp {
    let start: Timestamp = "2026-11-26T09:00:00.7Z".parse().unwrap();
    start + Duration::from_secs(second.unsigned_abs())
}

fn asked(path: &str) -> Request<Vec<u8>> {
    // `my_api_key:`, the example of the documentation.
    let key = "Basic bXlfYXBpX2tleTo=";
    Request::get(path).header("authorization", key).body(Vec::new()).unwrap()
}

fn get(api: &Api, path: &str) -> (StatusCode, Value) {
    let answer = api.answer(&asked(path), at(0));
    let body = serde_json::from_slice(answer.response.body()).unwrap_or(Value::Null);
    (answer.response.status(), body)
}

fn unlimited() -> Settings {
    Settings { limit: u32::MAX, ..Settings::default() }
}

fn header(answer: &Answer, name: &str) -> String {
    let value = answer.response.headers().get(name);
    value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

fn numbers(api: &Api) -> Vec<String> {
    api.register().numbers().map(str::to_owned).collect()
}

fn rows(api: &Api) -> Vec<Company> {
    let read = |number: &String| api.register.company(number).unwrap();
    numbers(api).iter().filter_map(read).collect()
}

#[test]
fn a_window_lasts_exactly_as_long_as_it_says() {
    let settings = Settings { limit: 3, window: Duration::from_secs(5), ..Settings::default() };
    let api = Api::new(register(20), settings);
    let mut seen = Vec::new();
    for second in [0, 1, 4, 4, 5, 5, 5, 9, 10, 30] {
        let answer = api.answer(&asked("/company/nobody"), at(second));
        let reset: i64 = header(&answer, "x-ratelimit-reset").parse().unwrap();
        assert_eq!(header(&answer, "x-ratelimit-limit"), "3");
        assert_eq!(header(&answer, "x-ratelimit-window"), "5s");
        let remain = header(&answer, "x-ratelimit-remain");
        let empty = answer.response.body().is_empty();
        assert_eq!(empty, answer.response.status() == StatusCode::TOO_MANY_REQUESTS);
        seen.push((answer.response.status().as_u16(), remain, reset - at(0).as_second()));
    }
    let told = |status, remain: &str, reset| (status, remain.to_owned(), reset);
    assert_eq!(
        seen,
        [
            told(404, "2", 5),
            told(404, "1", 5),
            told(404, "0", 5),
            told(429, "0", 5),
            told(404, "2", 10),
            told(404, "1", 10),
            told(404, "0", 10),
            told(429, "0", 10),
            told(404, "2", 15),
            told(404, "2", 35),
        ]
    );
    let calls = api.calls();
    assert_eq!((calls.windows, calls.most_in_a_window, calls.limited), (4, 4, 2));
    assert_eq!((calls.distinct, calls.repeated, calls.load), (1, 9, 2));
}

#[test]
fn keys_have_windows_of_their_own() {
    let api = Api::new(register(20), Settings { limit: 1, ..Settings::default() });
    let other = Request::get("/company/x").header("authorization", "Basic b3RoZXI6");
    assert_eq!(get(&api, "/company/x").0, 404);
    assert_eq!(api.answer(&other.body(Vec::new()).unwrap(), at(0)).response.status(), 404);
    assert_eq!(get(&api, "/company/x").0, 429);
}

#[test]
fn a_key_is_a_user_name_with_an_empty_password() {
    let settings = Settings { key: Some("my_api_key".to_owned()), ..Settings::default() };
    let api = Api::new(register(20), settings);
    let status = |header: Option<&str>| {
        let mut request = Request::get("/company/x");
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        api.answer(&request.body(Vec::new()).unwrap(), at(0)).response.status().as_u16()
    };
    assert_eq!(status(Some("Basic bXlfYXBpX2tleTo=")), 404);
    assert_eq!(status(Some("basic bXlfYXBpX2tleTo=")), 404);
    for wrong in [
        None,
        Some("Basic bXlfYXBpX2tleQ=="),
        Some("Basic bXlfYXBpX2tleTpw"),
        Some("Basic b3RoZXI6"),
        Some("Bearer bXlfYXBpX2tleTo="),
        Some("Basic !"),
        Some("my_api_key"),
    ] {
        assert_eq!(status(wrong), 401, "{wrong:?}");
    }
    assert_eq!(api.calls().refused, 7);
}

#[test]
fn says_no_in_four_forms() {
    let api = Api::new(register(50), unlimited());
    let number = numbers(&api).remove(0);
    let (status, body) = get(&api, "/company/00000000");
    let message = "404 NOT_FOUND \"Resource not found for company profile 00000000\"";
    assert_eq!((status.as_u16(), body["message"].as_str()), (404, Some(message)));
    assert_eq!(body["request_id"].as_str().unwrap().len(), 28);
    let (status, body) = get(&api, &format!("/company/{number}/insolvency"));
    assert_eq!((status.as_u16(), &body["status"]), (404, &Value::from(404)));
    let (status, body) = get(&api, &format!("/company/{number}/officers?order_by=age"));
    assert_eq!((status.as_u16(), &body["errors"][0]["type"]), (400, &Value::from("ch:service")));
    assert_eq!(
        get(&api, &format!("/company/{number}/registers")),
        (StatusCode::NOT_FOUND, Value::Null)
    );
}

#[test]
fn an_unknown_number_has_an_empty_list_of_officers() {
    let api = Api::new(register(50), unlimited());
    let (status, body) = get(&api, "/company/00000000/officers");
    assert_eq!(status, 200);
    assert_eq!((&body["total_results"], &body["etag"]), (&Value::from(0), &Value::from("")));
    assert_eq!(body["links"], serde_json::json!({}));
    assert_eq!(body["items_per_page"], 35);
}

#[test]
fn pages_put_together_are_the_list() {
    let api = Api::new(register(1200), unlimited());
    let mut n_paged = 0;
    for number in numbers(&api) {
        let (_, whole) = get(&api, &format!("/company/{number}/officers?items_per_page=1000"));
        let whole = whole["items"].as_array().unwrap().clone();
        let mut items = Vec::new();
        loop {
            let path = format!("/company/{number}/officers?start_index={}", items.len());
            let (_, page) = get(&api, &path);
            let some = page["items"].as_array().unwrap();
            items.extend(some.iter().cloned());
            if some.is_empty() || items.len() as u64 >= page["total_results"].as_u64().unwrap() {
                break;
            }
        }
        n_paged += usize::from(items.len() > 35);
        assert_eq!(items, whole);
        let ids: BTreeSet<_> = whole.iter().map(|item| item["links"]["self"].as_str()).collect();
        assert_eq!(ids.len(), whole.len());
    }
    assert!(n_paged >= 3, "{n_paged} companies need a second page");
}

#[test]
fn the_same_seed_gives_the_same_answers() {
    let (one, two) = (Api::new(register(300), unlimited()), Api::new(register(600), unlimited()));
    let other = Api::new(register(300), Settings { seed: 2, ..unlimited() });
    let mut n_other = 0;
    for number in rows(&one).iter().map(|row| row.number().to_owned()) {
        for what in ["", "/officers", "/filing-history", "/charges"] {
            let path = format!("/company/{number}{what}");
            assert_eq!(get(&one, &path), get(&one, &path));
            // Of a larger register the company is the same, and so are its people; only broken
            // rows (from 99000000) are others.
            if what == "/officers" && !number.starts_with("990") {
                assert_eq!(get(&one, &path), get(&two, &path));
                n_other += usize::from(get(&one, &path) != get(&other, &path));
            }
        }
    }
    assert!(n_other > 200);
}

#[test]
fn people_are_of_every_sort_and_nobody_exists() {
    let api = Api::new(register(1500), unlimited());
    let (mut roles, mut n_sizes) = (BTreeSet::new(), [0; 4]);
    let (mut n_shared, mut n_old, mut n_single, mut n_foreign) = (0, 0, 0, 0);
    for number in numbers(&api) {
        let (_, body) = get(&api, &format!("/company/{number}/officers?items_per_page=200"));
        let items = body["items"].as_array().unwrap();
        n_sizes[match items.len() {
            0 => 0,
            1..=4 => 1,
            5..=39 => 2,
            _ => 3,
        }] += 1;
        let sum = body["active_count"].as_u64().unwrap() + body["resigned_count"].as_u64().unwrap();
        assert_eq!(Some(sum), body["total_results"].as_u64());
        let mut people = BTreeMap::new();
        for item in items {
            let role = item["officer_role"].as_str().unwrap();
            roles.insert(role.to_owned());
            let name = item["name"].as_str().unwrap();
            let before = people.insert(item["person_number"].as_str(), item);
            n_shared += usize::from(before.is_some());
            if let Some(before) = before {
                assert_eq!(before["name"], item["name"]);
                let births = [before.get("date_of_birth"), item.get("date_of_birth")];
                assert!(births[0] == births[1] || births.contains(&None), "{births:?}");
            }
            n_old += usize::from(item["is_pre_1992_appointment"] == true);
            n_foreign += usize::from(!name.is_ascii());
            let is_body = role.starts_with("corporate");
            n_single += usize::from(!is_body && !name.contains(','));
            assert_eq!(is_body, item.get("identification").is_some());
            assert!(!is_body || item.get("date_of_birth").is_none());
            let surname = name.split(',').next().unwrap();
            let longest = surname.split([' ', '-', '\'']).map(str::len).max().unwrap();
            assert!(name.contains("SPECIMEN") || longest >= 7, "{name}");
            assert_eq!(
                item["links"]["self"].as_str().unwrap().rsplit('/').next().unwrap().len(),
                27
            );
        }
    }
    for role in ["director", "secretary", "corporate-secretary", "llp-designated-member"] {
        assert!(roles.contains(role), "{role}");
    }
    assert!(n_sizes.iter().all(|n| *n > 0), "{n_sizes:?}");
    assert!(n_sizes[1] > 1000, "{n_sizes:?}");
    assert!(n_shared > 0 && n_old > 0 && n_single > 0 && n_foreign > 0);
}

#[test]
fn only_active_officers_and_orders_are_as_asked() {
    let api = Api::new(register(500), unlimited());
    for number in numbers(&api) {
        let list = |query: &str| get(&api, &format!("/company/{number}/officers?{query}")).1;
        let active = list("filter=active&items_per_page=500");
        let items = active["items"].as_array().unwrap();
        assert_eq!(active["total_results"], active["active_count"]);
        assert!(items.iter().all(|item| item.get("resigned_on").is_none()));
        let named = list("order_by=surname&items_per_page=500");
        let names = named["items"].as_array().unwrap().iter().map(|item| item["name"].as_str());
        assert!(names.is_sorted());
    }
    let number = numbers(&api).remove(0);
    let status = |query: &str| get(&api, &format!("/company/{number}/officers?{query}")).0;
    assert_eq!(status("filter=resigned"), 400);
    assert_eq!(status("register_view=true"), 400);
    assert_eq!(status("start_index=-1"), 400);
    assert_eq!(status("register_view=false&order_by=resigned_on"), 200);
}

#[test]
fn profiles_say_what_the_row_says() {
    let api = Api::new(register(1500), unlimited());
    let mut n_proposed = 0;
    for row in rows(&api) {
        let (status, body) = get(&api, &format!("/company/{}", row.number()));
        assert_eq!(status, 200);
        assert_eq!(body["company_name"], row.text(column::NAME));
        let detail = body.get("company_status_detail").is_some();
        assert_eq!(detail, row.is_proposed());
        assert!(!detail || body["company_status"] == "active");
        n_proposed += usize::from(detail);
        assert_eq!(body["has_charges"], row.count(column::CHARGES) > 0);
        if let Some(due) = row.date(column::ACCOUNTS_DUE) {
            let is_overdue = due < Date::new(2026, 11, 26).unwrap();
            assert_eq!(body["accounts"]["overdue"], is_overdue);
            assert_eq!(body["accounts"]["next_due"], iso(due));
        }
        let (_, charges) = get(&api, &format!("/company/{}/charges", row.number()));
        assert_eq!(charges["total_count"], row.count(column::CHARGES));
        assert!(charges.get("items_per_page").is_none());
    }
    assert!(n_proposed > 50, "{n_proposed}");
}

#[test]
fn a_proposal_for_strike_off_has_its_notice_in_the_gazette() {
    let api = Api::new(register(1500), unlimited());
    let mut keys = BTreeSet::new();
    for row in rows(&api) {
        let path = format!("/company/{}/filing-history?category=gazette", row.number());
        let (_, body) = get(&api, &path);
        let items = body["items"].as_array().unwrap();
        assert_eq!(items.len(), usize::from(row.is_proposed()));
        for item in items {
            assert!(item["date"].as_str().unwrap() < "2026-11-01", "{item}");
            keys.insert(item["description"].as_str().unwrap().to_owned());
        }
    }
    let known =
        ["gazette-notice-compulsary", "gazette-notice-compulsory", "gazette-notice-voluntary"];
    assert_eq!(keys.iter().collect::<Vec<_>>(), known);
}

#[test]
fn every_fault_is_what_it_is_called() {
    for (fault, name) in Fault::ALL {
        let faults = Faults { shares: vec![(fault, 1.0)], ..Faults::default() };
        let api = Api::new(register(100), Settings { faults, ..unlimited() });
        let number = numbers(&api).remove(3);
        for _ in 0..40 {
            let answer = api.answer(&asked(&format!("/company/{number}/officers")), at(0));
            let (body, status) = (answer.response.body(), answer.response.status().as_u16());
            let value = serde_json::from_slice::<Value>(body);
            let is_whole = answer.delivery == Delivery::Whole;
            let fits = match fault {
                Fault::OutOfTurn => {
                    status == 429 && body.is_empty() && header(&answer, "x-ratelimit-remain") != "0"
                }
                Fault::Slow => value.is_ok() && answer.after == Duration::from_secs(10),
                Fault::Cut => match answer.delivery {
                    Delivery::CutAt(end) => value.is_ok() && end > 0 && end < body.len(),
                    _ => false,
                },
                Fault::NoHead => answer.delivery == Delivery::NoHead,
                Fault::Truncated => is_whole && status == 200 && value.is_err(),
                Fault::Types => is_whole && status == 200 && value.is_ok(),
                Fault::Garbage => {
                    // A name twice is JSON to most readers; the rest is JSON to none.
                    let is_twice = body.starts_with(b"{\"items\":[],\"items\":7");
                    is_whole && status == 200 && value.is_err() != is_twice
                }
                _ => status.to_string() == name && body.starts_with(b"<html>"),
            };
            assert!(fits, "{name}: {answer:?}");
        }
        assert_eq!(api.calls().faults.get(&fault), Some(&40));
        assert_eq!((api.calls().total, api.calls().answered), (40, 0));
    }
}

#[test]
fn a_403_shuts_an_address_out_for_a_while() {
    let shares = vec![(Fault::Forbidden, 0.05)];
    let faults = Faults { shares, pause: Duration::from_secs(60), ..Faults::default() };
    let api = Api::new(register(20), Settings { faults, ..unlimited() });
    let status = |address: [u8; 4], second| {
        let mut request = asked("/company/x");
        request.extensions_mut().insert(IpAddr::from(address));
        api.answer(&request, at(second)).response.status().as_u16()
    };
    let mut n = 0;
    while status([10, 0, 0, 1], 0) == 404 {
        n += 1;
        assert!(n < 1000);
    }
    assert!((1..60).all(|second| status([10, 0, 0, 1], second) == 403));
    let later: Vec<u16> = (0..20).map(|_| status([10, 0, 0, 2], 30)).collect();
    assert!(later.contains(&404));
    assert_eq!(status([10, 0, 0, 1], 60), 404);
}

#[test]
fn shares_are_kept_and_counters_add_up() {
    let shares = vec![(Fault::OutOfTurn, 0.1), (Fault::Cut, 0.05), (Fault::BadGateway, 0.02)];
    let faults = Faults { shares, ..Faults::default() };
    let run = || {
        let settings = Settings { limit: 3800, faults: faults.clone(), ..Settings::default() };
        let api = Api::new(register(400), settings);
        for n in 0..4000 {
            let number = &numbers(&api)[n % 390];
            api.answer(&asked(&format!("/company/{number}/officers?start_index=0")), at(1));
        }
        api.calls()
    };
    let calls = run();
    assert_eq!(calls, run());
    let share = |fault| calls.faults[&fault] as f64 / 3800.0;
    assert!((share(Fault::OutOfTurn) - 0.1).abs() < 0.02, "{calls:?}");
    assert!((share(Fault::Cut) - 0.05).abs() < 0.015, "{calls:?}");
    let sum: u64 = calls.faults.values().sum();
    assert_eq!(calls.total, calls.answered + calls.limited + calls.refused + sum);
    assert_eq!((calls.limited, calls.distinct, calls.repeated), (200, 390, 3610));
    assert_eq!((calls.windows, calls.most_in_a_window), (1, 4000));
}

#[test]
fn tells_and_forgets_what_it_was_asked() {
    let api = Api::new(register(20), Settings { limit: 1, ..Settings::default() });
    get(&api, "/company/x");
    let request = Request::get("/sandbox/calls").body(Vec::new()).unwrap();
    let answer = api.answer(&request, at(0));
    let calls: Value = serde_json::from_slice(answer.response.body()).unwrap();
    assert_eq!((&calls["total"], &calls["answered"]), (&Value::from(1), &Value::from(1)));
    let request = Request::post("/sandbox/reset").body(Vec::new()).unwrap();
    assert_eq!(api.answer(&request, at(0)).response.status(), 204);
    assert_eq!(api.calls(), Calls::default());
    assert_eq!(get(&api, "/company/x").0, 404);
}

#[test]
fn a_file_is_read_as_its_bytes_are_and_nothing_foreign_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let date = Date::new(2026, 11, 1).unwrap();
    let snapshot = Snapshot { rows: 500, seed: 7, date, broken: Broken::EveryForm };
    let mut bytes = Vec::new();
    let written = snapshot.write(&mut bytes).unwrap();
    let path = folder.path().join("register.csv");
    std::fs::write(&path, &bytes).unwrap();
    let (file, memory) = (Register::open(&path).unwrap(), Register::of_bytes(bytes).unwrap());
    assert!(file.len() >= 500 && file.len() <= 500 + written.broken.len());
    assert_eq!(file.as_of(), date);
    for number in memory.numbers() {
        let [one, two] = [&file, &memory].map(|r| r.company(number).unwrap());
        assert_eq!(
            one.map(|c| c.text(column::NAME).to_owned()),
            two.map(|c| c.text(column::NAME).to_owned())
        );
    }
    let refused = |bytes: &str| Register::of_bytes(bytes.into()).unwrap_err().to_string();
    assert!(refused("a,b\r\n").contains("header"));
    let real = format!("{}\r\n\"ANY LIMITED\",\"00000001\",\"\"\r\n", super::super::HEADER);
    assert!(refused(&real).contains("not made up"));
    let packed = Register::open(std::path::Path::new("register.zip")).unwrap_err();
    assert!(packed.to_string().contains("packed"), "{packed}");
    let missing = Register::open(&folder.path().join("no.csv")).unwrap_err().to_string();
    assert!(missing.contains("pipeline sandbox snapshot"), "{missing}");
}
