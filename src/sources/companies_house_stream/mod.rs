//! `companies_house_stream`: what changes at Companies House, as it happens.

mod event;

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::SchemaRef;
use futures::StreamExt as _;
use futures::stream;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use self::event::Event;
use super::contract::Contract;
use super::convert::MOST_RAW;
use super::refused::{Refused, rejected};
use super::{Batch, BatchStream, BuildSource, Source, Stream};
use crate::clock::after;
use crate::context::{BuildContext, Outside, Position, ReadContext};
use crate::error::{Error, Result};
use crate::feeds::{Item, Settings, Taken};
use crate::lookups::Register;
use crate::net::Bounds;
use crate::spec::{BatchSize, Code, Diagnostic, Located, Period, Secret, Text};
use crate::table::Shape;

/// Where the API is if the file does not say.
const BASE_URL: &str = "https://stream.companieshouse.gov.uk";
/// The server sends a blank line every 30 s: after three that did not come nobody is there.
const IDLE: Duration = Duration::from_secs(90);
/// How long the register may say nothing on a working day.
const STALL: Duration = Duration::from_secs(900);
/// The most events that become columns together.
const CHUNK: usize = 1_024;
/// How often in a row it may go wrong when no batch follows.
const MOST_FAILURES: u32 = 3;

/// The feeds: name, path, and shape of `data`.
const FEEDS: &[(&str, &str, &str)] = &[
    ("companies", "companies", include_str!("../../../schemas/stream/companies.yaml")),
    ("filings", "filings", include_str!("../../../schemas/stream/filings.yaml")),
    ("officers", "officers", include_str!("../../../schemas/stream/officers.yaml")),
    (
        "persons_with_significant_control",
        "persons-with-significant-control",
        include_str!("../../../schemas/stream/persons_with_significant_control.yaml"),
    ),
    ("charges", "charges", include_str!("../../../schemas/stream/charges.yaml")),
    (
        "insolvency_cases",
        "insolvency-cases",
        include_str!("../../../schemas/stream/insolvency_cases.yaml"),
    ),
    (
        "disqualified_officers",
        "disqualified-officers",
        include_str!("../../../schemas/stream/disqualified_officers.yaml"),
    ),
    (
        "company_exemptions",
        "company-exemptions",
        include_str!("../../../schemas/stream/company_exemptions.yaml"),
    ),
    (
        "persons_with_significant_control_statements",
        "persons-with-significant-control-statements",
        include_str!("../../../schemas/stream/persons_with_significant_control_statements.yaml"),
    ),
];

/// Reads a feed of the streaming API of Companies House, batch after batch: each event is a row,
/// in the order of `event['timepoint']`, once. The columns are `resource_kind`, `resource_uri`,
/// `resource_id`, `company_number` (also where only an address in the event names the company),
/// `event` (`timepoint`, `published_at` in UTC, `type`, `fields_changed`) and `data`, whose members
/// are those of the feed and null where an event has none; a `deleted` event has no `data`. An event
/// that does not fit goes to `.rejected`, whole.
///
/// Where a batch ended is saved with its rows, and the next one begins behind it. `pipeline run`
/// reads one batch, `pipeline run --follow` batch after batch over one connection. A server that
/// cuts it, is restarted or says 429 is asked again by its rules.
///
/// ```yaml
/// sources:
///   changes:
///     companies_house_stream: { feed: companies, key: "${secret:CH_STREAM_KEY}" }
///     batch: { rows: 2000, every: 5s }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompaniesHouseStream {
    /// The feed: `companies`, `officers`, `filings`, `charges`, `insolvency_cases`,
    /// `persons_with_significant_control`, `persons_with_significant_control_statements`,
    /// `company_exemptions` or `disqualified_officers`.
    pub feed: Located<String>,
    /// The key of the streaming API, as `${secret:NAME}`; a key of the REST API is none.
    pub key: Secret,
    /// Where it begins when no position is saved: `saved_or_now`, or a timepoint.
    #[serde(default)]
    pub start: Start,
    /// What happens when events after the saved position are gone (416): `stop`, or `now` to go on
    /// from the present. The gap is recorded in any case.
    #[serde(default)]
    pub on_gap: OnGap,
    /// Where the API is; `https://stream.companieshouse.gov.uk` otherwise.
    #[serde(default)]
    pub base_url: Option<Text>,
    /// How long to wait after a connection that broke, 2s otherwise; longer each time.
    #[serde(default)]
    pub reconnect_after: Option<Located<Period>>,
    /// How long it may be silent in business time before `run --follow` warns, 15m otherwise.
    #[serde(default)]
    pub stall_after: Option<Located<Period>>,
}

