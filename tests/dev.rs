//! `pipeline dev`: a pipeline that is checked and tested while it is written.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::support::Project;

const PIPELINE: &str = "version: 1
name: p
sources: { people: { csv: { path: ./people.csv }, contract: { columns: { age: { type: int } } } } }
transforms:
  grown: { use: shared/grown.yaml, with: { people: people } }
sinks:
  out: { from: grown, csv: { path: ./out/adults.csv }, write: replace }
tests:
  - name: keeps adults
    given: { people: { file: given.csv } }
    expect: { grown: { columns: [id], rows: [[a]] } }
";

const GROWN: &str = "version: 1
fragment: grown
inputs: { people: { id: string, age: int? } }
outputs: [adults]
transforms:
  adults: { from: people, filter: age >= 18 }
";

fn project() -> Project {
    let project = Project::new();
    project.write("p.yaml", PIPELINE);
    project.write("shared/grown.yaml", GROWN);
    project.write("people.csv", "id,age\nANNA,70\nBEN,7\n");
    project.write("given.csv", "id,age\na,18\nb,17\n");
    project
}

/// A process that is read line by line, and killed when a test ends without it.
struct Watched {
    child: Child,
    lines: Receiver<String>,
}

impl Watched {
    fn start(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a process");
        let out = child.stdout.take().expect("an output");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Reads up to the line that begins so; returns the lines before it.
    fn until(&self, start: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            match self.lines.recv_timeout(Duration::from_secs(120)) {
                Ok(line) if line.starts_with(start) => return before,
                Ok(line) => before.push(line),
                Err(_) => panic!("no line begins with `{start}`: {before:#?}"),
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It has ended when all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_change_is_checked_tested_and_shown_until_ctrl_c() {
    let project = project();
    let command = project.command(&["dev", "p.yaml", "--node", "grown"]);
    let mut dev = Watched::start(command);
    let waiting = "── waiting for a change";
    let round = dev.until(waiting).join("\n");
    assert!(
        round.starts_with("── p.yaml\n✓ p.yaml: no mistakes\n✓ p.yaml: keeps adults"),
        "{round}"
    );
    assert!(round.contains("1 passed, 0 failed\n"), "{round}");
    assert!(round.contains("│ ANNA ┆ 70  │") && round.ends_with("1 row"), "{round}");

    project.write("p.yaml", PIPELINE.replace("from: grown,", "from: gorwn,"));
    dev.until("── p.yaml, changed: p.yaml");
    assert_eq!(dev.until(waiting), ["✗ p.yaml: 1 mistake"]);
    project.write("p.yaml", PIPELINE);
    dev.until("── p.yaml, changed: p.yaml");
    dev.until("1 passed, 0 failed");
    dev.until(waiting);

    // What the pipeline uses: a fragment, a fixture, the file of a source.
    project.write("shared/grown.yaml", GROWN.replace("18", "170"));
    dev.until("── p.yaml, changed: shared/grown.yaml");
    dev.until("0 passed, 1 failed");
    dev.until(waiting);
    project.write("given.csv", "id,age\na,180\nb,17\n");
    dev.until("── p.yaml, changed: given.csv");
    dev.until("1 passed, 0 failed");
    dev.until(waiting);
    project.write("people.csv", "id,age\nCARL,175\n");
    dev.until("── p.yaml, changed: people.csv");
    dev.until("│ CARL ┆ 175");
    dev.until(waiting);

    let interrupt = format!("kill -INT {}", dev.child.id());
    assert!(Command::new("sh").args(["-c", &interrupt]).status().expect("a shell").success());
    assert_eq!(dev.child.wait().expect("an end").code(), Some(0));
    assert!(dev.lines.iter().all(|line| !line.contains('\u{1b}')), "nothing is cleared in a pipe");
    assert_eq!(
        project.files(""),
        ["given.csv", "p.yaml", "people.csv", "shared/grown.yaml"],
        "nothing is written"
    );
}

#[test]
fn once_is_a_check_with_tests() {
    let project = project();
    let once = |arguments: &[&str]| {
        let mut all = vec!["dev", "p.yaml", "--once"];
        all.extend(arguments);
        project.pipeline(&all)
    };
    let said = once(&["--node", "grown/adults"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(said.out.starts_with("✓ p.yaml: no mistakes\n"), "{}", said.out);
    assert!(said.out.contains("│ ANNA"), "{}", said.out);
    assert_eq!(once(&["--node", "gorwn"]).code, Some(2));
    project.write("given.csv", "id,age\na,1\n");
    let said = once(&[]);
    assert_eq!(said.code, Some(2));
    assert!(said.out.ends_with("0 passed, 1 failed\n"), "{}", said.out);
    project.write("p.yaml", PIPELINE.replace("filter", "fliter").replace("from: grown,", ""));
    let said = once(&[]);
    assert_eq!((said.code, said.out.as_str()), (Some(2), "✗ p.yaml: 1 mistake\n"));
    assert!(said.err.contains("has no `from`"), "{}", said.err);
    assert_eq!(project.pipeline(&["dev", "-"]).code, Some(2));
    let said = project.pipeline(&["dev", "none.yaml"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("`none.yaml` cannot be read"), "{}", said.err);
}
