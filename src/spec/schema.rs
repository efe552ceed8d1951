//! The JSON Schema of values as they are written in YAML.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Located, LocatedMap, Period, Rate, Secret, Share, Text};

impl<T: JsonSchema> JsonSchema for Located<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

impl<T: JsonSchema> JsonSchema for LocatedMap<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("map_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({ "type": "object", "additionalProperties": value })
    }
}

/// Gives types whose values are written as one word their schema.
macro_rules! words {
    ($($type:ty: $schema:tt,)+) => {$(
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )+};
}

words! {
    Text: { "type": ["string", "number", "boolean"] },
    Secret: { "type": ["string", "number"] },
    Share: { "type": "string", "pattern": "^\\s*[0-9.]+\\s*%$", "examples": ["5%"], "errorMessage": "A share is written as 5%." },
    Period: { "type": "string", "pattern": "^[0-9]+ *(ms|s|m|h|d)$", "examples": ["5m"], "errorMessage": "A time is written as 5m; units are ms, s, m, h, d." },
    Rate: { "type": "string", "pattern": "^ *[0-9]+ */ *[0-9]+ *(ms|s|m|h|d) *$", "examples": ["600/5m"], "errorMessage": "A rate is written as 600/5m." },
}
