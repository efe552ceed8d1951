//! Text with references: `${out}/leads`, `${env:HOME}`, `${secret:CH_API_KEY}`.
//!
//! References are filled in after the YAML is parsed and only in fields of these types, so a
//! value can never turn into YAML or SQL. A secret can only be used where the field is a
//! [`Secret`]; in a plain [`Text`] it would end up in plans and reports.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Code, Diagnostic, Located, Mark, Value, did_you_mean};

/// Everything that a reference can name. A missing value is one that is only given at run time.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Values of the declared variables; `None` when `--var` has to give one and did not.
    pub vars: BTreeMap<String, Option<Value>>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// Folder of the pipeline file: relative paths in it start here.
    pub folder: PathBuf,
    /// The folders below which a pipeline may write, its project first.
    pub writable: Vec<PathBuf>,
    /// Whether it may write anywhere.
    pub may_write_anywhere: bool,
}

/// Text that may hold references to variables and the environment.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Text(Located<String>);

/// Text that may hold references to secrets too; shows itself as `***`.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(Located<String>);

impl Text {
    /// Makes a text that stands at a place.
    pub fn new(text: impl Into<String>, at: Mark) -> Self {
        Self(Located::new(text.into(), at))
    }

    /// Returns where it stands.
    pub fn at(&self) -> Mark {
        self.0.at
    }

    /// Returns it as written, references unresolved.
    pub fn raw(&self) -> &str {
        &self.0.value
    }

    /// Fills in the references. `Ok(None)` when a variable has no value yet.
    pub fn resolve(&self, scope: &Scope) -> Result<Option<String>, Diagnostic> {
        fill(&self.0, scope, false)
    }

    /// Fills in the references and makes the path absolute. `Ok(None)` as in [`Text::resolve`].
    pub fn resolve_path(&self, scope: &Scope) -> Result<Option<PathBuf>, Diagnostic> {
        let Some(text) = self.resolve(scope)? else { return Ok(None) };
        if text.is_empty() {
            return Err(Diagnostic::error(Code::BadValue, "the path is empty", self.at()));
        }
        if text == "~" || text.starts_with("~/") {
            let fault =
                Diagnostic::error(Code::BadValue, "`~` stands for no folder here", self.at());
            return Err(fault.help("write the folder out, or `${env:HOME}/…`"));
        }
        Ok(Some(tidy(&scope.folder.join(text))))
    }
}

impl Secret {
    /// Returns where it stands.
    pub fn at(&self) -> Mark {
        self.0.at
    }

    /// Fills in the references. The result is for the wire only: never log or store it.
    pub fn reveal(&self, scope: &Scope) -> Result<Option<String>, Diagnostic> {
        fill(&self.0, scope, true)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Drops `.` and resolves `..` by name, without touching the file system.
pub fn tidy(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut tidied = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if tidied.file_name().is_some_and(|name| name != "..") => {
                tidied.pop();
            }
            other => tidied.push(other),
        }
    }
    tidied
}

/// The longest text that references may make, in bytes.
const MOST: usize = 64 << 10;

fn fill(
    text: &Located<String>,
    scope: &Scope,
    secrets: bool,
) -> Result<Option<String>, Diagnostic> {
    let mut filled = String::new();
    let mut rest = text.value.as_str();
    while let Some(start) = rest.find("${") {
        let before = &rest[..start];
        let Some(len) = rest[start..].find('}') else {
            let message = "`${` is never closed; write `${name}`";
            return Err(Diagnostic::error(Code::BadValue, message, text.at));
        };
        let name = rest[start + 2..start + len].trim();
        rest = &rest[start + len + 1..];
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str(&format!("${{{name}}}"));
            continue;
        }
        filled.push_str(before);
        match look_up(name, scope, secrets, text.at)? {
            Some(value) => filled.push_str(&value),
            None => return Ok(None),
        }
        // Values may hold values: forty doublings would fill any memory.
        if filled.len() > MOST {
            let message = format!("its references fill it with more than {MOST} bytes");
            return Err(Diagnostic::error(Code::BadValue, message, text.at));
        }
    }
    filled.push_str(rest);
    Ok(Some(filled))
}

