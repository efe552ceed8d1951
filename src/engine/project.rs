//! The tables of a project: what its pipelines' sinks wrote, and the state, for `pipeline query`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::MemorySchemaProvider;
use datafusion::common::TableReference;
use datafusion::datasource::TableProvider;
use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionContext};

use super::check::Checked;
use super::operator::{Rows, Table};
use crate::error::{Error, Result};
use crate::sinks::Target;
use crate::sources::{self, OnBadRow, Source as _};
use crate::state;

/// Finds the pipeline files of a project: `*.yaml` in a folder and in `pipelines/` below it.
pub fn pipelines_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in [folder.to_owned(), folder.join("pipelines")] {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let is_yaml = |path: &PathBuf| {
            path.extension().is_some_and(|e| e == "yaml" || e == "yml") && path.is_file()
        };
        files.extend(entries.filter_map(std::result::Result::ok).map(|e| e.path()).filter(is_yaml));
    }
    files.sort();
    files
}

/// Opens what the sinks of pipelines wrote as tables named after the sinks, files by their path,
/// and the states as `engine.runs` and its like. Returns also the names of the tables.
pub async fn open_tables(pipelines: &[Checked]) -> Result<(SessionContext, Vec<String>)> {
    let session = super::plan::session().enable_url_table();
    let mut names = Vec::new();
    for pipeline in pipelines {
        for sink in &pipeline.plan.sinks {
            let target = sink.sink.target();
            if open_sink(&session, &sink.id, target, &pipeline.state).await? {
                names.push(sink.id.clone());
            }
        }
    }
    let mut states: Vec<&PathBuf> = pipelines.iter().map(|p| &p.state).collect();
    states.sort();
    states.dedup();
    if let Some(path) = states.iter().find(|path| path.is_file()) {
        open_state(&session, path)?;
        names.extend(state::TABLES.iter().map(|table| format!("engine.{table}")));
    }
    Ok((session, names))
}

/// Opens one sink's output under its id; `false` when there is none yet.
async fn open_sink(
    session: &SessionContext,
    id: &str,
    target: &Target,
    state: &Path,
) -> Result<bool> {
    let reference = TableReference::bare(id);
    if session.table_exist(reference.clone())? {
        return Err(Error::user(format!(
            "two pipelines have a sink `{id}`; name the pipeline files with `--file`"
        )));
    }
    match target {
        Target::Parquet { folder, partition_by } => {
            if !folder.is_dir() {
                return Ok(false);
            }
            let columns = partition_by.iter().map(|name| (name.clone(), DataType::Utf8View));
            let options = ParquetReadOptions::default().table_partition_cols(columns.collect());
            session.register_parquet(reference, folder.to_string_lossy(), options).await?;
        }
        Target::Csv { file } => {
            if !file.is_file() {
                return Ok(false);
            }
            let options = CsvReadOptions::new().newlines_in_values(true);
            session.register_csv(reference, file.to_string_lossy(), options).await?;
        }
        Target::Table { database, table } => {
            let database = database.as_deref().unwrap_or(state);
            if !database.is_file() {
                return Ok(false);
            }
            let Some(table) = table_of(database, table)? else { return Ok(false) };
            session.register_table(reference, table)?;
        }
    }
    Ok(true)
}

fn open_state(session: &SessionContext, path: &Path) -> Result<()> {
    if let Some(catalog) = session.catalog("datafusion") {
        catalog.register_schema("engine", Arc::new(MemorySchemaProvider::new()))?;
    }
    for name in state::TABLES {
        if let Some(table) = table_of(path, &format!("engine_{name}"))? {
            session.register_table(TableReference::partial("engine", *name), table)?;
        }
    }
    Ok(())
}

/// Opens a SQLite table for any number of readings.
fn table_of(database: &Path, table: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    let Some(source) = sources::Table::open(database, table)? else { return Ok(None) };
    let schema = source.schema();
    let rows = Rows::Source {
        node: table.to_owned(),
        source: Arc::new(source),
        on_bad_row: OnBadRow::Reject,
        limit: None,
        tally: None,
    };
    Ok(Some(Arc::new(Table::new(schema, rows))))
}
