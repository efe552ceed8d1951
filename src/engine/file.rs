//! A pipeline file as it is written, read with the place of everything and all mistakes at once.
//!
//! The parser stops at the first mistake. To find them all, the place of each mistake (a top key,
//! a node, a key of a node) is remembered and the text is read again without it, until nothing is
//! wrong any more. A second mistake at the same place shows once the first is mended.

mod keys;
mod names;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

pub(super) use self::keys::common_keys;
use self::keys::{ASKING_KEYS, read_asking, read_common};
use super::fault::{QUOTE, fault, is_word};
use super::fragment::Instance;
use crate::publish::Missing;
use crate::sinks::{SinkKind, Write};
use crate::sources::{Contract, SourceKind};
use crate::spec::{
    Alert, Asking, BatchSize, ChangedSince, Code, Diagnostic, Family, Located, LocatedMap, Mark,
    Period, Resources, Schedule, TestCase, Text, VarDecl, did_you_mean, is_id, list,
};
use crate::table::ColumnType;
use crate::transforms::{LOOKUP_PORTS, TransformKind};

/// A pipeline file.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// Name of the pipeline, part of its lock and its history.
    pub name: Located<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The state file; `pipeline.db` beside the pipeline file otherwise.
    pub state: Option<Text>,
    /// Whether it may write outside of its project's folder.
    pub allow_outside: bool,
    /// Its variables.
    pub vars: LocatedMap<VarDecl>,
    /// Its sources.
    pub sources: Vec<Node<SourceKind>>,
    /// Its transforms.
    pub transforms: Vec<Node<TransformKind>>,
    /// Its sinks.
    pub sinks: Vec<Node<SinkKind>>,
    /// Name of the fragment that it is instead of a pipeline.
    pub fragment: Option<Located<String>>,
    /// The inputs of a fragment, and the columns that each needs.
    pub inputs: LocatedMap<LocatedMap<InputColumn>>,
    /// The nodes of a fragment that a pipeline may read.
    pub outputs: Vec<Located<String>>,
    /// When it runs by itself.
    pub schedule: Option<Located<Schedule>>,
    /// What it shares with other pipelines.
    pub resources: Resources,
    /// What the user is told.
    pub alerts: Vec<Alert>,
    /// Its tests.
    pub tests: Vec<TestCase>,
    /// Ids of nodes that are left out because of mistakes in them.
    pub broken: BTreeSet<String>,
}

impl File {
    /// Returns the ids of its nodes, in the order of the file's families.
    pub fn ids(&self) -> impl Iterator<Item = &Located<String>> {
        let sources = self.sources.iter().map(|node| &node.id);
        let transforms = self.transforms.iter().map(|node| &node.id);
        sources.chain(transforms).chain(self.sinks.iter().map(|node| &node.id))
    }

    /// Returns the ids of the nodes that have a port `.rejected`.
    pub fn with_rejects(&self) -> impl Iterator<Item = &str> {
        let divides = |node: &&Node<TransformKind>| {
            matches!(node.kind, TransformKind::Validate(_) | TransformKind::Enrich(_))
        };
        let transforms = self.transforms.iter().filter(divides).map(|node| node.id.as_str());
        self.sources.iter().map(|node| node.id.as_str()).chain(transforms)
    }

    /// Returns the ports that are complete when their node was read to its end.
    pub fn late_ports(&self) -> impl Iterator<Item = String> + '_ {
        let rejects = self.with_rejects().map(|id| format!("{id}.rejected"));
        let enriches = |node: &&Node<TransformKind>| node.kind.settings().enriches().is_some();
        let of = |node: &Node<TransformKind>| {
            LOOKUP_PORTS.map(|port| format!("{}.{port}", node.id.value))
        };
        rejects.chain(self.transforms.iter().filter(enriches).flat_map(of))
    }

    /// Leaves out the nodes whose ids cannot be names in SQL.
    pub(super) fn leave_out_nameless(&mut self) {
        let nameless: BTreeSet<String> =
            self.ids().filter(|id| !is_id(id)).map(|id| id.value.clone()).collect();
        self.leave_out(&BTreeSet::new(), nameless);
    }

    /// Leaves out the nodes with a mistake in them, so that it causes no others.
    fn leave_out(&mut self, skipped: &BTreeSet<Path>, broken: BTreeSet<String>) {
        self.broken.extend(broken);
        self.broken.extend(skipped.iter().filter_map(|path| path.get(1).cloned()));
        let broken = &self.broken;
        self.sources.retain(|node| !broken.contains(node.id.as_str()));
        self.transforms.retain(|node| !broken.contains(node.id.as_str()));
        self.sinks.retain(|node| !broken.contains(node.id.as_str()));
    }
}

