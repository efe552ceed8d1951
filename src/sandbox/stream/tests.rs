//! What the made-up streams promise: the same events again, from any timepoint on, whatever befalls
//! a connection; and a REST API that agrees with them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::{Request, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::{Api, Broken, Settings, Snapshot};
use super::*;

fn register(rows: u64) -> Register {
    let date = Date::new(2026, 11, 1).unwrap();
    let snapshot = Snapshot { rows, seed: 7, date, broken: Broken::EveryForm };
    let mut bytes = Vec::new();
    snapshot.write(&mut bytes).unwrap();
    Register::of_bytes(bytes).unwrap()
}

fn start() -> Timestamp {
    "2026-11-26T09:00:00.25Z".parse().unwrap()
}

fn at(second: u64) -> Timestamp {
    start() + Duration::from_secs(second)
}

fn api(rows: u64, settings: StreamSettings) -> Api {
    let rest = Settings { limit: u32::MAX, ..Settings::default() };
    Api::new(register(rows), rest).streaming(settings, start())
}

/// An API with events at the start, and nothing after them.
fn with_backlog(rows: u64, n: u64) -> Api {
    api(rows, StreamSettings { backlog: n, events: Some(n), ..StreamSettings::default() })
}

fn disturbed(kind: Disturbance, share: f64, n: u64) -> StreamSettings {
    let disturbances = vec![(kind, share)];
    StreamSettings { backlog: n, events: Some(n), disturbances, ..StreamSettings::default() }
}

fn asked_as(key: &str, path: &str) -> Request<Vec<u8>> {
    Request::get(path).header("authorization", key).body(Vec::new()).unwrap()
}

/// `k1:`
const KEY: &str = "Basic azE6";

fn connect(api: &Api, path: &str, now: Timestamp) -> Result<Connection, StatusCode> {
    let connection = api.stream().unwrap().connect(&asked_as(KEY, path), now);
    connection.map_err(|answer| {
        assert!(
            answer.response.status().is_client_error() || answer.response.status().as_u16() > 500
        );
        answer.response.status()
    })
}

/// What a connection sent until a moment, and how it ended if it did.
fn read(connection: &mut Connection, mut now: Timestamp, until: Timestamp) -> (Vec<u8>, Next) {
    let mut all = Vec::new();
    loop {
        match connection.next(now) {
            Next::Bytes(bytes) => {
                assert!(!bytes.is_empty());
                all.extend(bytes);
            }
            Next::Wait(then) if then > until => return (all, Next::Wait(then)),
            Next::Wait(then) => {
                assert!(then > now, "it waits for {then} at {now}");
                now = then;
            }
            end => return (all, end),
        }
    }
}

/// The whole lines of what was read that are JSON, without heartbeats.
fn events(bytes: &[u8]) -> Vec<Value> {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let lines = bytes[..end].split(|byte| *byte == b'\n');
    let events = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    events.filter(|event| event.get("event").is_some()).collect()
}

fn timepoint(event: &Value) -> u64 {
    event["event"]["timepoint"].as_u64().unwrap()
}

/// All events of a feed that are there at `now`, undisturbed.
fn all(api: &Api, feed: Feed, now: Timestamp) -> Vec<Value> {
    let (oldest, next) = api.stream().unwrap().timepoints(feed, now);
    let inner = &api.stream().unwrap().0;
    let line = |timepoint: u64| inner.line(feed, timepoint - feed.first_timepoint()).unwrap();
    (oldest..next).map(|timepoint| serde_json::from_slice(&line(timepoint)).unwrap()).collect()
}

fn get(api: &Api, path: &str, now: Timestamp) -> (StatusCode, Value) {
    let answer = api.answer(&asked_as(KEY, path), now);
    let body = serde_json::from_slice(answer.response.body()).unwrap_or(Value::Null);
    (answer.response.status(), body)
}

const ALIVE: [Feed; 3] = [Feed::Companies, Feed::Officers, Feed::Filings];

