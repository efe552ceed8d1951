//! What the YAML parser says, as a mistake with a place, a code and advice.

use serde_saphyr::Error as YamlError;

use crate::spec::{Code, Diagnostic, Mark, list};

/// Turns a parser's error into ours.
pub(super) fn fault(error: &YamlError, text: &str) -> Diagnostic {
    let at = error.location().map(Mark::from).unwrap_or_default();
    match error.without_snippet() {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            let fault = Diagnostic::error(Code::UnknownKey, format!("unknown key `{field}`"), at);
            if !is_word(field) {
                return fault.help(QUOTE);
            }
            fault.suggest(field, "keys", expected.iter().copied())
        }
        YamlError::SerdeUnknownVariant { variant, expected, .. }
            if variant == "~" || variant.is_empty() =>
        {
            let fault = Diagnostic::error(Code::WrongType, "no value", at);
            fault.help(format!("words are {}", list(expected.iter().copied())))
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

/// What to do with an expression that YAML took apart.
pub(super) const QUOTE: &str = "a text that holds `: `, `, `, `{`, `#` or starts with a quote must be quoted as a whole, or written as a block after `|`";

/// Says whether a key can be one, and not a piece of something else.
pub(super) fn is_word(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c))
}

/// Says what the parser says, in the words of a pipeline file.
fn message(error: &YamlError) -> String {
    const WORDS: [(&str, &str); 10] = [
        ("expected sequence start", "a list is expected here: `[a, b]`"),
        ("cannot deserialize null into string", "a text is missing here"),
        ("budget breached: Documents", "a file holds one document: there is a second `---`"),
        ("budget breached", "the file is too large, or nested too deeply"),
        ("invalid boolean", "neither `true` nor `false`"),
        ("invalid u", "not a whole number"),
        ("invalid i", "not a whole number"),
        ("invalid f", "not a number"),
        ("expected string scalar", "a text is expected here"),
        ("expected mapping start", "a map is expected here: keys with values"),
    ];
    let text = error.to_string();
    let text = text.lines().next().unwrap_or_default();
    // The place is printed beside the snippet.
    let end = text.find(" at line ").unwrap_or(text.len());
    let text = text[..end].trim_start_matches("error: ");
    let known = WORDS.iter().find(|(theirs, _)| text.starts_with(theirs));
    known.map_or_else(|| text.to_owned(), |(_, ours)| (*ours).to_owned())
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
    keys.iter().any(|key| line.contains(key)).then_some(QUOTE)
}
