//! What the YAML parser says, as a mistake with a place, a code and advice.

use serde_saphyr::Error as YamlError;

use crate::spec::{Code, Diagnostic, Mark};

/// Turns a parser's error into ours.
pub(super) fn fault(error: &YamlError, text: &str) -> Diagnostic {
    let at = error.location().map(Mark::from).unwrap_or_default();
    match error.without_snippet() {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            let fault = Diagnostic::error(Code::UnknownKey, format!("unknown key `{field}`"), at);
            fault.suggest(field, "keys", expected.iter().copied())
        }
        YamlError::SerdeUnknownVariant { variant, expected, .. } => {
            let fault = Diagnostic::error(Code::BadValue, format!("unknown word `{variant}`"), at);
            fault.suggest(variant, "words", expected.iter().copied())
        }
        YamlError::SerdeMissingField { field, .. } => {
            Diagnostic::error(Code::WrongType, format!("`{field}` is missing"), at)
        }
        YamlError::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("?");
            Diagnostic::error(Code::Syntax, format!("`{key}` is given twice"), at)
        }
        other => {
            let code = match other {
                YamlError::SerdeInvalidType { .. }
                | YamlError::SerdeInvalidValue { .. }
                | YamlError::InvalidBooleanStrict { .. }
                | YamlError::InvalidScalar { .. }
                | YamlError::Unexpected { .. }
                | YamlError::Message { .. } => Code::WrongType,
                _ => Code::Syntax,
            };
            let fault = Diagnostic::error(code, message(other), at);
            match advice(text, at) {
                Some(advice) => fault.help(advice),
                None => fault,
            }
        }
    }
}

fn message(error: &YamlError) -> String {
    let text = error.to_string();
    let text = text.lines().next().unwrap_or_default();
    // The place is printed beside the snippet.
    let end = text.find(" at line ").unwrap_or(text.len());
    text[..end].trim_start_matches("error: ").to_owned()
}

/// Guesses from the line what YAML took apart that was meant as a whole.
fn advice(text: &str, at: Mark) -> Option<&'static str> {
    let line = text.lines().nth(at.line.saturating_sub(1))?;
    let is_indented_by_tab = |line: &str| line.trim_start_matches(' ').starts_with('\t');
    let next = text.lines().nth(at.line).unwrap_or_default();
    if is_indented_by_tab(line) || is_indented_by_tab(next) {
        return Some("indent with spaces: YAML takes no tabs");
    }
    if [": ${", ", ${", "[${", "[ ${"].iter().any(|start| line.contains(start)) {
        return Some("quote a text that holds `${…}`: `path: \"${file}\"`");
    }
    if line.matches('"').count() % 2 == 1 {
        return Some("a double quote is opened and not closed in this line");
    }
    if line.contains("select:") && !line.contains('[') {
        return Some("`select` takes a list: `select: [a, b]`");
    }
    let keys = ["filter:", "that:", "sql:", "prefer:", "select:"];
    let is_sql = keys.iter().any(|key| line.contains(key));
    is_sql.then_some("a text that holds `: `, `{`, `#` or starts with a quote must be quoted as a whole, or written as a block after `|`")
}