/// A node: an id, one kind with its settings, and the keys that stand beside it.
#[derive(Clone, Debug)]
pub struct Node<K> {
    /// Its id, a name in SQL.
    pub id: Located<String>,
    /// What it is.
    pub kind: K,
    /// Where the kind stands.
    pub kind_at: Mark,
    /// The keys beside the kind.
    pub common: Common,
    /// The fragment that it belongs to.
    pub instance: Option<Arc<Instance>>,
}

/// A column that an input of a fragment needs: `date`, or `date?` when it may be null.
#[derive(Clone, Copy, Debug)]
pub struct InputColumn {
    /// Its type.
    pub kind: ColumnType,
}

impl<'de> Deserialize<'de> for InputColumn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let name = text.strip_suffix('?').unwrap_or(&text);
        let kind = ColumnType::deserialize(serde::de::value::StrDeserializer::new(name))?;
        Ok(Self { kind })
    }
}

/// The keys that every kind of a family shares.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// Ids of nodes or ports whose rows it takes; several are joined one after the other.
    pub from: Vec<Located<String>>,
    /// The nodes that are the inputs of a fragment.
    pub with: LocatedMap<Located<String>>,
    /// The output of a fragment.
    pub output: Option<Located<String>>,
    /// What a source promises.
    pub contract: Contract,
    /// From where a source reads that reads only what changed.
    pub changed_since: Option<ChangedSince>,
    /// How much of a stream is one batch.
    pub batch: Option<BatchSize>,
    /// What a sink does with its rows.
    pub write: Option<Located<Write>>,
    /// The columns that tell rows apart.
    pub key: Vec<Located<String>>,
    /// The column whose greater value is the newer row.
    pub newer_by: Option<Located<String>>,
    /// What happens to rows that arrive no more.
    pub missing: Option<Located<Missing>>,
    /// The columns of the key in whose groups rows may be missing.
    pub within: Vec<Located<String>>,
    /// How old small files of a sink may be before they are put together.
    pub compact: Option<Located<Period>>,
    /// How a look-up asks.
    pub asking: Asking,
}

const VERSION: u64 = 1;
pub(super) const TOP_KEYS: &[&str] = &[
    "version",
    "name",
    "description",
    "state",
    "allow_outside",
    "vars",
    "resources",
    "sources",
    "transforms",
    "sinks",
    "schedule",
    "alerts",
    "tests",
];
const TOP_RESERVED: &[&str] = &[
    "matrix",
    "extends",
    "profiles",
    "lineage",
    "owner",
    "tags",
    "sla",
    "connections",
    "udfs",
    "cluster",
];
const NODE_RESERVED: &[&str] = &["priority", "where", "digest", "expire"];

/// Reads a pipeline file and finds all mistakes of form. The file is what is left without them;
/// `None` when too little is left to look for other mistakes.
pub(super) fn parse(text: &str) -> (Option<File>, Vec<Diagnostic>) {
    const MOST_ROUNDS: usize = 50;
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut skip: BTreeSet<Path> = BTreeSet::new();
    for _ in 0..MOST_ROUNDS {
        let reading = Reading {
            skip: &skip,
            at: RefCell::default(),
            found: RefCell::default(),
            broken: RefCell::default(),
        };
        let read =
            serde_saphyr::with_deserializer_from_str_with_options(text, within_bounds(), |d| {
                FileSeed(&reading).deserialize(d)
            });
        let at = reading.at.into_inner();
        let broken = reading.broken.into_inner();
        match read {
            Ok(mut file) => {
                found.extend(reading.found.into_inner());
                let is_gutted = skip.iter().any(|path| path.len() == 1);
                file.leave_out(&skip, broken);
                return ((!is_gutted).then_some(file), found);
            }
            Err(error) => {
                let is_new = !at.is_empty() && skip.insert(at);
                let fault = fault(&error, text);
                if !found.contains(&fault) {
                    found.push(fault);
                }
                if !is_new {
                    return (None, found);
                }
            }
        }
    }
    (None, found)
}

