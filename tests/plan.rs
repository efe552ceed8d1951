//! `pipeline plan`: what a run would do, without doing anything.

use serde_json::{Value, json};

use crate::runs::project;
use crate::support::Project;

const NODES: &str = "transforms:
  named: { from: companies, validate: [{ name: named, that: name is not null, otherwise: reject }] }
  kinds: { from: named, route: { indebted: debts > 0, otherwise: sound } }
sinks:
  files: { from: kinds.sound, parquet: { path: ./out, partition_by: [born] }, write: append }
  file: { from: kinds.indebted, csv: { path: ./out.csv }, write: replace }
  table: { from: named, sqlite: { table: named }, write: upsert, key: number, missing: mark_gone }
";

fn plan(project: &Project, arguments: &[&str]) -> Value {
    let mut all = vec!["plan", "p.yaml", "--format", "json"];
    all.extend(arguments);
    let said = project.pipeline(&all);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    serde_json::from_str(&said.out).expect("one JSON document")
}

/// Returns what became of each node: `changed named`.
fn changes(plan: &Value) -> Vec<String> {
    let nodes = plan["nodes"].as_array().expect("nodes");
    let text = |node: &Value, key: &str| node[key].as_str().expect("text").to_owned();
    let change = |node: &Value| format!("{} {}", text(node, "change"), text(node, "node"));
    nodes.iter().map(change).collect()
}

/// Returns the changes but for nodes that are the same.
fn others(plan: &Value) -> Vec<String> {
    changes(plan).into_iter().filter(|change| !change.starts_with("same ")).collect()
}

fn edit(project: &Project, file: &str, from: &str, to: &str) {
    let text = std::fs::read_to_string(project.path(file)).expect("text");
    assert!(text.contains(from), "{from}");
    project.write(file, text.replace(from, to));
}

/// Returns an entry of a list by the id of its node.
fn entry<'a>(plan: &'a Value, list: &str, id: &str) -> &'a Value {
    let entries = plan[list].as_array().expect("a list");
    entries.iter().find(|entry| entry["node"] == id).expect("the node")
}

