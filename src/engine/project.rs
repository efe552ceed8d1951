//! The tables of a project: what its pipelines' sinks wrote, and the state, for `pipeline query`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::dataframe::{DataFrame, DataFrameWriteOptions};
use datafusion::datasource::{MemTable, TableProvider};
use datafusion::functions::core::expr_fn::nullif;
use datafusion::logical_expr::{ident, lit};
use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionContext};
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::DuckDbDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::check::{self, Options};
use super::file::Node;
use super::operator::{Rows, Table};
use super::{file, outlet, plan};
use crate::context::{Outside, add_schema, reference};
use crate::error::{Error, Result};
use crate::publish::{duckdb, quote};
use crate::sinks::Target;
use crate::sources::{self, OnBadRow, Source as _, SourceKind};
use crate::spec::Diagnostic;
use crate::state;
use crate::table::{NULL_PARTITION, infer_csv};

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

/// Where a pipeline writes.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// Name of the pipeline.
    pub name: String,
    /// The state file.
    pub state: PathBuf,
    /// The sinks, and what each writes.
    pub sinks: Vec<(String, Target)>,
    /// The sources that read only what changed.
    pub positioned: Vec<String>,
    /// Those of them that never end: their position is the number of an event.
    pub streams: Vec<String>,
}

/// Finds where a pipeline writes. Its sources need not be there, nor its plans be possible.
pub fn outputs(text: &str, path: &Path, options: &Options) -> (Option<Outputs>, Vec<Diagnostic>) {
    let (file, mut found) = file::parse(text);
    let Some(file) = file.filter(|file| file.fragment.is_none()) else { return (None, found) };
    let scope = check::scope(&file, options, path, &mut found);
    let mut sinks = Vec::new();
    for node in &file.sinks {
        if let Some(sink) = outlet::build_sink(node, &scope, options, &mut found) {
            sinks.push((node.id.value.clone(), sink.target().clone()));
        }
    }
    let state = check::state(&file, &scope, &mut found);
    let name = file.name.value.clone();
    let ids = |is_meant: &dyn Fn(&Node<SourceKind>) -> bool| {
        let meant = file.sources.iter().filter(|node| is_meant(node));
        meant.map(|node| node.id.value.clone()).collect::<Vec<_>>()
    };
    let streams = ids(&|node| node.kind.settings().is_stream());
    let positioned =
        ids(&|node| node.common.changed_since.is_some() || node.kind.settings().is_stream());
    (state.map(|state| Outputs { name, state, sinks, positioned, streams }), found)
}

/// Opens what the sinks of pipelines wrote as tables named after the sinks (`pipeline.sink` when
/// several pipelines have a sink of that name), files by their path, and the states as
/// `engine.runs` and its like. Returns also the names of the tables.
pub async fn open_tables(pipelines: &[Outputs]) -> Result<(SessionContext, Vec<String>)> {
    let session = plan::session().enable_url_table();
    let mut names = Vec::new();
    let ids: Vec<&String> = pipelines.iter().flat_map(|p| &p.sinks).map(|(id, _)| id).collect();
    for pipeline in pipelines {
        for (id, target) in &pipeline.sinks {
            let Some(table) = open_sink(&session, target, &pipeline.state).await? else { continue };
            let is_only = ids.iter().filter(|other| **other == id).count() == 1;
            let name = match is_only {
                true => id.clone(),
                false => {
                    add_schema(&session, &pipeline.name)?;
                    format!("{}.{id}", pipeline.name)
                }
            };
            if session.table_exist(reference(&name))? {
                return Err(Error::user(format!(
                    "two files are pipelines of the name `{}`; name one with `--file`",
                    pipeline.name
                )));
            }
            session.register_table(reference(&name), table)?;
            names.push(name);
        }
    }
    let mut states: Vec<&PathBuf> = pipelines.iter().map(|pipeline| &pipeline.state).collect();
    states.sort();
    states.dedup();
    states.retain(|path| path.is_file());
    names.extend(open_states(&session, &states)?);
    Ok((session, names))
}

/// Opens what one sink wrote; `None` when there is nothing yet.
pub(super) async fn open_sink(
    session: &SessionContext,
    target: &Target,
    state: &Path,
) -> Result<Option<Arc<dyn TableProvider>>> {
    match target {
        Target::Parquet { folder, partition_by } if folder.is_dir() => {
            let columns = partition_by.iter().map(|name| (name.clone(), DataType::Utf8View));
            let options = ParquetReadOptions::default().table_partition_cols(columns.collect());
            let rows = session.read_parquet(&*folder.to_string_lossy(), options).await?;
            Ok(Some(with_nulls(rows, partition_by)?.into_view()))
        }
        Target::Csv { file } if file.is_file() => {
            let schema = infer_csv(file).map_err(|error| {
                Error::external(format!("`{}` cannot be read", file.display())).because(error)
            })?;
            let options = CsvReadOptions::new().newlines_in_values(true).schema(&schema);
            let rows = session.read_csv(&*file.to_string_lossy(), options).await?;
            Ok(Some(rows.into_view()))
        }
        Target::Table { database, table } => {
            let database = database.as_deref().unwrap_or(state);
            if database.is_file() { table_of(database, table) } else { Ok(None) }
        }
        Target::Duckdb { database, table }
            if database.is_file() && duckdb::has_table(database, table)? =>
        {
            let tables = [(table.clone(), format!("db.{}", quote(table)))];
            let sql = format!("SELECT * FROM {}", quote(table));
            let (schema, rows) = copied(session, |into| {
                duckdb::copy(&sql, &[("db".into(), database)], &tables, into)
            })
            .await?;
            Ok(Some(Arc::new(MemTable::try_new(schema, vec![rows])?)))
        }
        _ => Ok(None),
    }
}

