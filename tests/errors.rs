//! `docs/errors.md`: every example is run.

use std::path::Path;

use crate::support::Project;

/// The sections of the page: code, and the wrong and the right example.
fn sections() -> Vec<(String, [String; 2])> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let sections = page.split("\n## ").skip(1);
    let example = |section: &str, word: &str| {
        let fence = format!("```yaml {word}\n");
        let start = section.find(&fence).expect("an example") + fence.len();
        let end = section[start..].find("```").expect("its end");
        section[start..start + end].to_owned()
    };
    let read = |section: &str| {
        let code = section.split(' ').next().expect("a code").to_owned();
        (code, ["wrong", "right"].map(|word| example(section, word)))
    };
    sections.map(read).collect()
}

#[test]
fn every_wrong_example_brings_its_code_and_every_right_one_none() {
    let project = Project::new();
    project.write("people.csv", "id,name,born\n1,ANNA,2001-01-01\n");
    project.write(
        "make.yaml",
        "version: 1
name: make
sources: { people: { csv: { path: ./people.csv } } }
sinks: { people_table: { from: people, sqlite: { path: ./people.db, table: people }, write: replace } }
",
    );
    project.run(&["make.yaml"]);
    for (code, [wrong, right]) in sections() {
        project.write("example.yaml", wrong);
        let said = project.pipeline(&["check", "--strict", "example.yaml"]);
        assert_eq!(said.code, Some(2), "{code}: the wrong example is none");
        assert!(said.err.contains(&format!("[{code}]")), "{code}: {}", said.err);
        let others =
            said.err.matches("[P0").count() - said.err.matches(&format!("[{code}]")).count();
        assert_eq!(others, 0, "{code}: {}", said.err);
        project.write("example.yaml", right);
        let said = project.pipeline(&["check", "--strict", "example.yaml"]);
        assert_eq!(said.code, Some(0), "{code}: {}", said.err);
    }
}

#[test]
fn every_code_is_explained() {
    let codes: Vec<String> = sections().into_iter().map(|(code, _)| code).collect();
    let all: Vec<String> = (1..=codes.len()).map(|n| format!("P{n:03}")).collect();
    assert_eq!(codes, all);
    let project = Project::new();
    let said = project.pipeline(&["explain-error", "p012"]);
    assert_eq!(said.code, Some(0));
    assert!(said.out.starts_with("P012 The input has no such column\n"), "{}", said.out);
    assert!(!said.out.contains("P013"), "{}", said.out);
    let next = format!("P{:03}", codes.len() + 1);
    let said = project.pipeline(&["explain-error", &next]);
    assert_eq!(said.code, Some(2));
    let diagnostics = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/spec/diagnostic.rs");
    let source = std::fs::read_to_string(diagnostics).expect("the codes");
    assert!(source.contains(&format!(" = {},\n}}", codes.len())), "a code without its section");
}
