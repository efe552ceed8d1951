//! Look-ups against a made-up Companies House: in simulated time, without sockets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use pipeline::clock::{Clock, Simulation};
use pipeline::engine::{self, Options, Outlook, Report, Run};
use pipeline::net::{Failure, Request, Response, Stage, Transport};
use pipeline::sandbox::{Api, Delivery, Fault, Faults, Register, Settings};

use crate::support::Project;

const PIPELINE: &str = "version: 1
name: officers_of_a_list
state: ./state.db
vars: { keys: { type: path } }
resources: { rate_limits: { ch: { rates: [600/5m], follow_headers: true } } }
sources: { keys: { csv: { path: '${keys}' } } }
transforms:
  officers:
    from: keys
    enrich:
      companies_house_officers: { key: '${secret:CH_API_KEY}', base_url: 'http://127.0.0.1:1', items_per_page: 500 }
    by: [company_number]
    rate_limit: ch
    in_flight: 8
    keep_for: 30d
    OPTIONS
sinks:
  out: { from: officers, sqlite: { table: officers }, write: upsert, key: [company_number, officer_id] }
  not_answered: { from: officers.rejected, sqlite: { table: not_answered }, write: replace }
";

/// A made-up Companies House that is asked without sockets: a call takes 80 ms of simulated time.
#[derive(Debug)]
struct InProcess {
    api: Arc<Api>,
    clock: Clock,
}

#[async_trait]
impl Transport for InProcess {
    async fn send(&self, request: Request) -> Result<Response, Failure> {
        /// As long as the client waits for the head of a response.
        const PATIENCE: Duration = Duration::from_secs(15);
        let way = Duration::from_millis(40);
        self.clock.sleep(way).await;
        let answer = self.api.answer(&request, self.clock.now());
        let failed = |stage| Failure { stage, reason: "simulated".to_owned() };
        if answer.after > PATIENCE {
            self.clock.sleep(PATIENCE).await;
            return Err(failed(Stage::Head));
        }
        self.clock.sleep(answer.after + way).await;
        match answer.delivery {
            Delivery::Whole => Ok(answer.response),
            Delivery::CutAt(_) => Err(failed(Stage::Body)),
            Delivery::NoHead => Err(failed(Stage::Head)),
        }
    }
}

/// A project, a made-up Companies House with its companies, and a time of their own.
struct World {
    project: Project,
    api: Arc<Api>,
    simulation: &'static Simulation,
    clock: Clock,
    numbers: Vec<String>,
}

impl World {
    fn new(n_companies: u64, settings: Settings) -> Self {
        let project = Project::new();
        let rows = n_companies.to_string();
        let arguments = ["sandbox", "snapshot", "--rows", &rows, "--out", "register.csv"];
        let said = project.pipeline(&arguments);
        assert_eq!(said.code, Some(0), "{}", said.err);
        let register = Register::open(&project.path("register.csv")).expect("a register");
        let numbers: Vec<String> = register.numbers().map(str::to_owned).collect();
        project.write("keys.csv", format!("company_number\n{}\n", numbers.join("\n")));
        let begin: Timestamp = "2026-11-02T09:00:00.25Z".parse().expect("a moment");
        let simulation = Simulation::begin(begin);
        let clock = Clock::simulated(simulation);
        let api = Arc::new(Api::new(register, settings));
        Self { project, api, simulation, clock, numbers }
    }

    fn options(&self, is_run: bool) -> Options {
        let env = BTreeMap::from([("CH_API_KEY".to_owned(), "canary-key".to_owned())]);
        let keys = self.project.path("keys.csv").to_string_lossy().into_owned();
        Options {
            vars: BTreeMap::from([("keys".to_owned(), keys)]),
            env,
            working_folder: self.project.path(""),
            clock: self.clock,
            run_id: uuid::Uuid::now_v7().simple().to_string(),
            is_run,
            transport: Some(Arc::new(InProcess { api: Arc::clone(&self.api), clock: self.clock })),
            ..Options::default()
        }
    }

    fn file(&self, options: &str) -> (String, PathBuf) {
        let text = PIPELINE.replace("OPTIONS", options);
        let path = self.project.write("officers.yaml", &text);
        (text, path)
    }

