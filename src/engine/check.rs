//! From a file to what can run: every mistake that can be known without running is found here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::definition::definitions;
use super::drawing::GraphNode;
use super::file::{self, File, Node};
use super::fragment;
use super::graph::{self, Edges, Origins, node_of};
use super::plan::{Plan, check_asking};
use super::replay::Replay;
use super::testing::{StandIn, check_case};
use crate::clock::Clock;
use crate::context::{Files, Outside, Sql, below, check_inside, project_folder};
use crate::feeds::Feeds;
use crate::net::Transport;
use crate::spec::{
    Code, Diagnostic, Family, Located, Mark, Origin, Scope, Severity, Value, VarDecl, VarType,
    did_you_mean, is_id, list, tidy,
};
use crate::state::Lock;
use crate::transforms::TransformKind;

/// What a check is told from outside the file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Values of variables, from `--var`.
    pub vars: BTreeMap<String, String>,
    /// The environment, for `${env:…}` and `${secret:…}`.
    pub env: BTreeMap<String, String>,
    /// The folder in which paths of `--var` start.
    pub working_folder: PathBuf,
    /// What time it is.
    pub clock: Clock,
    /// The id of the run.
    pub run_id: String,
    /// Whether it is about to run: then files must be there, and variables must have values.
    pub is_run: bool,
    /// Whether nothing is written, so that nothing can be lost either.
    pub is_dry: bool,
    /// Whether sources may have far fewer rows than in the last run.
    pub may_shrink: bool,
    /// The most rows to read from each source.
    pub limit: Option<u64>,
    /// What sends requests to APIs; the network otherwise.
    pub transport: Option<Arc<dyn Transport>>,
    /// Feeds that stay open from one batch of a stream to the next.
    pub feeds: Feeds,
    /// Files that sources have got from elsewhere, by source.
    pub fetched: BTreeMap<String, PathBuf>,
    /// What stands in for the world, in a test.
    pub stand_in: Option<Arc<StandIn>>,
    /// Rejected rows that are run again in place of what their node reads.
    pub replay: Option<Arc<Replay>>,
    /// What holds batches together that follow each other.
    pub follow: Option<Following>,
    /// The node whose first rows are looked at, and nothing else done.
    pub preview: Option<Preview>,
}

/// What holds the batches of a `run --follow` together.
#[derive(Clone, Debug)]
pub struct Following {
    /// Its first batch.
    pub run_id: String,
    /// The right to run the pipeline, held from the first batch to the last.
    pub lock: Arc<Lock>,
}

/// The first rows of a node.
#[derive(Clone, Debug)]
pub struct Preview {
    /// A node or port.
    pub node: String,
    /// The most rows to look at.
    pub rows: usize,
}

impl Options {
    /// Returns what a source has of the world.
    pub(super) fn outside(&self, node: &str) -> Outside {
        Outside {
            node: node.to_owned(),
            transport: self.transport.clone(),
            clock: self.clock,
            feeds: self.feeds.clone(),
        }
    }

    /// Says what building may find out from files.
    pub(super) fn files(&self) -> Files {
        match (&self.stand_in, self.is_run) {
            (Some(_), _) => Files::AreNotRead,
            (None, true) => Files::MustExist,
            (None, false) => Files::MayBeMissing,
        }
    }
}

/// A pipeline without mistakes, ready to run once.
pub struct Checked {
    /// Name of the pipeline.
    pub name: String,
    /// The pipeline file.
    pub path: PathBuf,
    /// The state file.
    pub state: PathBuf,
    /// The text of the file.
    pub text: Arc<str>,
    /// The fragments that it uses.
    pub fragments: Vec<Arc<Origin>>,
    /// Its nodes, in the order of the file, and what feeds them.
    pub graph: Vec<GraphNode>,
    /// When the check began.
    pub started_at: jiff::Timestamp,
    /// Values of its variables, as a JSON object.
    pub vars: String,
    /// For each node a hash of what defines it.
    pub(super) definitions: BTreeMap<String, String>,
    /// Names of its variables that are no paths: with other values it is another selection.
    pub(super) rule_vars: Vec<String>,
    /// Whether it has streams and its schedule says that batch follows batch.
    pub is_always: bool,
    /// What the check was told.
    pub options: Options,
    pub(super) plan: Plan,
}