#[test]
fn snapshot_and_seed_decide_every_event() {
    let (one, two) = (with_backlog(300, 400), with_backlog(300, 400));
    let rest = Settings { seed: 2, ..Settings::default() };
    let settings = StreamSettings { backlog: 400, events: Some(400), ..StreamSettings::default() };
    let other = Api::new(register(300), rest).streaming(settings, start());
    for feed in ALIVE {
        // Asked for in another order they are the same.
        let last = two.stream().unwrap().0.published(feed, at(0));
        assert_eq!(last, 400);
        two.stream().unwrap().0.line(feed, 399);
        assert_eq!(all(&one, feed, at(0)), all(&two, feed, at(0)));
        assert_ne!(all(&one, feed, at(0)), all(&other, feed, at(0)));
    }
    // What happens does not depend on when it is told.
    let rate = Rate { events: 7, per: Duration::from_secs(3) };
    let later = api(300, StreamSettings { rate, ..StreamSettings::default() });
    let ids = |events: Vec<Value>| -> Vec<String> {
        events.iter().take(300).map(|event| event["resource_id"].to_string()).collect()
    };
    for feed in ALIVE {
        let then = at(3 * 300 / 7 + 1);
        assert_eq!(ids(all(&one, feed, at(0))), ids(all(&later, feed, then)));
    }
}

#[test]
fn events_come_at_their_moments_and_not_before() {
    let rate = Rate { events: 10, per: Duration::from_secs(1) };
    let slow = Rate { events: 3, per: Duration::from_secs(60) };
    let rates = vec![(Feed::Officers, slow)];
    let api = api(100, StreamSettings { rate, rates, backlog: 5, ..StreamSettings::default() });
    let mut companies = connect(&api, "/companies", at(0)).unwrap();
    let mut officers = connect(&api, "/officers", at(0)).unwrap();
    let before = at(1).checked_sub(Duration::from_nanos(1)).unwrap();
    assert_eq!(events(&read(&mut companies, at(0), before).0).len(), 9);
    assert_eq!(events(&read(&mut companies, before, at(1)).0).len(), 1);
    assert_eq!(events(&read(&mut companies, at(1), at(6)).0).len(), 50);
    assert_eq!(events(&read(&mut officers, at(0), at(59)).0).len(), 2);
    let one = events(&read(&mut officers, at(59), at(60)).0);
    assert_eq!(timepoint(&one[0]), Feed::Officers.first_timepoint() + 7);
}

#[test]
fn a_replay_begins_with_the_timepoint_that_was_given() {
    let api = with_backlog(200, 100);
    let known = all(&api, Feed::Filings, at(0));
    let first = Feed::Filings.first_timepoint();
    for from in [0, 1, 57, 99] {
        let path = format!("/filings?timepoint={}", first + from);
        let mut connection = connect(&api, &path, at(1)).unwrap();
        let (bytes, end) = read(&mut connection, at(1), at(2));
        assert_eq!(events(&bytes), known[usize::try_from(from).unwrap()..]);
        assert!(matches!(end, Next::Wait(_)));
    }
    // Without one, what is still to come.
    let mut connection = connect(&api, "/filings", at(1)).unwrap();
    assert_eq!(read(&mut connection, at(1), at(2)).0, b"");
}

#[test]
fn a_timepoint_that_is_not_there_yet_is_waited_for() {
    let api = api(100, StreamSettings::default());
    let path = format!("/companies?timepoint={}", Feed::Companies.first_timepoint() + 20);
    let mut connection = connect(&api, &path, at(5)).unwrap();
    assert_eq!(events(&read(&mut connection, at(5), at(20)).0), [] as [Value; 0]);
    let later = events(&read(&mut connection, at(20), at(23)).0);
    assert_eq!(later.len(), 3);
    assert_eq!(timepoint(&later[0]), Feed::Companies.first_timepoint() + 20);
}

