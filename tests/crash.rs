//! Runs that die, fail or panic at every named point, and at random moments: after a restart
//! everything is as if nothing had happened, and no reader ever saw anything half.
//!
//! `PIPELINE_KILLS` and `PIPELINE_KILL_ROWS` make the random test longer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use pipeline::failpoint;

use crate::support::{Project, parquet};

/// A pipeline with every kind of output: partitioned and plain folders, replaced and appended,
/// a file, tables in the state file and elsewhere, a node that several read, rejected rows.
pub(crate) const PIPELINE: &str = r#"
version: 1
name: crash
vars: { file: { type: path } }
state: ./state.db
sources:
  register:
    companies_house_bulk: { file: "${file}" }
transforms:
  proposals: { from: register, filter: company_status = 'Active - Proposal to Strike off' }
  usable:
    from: proposals
    validate:
      - { name: old, that: incorporation_date <= snapshot_date - interval '2 years', otherwise: reject }
  leads:
    sql: |
      select company_number, company_name, post_code, substr(post_code, 1, 2) as area,
             accounts_next_due_date, snapshot_date as as_of
      from usable
  areas: { sql: "select area, count(*) as n from leads group by area" }
sinks:
  divided:  { from: leads, parquet: { path: ./out/divided, partition_by: [area] }, write: replace }
  whole:    { from: leads, parquet: { path: ./out/whole }, write: replace }
  log:      { from: areas, parquet: { path: ./out/log }, write: append }
  areas_csv: { from: areas, csv: { path: ./out/areas.csv }, write: replace }
  here:     { from: leads, sqlite: { table: leads }, write: upsert, key: company_number, newer_by: as_of, missing: mark_gone }
  there:    { from: leads, sqlite: { path: ./other.db, table: leads }, write: upsert, key: company_number, newer_by: as_of, missing: mark_gone }
  refused:  { from: [register.rejected, usable.rejected], csv: { path: ./out/refused.csv }, write: replace }
"#;

const OCTOBER: &str = "BasicCompanyData-2026-10-01.csv";
const NOVEMBER: &str = "BasicCompanyData-2026-11-01.csv";

/// Everything that a reader can see, in a form that two runs have in common.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) tables: BTreeMap<String, Vec<String>>,
}

pub(crate) fn see(project: &Project) -> Seen {
    let mut tables = BTreeMap::new();
    for folder in ["divided", "whole", "log"] {
        let mut rows = Vec::new();
        for batch in parquet(&project.path("out").join(folder)) {
            let options = datafusion::arrow::util::display::FormatOptions::default();
            let columns: Vec<_> = batch
                .columns()
                .iter()
                .map(|c| {
                    datafusion::arrow::util::display::ArrayFormatter::try_new(c, &options)
                        .expect("a formatter")
                })
                .collect();
            for row in 0..batch.num_rows() {
                let values: Vec<String> =
                    columns.iter().map(|c| c.value(row).to_string()).collect();
                rows.push(values.join("|"));
            }
        }
        rows.sort();
        tables.insert(folder.to_owned(), rows);
    }
    for file in ["areas.csv", "refused.csv"] {
        let text = std::fs::read_to_string(project.path("out").join(file)).unwrap_or_default();
        // Rows that were rejected name the snapshot with the folder of its project.
        let of = |line: &str| line.split_once("/Basic").map_or(line, |(_, rest)| rest).to_owned();
        let mut rows: Vec<String> = text.lines().map(of).collect();
        rows.sort();
        tables.insert(file.to_owned(), rows);
    }
    for (name, database) in [("here", "state.db"), ("there", "other.db")] {
        tables.insert(name.to_owned(), leads(&project.path(database)));
    }
    Seen { tables }
}

