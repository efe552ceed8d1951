//! The keys that stand beside the kind of a node.

use serde::de::MapAccess;

use super::names::OneOrMany;
use super::{Common, Reading};
use crate::spec::{Asking, Located};

/// The keys beside `enrich`.
pub(super) const ASKING_KEYS: [&str; 12] = [
    "by",
    "rate_limit",
    "budget",
    "in_flight",
    "keep_for",
    "newer_by",
    "rows",
    "on_missing",
    "on_error",
    "retry",
    "stop_after",
    "first",
];

const TRANSFORM_KEYS: [&str; 15] = {
    let mut keys = [""; 15];
    (keys[0], keys[1], keys[2]) = ("from", "with", "output");
    let mut index = 0;
    while index < ASKING_KEYS.len() {
        keys[3 + index] = ASKING_KEYS[index];
        index += 1;
    }
    keys
};

/// Returns the keys that stand beside the kind of a family.
pub(in crate::engine) fn common_keys(family: &str) -> &'static [&'static str] {
    match family {
        "source" => &["contract", "changed_since", "batch"],
        "transform" => &TRANSFORM_KEYS,
        _ => &["from", "write", "key", "newer_by", "missing", "within", "compact"],
    }
}

/// Reads a key that stands beside a kind.
pub(super) fn read_common<'de, A: MapAccess<'de>>(
    reading: &Reading<'_>,
    path: &[&str; 3],
    map: &mut A,
    common: &mut Common,
) -> Result<(), A::Error> {
    match path[2] {
        "from" => {
            let from: Option<OneOrMany> = reading.value(path, map, A::next_value)?;
            common.from = from.map(|from| from.0).unwrap_or_default();
        }
        "with" => common.with = reading.value(path, map, A::next_value)?.unwrap_or_default(),
        "output" => common.output = reading.value(path, map, A::next_value)?,
        "contract" => {
            common.contract = reading.value(path, map, A::next_value)?.unwrap_or_default();
        }
        "changed_since" => common.changed_since = reading.value(path, map, A::next_value)?,
        "batch" => common.batch = reading.value(path, map, A::next_value)?,
        "write" => common.write = reading.value(path, map, A::next_value)?,
        "key" => {
            let key: Option<OneOrMany> = reading.value(path, map, A::next_value)?;
            common.key = key.map(|key| key.0).unwrap_or_default();
        }
        "within" => {
            let within: Option<OneOrMany> = reading.value(path, map, A::next_value)?;
            common.within = within.map(|within| within.0).unwrap_or_default();
        }
        "compact" => common.compact = reading.value(path, map, A::next_value)?,
        "newer_by" => common.newer_by = reading.value(path, map, A::next_value)?,
        _ => common.missing = reading.value(path, map, A::next_value)?,
    }
    Ok(())
}

/// Reads a key beside `enrich`.
pub(super) fn read_asking<'de, A: MapAccess<'de>>(
    reading: &Reading<'_>,
    path: &[&str; 3],
    key: &Located<String>,
    map: &mut A,
    asking: &mut Asking,
) -> Result<(), A::Error> {
    let names = |names: Option<OneOrMany>| names.map(|names| names.0).unwrap_or_default();
    match path[2] {
        "by" => asking.by = names(reading.value(path, map, A::next_value)?),
        "rate_limit" => asking.rate_limit = reading.value(path, map, A::next_value)?,
        "budget" => asking.budget = reading.value(path, map, A::next_value)?.unwrap_or_default(),
        "in_flight" => asking.in_flight = reading.value(path, map, A::next_value)?,
        "newer_by" => asking.newer_by = reading.value(path, map, A::next_value)?,
        "keep_for" => asking.keep_for = reading.value(path, map, A::next_value)?,
        "rows" => asking.rows = reading.value(path, map, A::next_value)?,
        "on_missing" => asking.on_missing = reading.value(path, map, A::next_value)?,
        "on_error" => asking.on_error = reading.value(path, map, A::next_value)?,
        "retry" => asking.retry = reading.value(path, map, A::next_value)?,
        "stop_after" => asking.stop_after = reading.value(path, map, A::next_value)?,
        _ => asking.first = names(reading.value(path, map, A::next_value)?),
    }
    asking.given.push(key.clone());
    Ok(())
}
