//! The JSON Schema of pipeline files, for editors, and the reference of all components: both are
//! made from the types that read the files.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::lookups::LookupKind;
use crate::publish::Missing;
use crate::sinks::{SinkKind, Write};
use crate::sources::{Contract, SourceKind};
use crate::spec::{
    Alert, AnswerRows, BatchSize, ChangedSince, Family, LocatedMap, OnError, OnMissing, Period,
    Resources, Retry, Schedule, TestCase, Text, VarDecl,
};
use crate::transforms::TransformKind;

/// Ids of nodes or ports: one, or a list.
struct Names;

impl JsonSchema for Names {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "names".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "title": "name", "type": "string" },
            { "title": "names", "type": "array", "items": { "type": "string" } },
        ] })
    }
}

/// The keys beside the kind of a source.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct SourceKeys {
    /// What it promises, and what happens when it breaks.
    contract: Contract,
    /// Reads only what changed since the last run.
    changed_since: ChangedSince,
    /// How much of a stream is one batch.
    batch: BatchSize,
}

/// The keys beside the kind of a transform.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct TransformKeys {
    /// The node or port whose rows it takes; several are read one after the other. `sql` names its
    /// tables itself.
    from: Names,
    /// The nodes that are the inputs of a fragment.
    with: LocatedMap<String>,
    /// The output of a fragment, if it has several.
    output: String,
    /// The columns that make the key by which a look-up asks.
    by: Names,
    /// The rate limit of `resources` that a look-up shares with all others that name it.
    rate_limit: String,
    /// What a call of a look-up costs of budgets of `resources`: an amount by the budget's name.
    budget: LocatedMap<u64>,
    /// The most calls of a look-up on their way at once; 4 if it is not given.
    in_flight: u32,
    /// How long an answer is as good as asking; 30d if it is not given.
    keep_for: Period,
    /// A column with a moment or a day: a key is asked about again when a row of it is newer than
    /// the answer that is kept.
    newer_by: String,
    /// What becomes of an answer with several rows; `each` if it is not given.
    rows: AnswerRows,
    /// What happens to rows whose key the API does not know; `drop` if it is not given.
    on_missing: OnMissing,
    /// What happens to rows whose key got no answer; `reject` if it is not given.
    on_error: OnError,
    /// How often and when a call is made again.
    retry: Retry,
    /// The time after which a look-up asks about no more keys in a run. The next run asks for the
    /// rest.
    stop_after: Period,
    /// The order in which keys are asked, as in ORDER BY: the most valuable first.
    first: Names,
}

/// The keys beside the kind of a sink.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct SinkKeys {
    /// The node or port whose rows it takes; several are read one after the other.
    from: Names,
    /// What it does with its rows.
    write: Write,
    /// The columns that tell rows apart.
    key: Names,
    /// The column whose greater value is the newer row.
    newer_by: String,
    /// What happens to rows that arrive no more.
    missing: Missing,
    /// Columns of the key: rows are only missing where a row with the same values in them arrives.
    within: Names,
    /// How old small files may be before they are put together, for `parquet` with `append`.
    compact: Period,
}

/// The keys of a pipeline.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct PipelineKeys {
    /// The version of the language: 1.
    version: u8,
    /// Its name, part of its history and its lock.
    name: String,
    /// What it is for.
    description: String,
    /// The state file; `pipeline.db` beside the pipeline file otherwise.
    state: Text,
    /// Whether it may write outside of its project: the nearest folder around it with `.pipeline`
    /// or `.git`, or its own.
    allow_outside: bool,
    /// Its variables, given by `--var` or by default.
    vars: LocatedMap<VarDecl>,
    /// What it shares with other pipelines.
    resources: Resources,
    /// Where rows come from, by id.
    sources: Map<String, Value>,
    /// What becomes of them, by id.
    transforms: Map<String, Value>,
    /// Where they go, by id.
    sinks: Map<String, Value>,
    /// When it runs by itself.
    schedule: Schedule,
    /// What the user is told.
    alerts: Vec<Alert>,
    /// Its tests.
    tests: Vec<TestCase>,
}

/// The keys of a fragment.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct FragmentKeys {
    /// The version of the language: 1.
    version: u8,
    /// Name of the fragment.
    fragment: String,
    /// What it is for.
    description: String,
    /// The tables that it is given, and the columns that each needs: `date`, or `date?` if it may
    /// be null.
    inputs: LocatedMap<LocatedMap<String>>,
    /// The nodes that a pipeline may read.
    outputs: Vec<String>,
    /// Its transforms, by id.
    transforms: Map<String, Value>,
}