/// Returns how a text is read: within bounds.
pub(super) fn within_bounds() -> serde_saphyr::Options {
    let mut options = serde_saphyr::Options::default();
    options.with_snippet = false;
    options.budget = Some(budget());
    options
}

/// Bounds for hostile input: a pipeline file is a page or ten, never a megabyte.
fn budget() -> serde_saphyr::Budget {
    let mut budget = serde_saphyr::Budget::default();
    budget.max_depth = 32;
    budget.max_nodes = 20_000;
    budget.max_aliases = 100;
    budget.max_anchors = 100;
    budget.max_merge_keys = 100;
    budget.max_recorded_anchor_events = 20_000;
    budget.max_recorded_anchor_bytes = 1 << 20;
    budget.max_documents = 1;
    budget.max_total_scalar_bytes = 1 << 20;
    budget
}

/// A place that can be left out: keys from the top.
type Path = Vec<String>;

struct Reading<'a> {
    skip: &'a BTreeSet<Path>,
    at: RefCell<Path>,
    found: RefCell<Vec<Diagnostic>>,
    /// Nodes of which too little is left to plan them.
    broken: RefCell<BTreeSet<String>>,
}

impl Reading<'_> {
    fn note(&self, fault: Diagnostic) {
        self.found.borrow_mut().push(fault);
    }

    /// Reads the value at `path`, unless a mistake was found in it before.
    fn value<'de, A: MapAccess<'de>, T>(
        &self,
        path: &[&str],
        map: &mut A,
        read: impl FnOnce(&mut A) -> Result<T, A::Error>,
    ) -> Result<Option<T>, A::Error> {
        let path: Path = path.iter().map(|&key| key.to_owned()).collect();
        if self.skip.contains(&path) {
            map.next_value::<IgnoredAny>()?;
            return Ok(None);
        }
        self.at.replace(path.clone());
        let value = read(map)?;
        // What comes next belongs to the parent.
        self.at.replace(path[..path.len() - 1].to_vec());
        Ok(Some(value))
    }

    fn unknown(&self, key: &Located<String>, what: &str, known: &[&str], reserved: &[&str]) {
        if reserved.contains(&key.as_str()) {
            let message = format!("`{}` is reserved for a later version", key.value);
            self.note(Diagnostic::error(Code::Reserved, message, key.at));
            return;
        }
        let message = format!("unknown key `{}` {what}", key.value);
        let fault = Diagnostic::error(Code::UnknownKey, message, key.at);
        if !is_word(key) {
            self.note(fault.help(QUOTE));
            return;
        }
        self.note(fault.suggest(key, "keys", known.iter().copied()));
    }
}

struct FileSeed<'a>(&'a Reading<'a>);

