//! Pipelines that read what others have written.

use crate::support::{Project, node};

/// A pipeline that writes a table of leads with their version, and one that reads it.
fn project(reader: &str) -> Project {
    let project = Project::new();
    project.write(
        "write.yaml",
        "version: 1\nname: write\nsources:\n  leads: { csv: { path: ./leads.csv } }\nsinks:\n  \
         table: { from: leads, sqlite: { path: ./leads.db, table: leads }, write: upsert, \
         key: [id], newer_by: at }\n  files: { from: leads, parquet: { path: ./leads, \
         partition_by: [area] }, write: replace }\n",
    );
    project.write("read.yaml", format!("version: 1\nname: read\nsources:\n{reader}"));
    project
}

fn leads(project: &Project, rows: &str) {
    project.write("leads.csv", format!("id,area,at\n{rows}"));
    project.run(&["write.yaml"]);
}

#[test]
fn only_what_changed_is_read_and_nothing_is_left_out() {
    let project = project(
        "  leads:
    sqlite: { path: ./leads.db, table: leads }
    changed_since: { column: at, lag: 5m }
sinks:
  seen: { from: leads, sqlite: { table: seen }, write: append }
",
    );
    let n_read = |arguments: &[&str]| {
        let report = project.run(arguments);
        node(&report, "leads")["rows_out"].as_u64().expect("a count")
    };
    leads(&project, "a,EC,2026-11-01T09:00:00Z\nb,EC,2026-11-01T10:00:00Z\nc,EC,\n");
    assert_eq!(n_read(&["read.yaml"]), 3);
    // What stands at the position comes again, what is older does not, what has no time always.
    assert_eq!(n_read(&["read.yaml", "--dry-run"]), 2);
    leads(
        &project,
        "d,EC,2026-11-01T09:56:00Z\ne,EC,2026-11-01T09:54:00Z\nf,EC,2026-11-02T00:00:00Z\n",
    );
    // A limited run comes no further: what it did not read would be left out.
    assert_eq!(n_read(&["read.yaml", "--limit", "1"]), 1);
    assert_eq!(n_read(&["read.yaml"]), 4, "b, c, d within the lag, and f");
    assert_eq!(
        project.query("select pipeline, node, position from engine.positions"),
        ["read,leads,2026-11-02T00:00:00Z"]
    );
    let state = |arguments: &[&str]| {
        let mut all = vec!["state"];
        all.extend(arguments);
        project.pipeline(&all)
    };
    let exported = state(&["export", "read.yaml"]).out;
    assert!(exported.contains("2026-11-02T00:00:00Z"), "{exported}");
    assert_eq!(state(&["reset", "read.yaml"]).code, Some(2), "only with --yes");
    assert_eq!(state(&["reset", "read.yaml", "leads", "--yes"]).code, Some(0));
    assert_eq!(n_read(&["read.yaml", "--dry-run"]), 6);
    assert_eq!(state(&["set", "read.yaml", "leads", "2026-11-01T09:59:00Z"]).code, Some(0));
    assert!(state(&["show", "read.yaml"]).out.contains("set by hand"));
    assert_eq!(n_read(&["read.yaml", "--dry-run"]), 5, "all but a");
    let said = state(&["set", "read.yaml", "laeds", "1"]);
    assert!(said.err.contains("did you mean `leads`?"), "{}", said.err);
    let mut import = project.command(&["state", "import", "read.yaml"]);
    let file = std::fs::File::open(project.write("state.json", exported)).expect("a file");
    assert!(import.stdin(file).status().expect("imported").success());
    assert_eq!(n_read(&["read.yaml", "--dry-run"]), 2);
}

#[test]
fn a_source_that_cannot_tell_what_changed_says_so() {
    let project =
        project("  leads: { csv: { path: ./leads.csv }, changed_since: { column: at } }\n");
    project.write("leads.csv", "id,at\n1,2\n");
    let said = project.pipeline(&["check", "read.yaml"]);
    assert!(said.err.contains("a `csv` source cannot tell what changed"), "{}", said.err);
    let project = self::project(
        "  leads: { sqlite: { path: ./leads.db, table: leads }, changed_since: { column: att } }\n",
    );
    leads(&project, "a,EC,2026-11-01T09:00:00Z\n");
    let said = project.pipeline(&["check", "read.yaml"]);
    assert!(said.err.contains("did you mean `at`?"), "{}", said.err);
}

#[test]
fn a_contract_types_a_table_and_rejects_what_does_not_fit() {
    let project = project(
        "  leads:
    sqlite: { path: ./leads.db, table: leads }
    contract:
      columns:
        at: { type: timestamp }
        area: { required: true, matches: '^[A-Z]+$' }
sinks:
  good: { from: leads, csv: { path: ./good.csv }, write: replace }
  bad: { from: leads.rejected, csv: { path: ./bad.csv }, write: replace }
",
    );
    leads(&project, "a,EC,2026-11-01T09:00:00Z\nb,,2026-11-01T09:00:00Z\nc,e1,\nd,EC,soon\n");
    project.run(&["read.yaml"]);
    assert_eq!(project.query("select id from good"), ["a"]);
    assert_eq!(
        project.query("select reason from bad order by line"),
        ["area: no value", "area: `e1` does not match `^[A-Z]+$`", "at: `soon` is not a moment"]
    );
    assert!(project.query("select raw from bad where line = 2")[0].contains("2026-11-01"));
}

