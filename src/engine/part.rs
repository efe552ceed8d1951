//! The part of a pipeline that a replay runs: what its rows pass through on their own, where they
//! go, and what else that needs.
//!
//! A replay has some of the rows. What follows from all rows (a sum, a file that is replaced) is
//! left out, and so is what would take the rows of others a second time.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::common::JoinType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Distinct, LogicalPlan};

use super::file::File;
use super::graph::{Edges, node_of};
use super::operator::Table;
use super::plan::{Into, Plan, Stage};
use crate::sinks::Write;
use crate::transforms::TransformKind;

/// What runs in a replay.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    /// The replayed node, and the nodes and sinks that its rows reach on their own.
    pub(super) reached: BTreeSet<String>,
    /// The sinks among them.
    pub(super) sinks: BTreeSet<String>,
    /// Everything that runs, the sinks included.
    pub(super) needed: BTreeSet<String>,
    /// The same and what feeds the replayed node, whose columns have to be known.
    pub(super) planned: BTreeSet<String>,
    /// Which sinks are left out, and why.
    pub(super) left_out: Vec<String>,
    /// What else should be known of it.
    pub(super) notes: Vec<String>,
}

impl Part {
    /// Follows the rows of `node`, in an order in which nodes come after what feeds them.
    /// `mixing` are the transforms that do not take rows one by one.
    pub(super) fn of(
        file: &File,
        (order, edges): (&[String], &Edges),
        node: &str,
        mixing: &BTreeSet<String>,
    ) -> Self {
        let mut part = Self { reached: BTreeSet::from([node.to_owned()]), ..Self::default() };
        let mut spoiled: BTreeMap<&str, String> = BTreeMap::new();
        for id in order.iter().filter(|id| *id != node) {
            let inputs: Vec<&str> =
                edges.get(id).into_iter().flatten().map(|input| input.as_str()).collect();
            let sink = file.sinks.iter().find(|sink| sink.id.value == *id);
            let write = sink.and_then(|sink| sink.common.write.as_ref()).map(|write| write.value);
            let inherited = inputs.iter().find_map(|input| spoiled.get(node_of(input)).cloned());
            let is_reached = inputs.iter().any(|input| comes(input, node, &part.reached));
            let other = inputs.iter().find(|input| !comes(input, node, &part.reached));
            let takes_port = sink.is_some() && inputs.iter().any(|input| is_port(input, node));
            let why = match (inherited, write, other) {
                (Some(why), _, _) => why,
                _ if !is_reached && !takes_port => continue,
                (_, Some(Write::Replace), _) => {
                    "it replaces all of its rows, and a replay has some".to_owned()
                }
                _ if takes_port => "rows that are refused again stay where they are".to_owned(),
                (_, Some(_), Some(other)) => {
                    format!("it would take the rows of `{other}` a second time")
                }
                _ if mixing.contains(id) => {
                    format!("`{id}` puts rows together, and a replay has some of them")
                }
                _ => {
                    part.reached.insert(id.clone());
                    if sink.is_some() {
                        part.sinks.insert(id.clone());
                    }
                    if is_choosing(file, id) {
                        part.notes.push(format!(
                            "`{id}` compares replayed rows with each other alone: one with the key \
                             of a row that was written before takes its place"
                        ));
                    }
                    continue;
                }
            };
            if sink.is_some() {
                part.left_out.push(format!("`{id}` is left out: {why}"));
            }
            spoiled.insert(id, why);
        }
        part.needed = above(&part.sinks, edges, Some(node));
        part.planned = above(&part.sinks, edges, None);
        part
    }
}

/// Says whether a transform keeps one row of those with the same key.
fn is_choosing(file: &File, id: &str) -> bool {
    let transform = file.transforms.iter().find(|node| node.id.value == id);
    transform.is_some_and(|node| matches!(node.kind, TransformKind::Deduplicate(_)))
}

fn is_port(input: &str, node: &str) -> bool {
    input.strip_prefix(node) == Some(".rejected")
}

/// Says whether replayed rows come by an input; those that are refused again do not.
fn comes(input: &str, node: &str, reached: &BTreeSet<String>) -> bool {
    reached.contains(node_of(input)) && !is_port(input, node)
}

