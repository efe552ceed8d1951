//! Nodes and what feeds them: an order in which each comes after its inputs.

use std::collections::{BTreeMap, BTreeSet};

use crate::spec::{Code, Diagnostic, Located};

/// The edges of a pipeline: for each node the nodes (without ports) that feed it.
pub(super) type Edges = BTreeMap<String, Vec<Located<String>>>;

/// Returns the id of the node that an input names: `usable.rejected` is a port of `usable`.
pub(super) fn node_of(input: &str) -> &str {
    input.split_once('.').map_or(input, |(node, _)| node)
}

/// Sorts the nodes so that each comes after those that feed it; notes each circle once. Returns
/// also the nodes of circles.
pub(super) fn order(edges: &Edges, found: &mut Vec<Diagnostic>) -> (Vec<String>, BTreeSet<String>) {
    let mut walk = Walk {
        edges,
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

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Done,
}

struct Walk<'a, 'f> {
    edges: &'a Edges,
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
                self.found.push(Diagnostic::error(Code::Cycle, message, input.at));
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
    use crate::spec::Mark;

    fn sorted(edges: &[(&str, &[&str])]) -> (Vec<String>, Vec<String>) {
        let located = |text: &&str| Located::new((*text).to_owned(), Mark::default());
        let edges = edges
            .iter()
            .map(|(id, from)| ((*id).to_owned(), from.iter().map(located).collect()))
            .collect();
        let mut found = Vec::new();
        let (order, _) = order(&edges, &mut found);
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