#[test]
fn parquet_files_are_read_back_with_the_columns_of_their_folders() {
    let project = project(
        "  leads:
    parquet: { path: ./leads }
    contract: { columns: { at: { required: true } } }
sinks:
  good: { from: leads, csv: { path: ./good.csv }, write: replace }
  bad: { from: leads.rejected, csv: { path: ./bad.csv }, write: replace }
",
    );
    leads(&project, "a,E/C,2026-11-01\nb,,2026-11-01\nc,N,\n");
    let report = project.run(&["read.yaml"]);
    assert_eq!(node(&report, "leads")["rows_out"], 2);
    assert_eq!(project.query("select id, area from good order by id"), ["a,E/C", "b,"]);
    assert_eq!(project.query("select line, reason from bad"), ["1,at: no value"]);
    // A file that has other columns is a change, told before anything runs.
    project.write(
        "read.yaml",
        std::fs::read_to_string(project.path("read.yaml"))
            .expect("text")
            .replace("required: true", "type: date"),
    );
    let said = project.pipeline(&["run", "read.yaml"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("`at` is Utf8View, not date"), "{}", said.err);
}

#[test]
fn one_table_has_rows_by_one_sink_and_marks_by_another() {
    let project = Project::new();
    project.write("now.csv", "id,score,at\na,1,2026-11-01\nb,2,2026-11-01\n");
    project.write("gone.csv", "id,at\nb,2026-11-02\n");
    project.write(
        "p.yaml",
        "version: 1\nname: p\nsources:\n  now: { csv: { path: ./now.csv } }\n  gone: { csv: { \
         path: ./gone.csv } }\nsinks:\n  leads: { from: now, sqlite: { table: leads }, write: \
         upsert, key: [id], newer_by: at }\n  ended: { from: gone, sqlite: { table: leads }, \
         write: mark_gone, key: [id], newer_by: at }\n  past: { from: now, sqlite: { table: past }, \
         write: history, key: [id], newer_by: at, missing: mark_gone }\n",
    );
    for round in 0..2 {
        let report = project.run(&["p.yaml"]);
        let gone = node(&report, "ended")["merged"]["gone"].as_u64();
        assert_eq!(gone, Some(u64::from(round == 0)), "round {round}");
    }
    assert_eq!(
        project.query("select id, score, gone_at is null from leads order by id"),
        ["a,1,true", "b,2,false"]
    );
    project.write("now.csv", "id,score,at\na,5,2026-11-03\n");
    project.run(&["p.yaml"]);
    assert_eq!(
        project.query("select id, score, valid_from, valid_to from past order by id, valid_from"),
        ["a,1,2026-11-01,2026-11-03", "a,5,2026-11-03,", "b,2,2026-11-01,2026-11-03"]
    );
    let text = std::fs::read_to_string(project.path("p.yaml")).expect("text");
    project.write("p.yaml", text.replace("write: mark_gone", "write: upsert"));
    let said = project.pipeline(&["check", "p.yaml"]);
    assert!(said.err.contains("write to the same place"), "{}", said.err);
}

#[test]
fn a_snapshot_that_lost_many_rows_is_refused_until_it_is_allowed() {
    let project = Project::new();
    project.write(
        "p.yaml",
        "version: 1\nname: p\nsources:\n  people: { csv: { path: ./people.csv }, contract: { \
         shrink_at_most: 25% } }\nsinks:\n  all: { from: people, sqlite: { table: people }, write: \
         upsert, key: [id], missing: delete }\n",
    );
    project.write("people.csv", "id\n1\n2\n3\n4\n");
    project.run(&["p.yaml"]);
    project.write("people.csv", "id\n1\n2\n3\n");
    project.run(&["p.yaml"]);
    project.write("people.csv", "id\n1\n2\n");
    let said = project.pipeline(&["run", "p.yaml"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("2 rows, and 3 in the last run"), "{}", said.err);
    assert_eq!(project.query("select count(*) from \"all\""), ["3"]);
    project.run(&["p.yaml", "--may-shrink"]);
    assert_eq!(project.query("select count(*) from \"all\""), ["2"]);
}

#[test]
fn rows_that_are_alike_are_one_row_where_rows_have_a_key() {
    let project = project("  none: { csv: { path: ./leads.csv } }\n");
    let row = "a,EC,2026-11-01T09:00:00Z\n";
    leads(&project, &row.repeat(3));
    assert_eq!(project.query("select count(*) from \"table\""), ["1"]);
    project.write("leads.csv", format!("id,area,at\n{row}a,WC,2026-11-01T09:00:00Z\n"));
    let said = project.pipeline(&["run", "write.yaml"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(
        said.err.contains("1 keys (id) arrive more than once with other values"),
        "{}",
        said.err
    );
    assert_eq!(project.query("select area from \"table\""), ["EC"]);
}

#[test]
fn a_table_that_may_be_absent_is_empty_until_it_is_there() {
    let project = Project::new();
    project.write(
        "p.yaml",
        "version: 1
name: p
sources:
  new: { csv: { path: ./new.csv } }
  known:
    sqlite: { path: ./known.db, table: seen, may_be_absent: true }
    contract: { columns: { id: { type: string } } }
transforms:
  unseen: { sql: select n.id from new n where not exists (select 1 from known k where k.id = n.id) }
sinks:
  seen: { from: unseen, sqlite: { path: ./known.db, table: seen }, write: append }
",
    );
    for (ids, n_new) in [("a\nb\n", 2), ("b\nc\n", 1)] {
        project.write("new.csv", format!("id\n{ids}"));
        let report = project.run(&["p.yaml"]);
        assert_eq!(node(&report, "unseen")["rows_out"], n_new, "{ids}");
    }
}
