//! Look-ups against servers that are made of JSON: good ones, odd ones and broken ones.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::context::Files;
use crate::spec::{Family, Mark, Scope};

/// The key of all tests: no message, no request and no verdict may show it.
const SECRET: &str = "k3y-of-the-tests";

fn scope() -> Scope {
    let env = [("CH_API_KEY", SECRET), ("OTHER", "p4ss/word")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Scope { env: env.into(), ..Scope::default() }
}

fn kind(name: &str, settings: &str) -> LookupKind {
    struct Kind(LookupKind);
    impl<'de> serde::Deserialize<'de> for Kind {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Entry;
            impl<'de> serde::de::Visitor<'de> for Entry {
                type Value = Kind;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a kind")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(
                    self,
                    mut map: A,
                ) -> Result<Kind, A::Error> {
                    let name: String = map.next_key()?.expect("a kind");
                    LookupKind::read(&name, &mut map).map(Kind)
                }
            }
            deserializer.deserialize_map(Entry)
        }
    }
    serde_saphyr::from_str::<Kind>(&format!("{name}: {settings}")).expect("settings").0
}

/// Builds a look-up; the messages otherwise.
fn build(name: &str, settings: &str, by: &[&str]) -> Result<Arc<dyn Lookup>, Vec<String>> {
    let kind = kind(name, settings);
    assert!(!format!("{kind:?}").contains(SECRET));
    let scope = scope();
    let mut context = BuildContext::new(&scope, Files::MustExist);
    let by: Vec<_> =
        by.iter().map(|name| Located::new((*name).to_owned(), Mark::default())).collect();
    let built = kind.settings().build(&by, &mut context);
    let found: Vec<String> = context
        .found
        .iter()
        .map(|fault| fault.message.clone() + fault.label.as_deref().unwrap_or(""))
        .collect();
    assert!(found.iter().all(|message| !message.contains(SECRET)), "{found:?}");
    built.filter(|_| found.is_empty()).ok_or(found)
}

pub(super) fn officers(more: &str) -> Arc<dyn Lookup> {
    let settings = format!("{{ key: '${{secret:CH_API_KEY}}'{more} }}");
    build("companies_house_officers", &settings, &["company_number"]).expect("a look-up")
}

pub(super) fn profile() -> Arc<dyn Lookup> {
    let settings = "{ key: '${secret:CH_API_KEY}' }";
    build("companies_house_profile", settings, &["company_number"]).expect("a look-up")
}

pub(super) fn response(status: u16, body: impl Into<Vec<u8>>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

fn ok(body: &Value) -> Response {
    response(200, body.to_string())
}

/// What a look-up made of a server.
pub(super) struct Talk {
    pub(super) verdict: Verdict,
    pub(super) rows: Vec<Row>,
    asked: Vec<String>,
}

/// Lets a look-up talk to a server until it is done.
pub(super) fn talk(
    lookup: &dyn Lookup,
    value: &str,
    mut server: impl FnMut(&Request) -> Response,
) -> Talk {
    let key = lookup.key(&[value]).expect("a key");
    let (mut request, mut rows, mut asked) = (lookup.ask(&key), Vec::new(), Vec::new());
    loop {
        assert!(asked.len() < 300, "no end of requests");
        assert!(!format!("{request:?}").contains(SECRET));
        asked.push(request.uri().to_string());
        let before = rows.clone();
        let verdict = lookup.read(&key, &request, &server(&request), &mut rows);
        assert!(!format!("{verdict:?}").contains(SECRET));
        assert!(!format!("{verdict:?}").contains("azN5"), "Base64 of the key: {verdict:?}");
        match verdict {
            Verdict::Next(next) => request = *next,
            verdict => {
                assert!(matches!(verdict, Verdict::Answer) || rows == before, "{verdict:?}");
                check_types(lookup, &rows);
                return Talk { verdict, rows, asked };
            }
        }
    }
}

/// Every value is one of its column's type.
fn check_types(lookup: &dyn Lookup, rows: &[Row]) {
    for row in rows {
        assert_eq!(row.len(), lookup.columns().len());
        for (column, value) in lookup.columns().iter().zip(row) {
            let Some(text) = value else { continue };
            let array = crate::table::typed_column(&[Some(text)], &column.kind.data_type());
            assert!(array.is_ok(), "{}: {text}", column.name);
            assert!(!text.is_empty() && !text.contains('\0'), "{}: {text}", column.name);
        }
    }
}

fn cell<'a>(lookup: &dyn Lookup, row: &'a Row, name: &str) -> Option<&'a str> {
    let at = lookup.columns().iter().position(|column| column.name == name);
    row[at.unwrap_or_else(|| panic!("no column {name}"))].as_deref()
}

