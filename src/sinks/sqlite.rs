//! `sqlite`: a table of a SQLite database.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Statement};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{BuildSink, Disposition, Sink, Target};
use crate::context::{Batches, BuildContext, RowStream, StageContext};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::publish::{
    Missing, Publish, Staged, TableMerge, TableWrite, quote, sync_file, sync_folder,
};
use crate::spec::{Code, Diagnostic, Located, Text};
use crate::table::{Cell, Cells, plain_type, plain_types};

/// Writes rows into a table, which is made if it is not there; new columns are added to it.
///
/// `write` is `append`, `replace`, `upsert`, `history` or `mark_gone`; the last three need a `key`.
/// With `newer_by` an older row never takes the place of a newer one; `missing` says what happens
/// to rows that arrive no more: `keep` them, `mark_gone` (column `gone_at`) or `delete`. `history`
/// keeps every state of a row with the columns `valid_from` and `valid_to` (null for the present
/// one). `mark_gone` sets `gone_at` of the rows whose keys arrive and looks at no other column; it
/// may share its table with an `upsert`, which brings rows back. Days and moments are ISO 8601
/// text. Without `path` the table is in the state file, and its rows are committed in the same
/// transaction as everything else of the run.
///
/// ```yaml
/// lead_table:
///   from: leads
///   sqlite: { path: ./leads.db, table: leads }
///   write: upsert
///   key: [company_number]
///   newer_by: as_of
///   missing: mark_gone
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sqlite {
    /// The database; the state file otherwise.
    #[serde(default)]
    pub path: Option<Text>,
    /// The table.
    pub table: Located<String>,
    /// A column of the table that says when a row was last added, changed, gone or back; for
    /// `upsert` and `mark_gone`. A pipeline that reads the table with `changed_since` sees what is
    /// new to it.
    #[serde(default)]
    pub changed_at: Option<Located<String>>,
}

impl BuildSink for Sqlite {
    fn build(
        &self,
        disposition: &Disposition,
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Sink>> {
        // SQLite does not tell upper case from lower.
        let name = self.table.to_ascii_lowercase();
        let is_ours = name.starts_with("engine_") || name.starts_with("sqlite_");
        if is_ours || self.table.is_empty() {
            let message = format!("a table cannot be named `{}`", self.table.value);
            context.found.push(Diagnostic::error(Code::Id, message, self.table.at));
        }
        let write = disposition.table_write(context);
        let database = match &self.path {
            Some(path) => Some(context.output(path)?),
            None => None,
        };
        Some(Arc::new(SqliteSink {
            target: Target::Table { database, table: self.table.value.clone() },
            write,
            key: disposition.key.iter().map(|column| column.value.clone()).collect(),
            newer_by: disposition.newer_by.as_ref().map(|column| column.value.clone()),
            within: disposition.within_names(),
            missing: disposition.missing.as_ref().map_or(Missing::Keep, |m| m.value),
            changed_at: disposition.changed_at(self.changed_at.as_ref(), context),
        }))
    }
}

#[derive(Clone, Debug)]
struct SqliteSink {
    target: Target,
    write: TableWrite,
    key: Vec<String>,
    newer_by: Option<String>,
    within: Vec<String>,
    missing: Missing,
    changed_at: Option<String>,
}

#[async_trait]
impl Sink for SqliteSink {
    fn target(&self) -> &Target {
        &self.target
    }

    async fn stage(&self, rows: RowStream, context: Arc<StageContext>) -> Result<Staged> {
        let schema = rows.schema();
        let merge = self.merge(&schema, &context)?;
        let work = move |context: &StageContext, batches: &mut Batches| {
            let mut staging = Staging::create(&merge)?;
            let mut rows = 0;
            while let Some(batch) = batches.take()? {
                staging.insert(&merge, &batch)?;
                rows += batch.num_rows() as u64;
                failpoint::pass("stage.table.batch")?;
            }
            staging.close(&merge)?;
            let staged = merge.staged.clone();
            let publish = Publish::MergeTable(Box::new(merge));
            // What goes into the state file is merged by the commit itself, and not needed later.
            if publish.merge_into(&context.state).is_none() {
                sync_file(&staged)?;
                sync_folder(&context.folder)?;
            }
            Ok(Staged { rows, files: Vec::new(), publish })
        };
        context.blocking(rows, work).await
    }
}

impl SqliteSink {
    fn merge(&self, schema: &SchemaRef, context: &StageContext) -> Result<TableMerge> {
        let Target::Table { database, table } = &self.target else {
            return Err(Error::internal("a sqlite sink without a table"));
        };
        super::refuse_own_columns(schema, self.write, self.missing, self.changed_at.as_deref())?;
        let database = database.clone().unwrap_or_else(|| context.state.clone());
        check_database(&database)?;
        let column = |field: &Arc<datafusion::arrow::datatypes::Field>| {
            (field.name().clone(), sqlite_type(field.data_type()).to_owned())
        };
        Ok(TableMerge {
            staged: context.folder.join("rows.db"),
            database,
            table: table.clone(),
            columns: schema.fields().iter().map(column).collect(),
            write: self.write,
            key: self.key.clone(),
            newer_by: self.newer_by.clone(),
            within: self.within.clone(),
            missing: self.missing,
            changed_at: self.changed_at.clone(),
            owner: format!("{}/{}", context.pipeline, context.node),
            run_id: context.run_id.clone(),
            at: context.at.to_string(),
        })
    }
}

/// Finds out before the commit that the database is one.
fn check_database(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let is_database = Connection::open(path)
        .and_then(|c| c.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())));
    is_database.map_err(|error| {
        Error::external(format!("`{}` is not a SQLite database that can be read", path.display()))
            .because(error)
    })
}