impl<'de> DeserializeSeed<'de> for FileSeed<'_> {
    type Value = File;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<File, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FileSeed<'_> {
    type Value = File;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pipeline: a map with `version`, `name`, `sources`, `sinks`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<File, A::Error> {
        let reading = self.0;
        let mut file = File::default();
        let (mut version, mut name) = (None, None);
        while let Some(key) = map.next_key::<Located<String>>()? {
            let path = [key.as_str()];
            let map = &mut map;
            match key.as_str() {
                "version" => version = reading.value(&path, map, A::next_value)?.or(version),
                "name" => name = Some(reading.value(&path, map, A::next_value)?),
                "description" => {
                    file.description = reading.value(&path, map, A::next_value)?;
                }
                "state" => file.state = reading.value(&path, map, A::next_value)?,
                "allow_outside" => {
                    file.allow_outside =
                        reading.value(&path, map, A::next_value)?.unwrap_or_default();
                }
                "vars" => {
                    file.vars = reading.value(&path, map, A::next_value)?.unwrap_or_default();
                }
                "sources" => file.sources = nodes(reading, &key, map)?,
                "transforms" => file.transforms = nodes(reading, &key, map)?,
                "sinks" => file.sinks = nodes(reading, &key, map)?,
                "schedule" => file.schedule = reading.value(&path, map, A::next_value)?,
                "resources" => {
                    file.resources = reading.value(&path, map, A::next_value)?.unwrap_or_default();
                }
                "alerts" => {
                    file.alerts = reading.value(&path, map, A::next_value)?.unwrap_or_default();
                }
                "tests" => {
                    file.tests = reading.value(&path, map, A::next_value)?.unwrap_or_default();
                }
                "fragment" => file.fragment = reading.value(&path, map, A::next_value)?,
                "inputs" => {
                    file.inputs = reading.value(&path, map, A::next_value)?.unwrap_or_default();
                }
                "outputs" => {
                    file.outputs = reading.value(&path, map, A::next_value)?.unwrap_or_default();
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    reading.unknown(&key, "in a pipeline", TOP_KEYS, TOP_RESERVED);
                }
            }
        }
        check_version(reading, version);
        check_fragment(reading, &file);
        match name {
            Some(Some(name)) => file.name = name,
            Some(None) => {}
            None if file.fragment.is_some() => {}
            None => {
                let at = Mark { line: 1, column: 1, len: 1 };
                let fault = Diagnostic::error(Code::WrongType, "the pipeline has no `name`", at);
                reading.note(fault.help("add `name: my_pipeline`"));
            }
        }
        Ok(file)
    }
}

/// Refuses what does not belong into a fragment, or into a pipeline.
fn check_fragment(reading: &Reading<'_>, file: &File) {
    let sources = file.sources.iter().map(|node| (&node.id, "source"));
    let outside = sources.chain(file.sinks.iter().map(|node| (&node.id, "sink")));
    let inputs = file.inputs.0.iter().map(|(name, _)| (name, "input"));
    let inside = inputs.chain(file.outputs.iter().map(|name| (name, "output")));
    let (misplaced, whole): (Vec<_>, _) = match file.fragment {
        Some(_) => (outside.collect(), "a fragment"),
        None => (inside.collect(), "a pipeline"),
    };
    if let (Some(_), Some(case)) = (&file.fragment, file.tests.first()) {
        let fault = Diagnostic::error(Code::UnknownKey, "a fragment has no tests", case.name.at);
        reading.note(fault.help("test a pipeline that uses it"));
    }
    for (id, word) in misplaced {
        let message = format!("{whole} has no {word}s");
        reading.note(Diagnostic::error(Code::UnknownKey, message, id.at));
    }
}

fn check_version(reading: &Reading<'_>, version: Option<Located<u64>>) {
    let top = Mark { line: 1, column: 1, len: 1 };
    match version {
        Some(version) if version.value == VERSION => {}
        Some(version) => {
            let message = format!("this pipeline knows version {VERSION} of the language");
            reading.note(Diagnostic::error(Code::BadValue, message, version.at));
        }
        None if reading.skip.contains(&vec!["version".to_owned()]) => {}
        None => {
            let fault = Diagnostic::error(Code::WrongType, "the pipeline has no `version`", top);
            reading.note(fault.help("add `version: 1` as its first line"));
        }
    }
}

fn nodes<'de, A: MapAccess<'de>, K: Family>(
    reading: &Reading<'_>,
    family: &Located<String>,
    map: &mut A,
) -> Result<Vec<Node<K>>, A::Error> {
    let seed = NodesSeed { reading, family, kind: std::marker::PhantomData };
    let read = reading.value(&[family.as_str()], map, |map| map.next_value_seed(seed))?;
    Ok(read.unwrap_or_default())
}

