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
      companies_house_officers: { key: '${secret:CH_API_KEY}', base_url: 'http://127.0.0.1:1' }
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
async fn an_empty_list_asks_nobody() {
    let world = World::new(20, Settings::default());
    world.project.write("keys.csv", "company_number\n");
    world.run("").await;
    assert_eq!(world.api.calls().total, 0);
    assert_eq!(world.numbers.len(), 20);
}