/// Returns the JSON Schema (draft 7, which all editors know) of pipeline and fragment files.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft07().into_generator();
    let mut titles = BTreeMap::new();
    let none: &[&str] = &[];
    let nodes = [
        ("sources", node::<SourceKind, SourceKeys>(&mut generator, none, &mut titles)),
        ("transforms", node::<TransformKind, TransformKeys>(&mut generator, none, &mut titles)),
        ("sinks", node::<SinkKind, SinkKeys>(&mut generator, &["from", "write"], &mut titles)),
    ];
    let mut pipeline = object::<PipelineKeys>(&mut generator, &["version", "name", "sources"]);
    let mut fragment = object::<FragmentKeys>(
        &mut generator,
        &["version", "fragment", "inputs", "outputs", "transforms"],
    );
    for whole in [&mut pipeline, &mut fragment] {
        whole["properties"]["version"] =
            json!({ "const": 1, "description": "The version of the language." });
        for (family, _) in &nodes {
            if let Some(property) = whole["properties"].get_mut(*family) {
                let description = property["description"].take();
                *property = json!({
                    "type": "object",
                    "description": description,
                    "additionalProperties": { "$ref": format!("#/definitions/{family}") },
                    "propertyNames": {
                        "pattern": "^[a-z_][a-z0-9_]*$",
                        "title": "id",
                        "description": "An id of your own: small letters, digits and `_`.",
                        "errorMessage": "An id has small letters, digits and `_`, and does not start with a digit.",
                    },
                });
            }
        }
    }
    let mut definitions = generator.take_definitions(true);
    for (family, node) in nodes {
        definitions.insert(family.to_owned(), node);
    }
    definitions.insert("pipeline".to_owned(), pipeline);
    definitions.insert("fragment".to_owned(), fragment);
    for (name, definition) in &mut definitions {
        // The heading of what an editor shows.
        let own = definition["title"].as_str().map(str::to_owned);
        let title = own.or_else(|| titles.remove(name)).unwrap_or_else(|| title(name));
        definition["title"] = title.into();
        for_editors(definition);
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "if": { "required": ["fragment"] },
        "then": { "$ref": "#/definitions/fragment" },
        "else": { "$ref": "#/definitions/pipeline" },
        "definitions": definitions,
    })
}

/// Returns the schema of a struct none of whose keys are required but those given.
fn object<T: JsonSchema>(generator: &mut SchemaGenerator, required: &[&str]) -> Value {
    let mut schema = T::json_schema(generator);
    schema.insert("required".to_owned(), json!(required));
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema.to_value()
}

/// Returns the schema of a node: the keys of its family, and exactly one kind. Each branch of
/// `oneOf` forbids the kinds before its own, `dependencies` those after it: so an editor marks the
/// second kind, and only that.
fn node<K: Family, Keys: JsonSchema>(
    generator: &mut SchemaGenerator,
    required: &[&str],
    titles: &mut BTreeMap<String, String>,
) -> Value {
    let mut node = object::<Keys>(generator, required);
    let forbidden = |kinds: &[&str]| -> Map<String, Value> {
        kinds.iter().map(|kind| ((*kind).to_owned(), json!(false))).collect()
    };
    let (last, first) = K::KINDS.split_last().unwrap_or((&"", &[]));
    let message = format!("A {} has exactly one kind: {} or {last}.", K::NAME, first.join(", "));
    let mut branches = Vec::new();
    let mut dependencies = Map::new();
    let schemas = K::schemas(generator).into_iter().zip(K::SUMMARIES);
    for (index, ((kind, settings), (_, summary))) in schemas.enumerate() {
        let reference = settings.get("$ref").and_then(Value::as_str);
        let name = reference.and_then(|path| path.rsplit('/').next()).map(str::to_owned);
        node["properties"][kind] = described(settings, summary.trim());
        if let Some(name) = name {
            let told = generator.definitions().get(&name).map(|told| told["description"].clone());
            node["properties"][kind]["markdownDescription"] = told.unwrap_or_default();
            titles.insert(name, format!("{kind} ({})", K::NAME));
        }
        branches.push(json!({
            "type": "object", "title": K::NAME, "required": [kind], "errorMessage": message,
            "properties": forbidden(&K::KINDS[..index]),
        }));
        let later = forbidden(&K::KINDS[index + 1..]);
        if !later.is_empty() {
            let branch = json!({ "properties": later, "errorMessage": message });
            dependencies.insert(kind.to_owned(), branch);
        }
    }
    node["title"] = K::NAME.into();
    node["oneOf"] = branches.into();
    node["dependencies"] = dependencies.into();
    if let Some(node) = node.as_object_mut() {
        node.remove("type");
    }
    node
}

