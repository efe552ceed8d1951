//! From checked nodes to plans: every node becomes a table under its id in one session.
//!
//! A node that several others read is landed: it is computed once and read from there. Sinks of
//! the same node share one reading. So every source is read once, whatever reads it.

mod enriched;
mod replayed;
mod sourced;
mod written;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::{ident, lit};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::check::Options;
use super::count::{Planner, counted};
use super::divide::rejected_schema;
use super::enrich::{Means, port_schema};
use super::file::{File, Node};
use super::graph::{Edges, is_late, kept_nodes, late_ports, node_of, to_land};
use super::land::{Landed, Tally};
use super::operator::{LandedRows, Rows, Table};
use super::part::Part;
use super::testing::Kept;
use crate::context::{Fills, Sql, reference};
use crate::sinks::{Sink, Write};
use crate::sources::Source;
use crate::spec::{Code, Diagnostic, Family, Located, Resources, Scope, Share};
use crate::transforms::{Enrichment, Operator, PORT, Planned, Rule, TransformKind};

pub(super) use enriched::check_asking;

/// Memory that operators may fill before they spill to disk.
const MEMORY: usize = 256 << 20;

/// What runs: nodes in order, and the pieces of plan that make them.
pub(super) struct Plan {
    pub(super) nodes: Vec<PlannedNode>,
    pub(super) sinks: Vec<PlannedSink>,
    /// What runs, in order.
    pub(super) stages: Vec<Stage>,
    /// What runs when everything else was read: sinks of rejected rows.
    pub(super) late_stages: Vec<Stage>,
    /// Rows that a test or a preview looks at, by node or port.
    pub(super) kept: Vec<(String, Kept)>,
    /// Folder of the run, for landed rows; set when it begins.
    pub(super) folder: Arc<OnceLock<PathBuf>>,
    /// What look-ups have at hand; set when the run begins.
    pub(super) means: Arc<OnceLock<Means>>,
    /// What is left of the pipeline in a replay.
    pub(super) part: Option<Part>,
}

/// A source or transform.
pub(super) struct PlannedNode {
    pub(super) id: String,
    pub(super) family: &'static str,
    pub(super) kind: &'static str,
    pub(super) tally: Arc<Tally>,
    pub(super) source: Option<Arc<dyn Source>>,
    /// The share of rejected rows above which the run stops.
    pub(super) at_most: Option<Share>,
    /// The share by which a source may shrink from one run to the next.
    pub(super) shrink_at_most: Option<Share>,
    /// Whether it reads only what changed.
    pub(super) has_position: bool,
    /// The streams whose gaps it fills, until a day.
    pub(super) fills: Option<Fills>,
    pub(super) rules: Arc<[Rule]>,
    /// What it asks, if it is a look-up.
    pub(super) enrichment: Option<Arc<Enrichment>>,
    /// All its rows, to be read when they have to be and no stage does.
    pub(super) whole: Option<DataFrame>,
    /// Whether it must be read to its end, whatever its readers need: rejected rows are wanted,
    /// or a rule watches all of them.
    pub(super) is_read_whole: bool,
}

/// A sink.
pub(super) struct PlannedSink {
    pub(super) id: String,
    pub(super) kind: &'static str,
    pub(super) write: Write,
    pub(super) sink: Arc<dyn Sink>,
}

/// A piece of the run that reads rows to their end.
pub(super) struct Stage {
    pub(super) name: String,
    pub(super) rows: DataFrame,
    pub(super) into: Into,
}

/// Where the rows of a stage go.
pub(super) enum Into {
    /// To be read by later stages.
    Landed(Arc<LandedRows>),
    /// To sinks, by index.
    Sinks(Vec<usize>),
    /// To a test or a preview.
    Kept(Kept),
}

/// Makes a session with our operators in it.
pub(super) fn session() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(
        std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
    );
    config.options_mut().sql_parser.collect_spans = true;
    config.options_mut().execution.parquet.pushdown_filters = true;
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(MEMORY)))
        .build_arc()
        .unwrap_or_default();
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_query_planner(Arc::new(Planner))
        .build();
    SessionContext::new_with_state(state)
}

