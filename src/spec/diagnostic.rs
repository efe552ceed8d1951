//! What is wrong with a pipeline file, where, and what to do about it.

use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::json;

use super::{Mark, did_you_mean, list};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot run.
    Error,
    /// The file runs, but probably not as meant.
    Warning,
}

/// The kinds of mistakes; the printed code never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Code {
    /// Not YAML.
    Syntax = 1,
    /// A key that the language does not have.
    UnknownKey = 2,
    /// A value of another type than the key takes, or a missing key.
    WrongType = 3,
    /// No kind, two kinds, or an unknown one.
    Kind = 4,
    /// `from` names no node and no port.
    UnknownInput = 5,
    /// Nodes that feed each other in a circle.
    Cycle = 6,
    /// An id used twice, reserved, or not usable as a SQL name.
    Id = 7,
    /// A word that a later version will understand.
    Reserved = 8,
    /// A variable, environment variable or secret that is not there.
    UnknownVariable = 9,
    /// A value outside of what the key takes.
    BadValue = 10,
    /// SQL that does not parse.
    SqlSyntax = 11,
    /// A column that the input does not have.
    UnknownColumn = 12,
    /// A table that is no node of this file.
    UnknownTable = 13,
    /// A function that the engine does not have.
    UnknownFunction = 14,
    /// SQL that parses and cannot be planned.
    SqlPlan = 15,
    /// `write`, `key`, `newer_by` or `missing` that the sink cannot do.
    Write = 16,
    /// A file that cannot be read, or does not hold what it should.
    File = 17,
    /// A node that nothing uses.
    Unused = 18,
}

impl Code {
    /// Returns the printed form, `P012`.
    pub fn id(self) -> String {
        format!("P{:03}", self as u16)
    }
}

/// Returns what a printed code means: its section of `docs/errors.md`.
pub fn explanation(code: &str) -> Option<&'static str> {
    const PAGE: &str = include_str!("../../docs/errors.md");
    let mut sections = PAGE.split("\n## ").skip(1);
    let code = code.to_ascii_uppercase();
    sections.find(|section| section.split(' ').next() == Some(&code)).map(str::trim_end)
}

/// One mistake.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Which kind of mistake.
    pub code: Code,
    /// What is wrong, in one lowercase sentence.
    pub message: String,
    /// Where.
    pub at: Mark,
    /// Words under the place: the likely fix.
    pub label: Option<String>,
    /// A sentence after the snippet: how to fix it.
    pub help: Option<String>,
    /// The file in which it stands when that is not the pipeline's own.
    pub origin: Option<Arc<Origin>>,
}

/// A file that a pipeline file uses.
#[derive(Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its name, as the user wrote it.
    pub name: String,
    /// Its text.
    pub text: Arc<str>,
}

impl Diagnostic {
    /// Says that the file cannot run.
    pub fn error(code: Code, message: impl Into<String>, at: Mark) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: one_line(&message.into()),
            at,
            label: None,
            help: None,
            origin: None,
        }
    }

    /// Says that the file probably does not do what was meant.
    pub fn warning(code: Code, message: impl Into<String>, at: Mark) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message, at) }
    }

    /// Says that mistakes stand in another file than the pipeline's own, unless that is known
    /// better.
    pub fn place_in(faults: &mut [Self], origin: &Arc<Origin>) {
        for fault in faults {
            fault.origin.get_or_insert_with(|| Arc::clone(origin));
        }
    }

    /// Says whether it is the same mistake at the same place; the advice may differ.
    pub fn is_same(&self, other: &Self) -> bool {
        let place = |d: &Self| (d.code, d.at);
        place(self) == place(other) && self.message == other.message && self.origin == other.origin
    }

    /// Adds advice on an unknown word: the nearest known one under the place, or what is known, as
    /// "`what` are …".
    #[must_use]
    pub fn suggest<'a>(
        self,
        word: &str,
        what: &str,
        known: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Self {
        match did_you_mean(word, known.clone()) {
            Some(near) => self.label(format!("did you mean `{near}`?")),
            None if known.clone().into_iter().next().is_none() => self,
            None => self.help(format!("{what} are {}", list(known))),
        }
    }

    /// Adds words under the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds a sentence on how to fix it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Keeps a message on one line: what it quotes from a file may hold line ends, control characters
/// that a terminal would obey, or a megabyte.
fn one_line(message: &str) -> String {
    const MOST: usize = 400;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = message.chars().map(plain).take(MOST).collect();
    if line.len() < message.len() && message.chars().nth(MOST).is_some() {
        line.push('…');
    }
    line
}

/// How diagnostics are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As rustc does, with colours.
    Colour,
    /// As rustc does.
    Plain,
    /// An array of objects `{severity, code, message, file, line, column, label, help, docs}`.
    Json,
}

/// As many diagnostics as a person reads before mending the first; JSON has all of them.
const MOST_SHOWN: usize = 50;

