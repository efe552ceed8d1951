//! The made-up API over real HTTP, and its answers against the published schemas.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures::StreamExt as _;
use pipeline::sandbox::{
    Api, Broken, Date, Feed, Next, Register, Settings, Snapshot, StreamSettings,
};
use serde_json::{Value, json};

use crate::support::{Project, Sandbox};

/// A served register.
struct Served {
    sandbox: Sandbox,
    numbers: Vec<String>,
    client: reqwest::Client,
}

impl Served {
    fn start(project: &Project, arguments: &[&str]) -> Self {
        let path = project.snapshot("register.csv", 300, "2026-11-01");
        let register = Register::open(&path).expect("a register");
        let sandbox = Sandbox::start(project, "register.csv", arguments);
        // Fails when a provider is installed already: then that one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let numbers = register.numbers().map(str::to_owned).collect();
        Self { sandbox, numbers, client }
    }

    async fn get(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        let url = format!("{}{path}", self.sandbox.address);
        // `k1:`
        self.client.get(url).header("authorization", "Basic azE6").send().await
    }

    async fn calls(&self) -> Value {
        let answer = self.get("/sandbox/calls").await.expect("an answer");
        serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
    }
}

#[tokio::test]
async fn answers_over_http_and_ends_when_it_is_told_to() {
    let project = Project::new();
    let mut served = Served::start(&project, &["--limit", "5/1h", "--key", "k1"]);
    let number = served.numbers[0].clone();
    let answer = served.get(&format!("/company/{number}/officers")).await.expect("an answer");
    let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
    assert_eq!(header("x-ratelimit-remain"), "4");
    assert_eq!(header("x-ratelimit-window"), "1h");
    assert_eq!(header("transfer-encoding"), "chunked");
    assert!(header("date").ends_with(" GMT"));
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["kind"], "officer-list");
    for n in 0..6 {
        let answer = served.get("/company/00000000").await.expect("an answer");
        assert_eq!(answer.status().as_u16(), if n < 4 { 404 } else { 429 });
    }
    let url = format!("{}/company/{number}", served.sandbox.address);
    let answer = served.client.get(&url).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 401);
    let calls = served.calls().await;
    assert_eq!(calls["total"], 8);
    assert_eq!((&calls["answered"], &calls["limited"]), (&json!(5), &json!(2)));
    let url = format!("{}/sandbox/reset", served.sandbox.address);
    served.client.post(&url).send().await.expect("an answer");
    assert_eq!(served.calls().await["total"], 0);
    let id = served.sandbox.child.id().to_string();
    let sent = std::process::Command::new("kill").args(["-TERM", &id]).status();
    assert!(sent.expect("`kill` is there").success());
    assert_eq!(served.sandbox.child.wait().expect("it ends").code(), Some(0));
}

#[tokio::test]
async fn breaks_connections_on_request() {
    let project = Project::new();
    let served = Served::start(&project, &["--fault", "cut=0.5", "--fault", "no-head=0.3"]);
    let (mut n_cut, mut n_none, mut n_whole) = (0, 0, 0);
    for number in served.numbers.iter().take(60) {
        match served.get(&format!("/company/{number}")).await {
            Ok(answer) => match answer.bytes().await {
                Ok(bytes) => {
                    serde_json::from_slice::<Value>(&bytes).expect("JSON");
                    n_whole += 1;
                }
                Err(_) => n_cut += 1,
            },
            Err(_) => n_none += 1,
        }
    }
    let calls = served.calls().await;
    // A client may ask again by itself when a used connection ends before a head.
    assert!(calls["faults"]["no-head"].as_u64() >= Some(n_none), "{calls}");
    assert_eq!((&calls["faults"]["cut"], &calls["answered"]), (&json!(n_cut), &json!(n_whole)));
    assert!(n_cut > 10 && n_none > 0 && n_whole > 0, "{calls}");
}

/// Reads whole lines of a stream until there are `n` events, or it ends; `true` when it was cut.
async fn events_of(answer: reqwest::Response, n: usize) -> (Vec<Value>, bool) {
    let (mut events, mut rest) = (Vec::new(), Vec::new());
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let Ok(piece) = piece else { return (events, true) };
        rest.extend_from_slice(&piece);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if line.len() > 1 {
                events.push(serde_json::from_slice(&line).expect("JSON"));
            }
        }
        if events.len() >= n {
            break;
        }
    }
    (events, false)
}

