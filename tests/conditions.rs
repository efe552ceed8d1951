//! Filters that a source asks before it makes a row: the rows are those that the plan would keep.

use crate::runs::project;
use crate::support::node;

/// A filter, the rows that it keeps, and whether the source can ask it.
const FILTERS: &[(&str, &[&str], bool)] = &[
    ("name = 'OLD BAKERY LTD'", &["90000001"], true),
    ("name <> 'OLD BAKERY LTD'", &["90000002", "90000005"], true),
    ("name in ('OLD BAKERY LTD', '+PLUS LTD', 'NOBODY')", &["90000001", "90000005"], true),
    ("name like '%, SHINY%'", &["90000002"], true),
    ("starts_with(name, '+')", &["90000005"], true),
    ("lower(trim(name)) = 'old bakery ltd'", &["90000001"], true),
    ("name ~ '^[A-Z]'", &["90000001", "90000002"], true),
    ("name is null", &["90000003"], true),
    ("name is not null and number > '90000001'", &["90000002", "90000005"], true),
    ("cast(number as int) = 90000003", &["90000003"], true),
    ("name = 'OLD BAKERY LTD' or born < '2000-01-01'", &["90000001", "90000005"], false),
    ("born < '2000-01-01'", &["90000005"], false),
    ("name = number", &[], false),
    ("random() >= 0 and name = '+PLUS LTD'", &["90000005"], true),
];

fn filtered(filter: &str) -> crate::support::Project {
    project(&format!(
        "transforms:\n  some: {{ from: companies, filter: \"{filter}\" }}\n\
         sinks:\n  out: {{ from: some, csv: {{ path: ./out.csv }}, write: replace }}\n"
    ))
}

#[test]
fn a_filter_on_text_is_asked_by_the_source_and_keeps_the_same_rows() {
    for (filter, expected, is_asked) in FILTERS {
        let project = filtered(filter);
        let plan = project.pipeline(&["explain", "p.yaml"]).out;
        assert_eq!(plan.contains("where="), *is_asked, "{filter}: {plan}");
        let report = project.run(&["p.yaml"]);
        assert_eq!(project.query("select number from out order by number"), *expected, "{filter}");
        // Rows that are left out are counted, and a small file is checked whole.
        let companies = node(&report, "companies");
        assert_eq!((&companies["rows_out"], &companies["rejected"]), (&4.into(), &1.into()));
    }
}

#[test]
fn a_filter_that_fails_over_a_text_fails_the_run_unless_the_row_is_refused() {
    let said = filtered("cast(name as int) > 3").pipeline(&["run", "p.yaml"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("OLD BAKERY LTD"), "{}", said.err);
    // Only the row that is refused has a name that is no number.
    let project = filtered("cast(name as int) = 7");
    let rows = "number,name,born,debts\n1,7,2001-05-01,3\n2,8,2001-05-01,\n3,CMD,2001-05-01,x\n";
    project.write("companies.csv", rows);
    let report = project.run(&["p.yaml"]);
    assert_eq!(project.query("select number from out"), ["1"]);
    assert_eq!(node(&report, "companies")["rejected"], 1);
}
