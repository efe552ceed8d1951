//! Look-ups of real processes against a made-up Companies House over HTTP: killed at random moments,
//! and several at once.

use std::process::Stdio;
use std::time::Duration;

use crate::support::{self, Project, Sandbox};

const PIPELINE: &str = "version: 1
name: officers_of_a_list
state: ./state.db
vars: { api: { type: string } }
resources: { rate_limits: { ch: { rates: [100000/1m], follow_headers: true } } }
sources: { keys: { csv: { path: ./keys.csv } } }
transforms:
  officers:
    from: keys
    enrich:
      companies_house_officers: { key: '${secret:CH_API_KEY}', base_url: '${api}', items_per_page: 500 }
    by: [company_number]
    rate_limit: ch
    in_flight: 8
sinks:
  out: { from: officers, sqlite: { table: officers }, write: upsert, key: [company_number, officer_id] }
";

/// A made-up Companies House whose limit is told.
struct Server(Sandbox);

impl Server {
    fn start(project: &Project, limit: &str) -> Self {
        Self(Sandbox::start(project, "register.csv", &["--limit", limit, "--latency", "5ms"]))
    }

    async fn calls(&self) -> serde_json::Value {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = format!("{}/sandbox/calls", self.0.address);
        let answer = reqwest::get(address).await.expect("an answer");
        answer.json().await.expect("JSON")
    }
}