fn timepoint(event: &Value) -> u64 {
    event["event"]["timepoint"].as_u64().expect("a number")
}

#[tokio::test]
async fn streams_over_http_and_goes_on_after_cuts() {
    let project = Project::new();
    let arguments = "--key k1 --seed 5 --stream-backlog 60 --stream-rate 20/s --speed 10 \
                     --stream-fault cut=0.1 --stream-fault split=0.1 --stream-heartbeat 10s";
    let served = Served::start(&project, &arguments.split_whitespace().collect::<Vec<_>>());
    let first = Feed::Companies.first_timepoint();
    let (mut known, mut n_cuts) = (BTreeMap::new(), 0_u64);
    let mut from = first;
    while known.len() < 300 {
        let answer = served.get(&format!("/companies?timepoint={from}")).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()["transfer-encoding"], "chunked");
        let (events, is_cut) = events_of(answer, 301 - known.len()).await;
        n_cuts += u64::from(is_cut);
        if let Some(first) = events.first() {
            assert_eq!(timepoint(first), from);
        }
        for event in events {
            from = timepoint(&event);
            known.insert(from, event);
        }
    }
    assert!(n_cuts > 5, "{n_cuts}");
    assert!(known.keys().copied().eq(first..first + known.len() as u64));
    // What the REST API says is what the last event said, or a later one.
    let last = known.values().next_back().expect("an event");
    let path = format!("/company/{}", last["resource_id"].as_str().expect("a number"));
    let status = served.get(&path).await.expect("an answer").status().as_u16();
    assert_eq!(status == 404, last["event"]["type"] == "deleted");
    let calls = served.calls().await;
    assert_eq!(calls["stream"]["companies"]["broken"], n_cuts);
    assert!(calls["stream"]["companies"]["events"].as_u64() >= Some(300), "{calls}");
    for (path, status) in [("/companies?timepoint=x", 400), ("/officers?timepoint=7", 416)] {
        assert_eq!(served.get(path).await.expect("an answer").status().as_u16(), status);
    }
    let url = format!("{}/companies", served.sandbox.address);
    assert_eq!(served.client.get(&url).send().await.expect("an answer").status().as_u16(), 401);
    // A feed without events has its heartbeats, and a restart breaks it.
    let mut quiet = served.get("/charges").await.expect("an answer");
    assert_eq!(quiet.chunk().await.expect("a heartbeat").expect("a piece"), "\n");
    let url = format!("{}/sandbox/stream/restart", served.sandbox.address);
    served.client.post(&url).send().await.expect("an answer");
    assert!(events_of(quiet, 1).await.1);
}

#[test]
fn what_cannot_be_served_is_refused_with_advice() {
    let project = Project::new();
    project.write("real.csv", "CompanyName, CompanyNumber\r\n\"A LIMITED\",\"00000001\"\r\n");
    for (arguments, advice) in [
        (vec!["--snapshot", "no.csv"], "pipeline sandbox snapshot"),
        (vec!["--snapshot", "no.zip"], "ends in `.csv`"),
        (vec!["--snapshot", "real.csv"], "only what `pipeline sandbox snapshot` made"),
        (vec!["--snapshot", "no.csv", "--fault", "rain=0.1"], "no fault `rain`"),
        (vec!["--snapshot", "no.csv", "--fault", "cut=2"], "from 0 to 1"),
        (vec!["--snapshot", "no.csv", "--fault", "cut=1", "--fault", "429=1"], "add up to 2"),
        (vec!["--snapshot", "no.csv", "--limit", "600"], "600/5m"),
        (vec!["--snapshot", "no.csv", "--latency", "soon"], "50ms"),
        (vec!["--snapshot", "no.csv", "--stream-rate", "fast"], "10/s"),
        (vec!["--snapshot", "no.csv", "--stream-rate", "charges=1/s"], "companies, officers"),
        (vec!["--snapshot", "no.csv", "--stream-fault", "rain=1"], "cut, duplicate, disorder"),
        (
            vec!["--snapshot", "no.csv", "--stream-fault", "cut=1", "--stream-fault", "burst=1"],
            "for events add up to 2",
        ),
        (vec!["--snapshot", "no.csv", "--stream-heartbeat", "0s"], "no time at all"),
    ] {
        let all = [vec!["sandbox", "serve"], arguments].concat();
        let said = project.pipeline(&all);
        assert_eq!(said.code, Some(2), "{all:?}: {}", said.err);
        assert!(said.err.contains(advice), "{all:?}: {}", said.err);
    }
}