/// An officer with every member that there is.
fn officer(n: usize) -> Value {
    json!({
        "address": {
            "care_of": "The Porter", "po_box": "PO 7", "premises": "1", "address_line_1": "Mill Lane",
            "address_line_2": "Upper Floor", "locality": "Anytown", "region": "Anyshire",
            "country": "England", "postal_code": "ZZ1 1ZZ",
        },
        "appointed_on": "2001-02-03",
        "appointed_before": "1991-12-31",
        "is_pre_1992_appointment": false,
        "country_of_residence": "Wales",
        "date_of_birth": { "month": 4, "year": 1961 },
        "etag": "e7a6",
        "former_names": [{ "forenames": "Mina", "surname": "BEFORE" }, { "surname": "EARLIER" }],
        "contact_details": { "contact_name": "Front Desk" },
        "identity_verification_details": {
            "appointment_verification_end_on": "9999-12-31",
            "appointment_verification_start_on": "2026-01-02",
            "appointment_verification_statement_due_on": "2026-03-04",
            "authorised_corporate_service_provider_name": "Checkers",
            "identity_verified_on": "2026-01-01",
            "preferred_name": "Min",
        },
        "links": {
            "self": format!("/company/01234567/appointments/A{n}"),
            "officer": { "appointments": format!("/officers/P{n}/appointments") },
        },
        "name": "SAMPLE, Mina Maria, Dr",
        "nationality": "British",
        "occupation": "Miller",
        "officer_role": "director",
        "person_number": "000000010001",
        "responsibilities": "Mills",
        "something_new": { "of": ["another", "year"] },
    })
}

fn list(items: &[Value], start: usize, total: usize) -> Value {
    json!({
        "active_count": total, "inactive_count": 0, "resigned_count": 0, "etag": "", "items": items,
        "items_per_page": 100, "kind": "officer-list", "links": {}, "start_index": start,
        "total_results": total,
    })
}

fn company(number: &str) -> Value {
    json!({ "company_name": "SAMPLE LTD", "company_number": number, "type": "ltd", "can_file": true, "links": {} })
}

fn number_in(uri: &str, name: &str) -> usize {
    let (_, rest) = uri.split_once(&format!("{name}=")).expect("a parameter");
    rest.split('&').next().and_then(|n| n.parse().ok()).expect("a number")
}

/// A server that has so many officers at a request.
fn paged(mut n_officers: impl FnMut(usize) -> Vec<usize>) -> impl FnMut(&Request) -> Response {
    let mut n_asked = 0;
    move |request| {
        let uri = request.uri().to_string();
        let all = n_officers(n_asked);
        n_asked += 1;
        let start = number_in(&uri, "start_index");
        let n = number_in(&uri, "items_per_page");
        let items: Vec<Value> = all.iter().skip(start).take(n).map(|n| officer(*n)).collect();
        ok(&list(&items, start, all.len()))
    }
}

#[test]
fn asks_with_the_key_as_the_user_and_an_empty_password() {
    let lookup = officers(", base_url: 'http://127.0.0.1:9/ch/', active: true");
    let key = lookup.key(&["1234567"]).expect("a key");
    let request = lookup.ask(&key);
    assert_eq!(
        request.uri(),
        "http://127.0.0.1:9/ch/company/01234567/officers?items_per_page=100&start_index=0&filter=active"
    );
    let header = request.headers().get("authorization").expect("a header");
    assert_eq!(header, "Basic azN5LW9mLXRoZS10ZXN0czo=");
    assert!(header.is_sensitive());
    assert_eq!(lookup.server(), "http://127.0.0.1:9");
    assert_eq!(lookup.identity(), "companies_house_officers 1 http://127.0.0.1:9/ch active");
    assert_ne!(lookup.identity(), officers("").identity());
}

#[test]
fn notes_what_is_wrong_with_settings() {
    let by: &[&str] = &["company_number"];
    for (settings, by, word) in [
        ("{ key: '${secret:NOPE}' }", by, "not set"),
        ("{ key: '' }", by, "no key"),
        ("{ key: 'a:b' }", by, "no key"),
        ("{ key: k, base_url: 'ftp://a' }", by, "https://"),
        ("{ key: k, base_url: 'https://u:p@a' }", by, "credentials"),
        ("{ key: k, items_per_page: 3 }", by, "items a page"),
        ("{ key: k }", &["a", "b"], "2 columns"),
        ("{ key: k }", &[], "0 columns"),
    ] {
        let found = build("companies_house_officers", settings, by).err().unwrap_or_default();
        assert!(found.iter().any(|message| message.contains(word)), "{settings}: {found:?}");
    }
}

