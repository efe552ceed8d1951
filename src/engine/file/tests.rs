//! Texts with mistakes, and where they are found.

use super::*;

/// Returns the codes and places of all mistakes.
fn found(text: &str) -> Vec<(String, usize, usize)> {
    let (_, mut found) = parse(text);
    found.sort_by_key(|fault| fault.at);
    found.into_iter().map(|fault| (fault.code.id(), fault.at.line, fault.at.column)).collect()
}

#[test]
fn finds_mistakes_in_many_places_at_once() {
    let text = "version: 1
name: p
sources:
  a: { csv: { path: ./a, delimeter: x } }
  b: { csv: { path: ./b, header: maybe }, contract: { at_most: 5 } }
  c: { cvs: {} }
  d: 7
transforms:
  t: { from: a, filter: x, sql: y, frm: b }
sinks:
  s: { from: a, parquet: { path: ./s }, write: overwrite }
matrix: []
";
    let at = |code: &str, line, column| (code.to_owned(), line, column);
    assert_eq!(
        found(text),
        [
            at("P002", 4, 26),
            at("P003", 5, 34),
            at("P003", 5, 64),
            at("P002", 6, 8),
            at("P003", 7, 6),
            at("P004", 9, 28),
            at("P002", 9, 36),
            at("P010", 11, 48),
            at("P008", 12, 1),
        ]
    );
}

#[test]
fn keeps_text_as_it_is_written() {
    let text = "version: 1
name: p
sinks: { s: { from: [08250001, no, 1e5], csv: { path: 0x10 }, write: replace } }
";
    let (file, found) = parse(text);
    assert!(found.is_empty(), "{found:?}");
    let from: Vec<String> = file
        .iter()
        .flat_map(|file| &file.sinks[0].common.from)
        .map(|from| from.value.clone())
        .collect();
    assert_eq!(from, ["08250001", "no", "1e5"]);
}

#[test]
fn gives_the_place_of_each_input() {
    let (file, _) = parse(
        "version: 1\nname: p\nsinks:\n  s: { from: [a, bc], csv: { path: x } }\n  t: { from: d }\n",
    );
    let sinks = file.map(|file| file.sinks).unwrap_or_default();
    let columns: Vec<usize> = sinks[0].common.from.iter().map(|from| from.at.column).collect();
    assert_eq!(columns, [15, 18]);
}

#[test]
fn leaves_broken_nodes_out_and_remembers_them() {
    let (file, found) = parse("version: 1\nname: p\nsources:\n  a: { csv: { path: [] } }\n");
    assert_eq!(found.len(), 1);
    assert!(file.is_some_and(|file| file.sources.is_empty() && file.broken.contains("a")));
}

#[test]
fn refuses_hostile_texts_quickly() {
    let deep = format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    let laughs = (0..20).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
        format!("{text}a{}: &a{} [*a{n}, *a{n}, *a{n}, *a{n}]\n", n + 1, n + 1)
    });
    let long = format!("name: {}\n", "x".repeat(2 << 20));
    let wide = "- x\n".repeat(30_000);
    for text in [deep, laughs, long, wide, "\u{0}".into(), "&a *a".into(), "!!int x".into()] {
        assert!(!found(&text).is_empty());
    }
}
