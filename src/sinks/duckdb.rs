//! `duckdb`: a table of a DuckDB database.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::parquet::arrow::ArrowWriter;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{BuildSink, Disposition, Hashing, Sink, Target};
use crate::context::{Batches, BuildContext, RowStream, StageContext};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::publish::{Missing, Publish, Staged, TableMerge, TableWrite, duckdb, sync_folder};
use crate::spec::{Code, Diagnostic, Located, Text};
use crate::table::{plain_type, plain_types};

/// Writes rows into a table of a DuckDB database, which is made if it is not there; new columns
/// are added to it. `write`, `key`, `newer_by` and `missing` mean what they mean for `sqlite`. Days,
/// moments and numbers keep their types; `gone_at` is a text.
///
/// Only builds with the feature `duckdb` have it.
///
/// ```yaml
/// warehouse:
///   from: leads
///   duckdb: { path: ./warehouse.duckdb, table: lead_history }
///   write: history
///   key: [company_number]
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Duckdb {
    /// The database.
    pub path: Text,
    /// The table.
    pub table: Located<String>,
    /// A column of the table that says when a row was last added, changed, gone or back; for
    /// `upsert` and `mark_gone`. A pipeline that reads the table with `changed_since` sees what is
    /// new to it.
    #[serde(default)]
    pub changed_at: Option<Located<String>>,
}

impl BuildSink for Duckdb {
    fn build(
        &self,
        disposition: &Disposition,
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Sink>> {
        if !duckdb::IS_LINKED {
            let message = "this build of pipeline has no DuckDB";
            let fault = Diagnostic::error(Code::Reserved, message, self.path.at());
            context.found.push(fault.help("build it with `--features duckdb` (README.md)"));
        }
        if self.table.starts_with("engine_") || self.table.is_empty() {
            let message = format!("a table cannot be named `{}`", self.table.value);
            context.found.push(Diagnostic::error(Code::Id, message, self.table.at));
        }
        let write = disposition.table_write(context);
        let database = context.output(&self.path)?;
        Some(Arc::new(DuckdbSink {
            target: Target::Duckdb { database, table: self.table.value.clone() },
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
struct DuckdbSink {
    target: Target,
    write: TableWrite,
    key: Vec<String>,
    newer_by: Option<String>,
    within: Vec<String>,
    missing: Missing,
    changed_at: Option<String>,
}

#[async_trait]
impl Sink for DuckdbSink {
    fn target(&self) -> &Target {
        &self.target
    }

    async fn stage(&self, rows: RowStream, context: Arc<StageContext>) -> Result<Staged> {
        let merge = self.merge(&rows.schema(), &context)?;
        let schema = plain_schema(&rows.schema());
        let work = move |context: &StageContext, batches: &mut Batches| {
            let failed = |e| Error::run("the rows cannot be staged as Parquet").because(e);
            let file = Hashing::create(&merge.staged)?;
            let mut writer = ArrowWriter::try_new(file, schema, None).map_err(failed)?;
            let mut rows = 0;
            while let Some(batch) = batches.take()? {
                let plain = plain_types(&batch)
                    .map_err(|e| Error::run("a column cannot be written to DuckDB").because(e))?;
                writer.write(&plain).map_err(failed)?;
                rows += batch.num_rows() as u64;
                failpoint::pass("stage.table.batch")?;
            }
            let file = writer.into_inner().map_err(failed)?;
            file.close().map_err(|e| Error::io(&merge.staged, e))?;
            check_keys(&merge)?;
            failpoint::pass("stage.table.closed")?;
            sync_folder(&context.folder)?;
            let publish = Publish::MergeDuckdb(Box::new(merge));
            Ok(Staged { rows, files: Vec::new(), publish })
        };
        context.blocking(rows, work).await
    }
}

impl DuckdbSink {
    fn merge(&self, schema: &SchemaRef, context: &StageContext) -> Result<TableMerge> {
        let Target::Duckdb { database, table } = &self.target else {
            return Err(Error::internal("a duckdb sink without a table"));
        };
        super::refuse_own_columns(schema, self.write, self.missing, self.changed_at.as_deref())?;
        check_database(database)?;
        let column =
            |field: &Arc<Field>| (field.name().clone(), duckdb_type(field.data_type()).to_owned());
        Ok(TableMerge {
            staged: context.folder.join("rows.parquet"),
            database: database.clone(),
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
    if path.exists() { duckdb::has_table(path, "engine_applied").map(drop) } else { Ok(()) }
}

/// Refuses keys that are null or stand for several rows.
fn check_keys(merge: &TableMerge) -> Result<()> {
    if merge.key.is_empty() {
        return Ok(());
    }
    let (n_null, n_twice, first) = duckdb::check_keys(&merge.staged, &merge.key)?;
    super::refuse_keys_of_rows(&merge.key, n_null, n_twice, &first.unwrap_or_default())
}

fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let field = |field: &Arc<Field>| Field::new(field.name(), plain_type(field.data_type()), true);
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

fn duckdb_type(data_type: &DataType) -> &'static str {
    match plain_type(data_type) {
        DataType::Boolean => "BOOLEAN",
        DataType::Int64 => "BIGINT",
        DataType::Float64 => "DOUBLE",
        DataType::Date32 => "DATE",
        DataType::Timestamp(_, _) => "TIMESTAMPTZ",
        _ => "TEXT",
    }
}
