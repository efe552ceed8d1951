//! The tables of a project: what its pipelines' sinks wrote, and the state, for `pipeline query`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::TableProvider;
use datafusion::functions::core::expr_fn::nullif;
use datafusion::logical_expr::{ident, lit};
use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionContext};

use super::check::{self, Options};
use super::file::Node;
use super::operator::{Rows, Table};
use super::{file, outlet, plan};
use crate::context::{add_schema, reference};
use crate::error::{Error, Result};
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
    let is_positioned = |node: &&Node<SourceKind>| node.common.changed_since.is_some();
    let positioned = file.sources.iter().filter(is_positioned);
    let positioned = positioned.map(|node| node.id.value.clone()).collect();
    (state.map(|state| Outputs { name, state, sinks, positioned }), found)
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
        _ => Ok(None),
    }
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
        node: table.to_owned(),
        source: Arc::new(source),
        on_bad_row: OnBadRow::Stop,
        limit: None,
        tally: None,
    };
    Ok(Some(Arc::new(Table::new(schema, rows))))
}
