//! Power that fails at any moment of a run: what was not synced is lost, and after a restart
//! everything is as if nothing had happened. Without any one of our syncs that would not be so.
//!
//! A real run is watched (`strace`), and what it did to the disk is done again by a model up to a
//! moment that a seed chooses; then the real command starts on what the model left.
//!
//! The model is harsher than the file systems in use: each folder loses its latest changes by
//! itself, and names do not wait for bytes. What it does not have: a rename that is torn, sectors
//! that are torn or rot, a disk that lies about syncs, and another process on the same files.
//!
//! `PIPELINE_POWER_SEEDS=1000` makes it longer.

mod disk;
mod events;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;

use sha2::{Digest as _, Sha256};

use self::disk::{Disk, Event, KINDS, Kind, Loss, Random, Recording};
use self::events::{NOTHING, Recorder};
use crate::crash::{PIPELINE, Seen, see};
use crate::support::Project;

const OCTOBER: &str = "BasicCompanyData-2026-10-01.csv";
const NOVEMBER: &str = "BasicCompanyData-2026-11-01.csv";

/// The places in the code that sync on the way of a run.
const SITES: [&str; 14] = [
    "Hashing::close: .csv",
    "Hashing::close: .parquet",
    "SQLite: file",
    "SQLite: folder",
    "csv.rs: folder",
    "make_folder: elsewhere",
    "make_folder: in staging",
    "replace_file",
    "replace_folder: parent",
    "settle",
    "sqlite.rs: folder of `there`",
    "sqlite.rs: rows of `there`",
    "sweep",
    "sync_folders",
];

/// What was watched, and what there is to see before and after it.
struct Scenario {
    name: &'static str,
    recording: Recording,
    /// The first event before which power may fail.
    from: usize,
    file: String,
    /// Runs that were over before.
    n_runs: usize,
    before: Seen,
    after: Seen,
    /// After the same input was run once more.
    again: Seen,
}

struct Bench {
    /// The state holds whole paths, so all happens in one folder.
    project: Project,
    /// What a reader looks at, so that looking changes nothing.
    mirror: Project,
    _inputs: Project,
    scenarios: Vec<Scenario>,
}

impl Scenario {
    fn random_loss(&self, random: &mut Random, seed: u64) -> Loss {
        let n_moments = self.recording.events.len() - self.from + 1;
        let at = self.from + random.below(n_moments as u64) as usize;
        Loss { at, kind: KINDS[random.below(KINDS.len() as u64) as usize], seed }
    }
}

impl Bench {
    /// Makes the folder in which October and November are run; returns their arguments.
    fn empty() -> (Self, String, String) {
        let (project, inputs) = (Project::new(), Project::new());
        let of = |name, date| {
            let path = inputs.snapshot(name, 300, date);
            format!("file={}", path.display())
        };
        let (october, november) = (of(OCTOBER, "2026-10-01"), of(NOVEMBER, "2026-11-01"));
        project.write("crash.yaml", PIPELINE);
        let mirror = Project::new();
        let bench = Self { project, mirror, _inputs: inputs, scenarios: Vec::new() };
        (bench, october, november)
    }

    fn new() -> Self {
        let (mut bench, october, november) = Self::empty();
        let new = Disk::read(&bench.project.path(""));
        bench.record("the first run", &october, &[None]);
        let old = Disk::read(&bench.project.path(""));
        bench.record("the second run", &november, &[None]);
        // Before what was made, or written to the state, was synced.
        let made = bench.last_sync(0, "make_folder: elsewhere", None);
        let decided = bench.last_sync(1, "SQLite: file", Some("replace_folder: parent"));
        let before = |nth| format!("fsync:signal=KILL:when={nth}");
        new.write(&bench.project.path(""));
        let name = "a start after a first run that was killed when it had made a folder";
        bench.record(name, &october, &[Some(&before(made)), None]);
        for (name, death) in [
            ("a start after one that was killed before its commit", "commit.recorded:1:kill"),
            ("a start after one that was killed in its commit", &before(decided)),
            ("a start after one that was killed after its commit", "commit.done:1:kill"),
            ("a start after one that was killed amid publishing", "publish.replaced:3:kill"),
            ("a start after one that was killed before its end", "publish.swept:1:kill"),
        ] {
            old.write(&bench.project.path(""));
            bench.record(name, &november, &[Some(death), None]);
        }
        bench
    }