    /// Lets simulated time pass while something is done.
    async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            never = self.simulation.drive() => match never {},
        }
    }

    async fn try_run(&self, options: &str) -> Result<Report, pipeline::error::Error> {
        let (text, path) = self.file(options);
        let run = async {
            let (checked, found) = engine::check(&text, &path, self.options(true)).await;
            let checked = checked.unwrap_or_else(|| panic!("{found:?}"));
            Run::new(checked).run(std::future::pending()).await
        };
        self.during(run).await
    }

    async fn run(&self, options: &str) -> Report {
        self.try_run(options).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn plan(&self, options: &str) -> Outlook {
        let (text, path) = self.file(options);
        let plan = self.during(engine::outlook(&text, &path, self.options(false))).await;
        let (outlook, found) = plan.expect("an outlook");
        outlook.unwrap_or_else(|| panic!("{found:?}"))
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns the rows of the sinks, in order.
    fn rows(&self) -> Vec<String> {
        self.project.query("select * from out order by company_number, officer_id")
    }
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

#[tokio::test]
async fn each_company_is_asked_once_and_never_again() {
    let world = World::new(1500, Settings::default());
    let began = world.now();
    let report = world.run("").await;
    let calls = world.api.calls();
    assert_eq!((calls.limited, calls.most_in_a_window), (0, 600));
    // The few without officers are looked up in the register, and long lists have several pages.
    let n_officers = |calls: &pipeline::sandbox::Calls| calls.distinct;
    assert!(n_officers(&calls) >= 1500 && calls.total < 1600, "{calls:?}");
    let took = world.now().duration_since(began).as_secs();
    assert!((600..610).contains(&took), "{took} s");
    let officers = report.nodes.iter().find(|node| node.node == "officers").expect("a node");
    assert_eq!(officers.calls, Some(calls.total));
    assert!(report.notes.is_empty(), "{:?}", report.notes);

    let rows = world.rows();
    assert!(rows.len() > 2000, "{}", rows.len());
    world.run("").await;
    assert_eq!(world.api.calls().total, calls.total);
    assert_eq!(world.rows(), rows);

    // A month later answers are too old.
    world.during(world.clock.sleep(Duration::from_secs(31 * 86_400))).await;
    world.run("").await;
    assert!(world.api.calls().total > calls.total + 1499);
}

#[tokio::test]
async fn a_run_that_stops_after_a_time_says_what_is_left_and_the_next_asks_for_it() {
    let n_leads = setting("PIPELINE_STOPPED_LEADS", 1200);
    let stop_after = setting("PIPELINE_STOP_AFTER", 360);
    let world = World::new(n_leads, Settings::default());
    let began = world.now();
    let report = world.run(&format!("stop_after: {stop_after}s")).await;
    let took = world.now().duration_since(began).as_secs();
    assert!((stop_after as i64..stop_after as i64 + 20).contains(&took), "{took} s");
    let node = report.nodes.iter().find(|node| node.node == "officers").expect("a node");
    let asked = node.asked.clone().expect("what was asked");
    let n = |n: usize| engine::grouped(n as u64);
    let words = format!(
        "{} of {} keys answered, {} pending",
        n(asked.answered),
        n(asked.keys),
        n(asked.pending)
    );
    let note = report.notes.join("\n");
    assert!(note.contains(&words) && note.contains("the rest"), "{note}");
    eprintln!("{note}");
    assert!(asked.pending > 0 && asked.answered + asked.pending == n_leads as usize, "{asked:?}");

    let first = world.api.calls();
    let plan = world.plan("").await;
    let lookup = plan.lookups.first().expect("a look-up");
    assert_eq!((lookup.keys, lookup.keys - lookup.known), (n_leads, asked.pending as u64));
    let report = world.run("").await;
    assert!(report.notes.is_empty(), "{:?}", report.notes);
    let second = world.api.calls();
    let rest = second.total - first.total;
    assert!((asked.pending as u64..asked.pending as u64 * 11 / 10 + 5).contains(&rest), "{rest}");
    assert_eq!(second.limited, 0);
    let companies = world.project.query("select count(distinct company_number) from out");
    let undisturbed = World::new(n_leads, Settings::default());
    undisturbed.run("").await;
    assert_eq!(undisturbed.rows(), world.rows());
    assert_eq!(companies.len(), 1);
}

#[tokio::test]
async fn plan_names_the_calls_and_the_hours_that_a_run_needs() {
    let n_leads = setting("PIPELINE_PLANNED_LEADS", 2500);
    let world = World::new(n_leads, Settings::default());
    let plan = world.plan("").await;
    let lookup = plan.lookups.first().expect("a look-up");
    assert_eq!((lookup.keys, lookup.known, lookup.calls), (n_leads, 0, n_leads));
    let (calls, seconds) = (lookup.calls as f64, lookup.seconds as f64);
    assert_eq!(world.api.calls().total, 0);

    let began = world.now();
    world.run("").await;
    let took = world.now().duration_since(began).as_secs_f64();
    let made = world.api.calls().total as f64;
    eprintln!(
        "{n_leads} leads: {calls} calls and {seconds} s planned, {made} and {took:.0} s needed"
    );
    // A small list ends in the middle of a window.
    let window = if n_leads < 20_000 { 300.0 } else { 0.0 };
    assert!((took - seconds).abs() <= 0.02 * seconds + window, "{took} s, not {seconds} s");
    let more = if n_leads < 20_000 { 0.06 } else { 0.02 };
    assert!((made - calls).abs() <= more * calls, "{made} calls, not {calls}");
}

#[tokio::test]
async fn whatever_fails_every_key_is_answered_or_stands_in_rejected() {
    let shares = Fault::ALL.iter().map(|(fault, _)| (*fault, 0.3 / Fault::ALL.len() as f64));
    let faults = Faults { shares: shares.collect(), ..Faults::default() };
    let world = World::new(400, Settings { faults, ..Settings::default() });
    let report = world.run("").await;
    let node = report.nodes.iter().find(|node| node.node == "officers").expect("a node");
    let asked = node.asked.clone().expect("what was asked");
    assert_eq!(
        (asked.pending, asked.answered + asked.failed),
        (0, 400),
        "{asked:?}\n{:?}",
        world.api.calls()
    );
    let rejected = world.project.query("select company_number, reason, attempts from not_answered");
    assert_eq!(rejected.len(), asked.failed, "{rejected:?} {:?}", node.reasons);
    // One in three calls fails; five of them in a row hardly ever do.
    assert!(asked.failed < 20, "{rejected:?}");
    let calls = world.api.calls();
    assert_eq!(calls.faults.len(), Fault::ALL.len(), "{calls:?}");
    eprintln!("{calls:?}");

    let undisturbed = World::new(400, Settings::default());
    undisturbed.run("").await;
    let lost: Vec<String> = rejected.iter().map(|row| row[..8].to_owned()).collect();
    let mut expected = undisturbed.rows();
    expected.retain(|row| !lost.iter().any(|number| row.starts_with(number.as_str())));
    assert_eq!(world.rows(), expected);
}

#[tokio::test]
async fn a_key_that_is_refused_ends_the_run_and_is_named_nowhere() {
    let settings = Settings { key: Some("another-key".to_owned()), ..Settings::default() };
    let world = World::new(50, settings);
    let error = world.try_run("").await.expect_err("an error").to_string();
    assert!(error.contains("refuses the key"), "{error}");
    assert!(!error.contains("canary"), "{error}");
    for file in world.project.files("") {
        let bytes = std::fs::read(world.project.path(&file)).expect("a file");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("canary"), "{file}");
        // Nor as it goes over the wire: `canary-key:` in base64.
        assert!(!text.contains("Y2FuYXJ5LWtleTo"), "{file}");
    }
}

#[tokio::test]
async fn the_shipped_pipeline_needs_the_calls_and_hours_that_plan_names() {
    let n_leads = setting("PIPELINE_SHIPPED_LEADS", 1500);
    let world = World::new(n_leads, Settings::default());
    let mut leads = rusqlite::Connection::open(world.project.path("leads.db")).expect("a database");
    let table = "CREATE TABLE leads (company_number TEXT, company_name TEXT, score INTEGER,
                                     postcode_area TEXT, gone_at TEXT)";
    leads.execute_batch(table).expect("a table");
    let rows = leads.transaction().expect("a transaction");
    for (n, number) in world.numbers.iter().enumerate() {
        let row = rusqlite::params![number, (n * 7919 % 100) as i64];
        rows.execute("INSERT INTO leads VALUES (?1, NULL, ?2, 'ZZ', NULL)", row).expect("a row");
    }
    rows.commit().expect("rows");
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/officers.yaml");
    let text = std::fs::read_to_string(shipped).expect("the pipeline");
    let path = world.project.write("officers.yaml", &text);
    let options = |is_run| {
        let leads = world.project.path("leads.db").to_string_lossy().into_owned();
        let vars =
            [("leads".to_owned(), leads), ("api".to_owned(), "http://127.0.0.1:1".to_owned())];
        Options { vars: BTreeMap::from(vars), ..world.options(is_run) }
    };
    let plan = world.during(engine::outlook(&text, &path, options(false))).await;
    let plan = plan.expect("an outlook").0.expect("no mistakes");
    let lookup = plan.lookups.first().expect("a look-up");
    let (calls, seconds) = (lookup.calls as f64, lookup.seconds as f64);
    let (began, mut n_runs) = (world.now(), 0);
    loop {
        let run = async {
            let (checked, found) = engine::check(&text, &path, options(true)).await;
            let checked = checked.unwrap_or_else(|| panic!("{found:?}"));
            Run::new(checked).run(std::future::pending()).await
        };
        let report = world.during(run).await.unwrap_or_else(|error| panic!("{error}"));
        n_runs += 1;
        let asked = report.nodes.iter().find_map(|node| node.asked.clone()).expect("a look-up");
        if asked.pending == 0 {
            break;
        }
    }
    let took = world.now().duration_since(began).as_secs_f64();
    let made = world.api.calls();
    eprintln!(
        "{n_leads} leads: {calls} calls, {seconds} s planned; {} calls, {took:.0} s, {n_runs} runs",
        made.total
    );
    assert_eq!(made.limited, 0);
    let (window, more) = if n_leads < 20_000 { (300.0, 0.06) } else { (0.0, 0.02) };
    assert!((took - seconds).abs() <= 0.02 * seconds + window, "{took} s, not {seconds} s");
    let difference = (made.total as f64 - calls).abs();
    assert!(difference <= more * calls, "{} calls, not {calls}", made.total);
}