#[test]
fn who_comes_again_after_every_cut_gets_everything() {
    let n = 400;
    let settings = disturbed(Disturbance::Cut, 0.1, n);
    let api = api(200, settings);
    for feed in ALIVE {
        let known = all(&api, feed, at(0));
        let (mut got, mut n_cuts) = (BTreeMap::new(), 0);
        let mut from = feed.first_timepoint();
        loop {
            let path = format!("/{}?timepoint={from}", feed.name());
            let mut connection = connect(&api, &path, at(1)).unwrap();
            let (bytes, end) = read(&mut connection, at(1), at(2));
            for event in events(&bytes) {
                from = timepoint(&event);
                got.insert(from, event);
            }
            if end != Next::Cut {
                break;
            }
            assert_eq!(connection.next(at(9)), Next::Cut);
            n_cuts += 1;
        }
        assert!(n_cuts > 20, "{n_cuts}");
        assert_eq!(got.into_values().collect::<Vec<_>>(), known);
        let calls = api.calls().stream;
        assert_eq!(calls[feed.name()].broken, n_cuts);
        assert_eq!((calls[feed.name()].connections, calls[feed.name()].open), (n_cuts + 1, 0));
    }
}

#[test]
fn every_disturbance_is_what_it_is_called_and_loses_nothing() {
    let n = 200;
    for (kind, name) in Disturbance::ALL.iter().filter(|(kind, _)| !kind.is_of_connections()) {
        let mut settings = disturbed(*kind, 0.2, n);
        if *kind == Disturbance::Cut {
            continue;
        }
        // Half of them are to come.
        settings.backlog = n / 2;
        let api = api(150, settings);
        let path = format!("/companies?timepoint={}", Feed::Companies.first_timepoint());
        let mut connection = connect(&api, &path, at(0)).unwrap();
        let mut got = Vec::new();
        let (mut bytes, mut sizes, mut now) = (Vec::new(), Vec::new(), at(0));
        while now < at(40_000) {
            match connection.next(now) {
                Next::Bytes(piece) => {
                    sizes.push(piece.iter().filter(|byte| **byte == b'\n').count());
                    bytes.extend(piece);
                }
                Next::Wait(then) => now = then,
                end => panic!("{name}: {end:?}"),
            }
        }
        got.extend(events(&bytes));
        let timepoints: Vec<u64> = got.iter().map(timepoint).collect();
        let distinct: BTreeSet<u64> = timepoints.iter().copied().collect();
        let known = all(&api, Feed::Companies, at(40_000));
        assert_eq!(distinct.len(), known.len(), "{name}");
        assert!(got.iter().all(|event| known.contains(event)), "{name}");
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        let n_got = got.len() as u64;
        match kind {
            Disturbance::Duplicate => assert!((220..300).contains(&n_got), "{n_got}"),
            Disturbance::Disorder => {
                let n = timepoints.windows(2).filter(|pair| pair[1] + 1 == pair[0]).count();
                assert!(n > 15, "{n}");
                assert!(timepoints.windows(2).all(|pair| pair[1] + 3 >= pair[0]));
            }
            Disturbance::Burst => assert!(sizes.iter().filter(|size| **size == 20).count() > 2),
            Disturbance::Split => assert!(sizes.iter().filter(|size| **size == 0).count() > 40),
            Disturbance::Garbage => assert!(lines as u64 > n + 20, "{lines}"),
            Disturbance::Silence => {
                let most = sizes.len() - got.len();
                assert!(most > 40_000 / 30 - 100, "{most} heartbeats");
            }
            _ => unreachable!(),
        }
        let is_in_order = !matches!(kind, Disturbance::Disorder | Disturbance::Duplicate);
        assert!(!is_in_order || timepoints.len() as u64 == n && timepoints.is_sorted(), "{name}");
    }
}

#[test]
fn a_silence_is_heartbeats_and_nothing_else() {
    let mut settings = disturbed(Disturbance::Silence, 1.0, 1);
    settings.pause = Duration::from_secs(100);
    let api = api(100, settings);
    let path = format!("/companies?timepoint={}", Feed::Companies.first_timepoint());
    let mut connection = connect(&api, &path, at(0)).unwrap();
    assert_eq!(read(&mut connection, at(0), at(99)).0, b"\n\n\n");
    assert_eq!(events(&read(&mut connection, at(99), at(100)).0).len(), 1);
}

