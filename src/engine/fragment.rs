//! Fragments: transforms in a file of their own, put into every pipeline that uses them.
//!
//! A node `leads` that uses a fragment brings its nodes along under names of their own,
//! `leads/scored`. Inside, they go by the names of the fragment: each use has a catalog in which
//! its inputs and nodes are tables.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::datasource::empty::EmptyTable;

use super::check::check_ids;
use super::file::{self, File, InputColumn, Node};
use crate::context::{Sql, read_text, reference};
use crate::spec::{Code, Diagnostic, Located, LocatedMap, Origin, Scope, list, tidy};
use crate::transforms::{TransformKind, Use};

/// How deeply fragments may use fragments.
const MOST_LEVELS: usize = 8;

/// How many nodes fragments may bring: fragments that use fragments multiply.
const MOST_NODES: usize = 1000;

/// A fragment at work in a pipeline.
pub struct Instance {
    /// The node that uses it.
    id: String,
    /// Its file.
    pub(super) origin: Arc<Origin>,
    /// Its SQL, over tables by their names in the fragment.
    pub(super) sql: Sql,
    inputs: Vec<Input>,
    /// The fragment in which it is used, if it is one.
    outer: Option<Arc<Self>>,
}

/// What stands for an input of a fragment.
struct Input {
    name: String,
    /// The node outside, and where it is named.
    given: Located<String>,
    columns: LocatedMap<InputColumn>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instance({} of {})", self.id, self.origin.name)
    }
}

impl Instance {
    fn input_of(&self, local: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.name == local)
    }

    /// Returns the name that a node or port of the fragment has in the pipeline.
    pub(super) fn global(&self, local: &str) -> String {
        match self.input_of(local) {
            Some(input) => match &self.outer {
                Some(outer) => outer.global(&input.given),
                None => input.given.value.clone(),
            },
            None => format!("{}/{local}", self.id),
        }
    }

    /// Returns what an input of one of its nodes is in the pipeline, where that is said, and in
    /// which file if not in the pipeline's own: for an input of the fragment where it is used.
    pub(super) fn input(&self, local: &Located<String>) -> (Located<String>, Option<Arc<Origin>>) {
        let global = self.global(local);
        match self.input_of(local) {
            Some(input) => {
                let origin = self.outer.as_ref().map(|outer| Arc::clone(&outer.origin));
                (Located::new(global, input.given.at), origin)
            }
            None => (Located::new(global, local.at), Some(Arc::clone(&self.origin))),
        }
    }

    /// Returns the name that a node has in the fragment.
    pub(super) fn local<'a>(&self, id: &'a str) -> &'a str {
        let local = id.strip_prefix(&self.id).and_then(|rest| rest.strip_prefix('/'));
        local.unwrap_or(id)
    }

    /// Finds what is wrong with the rows that stand for an input, at the place where they are
    /// named.
    pub(super) fn check_input(&self, local: &str, schema: &Schema) -> Vec<Diagnostic> {
        let Some(input) = self.input_of(local) else { return Vec::new() };
        let mut found = Vec::new();
        for (name, column) in input.columns.0.iter().map(|(name, column)| (&name.value, column)) {
            let needs = format!("which the input `{local}` of {} needs", self.origin.name);
            let fault = match schema.column_with_name(name) {
                Some((_, field)) if column.kind.takes(field.data_type()) => continue,
                Some((_, field)) => format!(
                    "`{name}` in `{}` is {}, not the {} {needs}",
                    input.given.value,
                    field.data_type(),
                    column.kind.name()
                ),
                None => format!("`{}` has no column `{name}`, {needs}", input.given.value),
            };
            let code = Code::UnknownColumn;
            let mut fault = Diagnostic::error(code, fault, input.given.at);
            fault.origin = self.outer.as_ref().map(|outer| Arc::clone(&outer.origin));
            found.push(fault);
        }
        found
    }
}

/// Puts the nodes of all fragments that a file uses into the file. Returns the fragments' files.
pub(super) fn expand(
    file: &mut File,
    scope: &Scope,
    working_folder: &Path,
    sql: &Sql,
    found: &mut Vec<Diagnostic>,
) -> Vec<Arc<Origin>> {
    let (nodes, origins) = (Vec::new(), Vec::new());
    let mut expansion = Expansion { scope, working_folder, sql, found, nodes, origins };
    let folder = scope.folder.clone();
    let mut broken = Vec::new();
    for node in &mut file.transforms {
        if !expansion.node(node, &folder, &mut Vec::new()) {
            broken.push(node.id.value.clone());
        }
    }
    file.transforms.extend(expansion.nodes);
    let origins = expansion.origins;
    file.transforms.retain(|node| !broken.contains(&node.id.value));
    file.broken.extend(broken);
    origins
}