/// Returns nodes and all that feeds them, but not what feeds `end`.
fn above(from: &BTreeSet<String>, edges: &Edges, end: Option<&str>) -> BTreeSet<String> {
    let mut all = from.clone();
    let mut open: Vec<String> = from.iter().cloned().collect();
    while let Some(id) = open.pop() {
        if Some(id.as_str()) == end {
            continue;
        }
        for input in edges.get(&id).into_iter().flatten() {
            let feeding = node_of(input).to_owned();
            if all.insert(feeding.clone()) {
                open.push(feeding);
            }
        }
    }
    all
}

/// Says of a transform whether replayed rows pass through its plan; `None` when none arrive.
/// They pass when each becomes rows of its own, whatever other rows there are.
pub(super) fn passes(plan: &LogicalPlan, node: &str, reached: &BTreeSet<String>) -> Option<bool> {
    let arrives = |input: &str| comes(input, node, reached);
    reads(plan, &arrives).then(|| is_row_by_row(plan, &arrives))
}

fn reads(plan: &LogicalPlan, arrives: &dyn Fn(&str) -> bool) -> bool {
    let mut is_found = false;
    // The walk itself cannot fail.
    let _ = plan.apply_with_subqueries(|plan| {
        let LogicalPlan::TableScan(scan) = plan else { return Ok(TreeNodeRecursion::Continue) };
        let provider = source_as_provider(&scan.source)?;
        let table = provider.as_ref().downcast_ref::<Table>();
        is_found |= table.is_some_and(|table| arrives(table.node()));
        Ok(if is_found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    is_found
}

fn is_row_by_row(plan: &LogicalPlan, arrives: &dyn Fn(&str) -> bool) -> bool {
    if !reads(plan, arrives) {
        return true;
    }
    let inputs = plan.inputs();
    let is_sound = match plan {
        LogicalPlan::TableScan(_) => return true,
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(Distinct::All(_))
        | LogicalPlan::Unnest(_)
        | LogicalPlan::Repartition(_)
        // Our own, which counts.
        | LogicalPlan::Extension(_) => true,
        LogicalPlan::Union(_) => inputs.iter().all(|input| reads(input, arrives)),
        LogicalPlan::Join(join) => {
            let (left, right) = (reads(&join.left, arrives), reads(&join.right, arrives));
            match join.join_type {
                JoinType::Inner => true,
                JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                    left && !right
                }
                JoinType::Right
                | JoinType::RightSemi
                | JoinType::RightAnti
                | JoinType::RightMark => right && !left,
                JoinType::Full => false,
            }
        }
        _ => false,
    };
    is_sound && !asks(plan, arrives) && inputs.iter().all(|input| is_row_by_row(input, arrives))
}

/// Says whether an expression of this plan asks a query over replayed rows.
fn asks(plan: &LogicalPlan, arrives: &dyn Fn(&str) -> bool) -> bool {
    let mut is_found = false;
    let _ = plan.apply_subqueries(|query| {
        is_found |= reads(query, arrives);
        Ok(TreeNodeRecursion::Continue)
    });
    is_found
}

impl Plan {
    /// Leaves out what a replay does not run.
    pub(super) fn keep_only(&mut self, part: &Part) {
        self.nodes.retain(|node| part.needed.contains(&node.id));
        let is_kept: Vec<bool> =
            self.sinks.iter().map(|sink| part.sinks.contains(&sink.id)).collect();
        let mut kept = is_kept.iter();
        self.sinks.retain(|_| kept.next() == Some(&true));
        let place = |index: &usize| {
            let before = is_kept.get(..*index)?;
            is_kept.get(*index)?.then(|| before.iter().filter(|kept| **kept).count())
        };
        let keep = |stage: &mut Stage| match &mut stage.into {
            Into::Landed(_) => part.needed.contains(&stage.name),
            Into::Sinks(indices) => {
                *indices = indices.iter().filter_map(place).collect();
                !indices.is_empty()
            }
            Into::Kept(_) => true,
        };
        self.stages.retain_mut(keep);
        self.late_stages.retain_mut(keep);
    }
}