#[test]
fn reads_every_page_once() {
    for per_page in [10, 50, 100, 500] {
        let lookup = officers(&format!(", items_per_page: {per_page}"));
        let talk = talk(&*lookup, "01234567", paged(|_| (0..120).collect()));
        assert!(matches!(talk.verdict, Verdict::Answer), "{:?}", talk.verdict);
        assert_eq!(talk.asked.len(), 120_usize.div_ceil(per_page));
        for (n, row) in talk.rows.iter().enumerate() {
            assert_eq!(cell(&*lookup, row, "officer_id"), Some(format!("A{n}").as_str()));
        }
        assert_eq!(talk.rows.len(), 120);
    }
}

#[test]
fn a_list_that_changes_while_it_is_read_is_read_whole() {
    let lookup = officers(", items_per_page: 50");
    // One comes in front, one goes, and some change their places.
    let came =
        |n: usize| -> Vec<usize> { if n == 0 { (1..121).collect() } else { (0..121).collect() } };
    let went =
        |n: usize| -> Vec<usize> { if n == 0 { (0..121).collect() } else { (1..121).collect() } };
    let moved = |n: usize| -> Vec<usize> {
        if n == 0 { (0..120).collect() } else { (0..120).rev().collect() }
    };
    for (changes, expected) in [
        (&came as &dyn Fn(usize) -> Vec<usize>, (0..121).collect::<Vec<_>>()),
        (&went, (1..121).collect()),
    ] {
        let talk = talk(&*lookup, "01234567", paged(changes));
        assert!(matches!(talk.verdict, Verdict::Answer));
        let mut ids: Vec<usize> = talk
            .rows
            .iter()
            .map(|row| cell(&*lookup, row, "officer_id").expect("an id")[1..].parse().expect("n"))
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, expected);
    }
    // Nobody can know that; but no officer comes twice.
    let talk = talk(&*lookup, "01234567", paged(moved));
    let mut ids: Vec<_> = talk.rows.iter().map(|row| row[0].clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), talk.rows.len());
}

#[test]
fn never_reads_pages_without_end() {
    let lookup = officers("");
    // One officer a page of a million, the same page again and again, pages without officers.
    let trickle = |request: &Request| {
        let start = number_in(&request.uri().to_string(), "start_index");
        ok(&list(&[officer(start)], start, 1_000_000))
    };
    let again = |_: &Request| ok(&list(&[officer(1)], 0, 3));
    let empty = |request: &Request| {
        let start = number_in(&request.uri().to_string(), "start_index");
        ok(&list(&if start == 0 { vec![officer(0)] } else { vec![] }, start, 3))
    };
    let mut n = 0;
    let growing = |request: &Request| {
        n += 2;
        let start = number_in(&request.uri().to_string(), "start_index");
        ok(&list(&[officer(start)], start, n))
    };
    for (server, word) in [
        (Box::new(trickle) as Box<dyn FnMut(&Request) -> Response>, "100 pages"),
        (Box::new(again), "start_index"),
        (Box::new(empty), "`$.items` is empty after 1 of 3"),
        (Box::new(growing), "100 pages"),
    ] {
        let talk = talk(&*lookup, "01234567", server);
        assert!(
            matches!(&talk.verdict, Verdict::Passing(r) if r.contains(word)),
            "{:?}",
            talk.verdict
        );
    }
}