#[test]
fn what_is_too_old_is_refused() {
    let keep = Some(30);
    let api = api(100, StreamSettings { backlog: 100, keep, ..StreamSettings::default() });
    let first = Feed::Companies.first_timepoint();
    let stream = api.stream().unwrap();
    let asked = |n: u64, now| connect(&api, &format!("/companies?timepoint={}", first + n), now);
    assert_eq!(stream.timepoints(Feed::Companies, at(0)), (first + 70, first + 100));
    assert_eq!(asked(69, at(0)).unwrap_err(), StatusCode::RANGE_NOT_SATISFIABLE);
    let mut slow = asked(70, at(0)).unwrap();
    assert!(matches!(slow.next(at(0)), Next::Bytes(_)));
    // Who reads too slowly falls behind what is kept.
    assert_eq!(slow.next(at(2)), Next::Cut);
    assert_eq!(asked(71, at(2)).unwrap_err(), 416);
    let expired =
        api.answer(&Request::post("/sandbox/stream/expire").body(Vec::new()).unwrap(), at(10));
    assert_eq!(expired.response.status(), 204);
    assert_eq!(asked(109, at(10)).unwrap_err(), 416);
    assert_eq!(get(&api, "/sandbox/stream", at(10)).1["companies"]["oldest"], first + 110);
    let mut there = asked(110, at(11)).unwrap();
    assert_eq!(events(&read(&mut there, at(11), at(11)).0).len(), 1);
    assert_eq!(connect(&api, "/companies?timepoint=0", at(11)).unwrap_err(), 416);
    let answer = stream.connect(&asked_as(KEY, "/companies?timepoint=0"), at(11)).unwrap_err();
    assert!(answer.response.body().is_empty());
    assert_eq!(api.calls().stream["companies"].refused, BTreeMap::from([(416, 5)]));
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    let key = Some("k1".to_owned());
    let api = api(100, StreamSettings { key, ..StreamSettings::default() });
    for wrong in ["x", "-1", "1.5", "99999999999999999999999"] {
        let path = format!("/officers?timepoint={wrong}");
        assert_eq!(connect(&api, &path, at(0)).unwrap_err(), 400, "{wrong}");
    }
    let stream = api.stream().unwrap();
    let status = |request: &Request<Vec<u8>>| {
        stream.connect(request, at(0)).unwrap_err().response.status().as_u16()
    };
    assert_eq!(status(&asked_as("Basic b3RoZXI6", "/officers")), 401);
    assert_eq!(status(&Request::get("/officers").body(Vec::new()).unwrap()), 401);
    let posted = Request::post("/officers").header("authorization", KEY);
    assert_eq!(status(&posted.body(Vec::new()).unwrap()), 405);
    assert_eq!(connect(&api, "/people", at(0)).unwrap_err(), 404);
    for (_, name) in Feed::ALL {
        assert!(connect(&api, &format!("/{name}"), at(0)).is_ok());
    }
    let mut quiet = connect(&api, "/charges", at(0)).unwrap();
    assert_eq!(read(&mut quiet, at(0), at(61)).0, b"\n\n");
}

#[test]
fn a_third_connection_of_a_key_ends_the_oldest() {
    let api = api(100, StreamSettings::default());
    let mut first = connect(&api, "/companies", at(0)).unwrap();
    let mut second = connect(&api, "/officers", at(0)).unwrap();
    let other = api.stream().unwrap().connect(&asked_as("Basic b3RoZXI6", "/filings"), at(0));
    let mut other = other.unwrap();
    assert!(matches!(first.next(at(0)), Next::Wait(_)));
    let mut third = connect(&api, "/companies", at(0)).unwrap();
    assert_eq!((first.next(at(1)), first.next(at(2))), (Next::End, Next::End));
    for open in [&mut second, &mut third, &mut other] {
        assert!(matches!(open.next(at(0)), Next::Wait(_)));
    }
    drop(third);
    let _fourth = connect(&api, "/companies", at(0)).unwrap();
    assert!(matches!(second.next(at(0)), Next::Wait(_)));
    let calls = &api.calls().stream["companies"];
    assert_eq!((calls.connections, calls.open, calls.ended), (3, 1, 1));
    // A restart breaks all of them.
    let restart = Request::post("/sandbox/stream/restart").body(Vec::new()).unwrap();
    assert_eq!(api.answer(&restart, at(1)).response.status(), 204);
    assert_eq!((second.next(at(1)), other.next(at(1))), (Next::Cut, Next::Cut));
    assert!(matches!(connect(&api, "/companies", at(1)).unwrap().next(at(1)), Next::Wait(_)));
}