fn look_up(
    name: &str,
    scope: &Scope,
    secrets: bool,
    at: Mark,
) -> Result<Option<String>, Diagnostic> {
    let not_set = |what: &str, name: &str| {
        let message = format!("{what} `{name}` is not set");
        Diagnostic::error(Code::UnknownVariable, message, at)
            .help(format!("set the environment variable `{name}`"))
    };
    match name.split_once(':') {
        Some(("env", name)) => {
            scope.env.get(name).cloned().map(Some).ok_or_else(|| not_set("variable", name))
        }
        Some(("secret", _)) if !secrets => {
            let message = "a secret cannot be used here: it would show in plans and reports";
            Err(Diagnostic::error(Code::BadValue, message, at))
        }
        Some(("secret", name)) => {
            scope.env.get(name).cloned().map(Some).ok_or_else(|| not_set("secret", name))
        }
        Some((kind, _)) => {
            let message = format!("unknown reference `${{{kind}:…}}`");
            Err(Diagnostic::error(Code::UnknownVariable, message, at)
                .help("references are `${name}`, `${env:NAME}` and `${secret:NAME}`"))
        }
        None => match scope.vars.get(name) {
            Some(value) => Ok(value.as_ref().map(Value::to_string)),
            None => Err(unknown_variable(name, scope, at)),
        },
    }
}

fn unknown_variable(name: &str, scope: &Scope, at: Mark) -> Diagnostic {
    let fault =
        Diagnostic::error(Code::UnknownVariable, format!("no variable `{name}` in `vars`"), at);
    match did_you_mean(name, scope.vars.keys().map(String::as_str)) {
        Some(known) => fault.label(format!("did you mean `{known}`?")),
        None => fault.help(format!("declare it: `vars: {{ {name}: {{ type: string }} }}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope {
            vars: BTreeMap::from([
                ("out".into(), Some(Value::String("./o${secret:KEY}".into()))),
                ("later".into(), None),
            ]),
            env: BTreeMap::from([("KEY".into(), "s3cret".into())]),
            folder: PathBuf::from("/work/pipelines"),
            ..Scope::default()
        }
    }

    fn text(raw: &str) -> Text {
        Text::new(raw, Mark::default())
    }

    #[test]
    fn fills_references_once_and_never_again() {
        let filled = text("${out}/x $${out}").resolve(&scope());
        assert_eq!(filled.ok().flatten().as_deref(), Some("./o${secret:KEY}/x ${out}"));
    }

    #[test]
    fn leaves_open_what_is_given_later() {
        assert!(matches!(text("${later}/x").resolve(&scope()), Ok(None)));
    }

    #[test]
    fn refuses_unknown_names_and_secrets_in_plain_text() {
        for raw in ["${uot}", "${secret:KEY}", "${vault:x}", "${env:NOPE}", "${out"] {
            let fault = text(raw).resolve(&scope()).err().map(|fault| fault.message);
            assert!(fault.as_ref().is_some_and(|m| !m.contains("s3cret")), "{raw}: {fault:?}");
        }
    }

    #[test]
    fn reveals_a_secret_only_when_asked() {
        let secret = Secret(Located::new("${secret:KEY}".into(), Mark::default()));
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(secret.reveal(&scope()).ok().flatten().as_deref(), Some("s3cret"));
    }

    #[test]
    fn makes_paths_absolute_from_the_folder_of_the_file() {
        let path = |raw: &str| text(raw).resolve_path(&scope()).ok().flatten();
        assert_eq!(path("./a/../b"), Some("/work/pipelines/b".into()));
        assert_eq!(path("../x"), Some("/work/x".into()));
        assert_eq!(path("/abs"), Some("/abs".into()));
        assert_eq!(path(""), None);
    }
}
