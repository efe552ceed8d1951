//! What the compiler does not keep: layers, file sizes, who may print.

use std::path::{Path, PathBuf};

/// The layers of `src`, the lowest first; a folder or file may only use those above its own line
/// here. Those on one line never use each other.
const LAYERS: &[&[&str]] = &[
    &["error", "clock", "cores"],
    &["failpoint", "net"],
    &["spec", "sandbox"],
    &["table"],
    &["publish"],
    &["fetch", "feeds"],
    &["state"],
    &["quota"],
    &["context"],
    &["lookups"],
    &["sources", "transforms", "sinks"],
    &["engine"],
    &["cli"],
    &["main"],
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path if path.extension().is_some_and(|e| e == "rs") => found.push(path),
            _ => {}
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    files(&root)
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("text");
            (path.strip_prefix(&root).expect("below src").to_owned(), text)
        })
        .collect()
}

/// The part of a file that is no test.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

#[test]
fn layers_only_point_down() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let first = path.components().next().expect("a name").as_os_str().to_string_lossy();
        let own = first.trim_end_matches(".rs").to_owned();
        if own == "scan" || own == "lib" {
            continue;
        }
        let own_layer = layer(&own).unwrap_or_else(|| panic!("`{own}` is in no layer"));
        for used in code(&text).split("crate::").skip(1) {
            let end = used.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(used.len());
            let used = &used[..end];
            let Some(used_layer) = layer(used) else { continue };
            if used != own && used_layer >= own_layer {
                wrong.push(format!("{}: uses `{used}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_scanner_knows_nothing_of_ours() {
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("scan")) {
        for word in ["arrow", "tokio", "datafusion", "std::fs", "std::io"] {
            assert!(!code(text).contains(&format!("{word}::")), "{}: {word}", path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_for_and_is_short() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{} does not begin with `//!`", path.display());
        let is_test = path.to_string_lossy().contains("tests");
        let lines = code(&text).lines().count();
        assert!(is_test || lines <= 600, "{}: {lines} lines", path.display());
    }
}

#[test]
fn only_the_command_line_prints() {
    for (path, text) in sources() {
        for word in ["println!", "eprintln!", "print!(", "io::stdout", "io::stderr"] {
            let is_cli = path.starts_with("cli");
            assert!(is_cli || !code(&text).contains(word), "{}: {word}", path.display());
        }
    }
}

#[test]
fn every_fail_point_stands_in_the_code_once_at_least() {
    let sources = sources();
    for point in pipeline::failpoint::POINTS.iter().chain(pipeline::failpoint::CALL_POINTS) {
        let call = format!("pass(\"{point}\")");
        assert!(sources.iter().any(|(_, text)| text.contains(&call)), "{point} is nowhere");
    }
}

#[test]
fn every_test_file_is_listed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let main = std::fs::read_to_string(root.join("main.rs")).expect("main.rs");
    for path in files(&root) {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let folder = path.parent().expect("a folder");
        // The files of a folder are listed in the file of the same name.
        let list = match folder == root {
            true => main.clone(),
            false => std::fs::read_to_string(folder.with_extension("rs")).expect("a list"),
        };
        assert!(name == "main" || list.contains(&format!("mod {name};")), "{name} is not listed");
    }
}
