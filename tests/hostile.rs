//! Files that mean harm: every one is refused with a place, and nothing outside is written.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::support::Project;

/// A pipeline around a piece of YAML that stands for its transforms.
fn around(transforms: &str) -> String {
    format!(
        "version: 1\nname: p\nsources: {{ a: {{ csv: {{ path: ./a.csv }} }} }}\n{transforms}\n\
         sinks: {{ out: {{ from: a, csv: {{ path: ./out.csv }}, write: replace }} }}\n"
    )
}

/// Returns a text for each of `0..n`, one after the other.
fn times(n: usize, text: impl Fn(usize) -> String) -> String {
    (0..n).map(text).collect()
}

/// YAML that is made to hurt whoever reads it.
fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let laughs = |n: usize, width: usize| {
        let mut text = String::from("l0: &l0 [ha, ha, ha]\n");
        for level in 1..n {
            let row = vec![format!("*l{}", level - 1); width].join(", ");
            let _ = writeln!(text, "l{level}: &l{level} [{row}]");
        }
        text
    };
    let filter =
        |sql: &str| around(&format!("transforms: {{ b: {{ from: a, filter: \"{sql}\" }} }}"));
    let sql = |sql: &str| around(&format!("transforms: {{ b: {{ sql: \"{sql}\" }} }}"));
    let contract = |text: &str| {
        around("").replace("path: ./a.csv } }", &format!("path: ./a.csv }}, contract: {text} }}"))
    };
    let texts = [
        ("empty", String::new()),
        ("only a comment", "# nothing\n".into()),
        ("a word", "word".into()),
        ("a list", "- 1\n- 2\n".into()),
        ("null", "~\n".into()),
        ("a billion laughs", laughs(10, 9)),
        ("a wide laugh", laughs(3, 5000)),
        (
            "laughs in a node",
            around(&format!(
                "transforms:\n  b: &b {{ from: a }}\n{}",
                times(300, |n| format!("  c{n}: *b\n"))
            )),
        ),
        ("an alias to itself", "a: &a [*a]\n".into()),
        ("an alias to a map around it", "a: &a { b: *a }\n".into()),
        ("an unknown alias", around("transforms: *nowhere")),
        ("many anchors", times(30_000, |n| format!("k{n}: &a{n} x\n"))),
        (
            "merge keys",
            format!("base: &b {{ x: 1 }}\n{}", times(500, |n| format!("m{n}: {{ <<: *b }}\n"))),
        ),
        (
            "a merge bomb",
            format!(
                "m0: &m0 {{ a: 1 }}\n{}",
                times(60, |n| format!("m{}: &m{} {{ <<: [*m{n}, *m{n}, *m{n}] }}\n", n + 1, n + 1))
            ),
        ),
        ("deep lists", "[".repeat(100_000)),
        ("deep closed lists", format!("a: {}{}", "[".repeat(5000), "]".repeat(5000))),
        ("deep maps", format!("a: {}", "{a: ".repeat(20_000))),
        ("deep indentation", times(3000, |n| format!("{}a:\n", " ".repeat(n)))),
        ("deep lists by dashes", "- ".repeat(20_000)),
        ("a scalar of two megabytes", format!("version: 1\nname: {}\n", "x".repeat(2 << 20))),
        ("a key of two megabytes", format!("{}: 1\n", "k".repeat(2 << 20))),
        (
            "a block of three megabytes",
            format!("version: 1\ndescription: |\n{}", "  text\n".repeat(500_000)),
        ),
        ("a hundred thousand keys", times(100_000, |n| format!("k{n}: {n}\n"))),
        ("a hundred thousand items", format!("a: [{}]", "1, ".repeat(100_000))),
        ("many unknown keys", around(&times(2000, |n| format!("key{n}: 1\n")))),
        (
            "many nodes with mistakes",
            around(&format!(
                "transforms:\n{}",
                times(2000, |n| format!("  n{n}: {{ fliter: x }}\n"))
            )),
        ),
        ("many documents", "---\na: 1\n".repeat(5000)),
        ("two documents", format!("{}---\n{}", around(""), around(""))),
        ("a tag of another language", "version: !!python/object/apply:os.system ['id']\n".into()),
        ("a binary tag", "version: 1\nname: !!binary aGVsbG8=\nsources: 3\n".into()),
        ("a local tag", around("transforms: !include /etc/passwd")),
        ("a tag directive", "%TAG ! tag:example.org,2000:\n---\n!x {}\n".into()),
        ("another yaml version", "%YAML 9.9\n---\nversion: 1\n".into()),
        ("keys twice", "version: 1\nversion: 1\n".into()),
        (
            "nodes twice",
            around(
                "transforms: { b: { from: a, filter: 'true' }, b: { from: a, filter: 'true' } }",
            ),
        ),
        ("a list as key", "? [a, b]\n: 1\n".into()),
        ("tabs", "version: 1\n\tname: p\n".into()),
        ("control characters", "version: 1\nname: \u{7}\u{1b}[31m\n".into()),
        ("a NUL", "version: 1\nname: \u{0}\n".into()),
        ("a quote without end", format!("version: 1\nname: \"{}", "x\n".repeat(10_000))),
        ("a brace without end", "version: 1\nsources: { a: { csv: {".into()),
        ("a huge number", format!("version: {}\n", "9".repeat(100_000))),
        ("a huge exponent", "version: 1e999999999\n".into()),
        ("a version of the future", "version: 18446744073709551616\nname: p\n".into()),
        ("long escapes", format!("version: 1\nname: \"{}\"\n", "\\u0041".repeat(50_000))),
        (
            "deep brackets in SQL",
            filter(&format!("{}1{} = 1", "(".repeat(20_000), ")".repeat(20_000))),
        ),
        ("open brackets in SQL", filter(&"(".repeat(50_000))),
        ("a long sum in SQL", filter(&format!("{} 1 = 1", "1 + ".repeat(100_000)))),
        ("a sum as long as it may be", filter(&format!("{} 'x'", "1 + ".repeat(990)))),
        ("many NOTs in SQL", filter(&format!("{} true", "not ".repeat(20_000)))),
        (
            "deep cases in SQL",
            filter(&format!("{}1{}", "case when 1 = 1 then ".repeat(3000), " end".repeat(3000))),
        ),
        (
            "deep queries in SQL",
            sql(&format!("{}select 1{}", "select * from (".repeat(3000), ") x".repeat(3000))),
        ),
        (
            "a chain of tables in SQL",
            sql(&format!(
                "with recursive t as (select 1 as n union all select n + 1 from t) select * from t, {}",
                vec!["nothing"; 500].join(", ")
            )),
        ),
        ("a SQL that writes", sql("copy a to '/tmp/stolen.csv'")),
        (
            "a SQL that makes a table",
            sql("create external table x stored as csv location '/etc/passwd'"),
        ),
        ("two SQL statements", sql("select * from a; drop table a")),
        ("a SQL that reads a file", sql("select * from '/etc/passwd'")),
        (
            "a regular expression bomb",
            contract("{ columns: { x: { matches: \"(((a{1000}){1000}){1000}){1000}\" } } }"),
        ),
        (
            "an open regular expression",
            contract(&format!("{{ columns: {{ x: {{ matches: \"{}\" }} }} }}", "(".repeat(10_000))),
        ),
        (
            "a reference to itself",
            around("")
                .replace("name: p", "name: p\nvars: { v: { type: string, default: '${v}' } }"),
        ),
        (
            "references that grow",
            around("").replace(
                "name: p",
                &format!(
                    "name: p\nvars:\n  v0: {{ type: string, default: aaaaaaaaaa }}\n{}",
                    times(40, |n| format!(
                        "  v{}: {{ type: string, default: '${{v{n}}}${{v{n}}}' }}\n",
                        n + 1
                    ))
                ),
            ),
        ),
        (
            "a fragment that is a device",
            around("transforms: { b: { use: /dev/zero, with: { x: a } } }"),
        ),
        ("a fragment that is a folder", around("transforms: { b: { use: /, with: { x: a } } }")),
    ];
    let mut all: Vec<(&str, Vec<u8>)> =
        texts.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    all.push(("not UTF-8", b"version: 1\nname: \xff\xfe\n".to_vec()));
    all.push((
        "another UTF",
        "\u{feff}version: 1".encode_utf16().flat_map(u16::to_le_bytes).collect(),
    ));
    all
}