/// Checks the text of the pipeline file at `path`. Returns warnings with what can run, and
/// mistakes without.
pub async fn check(
    text: &str,
    path: &Path,
    options: Options,
) -> (Option<Checked>, Vec<Diagnostic>) {
    let (file, mut found) = file::parse(text);
    let Some(mut file) = file else { return (None, found) };
    let scope = scope(&file, &options, path, &mut found);
    check_name(&file, &mut found);
    check_ids(&file, &mut found);
    file.leave_out_nameless();
    let parameters = parameters(&file, &scope, &options);
    let text: Arc<str> = text.into();
    let started_at = options.clock.now();
    let sql = Sql::new(super::plan::session(), parameters, Arc::clone(&text));
    let fragments = fragment::expand(&mut file, &scope, &options.working_folder, &sql, &mut found);
    let is_fragment = file.fragment.is_some();
    if is_fragment {
        fragment::check_outputs(&file, &mut found);
        fragment::add_inputs(&file, &sql);
    }
    let (edges, origins) = edges(&file, &sql, &mut found);
    check_tests(&file, &mut found);
    check_service(&file, &sql, &mut found);
    let (order, circular) = graph::order(&edges, &origins, &mut found);
    // What is wrong with nodes of a circle follows from the circle.
    file.broken.extend(circular);
    let state = state(&file, &scope, &mut found);
    let Some(mut state) = state else { return (None, found) };
    if let Some(stand_in) = &options.stand_in {
        state = below(&stand_in.root, &state);
    }
    let surroundings = (&scope, &options, state.as_path());
    let plan = Plan::new(&file, &order, &edges, surroundings, sql, &mut found).await;
    found.extend(plan.as_ref().and_then(|plan| nothing_replayed(&file, &options, plan)));
    // A fragment that is used twice has its mistakes twice.
    let mut seen: Vec<Diagnostic> = Vec::new();
    for fault in found {
        if !seen.iter().any(|other| fault.is_same(other)) {
            seen.push(fault);
        }
    }
    let mut found = seen;
    let is_broken = found.iter().any(|fault| fault.severity == Severity::Error);
    if is_fragment {
        if options.is_run && !is_broken {
            let at = file.fragment.as_ref().map_or_else(Mark::default, |name| name.at);
            let fault = Diagnostic::error(Code::BadValue, "a fragment does not run", at);
            found.push(fault.help("run a pipeline that uses it"));
        }
        return (None, found);
    }
    if !is_broken {
        check_unused(&file, &edges, &mut found);
    }
    let (Some(plan), false) = (plan, is_broken) else { return (None, found) };
    let vars = values(&scope);
    let definitions = definitions(&file, &text, &scope);
    let is_rule = |(_, decl): &&(Located<String>, VarDecl)| decl.kind.value != VarType::Path;
    let rule_vars =
        file.vars.0.iter().filter(is_rule).map(|(name, _)| name.value.clone()).collect();
    let always = file.schedule.as_ref().and_then(|schedule| schedule.always.as_ref());
    let has_streams = plan.streams().next().is_some();
    let is_always = has_streams && always.is_some_and(|always| always.value);
    let name = file.name.value.clone();
    let path = path.to_owned();
    let graph = graph_of(&file, &edges);
    let checked = Checked {
        name,
        path,
        state,
        text,
        fragments,
        graph,
        started_at,
        vars,
        definitions,
        rule_vars,
        is_always,
        options,
        plan,
    };
    (Some(checked), found)
}

/// Writes the values of variables as a JSON object.
pub(super) fn values(scope: &Scope) -> String {
    let values = scope.vars.iter().map(|(name, value)| {
        let value = value.as_ref().map(|v| v.to_string().into());
        (name.clone(), value.unwrap_or(serde_json::Value::Null))
    });
    serde_json::Value::Object(values.collect()).to_string()
}