/// Writes the diagnostics of one file, in the order of their places, and a closing count.
pub fn render(diagnostics: &[Diagnostic], file: &str, text: &str, format: Format) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|d| (d.origin.as_ref().map(|o| &o.name), d.at, d.code));
    if format == Format::Json {
        let objects: Vec<_> =
            sorted.iter().map(|d| to_json(d, place_of(d, file, text).0)).collect();
        return format!("{}\n", serde_json::Value::from(objects));
    }
    let renderer = match format {
        Format::Colour => Renderer::styled(),
        _ => Renderer::plain(),
    };
    let mut out = String::new();
    for diagnostic in sorted.iter().take(MOST_SHOWN) {
        let (file, text) = place_of(diagnostic, file, text);
        out.push_str(&renderer.render(&[group(diagnostic, file, text)]));
        out.push_str("\n\n");
    }
    if sorted.len() > MOST_SHOWN {
        out.push_str(&format!("the first {MOST_SHOWN} are shown; "));
    }
    out.push_str(&count(diagnostics, file));
    out
}

/// Returns name and text of the file in which a mistake stands.
fn place_of<'a>(diagnostic: &'a Diagnostic, file: &'a str, text: &'a str) -> (&'a str, &'a str) {
    diagnostic.origin.as_ref().map_or((file, text), |origin| (&origin.name, &origin.text))
}

fn group<'a>(diagnostic: &'a Diagnostic, file: &'a str, text: &'a str) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(&diagnostic.message).id(diagnostic.code.id());
    let (line_number, line, range) = line_of(diagnostic.at, text);
    let mut annotation = AnnotationKind::Primary.span(range);
    if let Some(label) = &diagnostic.label {
        annotation = annotation.label(label);
    }
    let snippet = Snippet::source(line).line_start(line_number).path(file).annotation(annotation);
    let group = Group::with_title(title).element(snippet);
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(help)),
        None => group,
    }
}

/// Returns the line in which a mark stands, with its number, and the bytes of it that are meant; a
/// mark beyond the text becomes its end. Only the line is shown: a text may have a hundred
/// thousand.
fn line_of(at: Mark, text: &str) -> (usize, &str, std::ops::Range<usize>) {
    let mut lines = text.split('\n').enumerate().map(|(n, line)| (n + 1, line));
    let last = || text.split('\n').enumerate().last().map(|(n, line)| (n + 1, line));
    let found = lines.nth(at.line.saturating_sub(1)).or_else(last);
    let (number, line) = found.unwrap_or((1, ""));
    let line = line.trim_end_matches('\r');
    let byte_of =
        |column: usize| line.char_indices().nth(column).map_or(line.len(), |(offset, _)| offset);
    let is_there = number == at.line.max(1);
    let column = if is_there { at.column.saturating_sub(1) } else { usize::MAX };
    let from = byte_of(column);
    let to = byte_of(column.saturating_add(at.len.max(1)));
    (number, line, from..to.max(from))
}

fn to_json(diagnostic: &Diagnostic, file: &str) -> serde_json::Value {
    json!({
        "severity": match diagnostic.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "code": diagnostic.code.id(),
        "message": diagnostic.message,
        "file": file,
        "line": diagnostic.at.line,
        "column": diagnostic.at.column,
        "label": diagnostic.label,
        "help": diagnostic.help,
        "docs": format!("pipeline explain-error {}", diagnostic.code.id()),
    })
}

fn count(diagnostics: &[Diagnostic], file: &str) -> String {
    let n_errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    let n_warnings = diagnostics.len() - n_errors;
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match (n_errors, n_warnings) {
        (0, 0) => String::new(),
        (0, w) => format!("{} in {file}\n", plural(w, "warning")),
        (e, 0) => format!("{} in {file}\n", plural(e, "error")),
        (e, w) => format!("{}, {} in {file}\n", plural(e, "error"), plural(w, "warning")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a: 1\nfilter: comany = 'ü' and x\n";

    #[test]
    fn points_at_the_place_and_says_the_fix() {
        let fault = Diagnostic::error(
            Code::UnknownColumn,
            "no column `comany`",
            Mark { line: 2, column: 9, len: 6 },
        )
        .label("did you mean `company`?");
        insta::assert_snapshot!(render(&[fault], "x.yaml", TEXT, Format::Plain), @r"
        error[P012]: no column `comany`
         --> x.yaml:2:9
          |
        2 | filter: comany = 'ü' and x
          |         ^^^^^^ did you mean `company`?

        1 error in x.yaml
        ");
    }

    #[test]
    fn keeps_a_message_on_one_line() {
        assert_eq!(one_line("a\nb\u{1b}[31m é"), "a b [31m é");
        assert_eq!(one_line(&"é".repeat(500)).chars().count(), 401);
    }

    #[test]
    fn survives_marks_outside_the_text() {
        for (line, column) in [(0, 0), (2, 99), (99, 1), (3, 5)] {
            let fault = Diagnostic::warning(Code::Unused, "x", Mark { line, column, len: 3 });
            assert!(render(&[fault], "x.yaml", TEXT, Format::Plain).contains("1 warning"));
        }
    }
}
