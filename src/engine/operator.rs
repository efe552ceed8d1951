//! The engine's own operators: rows that come from outside a plan, rows that are divided by rules
//! or routed to ports, and the first rows of their keys. They count, and set rejected rows aside. Only this file and
//! `count.rs` implement DataFusion's traits.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result as PlanResult, internal_err};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, Partitioning, PlanProperties,
};
use futures::{Stream, StreamExt as _};

use super::divide::{Divide, rejected_schema};
use super::enrich::{Enriching, Means};
use super::first::First;
use super::land::{Landed, Tally};
use super::pushdown::{condition, may_fail, text_column};
use crate::context::{Condition, Outside, ReadContext};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::sources::{Batch, OnBadRow, Source};
use crate::table::REASON;
use crate::transforms::Operator;

/// A table whose rows come from outside the plan, or out of an operator.
#[derive(Clone)]
pub(super) struct Table {
    schema: SchemaRef,
    rows: Rows,
}

/// Where the rows of a table come from.
#[derive(Clone)]
pub(super) enum Rows {
    /// A source.
    Source {
        /// Its id, for errors.
        node: String,
        source: Arc<dyn Source>,
        on_bad_row: OnBadRow,
        /// The most rows to read.
        limit: Option<u64>,
        /// Whether the values of rows that no condition wants are checked all the same.
        checks_all: bool,
        /// What is counted; none when the table may be read any number of times.
        tally: Option<Arc<Tally>>,
        outside: Outside,
    },
    /// Rows that were landed.
    Landed {
        /// The node or port.
        node: String,
        landed: Arc<LandedRows>,
    },
    /// What an operator makes of the rows of a plan.
    Operated {
        /// The node.
        node: String,
        plan: Arc<LogicalPlan>,
        operator: Operator,
        /// Where it may put rows.
        folder: Arc<OnceLock<PathBuf>>,
        /// What a look-up has at hand.
        means: Arc<OnceLock<Means>>,
        tally: Arc<Tally>,
    },
}

/// Landed rows of a node, or the rejected ones of a tally.
pub(super) enum LandedRows {
    /// Of a node.
    Node(Box<Landed>),
    /// Of a port that is complete late.
    Late(Arc<Tally>, String),
}

impl LandedRows {
    fn landed(&self) -> Result<&Landed> {
        match self {
            Self::Node(landed) => Ok(landed),
            Self::Late(tally, port) => tally
                .late(port)
                .ok_or_else(|| Error::internal(format!("rows of `{port}` were not kept"))),
        }
    }
}

impl Rows {
    fn node(&self) -> &str {
        match self {
            Self::Source { node, .. } | Self::Landed { node, .. } | Self::Operated { node, .. } => {
                node
            }
        }
    }
}

impl Table {
    pub(super) fn new(schema: SchemaRef, rows: Rows) -> Self {
        Self { schema, rows }
    }

    /// Returns the text column of a condition that the source of this table can ask.
    fn asked_by_source(&self, filter: &Expr) -> Option<usize> {
        match &self.rows {
            // Without a tally nobody sees what is rejected, and rows must not be left out unseen.
            Rows::Source { source, tally: Some(_), .. } if source.asks_conditions() => {
                text_column(filter, &self.schema)
            }
            _ => None,
        }
    }

    /// Returns the node or port whose rows they are.
    pub(super) fn node(&self) -> &str {
        self.rows.node()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({})", self.rows.node())
    }
}

#[async_trait]
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// A source may ask conditions on one text column before it makes a row; the plan asks those
    /// again that may fail.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> PlanResult<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.asked_by_source(filter) {
            Some(_) if may_fail(filter) => TableProviderFilterPushDown::Inexact,
            Some(_) => TableProviderFilterPushDown::Exact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.schema.fields().len()).collect();
        let projection: Vec<usize> = projection.cloned().unwrap_or_else(all);
        let mut conditions = Vec::new();
        for filter in filters {
            if let Some(column) = self.asked_by_source(filter) {
                conditions.push(condition(filter, column, &self.schema, state)?);
            }
        }
        let input = match &self.rows {
            Rows::Operated { plan, .. } => {
                let input = state.create_physical_plan(plan).await?;
                Some(match input.output_partitioning().partition_count() {
                    1 => input,
                    _ => Arc::new(CoalescePartitionsExec::new(input)) as _,
                })
            }
            _ => None,
        };
        Ok(Arc::new(RowsExec::try_new(self.clone(), projection, conditions, input)?))
    }
}

/// Rows of a [`Table`] as an operator of a plan: one partition, in the order of arrival.
#[derive(Debug)]
struct RowsExec {
    table: Table,
    projection: Vec<usize>,
    /// What the source may ask before it makes a row.
    conditions: Vec<Condition>,
    input: Option<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
}