#[test]
fn tells_no_officers_from_no_company() {
    let lookup = officers("");
    let unknown = |_: &Request| response(404, "");
    for (profile, word) in [(ok(&company("01234567")), "none"), (response(404, ""), "unknown")] {
        for none in [ok(&list(&[], 0, 0)), response(404, r#"{"errors":[]}"#)] {
            let talk = talk(&*lookup, "01234567", |request| {
                if request.uri().path().ends_with("/officers") {
                    none.clone()
                } else {
                    profile.clone()
                }
            });
            assert!(matches!(talk.verdict, Verdict::Missing(w) if w == word), "{:?}", talk.verdict);
            assert_eq!(talk.asked.len(), 2);
            assert!(talk.asked[1].ends_with("/company/01234567"));
        }
    }
    let other = talk(&*lookup, "01234567", |request| {
        let is_list = request.uri().path().ends_with("/officers");
        ok(&if is_list { list(&[], 0, 0) } else { company("07654321") })
    });
    assert!(matches!(other.verdict, Verdict::Passing(_)));
    assert!(matches!(talk(&*profile(), "1", unknown).verdict, Verdict::Missing("unknown")));
}

#[test]
fn drops_who_is_not_in_office_itself() {
    let lookup = officers(", active: true");
    let mut gone = officer(2);
    gone["resigned_on"] = json!("2020-01-01");
    let both = list(&[officer(1), gone.clone()], 0, 2);
    let talk_of = |list: Value| talk(&*lookup, "01234567", move |_| ok(&list));
    let talk_1 = talk_of(both.clone());
    assert!(matches!(talk_1.verdict, Verdict::Answer));
    assert_eq!(talk_1.rows.len(), 1);
    assert_eq!(cell(&*lookup, &talk_1.rows[0], "officer_id"), Some("A1"));
    // All resigned; the company is known by its officers.
    let talk_2 = talk_of(list(std::slice::from_ref(&gone), 0, 1));
    assert!(matches!(talk_2.verdict, Verdict::Missing("none")));
    assert_eq!(talk_2.asked.len(), 1);
    // A dissolved company: nobody resigned, nobody is active.
    let mut dissolved = list(&[officer(1)], 0, 1);
    (dissolved["active_count"], dissolved["inactive_count"]) = (json!(0), json!(1));
    assert!(matches!(talk_of(dissolved.clone()).verdict, Verdict::Missing("none")));
    let all = officers("");
    let talk_3 = talk(&*all, "01234567", move |_| ok(&dissolved));
    assert_eq!(cell(&*all, &talk_3.rows[0], "officer_is_active"), Some("false"));
    // The filter is heeded, but the total is that of all.
    let talk_4 = talk(&*lookup, "01234567", |request| {
        let start = number_in(&request.uri().to_string(), "start_index");
        let mut page = list(&if start == 0 { vec![officer(1)] } else { vec![] }, start, 3);
        page["active_count"] = json!(1);
        ok(&page)
    });
    assert!(matches!(talk_4.verdict, Verdict::Answer), "{:?}", talk_4.verdict);
}

#[test]
fn every_status_means_something() {
    let html = "<html><body>502</body></html>";
    let verdict_of = |lookup: &dyn Lookup, status: u16, body: &str| {
        let talk = talk(lookup, "01234567", |_| response(status, body));
        let text = format!("{:?}", talk.verdict);
        text.split(['(', ' ']).next().expect("a word").to_owned()
    };
    for lookup in [officers(""), profile()] {
        for (status, expected) in [
            (301, "Refused"),
            (302, "Refused"),
            (400, "Refused"),
            (401, "Unauthorized"),
            (403, "Barred"),
            (405, "Refused"),
            (408, "Passing"),
            (410, "Refused"),
            (429, "Limited"),
            (500, "Passing"),
            (502, "Passing"),
            (503, "Passing"),
            (504, "Passing"),
            (404, "Passing"),
            (204, "Passing"),
            (999, "Passing"),
        ] {
            let body = if status == 204 { "" } else { html };
            assert_eq!(verdict_of(&*lookup, status, body), expected, "{status}");
        }
    }
    let echo = format!("bad key {SECRET} azN5LW9mLXRoZS10ZXN0czo= \u{7}");
    let talk = talk(&*profile(), "1", |_| response(401, echo.clone()));
    let expected = "401 Unauthorized: bad key *** ***";
    assert!(matches!(&talk.verdict, Verdict::Unauthorized(reason) if reason == expected));
}

#[test]
fn splits_names_only_where_that_is_certain() {
    let lookup = officers("");
    for (name, role, expected) in [
        ("SAMPLE, Mina", "director", [Some("SAMPLE"), Some("Mina"), None]),
        ("SAMPLE, Mina, Dr", "secretary", [Some("SAMPLE"), Some("Mina"), Some("Dr")]),
        ("SAMPLE,", "director", [Some("SAMPLE"), None, None]),
        ("Mina Sample", "director", [None, None, None]),
        ("SAMPLE, SAMPLE & CO", "corporate-secretary", [None, None, None]),
    ] {
        let mut one = officer(1);
        (one["name"], one["officer_role"]) = (json!(name), json!(role));
        let talk = talk(&*lookup, "01234567", |_| ok(&list(std::slice::from_ref(&one), 0, 1)));
        let row = &talk.rows[0];
        let parts = ["officer_surname", "officer_forenames", "officer_title"];
        assert_eq!(parts.map(|part| cell(&*lookup, row, part)), expected, "{name}");
        assert_eq!(cell(&*lookup, row, "officer_name"), Some(name));
    }
}

#[test]
fn an_officer_without_a_link_has_an_id_that_stays() {
    let lookup = officers("");
    let id = |change: &dyn Fn(&mut Value)| {
        let mut one = officer(1);
        one["links"] = json!({});
        change(&mut one);
        let talk = talk(&*lookup, "01234567", |_| ok(&list(std::slice::from_ref(&one), 0, 1)));
        cell(&*lookup, &talk.rows[0], "officer_id").expect("an id").to_owned()
    };
    let first = id(&|_| {});
    assert_eq!(first.len(), 27);
    assert_eq!(first, id(&|one| one["address"] = json!({})));
    for (member, value) in
        [("name", "OTHER"), ("officer_role", "secretary"), ("appointed_on", "2001-02-04")]
    {
        assert_ne!(first, id(&|one| one[member] = json!(value)), "{member}");
    }
    assert_ne!(first, id(&|one| one["date_of_birth"]["year"] = json!(1962)));
}

/// Returns the paths of all members and items of a document.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                pointers(value, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                pointers(value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// Columns that are made of several members.
const MADE: [&str; 7] = [
    "officer_id",
    "officer_is_active",
    "officer_is_corporate",
    "profile_accounts_next_due",
    "profile_accounts_are_overdue",
    "profile_has_charges",
    "profile_has_insolvency_history",
];

/// Puts something else in every place of a good answer: the row that comes is the same but for
/// that value, or none comes.
fn mutate(lookup: &dyn Lookup, good: &Value) {
    let expected = talk(lookup, "01234567", |_| ok(good)).rows;
    assert_eq!(expected.len(), 1);
    let mut places = Vec::new();
    pointers(good, "", &mut places);
    for place in &places {
        for other in [
            json!(null),
            json!(7),
            json!(-1.5),
            json!(u64::MAX),
            json!("x\u{1}"),
            json!([]),
            json!({}),
            json!([7]),
            json!(true),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(place).expect("a place") = other.clone();
            let talk = talk(lookup, "01234567", |_| ok(&bad));
            // Pages before a broken one count for nothing.
            let is_answer = matches!(talk.verdict, Verdict::Answer);
            assert!(!is_answer || !talk.rows.is_empty(), "{place} {other} {:?}", talk.verdict);
            let rows = if is_answer { talk.rows } else { Vec::new() };
            for row in &rows {
                for ((column, was), is) in lookup.columns().iter().zip(&expected[0]).zip(row) {
                    let is_same = was == is || is.is_none() || MADE.contains(&column.name.as_str());
                    // One name of several may be null.
                    let words = |text: &Option<String>| {
                        let text = text.clone().unwrap_or_default().replace(';', "");
                        text.split(' ').map(str::to_owned).collect::<Vec<_>>()
                    };
                    let is_same = is_same || words(is).iter().all(|word| words(was).contains(word));
                    // A value of the right type in its place is believed.
                    let text = other.as_str().map_or_else(|| other.to_string(), str::to_owned);
                    let is_put = is.as_ref().is_some_and(|is| is.contains(&text));
                    assert!(is_same || is_put, "{place} {other}: {} is {is:?}", column.name);
                }
            }
        }
    }
    let body = good.to_string().into_bytes();
    for end in 0..body.len() {
        let talk = talk(lookup, "01234567", |_| response(200, &body[..end]));
        assert!(matches!(talk.verdict, Verdict::Passing(_)), "cut at {end}: {:?}", talk.verdict);
    }
    for at in (0..body.len()).step_by(3) {
        for byte in [0xff, 0, b'{', b'"'] {
            let mut bad = body.clone();
            bad.insert(at, byte);
            talk(lookup, "01234567", |_| response(200, &bad[..]));
            bad[at + 1] = byte;
            let talk = talk(lookup, "01234567", |_| response(200, &bad[..]));
            let is_refused =
                byte > 0 && byte != 0xff || matches!(talk.verdict, Verdict::Passing(_));
            assert!(is_refused, "{byte} at {at}: {:?}", talk.verdict);
        }
    }
}

#[test]
fn an_answer_with_anything_in_any_place_is_right_or_refused() {
    mutate(&*officers(""), &list(&[officer(1)], 0, 1));
    mutate(&*profile(), &whole_profile());
}

/// A company with every member that a column reads.
fn whole_profile() -> Value {
    let mut company = company("01234567");
    for (path, value) in PROFILE {
        let value = match *value {
            "true" => json!(true),
            text => json!(text),
        };
        let mut at = &mut company;
        for name in path.split('/').skip(1) {
            at = match name {
                "0" => &mut at.as_array_mut().expect("a list")[0],
                name if name.starts_with('[') => {
                    let list = &mut at[&name[1..]];
                    *list = json!([null]);
                    list
                }
                name => &mut at[name],
            };
        }
        *at = value;
    }
    company
}

/// Members of a company that are not in every answer; `[` is a list.
const PROFILE: &[(&str, &str)] = &[
    ("/company_status", "active"),
    ("/company_status_detail", "active-proposal-to-strike-off"),
    ("/subtype", "community-interest-company"),
    ("/date_of_creation", "2001-02-03"),
    ("/registered_office_address/address_line_1", "Mill Lane"),
    ("/registered_office_address/postal_code", "ZZ1 1ZZ"),
    ("/[sic_codes/0", "10611"),
    ("/accounts/next_accounts/due_on", "2026-05-06"),
    ("/accounts/next_accounts/overdue", "true"),
    ("/accounts/next_due", "2026-05-07"),
    ("/accounts/last_accounts/type", "micro-entity"),
    ("/accounts/accounting_reference_date/day", "09"),
    ("/accounts/accounting_reference_date/month", "12"),
    ("/confirmation_statement/overdue", "true"),
    ("/confirmation_statement/next_due", "2026-07-08"),
    ("/has_charges", "true"),
    ("/links/insolvency", "/company/01234567/insolvency"),
    ("/branch_company_details/parent_company_name", "SAMPLE AG"),
    ("/foreign_company_details/originating_registry/name", "Amtsgericht"),
];

#[test]
fn reads_a_profile() {
    let lookup = profile();
    let mut company = whole_profile();
    let talk_1 = talk(&*lookup, "1234567", |_| ok(&company));
    let value = |name| cell(&*lookup, &talk_1.rows[0], name);
    for (name, expected) in [
        ("profile_name", "SAMPLE LTD"),
        ("profile_status_detail", "active-proposal-to-strike-off"),
        ("profile_accounts_next_due", "2026-05-06"),
        ("profile_accounts_are_overdue", "true"),
        ("profile_accounts_reference_day", "9"),
        ("profile_has_insolvency_history", "true"),
        ("profile_sic_codes", "10611"),
    ] {
        assert_eq!(value(name), Some(expected), "{name}");
    }
    company["accounts"]["last_accounts"]["type"] = json!("null");
    company["accounts"]["next_accounts"] = json!(null);
    let talk_2 = talk(&*lookup, "1234567", |_| ok(&company));
    assert_eq!(cell(&*lookup, &talk_2.rows[0], "profile_accounts_last_type"), None);
    assert_eq!(cell(&*lookup, &talk_2.rows[0], "profile_accounts_next_due"), Some("2026-05-07"));
}

#[test]
fn columns_are_there_once_and_none_is_one_of_the_register() {
    let register = crate::table::built_in("basic_company_data").expect("a schema");
    let mut names: Vec<String> = register.columns.into_iter().map(|column| column.name).collect();
    for lookup in [officers(""), profile()] {
        names.extend(lookup.columns().iter().map(|column| column.name.clone()));
    }
    let n = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), n);
    assert!(names.iter().all(|name| crate::spec::is_id(name)));
}

