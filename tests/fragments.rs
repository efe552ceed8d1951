//! Fragments: transforms that several pipelines use.

use crate::support::{Project, node};

const PIPELINE: &str = "version: 1
name: p
sources:
  old: { csv: { path: ./old.csv }, contract: { columns: { age: { type: int } } } }
  new: { csv: { path: ./new.csv }, contract: { columns: { age: { type: int } } } }
transforms:
  olds: { use: shared/grown.yaml, with: { people: old } }
  news: { use: shared/grown.yaml, with: { people: new }, output: marked }
sinks:
  olds_out: { from: olds, csv: { path: ./olds.csv }, write: replace }
  news_out: { from: news, csv: { path: ./news.csv }, write: replace }
  rejected: { from: [olds/adults.rejected, news/adults.rejected], csv: { path: ./rejected.csv }, write: replace }
";

const GROWN: &str = "version: 1
fragment: grown
inputs:
  people: { id: string, age: int? }
outputs: [marked]
transforms:
  adults: { from: people, validate: [{ name: grown, that: age >= 18, otherwise: reject }] }
  halves: { from: adults, route: { even: age % 2 = 0, otherwise: odd } }
  both: { sql: select * from halves.even union all select * from halves.odd }
  marked: { use: mark.yaml, with: { rows: both } }
";

const MARK: &str = "version: 1
fragment: mark
inputs: { rows: { age: int } }
outputs: [doubled]
transforms:
  doubled: { sql: \"with rows2 as (select * from rows) select rows2.*, 2 * rows2.age as twice from rows2\" }
";

fn project(pipeline: &str, grown: &str) -> Project {
    let project = Project::new();
    project.write("p.yaml", pipeline);
    project.write("shared/grown.yaml", grown);
    project.write("shared/mark.yaml", MARK);
    project.write("old.csv", "id,age,name\na,70,ANNA\nb,17,BEN\n");
    project.write("new.csv", "id,age\nc,20\nd,21\ne,\n");
    project
}

#[test]
fn each_use_has_its_own_rows_and_all_columns_pass() {
    let project = project(PIPELINE, GROWN);
    let report = project.run(&["p.yaml"]);
    assert_eq!(project.query("select * from olds_out"), ["a,70,ANNA,140"]);
    assert_eq!(project.query("select * from news_out order by id"), ["c,20,40", "d,21,42"]);
    assert_eq!(
        project.query("select id, reason from rejected order by id"),
        ["b,grown", "e,grown"]
    );
    assert_eq!(node(&report, "news/adults")["rejected"], 1);
    let ports = serde_json::json!([["even", 1], ["odd", 1]]);
    assert_eq!(node(&report, "news/halves")["ports"], ports);
    assert_eq!(node(&report, "news/marked/doubled")["rows_out"], 2);
}

#[test]
fn a_changed_fragment_is_another_run() {
    let project = project(PIPELINE, GROWN);
    project.run(&["p.yaml"]);
    project.write("shared/mark.yaml", MARK.replace("2 * rows2", "3 * rows2"));
    project.run(&["p.yaml"]);
    assert_eq!(project.query("select twice from olds_out"), ["210"]);
}

#[test]
fn a_mistake_in_a_fragment_is_shown_in_the_fragments_file() {
    let project = project(PIPELINE, &GROWN.replace("that: age >= 18", "that: agee >= 18"));
    let said = project.pipeline(&["check", "p.yaml"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("--> shared/grown.yaml:7:59"), "{}", said.err);
    assert!(said.err.contains("did you mean `age`?"), "{}", said.err);
    let said = project.pipeline(&["check", "p.yaml", "--format", "json"]);
    let found: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(found[0]["file"], "shared/grown.yaml");
    let said = project.pipeline(&["check", "shared/grown.yaml"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("--> shared/grown.yaml:7:59"), "{}", said.err);
}

#[test]
fn a_fragment_can_be_checked_alone_and_not_run() {
    let project = project(PIPELINE, GROWN);
    let said = project.pipeline(&["check", "shared/grown.yaml", "shared/mark.yaml"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), "2 files checked\n"));
    let said = project.pipeline(&["run", "shared/grown.yaml"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("a fragment does not run"), "{}", said.err);
}

#[test]
fn what_a_fragment_is_given_must_fit() {
    for (from, to, place, words) in [
        ("with: { people: old }", "with: { people: olds }", "p.yaml:7:51", "in a circle"),
        ("with: { people: old }", "with: { peeple: old }", "p.yaml:7:43", "did you mean `people`?"),
        ("with: { people: old } }", "output: marked }", "p.yaml:7:11", "needs an input `people`"),
        (
            "age: { type: int } } } }\n  new",
            "age: { type: date } } } }\n  new",
            "p.yaml:7:51",
            "not the int",
        ),
        ("with: { people: old }", "with: { people: none }", "p.yaml:7:51", "no node `none`"),
        ("output: marked", "output: adults", "p.yaml:8:66", "outputs are `marked`"),
        (
            "use: shared/grown.yaml, with: { people: old }",
            "use: p.yaml",
            "p.yaml:7:16",
            "is a pipeline",
        ),
        (
            "use: shared/grown.yaml, with: { people: old }",
            "use: x.yaml",
            "p.yaml:7:16",
            "cannot be read",
        ),
        (
            "use: shared/grown.yaml, with: { people: old }",
            "from: old, filter: true, with: { a: b }",
            "p.yaml:7:44",
            "only goes with `use`",
        ),
    ] {
        let text = PIPELINE.replacen(from, to, 1);
        assert_ne!(text, PIPELINE, "{from}");
        let said = project(&text, GROWN).pipeline(&["check", "p.yaml"]);
        assert_eq!(said.code, Some(2), "{to}");
        assert!(said.err.contains(&format!("--> {place}\n")), "{to}: {}", said.err);
        assert!(said.err.contains(words), "{to}: {}", said.err);
    }
    let looped = GROWN.replace("mark.yaml, with: { rows", "grown.yaml, with: { people");
    let said = project(PIPELINE, &looped).pipeline(&["check", "p.yaml"]);
    assert!(said.err.contains("uses itself"), "{}", said.err);
    let sourced =
        GROWN.replace("transforms:", "sources: { x: { csv: { path: ./x.csv } } }\ntransforms:");
    let said = project(PIPELINE, &sourced).pipeline(&["check", "p.yaml"]);
    assert!(said.err.contains("a fragment has no sources"), "{}", said.err);
}
