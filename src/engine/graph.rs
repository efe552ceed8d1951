//! Nodes and what feeds them: an order in which each comes after its inputs, and what is read more
//! than once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::check::Options;
use super::file::File;
use crate::spec::{Code, Diagnostic, Located, Mark, Origin};
use crate::transforms::LOOKUP_PORTS;

/// The edges of a pipeline: for each node the nodes (without ports) that feed it.
pub(super) type Edges = BTreeMap<String, Vec<Located<String>>>;

/// The files in which inputs are named, by reader and input, when not in the pipeline's own.
pub(super) type Origins = BTreeMap<(String, String), Arc<Origin>>;

/// The port of the rows that a node refused.
const REJECTED: &str = "rejected";

/// Returns the id of the node that an input names: `usable.rejected` is a port of `usable`.
pub(super) fn node_of(input: &str) -> &str {
    input.split_once('.').map_or(input, |(node, _)| node)
}

/// Says whether an input is a port that is complete when its node was read to its end.
pub(super) fn is_late(input: &str) -> bool {
    input.split_once('.').is_some_and(|(_, port)| port == REJECTED || LOOKUP_PORTS.contains(&port))
}

/// Sorts the nodes so that each comes after those that feed it; notes each circle once. Returns
/// also the nodes of circles. `origins` are the files of inputs that are named in fragments.
pub(super) fn order(
    edges: &Edges,
    origins: &Origins,
    found: &mut Vec<Diagnostic>,
) -> (Vec<String>, BTreeSet<String>) {
    let mut walk = Walk {
        edges,
        origins,
        states: BTreeMap::new(),
        sorted: Vec::new(),
        circular: BTreeSet::new(),
        found,
    };
    for id in edges.keys() {
        walk.visit(id, &mut Vec::new());
    }
    (walk.sorted, walk.circular)
}

/// Finds the nodes that are read more than once, or together with their own rejected rows.
pub(super) fn to_land(file: &File, edges: &Edges, kept: &[Located<String>]) -> BTreeSet<String> {
    let mut n_readings: BTreeMap<&str, usize> = BTreeMap::new();
    let mut shared: BTreeSet<Vec<&str>> = BTreeSet::new();
    let mut landed = BTreeSet::new();
    for (id, from) in edges {
        let inputs: Vec<&str> = from.iter().map(|input| input.as_str()).collect();
        let is_sink = file.sinks.iter().any(|node| node.id.value == *id);
        // Sinks with the same `from` share a reading.
        if is_sink && !shared.insert(inputs.clone()) {
            continue;
        }
        let reads_nodes = inputs.iter().any(|input| !is_late(input));
        for input in inputs {
            if !is_late(input) {
                *n_readings.entry(node_of(input)).or_default() += 1;
            } else if !is_sink || reads_nodes {
                // Rejected rows are complete when the node was read to its end: their reader would
                // otherwise have to run before itself.
                landed.insert(node_of(input).to_owned());
            }
        }
    }
    for input in kept.iter().filter(|input| !is_late(input)) {
        *n_readings.entry(node_of(input)).or_default() += 1;
    }
    let several = n_readings.into_iter().filter(|(_, n)| *n > 1);
    landed.extend(several.map(|(node, _)| node.to_owned()));
    landed
}

/// Returns the ports that are complete late and that somebody reads.
pub(super) fn late_ports(edges: &Edges, kept: &[Located<String>]) -> BTreeSet<String> {
    let ports = edges.values().flatten().chain(kept).filter(|from| is_late(from));
    ports.map(|port| port.value.clone()).collect()
}

/// Returns the nodes and ports that a test or a preview looks at.
pub(super) fn kept_nodes(file: &File, options: &Options) -> Vec<Located<String>> {
    let is_sink = |id: &str| file.sinks.iter().any(|sink| sink.id.value == id);
    let expected = options.stand_in.iter().flat_map(|stand_in| &stand_in.case.expect.rows.0);
    let expected = expected.map(|(id, _)| id.clone());
    let previewed = options.preview.iter();
    let previewed = previewed.map(|preview| Located::new(preview.node.clone(), Mark::default()));
    expected.chain(previewed).filter(|id| !is_sink(id)).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Done,
}

struct Walk<'a, 'f> {
    edges: &'a Edges,
    origins: &'a Origins,
    states: BTreeMap<&'a str, State>,
    sorted: Vec<String>,
    circular: BTreeSet<String>,
    found: &'f mut Vec<Diagnostic>,
}

impl<'a> Walk<'a, '_> {
    fn visit(&mut self, id: &'a str, path: &mut Vec<&'a str>) {
        if self.states.get(id) == Some(&State::Done) {
            return;
        }
        self.states.insert(id, State::Open);
        path.push(id);
        for input in self.edges.get(id).into_iter().flatten() {
            let feeding = node_of(input);
            if self.states.get(feeding) == Some(&State::Open) {
                let start = path.iter().position(|&node| node == feeding).unwrap_or(0);
                let mut circle: Vec<&str> = path[start..].to_vec();
                self.circular.extend(circle.iter().map(|&node| node.to_owned()));
                circle.push(feeding);
                circle.reverse();
                let message = format!("nodes feed each other in a circle: {}", circle.join(" → "));
                let mut fault = Diagnostic::error(Code::Cycle, message, input.at);
                fault.origin = self.origins.get(&(id.to_owned(), input.value.clone())).cloned();
                self.found.push(fault);
            } else if let Some((feeding, _)) = self.edges.get_key_value(feeding) {
                self.visit(feeding, path);
            }
        }
        path.pop();
        self.states.insert(id, State::Done);
        self.sorted.push(id.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(edges: &[(&str, &[&str])]) -> (Vec<String>, Vec<String>) {
        let located = |text: &&str| Located::new((*text).to_owned(), Mark::default());
        let edges = edges
            .iter()
            .map(|(id, from)| ((*id).to_owned(), from.iter().map(located).collect()))
            .collect();
        let mut found = Vec::new();
        let (order, _) = order(&edges, &BTreeMap::new(), &mut found);
        (order, found.into_iter().map(|fault| fault.message).collect())
    }

    #[test]
    fn puts_each_node_after_its_inputs() {
        let (order, found) =
            sorted(&[("a", &["b.rejected", "c"]), ("b", &["c"]), ("c", &[]), ("d", &["nobody"])]);
        assert_eq!(order, ["c", "b", "a", "d"]);
        assert!(found.is_empty());
    }

    #[test]
    fn names_the_nodes_of_a_circle() {
        let (_, found) = sorted(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &["d"])]);
        assert_eq!(
            found,
            [
                "nodes feed each other in a circle: a → c → b → a",
                "nodes feed each other in a circle: d → d",
            ]
        );
    }
}
