//! `sqlite`: a table of a SQLite database, as a pipeline's sink has written it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatchOptions;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::contract::{CheckedColumn, Contract};
use super::layout::not_there;
use super::refused::{Refused, rejected};
use super::{Batch, BatchStream, BuildSource, Given, Source, looked_into, on_thread};
use crate::context::{BuildContext, Files, Position, ReadContext};
use crate::error::{Error, Result};
use crate::publish::quote;
use crate::spec::{ChangedSince, Code, Diagnostic, Located, Period, Scope, Text, did_you_mean};
use crate::state::State;
use crate::table::{Column, ColumnType, RowBuilder};

/// Rows that are read together.
const BATCH: usize = 8192;

/// Reads a table of a SQLite database. Columns declared as INTEGER are whole numbers, REAL are
/// numbers, everything else is text; `contract.columns` says otherwise. An empty text is null. A
/// row with a value of another type goes to `.rejected`.
///
/// With `changed_since` a run reads the rows whose column is greater than the greatest value that
/// the last run saw, and those without a value. With a `lag` it begins so much earlier, and rows
/// come twice: for columns whose values are not in the order in which rows are written. Moments
/// must be written alike and in UTC, as our sinks do. A table that a sink of ours writes with
/// `changed_at` has such a column.
///
/// ```yaml
/// sources:
///   known:
///     sqlite: { path: ./leads.db, table: leads }
///     contract: { columns: { incorporation_date: { type: date } } }
///     changed_since: { column: updated_at, lag: 5m }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sqlite {
    /// The database.
    pub path: Text,
    /// The table or view.
    pub table: Located<String>,
    /// Whether the table, or the database, may not be there yet: then it has no rows, and the columns
    /// of the contract.
    #[serde(default)]
    pub may_be_absent: bool,
}

#[async_trait]
impl BuildSource for Sqlite {
    fn keeps_position(&self) -> bool {
        true
    }

    fn looks_into(&self, scope: &Scope) -> Vec<PathBuf> {
        looked_into(&self.path, scope)
    }

