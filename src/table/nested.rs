//! Nested values as typed columns: the shape of a JSON value, whether one fits, and many of them as
//! an Arrow column.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, ListArray, StringViewArray,
    StructArray, TimestampMicrosecondArray,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use serde_json::Value;

use super::ColumnType;
use super::parse::days_since_1970;

/// The shape of a value. Anything may be null or not there.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A value of a column type.
    Value(ColumnType),
    /// Anything, kept as JSON text.
    Json,
    /// An object with these members; others are left out.
    Object(Vec<(String, Shape)>),
    /// A list.
    List(Box<Shape>),
}

impl Shape {
    /// Reads a shape from YAML: a type by its name, `json`, a map of members, or a list of one.
    pub fn parse(yaml: &str) -> Option<Self> {
        Self::of(&serde_saphyr::from_str(yaml).ok()?)
    }

    fn of(written: &Value) -> Option<Self> {
        match written {
            Value::String(name) if name == "json" => Some(Self::Json),
            Value::String(name) => ColumnType::named(name).map(Self::Value),
            Value::Array(items) => match items.as_slice() {
                [item] => Some(Self::List(Box::new(Self::of(item)?))),
                _ => None,
            },
            Value::Object(members) => {
                let member =
                    |(name, shape): (&String, &Value)| Some((name.clone(), Self::of(shape)?));
                members.iter().map(member).collect::<Option<_>>().map(Self::Object)
            }
            _ => None,
        }
    }

    /// Returns the shape of the values of an Arrow column; `None` for types that no source has.
    pub fn of_type(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Struct(fields) => {
                let member = |field: &Arc<Field>| {
                    Some((field.name().clone(), Self::of_type(field.data_type())?))
                };
                fields.iter().map(member).collect::<Option<_>>().map(Self::Object)
            }
            DataType::List(item) => Some(Self::List(Box::new(Self::of_type(item.data_type())?))),
            other => {
                let mut kinds = ColumnType::ALL.into_iter();
                kinds.find(|kind| kind.data_type() == *other).map(Self::Value)
            }
        }
    }

    /// Returns the Arrow type of a column of such values.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Value(kind) => kind.data_type(),
            Self::Json => DataType::Utf8View,
            Self::Object(members) => DataType::Struct(fields(members)),
            Self::List(item) => DataType::List(Arc::new(item.field("item"))),
        }
    }

    fn field(&self, name: &str) -> Field {
        Field::new(name, self.data_type(), true)
    }

    /// Says where and why a value does not have this shape; `path` is where it stands.
    pub fn check(&self, value: &Value, path: &str) -> Result<(), String> {
        match (self, value) {
            (_, Value::Null) | (Self::Json, _) => Ok(()),
            (Self::Value(kind), value) => match fits(*kind, value) {
                true => Ok(()),
                false => Err(format!("`{path}` is no {}", kind.name())),
            },
            (Self::Object(members), Value::Object(values)) => {
                members.iter().try_for_each(|(name, shape)| match values.get(name) {
                    Some(value) => shape.check(value, &format!("{path}.{name}")),
                    None => Ok(()),
                })
            }
            (Self::Object(_), _) => Err(format!("`{path}` is no object")),
            (Self::List(item), Value::Array(values)) => {
                let check = |(index, value)| item.check(value, &format!("{path}[{index}]"));
                values.iter().enumerate().try_for_each(check)
            }
            (Self::List(_), _) => Err(format!("`{path}` is no list")),
        }
    }

    /// Makes a column of values that have this shape; what does not is null.
    pub fn column(&self, values: &[Option<&Value>]) -> ArrayRef {
        let values = || values.iter().map(|value| value.filter(|value| !value.is_null()));
        match self {
            Self::Value(kind) => column(*kind, values()),
            Self::Json => {
                let texts = values().map(|value| value.map(ToString::to_string));
                Arc::new(texts.collect::<StringViewArray>())
            }
            Self::Object(members) => {
                let valid: NullBuffer = values().map(|v| v.is_some_and(Value::is_object)).collect();
                let member = |(name, shape): &(String, Self)| {
                    let inner: Vec<_> = values().map(|value| value?.get(name)).collect();
                    shape.column(&inner)
                };
                let columns = members.iter().map(member).collect();
                let n_rows = valid.len();
                StructArray::try_new_with_length(fields(members), columns, Some(valid), n_rows)
                    .map_or_else(|_| null(&self.data_type(), n_rows), |array| Arc::new(array) as _)
            }
            Self::List(item) => {
                let valid: NullBuffer = values().map(|v| v.is_some_and(Value::is_array)).collect();
                let items =
                    |value: Option<&Value>| value.and_then(Value::as_array).map_or(0, Vec::len);
                let offsets = OffsetBuffer::from_lengths(values().map(items));
                let all: Vec<_> =
                    values().flatten().filter_map(Value::as_array).flatten().map(Some).collect();
                let n_rows = valid.len();
                let field = Arc::new(item.field("item"));
                ListArray::try_new(field, offsets, item.column(&all), Some(valid))
                    .map_or_else(|_| null(&self.data_type(), n_rows), |array| Arc::new(array) as _)
            }
        }
    }
}

fn fields(members: &[(String, Shape)]) -> Fields {
    members.iter().map(|(name, shape)| shape.field(name)).collect()
}

fn null(data_type: &DataType, n_rows: usize) -> ArrayRef {
    datafusion::arrow::array::new_null_array(data_type, n_rows)
}