/// Refuses a replay whose rows no sink would take.
fn nothing_replayed(file: &File, options: &Options, plan: &Plan) -> Option<Diagnostic> {
    let (replay, part) = options.replay.as_ref().zip(plan.part.as_ref())?;
    let at = file.ids().find(|id| id.value == replay.node).map(|id| id.at);
    let why = match part.left_out.as_slice() {
        [] => "nothing reads them".to_owned(),
        reasons => reasons.join("; "),
    };
    let message = format!("no sink takes replayed rows of `{}`: {why}", replay.node);
    let fault = Diagnostic::error(Code::Write, message, at.unwrap_or_default());
    part.sinks.is_empty().then(|| fault.help("run the pipeline instead"))
}

fn graph_of(file: &File, edges: &Edges) -> Vec<GraphNode> {
    fn part<'a, K: Family>(
        nodes: &'a [Node<K>],
        edges: &'a Edges,
    ) -> impl Iterator<Item = GraphNode> + 'a {
        nodes.iter().map(|node| {
            let mut from: Vec<String> = Vec::new();
            // A query that reads a node twice names it twice.
            for input in edges.get(&node.id.value).into_iter().flatten() {
                if !from.contains(&input.value) {
                    from.push(input.value.clone());
                }
            }
            let (family, kind) = (K::NAME, node.kind.kind());
            GraphNode { id: node.id.value.clone(), family, kind, from }
        })
    }
    let inner = part(&file.sources, edges).chain(part(&file.transforms, edges));
    inner.chain(part(&file.sinks, edges)).collect()
}

fn check_name(file: &File, found: &mut Vec<Diagnostic>) {
    if !file.name.is_empty() && !is_id(&file.name) {
        let message = format!("a pipeline cannot be named `{}`", file.name.value);
        let fault = Diagnostic::error(Code::Id, message, file.name.at);
        found.push(fault.help("use lowercase letters, digits and `_`"));
    }
}

/// Ids that are the engine's own.
pub const RESERVED_IDS: &[&str] =
    &["engine", "public", "information_schema", "datafusion", "calls"];

pub(super) fn check_ids(file: &File, found: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<&str, Mark> = BTreeMap::new();
    for id in file.ids() {
        if !is_id(id) || id.starts_with("__") {
            let message = format!("`{}` cannot be an id", id.value);
            let fault = Diagnostic::error(Code::Id, message, id.at);
            found.push(fault.help("ids are names in SQL: lowercase letters, digits and `_`"));
        } else if RESERVED_IDS.contains(&id.as_str()) {
            let message = format!("the id `{}` is reserved", id.value);
            found.push(Diagnostic::error(Code::Id, message, id.at));
        } else if let Some(first) = seen.get(id.as_str()) {
            let message =
                format!("the id `{}` is used twice, first in line {}", id.value, first.line);
            found.push(Diagnostic::error(Code::Id, message, id.at));
        }
        seen.entry(id.as_str()).or_insert(id.at);
    }
}