fn json(settings: &str, by: &[&str]) -> Result<Arc<dyn Lookup>, Vec<String>> {
    build("http_json", &format!("{{ {settings} }}"), by)
}

/// Settings of an API of things.
fn things(more: &str) -> Arc<dyn Lookup> {
    let url = "url: 'https://api.example/things/{number}?v=1'";
    let columns = "columns: { id: int, name: { path: a.names.0 }, day: { type: date, path: on } }";
    json(&format!("{url}, {columns}{more}"), &["number"]).expect("a look-up")
}

fn thing(n: usize) -> Value {
    json!({ "id": n, "a": { "names": [format!("N{n}"), "x"] }, "on": "2026-11-02", "more": [] })
}

#[test]
fn every_way_to_say_who_asks_is_hidden() {
    let secret = "'${secret:CH_API_KEY}'";
    for (auth, header, value) in [
        (
            format!("basic: {{ user: u, password: {secret} }}"),
            "authorization",
            "Basic dTprM3ktb2YtdGhlLXRlc3Rz",
        ),
        (format!("bearer: {secret}"), "authorization", "Bearer k3y-of-the-tests"),
        (format!("header: {{ name: X-Key, value: {secret} }}"), "x-key", SECRET),
    ] {
        let lookup = things(&format!(", auth: {{ {auth} }}"));
        let request = lookup.ask(&lookup.key(&["a/b"]).expect("a key"));
        assert_eq!(request.uri(), "https://api.example/things/a%2Fb?v=1");
        let header = request.headers().get(header).expect("a header");
        assert!(header == value && header.is_sensitive(), "{header:?}");
        assert!(!format!("{request:?} {lookup:?} {}", lookup.identity()).contains(SECRET));
        let echo = talk(&*lookup, "1", |_| response(403, format!("no {SECRET}")));
        assert!(matches!(&echo.verdict, Verdict::Unauthorized(r) if r == "403 Forbidden: no ***"));
    }
    let lookup = things(", auth: { query: { name: 'api key', value: '${secret:OTHER}' } }");
    let request = lookup.ask(&lookup.key(&["1"]).expect("a key"));
    assert!(!format!("{request:?} {lookup:?}").contains("p4ss"));
    let address = crate::net::HiddenQuery::reveal(&request);
    assert_eq!(address, "https://api.example/things/1?v=1&api%20key=p4ss%2Fword");
    assert!(matches!(talk(&*things(""), "1", |_| response(403, "")).verdict, Verdict::Refused(_)));
}