struct Planning<'a> {
    sql: Sql,
    session: SessionContext,
    scope: &'a Scope,
    options: &'a Options,
    state: &'a Path,
    folder: Arc<OnceLock<PathBuf>>,
    means: Arc<OnceLock<Means>>,
    /// What pipelines share.
    resources: &'a Resources,
    /// Nodes whose rows must be landed.
    landed: BTreeSet<String>,
    /// Ports that are complete late and that somebody reads.
    late_ports: BTreeSet<String>,
    /// Nodes whose columns are not known.
    unknown: BTreeSet<String>,
    /// What is wrong with rows that stand for the inputs of fragments.
    misfits: Vec<Diagnostic>,
    /// What a replay runs, as far as it is known from edges and from the plans so far.
    part: Option<Part>,
    /// Transforms that do not take the rows of a replay one by one.
    mixing: BTreeSet<String>,
    nodes: Vec<PlannedNode>,
    stages: Vec<Stage>,
    late_stages: Vec<Stage>,
}

impl Plan {
    /// Plans the nodes in `order`. `None` when a node cannot be planned; mistakes are in `found`.
    pub(super) async fn new(
        file: &File,
        order: &[String],
        edges: &Edges,
        (scope, options, state): (&Scope, &Options, &Path),
        sql: Sql,
        found: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let kept = kept_nodes(file, options);
        let replay = options.replay.as_deref();
        let part = |mixing: &BTreeSet<String>| {
            replay.map(|replay| Part::of(file, (order, edges), &replay.node, mixing))
        };
        let mut planning = Planning {
            session: sql.session(),
            sql,
            scope,
            options,
            state,
            folder: Arc::default(),
            means: Arc::default(),
            resources: &file.resources,
            landed: to_land(file, edges, &kept),
            late_ports: late_ports(edges, &kept),
            unknown: file.broken.clone(),
            misfits: Vec::new(),
            part: part(&BTreeSet::new()),
            mixing: BTreeSet::new(),
            nodes: Vec::new(),
            stages: Vec::new(),
            late_stages: Vec::new(),
        };
        for id in order {
            if let Some(node) = file.sources.iter().find(|node| node.id.value == *id) {
                planning.source(node, found);
            } else if file.broken.contains(id) {
                continue;
            } else if let Some(node) = file.transforms.iter().find(|node| node.id.value == *id) {
                let n_found = found.len();
                planning.transform(node, edges, found).await;
                if let Some(instance) = &node.instance {
                    Diagnostic::place_in(&mut found[n_found..], &instance.origin);
                }
            }
        }
        found.append(&mut planning.misfits);
        let sinks = planning.sinks(file, found).await;
        let kept = planning.keep(&kept, found).await;
        let part = part(&planning.mixing);
        planning.finished(sinks, kept, part)
    }
}

