//! "Did you mean": the nearest known word to a misspelt one.

/// Returns the candidate nearest to `word`, if one is near enough to be a likely slip.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Writes words as `` `a`, `b`, `c` `` and an ellipsis after the first dozen.
pub fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 12;
    let words: Vec<&str> = words.into_iter().collect();
    let mut text: Vec<String> = words.iter().take(MOST).map(|word| format!("`{word}`")).collect();
    if words.len() > MOST {
        text.push("…".into());
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_slip_and_leaves_strangers_alone() {
        assert_eq!(did_you_mean("delimeter", ["delimiter", "path"]), Some("delimiter"));
        assert_eq!(did_you_mean("Fitler", ["filter", "select"]), Some("filter"));
        assert_eq!(did_you_mean("elephant", ["delimiter", "path"]), None);
    }

    #[test]
    fn lists_a_dozen_words_at_most() {
        assert_eq!(list(["a", "b"]), "`a`, `b`");
        assert!(list(["x"; 13]).ends_with(", …"));
    }
}
