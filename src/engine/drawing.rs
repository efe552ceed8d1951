//! The graph of a pipeline as text, as Mermaid and as DOT.

use std::fmt::Write as _;

use super::check::Checked;
use super::graph::node_of;

/// A node of a checked pipeline and what feeds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphNode {
    /// Its id.
    pub id: String,
    /// `source`, `transform` or `sink`.
    pub family: &'static str,
    /// Its kind, `csv`.
    pub kind: &'static str,
    /// The nodes and ports that feed it.
    pub from: Vec<String>,
}

/// A way to write down a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawing {
    /// One line a node.
    Text,
    /// For Markdown.
    Mermaid,
    /// For Graphviz.
    Dot,
}

/// Draws a pipeline; rows flow from the top or the left.
pub fn draw(checked: &Checked, drawing: Drawing) -> String {
    match drawing {
        Drawing::Text => text(&checked.graph),
        Drawing::Mermaid => mermaid(&checked.graph),
        Drawing::Dot => dot(&checked.graph),
    }
}

fn text(nodes: &[GraphNode]) -> String {
    let width = |of: fn(&GraphNode) -> &str| {
        nodes.iter().map(|node| of(node).chars().count()).max().unwrap_or(0)
    };
    let (ids, kinds) = (width(|node| &node.id), width(|node| node.kind));
    let mut out = String::new();
    for node in nodes {
        let from = match node.from.as_slice() {
            [] => String::new(),
            from => format!("← {}", from.join(", ")),
        };
        let line = format!("{:<9}  {:<ids$}  {:<kinds$}  {from}", node.family, node.id, node.kind);
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

fn mermaid(nodes: &[GraphNode]) -> String {
    let mut out = String::from("flowchart LR\n");
    // Ids hold `/`, which Mermaid does not take for a name.
    let name = |id: &str| id.replace('/', "__");
    for node in nodes {
        let (open, close) = match node.family {
            "source" => ("([", "])"),
            "sink" => ("[(", ")]"),
            _ => ("[", "]"),
        };
        let _ = writeln!(out, "  {}{open}\"{}<br/>{}\"{close}", name(&node.id), node.id, node.kind);
    }
    for (node, from) in nodes.iter().flat_map(|node| node.from.iter().map(move |f| (node, f))) {
        let port = port_of(from).map(|port| format!("|{port}|")).unwrap_or_default();
        let _ = writeln!(out, "  {} -->{port} {}", name(node_of(from)), name(&node.id));
    }
    out
}

fn dot(nodes: &[GraphNode]) -> String {
    let mut out = String::from("digraph pipeline {\n  rankdir=LR;\n");
    for node in nodes {
        let shape = match node.family {
            "source" => "ellipse",
            "sink" => "cylinder",
            _ => "box",
        };
        let _ =
            writeln!(out, "  \"{0}\" [shape={shape}, label=\"{0}\\n{1}\"];", node.id, node.kind);
    }
    for (node, from) in nodes.iter().flat_map(|node| node.from.iter().map(move |f| (node, f))) {
        let port = port_of(from).map(|port| format!(" [label=\"{port}\"]")).unwrap_or_default();
        let _ = writeln!(out, "  \"{}\" -> \"{}\"{port};", node_of(from), node.id);
    }
    out.push_str("}\n");
    out
}

fn port_of(input: &str) -> Option<&str> {
    input.split_once('.').map(|(_, port)| port)
}