impl Planning<'_> {
    async fn transform(
        &mut self,
        node: &Node<TransformKind>,
        edges: &Edges,
        found: &mut Vec<Diagnostic>,
    ) {
        let id = &node.id.value;
        let from = edges.get(id).map(Vec::as_slice).unwrap_or_default();
        if from.iter().any(|from| self.unknown.contains(node_of(from))) || !self.has_inputs(from) {
            self.unknown.insert(id.clone());
            return;
        }
        let planned = match self.lend(node).await {
            Ok(true) => self.plan(node).await,
            // What is wrong with the input was noted.
            Ok(false) => Err(Vec::new()),
            Err(error) => Err(vec![cannot_plan(&error, &node.id)]),
        };
        let planned = match planned {
            Ok(planned) => planned,
            Err(faults) => {
                found.extend(faults);
                self.unknown.insert(id.clone());
                return;
            }
        };
        self.follow(id, planned.rows.logical_plan());
        let operator = planned.operator;
        let is_divided = matches!(operator, Some(Operator::Divide(_)));
        let enrichment = match &operator {
            Some(Operator::Enrich(enrichment)) => Some(Arc::clone(enrichment)),
            _ => None,
        };
        let all = Arc::clone(planned.rows.schema().inner());
        let n_columns = all.fields().len() - operator.as_ref().map_or(0, Operator::n_own_columns);
        let own: Vec<usize> = (0..n_columns).collect();
        let own = match all.project(&own) {
            Ok(schema) => Arc::new(schema),
            Err(error) => {
                found.push(cannot_plan(&error.into(), &node.id));
                return;
            }
        };
        let port = |port: &str| match enrichment {
            Some(_) => port_schema(&own, port),
            None => rejected_schema(&own),
        };
        let tally = self.tally(id, &port);
        if is_divided || enrichment.is_some() && tally.late_ports().next().is_some() {
            found.extend(clash(&own, &port("rejected"), node));
        }
        let schema = enrichment.as_ref().map_or_else(|| Arc::clone(&own), |e| e.schema(&own));
        let mut planned_node = PlannedNode {
            id: id.clone(),
            family: "transform",
            kind: node.kind.kind(),
            tally: Arc::clone(&tally),
            source: None,
            at_most: None,
            shrink_at_most: None,
            has_position: false,
            fills: None,
            rules: operator.as_ref().map(|o| o.rules().into()).unwrap_or_default(),
            is_read_whole: is_divided || enrichment.is_some(),
            enrichment,
            whole: None,
        };
        let registered = if let Some(operator) = operator {
            let rows = Rows::Operated {
                node: id.clone(),
                plan: Arc::new(planned.rows.logical_plan().clone()),
                operator,
                folder: Arc::clone(&self.folder),
                means: Arc::clone(&self.means),
                tally: Arc::clone(&tally),
            };
            let table = Table::new(schema, rows);
            planned_node.whole = self.session.read_table(Arc::new(table.clone())).ok();
            match self.register(id, table, &tally) {
                Ok(()) => self.register_ports(node).await,
                failed => failed,
            }
        } else {
            self.register_view(id, counted(planned.rows, id, &tally))
        };
        self.nodes.push(planned_node);
        if let Err(error) = registered {
            found.push(cannot_plan(&error, &node.id));
        }
    }

    async fn plan(&self, node: &Node<TransformKind>) -> Result<Planned, Vec<Diagnostic>> {
        let settings = node.kind.settings();
        let sql = node.instance.as_ref().map_or(&self.sql, |instance| &instance.sql);
        let session = sql.session();
        let input = self.input(&session, &node.id, &node.common.from).await;
        let input = input.map_err(|error| vec![cannot_plan(&error, &node.id)])?;
        let input = self.or_replayed(input, node, &session).await.map_err(|fault| vec![fault])?;
        let mut planned = match settings.enriches() {
            Some(lookup) => self.enrich(node, lookup, &input, sql).await?,
            None => settings.plan(&input, sql).await?,
        };
        planned.rows =
            analyzed(planned.rows).map_err(|error| vec![cannot_plan(&error, &node.id)])?;
        Ok(planned)
    }

    /// Gives a node of a fragment its inputs as tables of the fragment; `false` when one does not
    /// have the columns that the fragment needs.
    async fn lend(&mut self, node: &Node<TransformKind>) -> Result<bool, DataFusionError> {
        let Some(instance) = &node.instance else { return Ok(true) };
        let reads = node.kind.settings().reads(&instance.sql).ok().flatten();
        let names = reads.unwrap_or_else(|| node.common.from.clone());
        let session = instance.sql.session();
        let n_misfits = self.misfits.len();
        for name in &names {
            if let Some((node, _)) = name.split_once('.') {
                instance.sql.add_ports(node)?;
            }
            if session.table_exist(reference(name))? {
                continue;
            }
            let global = instance.global(name);
            let table = self.session.table_provider(reference(&global)).await?;
            self.misfits.extend(instance.check_input(name, &table.schema()));
            session.register_table(reference(name), table)?;
        }
        Ok(self.misfits.len() == n_misfits)
    }

    /// Says whether all inputs are tables; what is not was noted when the edges were made.
    fn has_inputs(&self, from: &[Located<String>]) -> bool {
        from.iter().all(|from| self.session.table_exist(reference(from)).unwrap_or(false))
    }

    /// Makes the tally of a node, with a place for the rows of each late port that is read.
    fn tally(&self, id: &str, schema_of: &dyn Fn(&str) -> SchemaRef) -> Arc<Tally> {
        let ports = self.late_ports.iter().filter_map(|name| {
            let port = name.strip_prefix(id)?.strip_prefix('.')?;
            let landed = Landed::new(schema_of(port), name, Arc::clone(&self.folder));
            Some((port.to_owned(), landed))
        });
        Arc::new(Tally::new(ports.collect(), self.options.clock))
    }

    /// Registers a table under the id of its node, and the rows that do not go on as its ports.
    fn register(
        &mut self,
        id: &str,
        table: Table,
        tally: &Arc<Tally>,
    ) -> Result<(), DataFusionError> {
        for (port, landed) in tally.late_ports() {
            self.sql.add_ports(id)?;
            let name = format!("{id}.{port}");
            let rows = Arc::new(LandedRows::Late(Arc::clone(tally), port.to_owned()));
            let rows = Rows::Landed { node: name.clone(), landed: rows };
            self.session
                .register_table(reference(&name), Arc::new(Table::new(landed.schema(), rows)))?;
        }
        if !self.landed.contains(id) {
            self.session.register_table(reference(id), Arc::new(table))?;
            return Ok(());
        }
        let rows = self.session.read_table(Arc::new(table))?;
        self.land(id, rows)
    }

    /// Registers each port of a routed node: the rows that name it.
    async fn register_ports(&self, node: &Node<TransformKind>) -> Result<(), DataFusionError> {
        let ports = node.kind.settings().ports();
        if ports.is_empty() {
            return Ok(());
        }
        self.sql.add_ports(&node.id)?;
        for port in ports {
            let rows = self.session.table(reference(&node.id)).await?;
            let rows = rows.filter(ident(PORT).eq(lit(port.as_str())))?.drop_columns(&[PORT])?;
            let name = format!("{}.{}", node.id.value, port.value);
            self.session.register_table(reference(&name), rows.into_view())?;
        }
        Ok(())
    }

    fn register_view(&mut self, id: &str, rows: DataFrame) -> Result<(), DataFusionError> {
        if self.landed.contains(id) {
            return self.land(id, rows);
        }
        self.session.register_table(reference(id), rows.into_view())?;
        Ok(())
    }

    fn land(&mut self, id: &str, rows: DataFrame) -> Result<(), DataFusionError> {
        let schema = Arc::clone(rows.schema().inner());
        let landed = Landed::new(Arc::clone(&schema), id, Arc::clone(&self.folder));
        let landed = Arc::new(LandedRows::Node(Box::new(landed)));
        let into = Into::Landed(Arc::clone(&landed));
        self.stages.push(Stage { name: id.to_owned(), rows, into });
        let table = Table::new(schema, Rows::Landed { node: id.to_owned(), landed });
        self.session.register_table(reference(id), Arc::new(table))?;
        Ok(())
    }

    /// Returns the table that a transform reads; several inputs become one under a hidden name. A
    /// transform without `from` names its tables itself.
    async fn input(
        &self,
        session: &SessionContext,
        id: &str,
        from: &[Located<String>],
    ) -> Result<String, DataFusionError> {
        match from {
            [] => Ok(String::new()),
            [one] => Ok(one.value.clone()),
            _ => {
                let name = format!("__from_{id}");
                let rows = self.union(session, from).await?;
                session.register_table(reference(&name), rows.into_view())?;
                Ok(name)
            }
        }
    }

    /// Reads several inputs one after the other, columns by name; what one lacks is null.
    async fn union(
        &self,
        session: &SessionContext,
        from: &[Located<String>],
    ) -> Result<DataFrame, DataFusionError> {
        let mut all: Option<DataFrame> = None;
        for input in from {
            let rows = session.table(reference(input)).await?;
            all = Some(match all {
                Some(all) => all.union_by_name(rows)?,
                None => rows,
            });
        }
        match all {
            Some(all) => Ok(all),
            None => self.session.read_empty(),
        }
    }

    /// Adds a stage for each node and port that a test or a preview looks at.
    async fn keep(
        &mut self,
        ids: &[Located<String>],
        found: &mut Vec<Diagnostic>,
    ) -> Vec<(String, Kept)> {
        let mut all = Vec::new();
        for id in ids {
            if self.unknown.contains(node_of(id)) || !self.has_inputs(std::slice::from_ref(id)) {
                continue;
            }
            let most = self.options.preview.as_ref().map(|preview| preview.rows);
            let rows = self.session.table(reference(id)).await;
            match rows.and_then(|rows| rows.limit(0, most)) {
                Ok(rows) => {
                    let kept = Kept::new(Arc::clone(rows.schema().inner()));
                    let name = id.value.clone();
                    let stage = Stage { name: name.clone(), rows, into: Into::Kept(kept.clone()) };
                    let is_late = is_late(id);
                    if is_late { &mut self.late_stages } else { &mut self.stages }.push(stage);
                    all.push((name, kept));
                }
                Err(error) => found.push(cannot_plan(&error, id)),
            }
        }
        all
    }
}

/// Gives a plan the types that it will have: a `CASE` has those of its first branch before, and of
/// all its branches together after it was analysed.
fn analyzed(rows: DataFrame) -> Result<DataFrame, DataFusionError> {
    let (state, plan) = rows.into_parts();
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    Ok(DataFrame::new(state, plan))
}

/// Says when the input of a node has a column that its port `.rejected` needs for itself.
fn clash(own: &SchemaRef, port: &SchemaRef, node: &Node<TransformKind>) -> Option<Diagnostic> {
    let added = port.fields().iter().skip(own.fields().len());
    let mut taken = added.filter(|field| own.column_with_name(field.name()).is_some());
    let name = taken.next()?.name();
    let message = format!("its input has a column `{name}`, which rejected rows need for theirs");
    Some(Diagnostic::error(Code::Id, message, node.id.at))
}

fn cannot_plan(error: &DataFusionError, id: &Located<String>) -> Diagnostic {
    Diagnostic::error(Code::SqlPlan, error.strip_backtrace(), id.at)
}