fn fits(kind: ColumnType, value: &Value) -> bool {
    match (kind, value) {
        (ColumnType::String, Value::String(text)) => !text.contains('\0'),
        (ColumnType::Int, value) => value.is_i64(),
        (ColumnType::Float, value) => value.is_number(),
        (ColumnType::Bool, value) => value.is_boolean(),
        (ColumnType::Date, Value::String(text)) => text.is_empty() || day(text).is_some(),
        (ColumnType::Timestamp, Value::String(text)) => text.is_empty() || micros(text).is_some(),
        _ => false,
    }
}

fn column<'a>(kind: ColumnType, values: impl Iterator<Item = Option<&'a Value>>) -> ArrayRef {
    let text = |value: Option<&'a Value>| value.and_then(Value::as_str);
    match kind {
        ColumnType::String => Arc::new(values.map(text).collect::<StringViewArray>()),
        ColumnType::Int => Arc::new(values.map(|value| value?.as_i64()).collect::<Int64Array>()),
        ColumnType::Float => {
            Arc::new(values.map(|value| value?.as_f64()).collect::<Float64Array>())
        }
        ColumnType::Bool => {
            Arc::new(values.map(|value| value?.as_bool()).collect::<BooleanArray>())
        }
        ColumnType::Date => {
            Arc::new(values.map(|value| text(value).and_then(day)).collect::<Date32Array>())
        }
        ColumnType::Timestamp => {
            let micros = values.map(|value| text(value).and_then(micros));
            Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
    }
}

/// Reads a day, with or without a time behind it.
fn day(text: &str) -> Option<i32> {
    let day = text.get(..10).filter(|_| text.len() == 10 || text[10..].starts_with('T'))?;
    Some(days_since_1970(day.parse().ok()?))
}

/// Reads a moment in microseconds since 1970; without a zone it is UTC.
pub fn micros(text: &str) -> Option<i64> {
    let moment: Option<jiff::Timestamp> = text.parse().ok();
    let civil = || {
        let civil: jiff::civil::DateTime = text.parse().ok().filter(|_| text.contains('T'))?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    };
    moment.or_else(civil).map(jiff::Timestamp::as_microsecond)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a test fails by panicking")]

    use super::*;
    use datafusion::arrow::array::{Array as _, AsArray};
    use datafusion::arrow::datatypes::{Date32Type, Int64Type};
    use serde_json::json;

    fn shape() -> Shape {
        let yaml = "name: string\nn: int\non: date\nat: timestamp\nany: json\n\
                    tags: [string]\npeople:\n  - age: int\n    born:\n      year: int\n";
        Shape::parse(yaml).expect("a shape")
    }

    #[test]
    fn values_of_a_shape_become_columns() {
        let rows = [
            json!({"name": "a", "n": 7, "on": "1970-01-03", "at": "1970-01-01T00:00:01",
                   "any": {"x": [1]}, "tags": ["x", null, "y"], "more": 1,
                   "people": [{"age": 3, "born": {"year": 1970}}, {}]}),
            json!({"name": null, "tags": [], "people": null}),
        ];
        let values: Vec<_> = rows.iter().map(Some).chain([None]).collect();
        assert!(rows.iter().all(|row| shape().check(row, "$").is_ok()));
        let column = shape().column(&values);
        assert_eq!(column.data_type(), &shape().data_type());
        // Text that is kept as JSON is text.
        assert_eq!(
            Shape::of_type(column.data_type()).map(|s| s.data_type()),
            Some(shape().data_type())
        );
        let all = column.as_struct();
        assert_eq!((all.len(), all.null_count()), (3, 1));
        let inner = |name: &str| all.column_by_name(name).expect("a column").clone();
        assert_eq!(inner("n").as_primitive::<Int64Type>().value(0), 7);
        assert_eq!(inner("on").as_primitive::<Date32Type>().value(0), 2);
        assert_eq!(inner("any").as_string_view().value(0), r#"{"x":[1]}"#);
        let tags = inner("tags");
        let lengths: Vec<_> = tags.as_list::<i32>().iter().map(|v| v.map(|v| v.len())).collect();
        assert_eq!(lengths, [Some(3), Some(0), None]);
        let people = inner("people");
        let people = people.as_list::<i32>().value(0);
        let ages = people.as_struct().column_by_name("age").expect("a column").clone();
        assert_eq!(ages.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(3), None]);
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_place() {
        for (value, reason) in [
            (json!({"n": "7"}), "`$.n` is no int"),
            (json!({"n": 7.5}), "`$.n` is no int"),
            (json!({"n": 18_446_744_073_709_551_615_u64}), "`$.n` is no int"),
            (json!({"name": "a\0b"}), "`$.name` is no string"),
            (json!({"on": "1970-13-03"}), "`$.on` is no date"),
            (json!({"on": "3/1/1970é"}), "`$.on` is no date"),
            (json!({"at": "yesterday"}), "`$.at` is no timestamp"),
            (json!({"tags": "x"}), "`$.tags` is no list"),
            (json!({"tags": ["x", 1]}), "`$.tags[1]` is no string"),
            (json!({"people": [{"born": 1970}]}), "`$.people[0].born` is no object"),
            (json!([]), "`$` is no object"),
        ] {
            assert_eq!(shape().check(&value, "$"), Err(reason.to_owned()), "{value}");
        }
    }

    #[test]
    fn moments_are_utc_however_they_are_written() {
        let same = ["2021-12-03T20:56:03", "2021-12-03T20:56:03.000Z", "2021-12-03T21:56:03+01:00"];
        assert!(same.iter().all(|text| micros(text) == Some(1_638_564_963_000_000)));
        assert_eq!(micros("2021-12-03"), None);
        assert_eq!(micros("2021-12-03T20:56:03.002333257Z"), Some(1_638_564_963_002_333));
    }
}