/// Where a stream begins that has no saved position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the first event that comes.
    #[default]
    Now,
    /// With the event of a timepoint.
    Timepoint(u64),
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse() {
            Ok(timepoint) => Ok(Self::Timepoint(timepoint)),
            Err(_) if text == "saved_or_now" => Ok(Self::Now),
            Err(_) => Err(serde::de::Error::custom(
                "a stream starts at `saved_or_now` or at a timepoint, a whole number",
            )),
        }
    }
}

impl JsonSchema for Start {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Start".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "const": "saved_or_now" },
            { "type": "integer", "minimum": 0 },
        ] })
    }
}

/// What happens when events after the saved position are gone.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnGap {
    /// The run stops and says what to do.
    #[default]
    Stop,
    /// It goes on with what comes from now on.
    Now,
}

impl BuildSource for CompaniesHouseStream {
    fn is_stream(&self) -> bool {
        true
    }

    fn build(
        &self,
        contract: &Contract,
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Source>> {
        if let Some((name, _)) = contract.columns.0.first() {
            let message = "the columns of a stream are fixed: a contract cannot change them";
            context.found.push(Diagnostic::error(Code::BadValue, message, name.at));
        }
        let named = FEEDS.iter().find(|(name, _, _)| *name == self.feed.value);
        if named.is_none() {
            let message = format!("there is no feed `{}`", self.feed.value);
            let fault = Diagnostic::error(Code::BadValue, message, self.feed.at);
            let names = FEEDS.iter().map(|(name, _, _)| *name);
            context.found.push(fault.suggest(&self.feed, "feeds", names));
        }
        let register = Register::at(&self.key, self.base_url.as_ref(), BASE_URL, context);
        let (_, path, shape) = named?;
        let shape = Shape::parse(shape)?;
        let reconnect_after = self.reconnect_after.as_ref().map(|wait| wait.value.duration());
        Some(Arc::new(Feed {
            register: Arc::new(register?),
            path,
            schema: event::schema(&shape),
            shape: Arc::new(shape),
            start: self.start,
            on_gap: self.on_gap,
            reconnect_after: reconnect_after.unwrap_or(Duration::from_secs(2)),
            stall_after: self.stall_after.as_ref().map_or(STALL, |time| time.value.duration()),
            batch: context.batch.clone(),
        }))
    }
}

/// A feed that can be read.
#[derive(Clone, Debug)]
struct Feed {
    register: Arc<Register>,
    path: &'static str,
    schema: SchemaRef,
    shape: Arc<Shape>,
    start: Start,
    on_gap: OnGap,
    reconnect_after: Duration,
    stall_after: Duration,
    batch: BatchSize,
}

impl Feed {
    /// Takes the feed behind a saved position; one that is no number is `now`, set by hand.
    async fn take(&self, outside: &Outside, saved: Option<&str>) -> Result<Taken> {
        let start = if saved.is_some() { Start::Now } else { self.start };
        let (from, start) = match (saved.and_then(|saved| saved.parse().ok()), start) {
            (Some(saved), _) => (Some(saved), None),
            // The server gives the event of the timepoint itself, too.
            (None, Start::Timepoint(timepoint)) => (timepoint.checked_sub(1), Some(timepoint)),
            (None, Start::Now) => (None, None),
        };
        outside.feeds.take(&outside.node, from, || self.settings(outside, start)).await
    }

    fn settings(&self, outside: &Outside, start: Option<u64>) -> Result<Settings> {
        let (register, path) = (Arc::clone(&self.register), self.path);
        let bounds = Bounds { idle: IDLE, head: IDLE, ..Bounds::default() };
        let excerpt = Arc::clone(&self.register);
        Ok(Settings {
            server: format!("{}/{path}", register.server()),
            request: Arc::new(move |from| match from {
                Some(from) => register.get(&format!("/{path}?timepoint={from}")),
                None => register.get(&format!("/{path}")),
            }),
            start,
            number: event::number,
            excerpt: Arc::new(move |response| excerpt.excerpt(response)),
            transport: outside.network(bounds)?,
            clock: outside.clock,
            reconnect_after: self.reconnect_after,
            may_skip: self.on_gap == OnGap::Now,
            most_failures: (!outside.feeds.is_following()).then_some(MOST_FAILURES),
        })
    }

