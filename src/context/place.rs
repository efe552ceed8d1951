//! Where a place inside a SQL text stands in the YAML file.

use crate::spec::{Located, Mark};

/// Maps a place in a text (line and column from 1) to the file that holds the text. Where YAML
/// folds or escapes the text, no exact place can be given: the mark of the whole text serves.
pub(super) fn place(file: &str, text: &Located<String>, line: u64, column: u64) -> Mark {
    let (line, column) = (line.max(1) as usize, column.max(1) as usize);
    let at = text.at;
    let whole = Mark { len: 1, ..at };
    let Some(first) = file.lines().nth(at.line.saturating_sub(1)) else { return whole };
    let from: String = first.chars().skip(at.column.saturating_sub(1)).collect();
    match block(file, at, &from, line) {
        Some(Some((line, indent))) => return Mark { line, column: indent + column, len: 1 },
        Some(None) => return whole,
        None => {}
    }
    // A quoted text shifts by its quote; one with escapes is longer in the file than in memory.
    let shift = match from.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let body: String = from.chars().skip(1).collect();
            if !body.starts_with(text.value.as_str()) || text.value.contains(quote) {
                return whole;
            }
            1
        }
        _ if from.starts_with(text.value.lines().next().unwrap_or_default()) => 0,
        // A plain text over several lines: its first line is exact.
        _ if from.chars().count() >= column => 0,
        _ => return whole,
    };
    match line {
        1 => Mark { line: at.line, column: at.column + shift + column - 1, len: 1 },
        _ => whole,
    }
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
        let mark = place(file, &doc.sql, line, column);
        (mark.line, mark.column)
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
    fn points_at_the_whole_text_where_yaml_changed_it() {
        assert_eq!(found("sql: >\n  select x,\n  y\n", 1, 11).0, 2);
        assert_eq!(found("sql: 'it''s'\n", 1, 4), (1, 6));
    }
}
