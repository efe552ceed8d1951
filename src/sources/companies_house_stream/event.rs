//! An event of the streaming API, and many of them as columns.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Int64Array, ListBuilder, RecordBatch, RecordBatchOptions, StringViewArray,
    StringViewBuilder, StructArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::lookups::company_number;
use crate::table::{Shape, micros};

/// An event: what changed, and what it is now.
#[derive(Clone, Debug)]
pub(super) struct Event {
    resource_kind: Option<String>,
    resource_uri: Option<String>,
    resource_id: Option<String>,
    /// The company that it belongs to, as far as the addresses in it tell.
    company_number: Option<String>,
    pub(super) timepoint: u64,
    /// Microseconds since 1970.
    published_at: Option<i64>,
    kind: Option<String>,
    fields_changed: Option<Vec<String>>,
    data: Option<Value>,
}

/// Reads nothing of an event but its number.
pub(super) fn number(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Inner {
        timepoint: u64,
    }
    #[derive(Deserialize)]
    struct Outer {
        event: Inner,
        #[serde(default, rename = "data")]
        _data: IgnoredAny,
    }
    Some(serde_json::from_slice::<Outer>(line).ok()?.event.timepoint)
}

impl Event {
    /// Reads an event whose `data` has a shape; says what does not fit.
    pub(super) fn read(line: &[u8], shape: &Shape) -> Result<Self, String> {
        let mut whole: Value =
            serde_json::from_slice(line).map_err(|error| format!("no JSON: {error}"))?;
        let data = whole.get_mut("data").map(Value::take).filter(|data| !data.is_null());
        if let Some(data) = &data {
            shape.check(data, "data")?;
        }
        let text = |value: &Value, path: &str| match value.get(path.rsplit('.').next()?) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if !text.contains('\0') => Some(Ok(text.clone())),
            Some(_) => Some(Err(format!("`{path}` is no string"))),
        };
        let event = whole.get("event").cloned().unwrap_or_default();
        let timepoint = event.get("timepoint").and_then(Value::as_u64);
        let published_at = match text(&event, "event.published_at").transpose()? {
            None => None,
            Some(written) => Some(
                micros(&written)
                    .ok_or_else(|| "`event.published_at` is no timestamp".to_owned())?,
            ),
        };
        let resource_uri = text(&whole, "resource_uri").transpose()?;
        let resource_id = text(&whole, "resource_id").transpose()?;
        let resource_kind = text(&whole, "resource_kind").transpose()?;
        let link = || data.as_ref()?.get("links")?.get("self")?.as_str();
        let by_address =
            resource_uri.as_deref().and_then(company_of).or_else(|| link().and_then(company_of));
        let by_id = || resource_id.as_deref().filter(|_| is_profile(resource_kind.as_deref()));
        let company_number = by_address.or_else(|| by_id().and_then(company_number));
        Ok(Self {
            resource_kind,
            resource_uri,
            resource_id,
            company_number,
            timepoint: timepoint.ok_or("`event.timepoint` is no number")?,
            published_at,
            kind: text(&event, "event.type").transpose()?,
            fields_changed: fields_changed(&event)?,
            data,
        })
    }
}

fn is_profile(kind: Option<&str>) -> bool {
    kind == Some("company-profile")
}

fn fields_changed(event: &Value) -> Result<Option<Vec<String>>, String> {
    let wrong = || "`event.fields_changed` is no list of strings".to_owned();
    match event.get("fields_changed") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(names)) => {
            let name = |name: &Value| name.as_str().map(str::to_owned).ok_or_else(wrong);
            names.iter().map(name).collect::<Result<_, _>>().map(Some)
        }
        Some(_) => Err(wrong()),
    }
}

/// Returns the number in an address such as `/company/00000006/appointments/x`; the first slash may
/// be missing.
fn company_of(address: &str) -> Option<String> {
    let mut words = address.trim_start_matches('/').split('/');
    words.find(|word| *word == "company")?;
    company_number(words.next()?)
}

/// Returns the columns of a feed whose `data` has a shape.
pub(super) fn schema(shape: &Shape) -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8View, true);
    Arc::new(Schema::new(vec![
        text("resource_kind"),
        text("resource_uri"),
        text("resource_id"),
        text("company_number"),
        Field::new("event", DataType::Struct(event_fields()), true),
        Field::new("data", shape.data_type(), true),
    ]))
}

fn event_fields() -> Fields {
    let moment = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let names = DataType::List(Arc::new(Field::new("item", DataType::Utf8View, true)));
    Fields::from(vec![
        Field::new("timepoint", DataType::Int64, true),
        Field::new("published_at", moment, true),
        Field::new("type", DataType::Utf8View, true),
        Field::new("fields_changed", names, true),
    ])
}