#[test]
fn a_connection_beats_and_ends_after_a_day() {
    let api = api(100, StreamSettings { events: Some(40), ..StreamSettings::default() });
    let mut connection = connect(&api, "/companies", at(0)).unwrap();
    let (bytes, end) = read(&mut connection, at(0), at(100_000));
    assert_eq!(end, Next::End);
    assert_eq!(events(&bytes).len(), 40);
    let blank = bytes.split(|byte| *byte == b'\n').filter(|line| line.is_empty()).count();
    // The last piece after the last end of a line is empty too.
    assert_eq!(blank - 1, 86_400 / 30 - 1);
    let calls = &api.calls().stream["companies"];
    assert_eq!((calls.events, calls.heartbeats, calls.ended), (40, 2879, 1));
}

#[test]
fn who_comes_too_often_waits_longer_for_coming_again() {
    let connects = Some((2, Duration::from_secs(60)));
    let api = api(100, StreamSettings { connects, ..StreamSettings::default() });
    let come = |second| connect(&api, "/companies", at(second)).map(drop);
    assert_eq!((come(0), come(1)), (Ok(()), Ok(())));
    let refused = Err(StatusCode::TOO_MANY_REQUESTS);
    assert_eq!((come(2), come(59), come(61), come(118)), (refused, refused, refused, refused));
    assert_eq!(come(180), Ok(()));
    let disturbances = vec![
        (Disturbance::OutOfTurn, 0.25),
        (Disturbance::BadGateway, 0.25),
        (Disturbance::Unavailable, 0.25),
        (Disturbance::GatewayTimeout, 0.25),
    ];
    let api = self::api(100, StreamSettings { disturbances, ..StreamSettings::default() });
    let mut seen = BTreeMap::new();
    for _ in 0..40 {
        let answer = api.stream().unwrap().connect(&asked_as(KEY, "/filings"), at(0)).unwrap_err();
        let status = answer.response.status().as_u16();
        assert_eq!(answer.response.body().starts_with(b"<html>"), status != 429);
        seen.insert(status, answer.after.as_secs());
    }
    assert_eq!(seen, BTreeMap::from([(429, 0), (502, 5), (503, 0), (504, 40)]));
}

#[test]
fn moments_have_three_forms_and_no_order() {
    let api = with_backlog(200, 600);
    let (mut forms, mut n_turned, mut before) = ([0; 3], 0, None);
    let (mut n_bare, mut n_fields) = (0, 0);
    for event in all(&api, Feed::Filings, at(0)) {
        let text = event["event"]["published_at"].as_str().unwrap();
        let form = match text.len() {
            19 => 0,
            27 if text.ends_with('Z') => 1,
            25 if text.ends_with("+01:00") => 2,
            _ => panic!("{text}"),
        };
        forms[form] += 1;
        let zoned = if form == 0 { format!("{text}Z") } else { text.to_owned() };
        let moment: Timestamp = zoned.parse().unwrap();
        assert!(moment <= at(0));
        n_turned += usize::from(before.is_some_and(|before| moment < before));
        before = Some(moment);
        n_bare += usize::from(!event["resource_uri"].as_str().unwrap().starts_with('/'));
        n_fields += usize::from(event["event"].get("fields_changed").is_some());
    }
    assert!(forms.iter().all(|n| *n > 40), "{forms:?}");
    assert!((20..150).contains(&n_turned), "{n_turned}");
    assert!((2..40).contains(&n_bare) && (2..60).contains(&n_fields), "{n_bare} {n_fields}");
    let line = api.stream().unwrap().0.line(Feed::Companies, 3).unwrap();
    let text = String::from_utf8(line).unwrap();
    let places = [
        "resource_kind",
        "resource_uri",
        "resource_id",
        "\"data\"",
        "\"event\"",
        "timepoint",
        "published_at",
        "\"type\":\"changed\"}}\n",
    ];
    assert!(places.map(|name| text.rfind(name).unwrap()).is_sorted(), "{text}");
}