fn sqlite_type(data_type: &DataType) -> &'static str {
    match plain_type(data_type) {
        DataType::Boolean | DataType::Int64 => "INTEGER",
        DataType::Float64 => "REAL",
        _ => "TEXT",
    }
}

/// The SQLite file in which rows wait for the commit. It needs no journal: it is synced whole, if
/// at all, and thrown away after a crash.
struct Staging {
    connection: Connection,
}

impl Staging {
    fn create(merge: &TableMerge) -> Result<Self> {
        let connection = Connection::open(&merge.staged)?;
        // Rows come one after the other: large pages are fewer writes.
        connection.pragma_update(None, "page_size", 32 << 10)?;
        connection.pragma_update(None, "journal_mode", "off")?;
        connection.pragma_update(None, "synchronous", "off")?;
        connection.pragma_update(None, "locking_mode", "exclusive")?;
        let columns: Vec<String> =
            merge.columns.iter().map(|(name, kind)| format!("{} {kind}", quote(name))).collect();
        connection.execute(&format!("CREATE TABLE staged ({})", columns.join(", ")), [])?;
        connection.execute_batch("BEGIN")?;
        Ok(Self { connection })
    }

    fn insert(&mut self, merge: &TableMerge, batch: &RecordBatch) -> Result<()> {
        let plain = plain_types(batch)
            .map_err(|e| Error::run("a column cannot be written to SQLite").because(e))?;
        let marks = vec!["?"; merge.columns.len()].join(", ");
        let sql = format!("INSERT INTO staged VALUES ({marks})");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let columns: Vec<Cells<'_>> =
            plain.columns().iter().map(|column| Cells::of(column.as_ref())).collect();
        // What is bound stays bound, and what is not is null: most values are, row after row.
        statement.clear_bindings();
        let mut is_bound = vec![false; columns.len()];
        for row in 0..plain.num_rows() {
            for (index, column) in columns.iter().enumerate() {
                let value = column.get(row);
                if value != Cell::Null || is_bound[index] {
                    is_bound[index] = value != Cell::Null;
                    bind(&mut statement, index, value)?;
                }
            }
            statement.raw_execute()?;
        }
        Ok(())
    }

    /// Checks the keys, and writes down what is not yet written.
    fn close(self, merge: &TableMerge) -> Result<()> {
        if !merge.key.is_empty() {
            // The merge looks rows up by their key: without an index that takes the square of them.
            let key: Vec<String> = merge.key.iter().map(|name| quote(name)).collect();
            let sql = format!("CREATE INDEX staged_key ON staged ({})", key.join(", "));
            self.connection.execute(&sql, [])?;
            if !self.check_keys(&merge.key, &key, false)? {
                // Rows that are alike in all columns are one row.
                let all: Vec<String> = merge.columns.iter().map(|(name, _)| quote(name)).collect();
                let sql = format!(
                    "DELETE FROM staged WHERE rowid NOT IN
                       (SELECT min(rowid) FROM staged GROUP BY {})",
                    all.join(", ")
                );
                self.connection.execute(&sql, [])?;
                self.check_keys(&merge.key, &key, true)?;
            }
        }
        self.connection.execute_batch("COMMIT")?;
        self.connection.close().map_err(|(_, error)| error)?;
        failpoint::pass("stage.table.closed")
    }

    /// Says whether each key stands for one row. With `refuses`, one that does not is an error; one
    /// that is null always is.
    fn check_keys(&self, names: &[String], key: &[String], refuses: bool) -> Result<bool> {
        let is_null: Vec<String> = key.iter().map(|name| format!("{name} IS NULL")).collect();
        let sql = format!("SELECT count(*) FROM staged WHERE {}", is_null.join(" OR "));
        let n_null: u64 = self.connection.query_row(&sql, [], |row| row.get(0))?;
        let sql = format!(
            "SELECT count(*) OVER (), {} FROM staged GROUP BY {} HAVING count(*) > 1 LIMIT 1",
            key.join(" || ', ' || "),
            key.join(", ")
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        let (mut n_twice, mut first) = (0, String::new());
        if let Some(row) = rows.next()? {
            n_twice = row.get(0)?;
            first = match row.get(1)? {
                Value::Text(text) => text,
                Value::Integer(n) => n.to_string(),
                other => format!("{other:?}"),
            };
        }
        let refused = if refuses { n_twice } else { 0 };
        super::refuse_keys_of_rows(names, n_null, refused, &first)?;
        Ok(n_twice == 0)
    }
}

fn bind(statement: &mut Statement<'_>, index: usize, cell: Cell<'_>) -> rusqlite::Result<()> {
    let value = match cell {
        Cell::Null => ToSqlOutput::Borrowed(ValueRef::Null),
        Cell::Int(n) => ToSqlOutput::Borrowed(ValueRef::Integer(n)),
        Cell::Float(n) => ToSqlOutput::Borrowed(ValueRef::Real(n)),
        Cell::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        Cell::Owned(text) => ToSqlOutput::Owned(Value::Text(text)),
    };
    statement.raw_bind_parameter(index + 1, value)
}