/// The published models, turned into JSON Schema.
struct Spec {
    definitions: BTreeMap<String, Value>,
}

impl Spec {
    fn read(folder: &Path) -> Self {
        let mut definitions = BTreeMap::new();
        let files = ["companyProfile", "companyOfficerList", "filingHistory", "charges"];
        let mut paths: Vec<(String, PathBuf)> = files
            .iter()
            .map(|name| ((*name).to_owned(), folder.join(format!("spec/{name}.json"))))
            .collect();
        paths.push(("officerChanges".to_owned(), folder.join("models/officerChanges.json")));
        for (file, path) in paths {
            let text = std::fs::read_to_string(&path).expect("a model");
            let model: Value = serde_json::from_str(&text).expect("JSON");
            for (name, schema) in model["definitions"].as_object().expect("definitions") {
                let schema = schema_of(schema);
                definitions.insert(format!("{file}.{name}"), schema);
            }
        }
        Self { definitions }
    }

    fn at(&mut self, name: &str) -> &mut Value {
        self.definitions.get_mut(name).unwrap_or_else(|| panic!("no model `{name}`"))
    }

    /// Takes a name from what a model requires.
    fn not_required(&mut self, model: &str, name: &str) {
        let required = self.at(model)["required"].as_array_mut().expect("required names");
        let n_before = required.len();
        required.retain(|known| known != name);
        assert_eq!(required.len() + 1, n_before, "{model} does not require `{name}`: take it out");
    }

    /// Adds a value to an enumeration.
    fn also(&mut self, model: &str, property: &str, value: &str) {
        let known = &mut self.at(model)["properties"][property]["enum"];
        known.as_array_mut().expect("an enumeration").push(value.into());
    }

    /// What recorded answers and the enumerations say against the models.
    fn corrected(mut self) -> Self {
        // Recorded: day and month are texts ("30", "09"), not integers.
        let reference = "companyProfile.accountingReferenceDate";
        self.at(reference)["properties"] =
            json!({ "day": { "type": "string" }, "month": { "type": "string" } });
        // Facts 3.2: `type` may be the text "null"; then there is no day it was made up to.
        self.not_required("companyProfile.lastAccounts", "made_up_to");
        self.at("companyProfile.lastAccounts")["type"] = json!("object");
        // Enumerations: a type the models do not know yet.
        self.also("companyProfile.companyProfile", "type", "united-kingdom-societas");
        // Companies from abroad have an office abroad; the models know British countries only.
        let office = "companyProfile.registeredOfficeAddress";
        self.at(office)["properties"]["country"] = json!({ "type": "string" });
        // Recorded: the list has neither `etag` nor `kind`.
        self.not_required("filingHistory.filingHistoryList", "etag");
        self.not_required("filingHistory.filingHistoryList", "kind");
        // Recorded: `confirmation-statement`; of the others the register's pages know.
        for category in
            ["confirmation-statement", "gazette", "dissolution", "insolvency", "restoration"]
        {
            self.also("filingHistory.filingHistoryItem", "category", category);
        }
        // Recorded: one classification, one set of particulars and of links, not lists; no `id`.
        self.not_required("charges.chargeDetails", "id");
        for (model, property) in [
            ("charges.chargeDetails", "classification"),
            ("charges.chargeDetails", "particulars"),
            ("charges.chargeDetails", "links"),
            ("charges.transactions", "links"),
        ] {
            let place = &mut self.at(model)["properties"][property];
            *place = place["items"].clone();
        }
        // Server code, facts 3.3: who has no officers has no links either.
        self.at("companyOfficerList.linkTypes")["required"] = json!([]);
        self
    }