#[test]
fn hostile_files_are_refused_with_a_reason() {
    let project = Project::new();
    project.write("a.csv", "x\n1\n");
    let corpus = corpus();
    assert!(corpus.len() >= 50);
    // `benches/hostile.py` measures how long each takes, and in how much memory.
    let kept = std::env::var_os("PIPELINE_HOSTILE").map(PathBuf::from);
    for (n, (name, text)) in corpus.into_iter().enumerate() {
        if let Some(folder) = &kept {
            std::fs::create_dir_all(folder).expect("a folder");
            std::fs::write(folder.join("a.csv"), "x\n1\n").expect("written");
            let file = folder.join(format!("{n:02}-{}.yaml", name.replace(' ', "_")));
            std::fs::write(file, &text).expect("written");
        }
        project.write("p.yaml", text);
        let said = project.pipeline(&["check", "p.yaml"]);
        assert_eq!(said.code, Some(2), "{name}: {}", &said.err[..said.err.len().min(2000)]);
        assert!(said.err.len() < 2_000_000, "{name}: {} bytes of mistakes", said.err.len());
    }
}

/// Where a path leads, by an evaluation of its own.
fn led(folder: &str, path: &str) -> String {
    let whole = match path.strip_prefix('/') {
        Some(rest) => rest.to_owned(),
        None => format!("{}/{path}", &folder[1..]),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[test]
fn nothing_is_written_outside_of_the_project() {
    let project = Project::new();
    project.write("a.csv", "x\n1\n");
    project.write("inner/.pipeline/schema.json", "{}");
    let root = project.path("inner").canonicalize().expect("a folder").display().to_string();
    let pieces = [
        "..", ".", "a", "/", "//", "/tmp", "/etc", "...", "～", "..．", "%2e%2e", "a b", "~", "\\",
        "C:", "é",
    ];
    let mut paths: Vec<String> = vec![root.clone(), format!("{root}/x"), format!("{root}x/y")];
    for first in pieces {
        for second in pieces {
            paths.push(format!("{first}/{second}/x"));
        }
    }
    let fields = [
        "sinks: { s: { from: a, csv: { path: PATH }, write: replace } }",
        "sinks: { s: { from: a, parquet: { path: PATH }, write: replace } }",
        "sinks: { s: { from: a, sqlite: { path: PATH, table: t }, write: replace } }",
        "state: PATH",
        "",
    ];
    let mut counts = [0, 0];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    for path in &paths {
        for field in fields {
            let quoted = format!("'{path}'");
            let download =
                if field.is_empty() { format!(", download_to: {quoted}") } else { String::new() };
            let text = format!(
                "version: 1\nname: p\nsources: {{ a: {{ csv: {{ path: ../a.csv{download} }} }} }}\n{}\n",
                field.replace("PATH", &quoted)
            );
            let file = project.path("inner").canonicalize().expect("a folder").join("p.yaml");
            let (_, found) =
                runtime.block_on(pipeline::engine::check(&text, &file, options(&root)));
            let is_refused =
                found.iter().any(|fault| fault.message.contains("outside of the project"));
            let target = led(&root, path);
            let is_inside = target == root || target.starts_with(&format!("{root}/"));
            assert_eq!(is_refused, !is_inside, "{field}: `{path}` leads to {target}: {found:?}");
            counts[usize::from(is_refused)] += 1;
        }
    }
    assert!(counts.iter().all(|n| *n > 100), "{counts:?}");
    // A link leads out as well; the user's own word and that of the file let it.
    std::os::unix::fs::symlink(project.path(""), project.path("inner/link")).expect("a link");
    let text = "version: 1\nname: p\nvars: { out: { type: path, default: ./link } }\nsources: { a: { csv: { path: ../a.csv } } }\n\
                sinks: { s: { from: a, csv: { path: \"${out}/x.csv\" }, write: replace } }\n";
    project.write("inner/p.yaml", text);
    let run = |arguments: &[&str]| {
        let mut command = project.command(&["run", "p.yaml"]);
        crate::support::said(
            command.args(arguments).current_dir(project.path("inner")).output().expect("ran"),
        )
    };
    let said = run(&[]);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("leads by a link outside of the project"), "{}", said.err);
    assert_eq!(run(&["--var", "out=.."]).code, Some(0));
    assert!(project.path("x.csv").is_file());
    project.write("inner/p.yaml", text.replace("name: p", "name: p\nallow_outside: true"));
    assert_eq!(run(&[]).code, Some(0));
}

/// What a check of a file in `folder` is told.
pub(crate) fn options(folder: &str) -> pipeline::engine::Options {
    pipeline::engine::Options {
        working_folder: folder.into(),
        run_id: "test".to_owned(),
        ..pipeline::engine::Options::default()
    }
}
