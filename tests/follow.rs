//! Streams that are followed by real processes over HTTP: cut, killed, stopped, out of date. What
//! they leave must equal what an undisturbed one leaves.

use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::{Project, Sandbox, parquet, said};

/// Every event once, in a table of the state file, in files, and the last one of each company.
const PIPELINE: &str = "version: 1
name: live
state: ./state.db
vars: { api: { type: string } }
sources:
  changes:
    companies_house_stream: { feed: companies, key: '${secret:KEY}', start: START, base_url: '${api}', reconnect_after: 5ms }
    batch: { rows: 300, every: 50ms }
  appointments:
    companies_house_stream: { feed: officers, key: '${secret:KEY}', start: OFFICERS, base_url: '${api}', reconnect_after: 5ms }
    batch: { rows: 300, every: 20ms }
transforms:
  flat:
    sql: |
      select event['timepoint'] as timepoint, company_number, event['type'] as change,
             event['published_at'] as published_at, data['company_status'] as status,
             coalesce(data['company_status_detail'], '') as detail
      from changes
  people:
    sql: select event['timepoint'] as timepoint, company_number, resource_id, data['name'] as name from appointments
  latest: { from: flat, deduplicate: { by: [company_number], prefer: [timepoint desc] } }
sinks:
  log:    { from: flat, sqlite: { table: log }, write: append }
  people_log: { from: people, sqlite: { table: people }, write: append }
  files:  { from: flat, parquet: { path: ./files }, write: append }
  now:    { from: latest, sqlite: { table: now }, write: upsert, key: [company_number], newer_by: timepoint }
  refused: { from: [changes.rejected, appointments.rejected], sqlite: { table: refused }, write: append }
";

/// A number that a long run sets, and a short one has by itself.
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

/// Serves a made-up register.
fn sandbox(project: &Project, arguments: &[&str]) -> Sandbox {
    let made = project.pipeline(&["sandbox", "snapshot", "--rows", "2000", "--out", "r.csv"]);
    assert_eq!(made.code, Some(0), "{}", made.err);
    Sandbox::start(project, "r.csv", arguments)
}

/// A made-up Companies House with everything that has happened.
struct Server {
    sandbox: Sandbox,
    n_events: u64,
}

impl Server {
    /// Starts one with so many events and no more to come.
    fn start(project: &Project, n_events: u64, more: &[&str]) -> Self {
        let n = n_events.to_string();
        let mut arguments = vec!["--stream-backlog", &n, "--stream-events", &n];
        arguments.extend(more);
        Self { sandbox: sandbox(project, &arguments), n_events }
    }

