//! Rows that came, written in place of those that a test expected.
//!
//! Only the rows change: every other byte of the text stays as the user wrote it. Comments between
//! rows go with the rows. Pure: the engine reads, tries and replaces the files.

use std::fmt::Write as _;
use std::ops::Range;

use super::{Mark, Row};

/// Characters in a line before its rows are written one a line.
const WIDTH: usize = 110;

/// Rows to stand in place of those that begin at a place.
#[derive(Clone, Debug, PartialEq)]
pub struct RowsEdit {
    /// Where the rows begin.
    pub at: Mark,
    /// The rows to stand there.
    pub rows: Vec<Row>,
}

/// Replaces rows in the text of a pipeline file. `Err` says which rows cannot be replaced, and why.
pub fn rewrite_rows(text: &str, edits: &[RowsEdit]) -> Result<String, String> {
    let mut pieces: Vec<(Range<usize>, String)> = Vec::new();
    for edit in edits {
        let written = Span::find(text, edit.at).map(|span| span.write(text, &edit.rows));
        pieces.push(written.ok_or_else(|| {
            let line = edit.at.line;
            format!("the rows in line {line} are not written as `[[a, b], [c, d]]` or `- [a, b]`")
        })?);
    }
    pieces.sort_by_key(|(range, _)| range.start);
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for (range, written) in pieces {
        let between = text.get(end..range.start).ok_or("two tests share their rows")?;
        out.push_str(between);
        out.push_str(&written);
        end = range.end;
    }
    out.push_str(&text[end..]);
    Ok(out)
}

/// Replaces the rows of a CSV file; its header stays.
pub fn rewrite_csv(text: &str, rows: &[Row]) -> Result<String, String> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.headers().map_err(|error| error.to_string())?;
    let end = usize::try_from(reader.position().byte()).unwrap_or(text.len());
    let header = text.get(..end).ok_or("the header cannot be told from the rows")?;
    let header = header.trim_end_matches(['\r', '\n']);
    let line_end = line_end(text);
    let terminator =
        if line_end == "\r\n" { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
    let mut writer = csv::WriterBuilder::new().terminator(terminator).from_writer(Vec::new());
    for row in rows {
        if row.iter().flatten().any(String::is_empty) {
            return Err("an empty text came, and a CSV file cannot tell it from null".to_owned());
        }
        let fields = row.iter().map(|value| value.as_deref().unwrap_or_default());
        writer.write_record(fields).map_err(|error| error.to_string())?;
    }
    let bytes = writer.into_inner().map_err(|error| error.to_string())?;
    let rows = String::from_utf8(bytes).map_err(|error| error.to_string())?;
    Ok(format!("{header}{line_end}{rows}"))
}

fn line_end(text: &str) -> &'static str {
    let first = text.split_inclusive('\n').next().unwrap_or_default();
    if first.ends_with("\r\n") { "\r\n" } else { "\n" }
}

/// Where rows stand in a text, and how they are written.
#[derive(Debug, PartialEq)]
enum Span {
    /// In brackets.
    Flow(Range<usize>),
    /// One row a line, each after a dash.
    Block(Range<usize>),
}

impl Span {
    fn find(text: &str, at: Mark) -> Option<Self> {
        let start = offset(text, at)?;
        // Dashes right below their key: the parser marks what stands after the first.
        let before = text[..start].rsplit('\n').next().unwrap_or_default();
        let dash = start - (before.len() - before.find('-').unwrap_or(before.len()));
        let start = if before.trim() == "-" { dash } else { start };
        match text.as_bytes().get(start)? {
            b'[' => Some(Self::Flow(start..flow_end(text, start)?)),
            b'-' => Some(Self::Block(start..block_end(text, start)?)),
            _ => None,
        }
    }

    fn write(self, text: &str, rows: &[Row]) -> (Range<usize>, String) {
        let line_end = line_end(text);
        let lines: Vec<String> = rows.iter().map(in_brackets).collect();
        match self {
            Self::Flow(range) => {
                let line_start = text[..range.start].rfind('\n').map_or(0, |end| end + 1);
                let before = &text[line_start..range.start];
                let after = text[range.end..].lines().next().unwrap_or_default();
                let one = format!("[{}]", lines.join(", "));
                let n_chars = |part: &str| part.chars().count();
                let width = n_chars(before) + n_chars(&one) + n_chars(after);
                if rows.is_empty() || width <= WIDTH {
                    return (range, one);
                }
                // What goes on must stand further to the right than the key, also after a dash.
                let indent = before.len() - before.trim_start_matches([' ', '-']).len() + 2;
                let indent = format!("{line_end}{}", " ".repeat(indent));
                (range, format!("[{indent}{}]", lines.join(&format!(",{indent}"))))
            }
            Self::Block(range) if rows.is_empty() => {
                let before = text[..range.start].trim_end();
                match before.ends_with(':') {
                    true => (before.len()..range.end, " []".to_owned()),
                    false => (range, "[]".to_owned()),
                }
            }
            Self::Block(range) => {
                let indent = format!("{line_end}{}- ", " ".repeat(indent_of(text, range.start)));
                (range, format!("- {}", lines.join(&indent)))
            }
        }
    }
}

