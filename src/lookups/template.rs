//! An address with places for values: `https://api.example.org/things/{company_number}`.

use http::Uri;

use super::address::{percent, server};
use crate::context::BuildContext;
use crate::spec::{Code, Diagnostic, Located, Mark};

/// The longest value that can stand in an address, in bytes.
const VALUE: usize = 1024;

/// An address with places for values.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    text: String,
    /// A text, and the value that follows it.
    pieces: Vec<(String, usize)>,
    end: String,
    server: String,
}

impl Template {
    /// Reads one; notes mistakes in the context.
    pub(crate) fn parse(
        text: &str,
        at: Mark,
        names: &[Located<String>],
        context: &mut BuildContext<'_>,
    ) -> Option<Self> {
        let n_found = context.found.len();
        let fault = |message: String| Diagnostic::error(Code::BadValue, message, at);
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                context.found.push(fault("`{` is never closed; write `{name}`".to_owned()));
                return None;
            };
            match names.iter().position(|known| known.value == name) {
                Some(index) => pieces.push((before.to_owned(), index)),
                None => {
                    let known = names.iter().map(|known| known.value.as_str());
                    let fault = fault(format!("no column `{name}` in `by`"));
                    context.found.push(fault.suggest(name, "columns of `by`", known));
                }
            }
            rest = after;
        }
        for (index, name) in names.iter().enumerate() {
            let is_used = pieces.iter().any(|(_, used)| *used == index);
            if !is_used && context.found.len() == n_found {
                let message = format!("`url` does not hold `{{{}}}`", name.value);
                context.found.push(Diagnostic::error(Code::BadValue, message, name.at));
            }
        }
        let mut template =
            Self { text: text.to_owned(), pieces, end: rest.to_owned(), server: String::new() };
        match template.check(names.len()) {
            Ok(server) => template.server = server,
            Err(reason) => context.found.push(fault(reason)),
        }
        (context.found.len() == n_found).then_some(template)
    }

    /// Returns the server; no value can change which it is.
    fn check(&self, n_names: usize) -> Result<String, String> {
        if self.text.contains('#') {
            return Err("an address of an API has no `#`".to_owned());
        }
        let first = self.pieces.first().map_or(self.end.as_str(), |(text, _)| text);
        let is_after_host = first.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
        if !self.pieces.is_empty() && !is_after_host {
            return Err("a value cannot stand in the name of the server".to_owned());
        }
        let filled = self.fill(&vec!["x".to_owned(); n_names]);
        let uri: Uri = filled.parse().map_err(|error| format!("this is no address: {error}"))?;
        server(&uri)
    }

    /// Returns it as written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the server: scheme, host and port.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Says why values cannot stand in it.
    pub(crate) fn check_values(&self, values: &[String]) -> Result<(), String> {
        if values.iter().any(String::is_empty) {
            return Err("a value is empty".to_owned());
        }
        if values.iter().any(|value| value.len() > VALUE) {
            return Err(format!("a value is longer than {VALUE} bytes"));
        }
        let filled = self.fill(values);
        let path = filled.split('?').next().unwrap_or_default();
        // Clients take these for other folders, however they are written.
        if path.split('/').any(|part| part == "." || part == "..") {
            return Err("`.` and `..` are no values in an address".to_owned());
        }
        filled.parse::<Uri>().map(drop).map_err(|_| "the address would be too long".to_owned())
    }

    /// Puts values into it.
    pub(crate) fn fill(&self, values: &[String]) -> String {
        let mut filled = String::new();
        for (text, index) in &self.pieces {
            filled.push_str(text);
            filled.push_str(&percent(values.get(*index).map_or("", String::as_str)));
        }
        filled.push_str(&self.end);
        filled
    }
}
