//! One event as a line: the envelope, and its moment in three ways of writing.

use jiff::{SignedDuration, Timestamp, tz::Offset};
use serde::Serialize;
use serde_json::Value;

use super::super::rng::Rng;
use super::feed::{Feed, Schedule};

/// What an event is about, before it has its place in the feed.
#[derive(Debug)]
pub(super) struct Content {
    pub kind: &'static str,
    pub uri: String,
    pub id: String,
    /// Nothing when the resource was deleted.
    pub data: Option<Value>,
    /// Which members changed, if that is known; it nearly never is.
    pub fields: Option<&'static str>,
}

/// The members in the order in which they are sent.
#[derive(Serialize)]
struct Envelope<'a> {
    resource_kind: &'a str,
    resource_uri: &'a str,
    resource_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
    event: Event,
}

#[derive(Serialize)]
struct Event {
    #[serde(skip_serializing_if = "Option::is_none")]
    fields_changed: Option<[&'static str; 1]>,
    timepoint: u64,
    published_at: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

/// Writes the `n`-th event of a feed, with the end of its line.
pub(super) fn line(
    content: &Content,
    feed: Feed,
    n: u64,
    schedule: &Schedule,
    rng: &mut Rng,
) -> Vec<u8> {
    // One in fifty has no slash in front.
    let uri = match rng.chance(20_000) {
        true => content.uri.trim_start_matches('/'),
        false => &content.uri,
    };
    let envelope = Envelope {
        resource_kind: content.kind,
        resource_uri: uri,
        resource_id: &content.id,
        data: content.data.as_ref(),
        event: Event {
            // Known of one in 88 of those that were recorded.
            fields_changed: content.fields.filter(|_| rng.chance(40_000)).map(|field| [field]),
            timepoint: feed.first_timepoint() + n,
            published_at: published_at(n, schedule, rng),
            kind: if content.data.is_some() { "changed" } else { "deleted" },
        },
    };
    let mut line = serde_json::to_vec(&envelope).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Writes when an event was published: without a zone, in UTC with a fraction, or an hour ahead.
/// One in eight is earlier than it should be, so that moments are not in the order of timepoints.
fn published_at(n: u64, schedule: &Schedule, rng: &mut Rng) -> String {
    let mut at = schedule.time(n);
    if rng.chance(125_000) {
        let back = schedule.interval().as_millis().clamp(1000, 60_000);
        let back = i64::try_from(back).unwrap_or(1000) * i64::from(1 + rng.below(4));
        at = at.checked_sub(SignedDuration::from_millis(back)).unwrap_or(at);
    }
    let micros = Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at);
    match rng.below(10) {
        0..=6 => micros.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        7..=8 => micros.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
        _ => {
            let ahead = micros.to_zoned(Offset::constant(1).to_time_zone());
            ahead.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
        }
    }
}
