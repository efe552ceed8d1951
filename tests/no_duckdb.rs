//! A build without DuckDB says so.

use crate::support::Project;

#[test]
fn a_build_without_duckdb_says_how_to_get_it() {
    let project = Project::new();
    project.write("a.csv", "x\n1\n");
    project.write(
        "p.yaml",
        "version: 1\nname: p\nsources: { a: { csv: { path: ./a.csv } } }\nsinks: { d: { from: a, \
         duckdb: { path: ./w.duckdb, table: t }, write: replace } }\n",
    );
    let said = project.pipeline(&["check", "p.yaml"]);
    assert_eq!(said.code, Some(2));
    assert!(
        said.err.contains("has no DuckDB") && said.err.contains("--features duckdb"),
        "{}",
        said.err
    );
    let said = project.pipeline(&["query", "select 1", "--engine", "duckdb"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("has no DuckDB"), "{}", said.err);
}