#[test]
fn a_plan_before_the_first_run_makes_nothing() {
    let project = project(NODES);
    let plan = plan(&project, &[]);
    assert_eq!((&plan["last_run"], &plan["is_unchanged"]), (&Value::Null, &json!(false)));
    let new = ["new companies", "new named", "new kinds", "new files", "new file", "new table"];
    assert_eq!(changes(&plan), new);
    let source = entry(&plan, "sources", "companies");
    assert_eq!((&source["reads"], &source["missing"]), (&json!("companies.csv"), &Value::Null));
    let size = std::fs::metadata(project.path("companies.csv")).expect("a file").len();
    assert_eq!(source["bytes"], size);
    for (sink, effect) in [
        ("files", "writes all rows"),
        ("file", "writes all rows"),
        ("table", "merges by number; what is missing is marked gone"),
    ] {
        let sink = entry(&plan, "sinks", sink);
        assert_eq!((&sink["there"], &sink["effect"]), (&Value::Null, &json!(effect)));
    }
    let shown = project.pipeline(&["plan", "p.yaml"]).out;
    for words in ["p  state ./pipeline.db\n", "  never ran\n", "will be made", "┆ ./out.csv"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(project.files(""), ["companies.csv", "p.yaml"]);
}

#[test]
fn the_field_names_of_a_plan_stay() {
    let project = project(NODES);
    project.run(&["p.yaml"]);
    edit(&project, "p.yaml", "named: { from", "renamed: { from");
    let text = std::fs::read_to_string(project.path("p.yaml")).expect("text");
    project.write("p.yaml", text.replace("from: named", "from: renamed"));
    let plan = plan(&project, &["--var", "file=companies.csv"]);
    let keys = |value: &Value| {
        let keys = value.as_object().expect("an object").keys();
        keys.cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        keys(&plan),
        "compared_with is_running is_unchanged last_run lookups missing_vars nodes other_vars pipeline \
         sinks sources state unfinished"
    );
    assert_eq!(keys(&plan["last_run"]), "ended_at error run_id started_at status");
    assert_eq!(keys(&plan["nodes"][0]), "change family kind node");
    assert_eq!(
        keys(&plan["sources"][0]),
        "bytes changed_since download kind lag missing node position reads"
    );
    assert_eq!(keys(&plan["sinks"][0]), "effect from key kind node target there write");
    assert_eq!(keys(&plan["sinks"][0]["there"]), "bytes rows");
}

#[test]
fn a_plan_tells_what_changed_since_the_last_run() {
    let project = project(NODES);
    project.run(&["p.yaml"]);
    let first = plan(&project, &[]);
    assert_eq!(first["is_unchanged"], true);
    assert_eq!(others(&first), [""; 0]);
    assert_eq!(first["last_run"]["status"], "done");
    assert_eq!(first["last_run"]["run_id"], first["compared_with"]);
    for (sink, rows, effect) in [
        ("files", 2, "adds to 2 rows"),
        ("file", 1, "replaces 1 row"),
        ("table", 3, "merges by number; what is missing is marked gone"),
    ] {
        let sink = entry(&first, "sinks", sink);
        assert_eq!((&sink["there"]["rows"], &sink["effect"]), (&json!(rows), &json!(effect)));
    }
    let shown = project.pipeline(&["plan", "p.yaml"]).out;
    assert!(shown.contains("nothing changed since run "), "{shown}");
    // A comment is another text, but no node is another one.
    edit(&project, "p.yaml", "transforms:\n", "transforms: # of names\n");
    let commented = plan(&project, &[]);
    assert_eq!((others(&commented), &commented["is_unchanged"]), (vec![], &json!(false)));
    edit(&project, "p.yaml", "route: { indebted: debts > 0", "route: { indebted: debts > 1");
    edit(&project, "p.yaml", "  file: {", "  other: {");
    assert_eq!(others(&plan(&project, &[])), ["changed kinds", "new other", "gone file"]);
    project.run(&["p.yaml"]);
    assert_eq!(others(&plan(&project, &[])), [""; 0]);
    // The same file by another path: the value of a variable.
    let text = std::fs::read(project.path("companies.csv")).expect("a file");
    project.write("moved.csv", text);
    let moved = plan(&project, &["--var", "file=moved.csv"]);
    assert_eq!(others(&moved), ["changed companies"]);
    assert_eq!(moved["other_vars"][0]["name"], "file");
    assert_eq!(moved["other_vars"][0]["now"], json!(project.path("moved.csv")));
    let shown = project.pipeline(&["plan", "p.yaml", "--var", "file=moved.csv"]).out;
    assert!(
        shown.contains("variable `file`: `./companies.csv` then, `./moved.csv` now"),
        "{shown}"
    );
    // Other rows in the same file.
    edit(&project, "companies.csv", "OLD BAKERY", "OLDER BAKERY");
    let read = plan(&project, &[]);
    assert_eq!((others(&read), &read["is_unchanged"]), (vec![], &json!(false)));
}

#[test]
fn a_change_in_a_fragment_changes_its_nodes() {
    let project = project(
        "transforms:
  both: { use: f.yaml, with: { rows: companies } }
sinks:
  out: { from: both, csv: { path: ./out.csv }, write: replace }
",
    );
    project.write(
        "f.yaml",
        "version: 1\nfragment: f\ninputs: { rows: { number: string } }\noutputs: [b]\ntransforms:\n  \
         a: { from: rows, filter: number > '0' }\n  b: { from: a, select: [number] }\n",
    );
    project.run(&["p.yaml"]);
    assert_eq!(
        changes(&plan(&project, &[])),
        ["same companies", "same both", "same both/a", "same both/b", "same out"]
    );
    edit(&project, "f.yaml", "'0'", "'1'");
    let changed = plan(&project, &[]);
    assert_eq!(
        (others(&changed), &changed["is_unchanged"]),
        (vec!["changed both/a".to_owned()], &json!(false))
    );
    let said = project.pipeline(&["plan", "f.yaml"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("a fragment does not run"), "{}", said.err);
}

#[test]
fn what_is_not_here_is_a_line_of_the_plan() {
    let project = Project::new();
    let source = |source: &str, extra: &str| {
        project.write(
            "p.yaml",
            format!(
                "version: 1\nname: p\nvars: {{ later: {{ type: path }} }}\nsources:\n  a: {source}\n\
                 sinks:\n  out: {{ from: a, csv: {{ path: ./out.csv }}, write: replace }}\n{extra}"
            ),
        );
        let plan = plan(&project, &[]);
        assert_eq!(plan["missing_vars"], json!(["later"]));
        plan["sources"][0].clone()
    };
    // Without its file the columns of this one are not known, those of the next are.
    for kind in ["{ csv: { path: ./no.csv } }", "{ companies_house_bulk: { file: ./no.csv } }"] {
        let missing = source(kind, "")["missing"].as_str().expect("words").to_owned();
        assert!(missing.contains("no.csv` does not exist"), "{missing}");
    }
    // Nobody listens there, and nobody is asked.
    let address = "http://127.0.0.1:9/a.csv";
    let elsewhere = source(&format!("{{ csv: {{ path: \"{address}\" }} }}"), "");
    assert_eq!(elsewhere["download"], json!({ "from": address, "kept": null }));
    assert_eq!((&elsewhere["reads"], &elsewhere["missing"]), (&Value::Null, &Value::Null));
    let shown = project.pipeline(&["plan", "p.yaml"]);
    assert!(shown.out.contains("downloaded first, from http://127.0.0.1:9/a.csv"), "{}", shown.out);
    assert!(shown.out.contains("`--var later=…`"), "{}", shown.out);
    let kept = project.write("downloads/a.csv", "x\n1\n");
    let elsewhere = source(&format!("{{ csv: {{ path: \"{address}\" }} }}"), "");
    assert_eq!(elsewhere["download"]["kept"], json!(kept));
    assert_eq!(elsewhere["reads"], "a.csv");
    let register = "{ companies_house_bulk: { file: latest, base_url: \"http://127.0.0.1:9/\" } }";
    let newest = source(register, "");
    assert_eq!(newest["download"]["from"], "http://127.0.0.1:9, its newest snapshot");
    for (day, is_snapshot) in [("2026-10-01", true), ("2026-11-01", true), ("2026-12-01", false)] {
        let name = format!("downloads/BasicCompanyDataAsOneFile-{day}.zip");
        if is_snapshot {
            project.snapshot(&name, 5, day);
        } else {
            project.write(&format!("{name}.part"), "half");
        }
    }
    let newest = source(register, "");
    let kept = newest["download"]["kept"].as_str().expect("a path");
    assert!(kept.ends_with("BasicCompanyDataAsOneFile-2026-11-01.zip"), "{kept}");
}

#[test]
fn a_plan_tells_from_where_a_source_reads_on() {
    let project = Project::new();
    project.write("a.csv", "id,at\na,2026-11-01T09:00:00Z\n");
    project.write(
        "write.yaml",
        "version: 1\nname: write\nsources: { a: { csv: { path: ./a.csv } } }\nsinks: { t: { from: a, \
         sqlite: { path: ./a.db, table: a }, write: replace } }\n",
    );
    project.write(
        "p.yaml",
        "version: 1\nname: p\nsources:\n  a:\n    sqlite: { path: ./a.db, table: a }\n    \
         changed_since: { column: at, lag: 5m }\nsinks:\n  t: { from: a, sqlite: { table: t }, \
         write: append }\n",
    );
    project.run(&["write.yaml"]);
    let source = plan(&project, &[])["sources"][0].clone();
    assert_eq!((&source["changed_since"], &source["position"]), (&json!("at"), &Value::Null));
    project.run(&["p.yaml"]);
    let source = plan(&project, &[])["sources"][0].clone();
    assert_eq!(
        (&source["position"], &source["lag"]),
        (&json!("2026-11-01T09:00:00Z"), &json!("5m"))
    );
    let shown = project.pipeline(&["plan", "p.yaml"]).out;
    assert!(shown.contains("from 5m before at 2026-11-01T09:00:00Z"), "{shown}");
    assert!(shown.contains("tables that it reads are not compared"), "{shown}");
}

#[test]
fn a_plan_tells_what_becomes_of_a_run_that_was_cut_off_and_leaves_it() {
    let project = project(NODES);
    let cut_off = |point: &str| {
        let mut command = project.command(&["run", "p.yaml"]);
        let ended = command.env("PIPELINE_FAILPOINT", format!("{point}:1:kill")).output();
        assert!(!ended.expect("an end").status.success());
        let plan = plan(&project, &[]);
        assert_eq!(plan["is_running"], false);
        plan
    };
    let plan = cut_off("run.recorded");
    let run = &plan["unfinished"][0];
    assert_eq!((&run["status"], &run["next"]), (&json!("running"), &json!("undo")));
    assert_eq!((&plan["last_run"], &plan["compared_with"]), (&Value::Null, &Value::Null));
    let shown = project.pipeline(&["plan", "p.yaml"]).out;
    assert!(shown.contains("was cut off before its commit: it is undone first"), "{shown}");
    let plan = cut_off("commit.done");
    let run = &plan["unfinished"][0];
    assert_eq!((&run["status"], &run["next"]), (&json!("committed"), &json!("finish")));
    assert_eq!(run["is_the_same"], true);
    assert_eq!(run["run_id"], plan["compared_with"]);
    let shown = project.pipeline(&["plan", "p.yaml"]).out;
    assert!(shown.contains("it is finished, and nothing is read again"), "{shown}");
    edit(&project, "p.yaml", "debts > 0", "debts > 1");
    let shown = project.pipeline(&["plan", "p.yaml"]).out;
    assert!(shown.contains("was cut off after its commit: it is finished first"), "{shown}");
    assert!(!project.path("out.csv").exists(), "a plan publishes nothing");
}

#[test]
fn a_state_without_definitions_is_looked_at_and_left_as_it_is() {
    let project = project(NODES);
    project.run(&["p.yaml"]);
    let state = rusqlite::Connection::open(project.path("pipeline.db")).expect("the state");
    let older = "ALTER TABLE engine_node_runs DROP COLUMN definition;
                 ALTER TABLE engine_node_runs DROP COLUMN calls;
                 ALTER TABLE engine_node_runs DROP COLUMN pending;
                 DROP TABLE engine_limits; DROP TABLE engine_calls; DROP TABLE engine_pauses;
                 DROP TABLE engine_budgets; DROP TABLE engine_answers; DROP TABLE engine_asked;
                 DROP TABLE engine_gaps; DROP TABLE engine_feeds;
                 ALTER TABLE engine_runs DROP COLUMN follow;
                 ALTER TABLE engine_runs DROP COLUMN replay; PRAGMA user_version = 3";
    state.execute_batch(older).expect("an older state");
    let changes = changes(&plan(&project, &[]));
    assert_eq!(changes.iter().filter(|change| change.starts_with("unknown ")).count(), 6);
    let version = || state.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    assert_eq!(version(), Ok(3));
    project.run(&["p.yaml"]);
    assert_eq!(version(), Ok(7));
    assert_eq!(others(&plan(&project, &[])), [""; 0]);
    state.pragma_update(None, "user_version", 99).expect("a newer state");
    let said = project.pipeline(&["plan", "p.yaml"]);
    assert_eq!(said.code, Some(3));
    assert!(said.err.contains("by a newer version of pipeline"), "{}", said.err);
}

#[test]
fn a_running_pipeline_is_seen() {
    let project = project(NODES);
    let mut command = project.command(&["run", "p.yaml"]);
    command.env("PIPELINE_FAILPOINT", "run.recorded:1:kill").output().expect("an end");
    let state = project.path("pipeline.db");
    let lock = pipeline::state::Lock::take(&state, "p").expect("the lock");
    assert_eq!(plan(&project, &[])["is_running"], true);
    let shown = project.pipeline(&["plan", "p.yaml"]).out;
    assert!(shown.contains("a process runs it now"), "{shown}");
    drop(lock);
    assert_eq!(plan(&project, &[])["is_running"], false);
}

#[test]
fn mistakes_are_shown_as_a_check_shows_them() {
    let project = project(&NODES.replace("from: named, route", "from: naemd, route"));
    let checked = project.pipeline(&["check", "p.yaml"]);
    let planned = project.pipeline(&["plan", "p.yaml"]);
    assert_eq!((planned.code, &planned.out, &planned.err), (Some(2), &checked.out, &checked.err));
    let checked = project.pipeline(&["check", "p.yaml", "--format", "json"]).out;
    assert_eq!(project.pipeline(&["plan", "p.yaml", "--format", "json"]).out, checked);
}