/// Adds a description beside a reference: draft 7 does not heed it, editors do.
fn described(schema: Schema, description: &str) -> Value {
    let mut schema = schema.to_value();
    schema["description"] = description.into();
    schema
}

/// Turns the name of a type into words: `ContractColumn` is a "contract column".
fn title(name: &str) -> String {
    let mut title = String::new();
    for c in name.chars().filter(|c| !c.is_ascii_digit()) {
        if c.is_uppercase() && !title.is_empty() {
            title.push(' ');
        }
        title.extend(c.to_lowercase());
    }
    title
}

/// Writes a schema so that editors complete it well: they insert no colon after a key that is an
/// `allOf`, know the words of an `enum` and not of a `oneOf`, write defaults that nobody asked for,
/// and show `description` as it stands and `markdownDescription` as Markdown.
fn for_editors(schema: &mut Value) {
    if let Some(all) = schema["allOf"].as_array().filter(|all| all.len() == 1) {
        let reference = all[0]["$ref"].clone();
        if let (Some(schema), false) = (schema.as_object_mut(), reference.is_null()) {
            schema.remove("allOf");
            schema.insert("$ref".to_owned(), reference);
        }
    }
    let words = schema["oneOf"].as_array().cloned().unwrap_or_default();
    if !words.is_empty() && words.iter().all(|word| word["const"].is_string()) {
        let all = |key: &str| words.iter().map(|word| word[key].clone()).collect::<Value>();
        let (consts, descriptions) = (all("const"), all("description"));
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("oneOf");
            schema.insert("type".to_owned(), json!("string"));
            schema.insert("enum".to_owned(), consts);
            schema.insert("enumDescriptions".to_owned(), descriptions.clone());
            schema.insert("markdownEnumDescriptions".to_owned(), descriptions);
        }
    }
    match schema {
        Value::Object(map) => {
            // What is said of a branch with one key is said of the key.
            let branches = map.get_mut("oneOf").and_then(Value::as_array_mut);
            branches.into_iter().flatten().for_each(say_of_key);
            // Reading a key that is not there has left a null.
            map.retain(|_, value| !value.is_null());
            if map.get("default").is_some_and(Value::is_boolean) {
                map.remove("default");
            }
            if let Some(Value::String(text)) = map.get("description").cloned() {
                map.entry("markdownDescription").or_insert_with(|| text.into());
            }
            map.values_mut().for_each(for_editors);
        }
        Value::Array(all) => all.iter_mut().for_each(for_editors),
        _ => {}
    }
}

/// Gives the one key of a branch the description of the branch, if it has none of its own.
fn say_of_key(branch: &mut Value) {
    let Some(said) = branch.get("description").filter(|said| said.is_string()).cloned() else {
        return;
    };
    let properties = branch.get_mut("properties").and_then(Value::as_object_mut);
    let keys = properties.filter(|keys| keys.len() == 1);
    for key in keys.into_iter().flat_map(|keys| keys.values_mut()).filter_map(Value::as_object_mut)
    {
        key.entry("description").or_insert_with(|| said.clone());
    }
}

/// A component for the reference.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Component {
    /// `source`, `transform` or `sink`; `key` for what stands beside a kind or at the top of a file.
    pub family: &'static str,
    /// Its key in YAML.
    pub kind: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// What it does, as Markdown, with an example.
    pub description: String,
    /// Its settings; none when its value is no map.
    pub fields: Vec<Field>,
}

/// A setting of a component.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Field {
    /// Its key.
    pub name: String,
    /// What values it takes, in words.
    pub takes: String,
    /// Whether it must be given.
    pub is_required: bool,
    /// What it means.
    pub description: String,
}

/// Returns all components, in the order of the families, and then the keys of a file.
pub fn components() -> Vec<Component> {
    let mut all = of::<SourceKind>();
    all.extend(of::<TransformKind>());
    all.extend(of::<LookupKind>());
    all.extend(of::<SinkKind>());
    let beside = [keys::<SourceKeys>(), keys::<TransformKeys>(), keys::<SinkKeys>()];
    for key in keys::<PipelineKeys>().into_iter().chain(beside.into_iter().flatten()) {
        if !all.iter().any(|other| other.family == "key" && other.kind == key.kind) {
            all.push(key);
        }
    }
    all
}

fn of<K: Family>() -> Vec<Component> {
    let mut generator = SchemaSettings::draft07().into_generator();
    let schemas = K::schemas(&mut generator);
    let definitions = generator.take_definitions(true);
    let mut all = Vec::new();
    for ((kind, schema), (_, summary)) in schemas.into_iter().zip(K::SUMMARIES) {
        let schema = resolve(&schema.to_value(), &definitions).clone();
        all.push(Component {
            family: K::NAME,
            kind: kind.to_owned(),
            summary: summary.trim().to_owned(),
            description: schema["description"].as_str().unwrap_or_default().to_owned(),
            fields: fields(&schema, &definitions),
        });
    }
    all
}

