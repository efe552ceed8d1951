//! DuckDB: the same leads through three sinks give the same answers. Only with the feature.

use crate::support::{Project, node};

fn project(sinks: &str) -> Project {
    let project = Project::new();
    let text = format!(
        "version: 1\nname: p\nvars: {{ file: {{ type: path }} }}\nsources:\n  register: {{ \
         companies_house_bulk: {{ file: \"${{file}}\" }} }}\ntransforms:\n  leads:\n    sql: |\n      \
         select company_number, company_name, post_town, incorporation_date, mortgages_outstanding,\n             \
         accounts_next_due_date < date '2026-11-01' as is_overdue, mortgages_charges * 1.5 as weight,\n             \
         snapshot_date as as_of\n      from register\n      where company_status = 'Active - Proposal to Strike off'\n\
         sinks:\n{sinks}"
    );
    project.write("p.yaml", text);
    project
}

const THREE: &str = "  in_duckdb:  { from: leads, duckdb: { path: ./w.duckdb, table: leads }, write: upsert, key: company_number, newer_by: as_of, missing: mark_gone }
  in_sqlite:  { from: leads, sqlite: { table: leads }, write: upsert, key: company_number, newer_by: as_of, missing: mark_gone }
  in_parquet: { from: leads, parquet: { path: ./leads }, write: replace }
";

const QUERIES: [&str; 10] = [
    "select count(*) from T",
    "select count(distinct company_number), min(company_number), max(company_number) from T",
    "select post_town, count(*) as n from T group by post_town order by n desc, post_town limit 10",
    "select company_number from T where company_name like '%SPECIMEN%' order by company_number limit 20",
    "select sum(mortgages_outstanding), sum(weight) from T",
    "select count(*) from T where post_town is null",
    "select min(cast(incorporation_date as varchar)), max(cast(incorporation_date as varchar)) from T",
    "select cast(as_of as varchar), count(*) from T group by 1",
    "select length(company_name) as n, count(*) from T group by 1 order by 1",
    "select a.company_number from T a join T b on a.post_town = b.post_town and a.company_number < b.company_number order by 1, b.company_number limit 15",
];

#[test]
fn three_sinks_and_two_engines_give_equal_answers() {
    let project = project(THREE);
    let file = project.snapshot("BasicCompanyDataAsOneFile-2026-11-01.csv", 3000, "2026-11-01");
    let var = format!("file={}", file.display());
    let report = project.run(&["p.yaml", "--var", &var]);
    let n = node(&report, "in_duckdb")["merged"]["new"].as_u64();
    assert!(n > Some(100), "{n:?}");
    assert_eq!(n, node(&report, "in_sqlite")["merged"]["new"].as_u64());
    for query in QUERIES {
        let ask = |table: &str, engine: &str| {
            let sql = query.replace(" T", &format!(" {table}"));
            let arguments = ["query", &sql, "--engine", engine, "--format", "csv", "--var", &var];
            let said = project.pipeline(&arguments);
            assert_eq!(said.code, Some(0), "{engine}: {sql}: {}", said.err);
            said.out.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        let expected = ask("in_parquet", "datafusion");
        assert!(!expected.is_empty());
        for table in ["in_duckdb", "in_sqlite", "in_parquet"] {
            for engine in ["datafusion", "duckdb"] {
                assert_eq!(ask(table, engine), expected, "{engine}: {table}: {query}");
            }
        }
    }
    let refused =
        |sql: &str| project.pipeline(&["query", sql, "--engine", "duckdb", "--var", &var]).code;
    for sql in [
        "drop table in_duckdb",
        "select 1; select 2",
        "select 1) to 'x.csv'; select (1",
        "attach 'x' as y",
    ] {
        assert_eq!(refused(sql), Some(2), "{sql}");
    }
}

#[test]
fn a_duckdb_table_is_merged_as_a_sqlite_one_is() {
    let sinks = "  d: { from: leads, duckdb: { path: ./w.duckdb, table: leads, changed_at: seen }, write: upsert, key: company_number, newer_by: as_of, missing: mark_gone }
  s: { from: leads, sqlite: { table: leads, changed_at: seen }, write: upsert, key: company_number, newer_by: as_of, missing: mark_gone }
  dh: { from: leads, duckdb: { path: ./w.duckdb, table: past }, write: history, key: company_number, newer_by: as_of, missing: mark_gone }
  sh: { from: leads, sqlite: { table: past }, write: history, key: company_number, newer_by: as_of, missing: mark_gone }
  da: { from: leads, duckdb: { path: ./w.duckdb, table: every }, write: append }
  sa: { from: leads, sqlite: { table: every }, write: append }
  dr: { from: leads, duckdb: { path: ./w.duckdb, table: now }, write: replace }
  sr: { from: leads, sqlite: { table: now }, write: replace }
";
    let project = project(sinks);
    for (month, rows) in [("11", 3000), ("12", 3100), ("12", 3100), ("11", 3000)] {
        let name = format!("BasicCompanyDataAsOneFile-2026-{month}-01.csv");
        let file = project.snapshot(&name, rows, &format!("2026-{month}-01"));
        let var = format!("file={}", file.display());
        let report = project.run(&["p.yaml", "--var", &var]);
        for (duckdb, sqlite) in [("d", "s"), ("dh", "sh"), ("da", "sa"), ("dr", "sr")] {
            let merged = |id: &str| node(&report, id)["merged"].clone();
            assert_eq!(merged(duckdb), merged(sqlite), "{duckdb} in {month}");
        }
    }
    let var =
        format!("file={}", project.path("BasicCompanyDataAsOneFile-2026-11-01.csv").display());
    let rows = |sql: &str| {
        let said = project.pipeline(&["query", sql, "--format", "csv", "--var", &var]);
        assert_eq!(said.code, Some(0), "{sql}: {}", said.err);
        said.out.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let columns = "company_number, cast(valid_from as varchar), cast(valid_to as varchar)";
    let past = |table: &str| rows(&format!("select {columns} from {table} order by 1, 2"));
    assert_eq!(past("dh"), past("sh"));
    let gone = |table: &str| {
        rows(&format!(
            "select company_number, gone_at is null, cast(as_of as varchar) from {table} order by 1"
        ))
    };
    assert_eq!(gone("d"), gone("s"));
}
