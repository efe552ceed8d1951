//! Where rows go. A sink is one file: its settings, their documentation, and how it stages.
//!
//! A sink never makes anything visible: the engine publishes what it staged, after the commit.
//! To add one: a file here, a line in [`SinkKind`], a line in the changelog.

mod compact;
mod csv;
mod duckdb;
mod encode;
mod parquet;
mod sqlite;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::context::{BuildContext, RowStream, StageContext};
use crate::error::{Error, Result};
use crate::publish::{Missing, Staged, TableWrite, hex};
use crate::spec::{Code, Diagnostic, Located, Period, kinds};

pub use csv::{Csv, as_it_came};
pub use duckdb::Duckdb;
pub use parquet::Parquet;
pub use sqlite::Sqlite;

kinds! {
    /// A kind of sink with its settings.
    pub enum SinkKind ("sink" as dyn BuildSink) {
        /// Parquet files in a folder.
        "parquet" => Parquet,
        /// A file of comma-separated values.
        "csv" => Csv,
        /// A table of a SQLite database.
        "sqlite" => Sqlite,
        /// A table of a DuckDB database.
        "duckdb" => Duckdb,
    }
    reserved: ["gohighlevel", "slack", "email", "webhook"]
}

/// What a sink does with its rows: the keys that stand beside its kind.
#[derive(Clone, Debug)]
pub struct Disposition {
    /// `write`.
    pub write: Located<Write>,
    /// `key`: the columns that tell rows apart.
    pub key: Vec<Located<String>>,
    /// `newer_by`: the column whose greater value is the newer row.
    pub newer_by: Option<Located<String>>,
    /// `within`: the columns of the key in whose groups rows may be missing.
    pub within: Vec<Located<String>>,
    /// `missing`: what happens to rows that arrive no more.
    pub missing: Option<Located<Missing>>,
    /// `compact`: how old small files may be before they are put together.
    pub compact: Option<Located<Period>>,
}

/// The values of `write`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Write {
    /// Rows join those that are there.
    Append,
    /// Rows take the place of all that are there.
    Replace,
    /// Rows take the place of those with the same key.
    Upsert,
    /// Rows end those with the same key that differ; every state of a row is kept.
    History,
    /// The rows with the same keys are marked gone.
    MarkGone,
}

impl Write {
    /// Returns the word in YAML.
    pub fn word(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Replace => "replace",
            Self::Upsert => "upsert",
            Self::History => "history",
            Self::MarkGone => "mark_gone",
        }
    }
}

/// Settings that can become a sink.
pub trait BuildSink: fmt::Debug + Send + Sync {
    /// Builds the sink. `None` when it cannot: the mistakes are in the context, or a variable has
    /// no value yet.
    fn build(
        &self,
        disposition: &Disposition,
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Sink>>;

    /// Returns the columns that its settings name; they must be among those that arrive.
    fn columns(&self) -> &[Located<String>] {
        &[]
    }
}

/// Something that takes rows.
#[async_trait]
pub trait Sink: fmt::Debug + Send + Sync {
    /// Returns what it writes; two sinks of a pipeline may not write the same.
    fn target(&self) -> &Target;

    /// Takes all rows and makes them durable where nobody looks. Fails before anything is
    /// committed if it could not be published.
    async fn stage(&self, rows: RowStream, context: Arc<StageContext>) -> Result<Staged>;
}

/// What a sink writes, and `pipeline query` reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Parquet files in a folder, with the columns by which they are divided into folders.
    Parquet {
        /// The folder.
        folder: PathBuf,
        /// The partition columns.
        partition_by: Vec<String>,
    },
    /// A file of comma-separated values.
    Csv {
        /// The file.
        file: PathBuf,
    },
    /// A table.
    Table {
        /// The SQLite database; `None` is the state file.
        database: Option<PathBuf>,
        /// The table.
        table: String,
    },
    /// A table of a DuckDB database.
    Duckdb {
        /// The database.
        database: PathBuf,
        /// The table.
        table: String,
    },
}

impl Target {
    /// Says whether two sinks would write to the same place.
    pub fn is_same(&self, other: &Self, state: &Path) -> bool {
        match (self, other) {
            (Self::Parquet { folder: one, .. }, Self::Parquet { folder: other, .. }) => {
                one.starts_with(other) || other.starts_with(one)
            }
            (
                Self::Table { database: one, table: one_table },
                Self::Table { database: other, table: other_table },
            ) => {
                let database = |path: &Option<PathBuf>| path.clone().unwrap_or(state.to_owned());
                database(one) == database(other) && one_table.eq_ignore_ascii_case(other_table)
            }
            (Self::Parquet { folder, .. }, file) | (file, Self::Parquet { folder, .. }) => {
                // A parquet sink owns its folder; its own hidden folder of what is staged is beside.
                let is_there = matches!(file, Self::Csv { file } if file == folder);
                is_there || file.folder(state).starts_with(folder)
            }
            (one, other) => one == other,
        }
    }

    /// Returns the folder on whose file system the sink stages.
    pub fn folder(&self, state: &Path) -> PathBuf {
        let path = match self {
            Self::Parquet { folder, .. } => folder,
            Self::Csv { file } => file,
            Self::Table { database, .. } => database.as_deref().unwrap_or(state),
            Self::Duckdb { database, .. } => database,
        };
        path.parent().unwrap_or(Path::new("/")).to_owned()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parquet { folder, .. } => write!(f, "{}", folder.display()),
            Self::Csv { file } => write!(f, "{}", file.display()),
            Self::Table { database: Some(path), table } => {
                write!(f, "{}, table {table}", path.display())
            }
            Self::Table { database: None, table } => write!(f, "state file, table {table}"),
            Self::Duckdb { database, table } => {
                write!(f, "{}, table {table}", database.display())
            }
        }
    }
}