    fn begins_now(&self, saved: Option<&str>) -> bool {
        match saved {
            None => self.start == Start::Now,
            Some(saved) => saved.parse::<u64>().is_err(),
        }
    }
}

#[async_trait::async_trait]
impl Stream for Feed {
    async fn ready(&self, outside: &Outside, position: &Position) -> Result<Option<String>> {
        let saved = position.from.get().map(String::as_str);
        let mut taken = self.take(outside, saved).await?;
        taken.connected().await?;
        let first = match outside.feeds.is_following() {
            true => taken.wait().await?,
            false => tokio::select! {
                first = taken.wait() => first?,
                () = outside.clock.sleep(self.batch.every()) => None,
            },
        };
        let Some(first) = first.filter(|_| self.begins_now(saved)) else { return Ok(None) };
        let before = first.saturating_sub(1);
        taken.begins_after(before)?;
        Ok(Some(before.to_string()))
    }

    fn stall_after(&self) -> Duration {
        self.stall_after
    }
}

impl Source for Feed {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn read(&self, context: ReadContext) -> BatchStream {
        let most = context.limit.unwrap_or(u64::MAX).min(self.batch.rows());
        let reading =
            Reading { feed: self.clone(), context, taken: None, until: None, most, n_read: 0 };
        stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.next().await?.map(|batch| (batch, reading)))
        })
        .boxed()
    }

    fn size(&self) -> Option<u64> {
        None
    }

    fn fingerprint(&self) -> String {
        // What it reads is told by where it stands, which the run adds.
        format!("{}/{}", self.register.server(), self.path)
    }

    fn describe(&self) -> String {
        format!("{}/{}", self.register.server(), self.path)
    }

    fn stream(&self) -> Option<&dyn Stream> {
        Some(self)
    }
}

/// A batch while it is read.
struct Reading {
    feed: Feed,
    context: ReadContext,
    taken: Option<Taken>,
    /// When the batch closes.
    until: Option<Timestamp>,
    /// The most rows of it.
    most: u64,
    n_read: u64,
}

impl Reading {
    /// Reads a piece of the batch; `None` when it is closed.
    async fn next(&mut self) -> Result<Option<Batch>> {
        let Some((mut taken, until)) = self.open().await? else { return Ok(None) };
        let outside = &self.context.outside;
        let (mut events, mut refused) = (Vec::new(), Vec::new());
        while self.n_read < self.most && events.len() + refused.len() < CHUNK {
            let item = tokio::select! {
                biased;
                () = outside.feeds.closing() => break,
                item = taken.take() => item?,
                () = outside.clock.sleep_until(until) => break,
            };
            let Some(item) = item else { break };
            match item {
                Item::Event(timepoint, line) => match Event::read(&line, &self.feed.shape) {
                    Ok(event) => events.push(event),
                    Err(reason) => refused.push(refusal(timepoint, reason, &line)),
                },
                Item::Broken(line, reason) => {
                    let timepoint = taken.taken().unwrap_or_default();
                    refused.push(refusal(timepoint, reason.to_owned(), &line));
                }
                Item::Gap(gap) => {
                    let gaps = self.context.position.gaps.lock();
                    gaps.map_err(|_| Error::internal("gaps of a dead thread"))?.push(gap);
                    continue;
                }
            }
            self.n_read += 1;
        }
        let bytes = &self.context.bytes;
        bytes.store(self.n_read, std::sync::atomic::Ordering::Relaxed);
        if events.is_empty() && refused.is_empty() {
            if let Some(reached) = taken.taken() {
                // A stream is read once a run.
                let _ = self.context.position.reached.set(reached.to_string());
            }
            return Ok(None);
        }
        self.taken = Some(taken);
        let Feed { shape, schema, .. } = &self.feed;
        let rows = event::columns(&events, shape, schema, &self.context.projection)?;
        Ok(Some(Batch { rejected: rejected(self.feed.path, &refused)?, ..Batch::new(rows) }))
    }

    /// Returns the feed and when the batch closes; `None` when there is nothing to begin with.
    async fn open(&mut self) -> Result<Option<(Taken, Timestamp)>> {
        if let (Some(taken), Some(until)) = (self.taken.take(), self.until) {
            return Ok(Some((taken, until)));
        }
        let outside = &self.context.outside;
        let saved = self.context.position.from.get().map(String::as_str);
        if self.feed.begins_now(saved) {
            // Nothing came while it was waited for: where it begins is not known yet.
            return Ok(None);
        }
        let mut taken = self.feed.take(outside, saved).await?;
        taken.connected().await?;
        let until = after(outside.clock.now(), self.feed.batch.every());
        self.until = Some(until);
        Ok(Some((taken, until)))
    }
}

fn refusal(timepoint: u64, reason: String, line: &[u8]) -> Refused {
    let raw = String::from_utf8_lossy(&line[..line.len().min(MOST_RAW)]).into_owned();
    Refused { line: timepoint, reason, raw }
}