    fn compiled(self) -> Compiled {
        let names: Vec<String> = self.definitions.keys().cloned().collect();
        let schema = json!({ "$defs": self.definitions });
        let mut schemas = boon::Schemas::new();
        let mut compiler = boon::Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource("models.json", schema).expect("a schema");
        let mut compile = |name: String| {
            let place = format!("models.json#/$defs/{name}");
            let index = compiler.compile(&place, &mut schemas).expect("compiled");
            (name, index)
        };
        let models = names.into_iter().map(&mut compile).collect();
        Compiled { schemas, models }
    }
}

struct Compiled {
    schemas: boon::Schemas,
    models: BTreeMap<String, boon::SchemaIndex>,
}

impl Compiled {
    fn faults(&self, model: &str, body: &Value) -> Vec<String> {
        match self.schemas.validate(body, self.models[model]) {
            Ok(()) => Vec::new(),
            Err(error) => format!("{error:#}").lines().skip(1).map(str::to_owned).collect(),
        }
    }
}

/// Swagger writes an object that is described elsewhere as `type: object` with `items`.
fn schema_of(model: &Value) -> Value {
    if let Some(reference) = model["$ref"].as_str() {
        let file = reference.rsplit('/').nth(2).expect("a file");
        let file = file.trim_end_matches("#").trim_end_matches(".json");
        let name = reference.rsplit('/').next().expect("a name");
        return json!({ "$ref": format!("#/$defs/{file}.{name}") });
    }
    let is_array = model["type"] == "array";
    if !is_array && model["items"]["$ref"].is_string() {
        return schema_of(&model["items"]);
    }
    let mut schema = json!({});
    for keyword in ["type", "enum", "format", "required"] {
        if let Some(value) = model.get(keyword) {
            schema[keyword] = value.clone();
        }
    }
    if is_array {
        schema["items"] = schema_of(&model["items"]);
    }
    if let Some(properties) = model["properties"].as_object() {
        let properties: serde_json::Map<String, Value> =
            properties.iter().map(|(name, model)| (name.clone(), schema_of(model))).collect();
        schema["properties"] = properties.into();
    }
    schema
}

/// The keys of `description:` in the register's enumeration.
fn descriptions(folder: &Path) -> BTreeSet<String> {
    let path = folder.join("enumerations/filing_history_descriptions.yml");
    let text = std::fs::read_to_string(path).expect("the enumeration");
    let keys = text.lines().filter_map(|line| line.trim().strip_prefix('\''));
    keys.filter_map(|line| line.split_once('\'')).map(|(key, _)| key.to_owned()).collect()
}

/// A schema that takes everything proves nothing.
fn refuses_what_is_wrong(spec: &Compiled, model: &str, body: &Value) {
    for (at, wrong) in [
        ("/company_status", json!("suspended")),
        ("/company_status_detail", json!("active")),
        ("/type", json!("limited")),
        ("/links", json!({})),
        ("/accounts/next_accounts/due_on", json!("31/12/2026")),
        ("/accounts/last_accounts/type", json!("MICRO ENTITY")),
        ("/registered_office_address/postal_code", json!(1)),
        ("/items", json!("none")),
        ("/items/0/officer_role", json!("chief")),
        ("/items/0/appointed_on", json!(20_240_131)),
        ("/items/0/date_of_birth/year", json!("1970")),
        ("/items/0/identification/identification_type", json!("a firm")),
        ("/items/0/identity_verification_details/identity_verified_on", json!(1)),
        ("/items/0/category", json!("other")),
        ("/items/0/status", json!("paid")),
        ("/items/0/classification/type", json!("charge")),
        ("/items/0/transactions/0/delivered_on", json!("yesterday")),
        ("/total_results", json!("1")),
    ] {
        let mut body = body.clone();
        // Links are made of nothing in an empty list, and that is right.
        let is_free = at == "/links" && model.contains("officerList");
        if let Some(place) = body.pointer_mut(at).filter(|_| !is_free) {
            *place = wrong;
            assert!(!spec.faults(model, &body).is_empty(), "{model}{at} may be anything");
        }
    }
}

