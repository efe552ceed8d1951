//! "Did you mean": the nearest known word to a misspelt one.

/// Returns the candidate nearest to `word`, if one is near enough to be a likely slip.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (likeness(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Returns how alike two words are, from 0 to 1. One slip (two letters swapped, one too many, too
/// few or wrong) is likely in words of three letters or more.
fn likeness(word: &str, candidate: &str) -> f64 {
    let alike = strsim::jaro_winkler(word, candidate);
    let is_slip = word.chars().count().min(candidate.chars().count()) >= 3
        && strsim::damerau_levenshtein(word, candidate) == 1;
    if is_slip { alike.max(0.9) } else { alike }
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
        assert_eq!(did_you_mean("cvs", ["csv", "sqlite"]), Some("csv"));
        assert_eq!(did_you_mean("elephant", ["delimiter", "path"]), None);
    }

    #[test]
    fn lists_a_dozen_words_at_most() {
        assert_eq!(list(["a", "b"]), "`a`, `b`");
        assert!(list(["x"; 13]).ends_with(", …"));
    }
}