struct Expansion<'a> {
    scope: &'a Scope,
    /// The folder in which the user is: files are named relative to it.
    working_folder: &'a Path,
    sql: &'a Sql,
    found: &'a mut Vec<Diagnostic>,
    nodes: Vec<Node<TransformKind>>,
    origins: Vec<Arc<Origin>>,
}

impl Expansion<'_> {
    /// Expands a node; `false` when a mistake leaves it without its fragment.
    fn node(
        &mut self,
        node: &mut Node<TransformKind>,
        folder: &Path,
        files: &mut Vec<PathBuf>,
    ) -> bool {
        let n_found = self.found.len();
        let is_expanded = match &node.kind {
            TransformKind::Use(settings) => {
                let settings = settings.clone();
                self.fragment(&settings, node, folder, files)
            }
            _ => {
                self.refuse_words(node);
                true
            }
        };
        if let Some(instance) = &node.instance {
            Diagnostic::place_in(&mut self.found[n_found..], &instance.origin);
        }
        is_expanded
    }

    fn found_in(&mut self, mut faults: Vec<Diagnostic>, origin: &Arc<Origin>) {
        Diagnostic::place_in(&mut faults, origin);
        self.found.append(&mut faults);
    }

    fn refuse_words(&mut self, node: &Node<TransformKind>) {
        let with = node.common.with.0.first().map(|(name, _)| ("with", name.at));
        let output = node.common.output.as_ref().map(|output| ("output", output.at));
        for (word, at) in with.into_iter().chain(output) {
            let message = format!("`{word}` only goes with `use`");
            self.found.push(Diagnostic::error(Code::UnknownKey, message, at));
        }
    }

    fn fragment(
        &mut self,
        settings: &Use,
        node: &mut Node<TransformKind>,
        folder: &Path,
        files: &mut Vec<PathBuf>,
    ) -> bool {
        let text = match settings.0.resolve(self.scope) {
            Ok(Some(text)) => text,
            Ok(None) => return false,
            Err(fault) => {
                self.found.push(fault);
                return false;
            }
        };
        let path = tidy(&folder.join(&text));
        let at = settings.0.at();
        if self.nodes.len() > MOST_NODES {
            let message = format!("fragments bring more than {MOST_NODES} nodes");
            self.found.push(Diagnostic::error(Code::BadValue, message, at));
            return false;
        }
        if files.contains(&path) || files.len() == MOST_LEVELS {
            let message = format!("`{text}` uses itself, or fragments are nested too deeply");
            self.found.push(Diagnostic::error(Code::Cycle, message, at));
            return false;
        }
        let read = match read_text(&path) {
            Ok(read) => read,
            Err(error) => {
                let message = format!("`{}` cannot be read: {error}", path.display());
                self.found.push(Diagnostic::error(Code::File, message, at));
                return false;
            }
        };
        let name = path.strip_prefix(self.working_folder).unwrap_or(&path);
        let name = name.display().to_string();
        let origin = Arc::new(Origin { name, text: read.as_str().into() });
        let (parsed, faults) = file::parse(&read);
        let is_fine = faults.is_empty();
        self.found_in(faults, &origin);
        let Some(fragment) = parsed.filter(|_| is_fine) else { return false };
        if fragment.fragment.is_none() {
            let message = format!("`{}` is a pipeline, not a fragment", origin.name);
            self.found.push(Diagnostic::error(Code::BadValue, message, at));
            return false;
        }
        let mut faults = Vec::new();
        check_ids(&fragment, &mut faults);
        check_outputs(&fragment, &mut faults);
        let is_fine = faults.is_empty();
        self.found_in(faults, &origin);
        let inputs = self.inputs(node, &fragment);
        let output = self.output(node, &fragment);
        let (Some(inputs), Some(output), true) = (inputs, output, is_fine) else { return false };
        let outer = node.instance.clone();
        let id = node.id.value.clone();
        let Some(sql) = self.sql.within(&id, Arc::clone(&origin.text)) else {
            let message = "the fragment's tables cannot be named";
            self.found.push(Diagnostic::error(Code::Id, message, node.id.at));
            return false;
        };
        let instance =
            Arc::new(Instance { id: id.clone(), origin: Arc::clone(&origin), sql, inputs, outer });
        self.origins.push(Arc::clone(&origin));
        // The output as the node outside names it.
        let local = match &node.instance {
            Some(outer) => outer.local(&id).to_owned(),
            None => id.clone(),
        };
        node.common.from = vec![Located::new(format!("{local}/{}", output.value), output.at)];
        files.push(path.clone());
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut is_whole = true;
        for mut inner in fragment.transforms {
            inner.id.value = format!("{id}/{}", inner.id.value);
            inner.instance = Some(Arc::clone(&instance));
            is_whole &= self.node(&mut inner, &folder, files);
            self.nodes.push(inner);
        }
        files.pop();
        is_whole
    }

    fn inputs(&mut self, node: &Node<TransformKind>, fragment: &File) -> Option<Vec<Input>> {
        let with = &node.common.with;
        let names = fragment.inputs.0.iter().map(|(name, _)| name.as_str());
        let mut is_fine = true;
        for (name, _) in &with.0 {
            if fragment.inputs.get(name).is_none() {
                is_fine = false;
                let message = format!("the fragment has no input `{}`", name.value);
                let fault = Diagnostic::error(Code::UnknownInput, message, name.at);
                self.found.push(fault.suggest(name, "inputs", names.clone()));
            }
        }
        let mut inputs = Vec::new();
        for (name, columns) in &fragment.inputs.0 {
            match with.get(name) {
                Some(given) => inputs.push(Input {
                    name: name.value.clone(),
                    given: given.clone(),
                    columns: columns.clone(),
                }),
                None => {
                    is_fine = false;
                    let message = format!("the fragment needs an input `{}`", name.value);
                    let fault = Diagnostic::error(Code::UnknownInput, message, node.kind_at);
                    let help = format!("say which node it is: `with: {{ {}: … }}`", name.value);
                    self.found.push(fault.help(help));
                }
            }
        }
        is_fine.then_some(inputs)
    }

    fn output(&mut self, node: &Node<TransformKind>, fragment: &File) -> Option<Located<String>> {
        let names = || fragment.outputs.iter().map(|name| name.as_str());
        let fault = match (&node.common.output, fragment.outputs.as_slice()) {
            (None, [only]) => return Some(Located::new(only.value.clone(), node.kind_at)),
            (Some(output), _) if names().any(|name| name == output.value) => {
                return Some(output.clone());
            }
            (Some(output), _) => {
                let message = format!("the fragment has no output `{}`", output.value);
                Diagnostic::error(Code::UnknownInput, message, output.at)
            }
            (None, _) => {
                let message = "the fragment has several outputs, and `output` says none";
                Diagnostic::error(Code::UnknownInput, message, node.kind_at)
            }
        };
        self.found.push(fault.help(format!("outputs are {}", list(names()))));
        None
    }
}