/// Takes from an answer what is reckoned when it is asked for.
fn without_reckoned(mut profile: Value) -> Value {
    for place in ["/accounts", "/accounts/next_accounts", "/confirmation_statement"] {
        if let Some(object) = profile.pointer_mut(place).and_then(Value::as_object_mut) {
            object.remove("overdue").unwrap();
        }
    }
    if profile["has_charges"] == false {
        profile.as_object_mut().unwrap().remove("has_charges");
    }
    profile
}

#[test]
fn a_profile_is_what_the_last_event_said() {
    let api = api(120, StreamSettings::default());
    let inner = &api.stream().unwrap().0;
    let (mut kinds, mut n_deleted, mut n_proposed) = (BTreeMap::new(), 0, 0);
    let mut before: BTreeMap<String, Value> = BTreeMap::new();
    for n in 0..1500 {
        let now = inner.schedule(Feed::Companies).time(n);
        let (_, next) = api.stream().unwrap().timepoints(Feed::Companies, now);
        assert_eq!(next, Feed::Companies.first_timepoint() + n + 1);
        let event: Value =
            serde_json::from_slice(&inner.line(Feed::Companies, n).unwrap()).unwrap();
        let number = event["resource_id"].as_str().unwrap().to_owned();
        assert_eq!(event["resource_kind"], "company-profile");
        let (status, profile) = get(&api, &format!("/company/{number}"), now);
        let Some(data) = event.get("data") else {
            assert_eq!((event["event"]["type"].as_str(), status.as_u16()), (Some("deleted"), 404));
            let (_, officers) = get(&api, &format!("/company/{number}/officers"), now);
            assert_eq!(officers["total_results"], 0);
            n_deleted += 1;
            continue;
        };
        assert_eq!(status, 200);
        assert_eq!(*data, without_reckoned(profile));
        assert!(!data.to_string().contains("overdue"));
        assert_ne!(data.get("has_charges"), Some(&json!(false)));
        let standing = data["company_status"].as_str().unwrap().to_owned();
        let detail = data.get("company_status_detail");
        assert!(detail.is_none() || standing == "active");
        assert!(standing != "dissolved" || data.get("date_of_cessation").is_some());
        n_proposed += usize::from(detail.is_some());
        *kinds.entry(standing).or_insert(0) += 1;
        before.insert(number, data.clone());
    }
    assert!(n_deleted > 0 && n_proposed > 200, "{n_deleted} {n_proposed}");
    assert!(kinds["active"] > 500 && kinds["dissolved"] > 10, "{kinds:?}");
    // It stays so, for all of them, and was otherwise before.
    let mut n_other = 0;
    for (number, data) in before {
        let path = format!("/company/{number}");
        let (status, profile) = get(&api, &path, at(1500));
        if status == 200 {
            assert_eq!(data, without_reckoned(profile));
            n_other += usize::from(data != without_reckoned(get(&api, &path, at(0)).1));
        }
    }
    assert!(n_other > 50, "{n_other}");
}

