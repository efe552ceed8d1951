//! `pipeline rejects replay`: rows that were refused, once more.

use crate::support::{Project, Said, node, parquet};

const COMPANIES: &str = "number,name,debts\n1,OLD LTD,3\n2,bad ltd,5\n3,,1\n4,4U LTD,2\n";

/// A pipeline with every way to write; two lines are refused by the source, one row by a rule.
const PIPELINE: &str = "version: 1
name: p
vars: { file: { type: path, default: ./companies.csv } }
sources:
  companies: { csv: { path: \"${file}\" }, contract: { at_most: 50%, columns: { debts: { type: int }, name: { matches: '^[A-Z ]+$' } } } }
  other: { csv: { path: ./other.csv } }
transforms:
  named: { from: companies, validate: [{ name: named, that: name is not null, otherwise: reject, at_most: 50% }] }
  sums: { sql: \"select debts, count(*) as n from named group by debts\" }
sinks:
  kept: { from: named, sqlite: { table: kept }, write: upsert, key: number, missing: mark_gone }
  log: { from: named, parquet: { path: ./log }, write: append }
  all: { from: named, csv: { path: ./all.csv }, write: replace }
  counts: { from: sums, sqlite: { table: counts }, write: append }
  both: { from: [named, other], sqlite: { table: both }, write: append }
  others: { from: other, sqlite: { table: others }, write: append }
  bad: { from: [companies.rejected, named.rejected], csv: { path: ./bad.csv }, write: replace }
";

fn project() -> Project {
    let project = Project::new();
    project.write("companies.csv", COMPANIES);
    project.write("other.csv", "number\n8\n");
    project.write("p.yaml", PIPELINE);
    project.run(&["p.yaml"]);
    project
}

fn replay(project: &Project, arguments: &[&str]) -> Said {
    let mut all = vec!["rejects", "replay", "p.yaml", "--format", "json"];
    all.extend(arguments);
    project.pipeline(&all)
}

fn report(said: &Said) -> serde_json::Value {
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    serde_json::from_str(&said.out).expect("a report")
}

/// Mends the pipeline so that names may have small letters.
fn mend(project: &Project) {
    project.write("p.yaml", PIPELINE.replace("[A-Z ]", "[A-Za-z ]"));
}

#[test]
fn lines_of_a_source_go_where_a_part_can_go() {
    let project = project();
    mend(&project);
    // Lines are kept: the file itself is not read, only its header.
    project.write("companies.csv", "number,name,debts\n9,NEW LTD,1\n");
    let dry = report(&replay(&project, &["companies", "--dry-run"]));
    assert_eq!(
        (&dry["status"], project.query("select count(*) from engine.runs")[0].as_str()),
        (&"dry run".into(), "1")
    );
    let done = report(&replay(&project, &["companies"]));
    for report in [&dry, &done] {
        assert_eq!(node(report, "companies")["rows_out"], 1);
        assert_eq!(node(report, "companies")["rejected"], 1, "{report}");
        assert_eq!(node(report, "companies")["reasons"], serde_json::json!([["name", 1]]));
        let ids: Vec<&str> = report["nodes"]
            .as_array()
            .expect("nodes")
            .iter()
            .filter_map(|n| n["node"].as_str())
            .collect();
        assert_eq!(ids, ["companies", "named", "kept", "log"]);
    }
    assert_eq!(
        done["notes"],
        serde_json::json!([
            "rows that `companies` refused, once more: 2, from `bad`",
            "`all` is left out: it replaces all of its rows, and a replay has some",
            "`bad` is left out: it replaces all of its rows, and a replay has some",
            "`both` is left out: it would take the rows of `other` a second time",
            "`counts` is left out: `sums` puts rows together, and a replay has some of them",
        ])
    );
    assert_eq!(
        project.query("select number, debts, gone_at from kept order by number"),
        ["1,3,", "2,5,"]
    );
    assert_eq!(parquet(&project.path("log")).iter().map(|b| b.num_rows()).sum::<usize>(), 2);
    assert_eq!(project.query("select count(*) from 'all.csv'"), ["1"]);
    assert_eq!(project.query("select count(*) from 'bad.csv'"), ["3"]);
    assert_eq!(project.query("select number from both order by number"), ["1", "8"]);
    assert_eq!(project.query("select number from others"), ["8"]);
    // It can be told from other runs, and is not what `rejects list` takes for the last one.
    let said = project.pipeline(&["runs", "--format", "csv"]);
    let replays = project.query("select coalesce(replay, '-') from engine.runs order by run_id");
    assert_eq!(replays, ["-", "companies"]);
    assert!(
        said.out.starts_with("run_id,pipeline,status,started_at,seconds,replay,"),
        "{}",
        said.out
    );
    let said = project.pipeline(&["rejects", "list", "p.yaml", "--format", "csv"]);
    assert!(said.out.contains("companies,2,2,") && said.out.contains("named,1,1,"), "{}", said.out);
}

#[test]
fn rows_of_a_rule_stand_in_for_all_that_feeds_it() {
    let project = project();
    // The sink writes `=CMD LTD` as `'=CMD LTD`, and so it would write this.
    let rows = "number,name,debts,reason,file,line,raw\n3,,1,named,,,\n5,'=CMD LTD,,named,,,\n,,,broken,f,2,\"2,bad ltd,5\"\n";
    project.write("bad.csv", rows);
    project.write("companies.csv", "number,name,debts\n9,NEW LTD,1\n");
    let said = report(&replay(&project, &["named"]));
    assert_eq!(node(&said, "named")["rows_out"], 1);
    assert_eq!(node(&said, "named")["reasons"], serde_json::json!([["named", 1]]));
    assert!(!said["nodes"].to_string().contains("companies"), "{said}");
    project.write("p.yaml", PIPELINE.replace("that: name is not null", "that: number is not null"));
    let said = report(&replay(&project, &["named"]));
    assert_eq!(node(&said, "named")["rows_out"], 2);
    assert_eq!(
        project.query("select number, name, debts from kept order by number"),
        ["1,OLD LTD,3", "3,,1", "5,=CMD LTD,"]
    );
    // Rows that do not fit what the rule reads now.
    project.write("p.yaml", PIPELINE.replace("debts: { type: int }", "debts: { type: date }"));
    let said = replay(&project, &["named"]);
    assert!(said.out.contains("column `debts` of the kept rows"), "{}", said.out);
    project.write("companies.csv", "number,name,debts,town\n");
    project.write("p.yaml", PIPELINE);
    let said = replay(&project, &["named"]);
    assert!(said.out.contains("no column `town`, which `named` reads now"), "{}", said.out);
    std::fs::remove_file(project.path("companies.csv")).expect("removed");
    let said = replay(&project, &["named"]);
    assert!(said.out.contains("its columns are not known without its file"), "{}", said.out);
}

#[test]
fn each_line_is_read_alone_and_as_its_own_file_has_it() {
    let project = project();
    // The file of this month has its columns in another order, and the old one is still there.
    let old = project.path("companies.csv");
    project.write("turned.csv", "debts,name,number\n1,NEW LTD,9\n");
    let old = old.display();
    let rows = format!(
        "file,line,reason,raw\n{old},2,r,\"5,A,1\"\n{old},3,r,\"6,\"\"B\"\n{old},4,r,\"C\"\",2\"\n\
         gone.csv,9,r,\"3,D,7\"\n{old},5,r,8,\n"
    );
    let rows = rows.replace("r,8,\n", "r,\"8\u{fffd},F,1\"\n");
    project.write("some.csv", rows + &format!("{old},6,r,\"'+9,E,4\"\n"));
    let arguments = ["companies", "--from", "some.csv", "--var", "file=turned.csv"];
    let said = report(&replay(&project, &arguments));
    assert_eq!(node(&said, "companies")["rejected"], 3, "{said}");
    assert_eq!(
        project.query("select number, name, debts from kept order by number"),
        ["+9,E,4", "1,OLD LTD,3", "5,A,1", "7,D,3"]
    );
}

#[test]
fn a_replay_that_dies_happens_once_or_not_at_all() {
    for (point, is_done) in [
        ("stage.synced", false),
        ("commit.recorded", false),
        ("commit.done", true),
        ("publish.item_done", true),
    ] {
        let project = project();
        mend(&project);
        let n_rows = || parquet(&project.path("log")).iter().map(|b| b.num_rows()).sum::<usize>();
        let die = || {
            let mut command = project.command(&["rejects", "replay", "p.yaml", "companies"]);
            let point = format!("{point}:1:kill");
            let output = command.env("PIPELINE_FAILPOINT", point).output().expect("a run");
            assert!(!output.status.success());
        };
        die();
        assert!(is_done || n_rows() == 1, "{point}");
        let said = report(&replay(&project, &["companies"]));
        assert_eq!(said["notes"].to_string().contains("nothing was read again"), is_done, "{said}");
        assert_eq!(n_rows(), 2, "{point}");
        // A run of the pipeline finishes a replay, and is none.
        die();
        let said = project.run(&["p.yaml"]);
        assert_eq!(node(&said, "companies")["rows_out"], 3, "{point}");
        assert_eq!(n_rows(), 2 + usize::from(is_done) + 2, "{point}");
    }
}

#[test]
fn a_replay_of_other_rows_is_another_run() {
    let project = project();
    mend(&project);
    let mut command = project.command(&["rejects", "replay", "p.yaml", "companies"]);
    let output = command.env("PIPELINE_FAILPOINT", "commit.done:1:kill").output();
    assert!(!output.expect("a run").status.success());
    project.write("bad.csv", "file,line,reason,raw\n,2,r,\"5,A,1\"\n");
    let said = report(&replay(&project, &["companies"]));
    assert_eq!(node(&said, "companies")["rows_out"], 1, "{said}");
    assert_eq!(project.query("select number from kept order by number"), ["1", "2", "5"]);
    // A plan compares with the last whole run.
    let whole = project.query("select run_id from engine.runs where replay is null");
    let plan = project.pipeline(&["plan", "p.yaml", "--format", "json"]).out;
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("a plan");
    assert_eq!(plan["compared_with"], whole[0].as_str());
}

#[test]
fn rows_are_followed_through_sql_as_far_as_each_stands_for_itself() {
    let project = project();
    mend(&project);
    let replayed = |sql: &str| {
        let text = PIPELINE.replace(
            "\"select debts, count(*) as n from named group by debts\"",
            &format!("\"{sql}\""),
        );
        project.write("p.yaml", text.replace("[A-Z ]", "[A-Za-z ]"));
        let said = report(&replay(&project, &["companies", "--dry-run"]));
        !said["notes"].to_string().contains("`counts` is left out")
    };
    for sql in [
        "select distinct upper(name) as name from named order by 1",
        "select n.* from named n left join other o on n.number = o.number",
        "select n.*, o.n from named n join (select count(*) as n from other) o on true",
        "select * from named where number not in (select number from other)",
        "select number from named union all select name from named",
        "select number from named except select number from other",
    ] {
        assert!(replayed(sql), "{sql}");
    }
    for sql in [
        "select max(debts) as most from named",
        "select number, row_number() over (order by number) as n from named",
        "select * from named limit 1",
        "select distinct on (debts) * from named order by debts, number",
        "select o.* from other o left join named n on n.number = o.number",
        "select number from named union all select number from other",
        "select * from other where number not in (select number from named)",
        "select o.number, (select max(number) from named) as m from other o",
        "select a.number from companies a left join named b on a.number = b.number",
    ] {
        assert!(!replayed(sql), "{sql}");
    }
}

#[test]
fn a_choice_among_replayed_rows_is_told() {
    let project = project();
    let text =
        PIPELINE.replace("[A-Z ]", "[A-Za-z ]").replace("kept: { from: named", "kept: { from: one");
    let one =
        "transforms:\n  one: { from: named, deduplicate: { by: [number], prefer: [debts] } }\n";
    project.write("p.yaml", text.replace("transforms:\n", one));
    let said = report(&replay(&project, &["companies", "--dry-run"]));
    assert!(said["notes"].to_string().contains("`one` compares replayed rows with each other"));
    assert_eq!(node(&said, "kept")["rows_out"], 1);
}

#[test]
fn what_cannot_be_replayed_is_refused() {
    let project = project();
    let refused = |arguments: &[&str], words: &str| {
        let said = replay(&project, arguments);
        assert_eq!(said.code, Some(2), "{arguments:?}: {}{}", said.out, said.err);
        let said = said.out + &said.err;
        assert!(said.contains(words), "{arguments:?}: {said}");
    };
    refused(&["nameed"], "no source and no `validate` is named `nameed`; did you mean `named`?");
    refused(&["sums"], "no source and no `validate` is named `sums`");
    refused(&["other"], "no sink keeps the rows that `other` refuses");
    refused(&["other", "--from", "other.csv"], "has no column `raw`");
    refused(&["other", "--from", "none.csv"], "none.csv");
    refused(&["companies", "--from", "p.yaml"], "is no CSV file, no Parquet and no sink");
    refused(&["companies", "--var", "fil=x"], "the file has no variable `fil`");
    let write = |from: &str, to: &str| {
        assert!(PIPELINE.contains(from));
        project.write("p.yaml", PIPELINE.replace(from, to));
    };
    write("[companies.rejected, named.rejected]", "[companies.rejected, other.rejected]");
    refused(&["companies"], "`bad` holds rows of `other.rejected` too");
    write("write: upsert, key: number, missing: mark_gone", "write: replace");
    let text = std::fs::read_to_string(project.path("p.yaml")).expect("text");
    project.write("p.yaml", text.replace("./log }, write: append", "./log }, write: replace"));
    refused(&["companies"], "no sink takes replayed rows of `companies`: `all` is left out: it");
    write("csv: { path: ./other.csv }", "sqlite: { path: ./pipeline.db, table: kept }");
    refused(&["other"], "a `sqlite` source cannot take its rejected rows again");
    project.write("p.yaml", PIPELINE);
    project.write("bad.csv", "file,line,reason,raw\n");
    let said = replay(&project, &["companies"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (Some(0), "`bad` holds no rows that `companies` refused\n")
    );
    std::fs::remove_file(project.path("bad.csv")).expect("removed");
    refused(&["companies"], "`bad` holds nothing yet");
}

#[test]
fn kept_rows_come_out_of_tables_and_parquet_and_positions_stay() {
    let project = Project::new();
    project.write("companies.csv", COMPANIES);
    let seen = rusqlite::Connection::open(project.path("seen.db")).expect("a database");
    seen.execute_batch("create table seen (number, at); insert into seen values ('2', 5)")
        .expect("rows");
    project.write(
        "p.yaml",
        "version: 1
name: p
sources:
  companies: { csv: { path: ./companies.csv }, contract: { columns: { name: { matches: '^[A-Z ]+$' } } } }
  seen: { sqlite: { path: ./seen.db, table: seen }, changed_since: { column: at } }
transforms:
  known: { sql: \"select c.number, s.at from companies c left join seen s on c.number = s.number\" }
  named: { from: companies, validate: [{ name: named, that: name is not null, otherwise: reject }] }
sinks:
  out: { from: known, sqlite: { table: known }, write: upsert, key: number }
  good: { from: named, sqlite: { table: good }, write: upsert, key: number }
  lines: { from: companies.rejected, sqlite: { table: lines }, write: append }
  rows: { from: named.rejected, parquet: { path: ./rows }, write: append }
",
    );
    project.run(&["p.yaml"]);
    seen.execute_batch("insert into seen values ('4', 6)").expect("rows");
    let text = std::fs::read_to_string(project.path("p.yaml")).expect("text");
    project.write(
        "p.yaml",
        text.replace("[A-Z ]", "[A-Za-z0-9 ]").replace("name is not null", "true"),
    );
    let said = report(&replay(&project, &["companies"]));
    assert_eq!(node(&said, "companies")["rows_out"], 2);
    assert_eq!(
        project.query("select number, at from out order by number"),
        ["1,", "2,", "3,", "4,6"]
    );
    assert_eq!(project.query("select position from engine.positions"), ["5"]);
    assert_eq!(project.query("select count(*) from lines"), ["2"]);
    let said = report(&replay(&project, &["named", "--from", "rows"]));
    assert_eq!(node(&said, "named")["rows_out"], 1);
    assert!(!said["nodes"].to_string().contains("seen"), "{said}");
    let file = project.files("rows").remove(0);
    let said = report(&replay(&project, &["named", "--from", &format!("rows/{file}")]));
    assert_eq!(node(&said, "good")["merged"]["same"], 1, "{said}");
}