/// Gives each variable its value: `--var`, or else its default.
pub(super) fn scope(
    file: &File,
    options: &Options,
    path: &Path,
    found: &mut Vec<Diagnostic>,
) -> Scope {
    let path = tidy(path);
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut writable = vec![project_folder(&path)];
    if path.starts_with(&options.working_folder) {
        writable.push(options.working_folder.clone());
    }
    let may_write_anywhere = file.allow_outside;
    let (vars, env) = (BTreeMap::new(), options.env.clone());
    let mut scope = Scope { vars, env, folder, writable, may_write_anywhere };
    for (name, decl) in &file.vars.0 {
        if ["today", "now", "run_id"].contains(&name.as_str()) || !is_id(name) {
            let message = format!("a variable cannot be named `{}`", name.value);
            found.push(Diagnostic::error(Code::Id, message, name.at));
        }
        let kind = decl.kind.value;
        let given = options.vars.get(&name.value);
        let value = match (given, &decl.default) {
            (Some(text), _) => match kind {
                VarType::Path => {
                    let path = options.working_folder.join(text);
                    scope.writable.push(tidy(&path));
                    Some(Value::String(path.to_string_lossy().into_owned()))
                }
                _ => read_value(kind, text, decl.kind.at, &format!("--var {}", name.value), found),
            },
            (None, Some(default)) => match default.resolve(&scope) {
                Ok(Some(text)) => read_value(kind, &text, default.at(), "default", found),
                Ok(None) => None,
                Err(fault) => {
                    found.push(fault);
                    None
                }
            },
            (None, None) if options.stand_in.is_some() => Some(kind.stand_in()),
            (None, None) => {
                if options.is_run {
                    let message = format!("the variable `{}` has no value", name.value);
                    let fault = Diagnostic::error(Code::UnknownVariable, message, name.at);
                    found.push(fault.help(format!("give it: `--var {}=…`", name.value)));
                }
                None
            }
        };
        scope.vars.insert(name.value.clone(), value);
    }
    for name in options.vars.keys().filter(|name| !scope.vars.contains_key(*name)) {
        let message = format!("`--var {name}=…`: the file has no variable `{name}`");
        let at = file.vars.0.first().map_or(file.name.at, |(name, _)| name.at);
        let fault = Diagnostic::error(Code::UnknownVariable, message, at);
        let known = list(scope.vars.keys().map(String::as_str));
        found.push(match did_you_mean(name, scope.vars.keys().map(String::as_str)) {
            Some(near) => fault.help(format!("did you mean `{near}`?")),
            None if known.is_empty() => fault.help("it declares none"),
            None => fault.help(format!("variables are {known}")),
        });
    }
    scope
}

fn read_value(
    kind: VarType,
    text: &str,
    at: Mark,
    from: &str,
    found: &mut Vec<Diagnostic>,
) -> Option<Value> {
    match kind.parse(text) {
        Ok(value) => Some(value),
        Err(message) => {
            found.push(Diagnostic::error(Code::BadValue, format!("{from}: {message}"), at));
            None
        }
    }
}

/// Returns the parameters of SQL: the variables that have a value (of the right type while none
/// is given), today, now and the run's id.
fn parameters(file: &File, scope: &Scope, options: &Options) -> BTreeMap<String, Value> {
    let now = options.clock.now();
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let mut parameters: BTreeMap<String, Value> = scope
        .vars
        .iter()
        .map(|(name, value)| {
            let kind = file.vars.get(name).map_or(VarType::String, |decl| decl.kind.value);
            (name.clone(), value.clone().unwrap_or_else(|| kind.stand_in()))
        })
        .collect();
    parameters.insert("today".into(), Value::Date(today));
    parameters.insert("now".into(), Value::Timestamp(now));
    parameters.insert("run_id".into(), Value::String(options.run_id.clone()));
    parameters
}