    /// Returns the number of the last sync of a site, before the first one of another.
    fn last_sync(&self, scenario: usize, wanted: &str, before: Option<&str>) -> u64 {
        let mut last = None;
        for event in &self.scenarios[scenario].recording.events {
            match event {
                Event::Sync { site, .. } if before == Some(site) => break,
                Event::Sync { site, nth: Some(nth), .. } if site == wanted => last = Some(*nth),
                _ => {}
            }
        }
        last.unwrap_or_else(|| panic!("no sync {wanted}"))
    }

    /// Watches starts of a pipeline of which the last one succeeds, and the others are killed as
    /// strace or a fail point is told to. Power fails during the last one.
    fn record(&mut self, name: &'static str, file: &str, starts: &[Option<&str>]) {
        let root = self.project.path("");
        let mut recorder = Recorder::new(&root);
        let before = see(&self.project);
        let n_runs = self.runs(&self.project).len();
        let mut from = 0;
        for death in starts {
            let mut command = self.project.command(&["run", "crash.yaml", "--var", file]);
            let inject = death.filter(|death| death.starts_with("fsync:"));
            if let (Some(failpoint), None) = (death, inject) {
                command.env("PIPELINE_FAILPOINT", failpoint);
            }
            let (calls, code) = trace::watch(&command, inject);
            assert_eq!(code == Some(0), death.is_none(), "{name}: {code:?}");
            let n_events = recorder.process(&calls);
            if death.is_some() {
                from += n_events;
            }
        }
        // Killed at its very end, the run was done, and the start began another one.
        if self.runs(&self.project)[n_runs..].iter().filter(|status| *status == "done").count() > 1
        {
            return;
        }
        let recording = recorder.finish();
        let now = Disk::read(&root);
        let after = see(&self.project);
        assert_ne!(before, after);
        self.project.run(&["crash.yaml", "--var", file]);
        let again = see(&self.project);
        now.write(&root);
        let file = file.to_owned();
        self.scenarios.push(Scenario { name, recording, from, file, n_runs, before, after, again });
    }

    fn runs(&self, project: &Project) -> Vec<String> {
        if !project.path("state.db").exists() {
            return Vec::new();
        }
        texts(project, "SELECT status FROM engine_runs ORDER BY run_id")
    }

    /// Lets power fail and starts again; panics when something differs from an undisturbed run.
    fn check(&self, scenario: &Scenario, loss: &Loss, dropped: Option<&str>) {
        let disk = scenario.recording.after(loss, dropped);
        disk.write(&self.mirror.path(""));
        let is_over = loss.at == scenario.recording.events.len();
        let is_done = self.check_readers(scenario, is_over);
        disk.write(&self.project.path(""));
        self.project.run(&["crash.yaml", "--var", &scenario.file]);
        let seen = see(&self.project);
        let expected = if is_done { &scenario.again } else { &scenario.after };
        for (name, rows) in &seen.tables {
            assert_eq!(rows, &expected.tables[name], "{name} differs after the next start");
        }
        self.check_files();
    }

    /// Checks what a reader sees before the next start: of each output the old or the new rows,
    /// whole; nothing new unless the run was committed; everything new once it is said to be done.
    /// Returns whether it is.
    fn check_readers(&self, scenario: &Scenario, is_over: bool) -> bool {
        let seen = see(&self.mirror);
        let runs = self.runs(&self.mirror);
        assert!(runs.len() >= scenario.n_runs, "earlier runs are forgotten");
        let runs: BTreeSet<&str> = runs[scenario.n_runs..].iter().map(String::as_str).collect();
        let is_done = runs.contains("done");
        assert!(is_done || !is_over, "the run was reported as done and is not: {runs:?}");
        let published = match runs.contains("committed") {
            true => texts(&self.mirror, "SELECT node FROM engine_outputs WHERE published"),
            false => Vec::new(),
        };
        for (name, rows) in &seen.tables {
            let node = match name.as_str() {
                "areas.csv" => "areas_csv",
                name => name.trim_end_matches(".csv"),
            };
            let is_old = rows == &scenario.before.tables[name];
            let is_new = rows == &scenario.after.tables[name];
            let n_published = published.iter().filter(|other| *other == node).count();
            let is_published = is_done || n_published > scenario.n_runs;
            assert!(is_old || is_new, "a reader sees something half in {name}");
            let is_decided = is_done || runs.contains("committed");
            assert!(is_old || is_decided, "{name} is visible before the commit");
            assert!(is_new || !is_published, "{name} is said to be published and is not");
        }
        is_done
    }