    fn build(
        &self,
        contract: &Contract,
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Source>> {
        if context.files == Files::AreNotRead {
            return None;
        }
        let path = context.path(&self.path)?;
        if self.may_be_absent && !is_there(&path, &self.table) {
            let nothing = Given::nothing(contract).ok()?;
            return Some(Arc::new(nothing));
        }
        if !path.is_file() {
            let message = format!("`{}` does not exist", path.display());
            context.found.push(not_there(message, &self.path, context));
            return None;
        }
        match columns(&path, &self.table) {
            Ok(Some(columns)) => {
                let columns = contract.apply(columns, context);
                let mut table = Table::new(&path, &self.table, columns);
                table.since = context.changed_since.cloned();
                Some(Arc::new(table))
            }
            Ok(None) => {
                context.found.push(self.no_table(&path));
                None
            }
            Err(error) => {
                let fault = Diagnostic::error(Code::File, error.to_string(), self.path.at());
                context.found.push(fault);
                None
            }
        }
    }
}

impl Sqlite {
    fn no_table(&self, path: &Path) -> Diagnostic {
        let message = format!("`{}` has no table `{}`", path.display(), self.table.value);
        let fault = Diagnostic::error(Code::UnknownTable, message, self.table.at);
        let names = tables(path).unwrap_or_default();
        match did_you_mean(&self.table, names.iter().map(String::as_str)) {
            Some(near) => fault.label(format!("did you mean `{near}`?")),
            None => fault,
        }
    }
}

fn is_there(path: &Path, table: &str) -> bool {
    path.is_file() && !matches!(columns(path, table), Ok(None))
}

fn tables(path: &Path) -> Result<Vec<String>> {
    let connection = State::read_only(path)?;
    let mut statement =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

/// Looks up the columns of a table; `None` when there is no such table.
fn columns(path: &Path, table: &str) -> Result<Option<Vec<Column>>> {
    let connection = State::read_only(path)?;
    let mut statement = connection.prepare("SELECT name, type FROM pragma_table_info(?1)")?;
    let rows = statement
        .query_map([table], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut columns = Vec::new();
    for row in rows {
        let (name, declared) = row?;
        let mut column = Column::text(name.clone(), &name);
        column.kind = match declared.to_ascii_uppercase().as_str() {
            "INTEGER" | "INT" | "BIGINT" => ColumnType::Int,
            "REAL" | "FLOAT" | "DOUBLE" => ColumnType::Float,
            _ => ColumnType::String,
        };
        columns.push(column);
    }
    Ok((!columns.is_empty()).then_some(columns))
}

/// A table that can be read.
#[derive(Clone, Debug)]
pub struct Table {
    path: PathBuf,
    table: String,
    columns: Vec<CheckedColumn>,
    schema: SchemaRef,
    since: Option<ChangedSince>,
}

impl Table {
    /// Looks up a table with the types that it declares; `None` when there is no such table.
    pub fn open(path: &Path, table: &str) -> Result<Option<Self>> {
        let columns = columns(path, table)?;
        let unbound = |columns: Vec<Column>| columns.into_iter().map(|c| (c, None)).collect();
        Ok(columns.map(|columns| Self::new(path, table, unbound(columns))))
    }

    fn new(path: &Path, table: &str, columns: Vec<CheckedColumn>) -> Self {
        let fields: Vec<_> = columns.iter().map(|(column, _)| column.field()).collect();
        let schema = Arc::new(Schema::new(fields));
        Self { path: path.to_owned(), table: table.to_owned(), columns, schema, since: None }
    }

    fn select(&self, context: &ReadContext, sender: &mpsc::Sender<Result<Batch>>) -> Result<()> {
        let connection: Connection = State::read_only(&self.path)?;
        // One state of the table for the rows and for how far they go.
        connection.execute_batch("BEGIN")?;
        let names: Vec<String> = self.columns.iter().map(|(c, _)| quote(&c.name)).collect();
        let limit = context.limit.map(|n| format!(" LIMIT {n}")).unwrap_or_default();
        let from =
            self.since.as_ref().and_then(|since| Some((since, context.position.from.get()?)));
        let (changed, start) = match from.map(|(since, from)| changed(since, from)) {
            Some((condition, start)) => (format!(" WHERE {condition}"), Some(start)),
            None => (String::new(), None),
        };
        let sql =
            format!("SELECT {} FROM {}{changed}{limit}", names.join(", "), quote(&self.table));
        let mut statement = connection.prepare(&sql)?;
        if let Some(start) = start {
            statement.raw_bind_parameter(1, start)?;
        }
        let mut rows = statement.raw_query();
        let mut rows_out = Rows::new(self, &context.projection)?;
        while let Some(row) = rows.next()? {
            rows_out.push(row)?;
            if rows_out.n_read.is_multiple_of(BATCH as u64)
                && sender.blocking_send(rows_out.finish()).is_err()
            {
                return Ok(());
            }
        }
        if sender.blocking_send(rows_out.finish()).is_ok() && context.limit.is_none() {
            self.reach(&connection, &context.position)?;
        }
        Ok(())
    }

    /// Notes how far the table went when it was read.
    fn reach(&self, connection: &Connection, position: &Position) -> Result<()> {
        let Some(since) = &self.since else { return Ok(()) };
        let sql = format!(
            "SELECT CAST(max({}) AS TEXT) FROM {}",
            quote(&since.column),
            quote(&self.table)
        );
        let newest: Option<String> = connection.query_row(&sql, [], |row| row.get(0))?;
        if let Some(newest) = newest {
            // Another reading of the same run came as far.
            let _ = position.reached.set(newest);
        }
        Ok(())
    }
}

/// Returns the condition of the rows that changed since a position, and its one parameter.
/// Without a lag they are what is greater; with one, texts are compared from the second of the
/// moment, or the day, at which to begin.
fn changed(since: &ChangedSince, position: &str) -> (String, String) {
    let column = quote(&since.column);
    let sign = if since.lag.is_some() { ">=" } else { ">" };
    let sql = format!(
        "({column} IS NULL OR CASE typeof({column}) WHEN 'text' THEN {column} {sign} ?1 \
         ELSE {column} {sign} CAST(?1 AS NUMERIC) END)"
    );
    let Some(lag) = since.lag.map(Period::duration) else { return (sql, position.to_owned()) };
    let start = match (position.parse::<Timestamp>(), position.parse::<Date>()) {
        (Ok(moment), _) => {
            let start = moment.checked_sub(lag).unwrap_or(moment);
            start.strftime("%Y-%m-%dT%H:%M:%S").to_string()
        }
        (_, Ok(day)) => {
            let midnight = day.at(0, 0, 0, 0);
            midnight.checked_sub(lag).unwrap_or(midnight).date().to_string()
        }
        _ => position.to_owned(),
    };
    (sql, start)
}

impl Source for Table {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn read(&self, context: ReadContext) -> BatchStream {
        let table = self.clone();
        on_thread(move |sender| table.select(&context, sender))
    }

    fn size(&self) -> Option<u64> {
        None
    }

    fn fingerprint(&self) -> String {
        // The pipeline itself may write this database: a change in it says nothing.
        format!("{} {}", self.path.display(), self.table)
    }

    fn describe(&self) -> String {
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{} of {file}", self.table)
    }
}

/// Collects the rows of one batch after the other.
struct Rows<'a> {
    table: &'a Table,
    schema: SchemaRef,
    builder: RowBuilder,
    refused: Vec<Refused>,
    n_rows: usize,
    n_read: u64,
}

impl<'a> Rows<'a> {
    fn new(table: &'a Table, projection: &[usize]) -> Result<Self> {
        let schema = table
            .schema
            .project(projection)
            .map_err(|e| Error::internal("a projection").because(e))?;
        let builder = RowBuilder::new(&table.columns, projection)
            .ok_or_else(|| Error::internal("an unchecked date format"))?;
        let schema = Arc::new(schema);
        Ok(Self { table, schema, builder, refused: Vec::new(), n_rows: 0, n_read: 0 })
    }

    /// Adds a row. SQLite lets any value stand in any column: a row with one of another type is
    /// refused, never a silent null.
    fn push(&mut self, row: &Row<'_>) -> Result<()> {
        self.n_read += 1;
        let mut fields: Vec<Cow<'_, str>> = Vec::with_capacity(self.table.columns.len());
        let mut blob = None;
        for (index, (column, _)) in self.table.columns.iter().enumerate() {
            fields.push(match row.get_ref(index)? {
                ValueRef::Null => Cow::Borrowed(""),
                // Our sinks write `true` as 1.
                ValueRef::Integer(n @ 0..=1) if column.kind == ColumnType::Bool => {
                    Cow::Borrowed(if n == 1 { "true" } else { "false" })
                }
                ValueRef::Integer(n) => Cow::Owned(n.to_string()),
                ValueRef::Real(n) => Cow::Owned(n.to_string()),
                ValueRef::Text(text) if let Ok(text) = std::str::from_utf8(text) => {
                    Cow::Borrowed(text)
                }
                ValueRef::Text(_) | ValueRef::Blob(_) => {
                    blob = Some(&column.name);
                    Cow::Borrowed("?")
                }
            });
        }
        let fault = match blob {
            Some(name) => Some(format!("{name}: not text")),
            None => self.builder.add(|index| &fields[index]).map(|fault| fault.to_string()),
        };
        match fault {
            None => self.n_rows += 1,
            Some(reason) => {
                let names = self.table.columns.iter().map(|(column, _)| column.name.clone());
                let texts = fields.iter().map(|field| field.as_ref().into());
                let raw = serde_json::Value::Object(names.zip(texts).collect()).to_string();
                self.refused.push(Refused { line: self.n_read, reason, raw });
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Batch> {
        let n_rows = std::mem::take(&mut self.n_rows);
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        let schema = Arc::clone(&self.schema);
        let rows = self
            .builder
            .finish()
            .and_then(|columns| RecordBatch::try_new_with_options(schema, columns, &options))
            .map_err(|e| Error::internal("rows do not fit their schema").because(e))?;
        let name = format!("{}, table {}", self.table.path.display(), self.table.table);
        let rejected = rejected(&name, &std::mem::take(&mut self.refused))?;
        Ok(Batch { rejected, ..Batch::new(rows) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_moves_back_by_the_lag() {
        let at = |lag: Option<&str>, position: &str| {
            let lag = lag.and_then(|lag| Period::parse(lag).ok());
            let column = Located::new("c".to_owned(), crate::spec::Mark::default());
            changed(&ChangedSince { column, lag }, position).1
        };
        assert_eq!(at(Some("5m"), "2026-11-02T08:00:00.25Z"), "2026-11-02T07:55:00");
        assert_eq!(at(None, "2026-11-02T08:00:00Z"), "2026-11-02T08:00:00Z");
        assert_eq!(at(Some("1d"), "2026-11-02"), "2026-11-01");
        assert_eq!(at(Some("1d"), "17"), "17");
    }
}