#[test]
fn reads_records_by_their_paths() {
    let talk_of = |more: &str, body: Value| talk(&*things(more), "1", move |_| ok(&body));
    let row = |n: usize| -> Row {
        vec![Some(n.to_string()), Some(format!("N{n}")), Some("2026-11-02".into())]
    };
    for (more, body) in [
        ("", thing(1)),
        ("", json!([thing(1)])),
        (", records: data.0.items", json!({ "data": [{ "items": [thing(1)] }] })),
        (", records: data", json!({ "data": thing(1) })),
    ] {
        let talk = talk_of(more, body.clone());
        assert!(matches!(talk.verdict, Verdict::Answer), "{body}: {:?}", talk.verdict);
        assert_eq!(talk.rows, [row(1)]);
    }
    for body in [json!({ "data": [] }), json!({ "data": null })] {
        assert!(matches!(talk_of(", records: data", body).verdict, Verdict::Missing("none")));
    }
    for (more, body, path) in [
        (", records: data", json!({}), "`$.data`"),
        (", records: data", json!({ "data": 7 }), "`$.data`"),
        ("", json!([thing(1), { "id": "2" }]), "`$[1].id`"),
        ("", json!({ "a": { "names": [7] } }), "`$.a.names.0`"),
        ("", json!({ "on": "2026-11-31" }), "`$.on`"),
        ("", json!([7]), "`$[0]`"),
    ] {
        let verdict = talk_of(more, body).verdict;
        assert!(matches!(&verdict, Verdict::Passing(r) if r.contains(path)), "{path} {verdict:?}");
    }
}