/// Finds what feeds each node, and inputs that are nothing.
fn edges(file: &File, sql: &Sql, found: &mut Vec<Diagnostic>) -> (Edges, Origins) {
    let inputs = file.inputs.0.iter().map(|(name, _)| name);
    let whole = file.ids().chain(inputs).map(|id| id.as_str());
    let ids: BTreeSet<&str> = whole.chain(file.broken.iter().map(String::as_str)).collect();
    let sinks: BTreeSet<&str> = file.sinks.iter().map(|node| node.id.as_str()).collect();
    let divided: BTreeSet<&str> = file.with_rejects().collect();
    let late: BTreeSet<String> = file.late_ports().collect();
    let routed = ports(file);
    let (mut edges, mut origins) = (Edges::new(), Origins::new());
    for node in &file.sources {
        edges.insert(node.id.value.clone(), Vec::new());
    }
    for node in &file.transforms {
        let sql = node.instance.as_ref().map_or(sql, |instance| &instance.sql);
        let from = match node.kind.settings().reads(sql) {
            Ok(Some(reads)) => {
                if let Some(from) = node.common.from.first() {
                    let message = "`sql` names its tables itself and takes no `from`";
                    found.push(Diagnostic::error(Code::UnknownKey, message, from.at));
                }
                reads
            }
            Ok(None) => from_of(node, found),
            // The mistake shows again when the node is planned.
            Err(_) => Vec::new(),
        };
        let global = |from: Located<String>| {
            let Some(instance) = &node.instance else { return from };
            let (from, origin) = instance.input(&from);
            let edge = (node.id.value.clone(), from.value.clone());
            origins.extend(origin.map(|origin| (edge, origin)));
            from
        };
        edges.insert(node.id.value.clone(), from.into_iter().map(global).collect());
    }
    for node in &file.sinks {
        edges.insert(node.id.value.clone(), from_of(node, found));
    }
    for (reader, from) in edges.iter().flat_map(|(id, from)| from.iter().map(move |f| (id, f))) {
        let before = found.len();
        let node = node_of(from);
        let problem = if !ids.contains(node) {
            Some(format!("no node `{node}`"))
        } else if sinks.contains(node) {
            Some(format!("`{node}` is a sink: it has no rows to read"))
        } else if let Some(ports) = routed.get(node) {
            if !ports.contains(&from.value) {
                found.push(not_a_port(from, node, ports));
            }
            None
        } else {
            let is_port = from.value != node;
            let has_port = late.contains(&from.value) || file.broken.contains(node);
            if is_port && !has_port {
                let message = format!("`{node}` has no port `{}`", from.value);
                let fault = Diagnostic::error(Code::UnknownInput, message, from.at);
                found.push(match divided.contains(node) {
                    true => fault.label(format!("did you mean `{node}.rejected`?")),
                    false => {
                        fault.help("only sources, `validate`, `enrich` and `route` have ports")
                    }
                });
            }
            None
        };
        if let Some(message) = problem {
            let fault = Diagnostic::error(Code::UnknownInput, message, from.at);
            let known = ids.iter().copied().filter(|id| !sinks.contains(id) && *id != node);
            found.push(fault.suggest(node, "nodes", known));
        }
        if let Some(origin) = origins.get(&(reader.clone(), from.value.clone())) {
            Diagnostic::place_in(&mut found[before..], origin);
        }
    }
    (edges, origins)
}

/// Looks up the names that tests use.
fn check_tests(file: &File, found: &mut Vec<Diagnostic>) {
    // What is wrong with a node that is left out was said of the node.
    let sources = file.sources.iter().map(|node| node.id.as_str());
    let sources: Vec<&str> = sources.chain(file.broken.iter().map(String::as_str)).collect();
    let enriches = |node: &&Node<TransformKind>| node.kind.settings().enriches().is_some();
    let lookups = file.transforms.iter().filter(enriches).map(|node| node.id.as_str());
    let lookups: Vec<&str> = lookups.chain(file.broken.iter().map(String::as_str)).collect();
    let routed = ports(file);
    let whole = file.ids().filter(|id| !routed.contains_key(id.as_str()));
    let mut all: Vec<String> = whole.map(|id| id.value.clone()).collect();
    all.extend(file.late_ports());
    all.extend(routed.values().flatten().cloned());
    all.extend(file.broken.iter().flat_map(|id| [id.clone(), format!("{id}.rejected")]));
    let mut names = BTreeSet::new();
    for case in &file.tests {
        if !names.insert(case.name.as_str()) {
            let message = format!("two tests are named `{}`", case.name.value);
            found.push(Diagnostic::error(Code::Id, message, case.name.at));
        }
        found.extend(check_case(case, (&sources, &lookups), &all));
    }
}

/// Looks through what is written for a service that runs pipelines by themselves.
fn check_service(file: &File, sql: &Sql, found: &mut Vec<Diagnostic>) {
    found.extend(file.resources.check());
    for node in &file.transforms {
        let before = found.len();
        found.extend(check_asking(node));
        if let Some(instance) = &node.instance {
            Diagnostic::place_in(&mut found[before..], &instance.origin);
        }
    }
    let idle = |what: &str, at: Mark| {
        let message = format!("{what} is checked, and nothing runs it yet");
        Diagnostic::warning(Code::Reserved, message, at)
    };
    if let Some(schedule) = &file.schedule {
        found.extend(schedule.check(schedule.at));
        let is_always = schedule.always.as_ref().is_some_and(|always| always.value);
        if !is_always || !file.sources.iter().any(|node| node.kind.settings().is_stream()) {
            let fault = idle("the schedule", schedule.at);
            found.push(fault.help("let cron or systemd call `pipeline run`"));
        }
    }
    found.extend(file.alerts.first().map(|alert| idle("the alert", alert.name.at)));
    for alert in &file.alerts {
        found.extend(alert.check());
        found.extend(sql.parse_query(&alert.when).err());
    }
}