#[tokio::test]
async fn a_company_that_changed_since_its_answer_is_asked_again() {
    let world = World::new(30, Settings::default());
    let number = |n: usize| world.numbers[n].as_str();
    let list = |moment: &str| {
        let rows: String = (0..30).map(|n| format!("{},{moment}\n", number(n))).collect();
        format!("company_number,changed\n{rows}{},2026-11-02T10:00:00Z\n", number(7))
    };
    let source = "csv: { path: '${keys}' }";
    let typed = format!("{source}, contract: {{ columns: {{ changed: {{ type: timestamp }} }} }}");
    let text =
        PIPELINE.replace("OPTIONS", "newer_by: changed\n    rows: first").replace(source, &typed);
    let text = text.replace(
        "key: [company_number, officer_id] }",
        "key: [company_number, officer_id, changed] }",
    );
    let path = world.project.write("officers.yaml", &text);
    let n_calls = |moment: &'static str| {
        let (world, text, path) = (&world, &text, &path);
        world.project.write("keys.csv", list(moment));
        async move {
            let before = world.api.calls().total;
            let run = async {
                let (checked, found) = engine::check(text, path, world.options(true)).await;
                let checked = checked.unwrap_or_else(|| panic!("{found:?}"));
                Run::new(checked).run(std::future::pending()).await
            };
            world.during(run).await.unwrap_or_else(|error| panic!("{error}"));
            world.api.calls().total - before
        }
    };
    assert!(n_calls("2026-11-01T00:00:00Z").await >= 30);
    // An hour later one of them has changed since its answer.
    world.during(world.clock.sleep(Duration::from_secs(2 * 3600))).await;
    let again = n_calls("2026-11-01T00:00:00Z").await;
    assert!((1..=2).contains(&again), "{again}");
    assert_eq!(n_calls("2026-11-01T00:00:00Z").await, 0);
}