#[test]
fn turns_pages_in_every_way() {
    let all: Vec<Value> = (0..25).map(thing).collect();
    let cut = |start: usize, n: usize| all.iter().skip(start).take(n).cloned().collect::<Vec<_>>();
    let by_page = |request: &Request| {
        ok(&json!(cut((number_in(&request.uri().to_string(), "page") - 1) * 10, 10)))
    };
    let by_offset =
        |request: &Request| ok(&json!(cut(number_in(&request.uri().to_string(), "from"), 5)));
    let by_cursor = |request: &Request| {
        let uri = request.uri().to_string();
        let start = if uri.contains("after=") { number_in(&uri, "after") } else { 0 };
        let next = if start + 10 < 25 { json!(start + 10) } else { json!(null) };
        ok(&json!({ "items": cut(start, 10), "meta": { "next": next } }))
    };
    let by_link = |request: &Request| {
        let uri = request.uri().to_string();
        let start = if uri.contains("from=") { number_in(&uri, "from") } else { 0 };
        let mut response = ok(&json!(cut(start, 10)));
        if start + 10 < 25 {
            let link = format!("</things/1?v=1&key=echo&from={}>; rel=\"next\"", start + 10);
            response.headers_mut().insert("link", link.parse().expect("a header"));
        }
        response
    };
    let full = ", paging: { page: { parameter: page, size: 10, size_parameter: n } }";
    let key = ", auth: { query: { name: key, value: k } }, paging: { link_header: true }";
    for (more, server, n_asked) in [
        (full, &by_page as &dyn Fn(&Request) -> Response, 3),
        (", paging: { page: { parameter: page } }", &by_page, 4),
        (", paging: { offset: { parameter: from } }", &by_offset, 6),
        (
            ", records: items, paging: { cursor: { parameter: after, path: meta.next } }",
            &by_cursor,
            3,
        ),
        (key, &by_link, 3),
    ] {
        let talk = talk(&*things(more), "1", server);
        assert!(matches!(talk.verdict, Verdict::Answer), "{more}: {:?}", talk.verdict);
        assert_eq!((talk.rows.len(), talk.asked.len()), (25, n_asked), "{more}");
        assert!(
            talk.asked.iter().all(|uri| uri.contains("v=1") && !uri.contains("key=")),
            "{:?}",
            talk.asked
        );
    }
    let link = |to: &'static str| {
        talk(&*things(", paging: { link_header: true }"), "1", move |_| {
            let mut response = ok(&json!([thing(1)]));
            response.headers_mut().insert("link", to.parse().expect("a header"));
            response
        })
        .verdict
    };
    for elsewhere in [
        "<https://other.example/>; rel=next",
        "<//other.example/>; rel=next",
        "<http://api.example/>; rel=next",
    ] {
        assert!(matches!(link(elsewhere), Verdict::Refused(_)), "{elsewhere}");
    }
    assert!(matches!(link("<https://api.example/things/1?v=1>; rel=next"), Verdict::Passing(_)));
    let endless = talk(&*things(full), "1", |_| ok(&json!(cut(0, 10))));
    assert!(matches!(endless.verdict, Verdict::Passing(_)));
    assert_eq!(endless.asked.len(), 100);
    let circle = ", records: items, paging: { cursor: { parameter: after, path: next } }";
    let circle = talk(&*things(circle), "1", |_| ok(&json!({ "items": [thing(1)], "next": "x" })));
    assert!(matches!(circle.verdict, Verdict::Passing(_)) && circle.asked.len() == 2);
    // Some say of the page after the last one that it is not there.
    let ends = talk(&*things(full), "1", |request| {
        let n = number_in(&request.uri().to_string(), "page");
        if n == 3 { response(404, "") } else { ok(&json!(cut(0, 10))) }
    });
    assert!(matches!(ends.verdict, Verdict::Answer) && ends.rows.len() == 20);
}