struct NodesSeed<'a, K> {
    reading: &'a Reading<'a>,
    family: &'a str,
    kind: std::marker::PhantomData<K>,
}

impl<'de, K: Family> DeserializeSeed<'de> for NodesSeed<'_, K> {
    type Value = Vec<Node<K>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, K: Family> Visitor<'de> for NodesSeed<'_, K> {
    type Value = Vec<Node<K>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map from ids to {}s", K::NAME)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(id) = map.next_key::<Located<String>>()? {
            let path = [self.family, id.as_str()];
            let seed =
                NodeSeed { reading: self.reading, family: self.family, id: &id, kind: self.kind };
            let node = self.reading.value(&path, &mut map, |map| map.next_value_seed(seed))?;
            nodes.extend(node.flatten());
        }
        Ok(nodes)
    }
}

struct NodeSeed<'a, K> {
    reading: &'a Reading<'a>,
    family: &'a str,
    id: &'a Located<String>,
    kind: std::marker::PhantomData<K>,
}

impl<'de, K: Family> DeserializeSeed<'de> for NodeSeed<'_, K> {
    type Value = Option<Node<K>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, K: Family> Visitor<'de> for NodeSeed<'_, K> {
    type Value = Option<Node<K>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {}: a map with one kind", K::NAME)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let reading = self.reading;
        let mut common = Common::default();
        let mut kind: Option<(K, Mark)> = None;
        let mut n_kinds = 0;
        while let Some(key) = map.next_key::<Located<String>>()? {
            let path = [self.family, self.id.as_str(), key.as_str()];
            let map = &mut map;
            let word = key.as_str();
            if K::KINDS.contains(&word) {
                n_kinds += 1;
                if n_kinds == 2 {
                    let message = format!("a second kind, `{word}`: a {} has one", K::NAME);
                    reading.note(Diagnostic::error(Code::Kind, message, key.at));
                }
                if let Some(read) = reading.value(&path, map, |map| K::read(word, map))? {
                    kind.get_or_insert((read, key.at));
                }
            } else if common_keys(K::NAME).contains(&word) {
                // `newer_by` is a word of sinks, too.
                match K::NAME == "transform" && ASKING_KEYS.contains(&word) {
                    true => read_asking(reading, &path, &key, map, &mut common.asking)?,
                    false => read_common(reading, &path, map, &mut common)?,
                }
            } else {
                map.next_value::<IgnoredAny>()?;
                let is_slip = did_you_mean(word, K::KINDS.iter().copied()).is_some();
                n_kinds += usize::from(K::RESERVED.contains(&word) || is_slip);
                self.unknown_key(&key);
            }
        }
        if n_kinds == 0 {
            let message = format!("{} `{}` has no kind", K::NAME, self.id.value);
            let fault = Diagnostic::error(Code::Kind, message, self.id.at);
            reading.note(fault.help(format!("kinds are {}", list(K::KINDS.iter().copied()))));
        }
        if kind.is_none() {
            reading.broken.borrow_mut().insert(self.id.value.clone());
        }
        let id = self.id.clone();
        Ok(kind.map(|(kind, kind_at)| Node { id, kind, kind_at, common, instance: None }))
    }
}

impl<K: Family> NodeSeed<'_, K> {
    fn unknown_key(&self, key: &Located<String>) {
        // Without what the key was meant to say, the node would seem to have other mistakes.
        if did_you_mean(key, common_keys(K::NAME).iter().copied()).is_some() {
            self.reading.broken.borrow_mut().insert(self.id.value.clone());
        }
        // Those of look-ups last: they are many, and few nodes are one.
        let (asking, common): (Vec<&str>, Vec<&str>) =
            common_keys(K::NAME).iter().partition(|key| ASKING_KEYS.contains(key));
        let known: Vec<&str> =
            common.into_iter().chain(K::KINDS.iter().copied()).chain(asking).collect();
        let reserved: Vec<&str> = NODE_RESERVED.iter().chain(K::RESERVED).copied().collect();
        let what = format!("in a {}", K::NAME);
        self.reading.unknown(key, &what, &known, &reserved);
    }
}

#[cfg(test)]
mod tests;
