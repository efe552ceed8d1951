//! `pipeline test`: pipelines that test themselves.

use std::path::Path;

use crate::support::Project;

const PIPELINE: &str = "version: 1
name: p
vars: { least: { type: int } }
sources: { people: { csv: { path: ./nowhere.csv }, contract: { columns: { age: { type: int } } } } }
transforms:
  adults: { from: people, validate: [{ name: grown, that: age >= $least, otherwise: reject }] }
sinks:
  out: { from: adults, csv: { path: ./out/adults.csv }, write: replace }
  table: { from: adults, sqlite: { table: adults }, write: append }
tests:
  - name: keeps adults
    at: 2026-11-02T09:00:00Z
    vars: { least: 18 }
    given: { people: { columns: [id, age], rows: [[007, 18], [null, 17], [x, null]] } }
    expect:
      adults: { columns: [age, id], rows: [[18, 007]] }
      adults.rejected: { columns: [id, reason], rows: [[x, grown], [null, grown]] }
      out: { columns: [id], rows: [[007]] }
      table: { columns: [id, age], rows: [[007, 18]] }
";

fn project(text: &str) -> Project {
    let project = Project::new();
    project.write("p.yaml", text);
    project
}

#[test]
fn a_test_sees_nodes_ports_and_sinks_and_leaves_nothing_behind() {
    let project = project(PIPELINE);
    let said = project.pipeline(&["test", "p.yaml", "--junit", "junit.xml"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(said.out.ends_with("1 passed, 0 failed\n"), "{}", said.out);
    assert_eq!(project.files(""), ["junit.xml", "p.yaml"]);
    let junit = std::fs::read_to_string(project.path("junit.xml")).expect("a report");
    assert!(junit.contains("<testsuite name=\"p.yaml\" tests=\"1\" failures=\"0\">"), "{junit}");
}

#[test]
fn a_failure_shows_expected_rows_beside_those_that_came() {
    let project = project(&PIPELINE.replace("age >= $least", "age > $least"));
    let said = project.pipeline(&["test", "p.yaml", "--junit", "junit.xml"]);
    assert_eq!(said.code, Some(2));
    let shown: Vec<&str> = said.out.lines().skip(1).take(7).collect();
    assert_eq!(
        shown,
        [
            "  adults (line 16)",
            "                age  id",
            "    - expected  18   007",
            "  adults.rejected (line 17)",
            "                id   reason",
            "    + got       007  grown",
            "  out (line 18)",
        ]
    );
    let junit = std::fs::read_to_string(project.path("junit.xml")).expect("a report");
    assert!(junit.contains("failures=\"1\""), "{junit}");
    assert!(junit.contains("<failure message=\"adults (line 16)\">"), "{junit}");
}

#[test]
fn repeating_shows_what_is_written_twice() {
    let text = PIPELINE.replace("    vars: {", "    repeat: 2\n    vars: {");
    let said = project(&text).pipeline(&["test", "p.yaml"]);
    assert_eq!(said.code, Some(2));
    assert!(said.out.contains("  table (line 20), in run 2\n"), "{}", said.out);
    let text = text.replace("write: append", "write: upsert, key: [id]");
    let said = project(&text).pipeline(&["test", "p.yaml"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
}

#[test]
fn a_test_can_expect_a_failure() {
    let text = PIPELINE.replace("otherwise: reject", "otherwise: stop");
    let text = text[..text.find("    expect:").expect("expect")].to_owned();
    let failing = format!("{text}    fails: rows break the rule `grown`\n");
    let said = project(&failing).pipeline(&["test", "p.yaml"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    let said = project(&failing.replace("otherwise: stop", "otherwise: warn"))
        .pipeline(&["test", "p.yaml"]);
    assert_eq!(said.code, Some(2));
    assert!(said.out.contains("did not fail"), "{}", said.out);
}

#[test]
fn mistakes_in_tests_are_found_by_check_and_by_test() {
    let text = PIPELINE
        .replace("given: { people:", "given: { peple:")
        .replace("adults.rejected:", "adults.refused:")
        .replace("[null, 17]", "[17]")
        .replace("09:00:00Z", "9 o'clock");
    let project = project(&text);
    for command in ["check", "test"] {
        let said = project.pipeline(&[command, "p.yaml"]);
        assert_eq!(said.code, Some(2), "{command}");
        for (place, words) in
            [("p.yaml:12:9", "is not a moment"), ("p.yaml:14:61", "1 values for 2 columns")]
        {
            assert!(
                said.err.contains(place) && said.err.contains(words),
                "{command}: {}",
                said.err
            );
        }
    }
    let said = project.pipeline(&["check", "p.yaml"]);
    for words in ["no source `peple`", "did you mean `people`?", "`adults.refused`"] {
        assert!(said.err.contains(words), "{words}: {}", said.err);
    }
}

#[test]
fn values_that_do_not_fit_and_columns_that_are_not_there_are_named() {
    let text = PIPELINE.replace("[007, 18], [null", "[007, old], [null");
    let said = project(&text).pipeline(&["test", "p.yaml"]);
    assert!(said.err.contains("`old` is no value of the column `age`"), "{}", said.err);
    let text = PIPELINE.replace("columns: [age, id]", "columns: [agee, id]");
    let said = project(&text).pipeline(&["test", "p.yaml"]);
    assert!(said.err.contains("p.yaml:16:27"), "{}", said.err);
    assert!(said.err.contains("did you mean `age`?"), "{}", said.err);
}

/// Each must make a test of the shipped pipeline fail.
const MUTATIONS: &[(&str, &str)] = &[
    ("lower(trim(company_status)) =", "lower(company_status) ="),
    ("lower(trim(company_status)) =", "trim(company_status) ="),
    ("= 'active - proposal to strike off'", "like 'active%'"),
    ("lpad(trim(company_number), 8, '0')", "trim(company_number)"),
    ("select upper(lpad(", "select lower(lpad("),
    ("'([A-Za-z0-9]{8})$')[1]) as number_in_uri", "'^(.)')[1]) as number_in_uri"),
    ("that: company_name is not null", "that: uri is null"),
    ("\"number ~ '^[A-Z0-9]{8}$'\"", "number is not null"),
    ("or number = number_in_uri\"", "or number <> 'x'\""),
    ("as_of - $min_age", "as_of"),
    ("incorporation_date <= as_of", "incorporation_date < as_of"),
    ("otherwise: warn, at_most: 5%", "otherwise: warn"),
    ("'^([A-Za-z]{1,2})[0-9]'", "'^([A-Za-z]{1,2})'"),
    ("accounts_next_due_date < as_of", "accounts_next_due_date <= as_of"),
    ("conf_stmt_next_due_date < as_of", "conf_stmt_next_due_date <= as_of"),
    ("coalesce(mortgages_outstanding, 0) > 0 ", "coalesce(mortgages_outstanding, 0) > 1 "),
    ("in ('DORMANT', 'NO ACCOUNTS FILED')", "in ('DORMANT')"),
    ("in ('DORMANT', 'NO ACCOUNTS FILED')", "in ('NO ACCOUNTS FILED')"),
    ("in ('SMALL', 'MEDIUM'", "in ('MEDIUM'"),
    ("in ('', '99999', ", "in ('99999', "),
    ("in ('', '99999', ", "in ('', "),
    ("'^([0-9]{4,5}) ')[1] as sic_code", "'^(.*)$')[1] as sic_code"),
    ("when label in ('active', 'active - proposal to strike off',", "when label in ('active',"),
    ("when 'active - proposal to strike off' then", "when 'x' then"),
    ("lower(trim(status_label)) as label", "lower(status_label) as label"),
    ("cast(as_of as varchar) as version", "'' as version"),
    ("interval '3 years' >= incorporation_date", "interval '3 years' > incorporation_date"),
    ("prefer: [incorporation_date desc]", "prefer: [incorporation_date]"),
    ("greatest(0, ", "greatest(-100, "),
    ("least(100,", "least(1000,"),
    ("               20\n", "               21\n"),
    ("accounts_overdue    then 25", "accounts_overdue    then 24"),
    ("statement_overdue   then 10", "statement_overdue   then 11"),
    ("has_charge          then 25 else", "has_charge          then 5 else"),
    ("files_real_accounts then 15 else", "files_real_accounts then 0 else"),
    ("is_established      then 10 else", "is_established      then 0 else"),
    ("is_shell            then 20 else", "is_shell            then 0 else"),
    ("does_not_trade      then 15 else", "does_not_trade      then 14 else"),
    ("not statement_overdue then 10 else", "not statement_overdue then 0 else"),
    ("'charge outstanding +25' end", "'charge' end"),
    ("    key: [company_number]", "    key: [company_name]"),
];

#[test]
fn all_shipped_pipelines_pass_their_tests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let said = project("").pipeline(&["test", &folder.to_string_lossy()]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    for name in ["strike_off_bulk", "strike_off_stream", "officers", "reconcile", "export_csv"] {
        assert!(said.out.contains(&format!("{name}.yaml: ")), "{name}: {}", said.out);
    }
}

#[test]
fn shipped_pipelines_pass_their_tests_and_fail_them_when_broken() {
    let read = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
        std::fs::read_to_string(folder.join(name)).expect("a shipped file")
    };
    let fragments = ["signals", "company_status", "scoring"];
    let fragments = fragments.map(|name| format!("shared/{name}.yaml"));
    let (text, shared) =
        (read("strike_off_bulk.yaml"), fragments.each_ref().map(|name| read(name)));
    let project = project(&text);
    for (name, fragment) in fragments.iter().zip(&shared) {
        project.write(name, fragment);
    }
    let said = project.pipeline(&["test", "p.yaml"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    let mut survivors = Vec::new();
    for (index, (from, to)) in MUTATIONS.iter().enumerate() {
        let definition = text.find("\ntests:").expect("tests");
        let is_own = text[..definition].contains(from);
        let place = shared.iter().position(|fragment| fragment.contains(from));
        assert!(is_own || place.is_some(), "neither in the pipeline nor in a fragment: {from}");
        let name = format!("m{index}.yaml");
        project.write(&name, if is_own { text.replacen(from, to, 1) } else { text.clone() });
        for (name, fragment) in fragments.iter().zip(&shared) {
            let is_broken = !is_own && place.is_some_and(|place| shared[place] == *fragment);
            project.write(
                name,
                match is_broken {
                    true => fragment.replacen(from, to, 1),
                    false => fragment.clone(),
                },
            );
        }
        let said = project.pipeline(&["test", &name]);
        assert!(!said.err.contains("error[P0"), "{from} → {to}: {}", said.err);
        if said.code == Some(0) {
            survivors.push(format!("{from} → {to}"));
        }
    }
    assert!(survivors.is_empty(), "no test noticed: {survivors:#?}");
}

/// A pipeline of which each part of a test expects something else than what comes.
const OUTDATED: &str = "version: 1 # kept
name: p
sources: { people: { csv: { path: ./nowhere.csv } } }
sinks:
  out: { from: people, csv: { path: ./out/people.csv }, write: replace }
  log: { from: people, sqlite: { table: log }, write: append }
tests:
  - name: one
    given: { people: { columns: [id, name], rows: [[007, \"a, b\"], [8, null], [9, 'null']] } }
    expect:
      people: { columns: [id, name], rows: [[007, x]] }  # why
      out: # as it was
        columns: [id]
        rows:
          - [007]
          - [9]

  - { name: two, given: { people: { file: given.csv } }, expect: { people: { file: wanted.csv }, log: { columns: [id], rows: [] } } }
";

#[test]
fn expectations_are_rewritten_with_what_came_and_nothing_else_is() {
    use std::os::unix::fs::PermissionsExt as _;

    let project = project(OUTDATED);
    project.write("given.csv", "id,name\r\n1,\"x\"\r\n,y\r\n");
    project.write("wanted.csv", "name,\"id\"\r\nx,2\r\n");
    let path = project.path("p.yaml");
    let mode = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(&path, mode).expect("permissions");
    let said = project.pipeline(&["test", "p.yaml", "--update"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    for line in ["  rewrote people", "  rewrote out", "  rewrote people in `wanted.csv`"] {
        assert!(said.out.lines().any(|said| said == line), "{line}: {}", said.out);
    }
    let expected = OUTDATED
        .replace("[[007, x]]", "[[007, \"a, b\"], [8, null], [9, \"null\"]]")
        .replace("          - [9]\n", "          - [8]\n          - [9]\n")
        // In one line it would be too long.
        .replace("rows: [] }", "rows: [\n      [1],\n      [null]] }");
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), expected);
    let wanted = std::fs::read_to_string(project.path("wanted.csv")).expect("the file");
    assert_eq!(wanted, "name,\"id\"\r\nx,1\r\ny,\r\n");
    let mode = std::fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let said = project.pipeline(&["test", "p.yaml", "--update"]);
    assert!(said.out.ends_with("2 passed, 0 failed\n") && !said.out.contains("rewrote"));
    assert_eq!(project.files(""), ["given.csv", "p.yaml", "wanted.csv"]);
}

#[test]
fn tests_that_cannot_pass_are_left_alone_and_say_why() {
    let left = |from: &str, to: &str, words: &str| {
        assert!(OUTDATED.contains(from), "{from}");
        let text = OUTDATED.replacen(from, to, 1);
        let text = text[..text.find("\n  - { name: two").expect("two")].to_owned();
        let project = project(&text);
        let said = project.pipeline(&["test", "p.yaml", "--update"]);
        assert_eq!(said.code, Some(2), "{to}: {}{}", said.out, said.err);
        assert!(said.out.contains(words), "{words}: {}{}", said.out, said.err);
        assert!(!said.out.contains("rewrote"), "{}", said.out);
        assert_eq!(std::fs::read_to_string(project.path("p.yaml")).expect("the file"), text);
    };
    let repeated = "    repeat: 2\n    expect:\n      log: { columns: [id], rows: [] }\n";
    let why = "  not rewritten: `log` differs between run 1 and run 2\n";
    left("    expect:\n", repeated, why);
    let repeated = repeated.replace("rows: []", "rows: [[007], [8], [9]]").replace(
        "      log",
        "      people: { columns: [id], rows: [[007], [8], [9]] }\n      log",
    );
    let outdated = "      people: { columns: [id, name], rows: [[007, x]] }  # why
      out: # as it was
        columns: [id]
        rows:
          - [007]
          - [9]
";
    left(&format!("    expect:\n{outdated}"), &repeated, why);
    left("    expect:\n", "    fails: never\n    expect:\n", "not rewritten: it expects a failure");
    left("columns: [id]\n", "columns: [idd]\n", "not rewritten: it did not run to its end");
    left("rows: [[007, x]] }", "}", "not rewritten: `people` has no `rows` to rewrite");
    left(
        "          - [9]",
        "          - - 9",
        "not rewritten: the rows in line 15 are not written",
    );
    let said = project(OUTDATED).pipeline(&["test", "-", "--update"]);
    assert!(said.err.contains("standard input cannot be rewritten"), "{}", said.err);
}
