//! Filters that a source asks before it makes a row: the rows are those that the plan would keep.

use crate::runs::project;
use crate::support::node;

/// By whom a filter is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Asked {
    Source,
    /// It may fail, and then the plan has to.
    Both,
    Plan,
}

/// A filter, the rows that it keeps, and by whom it is asked.
const FILTERS: &[(&str, &[&str], Asked)] = &[
    ("name = 'OLD BAKERY LTD'", &["90000001"], Asked::Source),
    ("name <> 'OLD BAKERY LTD'", &["90000002", "90000005"], Asked::Source),
    ("name in ('OLD BAKERY LTD', '+PLUS LTD', 'NOBODY')", &["90000001", "90000005"], Asked::Source),
    ("name like '%, SHINY%'", &["90000002"], Asked::Source),
    ("starts_with(name, '+')", &["90000005"], Asked::Source),
    ("lower(trim(name)) = 'old bakery ltd'", &["90000001"], Asked::Source),
    ("name ~ '^[A-Z]'", &["90000001", "90000002"], Asked::Both),
    ("name between 'A' and 'Z' and not name = ''", &["90000001", "90000002"], Asked::Source),
    ("name is null", &["90000003"], Asked::Source),
    ("name is not null and number > '90000001'", &["90000002", "90000005"], Asked::Source),
    ("cast(number as int) = 90000003", &["90000003"], Asked::Both),
    ("name = 'OLD BAKERY LTD' or born < '2000-01-01'", &["90000001", "90000005"], Asked::Plan),
    ("born < '2000-01-01'", &["90000005"], Asked::Plan),
    ("name = number", &[], Asked::Plan),
    ("random() >= 0 and name = '+PLUS LTD'", &["90000005"], Asked::Both),
];

fn filtered(filter: &str) -> crate::support::Project {
    project(&format!(
        "transforms:\n  some: {{ from: companies, filter: \"{filter}\" }}\n\
         sinks:\n  out: {{ from: some, csv: {{ path: ./out.csv }}, write: replace }}\n"
    ))
}

#[test]
fn a_filter_on_text_is_asked_by_the_source_and_keeps_the_same_rows() {
    for (filter, expected, asked) in FILTERS {
        let project = filtered(filter);
        let plan = project.pipeline(&["explain", "p.yaml"]).out;
        let found = match (plan.contains("where="), plan.contains("FilterExec")) {
            (true, false) => Asked::Source,
            (true, true) => Asked::Both,
            _ => Asked::Plan,
        };
        assert_eq!(found, *asked, "{filter}: {plan}");
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