/// Finds the byte at a place.
fn offset(text: &str, at: Mark) -> Option<usize> {
    let line_start = match at.line.checked_sub(2) {
        Some(n) => text.match_indices('\n').nth(n)?.0 + 1,
        None => 0,
    };
    let (column, _) = text[line_start..].char_indices().nth(at.column.checked_sub(1)?)?;
    (at.line > 0).then_some(line_start + column)
}

/// Returns how far from the beginning of its line a byte stands.
fn indent_of(text: &str, at: usize) -> usize {
    at - text[..at].rfind('\n').map_or(0, |end| end + 1)
}

/// Finds the end of what the bracket at `start` opens.
fn flow_end(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (start, 0usize);
    // Only where a value begins is a quote a quote.
    let mut is_beginning = true;
    loop {
        let byte = *bytes.get(at)?;
        let before = at.checked_sub(1).map(|before| bytes[before]);
        let next = bytes.get(at + 1);
        at += 1;
        match byte {
            b'[' | b'{' => (depth, is_beginning) = (depth + 1, true),
            b']' | b'}' if depth == 1 => return Some(at),
            b']' | b'}' => (depth, is_beginning) = (depth.checked_sub(1)?, false),
            b',' => is_beginning = true,
            b':' if next.is_none_or(u8::is_ascii_whitespace) => is_beginning = true,
            b'#' if before.is_some_and(|byte| byte.is_ascii_whitespace()) => {
                at += text[at..].find('\n')?;
            }
            // An anchor or a tag stands before its value.
            b'&' | b'!' if is_beginning => at += text[at..].find([' ', '\n', ',', ']'])?,
            b'"' | b'\'' if is_beginning => {
                at = quote_end(bytes, at, byte)?;
                is_beginning = false;
            }
            byte if byte.is_ascii_whitespace() => {}
            _ => is_beginning = false,
        }
    }
}

/// Finds the end of a text in quotes that begins at `at`.
fn quote_end(bytes: &[u8], mut at: usize, quote: u8) -> Option<usize> {
    loop {
        let byte = *bytes.get(at)?;
        let is_double = byte == quote && quote == b'\'' && bytes.get(at + 1) == Some(&quote);
        let is_escape = byte == b'\\' && quote == b'"';
        if byte == quote && !is_double {
            return Some(at + 1);
        }
        at += if is_double || is_escape { 2 } else { 1 };
    }
}

/// Finds the end of the last of the rows that begin with the dash at `start`.
fn block_end(text: &str, start: usize) -> Option<usize> {
    let indent = indent_of(text, start);
    let mut at = start;
    loop {
        let inside = text[at..].strip_prefix('-')?.trim_start_matches(' ');
        let end = flow_end(text, text.len() - inside.len())?;
        if !inside.starts_with('[') {
            return None;
        }
        let mut lines = text[end..].split_inclusive('\n');
        let is_silent = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
        let first = lines.next().unwrap_or_default();
        if !is_silent(first) {
            return None;
        }
        let mut next = end + first.len();
        next += lines.take_while(|line| is_silent(line)).map(str::len).sum::<usize>();
        let line = text[next..].lines().next().unwrap_or_default();
        let own = line.trim_start_matches(' ');
        if line.len() - own.len() != indent || !own.starts_with("- ") {
            return Some(end);
        }
        at = next + indent;
    }
}

fn in_brackets(row: &Row) -> String {
    let values: Vec<String> = row.iter().map(|value| written(value.as_deref())).collect();
    format!("[{}]", values.join(", "))
}

/// Writes a value so that it reads as the same text, without quotes where that can be.
fn written(value: Option<&str>) -> String {
    match value {
        None => "null".to_owned(),
        Some(text) if is_plain(text) => text.to_owned(),
        Some(text) => in_quotes(text),
    }
}

