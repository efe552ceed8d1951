//! `enrich`: asks an API about each key, and adds what it answers.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use schemars::{JsonSchema, Schema as JsonSchemaValue, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::{Planned, Transform};
use crate::context::Sql;
use crate::lookups::{Lookup, LookupKind};
use crate::quota::Limit;
use crate::spec::{
    AnswerRows, Budget, Code, Diagnostic, Family as _, Located, Mark, OnError, OnMissing, Retry,
};

/// What `enrich` does, for the reader of the code and, by the schema, for the reader of the reference.
macro_rules! docs {
    () => {
        "Asks an API about each distinct key, and adds the columns of its answers. No key is asked twice:
answers, also that there is nothing, are kept in the state file for `keep_for`, and survive a
crash. Calls wait for a `rate_limit` that all pipelines of the state file share.

Rows whose key got no answer go to the port `.rejected` with the `reason`, the `http_status` and
the number of `attempts`; rows whose key the API does not know to `.missing` with the `reason`;
rows whose key was not asked before `stop_after` to `.pending`: the next run asks for them.
The order of rows is kept.

```yaml
officers:
  from: leads
  enrich: { companies_house_officers: { key: \"${secret:CH_API_KEY}\" } }
  by: [company_number]
  rate_limit: companies_house
  keep_for: 30d
  first: score desc
  stop_after: 3h
```"
    };
}

#[doc = docs!()]
#[derive(Clone, Debug)]
pub struct Enrich {
    /// The look-up.
    pub lookup: Box<LookupKind>,
}

impl<'de> Deserialize<'de> for Enrich {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneKind;

        impl<'de> Visitor<'de> for OneKind {
            type Value = Enrich;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a look-up: a map with one kind")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Enrich, A::Error> {
                let mut lookup = None;
                while let Some(kind) = map.next_key::<String>()? {
                    if lookup.is_some() {
                        return Err(A::Error::custom("a look-up has exactly one kind"));
                    }
                    if LookupKind::RESERVED.contains(&kind.as_str()) {
                        let message = format!("`{kind}` is reserved for a later version");
                        return Err(A::Error::custom(message));
                    }
                    lookup = Some(LookupKind::read(&kind, &mut map)?);
                }
                let none = || A::Error::custom("a look-up has exactly one kind, and this has none");
                lookup.map(|lookup| Enrich { lookup: Box::new(lookup) }).ok_or_else(none)
            }
        }

        deserializer.deserialize_map(OneKind)
    }
}

impl JsonSchema for Enrich {
    fn schema_name() -> Cow<'static, str> {
        "Enrich".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> JsonSchemaValue {
        let kinds = LookupKind::schemas(generator).into_iter().zip(LookupKind::SUMMARIES);
        let kinds = kinds.map(|((kind, schema), (_, summary))| {
            let mut schema = schema.to_value();
            schema["description"] = summary.trim().into();
            (kind.to_owned(), schema)
        });
        let properties: serde_json::Map<String, serde_json::Value> = kinds.collect();
        json_schema!({
            "type": "object",
            "description": docs!(),
            "properties": properties,
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": false,
        })
    }
}

/// The engine plans it: a look-up needs what pipelines share.
#[async_trait]
impl Transform for Enrich {
    async fn plan(&self, _from: &str, _sql: &Sql) -> Result<Planned, Vec<Diagnostic>> {
        let message = "a look-up is planned by the engine";
        Err(vec![Diagnostic::error(Code::SqlPlan, message, Mark::default())])
    }

    fn enriches(&self) -> Option<&LookupKind> {
        Some(&self.lookup)
    }
}

/// A look-up as the engine runs it.
#[derive(Clone, Debug)]
pub struct Enrichment {
    /// What is asked.
    pub lookup: Arc<dyn Lookup>,
    /// The columns of the key, by index.
    pub by: Vec<usize>,
    /// The direction of each of the last columns, which are the order in which keys are asked.
    pub order: Vec<SortOptions>,
    /// The rate limit.
    pub limit: Arc<Limit>,
    /// What a call costs of budgets, and the place where that is said.
    pub budgets: Vec<(Located<String>, Budget, u64)>,
    /// The most calls on their way at once.
    pub in_flight: usize,
    /// How long an answer is as good as asking.
    pub keep_for: Duration,
    /// The column, by index, by which a row is newer than an answer.
    pub newer_by: Option<usize>,
    /// What becomes of an answer with several rows.
    pub rows: AnswerRows,
    /// What happens to rows whose key the API does not know.
    pub on_missing: OnMissing,
    /// What happens to rows whose key got no answer.
    pub on_error: OnError,
    /// How often and when a call is made again.
    pub retry: Retry,
    /// The time after which no more keys are asked.
    pub stop_after: Option<Duration>,
}

/// The ports of a look-up beside `.rejected`: rows whose key the API does not know, and rows whose
/// key was not asked.
pub(crate) const PORTS: [&str; 2] = ["missing", "pending"];

/// The column of an answer that is a list.
const ANSWERS: &str = "answers";

impl Enrichment {
    /// Returns the columns that it adds.
    pub fn added(&self) -> Vec<Field> {
        let columns = self.lookup.columns().iter();
        let fields = columns.map(|column| Field::new(&column.name, column.kind.data_type(), true));
        match self.rows {
            AnswerRows::Each | AnswerRows::First => fields.collect(),
            AnswerRows::List => {
                let row = DataType::Struct(fields.collect::<Fields>());
                let rows = DataType::List(Arc::new(Field::new_list_field(row, true)));
                vec![Field::new(ANSWERS, rows, true)]
            }
        }
    }

    /// Returns the columns of its rows: those of its input, and those that it adds.
    pub fn schema(&self, input: &Schema) -> SchemaRef {
        let mut fields: Vec<Arc<Field>> = input.fields().iter().cloned().collect();
        fields.extend(self.added().into_iter().map(Arc::new));
        Arc::new(Schema::new(fields))
    }
}