fn project(n_companies: u64) -> Project {
    let project = Project::new();
    let rows = n_companies.to_string();
    let said = project.pipeline(&["sandbox", "snapshot", "--rows", &rows, "--out", "register.csv"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let register = std::fs::read_to_string(project.path("register.csv")).expect("a register");
    let numbers = register.lines().skip(1).filter_map(|line| line.split("\",\"").nth(1));
    let numbers: Vec<&str> = numbers.collect();
    project.write("keys.csv", format!("company_number\n{}\n", numbers.join("\n")));
    project.write("officers.yaml", PIPELINE);
    project
}

fn run(project: &Project, server: &Server) -> std::process::Command {
    let api = format!("api={}", server.0.address);
    let mut command = project.command(&["run", "officers.yaml", "--var", &api]);
    command.env("CH_API_KEY", "canary-key").stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[tokio::test]
async fn kills_at_random_moments_ask_nothing_twice_but_what_was_on_its_way() {
    let setting = |name: &str, otherwise: u64| {
        std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
    };
    let (n_kills, n_companies) =
        (setting("PIPELINE_CALL_KILLS", 5), setting("PIPELINE_CALL_COMPANIES", 600));
    let disturbed = project(n_companies);
    let server = Server::start(&disturbed, "100000/1m");
    let mut random = setting("PIPELINE_KILL_SEED", 7);
    let mut n_killed = 0;
    while n_killed < n_kills {
        let mut child = run(&disturbed, &server).spawn().expect("it starts");
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        #[expect(clippy::disallowed_methods, reason = "a kill comes at a moment of its own")]
        std::thread::sleep(Duration::from_millis(150 + (random >> 33) % 400));
        if child.try_wait().expect("a status").is_some() {
            // Everything is answered: there are no calls left to kill.
            break;
        }
        child.kill().expect("a kill");
        child.wait().expect("an end");
        n_killed += 1;
    }
    assert!(run(&disturbed, &server).status().expect("a status").success());
    let calls = server.calls().await;
    eprintln!("{n_killed} kills -9 over {n_companies} companies: {calls}");
    let count = |name: &str| calls[name].as_u64().expect("a number");
    assert_eq!(count("limited"), 0);
    assert!(count("repeated") <= 8 * n_killed, "{calls}");

    let undisturbed = project(n_companies);
    let server = Server::start(&undisturbed, "100000/1m");
    assert!(run(&undisturbed, &server).status().expect("a status").success());
    assert_eq!(server.calls().await["repeated"], 0);
    let rows = "select * from out order by company_number, officer_id";
    assert_eq!(disturbed.query(rows), undisturbed.query(rows));
}

#[tokio::test]
async fn processes_that_share_a_key_ask_nothing_twice_and_never_too_often() {
    let project = project(150);
    let server = Server::start(&project, "60/2s");
    let mut children = Vec::new();
    for name in ["a", "b", "c"] {
        let text = PIPELINE.replace("officers_of_a_list", name).replace("100000/1m", "60/2s");
        let text = text.replace("table: officers", &format!("table: {name}"));
        project.write("officers.yaml", text.replace("out:", &format!("out_{name}:")));
        let file = format!("{name}.yaml");
        std::fs::rename(project.path("officers.yaml"), project.path(&file)).expect("a file");
        let api = format!("api={}", server.0.address);
        let mut command = project.command(&["run", &file, "--var", &api]);
        command.env("CH_API_KEY", "canary-key").stdout(Stdio::null());
        children.push(command.spawn().expect("it starts"));
    }
    for mut child in children {
        assert!(child.wait().expect("an end").success());
    }
    let calls = server.calls().await;
    assert_eq!((&calls["limited"], &calls["repeated"]), (&0.into(), &0.into()), "{calls}");
    let rows = |name: &str| {
        let sql = format!("select * from out_{name} order by company_number, officer_id");
        project.query(&sql)
    };
    assert!(rows("a").len() > 150);
    assert_eq!(rows("a"), rows("b"));
    assert_eq!(rows("a"), rows("c"));
}

#[tokio::test]
async fn the_key_is_in_no_output_and_no_file() {
    // As it is given, and as it goes over the wire: `canary-key:` in base64.
    const CANARIES: [&str; 2] = ["canary-key", "Y2FuYXJ5LWtleTo"];
    let project = project(40);
    let patience = "in_flight: 8\n    retry: { attempts: 2, wait: 10ms, up_to: 1s }";
    project.write("officers.yaml", PIPELINE.replace("in_flight: 8", patience));
    let server = Server::start(&project, "60/1s");
    let (api, wrong) =
        (format!("api={}", server.0.address), format!("api={}/none", server.0.address));
    let mut searched = 0;
    for arguments in [
        &["check", "officers.yaml"][..],
        &["plan", "officers.yaml", "--var", &api],
        &["explain", "officers.yaml", "--var", &api],
        &["run", "officers.yaml", "--var", &wrong, "--format", "json"],
        &["run", "officers.yaml", "--var", "api=http://127.0.0.1:1", "--format", "json"],
        &["run", "officers.yaml", "--var", &api, "--format", "json", "-vv"],
        &["explain", "officers.yaml", "--var", &api, "--analyze"],
        &["runs", "--file", "officers.yaml"],
        &["state", "show", "officers.yaml"],
        &["query", "select * from engine.answers", "--file", "officers.yaml"],
    ] {
        let mut command = project.command(arguments);
        command.env("CH_API_KEY", CANARIES[0]).env("RUST_LOG", "trace");
        let said = support::said(command.output().expect("it starts"));
        for canary in CANARIES {
            assert!(!said.out.contains(canary) && !said.err.contains(canary), "{arguments:?}");
        }
        searched += said.out.len() + said.err.len();
    }
    for file in project.files("") {
        let bytes = std::fs::read(project.path(&file)).expect("a file");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!CANARIES.iter().any(|canary| text.contains(canary)), "{file}");
        searched += bytes.len();
    }
    eprintln!("{searched} bytes searched");
}

const JSON: &str = "version: 1
name: json
vars: { api: { type: string } }
resources: { rate_limits: { any: { rates: [1000/1m], follow_headers: true } } }
sources:
  keys: { csv: { path: ./keys.csv } }
  officers_of_one:
    http_json:
      url: '${api}/company/NUMBER/officers'
      auth: { basic: { user: '${secret:CH_API_KEY}', password: '' } }
      paging: { offset: { parameter: start_index, size_parameter: items_per_page, size: 10 } }
      records: items
      columns:
        name: string
        officer_role: string
        birth_year: { type: int, path: date_of_birth.year }
transforms:
  profiles:
    from: keys
    enrich:
      http_json:
        url: '${api}/company/{company_number}'
        auth: { basic: { user: '${secret:CH_API_KEY}', password: '' } }
        columns:
          status: { type: string, path: company_status }
          created: { type: date, path: date_of_creation }
    by: [company_number]
    rate_limit: any
    on_missing: keep
sinks:
  profile_rows: { from: profiles, sqlite: { table: profiles }, write: replace }
  officer_rows: { from: officers_of_one, sqlite: { table: officers }, write: replace }
";

#[test]
fn any_json_api_is_read_and_asked_by_what_stands_in_the_file() {
    let project = project(60);
    let server = Server::start(&project, "10000/1m");
    // A company with several pages of officers, found by the look-up that knows the API.
    assert!(run(&project, &server).status().expect("a status").success());
    let most = "select company_number, count(*) as n from out group by company_number
                order by n desc, company_number limit 1";
    let most = project.query(most).join("");
    let (number, n_officers) = most.split_once(',').expect("two columns");
    project.write("json.yaml", JSON.replace("NUMBER", number));
    let keys = std::fs::read_to_string(project.path("keys.csv")).expect("keys");
    project.write("keys.csv", format!("{keys}ZZ000000\n"));
    let api = format!("api={}", server.0.address);
    let mut command = project.command(&["run", "json.yaml", "--var", &api]);
    let said = support::said(command.env("CH_API_KEY", "any").output().expect("it starts"));
    assert_eq!(said.code, Some(0), "{}", said.err);
    let ask = |sql: &str| {
        let said = project.pipeline(&["query", sql, "--format", "csv", "--file", "json.yaml"]);
        said.out.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ask("select count(*) from officer_rows"), [n_officers]);
    let rows = ask("select count(*), count(status), count(created) from profile_rows");
    assert_eq!(rows, ["61,60,60"], "{}", said.err);
}