fn is_plain(text: &str) -> bool {
    let is_null = text.eq_ignore_ascii_case("null");
    let mut chars = text.chars();
    let begins_well = match (chars.next(), chars.next()) {
        (Some('-'), Some(second)) => second.is_ascii_digit(),
        (Some(first), _) => first.is_alphanumeric(),
        (None, _) => false,
    };
    let mut previous = ' ';
    let is_good = text.chars().all(|c| {
        // A colon ends a key where a space follows it; what follows here is a letter.
        let is_good = (c.is_alphanumeric() || " -_./+()=%;'?*$£€&@<>~^|:".contains(c))
            && (previous != ':' || c.is_alphanumeric() || c == '/');
        previous = c;
        is_good
    });
    !is_null && begins_well && is_good && !text.ends_with([' ', ':'])
}

fn in_quotes(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_printable(c) => out.push(c),
            c => {
                // Writing to a text cannot fail.
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}

/// Says whether YAML lets a character stand for itself, and it is no line end to anybody.
fn is_printable(c: char) -> bool {
    let is_line_end = matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}');
    let is_hidden = matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}' | '\u{200b}'..='\u{200f}');
    !c.is_control() && !is_line_end && !is_hidden
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::spec::{Located, LocatedMap, TestRows};

    #[derive(Deserialize)]
    struct Doc {
        expect: LocatedMap<TestRows>,
    }

    fn read(text: &str) -> Vec<(Mark, Vec<Row>)> {
        let doc: Doc = serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let rows = |rows: &Located<Vec<Located<Row>>>| {
            (rows.at, rows.value.iter().map(|row| row.value.clone()).collect())
        };
        doc.expect.0.iter().map(|(_, expected)| rows(&expected.rows)).collect()
    }

    fn rows(rows: &[&[&str]]) -> Vec<Row> {
        let value = |text: &&str| (*text != "null").then(|| (*text).to_owned());
        rows.iter().map(|row| row.iter().map(value).collect()).collect()
    }

    /// Replaces the rows of the first entry.
    fn replaced(text: &str, new: &[&[&str]]) -> String {
        let edit = RowsEdit { at: read(text)[0].0, rows: rows(new) };
        rewrite_rows(text, &[edit]).unwrap_or_else(|why| panic!("{why}"))
    }

    #[test]
    fn changes_nothing_but_the_rows() {
        let flow = "expect: # why\n  a: { rows: [ [1, \"]'\"], ['it''s ]', x'y] ] , columns: [p, q] } # so\n  b: {}\n";
        assert_eq!(
            replaced(flow, &[&["007", "null"]]),
            "expect: # why\n  a: { rows: [[007, null]] , columns: [p, q] } # so\n  b: {}\n"
        );
        let block = "expect:\n  a:\n    rows:\n    - [1] # one\n\n    # two\n    - [2,\n       3]  # last\n    # end\n    columns: [p]\n";
        assert_eq!(
            replaced(block, &[&["é x"], &["null"], &["-3.5"]]),
            "expect:\n  a:\n    rows:\n    - [é x]\n    - [null]\n    - [-3.5]  # last\n    # end\n    columns: [p]\n"
        );
        assert_eq!(
            replaced(block, &[]),
            "expect:\n  a:\n    rows: []  # last\n    # end\n    columns: [p]\n"
        );
        let crlf = "expect:\r\n  a:\r\n    rows:\r\n      - [1]\r\n    columns: [p]\r\n";
        assert_eq!(replaced(crlf, &[&["1"], &["2"]]), crlf.replace("[1]", "[1]\r\n      - [2]"));
    }

    #[test]
    fn breaks_rows_that_do_not_fit_on_a_line() {
        let long = "x".repeat(60);
        let text = "expect:\n  a: { rows: [[1]] }\n";
        let new = replaced(text, &[&[&long], &[&long]]);
        assert_eq!(new, format!("expect:\n  a: {{ rows: [\n    [{long}],\n    [{long}]] }}\n"));
        assert_eq!(read(&new)[0].1, rows(&[&[&long], &[&long]]));
        assert_eq!(replaced(&new, &[&["1"]]), text);
    }

    #[test]
    fn quotes_only_what_would_read_as_something_else() {
        for plain in ["007", "1.50", "OLD BAKERY LTD", "09:00:00Z", "http://x.y/z", "true", "-1"] {
            assert_eq!(written(Some(plain)), plain);
        }
        for text in ["", "null", "NULL", "~", "a: b", "a:", "a #b", "-", "- a", "[x", "a,b", " a"] {
            assert_eq!(written(Some(text)), format!("\"{text}\""));
        }
        assert_eq!(written(Some("a\u{0}\n\"")), "\"a\\U00000000\\n\\\"\"");
        assert_eq!(written(None), "null");
    }

    #[test]
    fn refuses_rows_that_are_written_in_another_way() {
        for text in ["expect:\n  a:\n    rows:\n      - - 1\n", "expect:\n  a: {}\n"] {
            let edit = RowsEdit { at: read(text)[0].0, rows: Vec::new() };
            let refused = rewrite_rows(text, &[edit]).expect_err("refused");
            assert!(refused.contains("are not written as"), "{refused}");
        }
        let text = "expect:\n  a: { rows: &r [[1]] }\n  b: { rows: *r }\n";
        let edit = |index: usize| RowsEdit { at: read(text)[index].0, rows: Vec::new() };
        assert!(rewrite_rows(text, &[edit(0), edit(1)]).is_err());
    }

    #[test]
    fn keeps_the_header_and_the_line_ends_of_a_csv_file() {
        let new = rows(&[&["a,b", "null"], &["null", "say \"x\""]]);
        assert_eq!(
            rewrite_csv("p, \"q\"\r\n1,2\r\n", &new).as_deref(),
            Ok("p, \"q\"\r\n\"a,b\",\r\n,\"say \"\"x\"\"\"\r\n")
        );
        assert_eq!(rewrite_csv("p", &rows(&[&["null"]])).as_deref(), Ok("p\n\"\"\n"));
        assert!(rewrite_csv("p\n", &rows(&[&[""]])).is_err());
    }

    /// Texts of the characters that mean something to YAML, and some that mean nothing.
    fn nasty() -> impl Strategy<Value = Option<String>> {
        let signs = vec(
            prop::sample::select(
                " -_:#,[]{}&*!|>'\"%@`~?\\\n\r\ta0é.=<\u{0}\u{7f}\u{85}\u{2028}\u{feff}🦀$"
                    .chars()
                    .collect::<Vec<_>>(),
            ),
            0..8,
        );
        let text = signs.prop_map(|signs| signs.into_iter().collect::<String>());
        let word = prop::sample::select(vec![
            "null",
            "true",
            "0x1F",
            ".inf",
            "1_0",
            "---",
            "<<",
            "=",
            "no",
            "2026-11-02T09:00:00Z",
        ]);
        prop_oneof![
            Just(None),
            text.prop_map(Some),
            word.prop_map(|w| Some(w.to_owned())),
            any::<String>().prop_map(Some)
        ]
    }

    proptest! {
        #[test]
        fn any_rows_read_back_as_they_were(
            new in vec(vec(nasty(), 0..4), 0..5),
            other in vec(vec(nasty(), 1..3), 1..4),
            is_block in any::<bool>(),
        ) {
            let text = match is_block {
                true => "expect:\n  a:\n    rows:\n      - [x]\n      - ['#', \"]\"]\n  b: { columns: [y], rows: [[1]] } # z\n",
                false => "expect: { a: { rows: [[x], ['#', \"]\"]] }, b: { columns: [y], rows: [\n    [1]] } } # z\n",
            };
            let marks = read(text);
            let edits = [
                RowsEdit { at: marks[1].0, rows: other.clone() },
                RowsEdit { at: marks[0].0, rows: new.clone() },
            ];
            let written = rewrite_rows(text, &edits).expect("written");
            let again = read(&written);
            prop_assert_eq!(&again[0].1, &new);
            prop_assert_eq!(&again[1].1, &other);
            prop_assert!(written.ends_with("} # z\n"), "{}", written);
            // What was written can be replaced again, by what was there at first.
            let back = [RowsEdit { at: again[0].0, rows: marks[0].1.clone() }];
            let back = read(&rewrite_rows(&written, &back).expect("written"));
            prop_assert_eq!(&back[0].1, &marks[0].1);
            prop_assert_eq!(&back[1].1, &other);
        }

        #[test]
        fn any_rows_of_a_csv_file_read_back_as_they_were(new in vec(vec(nasty(), 2..3), 0..5)) {
            prop_assume!(!new.iter().flatten().flatten().any(String::is_empty));
            let written = rewrite_csv("p,q\nx,y\n", &new).expect("written");
            let mut reader = csv::Reader::from_reader(written.as_bytes());
            let value = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let rows = reader.records().map(|row| row.expect("a row").iter().map(value).collect());
            prop_assert_eq!(rows.collect::<Vec<Row>>(), new);
        }
    }
}