/// Returns the keys of a struct of them, with what each holds.
fn keys<T: JsonSchema>() -> Vec<Component> {
    let mut generator = SchemaSettings::draft07().into_generator();
    let schema = T::json_schema(&mut generator).to_value();
    let definitions = generator.take_definitions(true);
    let mut all = Vec::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let summary = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        let held = resolve(property, &definitions);
        // A map from names, or a list, is told by what it holds.
        let held = match (&held["additionalProperties"], &held["items"]) {
            (of @ Value::Object(_), _) | (_, of @ Value::Object(_)) => resolve(of, &definitions),
            _ => held,
        };
        let told = held["description"].as_str().filter(|told| *told != summary);
        all.push(Component {
            family: "key",
            kind: name.clone(),
            description: told
                .map_or_else(|| summary.clone(), |told| format!("{summary}\n\n{told}")),
            fields: fields(held, &definitions),
            summary,
        });
    }
    all
}

fn fields(schema: &Value, definitions: &Map<String, Value>) -> Vec<Field> {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let field = |(name, property): (&String, &Value)| Field {
        name: name.clone(),
        takes: takes(property, definitions),
        is_required: required.iter().any(|other| other.as_str() == Some(name)),
        description: property["description"].as_str().unwrap_or_default().to_owned(),
    };
    properties.map(field).collect()
}

/// Follows a reference to a definition.
fn resolve<'a>(schema: &'a Value, definitions: &'a Map<String, Value>) -> &'a Value {
    let parts = schema["allOf"].as_array().or(schema["anyOf"].as_array());
    let first = parts.and_then(|parts| parts.first()).unwrap_or(schema);
    let name = first["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    name.and_then(|name| definitions.get(name)).unwrap_or(first)
}

/// Says in words what values a schema takes.
fn takes(schema: &Value, definitions: &Map<String, Value>) -> String {
    let schema = resolve(schema, definitions);
    if let Some(options) = schema["oneOf"].as_array().or(schema["enum"].as_array()) {
        let word = |option: &Value| match option {
            Value::String(word) => Some(word.clone()),
            other => other["const"].as_str().map(str::to_owned),
        };
        let words: Vec<String> = options.iter().filter_map(word).collect();
        if !words.is_empty() {
            return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" ");
        }
    }
    if let Some(example) = schema["examples"][0].as_str() {
        return format!("as `{example}`");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    match types.first() {
        Some(&"array") => format!("a list: {}", takes(&schema["items"], definitions)),
        Some(&"object") => "a map".to_owned(),
        Some(&"boolean") => "`true` `false`".to_owned(),
        Some(&"integer" | &"number") => "a number".to_owned(),
        _ => "text".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::file::{TOP_KEYS, common_keys};

    fn keys(value: &Value) -> Vec<String> {
        value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
    }

    #[test]
    fn has_every_key_that_the_parser_knows() {
        let schema = schema();
        let mut top: Vec<String> = TOP_KEYS.iter().map(|key| (*key).to_owned()).collect();
        top.sort();
        assert_eq!(keys(&schema["definitions"]["pipeline"]["properties"]), top);
        for (family, plural, kinds) in [
            ("source", "sources", SourceKind::KINDS),
            ("transform", "transforms", TransformKind::KINDS),
            ("sink", "sinks", SinkKind::KINDS),
        ] {
            let mut known: Vec<String> =
                common_keys(family).iter().chain(kinds).map(|key| (*key).to_owned()).collect();
            known.sort();
            assert_eq!(keys(&schema["definitions"][plural]["properties"]), known, "{family}");
        }
    }

    #[test]
    fn every_key_is_described() {
        fn walk(value: &Value, place: &str, bare: &mut Vec<String>) {
            if let Some(properties) = value["properties"].as_object() {
                for (name, property) in properties.iter().filter(|(_, p)| p.is_object()) {
                    if property["description"].as_str().is_none_or(str::is_empty) {
                        bare.push(format!("{place}.{name}"));
                    }
                }
            }
            match value {
                Value::Object(map) => {
                    map.iter()
                        .for_each(|(key, value)| walk(value, &format!("{place}.{key}"), bare));
                }
                Value::Array(all) => all.iter().for_each(|value| walk(value, place, bare)),
                _ => {}
            }
        }
        let mut bare = Vec::new();
        walk(&schema(), "", &mut bare);
        assert!(bare.is_empty(), "{bare:?}");
        for component in components().iter().filter(|component| component.family != "key") {
            assert!(component.description.contains("```yaml"), "{} has no example", component.kind);
        }
    }
}