#[tokio::test]
async fn a_budget_that_is_spent_ends_the_asking_until_it_begins_anew() {
    let world = World::new(120, Settings::default());
    let limits = "resources: { rate_limits: { ch: { rates: [600/5m], follow_headers: true } } }";
    let both = limits.replace("} } }", "} }, budgets: { credits: { limit: 50, per: 1d } } }");
    let text = PIPELINE.replace(limits, &both).replace("OPTIONS", "budget: { credits: 1 }");
    let path = world.project.write("officers.yaml", &text);
    let run = async || {
        let run = async {
            let (checked, found) = engine::check(&text, &path, world.options(true)).await;
            let checked = checked.unwrap_or_else(|| panic!("{found:?}"));
            Run::new(checked).run(std::future::pending()).await
        };
        let report = world.during(run).await.unwrap_or_else(|error| panic!("{error}"));
        (report.notes.join(" "), world.api.calls().total)
    };
    let (note, n_calls) = run().await;
    assert!(note.contains("the budget `credits` is spent until 2026-11-03 00:00 UTC"), "{note}");
    assert_eq!(n_calls, 50);
    // On the same day there is nothing left; on the next there is.
    assert_eq!(run().await.1, 50);
    world.during(world.clock.sleep(Duration::from_secs(86_400))).await;
    assert_eq!(run().await.1, 100);
}

