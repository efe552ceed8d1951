//! Where a place inside a SQL text stands in the YAML file.

use crate::spec::{Located, Mark};

/// Maps a place in a text (line and column from 1) to the file that holds the text. `None` where
/// YAML folds or escapes the text: then no place can be computed.
pub(super) fn place(file: &str, text: &Located<String>, line: u64, column: u64) -> Option<Mark> {
    let (line, column) = (line.max(1) as usize, column.max(1) as usize);
    let at = text.at;
    let first = file.lines().nth(at.line.saturating_sub(1))?;
    let from: String = first.chars().skip(at.column.saturating_sub(1)).collect();
    match block(file, at, &from, line) {
        Some(Some((line, indent))) => {
            return Some(Mark { line, column: indent + column, len: 1 });
        }
        Some(None) => return None,
        None => {}
    }
    // A quoted text shifts by its quote; one with escapes is longer in the file than in memory.
    let shift = match from.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let body: String = from.chars().skip(1).collect();
            if !body.starts_with(text.value.as_str()) || text.value.contains(quote) {
                return None;
            }
            1
        }
        _ if from.starts_with(text.value.lines().next().unwrap_or_default()) => 0,
        // A plain text over several lines: its first line is exact.
        _ if from.chars().count() >= column => 0,
        _ => return None,
    };
    (line == 1).then(|| Mark { line: at.line, column: at.column + shift + column - 1, len: 1 })
}

/// Finds a word in the lines of the file that hold a text, from where the text begins.
pub(super) fn find_word(file: &str, text: &Located<String>, word: &str) -> Option<Mark> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let word = word.to_lowercase();
    let lines = file.lines().enumerate().skip(text.at.line.saturating_sub(1));
    let indent = |line: &str| line.len() - line.trim_start().len();
    let own = file.lines().nth(text.at.line.saturating_sub(1)).map_or(0, indent);
    // A text that begins on its line goes on as far to the right; one after its key further.
    let least = if text.at.column == own + 1 { own } else { own + 1 };
    for (n, line) in lines {
        let is_first = n + 1 == text.at.line;
        if word.is_empty() || (!is_first && !line.trim().is_empty() && indent(line) < least) {
            return None;
        }
        let lower = line.to_lowercase();
        let start = if is_first { text.at.column.saturating_sub(1) } else { 0 };
        let mut from = line.char_indices().nth(start).map_or(0, |(byte, _)| byte);
        while let Some(found) = lower.get(from..).and_then(|rest| rest.find(&word)) {
            let start = from + found;
            let before = lower[..start].chars().next_back();
            let after = lower[start + word.len()..].chars().next();
            if !before.is_some_and(is_part) && !after.is_some_and(is_part) {
                let column = lower[..start].chars().count() + 1;
                return Some(Mark { line: n + 1, column, len: word.chars().count() });
            }
            from = start + word.len();
        }
    }
    None
}

/// For a block text, its line in the file and its indentation; `Some(None)` for a folded one.
/// The parser marks a block at its `|` or at its first line of content.
fn block(file: &str, at: Mark, from: &str, line: usize) -> Option<Option<(usize, usize)>> {
    let header = |text: &str| {
        let text = text.split(" #").next().unwrap_or_default().trim_end();
        let sign = text.trim_end_matches(['-', '+', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
        sign.chars().last().filter(|c| matches!(c, '|' | '>'))
    };
    let (sign, header_line) = match from.chars().next() {
        Some(sign @ ('|' | '>')) => (sign, at.line),
        _ => {
            let lines: Vec<&str> = file.lines().take(at.line - 1).collect();
            let number = lines.iter().rposition(|line| !line.trim().is_empty())?;
            let above = lines[number];
            let is_header = above.contains(": |") || above.contains(": >") || above.contains("- |");
            (header(above).filter(|_| is_header)?, number + 1)
        }
    };
    if sign == '>' {
        return Some(None);
    }
    let content = file.lines().nth(header_line + line - 1)?;
    let first = file.lines().skip(header_line).find(|l| !l.trim().is_empty())?;
    let indent = first.len() - first.trim_start().len();
    Some(
        (content.len() >= indent || content.trim().is_empty())
            .then_some((header_line + line, indent)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, line: u64, column: u64) -> (usize, usize) {
        #[derive(serde::Deserialize)]
        struct Doc {
            sql: Located<String>,
        }
        let doc: Doc = match serde_saphyr::from_str(file) {
            Ok(doc) => doc,
            Err(error) => panic!("{error}"),
        };
        place(file, &doc.sql, line, column).map_or((0, 0), |mark| (mark.line, mark.column))
    }

    #[test]
    fn finds_places_in_every_style_of_text() {
        assert_eq!(found("sql: select x from t\n", 1, 8), (1, 13));
        assert_eq!(found("sql: \"select x\"\n", 1, 8), (1, 14));
        assert_eq!(found("{ sql: 'select x' }", 1, 8), (1, 16));
        assert_eq!(found("sql: |\n  select x,\n         y\n", 2, 8), (3, 10));
        assert_eq!(found("sql: |-\n\n  select x\n", 2, 8), (3, 10));
    }

    #[test]
    fn knows_no_place_where_yaml_changed_the_text() {
        assert_eq!(found("sql: >\n  select x,\n  y\n", 1, 11), (0, 0));
        assert_eq!(found("sql: 'it''s'\n", 1, 4), (0, 0));
    }

    #[test]
    fn finds_words_where_yaml_changed_the_text() {
        let word = |file: &str, word: &str| {
            let doc: std::collections::BTreeMap<String, Located<String>> =
                serde_saphyr::from_str(file).unwrap_or_default();
            let mark = doc.get("sql").and_then(|sql| find_word(file, sql, word));
            mark.map(|mark| (mark.line, mark.column, mark.len))
        };
        assert_eq!(word("sql: >\n  select xx,\n  x\n", "x"), Some((3, 3, 1)));
        assert_eq!(word("sql: 'it''s x'\n", "X"), Some((1, 13, 1)));
        assert_eq!(word("sql: >\n  select y\nx: '1'\n", "x"), None);
        assert_eq!(word("sql: \"\\u0079\"\nx: '1'\n", "x"), None);
    }
}