impl RowsExec {
    fn try_new(
        table: Table,
        projection: Vec<usize>,
        conditions: Vec<Condition>,
        input: Option<Arc<dyn ExecutionPlan>>,
    ) -> PlanResult<Self> {
        let schema = Arc::new(table.schema.project(&projection)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(Self { table, projection, conditions, input, properties: Arc::new(properties) })
    }
}

impl DisplayAs for RowsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.table.rows.node();
        let n_columns = self.projection.len();
        match &self.table.rows {
            Rows::Source { source, .. } => {
                write!(f, "SourceExec: {node}, {}, columns={n_columns}", source.describe())?;
                let conditions: Vec<String> =
                    self.conditions.iter().map(ToString::to_string).collect();
                match conditions.is_empty() {
                    true => Ok(()),
                    false => write!(f, ", where={}", conditions.join(" AND ")),
                }
            }
            Rows::Landed { .. } => write!(f, "LandedExec: {node}, columns={n_columns}"),
            Rows::Operated { operator: Operator::Divide(rules), .. } => {
                let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
                write!(f, "RulesExec: {node}, rules=[{}]", names.join(", "))
            }
            Rows::Operated { operator: Operator::First { by, .. }, .. } => {
                let name = |index: &usize| self.table.schema.field(*index).name().as_str();
                let names: Vec<&str> = by.iter().map(name).collect();
                write!(f, "FirstExec: {node}, by=[{}]", names.join(", "))
            }
            Rows::Operated { operator: Operator::Route, .. } => write!(f, "RouteExec: {node}"),
            Rows::Operated { operator: Operator::Enrich(enrichment), .. } => {
                let name = |index: &usize| self.table.schema.field(*index).name().as_str();
                let names: Vec<&str> = enrichment.by.iter().map(name).collect();
                let server = enrichment.lookup.server();
                write!(f, "EnrichExec: {node}, {server}, by=[{}]", names.join(", "))
            }
        }
    }
}

impl ExecutionPlan for RowsExec {
    fn name(&self) -> &'static str {
        "RowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.input.iter().collect()
    }

    /// The rows of one partition after the other are divided. Without this the optimizer spreads
    /// them over several, of which only the first would be read.
    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let n_children = self.input.iter().count();
        InputDistributionRequirements::new(vec![Distribution::SinglePartition; n_children])
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.input.iter().count()]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> PlanResult<TreeNodeRecursion>,
    ) -> PlanResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let input = children.pop();
        if input.is_some() != self.input.is_some() || !children.is_empty() {
            return internal_err!("children cannot be replaced in {self:?}");
        }
        let (table, projection) = (self.table.clone(), self.projection.clone());
        Ok(Arc::new(Self::try_new(table, projection, self.conditions.clone(), input)?))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> PlanResult<SendableRecordBatchStream> {
        let schema = self.schema();
        match (&self.table.rows, &self.input) {
            (Rows::Source { source, tally: None, outside, .. }, _) => {
                let (projection, outside) = (self.projection.clone(), outside.clone());
                let reading = ReadContext { projection, outside, ..ReadContext::default() };
                let rows = source.read(reading);
                // Nobody sees what is rejected here: rows that are not whole would pass for all.
                let rows = rows.map(|batch| match batch? {
                    Batch { rejected: Some(rejected), .. } => Err(first_bad_row(&rejected).into()),
                    Batch { rows, .. } => Ok(rows),
                });
                Ok(make_cooperative(Box::pin(RecordBatchStreamAdapter::new(schema, rows))))
            }
            (
                Rows::Source {
                    node,
                    source,
                    on_bad_row,
                    limit,
                    checks_all,
                    tally: Some(tally),
                    outside,
                },
                _,
            ) => {
                let reading = ReadContext {
                    projection: self.projection.clone(),
                    limit: *limit,
                    conditions: self.conditions.clone(),
                    checks_all: *checks_all,
                    bytes: Arc::clone(&tally.bytes),
                    position: Arc::clone(&tally.position),
                    outside: outside.clone(),
                };
                let reader = Accept {
                    node: node.clone(),
                    on_bad_row: *on_bad_row,
                    tally: Arc::clone(tally),
                };
                let rows = source.read(reading).map(move |batch| {
                    let accepted = batch.and_then(|batch| reader.accept(batch));
                    accepted.map_err(|error| error.in_node(&reader.node).into())
                });
                Shared::begin(tally, Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
            }
            (Rows::Operated { node, .. }, Some(input))
                if input.output_partitioning().partition_count() != 1 =>
            {
                internal_err!("`{node}` would lose rows: its input has several partitions")
            }
            (Rows::Operated { node, operator, folder, means, tally, .. }, Some(input)) => {
                let input = input.execute(0, context)?;
                let rows = match operator {
                    Operator::Divide(rules) => {
                        let divide = Divide {
                            rules: Arc::clone(rules),
                            tally: Arc::clone(tally),
                            projection: self.projection.clone(),
                            rejected: rejected_schema(&self.table.schema),
                        };
                        let rows =
                            input.map(move |batch| batch.and_then(|batch| divide.divide(&batch)));
                        rows.boxed()
                    }
                    Operator::First { by, order } => {
                        let first = First {
                            name: node.clone(),
                            by: by.clone(),
                            order: order.clone(),
                            projection: self.projection.clone(),
                            folder: Arc::clone(folder),
                        };
                        let tally = Arc::clone(tally);
                        let count = move |batch: &PlanResult<RecordBatch>| {
                            tally.accept(batch.as_ref().map_or(0, RecordBatch::num_rows) as u64);
                        };
                        first.of(input).inspect(count).boxed()
                    }
                    Operator::Route => {
                        let (tally, projection) = (Arc::clone(tally), self.projection.clone());
                        let rows = input.map(move |batch| route(&batch?, &tally, &projection));
                        rows.boxed()
                    }
                    Operator::Enrich(enrichment) => {
                        let enriching = Enriching {
                            node: node.clone(),
                            enrichment: Arc::clone(enrichment),
                            projection: self.projection.clone(),
                            schema: Arc::clone(&schema),
                            folder: Arc::clone(folder),
                            means: Arc::clone(means),
                            tally: Arc::clone(tally),
                        };
                        enriching.of(input).boxed()
                    }
                };
                let node = node.clone();
                let rows = rows.map(move |batch| {
                    batch.map_err(|error| Error::from(error).in_node(&node).into())
                });
                Shared::begin(tally, Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
            }
            (Rows::Landed { landed, .. }, _) => {
                let batches = landed.landed()?.read(&self.projection)?;
                let rows = futures::stream::iter(batches.map(|batch| batch.map_err(Into::into)));
                Ok(make_cooperative(Box::pin(RecordBatchStreamAdapter::new(schema, rows))))
            }
            (Rows::Operated { .. }, None) => internal_err!("an operator without rows"),
        }
    }
}

/// Takes what a source delivers.
struct Accept {
    node: String,
    on_bad_row: OnBadRow,
    tally: Arc<Tally>,
}

impl Accept {
    fn accept(&self, batch: Batch) -> Result<RecordBatch> {
        failpoint::pass("source.batch")?;
        self.tally.accept(batch.rows.num_rows() as u64 + batch.n_left_out);
        self.tally.unchecked.fetch_add(batch.n_unchecked, Ordering::Relaxed);
        if let Some(rejected) = batch.rejected {
            if self.on_bad_row == OnBadRow::Stop {
                return Err(first_bad_row(&rejected));
            }
            let reasons = reasons(&rejected);
            self.tally.reject(rejected, reasons)?;
        }
        Ok(batch.rows)
    }
}

/// Counts rejected rows by what is wrong with them: the column, or the form of the row, without
/// the values.
fn reasons(rejected: &RecordBatch) -> Vec<(String, u64)> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let texts = rejected.column_by_name(REASON).and_then(|column| column.as_string_view_opt());
    for text in texts.into_iter().flatten().flatten() {
        let what = match text.split_once(": ") {
            Some((column, what)) if what.starts_with('`') => {
                format!("{column}{}", what.rsplit('`').next().unwrap_or_default())
            }
            Some((column, what)) => format!("{column}: {what}"),
            None => text.to_owned(),
        };
        *counts.entry(what).or_default() += 1;
    }
    counts.into_iter().collect()
}

