//! What pipelines do: small files in, tables and files out.

use crate::support::{Project, node};

const COMPANIES: &str = "number,name,born,debts\r\n\
    90000001,OLD BAKERY LTD,2001-05-01,3\r\n\
    90000002,\"NEW, SHINY LTD\",2025-05-01,\r\n\
    90000003,,2001-05-01,1\r\n\
    90000004,=CMD LTD,2001-05-01,x\r\n\
    90000005,+PLUS LTD,1999-12-31,0\r\n";

const TYPED: &str = "
    contract:
      columns:
        born:  { type: date, required: true }
        debts: { type: int }
";

/// A project with a file of companies and a pipeline that reads it.
pub(crate) fn project(transforms_and_sinks: &str) -> Project {
    let project = Project::new();
    project.write("companies.csv", COMPANIES);
    let text = format!(
        "version: 1\nname: p\nvars: {{ file: {{ type: path, default: ./companies.csv }} }}\n\
         sources:\n  companies:\n    csv: {{ path: \"${{file}}\" }}{TYPED}{transforms_and_sinks}"
    );
    project.write("p.yaml", text);
    project
}

#[test]
fn every_row_is_accepted_or_rejected() {
    let project = project(
        "transforms:
  checked:
    from: companies
    validate:
      - { name: named, that: name is not null, otherwise: reject }
      - { name: old, that: \"born < $today - interval '10 years'\", otherwise: warn }
sinks:
  good: { from: checked, csv: { path: ./good.csv }, write: replace }
  bad: { from: [companies.rejected, checked.rejected], csv: { path: ./bad.csv }, write: replace }
",
    );
    let report = project.run(&["p.yaml"]);
    assert_eq!(node(&report, "companies")["rows_out"], 4);
    assert_eq!(node(&report, "companies")["rejected"], 1);
    assert_eq!(node(&report, "checked")["rows_out"], 3);
    assert_eq!(node(&report, "checked")["reasons"], serde_json::json!([["named", 1]]));
    assert_eq!(node(&report, "checked")["warnings"], serde_json::json!([["old", 1]]));
    let good = std::fs::read_to_string(project.path("good.csv")).expect("good.csv");
    assert_eq!(
        good,
        "number,name,born,debts\r\n90000001,OLD BAKERY LTD,2001-05-01,3\r\n\
         90000002,\"NEW, SHINY LTD\",2025-05-01,\r\n90000005,'+PLUS LTD,1999-12-31,0\r\n"
    );
    let bad = project.query("select line, reason, raw, number from bad order by line");
    assert_eq!(
        bad,
        [
            "5,debts: `x` is not a whole number,\"90000004,=CMD LTD,2001-05-01,x\",",
            ",named,,90000003",
        ]
    );
}

#[test]
fn rules_see_every_row_when_work_is_spread_over_cores() {
    let project = Project::new();
    let rows: Vec<String> = (0..50_000).map(|n| format!("{n},{}", n % 7)).collect();
    project.write("n.csv", format!("n,m\n{}\n", rows.join("\n")));
    project.write(
        "p.yaml",
        "version: 1
name: p
sources:
  numbers: { csv: { path: ./n.csv }, contract: { columns: { n: { type: int }, m: { type: int } } } }
transforms:
  some: { from: numbers, filter: m <> 3 }
  even: { from: some, validate: [{ name: even, that: n % 2 = 0, otherwise: reject }] }
sinks:
  even_rows: { from: even, parquet: { path: ./even }, write: replace }
",
    );
    let report = project.run(&["p.yaml"]);
    let kept = (0..50_000).filter(|n| n % 7 != 3);
    assert_eq!(node(&report, "some")["rows_out"], kept.clone().count());
    assert_eq!(node(&report, "even")["rows_out"], kept.clone().filter(|n| n % 2 == 0).count());
    assert_eq!(node(&report, "even")["rejected"], kept.filter(|n| n % 2 == 1).count());
}

#[test]
fn a_share_above_the_limit_stops_the_run_before_anything_is_published() {
    let sinks = "sinks:\n  all: { from: companies, csv: { path: ./all.csv }, write: replace }\n";
    for (limit, code) in [("19%", 1), ("20%", 0)] {
        let project = project(sinks);
        let text = std::fs::read_to_string(project.path("p.yaml")).expect("p.yaml");
        project.write(
            "p.yaml",
            text.replace("contract:\n", &format!("contract:\n      at_most: {limit}\n")),
        );
        let said = project.pipeline(&["run", "p.yaml"]);
        assert_eq!(said.code, Some(code), "{limit}: {}", said.err);
        assert_eq!(project.path("all.csv").exists(), code == 0);
        assert_eq!(
            code == 1,
            said.err.contains("1 of 5 rows are bad (20.00%), more than `at_most: 19%`")
        );
    }
}

#[test]
fn rejected_rows_are_whole_when_a_consumer_stops_early() {
    let project = project(
        "transforms:
  first: { sql: select * from companies limit 1 }
sinks:
  one: { from: first, csv: { path: ./one.csv }, write: replace }
  bad: { from: companies.rejected, csv: { path: ./bad.csv }, write: replace }
",
    );
    let report = project.run(&["p.yaml"]);
    assert_eq!(node(&report, "one")["rows_out"], 1);
    assert_eq!(node(&report, "companies")["rejected"], 1);
    assert_eq!(project.query("select reason from bad"), ["debts: `x` is not a whole number"]);
}

#[test]
fn a_node_that_several_read_is_computed_once() {
    let project = project(
        "transforms:
  old: { from: companies, filter: born < date '2010-01-01' }
  pairs: { sql: \"select a.number as one, b.number as other from old a join old b on a.number < b.number\" }
  names: { from: old, select: [number, \"lower(name) as name\"] }
sinks:
  rows: { from: old, csv: { path: ./rows.csv }, write: replace }
  pairs_out: { from: pairs, csv: { path: ./pairs.csv }, write: replace }
  names_out: { from: names, csv: { path: ./names.csv }, write: replace }
",
    );
    let report = project.run(&["p.yaml"]);
    assert_eq!(node(&report, "companies")["rows_out"], 4);
    assert_eq!(node(&report, "old")["rows_out"], 3);
    assert_eq!(node(&report, "pairs_out")["rows_out"], 3);
    assert_eq!(
        project.query("select number || coalesce(name, '?') from names_out order by 1"),
        ["90000001old bakery ltd", "90000003?", "90000005'+plus ltd"]
    );
}

pub(crate) const TABLE: &str = "sinks:
  kept:
    from: companies
    sqlite: { table: kept }
    write: upsert
    key: number
    missing: mark_gone
";

#[test]
fn the_same_file_twice_changes_nothing_and_a_later_one_marks_what_is_gone() {
    let project = project(TABLE);
    let merged = |report: &serde_json::Value| node(report, "kept")["merged"].clone();
    let counts = |new: u64, changed: u64, same: u64, gone: u64| serde_json::json!({ "new": new, "changed": changed, "same": same, "older": 0, "gone": gone });
    assert_eq!(merged(&project.run(&["p.yaml"])), counts(4, 0, 0, 0));
    assert_eq!(merged(&project.run(&["p.yaml"])), counts(0, 0, 4, 0));
    let later = COMPANIES.replace("90000001,OLD", "90000009,OLD").replace("SHINY", "RUSTY");
    project.write("later.csv", later);
    let report = project.run(&["p.yaml", "--var", "file=later.csv"]);
    assert_eq!(merged(&report), counts(1, 1, 2, 1));
    assert_eq!(project.query("select number from kept where gone_at is not null"), ["90000001"]);
    let said = project.pipeline(&["run", "p.yaml"]);
    assert!(said.err.contains("1 new  1 changed  2 same  1 gone"), "{}", said.err);
}

#[test]
fn keys_that_are_missing_or_arrive_twice_fail_the_run() {
    for (row, words) in [
        ("90000001,TWICE LTD,2001-05-01,\r\n", "`90000001`; put a `deduplicate`"),
        (",NOBODY LTD,2001-05-01,\r\n", "1 rows have no value in the key (number)"),
    ] {
        let project = project(TABLE);
        project.write("companies.csv", format!("{COMPANIES}{row}"));
        let said = project.pipeline(&["run", "p.yaml"]);
        assert_eq!(said.code, Some(1));
        assert!(said.err.contains(words), "{}", said.err);
        assert!(project.query("select status from engine.runs") == ["failed"]);
    }
}

#[test]
fn deduplicate_keeps_the_preferred_row_and_the_same_one_in_any_order() {
    let project = Project::new();
    project.write(
        "p.yaml",
        "version: 1
name: p
sources: { d: { csv: { path: ./d.csv } } }
transforms:
  one: { from: d, deduplicate: { by: [k], prefer: [v desc] } }
sinks:
  out: { from: one, csv: { path: ./out.csv }, write: replace }
",
    );
    let mut rows = ["a,1,x", "a,3,y", "a,3,z", "b,2,q", ",9,n", ",8,n"];
    let mut kept = Vec::new();
    for _ in 0..rows.len() {
        rows.rotate_left(1);
        project.write("d.csv", format!("k,v,w\n{}\n", rows.join("\n")));
        project.run(&["p.yaml"]);
        kept.push(project.query("select * from out order by k nulls last"));
    }
    assert_eq!(kept[0][1..], ["b,2,q", ",9,n"]);
    assert!(["a,3,y", "a,3,z"].contains(&kept[0][0].as_str()), "{kept:?}");
    kept.dedup();
    assert_eq!(kept.len(), 1, "{kept:?}");
}

#[test]
fn a_route_sends_each_row_to_its_first_port_and_reads_its_input_once() {
    let project = project(
        "transforms:
  kinds:
    from: companies
    route:
      unnamed: name is null
      indebted: debts > 0
      otherwise: sound
  both:
    sql: select number, 'unnamed' as kind from kinds.unnamed union all select number, 'sound' from kinds.sound
sinks:
  indebted: { from: kinds.indebted, csv: { path: ./indebted.csv }, write: replace }
  others: { from: both, csv: { path: ./others.csv }, write: replace }
",
    );
    let report = project.run(&["p.yaml"]);
    assert_eq!(node(&report, "companies")["rows_out"], 4);
    assert_eq!(node(&report, "kinds")["rows_out"], 4);
    let ports = serde_json::json!([["sound", 2], ["indebted", 1], ["unnamed", 1]]);
    assert_eq!(node(&report, "kinds")["ports"], ports);
    assert_eq!(project.query("select number, name from indebted"), ["90000001,OLD BAKERY LTD"]);
    assert_eq!(
        project.query("select * from others order by number"),
        ["90000002,sound", "90000003,unnamed", "90000005,sound"]
    );
    assert_eq!(
        project.query("select ports from engine.node_runs where node = 'kinds'"),
        ["\"{\"\"indebted\"\":1,\"\"sound\"\":2,\"\"unnamed\"\":1}\""]
    );
}

#[test]
fn rows_that_no_port_takes_go_nowhere() {
    let project = project(
        "transforms:
  kinds: { from: companies, route: { indebted: debts > 0 } }
sinks:
  indebted: { from: kinds.indebted, csv: { path: ./indebted.csv }, write: replace }
",
    );
    let report = project.run(&["p.yaml"]);
    assert_eq!(node(&report, "kinds")["rows_out"], 4);
    assert_eq!(node(&report, "indebted")["rows_out"], 2);
}

#[test]
fn partitions_become_folders_and_replacing_leaves_nothing_of_the_old_ones() {
    let project = project(
        "transforms:
  years: { from: companies, select: [number, \"date_part('year', born) as year\"] }
sinks:
  by_year: { from: years, parquet: { path: ./by_year, partition_by: [year] }, write: replace }
",
    );
    project.run(&["p.yaml"]);
    let folders = |project: &Project| -> Vec<String> {
        let files = project.files("by_year");
        files.iter().map(|f| f.split('/').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(folders(&project), ["year=1999", "year=2001", "year=2025"]);
    assert_eq!(
        project.query("select year, count(*) from by_year group by year order by year"),
        ["1999,1", "2001,2", "2025,1"]
    );
    project.write("companies.csv", "number,name,born,debts\n90000007,X LTD,1980-01-01,0\n");
    project.run(&["p.yaml"]);
    assert_eq!(folders(&project), ["year=1980"]);
    project.write("companies.csv", "number,name,born,debts\n");
    project.run(&["p.yaml"]);
    assert_eq!(project.files("by_year").len(), 1, "an empty output still knows its columns");
}

#[test]
fn a_dry_run_writes_nothing_and_a_limit_reads_no_more() {
    let project = project(TABLE);
    let before = project.files("");
    let report = project.run(&["p.yaml", "--dry-run", "--limit", "3"]);
    assert_eq!(node(&report, "companies")["rows_out"], 3);
    assert_eq!(project.files(""), before);
    let said = project.pipeline(&["run", "p.yaml", "--limit", "3"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("would count as missing"), "{}", said.err);
}

#[test]
fn every_dialect_and_packing_of_csv_is_read() {
    let project = Project::new();
    project.write("semi/a.csv", "name;n\n'O''HARA; SONS';1\n");
    project.write("semi/b.csv", "n;name\n2;PLAIN\n");
    project.write("bare.txt", "1\tone\n2\ttwo\n");
    project.write(
        "p.yaml",
        "version: 1
name: p
sources:
  semi: { csv: { path: ./semi/*.csv, delimiter: \";\", quote: \"'\" } }
  bare: { csv: { path: ./bare.txt, delimiter: \"\\t\", header: false } }
sinks:
  semi_out: { from: semi, csv: { path: ./semi.csv }, write: replace }
  bare_out: { from: bare, csv: { path: ./bare.csv }, write: replace }
",
    );
    project.run(&["p.yaml"]);
    assert_eq!(project.query("select * from semi_out order by n"), ["O'HARA; SONS,1", "PLAIN,2"]);
    assert_eq!(project.query("select * from bare_out"), ["1,one", "2,two"]);
}

#[test]
fn two_processes_never_run_the_same_pipeline() {
    let project = project(TABLE);
    let lock = std::fs::File::create(project.path("pipeline.db-p.lock")).expect("a lock file");
    lock.lock().expect("the lock");
    let said = project.pipeline(&["run", "p.yaml"]);
    assert_eq!(said.code, Some(3));
    assert!(said.err.contains("another process is running `p`"), "{}", said.err);
}

#[test]
fn a_parquet_sink_never_destroys_what_is_not_its_own() {
    let project = project(
        "sinks:\n  out: { from: companies, parquet: { path: ./precious }, write: replace }\n",
    );
    project.write("precious/thesis.doc", "years of work");
    let said = project.pipeline(&["run", "p.yaml"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("thesis.doc` was not written by a parquet sink"), "{}", said.err);
    assert!(project.path("precious/thesis.doc").exists());
}

#[test]
fn an_appended_output_grows_by_one_run_at_a_time() {
    let project =
        project("sinks:\n  log: { from: companies, parquet: { path: ./log }, write: append }\n");
    project.run(&["p.yaml"]);
    project.run(&["p.yaml"]);
    assert_eq!(project.files("log").len(), 2);
    assert_eq!(project.query("select count(*) from log"), ["8"]);
}

#[test]
fn shipped_pipelines_check_and_run_on_a_made_up_register() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = Project::new();
    for file in ["pipelines/strike_off_bulk.yaml", "examples/quickstart/quickstart.yaml"] {
        let text = std::fs::read_to_string(root.join(file)).expect("a shipped pipeline");
        project.write(
            file.rsplit('/').next().expect("a name"),
            text.replace("./out", &format!("./{}", file.len())),
        );
    }
    for name in ["scoring", "signals", "company_status"] {
        let fragment = format!("shared/{name}.yaml");
        let text = std::fs::read_to_string(root.join("pipelines").join(&fragment));
        project.write(&fragment, text.expect("a fragment"));
    }
    let said = project.pipeline(&["check", "."]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let shipped = root.join("examples/quickstart/BasicCompanyData-2026-11-01.zip");
    let file = format!("file={}", shipped.display());
    project.run(&["quickstart.yaml", "--var", &file]);
    let report = project.run(&["strike_off_bulk.yaml", "--var", &file]);
    let leads = node(&report, "leads")["rows_out"].as_u64().expect("a count");
    assert!(leads > 100, "{leads}");
    let table = "strike_off_bulk.lead_table";
    let count = |sql: &str| project.query(&format!("select count(*) from {sql}"));
    assert_eq!(count("strike_off_bulk.lead_files"), [leads.to_string()]);
    assert_eq!(count(&format!("{table} where score between 0 and 100")), [leads.to_string()]);
    assert_eq!(count(&format!("{table} where score_reasons is null")), ["0"]);
}

#[test]
fn standard_input_is_read_once_and_whole() {
    use std::io::Write as _;

    let project = Project::new();
    project.write(
        "p.yaml",
        "version: 1
name: p
sources: { piped: { csv: { path: \"-\" } } }
sinks: { out: { from: piped, csv: { path: ./out.csv }, write: replace } }
",
    );
    let mut command = project.command(&["run", "p.yaml"]);
    command.stdin(std::process::Stdio::piped());
    let mut child = command.spawn().expect("a run");
    let rows: Vec<String> = (0..100_000).map(|n| format!("{n},row {n}")).collect();
    let mut input = child.stdin.take().expect("standard input");
    input.write_all(format!("id,name\n{}\n", rows.join("\n")).as_bytes()).expect("a reader");
    drop(input);
    assert!(child.wait().expect("an end").success());
    assert_eq!(project.query("select count(*), max(name) from out"), ["100000,row 99999"]);
}

#[test]
fn a_source_that_one_query_reads_twice_is_read_once() {
    let project = Project::new();
    project.write("n.csv", "n\n1\n2\n3\n");
    for (name, sql) in [
        ("self_join", "select a.n from src a join src b on a.n = b.n"),
        ("subquery", "select n from src where n >= (select min(n) from src)"),
        ("clause", "with c as (select n from src) select c.n from c join c d on c.n = d.n"),
        ("both", "select s.n from src s join view v on v.n = s.n"),
    ] {
        project.write(
            "p.yaml",
            format!(
                "version: 1
name: p
sources: {{ src: {{ csv: {{ path: ./n.csv }} }} }}
transforms:
  view: {{ sql: select n from src }}
  t: {{ sql: \"{sql}\" }}
sinks:
  {name}: {{ from: t, csv: {{ path: ./{name}.csv }}, write: replace }}
  v: {{ from: view, csv: {{ path: ./v.csv }}, write: replace }}
"
            ),
        );
        let report = project.run(&["p.yaml"]);
        assert_eq!(node(&report, "src")["rows_out"], 3, "{name}");
        assert_eq!(node(&report, name)["rows_out"], 3, "{name}");
    }
}

#[test]
fn parts_of_different_months_are_refused() {
    let project = Project::new();
    project.snapshot("BasicCompanyData-2026-10-01.csv", 100, "2026-10-01");
    project.snapshot("BasicCompanyData-2026-11-01.csv", 100, "2026-11-01");
    project.write(
        "p.yaml",
        "version: 1
name: p
sources: { r: { companies_house_bulk: { file: ./Basic*.csv } } }
sinks: { out: { from: r, csv: { path: ./out.csv }, write: replace } }
",
    );
    let said = project.pipeline(&["run", "p.yaml"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("files of several snapshots"), "{}", said.err);
}

#[test]
fn a_join_takes_tables_whose_columns_differ_in_type() {
    let project = project(
        "transforms:
  flags: { from: companies, select: [number, \"debts > 0 as debts\", \"1 as born\"] }
  both:
    sql: select c.number, c.born from companies c join flags f on c.number = f.number where f.debts
sinks:
  out: { from: both, csv: { path: ./out.csv }, write: replace }
",
    );
    project.run(&["p.yaml"]);
    assert_eq!(
        project.query("select * from out order by number"),
        ["90000001,2001-05-01", "90000003,2001-05-01"]
    );
}

#[test]
fn small_files_are_put_together_and_every_row_stays_once() {
    let pipeline = |compact: &str| {
        format!(
            "version: 1
name: p
sources: {{ src: {{ csv: {{ path: ./n.csv }}, contract: {{ columns: {{ n: {{ type: int }} }} }} }} }}
sinks:
  flat:    {{ from: src, parquet: {{ path: ./flat }}, write: append{compact} }}
  divided: {{ from: src, parquet: {{ path: ./divided, partition_by: [area] }}, write: append{compact} }}
"
        )
    };
    let project = Project::new();
    let run = |rows: &str, compact: &str| {
        project.write("n.csv", format!("n,area,name\n{rows}"));
        project.write("p.yaml", pipeline(compact));
        project.run(&["p.yaml"]);
        (project.files("flat").len(), project.files("divided").len())
    };
    assert_eq!(run("1,a,x\n2,b,y\n", ""), (1, 2));
    assert_eq!(run("3,a,z\n", ""), (2, 3));
    // A batch without rows adds no file.
    assert_eq!(run("", ""), (2, 3));
    assert_eq!(run("4,c,u\n", ", compact: 30d"), (3, 4));
    assert_eq!(run("5,a,v\n", ", compact: 1ms"), (1, 3));
    for table in ["flat", "divided"] {
        let rows = project.query(&format!("select n from {table} order by n"));
        assert_eq!(rows, ["1", "2", "3", "4", "5"], "{table}");
    }
    let areas = "select area || n || name from divided order by n";
    assert_eq!(project.query(areas), ["a1x", "b2y", "a3z", "c4u", "a5v"]);
    let refused = project.write("q.yaml", pipeline(", compact: 1d").replace("append", "replace"));
    let said = project.pipeline(&["check", &refused.to_string_lossy()]);
    assert!(said.err.contains("`compact` puts files together"), "{}", said.err);
}