#[test]
fn answers_fit_the_published_schemas() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/specs/companies-house");
    if !folder.is_dir() {
        eprintln!("no published schemas here");
        return;
    }
    let spec = Spec::read(&folder.join("openapi")).corrected().compiled();
    let descriptions = descriptions(&folder);
    let date = Date::new(2026, 11, 1).expect("a date");
    let mut bytes = Vec::new();
    let snapshot = Snapshot { rows: 300, seed: 3, date, broken: Broken::None };
    snapshot.write(&mut bytes).expect("a snapshot");
    let register = Register::of_bytes(bytes).expect("a register");
    let numbers: Vec<String> = register.numbers().map(str::to_owned).collect();
    let api = Api::new(register, Settings { limit: u32::MAX, ..Settings::default() });
    let now = "2026-11-26T12:00:00Z".parse().expect("a moment");
    let mut n_items = BTreeMap::new();
    for number in &numbers {
        for (what, model) in [
            ("", "companyProfile.companyProfile"),
            ("/officers", "companyOfficerList.officerList"),
            ("/filing-history", "filingHistory.filingHistoryList"),
            ("/charges", "charges.chargeList"),
        ] {
            let request = http::Request::get(format!("/company/{number}{what}"));
            let request = request.header("authorization", "Basic azE6").body(Vec::new());
            let answer = api.answer(&request.expect("a request"), now);
            let body: Value = serde_json::from_slice(answer.response.body()).expect("JSON");
            let faults = spec.faults(model, &body);
            assert!(faults.is_empty(), "{number}{what}: {}\n{body:#}", faults.join("\n"));
            refuses_what_is_wrong(&spec, model, &body);
            let items = body["items"].as_array().map_or(&[][..], Vec::as_slice);
            *n_items.entry(what).or_insert(0) += items.len();
            for item in items.iter().filter(|_| what == "/filing-history") {
                let key = item["description"].as_str().expect("text");
                assert!(descriptions.contains(key), "{number}: no description `{key}`");
            }
        }
    }
    assert!(n_items["/officers"] > 300 && n_items["/filing-history"] > 1000, "{n_items:?}");
    assert!(n_items["/charges"] > 10, "{n_items:?}");
}

/// What a stream carries is what the REST API answers, minus what is reckoned there, and that the
/// models require of accounts.
#[test]
fn events_fit_the_published_schemas() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/specs/companies-house");
    if !folder.is_dir() {
        eprintln!("no published schemas here");
        return;
    }
    let mut spec = Spec::read(&folder.join("openapi")).corrected();
    spec.not_required("companyProfile.accountsInformation", "overdue");
    // Recorded events have neither.
    spec.not_required("companyOfficerList.itemLinkTypes", "officer");
    let spec = spec.compiled();
    let descriptions = descriptions(&folder);
    let date = Date::new(2026, 11, 1).expect("a date");
    let mut bytes = Vec::new();
    let snapshot = Snapshot { rows: 300, seed: 3, date, broken: Broken::None };
    snapshot.write(&mut bytes).expect("a snapshot");
    let register = Register::of_bytes(bytes).expect("a register");
    let now = "2026-11-26T12:00:00Z".parse().expect("a moment");
    let settings = StreamSettings { backlog: 500, ..StreamSettings::default() };
    let api = Api::new(register, Settings::default()).streaming(settings, now);
    let stream = api.stream().expect("streams");
    for (feed, model) in [
        (Feed::Companies, "companyProfile.companyProfile"),
        (Feed::Officers, "companyOfficerList.officerSummary"),
        (Feed::Filings, "filingHistory.filingHistoryItem"),
    ] {
        let path = format!("/{}?timepoint={}", feed.name(), feed.first_timepoint());
        let request = http::Request::get(path).header("authorization", "Basic azE6");
        let request = request.body(Vec::new()).expect("a request");
        let mut connection = stream.connect(&request, now).expect("a connection");
        let (mut n, mut n_deleted) = (0, 0);
        while let Next::Bytes(line) = connection.next(now) {
            let event: Value = serde_json::from_slice(&line).expect("JSON");
            n += 1;
            let Some(data) = event.get("data") else {
                n_deleted += 1;
                continue;
            };
            let faults = spec.faults(model, data);
            assert!(faults.is_empty(), "{}\n{event:#}", faults.join("\n"));
            if let Some(key) = data["description"].as_str() {
                assert!(descriptions.contains(key), "no description `{key}`");
            }
        }
        assert_eq!(n, 500);
        assert!((1..50).contains(&n_deleted), "{n_deleted}");
    }
}