fn first_bad_row(rejected: &RecordBatch) -> Error {
    let text = |name: &str| {
        let column = rejected.column_by_name(name).and_then(|c| c.as_string_view_opt());
        column.map(|c| c.value(0).to_owned()).unwrap_or_default()
    };
    let lines = rejected
        .column_by_name("line")
        .and_then(|column| column.as_primitive_opt::<datafusion::arrow::datatypes::Int64Type>());
    let line = lines.map(|lines| lines.value(0)).unwrap_or_default();
    Error::run(format!("a bad row at {}:{line}: {}", text("file"), text(REASON)))
        .because("`on_bad_row: stop`")
}

/// Counts rows by port: the last column names it.
fn route(batch: &RecordBatch, tally: &Tally, projection: &[usize]) -> PlanResult<RecordBatch> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let ports = cast(batch.column(batch.num_columns() - 1), &DataType::Utf8View)?;
    for port in ports.as_string_view().iter().flatten() {
        *counts.entry(port).or_default() += 1;
    }
    for (port, n) in counts {
        tally.route(port, n);
    }
    tally.accept(batch.num_rows() as u64);
    Ok(batch.project(projection)?)
}

/// A node's rows, kept in its tally while a plan reads them.
struct Shared {
    schema: SchemaRef,
    tally: Arc<Tally>,
}

impl Shared {
    fn begin(
        tally: &Arc<Tally>,
        rows: SendableRecordBatchStream,
    ) -> PlanResult<SendableRecordBatchStream> {
        let schema = rows.schema();
        tally.begin(rows)?;
        Ok(make_cooperative(Box::pin(Self { schema, tally: Arc::clone(tally) })))
    }
}

impl Stream for Shared {
    type Item = Result<RecordBatch, DataFusionError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.tally.with_rows(|rows| rows.poll_next_unpin(context));
        match polled {
            Some(Poll::Ready(None)) => {
                self.tally.take_rest();
                match self.tally.finish() {
                    Ok(()) => Poll::Ready(None),
                    Err(error) => Poll::Ready(Some(Err(error.into()))),
                }
            }
            Some(polled) => polled,
            None => Poll::Ready(None),
        }
    }
}

impl RecordBatchStream for Shared {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