/// A server that nobody reaches.
#[derive(Debug)]
struct Unreachable(Clock);

#[async_trait]
impl Transport for Unreachable {
    async fn send(&self, _: Request) -> Result<Response, Failure> {
        self.0.sleep(Duration::from_millis(1)).await;
        Err(Failure { stage: Stage::Connect, reason: "refused".to_owned() })
    }
}

#[tokio::test]
async fn a_server_that_is_down_ends_the_asking_and_the_rest_is_pending() {
    let world = World::new(100, Settings::default());
    let (text, path) = world.file("");
    let mut options = world.options(true);
    options.transport = Some(Arc::new(Unreachable(world.clock)));
    let began = world.now();
    let run = async {
        let (checked, found) = engine::check(&text, &path, options).await;
        let checked = checked.unwrap_or_else(|| panic!("{found:?}"));
        Run::new(checked).run(std::future::pending()).await
    };
    let report = world.during(run).await.unwrap_or_else(|error| panic!("{error}"));
    let note = report.notes.join(" ");
    assert!(note.contains("does not answer (no connection: refused)"), "{note}");
    // `retry.up_to` is five minutes, and the breaker waits a minute at most.
    let took = world.now().duration_since(began).as_secs();
    assert!((300..420).contains(&took), "{took} s");
    world.run("").await;
    assert!(world.api.calls().total >= 100);
}

#[tokio::test]
async fn an_empty_list_asks_nobody() {
    let world = World::new(20, Settings::default());
    world.project.write("keys.csv", "company_number\n");
    world.run("").await;
    assert_eq!(world.api.calls().total, 0);
    assert_eq!(world.numbers.len(), 20);
}