impl Disposition {
    /// Notes that a sink cannot do what is asked of it.
    fn refuse(&self, context: &mut BuildContext<'_>, sink: &str, can: &str) {
        let message = format!("a `{sink}` sink cannot `{}`", self.write.value.word());
        let fault = Diagnostic::error(Code::Write, message, self.write.at);
        context.found.push(fault.help(format!("it can {can}")));
    }

    /// Notes the keys that only make sense where rows are told apart.
    fn refuse_keys(&self, context: &mut BuildContext<'_>) {
        let key = self.key.first().map(|key| ("key", key.at));
        let newer_by = self.newer_by.as_ref().map(|column| ("newer_by", column.at));
        let missing = self.missing.as_ref().map(|missing| ("missing", missing.at));
        let within = self.within.first().map(|column| ("within", column.at));
        for (word, at) in [key, newer_by, missing, within].into_iter().flatten() {
            let message = format!("`{word}` only goes with `write: upsert` or `history`");
            context.found.push(Diagnostic::error(Code::Write, message, at));
        }
    }

    /// Returns the names of `within`.
    fn within_names(&self) -> Vec<String> {
        self.within.iter().map(|column| column.value.clone()).collect()
    }

    /// Returns the column that notes changes; notes a sink that does not tell what changed.
    fn changed_at(
        &self,
        column: Option<&Located<String>>,
        context: &mut BuildContext<'_>,
    ) -> Option<String> {
        let column = column?;
        if !matches!(self.write.value, Write::Upsert | Write::MarkGone) {
            let message = "`changed_at` only goes with `write: upsert` or `mark_gone`";
            context.found.push(Diagnostic::error(Code::Write, message, column.at));
        }
        Some(column.value.clone())
    }

    /// Returns what a table does with the rows; notes keys that are missing or too much.
    fn table_write(&self, context: &mut BuildContext<'_>) -> TableWrite {
        let write = match self.write.value {
            Write::Append => TableWrite::Append,
            Write::Replace => TableWrite::Replace,
            Write::Upsert => TableWrite::Upsert,
            Write::History => TableWrite::History,
            Write::MarkGone => TableWrite::MarkGone,
        };
        let word = self.write.value.word();
        match write {
            TableWrite::Append | TableWrite::Replace => self.refuse_keys(context),
            _ if self.key.is_empty() => {
                let message = format!("`write: {word}` needs a `key`");
                let fault = Diagnostic::error(Code::Write, message, self.write.at);
                context.found.push(fault.help("name the columns that tell rows apart"));
            }
            _ => {}
        }
        for column in self.within.iter().filter(|column| !self.key.contains(column)) {
            let message = format!("`{}` is no column of the `key`", column.value);
            context.found.push(Diagnostic::error(Code::Write, message, column.at));
        }
        let is_idle = self.missing.is_none() || write != TableWrite::Upsert;
        if let Some(column) = self.within.first().filter(|_| is_idle) {
            let message = "`within` goes with `write: upsert` and `missing`";
            context.found.push(Diagnostic::error(Code::Write, message, column.at));
        }
        let cannot = match (write, self.missing.as_ref().map(|missing| missing.value)) {
            (TableWrite::MarkGone, Some(_)) => Some("missing"),
            (TableWrite::History, Some(Missing::Delete)) => Some("missing: delete"),
            _ => None,
        };
        if let (Some(words), Some(missing)) = (cannot, &self.missing) {
            let message = format!("`{words}` does not go with `write: {word}`");
            context.found.push(Diagnostic::error(Code::Write, message, missing.at));
        }
        write
    }
}

/// Refuses rows with columns that a table needs itself.
fn refuse_own_columns(
    schema: &SchemaRef,
    write: TableWrite,
    missing: Missing,
    changed_at: Option<&str>,
) -> Result<()> {
    let own: &[&str] = match (write, missing) {
        (TableWrite::History, _) => &["valid_from", "valid_to"],
        (_, Missing::MarkGone) => &["gone_at"],
        _ => &[],
    };
    let mut own = own.iter().copied().chain(changed_at);
    match own.find(|name| schema.column_with_name(name).is_some()) {
        Some(name) => Err(Error::user(format!(
            "the rows have a column `{name}`, which the table needs itself"
        ))),
        None => Ok(()),
    }
}

/// Refuses keys that are null or stand for several rows: a table could keep only one of them, and
/// which one would be chance.
fn refuse_keys_of_rows(names: &[String], n_null: u64, n_twice: u64, first: &str) -> Result<()> {
    let names = names.join(", ");
    if n_null > 0 {
        return Err(Error::run(format!(
            "{n_null} rows have no value in the key ({names}); reject them with `validate`"
        )));
    }
    if n_twice > 0 {
        return Err(Error::run(format!(
            "{n_twice} keys ({names}) arrive more than once with other values, such as `{first}`; put a `deduplicate` before the sink"
        )));
    }
    Ok(())
}

/// Names of the columns of a stream.
fn names(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

/// A file that counts and hashes what is written to it.
struct Hashing {
    file: io::BufWriter<File>,
    sha: Sha256,
    bytes: u64,
}

impl Hashing {
    fn create(path: &Path) -> Result<Self> {
        let file = File::create_new(path).map_err(|e| Error::io(path, e))?;
        let file = io::BufWriter::with_capacity(1 << 20, file);
        Ok(Self { file, sha: Sha256::new(), bytes: 0 })
    }

    /// Makes the file durable; returns its size and hash.
    fn close(self) -> io::Result<(u64, String)> {
        let file = self.file.into_inner()?;
        file.sync_all()?;
        Ok((self.bytes, hex(&self.sha.finalize())))
    }
}

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.sha.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