    /// Checks that the state lists every file, with its bytes, and that nothing staged is left.
    fn check_files(&self) {
        let sql = "SELECT path || ' ' || sha256 FROM engine_files";
        let listed: BTreeSet<String> = texts(&self.project, sql).into_iter().collect();
        let root = self.project.path("");
        for (path, bytes) in Disk::read(&root).listing() {
            assert!(!path.contains(".pipeline-staging"), "left over: {path}");
            let path = self.project.path(path.trim_start_matches('/'));
            if path.starts_with(self.project.path("out")) && path.is_file() {
                let hash = Sha256::digest(bytes);
                let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
                let line = format!("{} {hash}", path.display());
                assert!(listed.contains(&line), "{} is not in the state", path.display());
            }
        }
    }

    /// Lets power fail; returns what then differs.
    fn failure(&self, scenario: &Scenario, loss: &Loss, dropped: Option<&str>) -> Option<String> {
        let checked = AssertUnwindSafe(|| self.check(scenario, loss, dropped));
        let panic = std::panic::catch_unwind(checked).err()?;
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let text = text.unwrap_or_default();
        Some(text.split('\n').next().unwrap_or("").to_owned())
    }
}

fn texts(project: &Project, sql: &str) -> Vec<String> {
    let connection = rusqlite::Connection::open(project.path("state.db")).expect("a state");
    let Ok(mut statement) = connection.prepare(sql) else { return Vec::new() };
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn power_cuts_leave_no_trace() {
    if !trace::is_there() {
        eprintln!("skipped: there is no strace here");
        return;
    }
    let bench = Bench::new();
    let n_seeds = setting("PIPELINE_POWER_SEEDS", 25);
    let mut n_by_scenario: BTreeMap<&str, u64> = BTreeMap::new();
    let mut failures = Vec::new();
    for seed in 0..n_seeds {
        let mut random = Random(seed);
        // Of three cuts one is in the second run.
        let n_others = bench.scenarios.len() as u64 - 1;
        let scenario = match random.below(3) {
            0 => &bench.scenarios[1],
            _ => &bench.scenarios[[0, 2, 3, 4, 5, 6, 7][random.below(n_others) as usize]],
        };
        let loss = scenario.random_loss(&mut random, seed);
        *n_by_scenario.entry(scenario.name).or_default() += 1;
        if let Some(failure) = bench.failure(scenario, &loss, None) {
            let next = scenario.recording.events.get(loss.at).map(Event::name);
            let failure = format!("{}, {loss:?}, {next:?} is next: {failure}", scenario.name);
            eprintln!("{failure}");
            failures.push(failure);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    eprintln!("{n_seeds} power cuts, no difference: {n_by_scenario:?}");
}

/// A process that is killed leaves to the next one what is in memory only: what that one finds done
/// need not be durable.
#[test]
fn a_power_cut_after_a_kill_leaves_no_trace() {
    if !trace::is_there() {
        eprintln!("skipped: there is no strace here");
        return;
    }
    let (mut bench, october, november) = Bench::empty();
    let new = Disk::read(&bench.project.path(""));
    bench.record("the first run", &october, &[None]);
    let old = Disk::read(&bench.project.path(""));
    bench.record("the second run", &november, &[None]);
    let n_syncs = bench.scenarios.drain(..).map(|scenario| {
        let nth = |event: &Event| match event {
            Event::Sync { nth, .. } => *nth,
            _ => None,
        };
        scenario.recording.events.iter().filter_map(nth).max().expect("syncs")
    });
    let n_syncs: Vec<u64> = n_syncs.collect();
    let n_seeds = setting("PIPELINE_POWER_SEEDS", 4);
    let mut failures = Vec::new();
    let mut n_cuts = 0;
    for seed in 0..n_seeds.min(2 * n_syncs[0].max(n_syncs[1])) {
        let mut random = Random(seed);
        let (name, disk, file) = match seed % 2 {
            0 => ("a first run that was killed", &new, &october),
            _ => ("a second run that was killed", &old, &november),
        };
        // Before the nth sync, counted as strace does: in each thread. A few are at random, many
        // are all.
        let n = n_syncs[seed as usize % 2];
        let nth = if n_seeds < 2 * n { 1 + random.below(n) } else { 1 + seed / 2 % n };
        disk.write(&bench.project.path(""));
        bench.record(name, file, &[Some(&format!("fsync:signal=KILL:when={nth}")), None]);
        let Some(scenario) = bench.scenarios.pop() else { continue };
        for cut in 0..8 {
            let loss = scenario.random_loss(&mut random, seed * 8 + cut);
            n_cuts += 1;
            if let Some(failure) = bench.failure(&scenario, &loss, None) {
                let failure = format!("{name} before sync {nth}, {loss:?}: {failure}");
                eprintln!("{failure}");
                failures.push(failure);
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    eprintln!("{n_cuts} power cuts after a kill, no difference");
}

#[test]
fn every_sync_is_needed() {
    if !trace::is_there() {
        eprintln!("skipped: there is no strace here");
        return;
    }
    let bench = Bench::new();
    let mut sites: BTreeMap<&str, u64> = BTreeMap::new();
    for event in bench.scenarios.iter().flat_map(|scenario| &scenario.recording.events) {
        if let Event::Sync { site, .. } = event {
            *sites.entry(site).or_default() += 1;
        }
    }
    // A sync of a folder in which nothing changed cannot be missed: SQLite does that, and a
    // repetition of what is done already.
    let n_nothing = sites.remove(NOTHING);
    assert_eq!(sites.keys().copied().collect::<Vec<_>>(), SITES);
    let n_tries = setting("PIPELINE_POWER_SEEDS", 60) as usize;
    let mut spared = Vec::new();
    for (site, n_syncs) in sites {
        match bench.killed(site, n_tries) {
            Some(how) => eprintln!("{site} ({n_syncs}): {how}"),
            None => {
                eprintln!("{site} ({n_syncs}): NOT NEEDED");
                spared.push(site);
            }
        }
    }
    eprintln!("{NOTHING}: {n_nothing:?}");
    assert!(spared.is_empty(), "no power cut shows that these are needed: {spared:?}");
}

impl Bench {
    /// Looks for a power cut that shows that a sync is needed; says which it was. Tries each disk
    /// that differs from the one with the sync when all that is not synced is lost.
    fn killed(&self, site: &str, n_most: usize) -> Option<String> {
        let is_dropped =
            |event: &Event| matches!(event, Event::Sync { site: other, .. } if other == site);
        let mut tries = Vec::new();
        for scenario in &self.scenarios {
            let Recording { events, .. } = &scenario.recording;
            let Some(first) = events.iter().position(is_dropped) else { continue };
            let mut last = None;
            for at in scenario.from.max(first + 1)..=events.len() {
                let loss = Loss { at, kind: Kind::Everything, seed: 0 };
                let disk = scenario.recording.after(&loss, Some(site));
                let is_new = last.as_ref().is_none_or(|l: &Disk| l.listing() != disk.listing());
                if is_new && scenario.recording.after(&loss, None).listing() != disk.listing() {
                    tries.push((scenario, loss));
                }
                last = Some(disk);
            }
        }
        let mut random = Random(0);
        let n_tries = tries.len();
        for nth in 0..n_tries.min(n_most) {
            let (scenario, loss) = tries.swap_remove(random.below(tries.len() as u64) as usize);
            let Some(failure) = self.failure(scenario, &loss, Some(site)) else { continue };
            // With the sync there is no difference.
            if self.failure(scenario, &loss, None).is_none() {
                let end = scenario.recording.events.len();
                let at = format!("{}, {} of {end}", scenario.name, loss.at);
                return Some(format!("try {nth} of {n_tries}, {at}: {failure}"));
            }
        }
        eprintln!("{site}: {n_tries} tries");
        None
    }
}
