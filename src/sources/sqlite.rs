//! `sqlite`: a table of a SQLite database, as a pipeline's sink has written it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Float64Builder, Int64Builder, RecordBatchOptions, StringViewBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::contract::Contract;
use super::layout::not_there;
use super::{Batch, BatchStream, BuildSource, Source, on_thread};
use crate::context::{BuildContext, Files, ReadContext};
use crate::error::{Error, Result};
use crate::publish::quote;
use crate::spec::{Code, Diagnostic, Located, Text, did_you_mean};
use crate::state::State;

/// Rows that are read together.
const BATCH: usize = 8192;

/// Reads a table of a SQLite database. Columns declared as INTEGER are whole numbers, REAL are
/// numbers, everything else is text.
///
/// ```yaml
/// sources:
///   known:
///     sqlite: { path: ./leads.db, table: leads }
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sqlite {
    /// The database.
    pub path: Text,
    /// The table or view.
    pub table: Located<String>,
}

impl BuildSource for Sqlite {
    fn build(
        &self,
        contract: &Contract,
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Source>> {
        if let Some((name, _)) = contract.columns.0.first() {
            let message = "a `sqlite` source has the columns of its table and takes no others";
            context.found.push(Diagnostic::error(Code::Reserved, message, name.at));
        }
        if context.files == Files::AreNotRead {
            return None;
        }
        let path = context.path(&self.path)?;
        if !path.is_file() {
            let message = format!("`{}` does not exist", path.display());
            context.found.push(not_there(message, &self.path, context));
            return None;
        }
        match Table::open(&path, &self.table) {
            Ok(Some(table)) => Some(Arc::new(table)),
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

fn tables(path: &Path) -> Result<Vec<String>> {
    let connection = State::read_only(path)?;
    let mut statement =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

/// A table that can be read.
#[derive(Clone, Debug)]
pub struct Table {
    path: PathBuf,
    table: String,
    schema: SchemaRef,
}

impl Table {
    /// Looks up the columns of a table; `None` when there is no such table.
    pub fn open(path: &Path, table: &str) -> Result<Option<Self>> {
        let connection = State::read_only(path)?;
        let mut statement = connection.prepare("SELECT name, type FROM pragma_table_info(?1)")?;
        let columns = statement
            .query_map([table], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        let mut fields = Vec::new();
        for column in columns {
            let (name, declared) = column?;
            fields.push(Field::new(name, data_type(&declared), true));
        }
        let schema = Arc::new(Schema::new(fields));
        let is_there = !schema.fields().is_empty();
        Ok(is_there.then(|| Self { path: path.to_owned(), table: table.to_owned(), schema }))
    }

    fn select(&self, context: &ReadContext, sender: &mpsc::Sender<Result<Batch>>) -> Result<()> {
        let connection: Connection = State::read_only(&self.path)?;
        let fields: Vec<Field> =
            context.projection.iter().map(|&i| self.schema.field(i).clone()).collect();
        let names: Vec<String> = fields.iter().map(|field| quote(field.name())).collect();
        let names = if names.is_empty() { "1".to_owned() } else { names.join(", ") };
        let limit = context.limit.map(|n| format!(" LIMIT {n}")).unwrap_or_default();
        let sql = format!("SELECT {names} FROM {}{limit}", quote(&self.table));
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        let mut builder = Builder::new(&fields);
        while let Some(row) = rows.next()? {
            builder.push(row)?;
            if builder.n_rows == BATCH && sender.blocking_send(builder.finish()).is_err() {
                return Ok(());
            }
        }
        let _ = sender.blocking_send(builder.finish());
        Ok(())
    }
}

fn data_type(declared: &str) -> DataType {
    match declared.to_ascii_uppercase().as_str() {
        "INTEGER" | "INT" | "BIGINT" => DataType::Int64,
        "REAL" | "FLOAT" | "DOUBLE" => DataType::Float64,
        _ => DataType::Utf8View,
    }
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

/// Collects rows of one batch.
struct Builder {
    schema: SchemaRef,
    columns: Vec<Column>,
    n_rows: usize,
}

enum Column {
    Int(Int64Builder),
    Float(Float64Builder),
    Text(StringViewBuilder),
}

impl Builder {
    fn new(fields: &[Field]) -> Self {
        let column = |field: &Field| match field.data_type() {
            DataType::Int64 => Column::Int(Int64Builder::new()),
            DataType::Float64 => Column::Float(Float64Builder::new()),
            _ => Column::Text(StringViewBuilder::new()),
        };
        let columns = fields.iter().map(column).collect();
        Self { schema: Arc::new(Schema::new(fields.to_vec())), columns, n_rows: 0 }
    }

    /// Adds a row. SQLite lets any value stand in any column: one of another type than declared
    /// is an error, never a silent null.
    fn push(&mut self, row: &rusqlite::Row<'_>) -> Result<()> {
        for (index, column) in self.columns.iter_mut().enumerate() {
            match (column, row.get_ref(index)?) {
                (Column::Int(b), ValueRef::Null) => b.append_null(),
                (Column::Int(b), ValueRef::Integer(n)) => b.append_value(n),
                (Column::Float(b), ValueRef::Null) => b.append_null(),
                (Column::Float(b), ValueRef::Real(n)) => b.append_value(n),
                (Column::Float(b), ValueRef::Integer(n)) => b.append_value(n as f64),
                (Column::Text(b), ValueRef::Null) => b.append_null(),
                (Column::Text(b), ValueRef::Integer(n)) => b.append_value(n.to_string()),
                (Column::Text(b), ValueRef::Real(n)) => b.append_value(n.to_string()),
                (Column::Text(b), ValueRef::Text(t)) => b.append_value(String::from_utf8_lossy(t)),
                (_, value) => {
                    let name = self.schema.field(index).name();
                    let message =
                        format!("column `{name}` holds a value of type {}", value.data_type());
                    return Err(Error::run(message));
                }
            }
        }
        self.n_rows += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<Batch> {
        let column = |column: &mut Column| match column {
            Column::Int(b) => Arc::new(b.finish()) as ArrayRef,
            Column::Float(b) => Arc::new(b.finish()),
            Column::Text(b) => Arc::new(b.finish()),
        };
        let columns = self.columns.iter_mut().map(column).collect();
        let n_rows = std::mem::take(&mut self.n_rows);
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|e| Error::internal("rows do not fit their schema").because(e))?;
        Ok(Batch { rows, rejected: None })
    }
}
