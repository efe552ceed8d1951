//! What the commands beside `run` show.

use crate::runs::{TABLE, project};
use crate::support::Project;

#[test]
fn a_query_sees_sinks_files_and_history_and_cannot_change_them() {
    let project = project(TABLE);
    project.run(&["p.yaml"]);
    assert_eq!(project.query("select count(*) from kept"), ["4"]);
    assert_eq!(project.query("select count(*) from 'companies.csv'"), ["5"]);
    assert_eq!(project.query("select pipeline, status from engine.runs"), ["p,done"]);
    assert_eq!(
        project.query("select node, rows_out, new from engine.node_runs order by node"),
        ["companies,4,", "kept,4,4"]
    );
    for sql in
        ["drop table kept", "insert into kept values (1)", "copy kept to 'x.csv'", "set a = 1"]
    {
        let said = project.pipeline(&["query", sql]);
        assert_eq!(said.code, Some(2), "{sql}: {}", said.err);
    }
    let said = project.pipeline(&["query", "select * from nothing"]);
    assert!(said.err.contains("tables are `kept`"), "{}", said.err);
}

#[test]
fn a_graph_shows_what_feeds_each_node() {
    let project = project(
        "transforms:
  kinds: { from: companies, route: { indebted: debts > 0, otherwise: sound } }
  both: { sql: select a.number from kinds.sound a join companies b on a.number = b.number }
sinks:
  out: { from: [kinds.indebted, both, companies.rejected], csv: { path: ./out.csv }, write: replace }
",
    );
    let drawn = |style: &str| project.pipeline(&["graph", "p.yaml", "--as", style]).out;
    assert_eq!(
        drawn("text"),
        "source     companies  csv
transform  kinds      route  ← companies
transform  both       sql    ← companies, kinds.sound
sink       out        csv    ← kinds.indebted, both, companies.rejected
"
    );
    let mermaid = drawn("mermaid");
    for line in
        ["flowchart LR", "  companies([\"companies<br/>csv\"])", "  kinds -->|indebted| out"]
    {
        assert!(mermaid.lines().any(|l| l == line), "{mermaid}");
    }
    let dot = drawn("dot");
    for line in [
        "  \"kinds\" -> \"both\" [label=\"sound\"];",
        "  \"out\" [shape=cylinder, label=\"out\\ncsv\"];",
    ] {
        assert!(dot.lines().any(|l| l == line), "{dot}");
    }
}

#[test]
fn the_history_shows_runs_and_what_their_nodes_did() {
    let project = project(
        "sinks:
  out: { from: companies, csv: { path: ./out.csv }, write: replace }
",
    );
    assert_eq!(project.pipeline(&["runs"]).err, "nothing was run here yet\n");
    project.run(&["p.yaml"]);
    project.run(&["p.yaml"]);
    let said = project.pipeline(&["runs", "-n", "1"]);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), 1, "{}", said.out);
    let run: serde_json::Value = serde_json::from_str(lines[0]).expect("JSON");
    assert_eq!((run["status"].as_str(), run["error"].is_null()), (Some("done"), true));
    assert!(run.as_object().is_some_and(|run| run.contains_key("error")), "nulls are shown");
    let id = run["run_id"].as_str().expect("an id");
    let said = project.pipeline(&["runs", id, "--format", "csv"]);
    let out = said.out.lines().find(|line| line.starts_with("out,"));
    assert_eq!(out.map(|line| line.split(',').nth(3)), Some(Some("4")), "{}", said.out);
}