/// Makes columns of events.
pub(super) fn columns(
    events: &[Event],
    shape: &Shape,
    schema: &SchemaRef,
    projection: &[usize],
) -> Result<RecordBatch> {
    let column = |index: &usize| match index {
        0 => texts(events, |event| event.resource_kind.as_deref()),
        1 => texts(events, |event| event.resource_uri.as_deref()),
        2 => texts(events, |event| event.resource_id.as_deref()),
        3 => texts(events, |event| event.company_number.as_deref()),
        4 => event_column(events),
        _ => shape.column(&events.iter().map(|event| event.data.as_ref()).collect::<Vec<_>>()),
    };
    let columns = projection.iter().map(column).collect();
    let misfit = |e| Error::internal("events do not fit their schema").because(e);
    let schema = Arc::new(schema.project(projection).map_err(misfit)?);
    let options = RecordBatchOptions::new().with_row_count(Some(events.len()));
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(misfit)
}

fn texts<'a>(events: &'a [Event], text: impl Fn(&'a Event) -> Option<&'a str>) -> ArrayRef {
    Arc::new(events.iter().map(text).collect::<StringViewArray>())
}

fn event_column(events: &[Event]) -> ArrayRef {
    let timepoints = events.iter().map(|event| event.timepoint as i64);
    let published_at: TimestampMicrosecondArray =
        events.iter().map(|event| event.published_at).collect();
    let mut names = ListBuilder::new(StringViewBuilder::new());
    for event in events {
        names.append_option(event.fields_changed.as_ref().map(|names| names.iter().map(Some)));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(timepoints)),
        Arc::new(published_at.with_timezone("UTC")),
        texts(events, |event| event.kind.as_deref()),
        Arc::new(names.finish()),
    ];
    Arc::new(StructArray::new(event_fields(), columns, None))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a test fails by panicking")]

    use super::*;

    fn shape() -> Shape {
        Shape::parse("company_name: string\nlinks:\n  self: string\n").expect("a shape")
    }

    fn read(line: &str) -> Result<Event, String> {
        Event::read(line.as_bytes(), &shape())
    }

    #[test]
    fn finds_the_company_wherever_it_is_named() {
        for (line, number) in [
            (
                r#"{"resource_uri":"/company/90000001/appointments/x","event":{"timepoint":1}}"#,
                "90000001",
            ),
            (
                r#"{"resource_uri":"company/SC900001/exemptions","event":{"timepoint":1}}"#,
                "SC900001",
            ),
            (
                r#"{"resource_id":"90000001","resource_kind":"company-profile","event":{"timepoint":1}}"#,
                "90000001",
            ),
            (
                r#"{"data":{"links":{"self":"/company/90000001/appointments/x"}},"event":{"timepoint":1}}"#,
                "90000001",
            ),
            (
                r#"{"resource_uri":"/disqualified-officers/natural/x","resource_id":"12345678","event":{"timepoint":1}}"#,
                "",
            ),
        ] {
            let event = read(line).expect("an event");
            assert_eq!(event.company_number.unwrap_or_default(), number, "{line}");
            assert_eq!(super::number(line.as_bytes()), Some(1));
        }
    }

    #[test]
    fn a_deleted_event_without_data_is_an_event() {
        let event = read(
            r#"{"resource_kind":"company-profile","resource_uri":"/company/90000001",
            "resource_id":"90000001","event":{"fields_changed":["a"],"timepoint":7,
            "published_at":"2026-11-02T08:00:00","type":"deleted"}}"#,
        )
        .expect("an event");
        assert!(event.data.is_none());
        let schema = schema(&shape());
        let rows = columns(&[event], &shape(), &schema, &[5, 4, 3]).expect("rows");
        assert_eq!((rows.num_rows(), rows.column(0).null_count()), (1, 1));
        assert!(columns(&[], &shape(), &schema, &[]).is_ok_and(|rows| rows.num_rows() == 0));
    }

    #[test]
    fn says_what_does_not_fit() {
        for (line, reason) in [
            ("{", "no JSON"),
            ("[]", "`event.timepoint` is no number"),
            (r#"{"event":{"timepoint":-1}}"#, "`event.timepoint` is no number"),
            (r#"{"event":{"timepoint":1},"resource_id":7}"#, "`resource_id` is no string"),
            (r#"{"event":{"timepoint":1},"data":7}"#, "`data` is no object"),
            (
                r#"{"event":{"timepoint":1},"data":{"company_name":[]}}"#,
                "`data.company_name` is no string",
            ),
            (
                r#"{"event":{"timepoint":1,"published_at":"soon"}}"#,
                "`event.published_at` is no timestamp",
            ),
            (r#"{"event":{"timepoint":1,"fields_changed":"x"}}"#, "no list of strings"),
        ] {
            let refused = read(line).expect_err("no event");
            assert!(refused.contains(reason), "{line}: {refused}");
        }
    }
}