/// Returns the transforms whose rows are only read by port, with those ports as inputs.
fn ports(file: &File) -> BTreeMap<&str, Vec<String>> {
    let named = file.transforms.iter().map(|node| {
        let id = node.id.as_str();
        let ports = node.kind.settings().ports();
        (id, ports.into_iter().map(|port| format!("{id}.{}", port.value)).collect())
    });
    named.filter(|(_, ports): &(&str, Vec<String>)| !ports.is_empty()).collect()
}

fn not_a_port<'a>(from: &'a Located<String>, node: &str, ports: &'a [String]) -> Diagnostic {
    let message = match from.value == node {
        true => format!("`{node}` divides its rows: read one of its ports"),
        false => format!("`{node}` has no port `{}`", from.value),
    };
    let fault = Diagnostic::error(Code::UnknownInput, message, from.at);
    let port_of = |input: &'a str| input.split_once('.').map_or("", |(_, port)| port);
    match did_you_mean(port_of(from), ports.iter().map(|port| port_of(port))) {
        Some(near) => fault.label(format!("did you mean `{node}.{near}`?")),
        None => fault.help(format!("ports are {}", list(ports.iter().map(String::as_str)))),
    }
}

fn from_of<K: Family>(node: &Node<K>, found: &mut Vec<Diagnostic>) -> Vec<Located<String>> {
    if node.common.from.is_empty() {
        let message = format!("{} `{}` has no `from`", K::NAME, node.id.value);
        let fault = Diagnostic::error(Code::UnknownInput, message, node.id.at);
        found.push(fault.help("say whose rows it takes: `from: some_node`"));
    }
    node.common.from.clone()
}

/// Warns about nodes whose rows go nowhere.
fn check_unused(file: &File, edges: &Edges, found: &mut Vec<Diagnostic>) {
    let used: BTreeSet<&str> = edges.values().flatten().map(|from| node_of(from)).collect();
    let sources = file.sources.iter().map(|node| (&node.id, "source"));
    let own = || file.transforms.iter().filter(|node| node.instance.is_none());
    let transforms = own().map(|node| (&node.id, "transform"));
    for (id, family) in sources.chain(transforms) {
        if !used.contains(id.as_str()) {
            let message = format!("nothing reads the {family} `{}`", id.value);
            found.push(Diagnostic::warning(Code::Unused, message, id.at));
        }
    }
    let read: BTreeSet<&str> = edges.values().flatten().map(|from| from.value.as_str()).collect();
    for node in own() {
        for port in node.kind.settings().ports() {
            let name = format!("{}.{}", node.id.value, port.value);
            if used.contains(node.id.as_str()) && !read.contains(name.as_str()) {
                let message = format!("nothing reads the port `{name}`");
                found.push(Diagnostic::warning(Code::Unused, message, port.at));
            }
        }
    }
    if file.sinks.is_empty() {
        let message = "the pipeline has no sink: its rows go nowhere";
        found.push(Diagnostic::warning(Code::Unused, message, file.name.at));
    }
}

/// Returns the state file.
pub(super) fn state(file: &File, scope: &Scope, found: &mut Vec<Diagnostic>) -> Option<PathBuf> {
    let beside = || scope.folder.join("pipeline.db");
    let Some(text) = &file.state else { return Some(beside()) };
    let resolved = text.resolve_path(scope).and_then(|path| {
        let path = path.unwrap_or_else(beside);
        check_inside(&path, text, scope).map(|()| path)
    });
    resolved.map_err(|fault| found.push(fault)).ok()
}