/// Makes the inputs of a fragment that is checked alone: tables without rows.
pub(super) fn add_inputs(fragment: &File, sql: &Sql) {
    for (name, columns) in &fragment.inputs.0 {
        let field = |(name, column): &(Located<String>, InputColumn)| {
            Field::new(&name.value, column.kind.data_type(), true)
        };
        let fields: Vec<Field> = columns.0.iter().map(field).collect();
        let table = Arc::new(EmptyTable::new(Arc::new(Schema::new(fields))));
        // An input of the name of another was noted with the ids.
        let _ = sql.session().register_table(reference(name), table);
    }
}

/// Finds outputs that are no nodes of the fragment.
pub(super) fn check_outputs(fragment: &File, found: &mut Vec<Diagnostic>) {
    let ids = fragment.transforms.iter().map(|node| node.id.as_str());
    for output in &fragment.outputs {
        if ids.clone().all(|id| id != output.value) {
            let message = format!("the output `{}` is no node of the fragment", output.value);
            let fault = Diagnostic::error(Code::UnknownInput, message, output.at);
            found.push(fault.suggest(output, "nodes", ids.clone()));
        }
    }
    if fragment.outputs.is_empty() {
        let at = fragment.fragment.as_ref().map_or_else(Default::default, |name| name.at);
        let fault = Diagnostic::error(Code::WrongType, "the fragment has no `outputs`", at);
        found.push(fault.help("name the nodes that a pipeline may read: `outputs: [scored]`"));
    }
}