/// Runs the tests of a pipeline file; returns what was said.
fn tested(transform: &str, test: &str) -> String {
    let project = Project::new();
    let file = format!(
        "version: 1
name: p
resources: {{ rate_limits: {{ ch: {{ rates: [600/5m] }} }} }}
sources: {{ keys: {{ csv: {{ path: ./keys.csv }}, contract: {{ columns: {{ n: {{ type: string }}, x: {{ type: int }} }} }} }} }}
transforms:
  officers:
    from: keys
    enrich: {{ companies_house_officers: {{ key: '${{secret:KEY}}' }} }}
    by: [n]
    rate_limit: ch
{transform}
sinks: {{ out: {{ from: officers, parquet: {{ path: ./out }}, write: replace }} }}
tests:
  - name: t
    given: {{ keys: {{ columns: [n, x], rows: [[90000001, 1], [90000002, 2], [null, 3], [90000001, 4]] }} }}
    answers:
      officers:
        - {{ key: [90000001], rows: [{{ officer_id: a, birth_year: 1970 }}, {{ officer_id: b }}] }}
        - {{ key: [90000002], {test}
"
    );
    project.write("p.yaml", file);
    let said = project.pipeline(&["test", "p.yaml"]);
    format!("{}{}", said.out, said.err)
}

#[test]
fn rows_go_where_their_answers_send_them() {
    let each = "officers: { columns: [n, x, officer_id, birth_year], rows: [
        [90000001, 1, a, 1970], [90000001, 1, b, null], [90000001, 4, a, 1970], [90000001, 4, b, null]] }";
    let first = "officers: { columns: [x, officer_id], rows: [[1, a], [4, a]] }";
    let kept = "officers: { columns: [x, officer_id], rows: [[1, a], [1, b], [2, null], [3, null], [4, a], [4, b]] }";
    let missing = "officers.missing: { columns: [x, reason], rows: [[2, unknown], [3, 'null']] }";
    let unanswered =
        "officers: { columns: [x, officer_id], rows: [[1, a], [1, b], [2, null], [4, a], [4, b]] }";
    let rejected = "officers.rejected: { columns: [x, reason, http_status, attempts],
        rows: [[2, answered 500, 500, 2]] }";
    for (transform, answer, expected) in [
        (
            "",
            "missing: unknown }",
            format!("{each}\n      {missing}\n      calls: {{ officers: 2 }}"),
        ),
        ("    rows: first", "missing: unknown }", first.to_owned()),
        ("    on_missing: keep", "missing: unknown }", format!("{kept}\n      {missing}")),
        (
            "    retry: { attempts: 2 }",
            "fails: { status: 500 } }",
            format!("{each}\n      {rejected}\n      calls: {{ officers: 3 }}"),
        ),
        ("    on_error: keep", "fails: { status: 500 } }", unanswered.to_owned()),
        (
            "    retry: { attempts: 2 }",
            "fail_first: [{ status: 503 }], missing: none }",
            "calls: { officers: 3 }".to_owned(),
        ),
    ] {
        let said = tested(transform, &format!("{answer}\n    expect:\n      {expected}"));
        assert!(said.contains("1 passed"), "{transform} {answer}: {said}");
    }
    let stopped = tested(
        "    on_error: stop",
        "fails: { status: 500 } }\n    fails: no answer after 5 calls",
    );
    assert!(stopped.contains("1 passed"), "{stopped}");
    let wrong = tested("", "missing: unknown }\n    expect: { calls: { officers: 7 } }");
    assert!(wrong.contains("officers") && wrong.contains('7') && wrong.contains('2'), "{wrong}");
}

#[test]
fn a_list_of_answers_is_a_column() {
    let said = tested(
        "    rows: list\n  n_officers: { sql: \"select x, cardinality(answers) as n from officers\" }",
        "missing: unknown }\n    expect: { n_officers: { columns: [x, n], rows: [[1, 2], [4, 2]] } }",
    );
    assert!(said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn a_source_does_not_move_on_while_its_rows_wait_for_answers() {
    let world = World::new(700, Settings::default());
    let leads = rusqlite::Connection::open(world.project.path("leads.db")).expect("a database");
    leads
        .execute_batch("CREATE TABLE leads (company_number TEXT, changed INTEGER)")
        .expect("a table");
    for (n, number) in world.numbers.iter().enumerate() {
        let row = rusqlite::params![number, n as i64];
        leads.execute("INSERT INTO leads VALUES (?1, ?2)", row).expect("a row");
    }
    let source = "sources: { keys: { csv: { path: '${keys}' } } }";
    let since = "sources: { keys: { sqlite: { path: ./leads.db, table: leads }, changed_since: { column: changed } } }";
    let with = |options: &str| PIPELINE.replace("OPTIONS", options).replace(source, since);
    let run = |options: &'static str| {
        let (world, text) = (&world, with(options).replace("vars: { keys: { type: path } }\n", ""));
        async move {
            let path = world.project.write("officers.yaml", &text);
            let options = Options { vars: BTreeMap::new(), ..world.options(true) };
            let run = async {
                let (checked, found) = engine::check(&text, &path, options).await;
                let checked = checked.unwrap_or_else(|| panic!("{found:?}"));
                Run::new(checked).run(std::future::pending()).await
            };
            world.during(run).await.unwrap_or_else(|error| panic!("{error}"))
        }
    };
    let report = run("stop_after: 60s").await;
    assert!(report.notes.join(" ").contains("pending"), "{:?}", report.notes);
    let rows = |report: &Report| report.nodes.iter().find(|n| n.node == "keys").map(|n| n.rows_out);
    assert_eq!(rows(&report), Some(700));
    let report = run("").await;
    assert_eq!((rows(&report), report.notes.len()), (Some(700), 0));
    // Now it moves on.
    assert_eq!(rows(&run("").await), Some(0));
    assert_eq!(world.api.calls().repeated, 0);
}