/// Reads what something wrote as Parquet, into memory: DuckDB has another version of Arrow.
async fn copied(
    session: &SessionContext,
    write: impl FnOnce(&Path) -> Result<()>,
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let name = format!("pipeline-query-{}.parquet", uuid::Uuid::now_v7().simple());
    let path = std::env::temp_dir().join(name);
    let read = async {
        write(&path)?;
        let (name, options) = (path.to_string_lossy(), ParquetReadOptions::default());
        let rows = session.read_parquet(&*name, options).await?;
        let schema = Arc::clone(rows.schema().inner());
        Ok((schema, rows.collect().await?))
    };
    let read = read.await;
    // A temporary file: what cannot be removed now is removed by the system.
    let _ = std::fs::remove_file(&path);
    read
}

/// Asks DuckDB a query over what the sinks of pipelines wrote, by their names. What is no DuckDB
/// table and no Parquet is handed over as Parquet.
pub async fn query_duckdb(
    pipelines: &[Outputs],
    sql: &str,
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let statements = Parser::parse_sql(&DuckDbDialect {}, sql)
        .map_err(|error| Error::user(error.to_string()))?;
    if !matches!(statements.as_slice(), [Statement::Query(_)]) {
        return Err(Error::user("`query` only reads: one SELECT, WITH or VALUES"));
    }
    let (session, names) = open_tables(pipelines).await?;
    let mut databases: Vec<(String, &Path)> = Vec::new();
    let mut tables: Vec<(String, String)> = Vec::new();
    let folder = std::env::temp_dir().join(format!("pipeline-query-{}", uuid::Uuid::now_v7()));
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    let sinks = || pipelines.iter().flat_map(|p| &p.sinks);
    let asked = async {
        for name in names.iter().filter(|name| sql.contains(name.as_str())) {
            let target = sinks().find(|(id, _)| id == name).map(|(_, target)| target);
            if let Some(Target::Duckdb { database, table }) = target {
                let attached = databases.iter().find(|(_, path)| path == database);
                let attached = match attached.map(|(name, _)| name.clone()) {
                    Some(name) => name,
                    None => {
                        let name = format!("db{}", databases.len());
                        databases.push((name.clone(), database));
                        name
                    }
                };
                tables.push((name.clone(), format!("{attached}.{}", quote(table))));
                continue;
            }
            let file = folder.join(format!("{}.parquet", tables.len()));
            let rows = session.table(reference(name)).await?;
            let options = DataFrameWriteOptions::new().with_single_file_output(true);
            rows.write_parquet(&file.to_string_lossy(), options, None).await?;
            tables.push((name.clone(), format!("read_parquet({})", duckdb::literal(&file))));
        }
        copied(&session, |into| duckdb::copy(sql, &databases, &tables, into)).await
    };
    let asked = asked.await;
    let _ = std::fs::remove_dir_all(&folder);
    asked
}

/// Turns the folder name that stands for null back into null.
fn with_nulls(rows: DataFrame, partition_by: &[String]) -> Result<DataFrame> {
    let columns = rows.schema().fields().iter().map(|field| {
        let column = ident(field.name());
        match partition_by.contains(field.name()) {
            true => nullif(column, lit(NULL_PARTITION)).alias(field.name()),
            false => column,
        }
    });
    let columns: Vec<_> = columns.collect();
    Ok(rows.select(columns)?)
}

/// Opens the tables of all states as `engine.*`, one after the other.
fn open_states(session: &SessionContext, states: &[&PathBuf]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    if !states.is_empty() {
        add_schema(session, "engine")?;
    }
    for name in state::TABLES {
        let mut all: Option<DataFrame> = None;
        for path in states {
            let Some(table) = table_of(path, &format!("engine_{name}"))? else { continue };
            let rows = session.read_table(table)?;
            all = Some(match all {
                Some(all) => all.union_by_name(rows)?,
                None => rows,
            });
        }
        if let Some(all) = all {
            let name = format!("engine.{name}");
            session.register_table(reference(&name), all.into_view())?;
            names.push(name);
        }
    }
    Ok(names)
}

/// Opens a SQLite table for any number of readings.
fn table_of(database: &Path, table: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    let Some(source) = sources::Table::open(database, table)? else { return Ok(None) };
    let schema = source.schema();
    let rows = Rows::Source {
        outside: Outside::default(),
        node: table.to_owned(),
        source: Arc::new(source),
        on_bad_row: OnBadRow::Stop,
        limit: None,
        checks_all: true,
        tally: None,
    };
    Ok(Some(Arc::new(Table::new(schema, rows))))
}