#[test]
fn a_preview_shows_rows_of_a_node_or_port_and_writes_nothing() {
    let project = project(
        "transforms:
  named: { from: companies, validate: [{ name: named, that: name is not null, otherwise: reject }] }
  twice: { sql: select a.number from named a join named b on a.number = b.number }
sinks:
  out: { from: twice, csv: { path: ./out.csv }, write: replace }
",
    );
    let shown = |node: &str, n: &str| {
        let said = project.pipeline(&["preview", "p.yaml", node, "-n", n, "--format", "csv"]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        said.out.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(shown("companies", "1"), ["90000001,OLD BAKERY LTD,2001-05-01,3"]);
    assert_eq!(shown("named.rejected", "20"), ["90000003,,2001-05-01,1,named"]);
    assert_eq!(shown("twice", "20").len(), 3);
    assert_eq!(project.files(""), ["companies.csv", "p.yaml"]);
    let said = project.pipeline(&["preview", "p.yaml", "out"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("nodes are `companies`, `named`, `twice`"), "{}", said.err);
}

#[test]
fn small_slips_get_their_own_answers() {
    let project = project(
        "sinks:
  table: { from: companies, sqlite: { table: companies }, write: replace }
",
    );
    let said = project.pipeline(&["run", "p.yaml", "--dry-run"]);
    assert!(!said.err.contains('✓'), "{}", said.err);
    project.run(&["p.yaml"]);
    let refused = |sql: &str| project.pipeline(&["query", sql]).err;
    assert_eq!(refused("select * from tabel"), "error: no table `tabel`; did you mean `table`?\n");
    assert_eq!(
        refused("insert into \"table\" select * from \"table\""),
        "error: `query` only reads: SELECT, WITH, VALUES, EXPLAIN\n"
    );
    project.write("empty.yaml", "version: 1\n");
    let said = project.pipeline(&["check", "missing.yaml", "empty.yaml"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("`missing.yaml` cannot be read"), "{}", said.err);
    assert!(said.err.contains("error in empty.yaml"), "{}", said.err);
    std::fs::remove_file(project.path("empty.yaml")).expect("removed");
    assert_eq!(project.pipeline(&["run", "p.yaml", "--limit", "0"]).code, Some(2));
    for out in ["BasicCompanyData-2026-10-01.csv", "BasicCompanyData-2026-10-02.csv"] {
        let said = project.pipeline(&["sandbox", "snapshot", "--rows", "5", "--out", out]);
        match out.ends_with("01.csv") {
            true => assert_eq!(said.code, Some(0), "{}", said.err),
            false => assert!(said.err.contains("not the first of a month"), "{}", said.err),
        }
    }
    let text = "version: 1\nname: q\nsources: { a: { csv: { path: ./companies.csv } } }\nsinks:\n  \
                files: { from: a, parquet: { path: ./out }, write: replace }\n  \
                file: { from: a, csv: { path: ./out/a.csv }, write: replace }\n";
    project.write("q.yaml", text);
    let said = project.pipeline(&["check", "q.yaml"]);
    assert!(said.err.contains("write to the same place"), "{}", said.err);
}

#[test]
fn a_new_project_leads_to_an_answer_by_the_commands_that_it_prints() {
    let project = Project::new();
    let said = project.pipeline(&["init"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let commands = said.out.lines().filter_map(|line| line.strip_prefix("  pipeline "));
    let commands: Vec<&str> = commands.filter(|line| !line.contains("file=latest")).collect();
    assert_eq!(commands.len(), 4, "{}", said.out);
    let mut answer = String::new();
    for command in commands {
        let command = command.replace("20000", "2000");
        let (words, quoted) = match command.split_once(" \"") {
            Some((words, sql)) => (words, sql.strip_suffix('"')),
            None => (command.as_str(), None),
        };
        let arguments: Vec<&str> = words.split(' ').chain(quoted).collect();
        let said = project.pipeline(&arguments);
        assert_eq!(said.code, Some(0), "{command}: {}", said.err);
        answer = said.out;
    }
    assert_eq!(answer.lines().count(), 5, "{answer}");
    // Nothing of the user's is written over.
    let said = project.pipeline(&["init"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("`leads.yaml` is there already"), "{}", said.err);
    project.write(".gitignore", "mine\n");
    assert_eq!(project.pipeline(&["init", "second"]).code, Some(0));
    let ignored = std::fs::read_to_string(project.path(".gitignore")).expect("text");
    assert_eq!(ignored, "mine\n");
    assert_eq!(project.pipeline(&["init", "Not-A-Name"]).code, Some(2));
    assert_eq!(project.pipeline(&["check", "leads.yaml", "second.yaml", "--strict"]).code, Some(0));
}

#[test]
fn refused_rows_are_listed_and_shown_with_their_reasons() {
    let project = project(
        "transforms:
  named: { from: companies, validate: [{ name: named, that: name is not null, otherwise: reject }] }
sinks:
  out: { from: named, csv: { path: ./out.csv }, write: replace }
",
    );
    assert!(project.pipeline(&["rejects", "list", "p.yaml"]).err.contains("nothing was run"));
    project.run(&["p.yaml"]);
    let said = project.pipeline(&["rejects", "list", "p.yaml", "--format", "csv"]);
    let lines: Vec<&str> = said.out.lines().skip(1).collect();
    assert_eq!(lines.len(), 2, "{}", said.out);
    assert!(said.out.contains("named,1,3"), "{}", said.out);
    let shown = |node: &str| {
        let said = project.pipeline(&["rejects", "show", "p.yaml", node, "--format", "csv"]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        said.out.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(shown("named"), ["90000003,,2001-05-01,1,named"]);
    assert!(shown("companies")[0].contains("debts: `x` is not a whole number"));
}

#[test]
fn components_are_listed_with_their_settings() {
    let project = Project::new();
    let all = project.pipeline(&["list"]).out;
    assert!(all.lines().any(|line| line.starts_with("source     parquet")), "{all}");
    let one = project.pipeline(&["list", "companies_house_bulk"]).out;
    assert!(one.contains("```yaml") && one.contains("- `file` (text, required): The"), "{one}");
    let said = project.pipeline(&["list", "parket"]);
    assert!(said.err.contains("did you mean `parquet`?"), "{}", said.err);
    let json = project.pipeline(&["list", "deduplicate", "--format", "json"]).out;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json[0]["fields"][0]["name"], "by");
    assert!(project.pipeline(&["completions", "bash"]).out.contains("_pipeline"));
    assert_eq!(project.pipeline(&["man", "man1"]).code, Some(0));
    assert!(project.files("man1").contains(&"pipeline-run.1".to_owned()));
}

#[test]
fn what_runs_a_pipeline_by_itself_is_checked() {
    let check = |extra: &str| {
        let project = project(&format!("{TABLE}{extra}"));
        project.pipeline(&["check", "p.yaml"])
    };
    let said = check(
        "resources:
  rate_limits: { register: { rates: [600/5m], reserve: 10%, follow_headers: true } }
  budgets: { credits: { limit: 300, per: 1d, timezone: Europe/London } }
schedule:
  cron: \"30 7 * * mon-fri\"
  between: [\"08:00\", \"18:00\"]
  days: mon-fri
  timezone: Europe/London
  holidays: england-and-wales
alerts:
  - { name: quiet, when: select count(*) = 0 from engine.runs, to: { slack: { webhook: \"${secret:X}\" } } }
",
    );
    assert_eq!(said.code, Some(0), "{}", said.err);
    for (extra, words) in [
        ("schedule: { cron: \"99 * * * *\" }", "is not a cron expression"),
        ("schedule: { cron: \"0 30 7 * * *\" }", "is not a cron expression"),
        ("schedule: { every: 1h, always: true }", "one of `cron`, `every`, `always`"),
        ("schedule: { every: 1 hour }", "is not a period"),
        ("schedule: { every: 1h, timezone: London }", "no time zone `London`"),
        (
            "schedule: { every: 1h, between: [\"18:00\", \"08:00\"] }",
            "two times, the earlier first",
        ),
        ("schedule: { every: 1h, days: weekdays }", "`weekdays` are no days"),
        ("resources: { rate_limits: { a: { rates: [600] } } }", "is not a rate"),
        ("resources: { budgets: { a: { limit: 3, per: 1d, timezone: X } } }", "no time zone `X`"),
        ("alerts: [{ name: a, when: selec 1, to: { slack: { webhook: x } } }]", "SQL: expected"),
        (
            "alerts: [{ name: a, when: select 1, to: { slak: { webhook: x } } }]",
            "did you mean `slack`?",
        ),
    ] {
        let said = check(extra);
        assert_eq!(said.code, Some(2), "{extra}");
        assert!(said.err.contains(words), "{extra}: {}", said.err);
    }
}

#[test]
fn a_newcomers_slips_get_an_answer() {
    let project = project(
        "vars: { least: { type: int, default: 1 } }
transforms:
  owing: { from: companies, filter: debts >= $least }
sinks:
  out: { from: owing, sqlite: { table: owing, changed_at: seen }, write: upsert, key: number, missing: mark_gone }
",
    );
    let text = std::fs::read_to_string(project.path("p.yaml")).expect("text");
    project.write(
        "p.yaml",
        text.replace("vars: { file: { type: path, default: ./companies.csv } }\n", "")
            .replace("${file}", "./companies.csv"),
    );
    // With other variables rows that they leave out seem to be gone: the run says so.
    let note = |arguments: &[&str]| project.run(arguments)["notes"].to_string();
    assert_eq!(note(&["p.yaml"]), "[]");
    let said = note(&["p.yaml", "--var", "least=2"]);
    assert!(said.contains("`least` differ from the last run"), "{said}");
    // What the export of the next pipeline sees as changed.
    assert_eq!(project.query("select count(distinct seen) from out"), ["2"]);
    let refused = |arguments: &[&str], code: i32, words: &str| {
        let said = project.pipeline(arguments);
        assert_eq!(said.code, Some(code), "{arguments:?}: {}", said.err);
        assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
    };
    refused(&["runs", "zzz"], 2, "no run begins with `zzz`");
    refused(&["runs", "0"], 2, "2 runs begin with `0`: give more");
    refused(&["test", "p.yaml"], 2, "the files have no tests");
    refused(&["rejects", "show", "p.yaml", "owing"], 2, "`owing` refuses no rows");
    refused(&["preview", "p.yaml", "owing", "--columns", "numbr"], 2, "did you mean `number`?");
    refused(&["list", "contrat"], 2, "did you mean `contract`?");
    refused(&["init", "engine"], 2, "cannot be named `engine`");
    refused(&["query", "select 1", "--timeout", "soon"], 2, "is not a period");
    let shown = project
        .pipeline(&[
            "rejects",
            "show",
            "p.yaml",
            "companies",
            "--columns",
            "reason",
            "--format",
            "csv",
        ])
        .out;
    assert_eq!(shown, "reason\ndebts: `x` is not a whole number\n");
    assert!(project.pipeline(&["list", "contract"]).out.contains("- `shrink_at_most`"));
    assert_eq!(
        project
            .pipeline(&["query", "select * from out", "--rows", "1", "--format", "ndjson"])
            .out
            .lines()
            .count(),
        1
    );
    // A folder named `~`, a text in double quotes, and a source without one good row.
    let check = |from: &str, to: &str| {
        let text = std::fs::read_to_string(project.path("p.yaml")).expect("text");
        project.write("q.yaml", text.replace(from, to).replace("name: p", "name: q"));
        project.pipeline(&["check", "q.yaml"]).err
    };
    let said = check("sqlite: { table: owing", "sqlite: { path: ~/x.db, table: owing");
    assert!(said.contains("`~` stands for no folder here"), "{said}");
    let said = check("debts >= $least", "name = \"OLD BAKERY LTD\"");
    assert!(said.contains("a text stands in single quotes"), "{said}");
    project.write("companies.csv", "number,name,born,debts\n1,a,x,1\n2,b,y,2\n");
    refused(&["run", "p.yaml"], 1, "all 2 rows are bad (born is not a date)");
}