fn leads(database: &Path) -> Vec<String> {
    if !database.exists() {
        return Vec::new();
    }
    let connection = rusqlite::Connection::open(database).expect("a database");
    let check: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
    assert_eq!(check, "ok");
    let sql = "SELECT company_number || '|' || company_name || '|' || coalesce(area, '') || '|' ||
               as_of || '|' || (gone_at IS NOT NULL) FROM leads ORDER BY 1";
    let Ok(mut statement) = connection.prepare(sql) else { return Vec::new() };
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

/// A project in which October was run, and what it looks like before and after November.
struct Bench {
    before: Project,
    old: Seen,
    new: Seen,
}

impl Bench {
    fn new(rows: u64) -> Self {
        let before = Project::new();
        before.snapshot(OCTOBER, rows, "2026-10-01");
        before.snapshot(NOVEMBER, rows, "2026-11-01");
        before.write("crash.yaml", PIPELINE);
        before.run(&["crash.yaml", "--var", &format!("file={OCTOBER}")]);
        let old = see(&before);
        assert!(old.tables.values().all(|rows| !rows.is_empty()), "a test of nothing: {old:?}");
        let undisturbed = copy(&before);
        undisturbed.run(&["crash.yaml", "--var", &format!("file={NOVEMBER}")]);
        let new = see(&undisturbed);
        assert_ne!(old, new);
        Self { before, old, new }
    }

    /// Checks what a reader sees after a crash: of each output the old or the new rows, whole;
    /// and nothing new unless the run was committed.
    fn check_readers(&self, project: &Project, case: &str) {
        let seen = see(project);
        let is_committed = self.last_status(project) != "running";
        for (name, rows) in &seen.tables {
            let is_old = rows == &self.old.tables[name];
            let is_new = rows == &self.new.tables[name];
            assert!(is_old || is_new, "{case}: a reader sees something half in {name}");
            assert!(is_old || is_committed, "{case}: {name} is visible before the commit");
        }
    }

    /// Returns how the November run stands; a run that was not even written down is running.
    fn last_status(&self, project: &Project) -> String {
        let connection = rusqlite::Connection::open(project.path("state.db")).expect("a state");
        let sql = "SELECT status FROM engine_runs ORDER BY run_id LIMIT 1 OFFSET 1";
        connection.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|_| "running".to_owned())
    }

    /// Runs November again, undisturbed, and compares everything with a run that never crashed.
    fn check_rerun(&self, project: &Project, case: &str) {
        project.run(&["crash.yaml", "--var", &format!("file={NOVEMBER}")]);
        let seen = see(project);
        for (name, rows) in &seen.tables {
            assert_eq!(rows, &self.new.tables[name], "{case}: {name} differs after the rerun");
        }
        let left: Vec<String> = project
            .files("")
            .into_iter()
            .filter(|file| file.contains(".pipeline-staging") || file.contains(".partial"))
            .collect();
        assert!(left.is_empty(), "{case}: left over: {left:?}");
        assert!(!project.path(".pipeline-staging").exists(), "{case}: a staging folder is left");
        assert!(
            !project.path("out/.pipeline-staging").exists(),
            "{case}: a staging folder is left"
        );
    }
}

fn copy(project: &Project) -> Project {
    let copied = Project::new();
    for file in project.files("") {
        // Hard links would share what SQLite writes in place; snapshots are never written.
        let (from, to) = (project.path(&file), copied.path(&file));
        std::fs::create_dir_all(to.parent().expect("a parent")).expect("folders");
        if file.ends_with(".csv") && file.starts_with("Basic") {
            std::fs::hard_link(from, to).expect("a link");
        } else {
            std::fs::copy(from, to).expect("a copy");
        }
    }
    copied
}

#[test]
fn every_fail_point_leaves_no_trace() {
    let bench = Bench::new(3000);
    let mut hit = BTreeSet::new();
    let mut n_cases = 0;
    for &point in failpoint::POINTS {
        for action in ["kill", "error", "panic"] {
            for nth in [1, 2] {
                let case = format!("{point}:{nth}:{action}");
                let project = copy(&bench.before);
                let file = format!("file={NOVEMBER}");
                let mut command = project.command(&["run", "crash.yaml", "--var", &file]);
                let output = command.env("PIPELINE_FAILPOINT", &case).output().expect("a run");
                if output.status.success() {
                    // The point is passed fewer times than this.
                    assert!(nth > 1, "{case}: the point was never passed");
                    continue;
                }
                hit.insert(point);
                n_cases += 1;
                bench.check_readers(&project, &case);
                bench.check_rerun(&project, &case);
            }
        }
    }
    assert_eq!(hit.len(), failpoint::POINTS.len());
    eprintln!("{n_cases} crashes at {} points, no difference", hit.len());
}

#[test]
fn kills_at_random_moments_leave_no_trace() {
    let setting = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (n_kills, rows) = (setting("PIPELINE_KILLS", 4), setting("PIPELINE_KILL_ROWS", 5000));
    let bench = Bench::new(rows);
    let file = format!("file={NOVEMBER}");
    let took = {
        let project = copy(&bench.before);
        let started = std::time::Instant::now();
        project.run(&["crash.yaml", "--var", &file]);
        started.elapsed()
    };
    // A fixed sequence: the same moments each time, as far as the machine allows.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut n_interrupted = 0;
    for kill in 0..n_kills {
        let project = copy(&bench.before);
        let mut command = project.command(&["run", "crash.yaml", "--var", &file]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a run");
        let moment = took.mul_f64((random() % 1000) as f64 / 950.0);
        wait(moment);
        let is_killed = child.kill().is_ok() && !child.wait().expect("an end").success();
        n_interrupted += u64::from(is_killed);
        let case = format!("kill {kill} after {moment:?}");
        bench.check_readers(&project, &case);
        // A run that was killed after its very last step has happened.
        if is_killed && bench.last_status(&project) != "done" {
            bench.check_rerun(&project, &case);
        } else {
            assert_eq!(see(&project), bench.new, "{case}");
        }
    }
    eprintln!("{n_kills} kills -9 over {rows} rows, {n_interrupted} in the run, no difference");
}

/// Lets a run go on for a while: a moment to kill it at is a moment of real time.
#[expect(clippy::disallowed_methods, reason = "there is no clock to inject into a kill")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}