    fn get(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.send("GET", path)).expect("JSON")
    }

    /// Sends a request by hand; returns the body of the answer.
    fn send(&self, method: &str, path: &str) -> String {
        use std::io::{Read as _, Write as _};

        let address = self.sandbox.address.trim_start_matches("http://");
        let mut socket = std::net::TcpStream::connect(address).expect("a connection");
        let request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        socket.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        answer.split_once("\r\n\r\n").expect("a head").1.to_owned()
    }

    /// Returns the number of the first event of a feed.
    fn first(&self, feed: &str) -> u64 {
        self.get("/sandbox/stream")[feed]["oldest"].as_u64().expect("a number")
    }

    fn project(&self) -> Project {
        let project = Project::new();
        let (start, officers) = (self.first("companies"), self.first("officers"));
        let text = PIPELINE
            .replace("START", &start.to_string())
            .replace("OFFICERS", &officers.to_string());
        project.write("live.yaml", text);
        project
    }

    fn follow(&self, project: &Project) -> std::process::Command {
        let api = format!("api={}", self.sandbox.address);
        let mut command = project.command(&["run", "live.yaml", "--follow", "--var", &api]);
        command.env("KEY", "canary-key").stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Says whether everything that happened was committed.
    fn is_read(&self, project: &Project) -> bool {
        ["companies", "officers"].iter().zip(["changes", "appointments"]).all(|(feed, node)| {
            position(project, node) == Some(self.first(feed) + self.n_events - 1)
        })
    }

    /// Follows until everything was read, then stops as a service is stopped.
    fn follow_to_the_end(&self, project: &Project) {
        let mut child = self.follow(project).spawn().expect("it starts");
        let (mut place, mut n_idle) = (None, 0);
        loop {
            wait(20);
            let status = child.try_wait().expect("a status");
            assert!(status.is_none(), "it ended by itself: {status:?}");
            let now = position(project, "changes");
            n_idle = if now == place { n_idle + 1 } else { 0 };
            place = now;
            if self.is_read(project) && is_settled(project) {
                terminate(&child);
                // One that had everything already may be gone before it listens to signals.
                let code = child.wait().expect("an end").code();
                assert!(code.is_none_or(|code| code == 0), "{code:?}");
                return;
            }
            if n_idle == 6_000 {
                let _ = child.kill();
                panic!("nothing was read for two minutes: {place:?}");
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "another process takes its time")]
fn wait(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

fn terminate(child: &Child) {
    let pid = child.id().to_string();
    let killed = std::process::Command::new("kill").args(["-TERM", &pid]).status();
    assert!(killed.expect("kill starts").success());
}

/// Says whether nothing is left to be published or undone.
fn is_settled(project: &Project) -> bool {
    let sql = "SELECT run_id FROM engine_runs WHERE status IN ('running', 'committed')
               UNION ALL SELECT folder FROM engine_staging";
    rows(project, sql).is_empty()
}

/// Returns where a stream stands.
fn position(project: &Project, node: &str) -> Option<u64> {
    let state = rusqlite::Connection::open(project.path("state.db")).ok()?;
    let sql = "SELECT position FROM engine_positions WHERE node = ?1";
    state.query_row(sql, [node], |row| row.get::<_, String>(0)).ok()?.parse().ok()
}

fn rows(project: &Project, sql: &str) -> Vec<String> {
    let state = rusqlite::Connection::open(project.path("state.db")).expect("the state");
    let mut statement = state.prepare(sql).expect("a query");
    let n_columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        let values = (0..n_columns).map(|index| row.get::<_, rusqlite::types::Value>(index));
        values.collect::<rusqlite::Result<Vec<_>>>().map(|values| format!("{values:?}"))
    };
    statement.query_map([], row).expect("rows").map(|row| row.expect("a row")).collect()
}

/// All that a project shows: its tables in order, and the numbers of the events in its files.
fn shown(project: &Project) -> Vec<String> {
    let mut all = rows(project, "SELECT * FROM log ORDER BY timepoint");
    all.extend(rows(project, "SELECT * FROM people ORDER BY timepoint"));
    all.extend(rows(project, "SELECT * FROM now ORDER BY company_number"));
    let mut numbers: Vec<i64> = Vec::new();
    for batch in parquet(&project.path("files")) {
        use datafusion::arrow::array::AsArray as _;
        use datafusion::arrow::datatypes::Int64Type;
        numbers.extend(batch.column(0).as_primitive::<Int64Type>().values());
    }
    numbers.sort_unstable();
    all.extend(numbers.iter().map(ToString::to_string));
    all
}

/// What must be true of a project whatever happened to it.
fn check(server: &Server, project: &Project, undisturbed: &[String]) {
    let shown = shown(project);
    let differs = shown.iter().zip(undisturbed).position(|(left, right)| left != right);
    assert_eq!(shown.len(), undisturbed.len(), "first difference at {differs:?}");
    assert_eq!(differs, None, "{:?}", differs.map(|at| (&shown[at], &undisturbed[at])));
    let (first, n) = (server.first("companies"), server.n_events);
    let counted = rows(project, "SELECT min(timepoint), max(timepoint), count(*) FROM log");
    let expected = format!("[Integer({first}), Integer({}), Integer({n})]", first + n - 1);
    assert_eq!(counted, [expected]);
    // No file but those that are listed, nothing left of what was staged.
    let mut listed = rows(project, "SELECT path FROM engine_files");
    listed.sort();
    let files = project.files("files");
    assert_eq!(listed.len(), files.len(), "files and their list");
    for file in &files {
        assert!(listed.iter().any(|path| path.contains(file.as_str())), "{file} is an orphan");
    }
    assert_eq!(project.files(".pipeline-staging"), [""; 0]);
    assert_eq!(rows(project, "SELECT * FROM engine_gaps"), [""; 0]);
}

/// What an undisturbed process makes of a server's log.
fn undisturbed(server: &Server) -> Vec<String> {
    let project = server.project();
    server.follow_to_the_end(&project);
    let shown = shown(&project);
    check(server, &project, &shown);
    shown
}

/// Moments that a seed decides.
struct Moments(u64);

impl Moments {
    fn next(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

const DISTURBED: [&str; 8] = [
    "--stream-fault",
    "cut=0.035",
    "--stream-fault",
    "duplicate=0.02",
    "--stream-fault",
    "disorder=0.02",
    "--stream-fault",
    "split=0.1",
];

#[test]
fn a_day_with_cuts_and_restarts_ends_like_one_without() {
    let n_events = setting("PIPELINE_DAY_EVENTS", 1_500);
    let home = Project::new();
    let calm = Server::start(&home, n_events, &[]);
    let expected = undisturbed(&calm);
    drop(calm);
    let server = Server::start(&home, n_events, &DISTURBED);
    let project = server.project();
    let mut child = server.follow(&project).spawn().expect("it starts");
    let last = server.first("companies") + n_events - 1;
    for part in 1..=3 {
        let place = last - n_events + n_events * part / 4;
        while position(&project, "changes").unwrap_or(0) < place {
            assert!(child.try_wait().expect("a status").is_none(), "it ended by itself");
            wait(10);
        }
        server.send("POST", "/sandbox/stream/restart");
    }
    terminate(&child);
    assert_eq!(child.wait().expect("an end").code(), Some(0));
    server.follow_to_the_end(&project);
    // The moments of publication are those of each server's own start.
    assert_eq!(timeless(&shown(&project)), timeless(&expected));
    let calls = server.get("/sandbox/calls");
    eprintln!("{n_events} events of each feed: {}", calls["stream"]);
    let connections = calls["stream"]["companies"]["connections"].as_u64().expect("a number");
    assert!(connections > n_events / 40, "{connections} connections");
}

/// Takes moments out of rows.
fn timeless(rows: &[String]) -> Vec<String> {
    let is_moment = |word: &str| word.len() > 20 && word.contains("T") && word.ends_with("Z\")");
    let row = |row: &String| {
        row.split(' ')
            .filter(|word| !is_moment(word.trim_end_matches(',')))
            .collect::<Vec<_>>()
            .join(" ")
    };
    rows.iter().map(row).collect()
}

#[test]
fn kills_at_random_moments_lose_nothing_and_double_nothing() {
    let n_kills = setting("PIPELINE_FOLLOW_KILLS", 6);
    let n_events = setting("PIPELINE_FOLLOW_EVENTS", 2_000);
    let server = Server::start(&Project::new(), n_events, &DISTURBED);
    let expected = undisturbed(&server);
    let mut moments = Moments(setting("PIPELINE_KILL_SEED", 7));
    let (mut n_killed, mut n_rounds) = (0, 0);
    while n_killed < n_kills {
        n_rounds += 1;
        let project = server.project();
        while n_killed < n_kills && !server.is_read(&project) {
            let mut child = server.follow(&project).spawn().expect("it starts");
            wait(100 + moments.next(600));
            assert!(child.try_wait().expect("a status").is_none(), "it ended by itself");
            child.kill().expect("a kill");
            child.wait().expect("an end");
            n_killed += 1;
        }
        server.follow_to_the_end(&project);
        check(&server, &project, &expected);
    }
    eprintln!("{n_killed} kills -9 in {n_rounds} rounds over {n_events} events of each feed");
}

#[test]
fn every_fail_point_of_a_batch_leaves_the_same() {
    let server = Server::start(&Project::new(), 700, &[]);
    let expected = undisturbed(&server);
    let mut n_cases = 0;
    for point in pipeline::failpoint::POINTS {
        for action in ["kill", "error", "panic"] {
            // Not in this pipeline, and what an error after the commit does shows the kill.
            if ["stage.csv.closed", "publish.table_merged"].contains(point) {
                continue;
            }
            let project = server.project();
            let mut command = server.follow(&project);
            command.env("PIPELINE_FAILPOINT", format!("{point}:2:{action}"));
            let mut child = command.spawn().expect("it starts");
            for _ in 0..3_000 {
                if child.try_wait().expect("a status").is_some() || server.is_read(&project) {
                    break;
                }
                wait(10);
            }
            let _ = child.kill();
            child.wait().expect("an end");
            server.follow_to_the_end(&project);
            check(&server, &project, &expected);
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 3 * (pipeline::failpoint::POINTS.len() - 2));
}

#[test]
fn a_signal_ends_it_in_time_and_nothing_is_lost() {
    let n_signals = setting("PIPELINE_FOLLOW_SIGNALS", 5);
    let server = Server::start(&Project::new(), 3_000, &DISTURBED);
    let expected = undisturbed(&server);
    let mut moments = Moments(11);
    let (mut n_sent, mut longest) = (0, Duration::ZERO);
    while n_sent < n_signals {
        let project = server.project();
        while n_sent < n_signals && !server.is_read(&project) {
            let child = server.follow(&project).spawn().expect("it starts");
            wait(150 + moments.next(500));
            let before = pipeline::clock::Clock::system().now();
            terminate(&child);
            let output = said(child.wait_with_output().expect("an end"));
            let took = pipeline::clock::Clock::system().now().duration_since(before);
            longest = longest.max(took.unsigned_abs());
            assert_eq!(output.code, Some(0));
            n_sent += 1;
        }
        server.follow_to_the_end(&project);
        check(&server, &project, &expected);
    }
    eprintln!("{n_sent} signals, {longest:?} at most");
    assert!(longest < Duration::from_secs(25), "{longest:?}");
}

#[test]
fn only_one_process_follows_and_a_run_without_following_reads_one_batch() {
    let server = Server::start(&Project::new(), 1_000, &[]);
    let project = server.project();
    let api = format!("api={}", server.sandbox.address);
    let run = || {
        let arguments = ["run", "live.yaml", "--format", "json", "--var", &api];
        said(project.command(&arguments).env("KEY", "k").output().expect("it starts"))
    };
    let report = run();
    assert_eq!(report.code, Some(0), "{}", report.err);
    let first = server.first("companies");
    let reached = position(&project, "changes").expect("a position");
    assert!((first..first + 300).contains(&reached), "{reached} after {first}");
    let mut child = server.follow(&project).spawn().expect("it starts");
    while !server.is_read(&project) {
        wait(10);
    }
    let refused = run();
    assert_eq!(refused.code, Some(3));
    assert!(refused.err.contains("another process is running `live`"), "{}", refused.err);
    terminate(&child);
    assert_eq!(child.wait().expect("an end").code(), Some(0));
}

#[test]
fn a_place_that_is_too_old_is_a_gap_that_is_recorded_once_and_left_by_hand() {
    let server = Server::start(&Project::new(), 500, &[]);
    let project = server.project();
    let api = format!("api={}", server.sandbox.address);
    let run = |arguments: &[&str]| {
        let mut all = vec!["run", "live.yaml", "--var", &api];
        all.extend(arguments);
        said(project.command(&all).env("KEY", "canary-key").output().expect("it starts"))
    };
    assert_eq!(run(&[]).code, Some(0));
    server.send("POST", "/sandbox/stream/expire");
    for arguments in [&["--follow"][..], &[]] {
        let said = run(arguments);
        assert_eq!(said.code, Some(3), "{}", said.err);
        assert!(said.err.contains("(416)") && said.err.contains("state set"), "{}", said.err);
        assert!(!said.err.contains("canary"), "{}", said.err);
    }
    let gaps = "SELECT node, after_position, before_position, reason, closed_at FROM engine_gaps";
    let after = server.first("companies");
    let recorded = rows(&project, gaps);
    assert!(
        recorded[0].contains("\"changes\"") && recorded[0].contains("\"too_old\""),
        "{recorded:?}"
    );
    assert_eq!(recorded.len(), 1, "{after} {recorded:?}");
    let shown = project.pipeline(&["state", "show", "live.yaml", "--var", &api]).out;
    assert!(shown.contains("changes  gap after ") && shown.contains("(too_old)"), "{shown}");
    for node in ["changes", "appointments"] {
        let set = project.pipeline(&["state", "set", "live.yaml", node, "now", "--var", &api]);
        assert_eq!(set.code, Some(0), "{}", set.err);
    }
    let said = run(&[]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    // A file from before the gap fills nothing, one from after it does.
    for (day, n_open) in [("2020-01-01", 1), ("2099-01-01", 0)] {
        fill(&project, day);
        let open = "SELECT node FROM engine_gaps WHERE closed_at IS NULL";
        assert_eq!(rows(&project, open).len(), n_open, "{day}");
    }
}

/// Reads a monthly file of a day, which fills the gaps of `changes` from before.
fn fill(project: &Project, day: &str) {
    project.snapshot(&format!("BasicCompanyData-{day}.csv"), 50, day);
    let fills = format!(
        "version: 1
name: file
state: ./state.db
sources:
  register: {{ companies_house_bulk: {{ file: ./BasicCompanyData-{day}.csv, fills_gaps_of: [live.changes] }} }}
sinks: {{ rows: {{ from: register, sqlite: {{ table: register }}, write: replace }} }}
"
    );
    project.write("file.yaml", fills);
    project.run(&["file.yaml"]);
}

#[test]
fn places_that_expire_again_and_again_are_gaps_and_nothing_else_is_missing() {
    let arguments = ["--stream-backlog", "300", "--stream-rate", "200/s"];
    let server = Server { sandbox: sandbox(&Project::new(), &arguments), n_events: 0 };
    let (project, first) = (server.project(), server.first("companies"));
    let read = |name| std::fs::read_to_string(project.path(name)).expect("a text");
    let text = read("live.yaml").replace("base_url:", "on_gap: now, base_url:");
    project.write("live.yaml", text);
    let place = || position(&project, "changes").unwrap_or(0);
    // Nothing before the state is there.
    let n_gaps = || {
        let state = rusqlite::Connection::open(project.path("state.db")).ok();
        let count = |row: &rusqlite::Row<'_>| row.get::<_, u64>(0);
        let sql = "SELECT count(*) FROM engine_gaps WHERE node = 'changes'";
        state.and_then(|state| state.query_row(sql, [], count).ok()).unwrap_or(0)
    };
    // At the start, and twice while one process follows. An event that comes between the two
    // requests is no gap: then they are made again.
    server.send("POST", "/sandbox/stream/expire");
    let log = std::fs::File::create(project.path("log")).expect("a log");
    let mut child = server.follow(&project).stderr(log).spawn().expect("it starts");
    for n in 1..=3 {
        let mut from = None;
        for round in 1..=3_000 {
            assert!(child.try_wait().expect("a status").is_none(), "it ended by itself");
            match n_gaps() {
                found if found < n && n > 1 && round % 100 == 1 => {
                    server.send("POST", "/sandbox/stream/expire");
                    server.send("POST", "/sandbox/stream/restart");
                }
                found if found == n && place() > *from.get_or_insert_with(place) + 50 => break,
                _ => {}
            }
            wait(10);
        }
        assert_eq!(n_gaps(), n, "{}", read("log"));
    }
    terminate(&child);
    assert_eq!(child.wait().expect("an end").code(), Some(0));
    let said = read("log");
    let told = |line: &&str| line.contains("events are lost") && line.contains("/companies");
    assert_eq!(said.lines().filter(told).count(), 3, "{said}");
    // What is missing is what the gaps say, to the event.
    let missing = "SELECT number, next FROM (
                       SELECT timepoint AS number, lead(timepoint) OVER (ORDER BY timepoint) AS next
                       FROM log UNION ALL SELECT START - 1, (SELECT min(timepoint) FROM log)
                   ) WHERE next > number + 1 ORDER BY number";
    let missing = missing.replace("START", &first.to_string());
    let told = "SELECT CAST(after_position AS INTEGER), CAST(before_position AS INTEGER)
                FROM engine_gaps WHERE node = 'changes' AND reason = 'too_old' ORDER BY 1";
    assert_eq!(rows(&project, told), rows(&project, &missing));
    fill(&project, "2099-01-01");
    let open = "SELECT node FROM engine_gaps WHERE node = 'changes' AND closed_at IS NULL";
    assert_eq!(rows(&project, open), [""; 0]);
}

#[test]
fn a_batch_whose_keys_are_pending_is_not_committed_unless_somebody_keeps_them() {
    let server = Server::start(&Project::new(), 20, &[]);
    let project = server.project();
    let first = server.first("companies");
    let pipeline = |more: &str| {
        format!(
            "version: 1
name: live
state: ./state.db
resources: {{ rate_limits: {{ limit: {{ rates: [600/5m] }} }} }}
sources:
  changes: {{ companies_house_stream: {{ feed: companies, key: '${{secret:KEY}}', start: {first}, base_url: '{}' }} }}
transforms:
  numbers: {{ sql: select distinct company_number from changes }}
  asked:
    from: numbers
    enrich: {{ http_json: {{ url: 'http://127.0.0.1:9/{{company_number}}', columns: {{ x: string }} }} }}
    by: [company_number]
    rate_limit: limit
    stop_after: 100ms
sinks:
  out: {{ from: asked, sqlite: {{ table: out }}, write: upsert, key: [company_number] }}
{more}",
            server.sandbox.address
        )
    };
    let run = |more: &str| {
        project.write("live.yaml", pipeline(more));
        let mut command = project.command(&["run", "live.yaml"]);
        said(command.env("KEY", "k").output().expect("it starts"))
    };
    let refused = run("");
    assert_eq!(refused.code, Some(3), "{}", refused.err);
    assert!(refused.err.contains("nothing reads `asked.pending`"), "{}", refused.err);
    assert_eq!(position(&project, "changes"), None);
    let kept = run("  waiting: { from: asked.pending, sqlite: { table: waiting }, write: append }");
    assert_eq!(kept.code, Some(0), "{}", kept.err);
    assert_eq!(position(&project, "changes"), Some(first + 19));
    assert_ne!(rows(&project, "SELECT company_number FROM waiting"), [""; 0]);
}

#[test]
fn a_schedule_of_always_follows_and_once_does_not() {
    let server = Server::start(&Project::new(), 700, &[]);
    let project = server.project();
    let text = std::fs::read_to_string(project.path("live.yaml")).expect("a pipeline");
    project.write("live.yaml", format!("{text}schedule: {{ always: true }}\n"));
    let api = format!("api={}", server.sandbox.address);
    let run = |arguments: &[&str]| {
        let mut all = vec!["run", "live.yaml", "--var", &api];
        all.extend(arguments);
        let mut command = project.command(&all);
        command.env("KEY", "k").stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("it starts")
    };
    assert_eq!(run(&["--once"]).wait().expect("an end").code(), Some(0));
    assert!(!server.is_read(&project));
    let mut child = run(&[]);
    while !server.is_read(&project) {
        assert!(child.try_wait().expect("a status").is_none(), "it ended by itself");
        wait(10);
    }
    terminate(&child);
    assert_eq!(child.wait().expect("an end").code(), Some(0));
}