#[test]
fn notes_what_is_wrong_with_an_api() {
    let url = "url: 'https://a.example/{number}'";
    let columns = "columns: { x: int }";
    for (settings, word) in [
        (format!("url: 'https://a.example/{{nunber}}', {columns}"), "did you mean `number`?"),
        (format!("url: 'https://a.example/x', {columns}"), "does not hold `{number}`"),
        (format!("url: 'https://{{number}}.example/x', {columns}"), "name of the server"),
        (format!("url: 'https://a{{number}}', {columns}"), "name of the server"),
        (format!("url: 'a.example/{{number}}', {columns}"), "name of the server"),
        (format!("url: 'https://u:p@a.example/{{number}}', {columns}"), "credentials"),
        (format!("url: 'https://a.example/{{number', {columns}"), "never closed"),
        (format!("url: 'https://a.example/{{number}}#x', {columns}"), "no `#`"),
        (format!("{url}, columns: {{}}"), "no `columns`"),
        (format!("{url}, columns: {{ 'A b': int }}"), "name of a column"),
        (format!("{url}, {columns}, headers: {{ 'a b': x }}"), "name of a header"),
        (format!("{url}, {columns}, headers: {{ a: \"x\\ny\" }}"), "cannot hold"),
        (format!("{url}, {columns}, missing: [200]"), "nothing is there"),
        (format!("{url}, {columns}, auth: {{ bearer: '${{secret:NO}}' }}"), "not set"),
    ] {
        let found = json(&settings, &["number"]).err().unwrap_or_default();
        assert!(found.iter().any(|message| message.contains(word)), "{settings}: {found:?}");
    }
    for bad in ["", " ", "..", ".", &"x".repeat(2000)] {
        assert!(things("").key(&[bad]).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn survives_any_bytes(body in prop::collection::vec(any::<u8>(), 0..400), status in 100_u16..1000) {
        for lookup in [officers(""), profile(), things("")] {
            talk(&*lookup, "01234567", |_| response(status, body.clone()));
        }
    }
}
