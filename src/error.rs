//! The one error of the engine: what went wrong, whose turn it is, and in which node.

use std::error::Error as StdError;
use std::fmt;

use datafusion::common::DataFusionError;

/// The result of anything that can fail while a pipeline runs.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose turn it is to act; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The user's file or flags are wrong (exit 2).
    User,
    /// The run failed: a limit was exceeded, a row could not be written (exit 1).
    Run,
    /// The environment: disk, lock, permissions, network (exit 3).
    External,
    /// The user stopped it (exit 130).
    Interrupted,
    /// The engine broke one of its own rules: a bug (exit 1).
    Internal,
}

/// Why something failed.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    node: Option<String>,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error from a lowercase message without a full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, node: None, message: message.into(), source: None }))
    }

    /// The user's file or flags are wrong.
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(Kind::User, message)
    }

    /// The run failed by one of its own rules.
    pub fn run(message: impl Into<String>) -> Self {
        Self::new(Kind::Run, message)
    }

    /// The environment failed.
    pub fn external(message: impl Into<String>) -> Self {
        Self::new(Kind::External, message)
    }

    /// The engine is wrong.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// The file system refused something at `path`.
    pub fn io(path: &std::path::Path, error: std::io::Error) -> Self {
        Self::external(format!("`{}`", path.display())).because(error)
    }

    /// Keeps the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Names the node in which it happened, unless one is named already.
    #[must_use]
    pub fn in_node(mut self, node: &str) -> Self {
        self.0.node.get_or_insert_with(|| node.to_owned());
        self
    }

    /// Returns whose turn it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(node) = &self.0.node {
            write!(f, "{node}: ")?;
        }
        f.write_str(&self.0.message)?;
        let mut source = self.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<DataFusionError> for Error {
    /// Digs out the error of ours that travelled through a plan; wraps anything else.
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(other) => Self::run("the plan failed").because(other),
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                (*inner).into()
            }
            DataFusionError::Shared(shared) => match std::sync::Arc::try_unwrap(shared) {
                Ok(inner) => inner.into(),
                Err(shared) => from_shared(&shared),
            },
            DataFusionError::ResourcesExhausted(message) => {
                Self::external("the run needs more memory than it may use").because(message)
            }
            other => Self::run(other.strip_backtrace()),
        }
    }
}

/// Several consumers hold the same failure: its kind and text are all that can be taken along.
fn from_shared(error: &DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(ours) => Error::new(ours.kind(), ours.to_string()),
            None => Error::run(inner.to_string()),
        },
        other => Error::run(other.strip_backtrace()),
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::external("sqlite").because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_whole_from_a_plan() {
        let there = DataFusionError::from(Error::user("no such file").in_node("register"));
        let back = Error::from(there.context("while planning"));
        assert_eq!(back.kind(), Kind::User);
        assert_eq!(back.to_string(), "register: no such file");
    }

    #[test]
    fn keeps_its_kind_when_it_is_shared() {
        let shared = std::sync::Arc::new(DataFusionError::from(Error::external("disk full")));
        let other = std::sync::Arc::clone(&shared);
        assert_eq!(Error::from(DataFusionError::Shared(other)).kind(), Kind::External);
    }

    #[test]
    fn tells_the_whole_chain_of_causes() {
        let cause = std::io::Error::other("no space left");
        let error = Error::io(std::path::Path::new("/x"), cause);
        assert_eq!(error.to_string(), "`/x`: no space left");
    }
}
