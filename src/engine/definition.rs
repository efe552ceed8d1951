//! What defines a node: its settings as they are written, without comments and layout, and the
//! values of the variables that it names. Kept as a hash, so that a later look can tell whether a
//! node has changed since a run.
//!
//! It is not what the node reads: what feeds it, the rows of its files and the environment are no
//! part of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use sha2::{Digest as _, Sha256};

use super::file::{self, File, Node};
use crate::publish::hex;
use crate::spec::{Family, Scope};

/// Returns a hash of what defines each node of a file, with those of its fragments. `text` is the
/// text of the file.
pub(super) fn definitions(file: &File, text: &str, scope: &Scope) -> BTreeMap<String, String> {
    let mut reading = Reading { scope, own: read(text), fragments: BTreeMap::new() };
    let sources = file.sources.iter().map(|node| reading.of(node));
    let mut all: Vec<(String, String)> = sources.collect();
    all.extend(file.transforms.iter().map(|node| reading.of(node)));
    all.extend(file.sinks.iter().map(|node| reading.of(node)));
    all.into_iter().collect()
}

struct Reading<'a> {
    scope: &'a Scope,
    own: Document,
    /// The fragments, by the names of their files.
    fragments: BTreeMap<String, Document>,
}

impl Reading<'_> {
    fn of<K: Family>(&mut self, node: &Node<K>) -> (String, String) {
        let id = &node.id.value;
        let (document, local) = match &node.instance {
            Some(instance) => {
                let origin = &instance.origin;
                let document = self.fragments.entry(origin.name.clone());
                (&*document.or_insert_with(|| read(&origin.text)), instance.local(id))
            }
            None => (&self.own, id.as_str()),
        };
        let section = match K::NAME {
            "source" => &document.sources,
            "transform" => &document.transforms,
            _ => &document.sinks,
        };
        let mut text = format!("{} ", K::NAME);
        if let Some(node) = section.get(local) {
            node.write(&mut text, Order::Any);
        }
        let named: Vec<String> = self
            .scope
            .vars
            .iter()
            .filter(|(name, _)| names(&text, name))
            .map(|(name, value)| format!(" {name}={:?}", value.as_ref().map(ToString::to_string)))
            .collect();
        text.extend(named);
        (id.clone(), hex(&Sha256::digest(text.as_bytes())))
    }
}

/// Says whether a text names a variable, as `$name` or `${name}`.
fn names(text: &str, name: &str) -> bool {
    text.split('$').skip(1).any(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest).trim_start();
        let after = rest.strip_prefix(name);
        after.is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}

/// The nodes of a file as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    sources: Written,
    transforms: Written,
    sinks: Written,
}

/// Reads a text that was read before without mistakes.
fn read(text: &str) -> Document {
    serde_saphyr::from_str_with_options(text, file::within_bounds()).unwrap_or_default()
}

/// A value as it is written; how it is quoted is layout.
#[derive(Debug)]
enum Written {
    Word(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

/// Whether the order of a map's keys says something.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// Of a node's keys it does not.
    Any,
    /// Within them it may: a row goes to the first port of a `route` that takes it.
    AsWritten,
}

impl Default for Written {
    fn default() -> Self {
        Self::Map(Vec::new())
    }
}

impl Written {
    fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    fn write(&self, text: &mut String, order: Order) {
        match self {
            Self::Word(word) => text.push_str(&format!("{word:?}")),
            Self::List(values) => {
                text.push('[');
                for value in values {
                    value.write(text, Order::AsWritten);
                    text.push(',');
                }
                text.push(']');
            }
            Self::Map(entries) => {
                let mut entries: Vec<&(String, Self)> = entries.iter().collect();
                if order == Order::Any {
                    entries.sort_by_key(|(key, _)| key);
                }
                text.push('{');
                for (key, value) in entries {
                    text.push_str(&format!("{key:?}:"));
                    value.write(text, Order::AsWritten);
                    text.push(',');
                }
                text.push('}');
            }
        }
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor)
    }
}

struct WrittenVisitor;

impl<'de> Visitor<'de> for WrittenVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Written, E> {
        Ok(Written::Word("null".to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Written, E> {
        Ok(Written::Word(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Written, E> {
        Ok(Written::Word(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Written, E> {
        Ok(Written::Word(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Written, E> {
        Ok(Written::Word(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Written, E> {
        Ok(Written::Word(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Written, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(Written::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Written::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Value;

    /// Returns the hash of the one transform `a`.
    fn hash(node: &str, least: i64) -> String {
        let text = format!("version: 1\nname: p\ntransforms:\n  a: {node}\n");
        let file = file::parse(&text).0.unwrap_or_default();
        let vars = BTreeMap::from([
            ("least".to_owned(), Some(Value::Int(least))),
            ("least_other".to_owned(), Some(Value::Int(least))),
        ]);
        let scope = Scope { vars, ..Scope::default() };
        definitions(&file, &text, &scope).remove("a").unwrap_or_default()
    }

    #[test]
    fn comments_and_layout_define_nothing() {
        let plain = hash("{ from: b, filter: x > 1 }", 1);
        assert_eq!(plain.len(), 64);
        for same in [
            "{ filter: 'x > 1', from: \"b\" } # a comment",
            "\n    # a comment\n    from: b\n    filter: |-\n      x > 1",
        ] {
            assert_eq!(hash(same, 1), plain, "{same}");
        }
        for other in [
            "{ from: b, filter: x > 2 }",
            "{ from: [b], filter: x > 1 }",
            "{ from: c, filter: x > 1 }",
        ] {
            assert_ne!(hash(other, 1), plain, "{other}");
        }
    }

    #[test]
    fn the_order_of_ports_counts() {
        let route = |ports: &str| hash(&format!("{{ from: b, route: {{ {ports} }} }}"), 1);
        assert_ne!(route("x: a > 1, y: a > 2"), route("y: a > 2, x: a > 1"));
    }

    #[test]
    fn the_value_of_a_variable_counts_where_it_is_named() {
        for (node, counts) in [
            ("{ from: b, filter: x > $least }", true),
            ("{ from: \"${ least }\", filter: x }", true),
            ("{ from: b, filter: least > $leastest }", false),
        ] {
            assert_eq!(hash(node, 1) != hash(node, 2), counts, "{node}");
        }
    }
}