#[test]
fn officers_are_as_the_last_event_said() {
    let api = api(120, StreamSettings::default());
    let inner = &api.stream().unwrap().0;
    let (mut n_deleted, mut n_resigned, mut n_proposed) = (0, 0, 0);
    for n in 0..800 {
        let now = inner.schedule(Feed::Officers).time(n);
        assert_eq!(inner.published(Feed::Officers, now), n + 1);
        let event: Value = serde_json::from_slice(&inner.line(Feed::Officers, n).unwrap()).unwrap();
        let uri = event["resource_uri"].as_str().unwrap().trim_start_matches('/');
        let ["company", number, "appointments", id] = uri.split('/').collect::<Vec<_>>()[..] else {
            panic!("{uri}")
        };
        assert_eq!(event["resource_id"], id);
        let (_, profile) = get(&api, &format!("/company/{number}"), now);
        n_proposed += usize::from(profile.get("company_status_detail").is_some());
        let path = format!("/company/{number}/officers?items_per_page=1000");
        let (_, list) = get(&api, &path, now);
        let own = format!("/company/{number}/appointments/{id}");
        let items = list["items"].as_array().unwrap();
        let found: Vec<&Value> =
            items.iter().filter(|item| item["links"]["self"] == own.as_str()).collect();
        let Some(data) = event.get("data") else {
            assert!(found.is_empty());
            n_deleted += 1;
            continue;
        };
        assert!(data.get("company_number").is_none());
        assert_eq!(data["links"], json!({ "self": own }));
        if profile.is_null() || profile.get("company_number").is_none() {
            continue;
        }
        assert_eq!(found.len(), 1, "{event} {list}");
        for (name, value) in data.as_object().unwrap().iter().filter(|(name, _)| *name != "links") {
            assert_eq!(found[0][name], *value);
        }
        n_resigned += usize::from(data.get("resigned_on").is_some());
        let sum = ["active_count", "resigned_count", "inactive_count"];
        let sum: u64 = sum.iter().map(|name| list[*name].as_u64().unwrap()).sum();
        assert_eq!(sum, items.len() as u64);
    }
    assert!(n_deleted > 0 && n_resigned > 40, "{n_deleted} {n_resigned}");
    assert!(n_proposed > 300, "{n_proposed}");
}

#[test]
fn of_a_dissolved_company_nobody_is_active() {
    let api = with_backlog(120, 1000);
    let mut n_seen = 0;
    for event in all(&api, Feed::Companies, at(0)) {
        let number = event["resource_id"].as_str().unwrap();
        let (_, profile) = get(&api, &format!("/company/{number}"), at(0));
        if profile["company_status"] == "dissolved" {
            let (_, list) = get(&api, &format!("/company/{number}/officers"), at(0));
            assert_eq!(list["active_count"], 0);
            n_seen += usize::from(list["inactive_count"].as_u64() > Some(0));
        }
    }
    assert!(n_seen > 5, "{n_seen}");
}

#[test]
fn filings_tell_of_the_same_steps_and_head_the_history() {
    let api = with_backlog(120, 800);
    let (companies, filings) = (all(&api, Feed::Companies, at(0)), all(&api, Feed::Filings, at(0)));
    let mut kinds = BTreeSet::new();
    let mut last = BTreeMap::new();
    for (company, filing) in companies.iter().zip(&filings) {
        let number = company["resource_id"].as_str().unwrap();
        assert!(filing["resource_uri"].as_str().unwrap().contains(number));
        let Some(data) = filing.get("data") else {
            assert!(company.get("data").is_none());
            continue;
        };
        let kind = data["type"].as_str().unwrap();
        kinds.insert(kind.to_owned());
        let detail = company["data"].get("company_status_detail").is_some();
        assert!(!kind.starts_with("GAZ1") || detail);
        assert!(!kind.starts_with("GAZ2") || company["data"]["company_status"] == "dissolved");
        last.insert(number, data.clone());
    }
    for kind in ["GAZ1", "GAZ1(A)", "DISS40", "GAZ2", "AD01", "AA", "CS01", "RT01"] {
        assert!(kinds.contains(kind), "{kind}: {kinds:?}");
    }
    for (number, filing) in last {
        let (status, list) = get(&api, &format!("/company/{number}/filing-history"), at(0));
        assert!(status == 404 || list["items"][0] == filing, "{number}");
    }
}

#[test]
fn an_empty_register_has_quiet_streams() {
    let header = format!("{}\r\n", super::super::HEADER);
    let register = Register::of_bytes(header.into_bytes()).unwrap();
    let settings = StreamSettings { backlog: 9, ..StreamSettings::default() };
    let api = Api::new(register, Settings::default()).streaming(settings, start());
    let path = format!("/companies?timepoint={}", Feed::Companies.first_timepoint());
    let mut connection = connect(&api, &path, at(0)).unwrap();
    assert_eq!(read(&mut connection, at(0), at(95)).0, b"\n\n\n");
}
