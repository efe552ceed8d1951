//! A made-up Companies House streaming API over the same made-up register: what happens there,
//! feed by feed, to whom it is sent, and what goes wrong on the way.
//!
//! Like `api/` it has no socket, no clock and waits for nothing. The feeds are decided by snapshot
//! and seed (`life.rs`), the schedule says when which event is published (`feed.rs`), and at a
//! moment the register is as the events published so far left it: profiles, officers and filings
//! of the REST API are asked here for what has changed. Facts about the real one are from
//! `companies-house.md`, section 4: integer timepoints of each feed's own, a replay that includes
//! the one given, blank lines as heartbeats, two connections for a key, the end of a connection
//! after a day.
//!
//! What the facts leave open is decided here: a timepoint beyond the newest waits until it is
//! there; one older than the first event is too old; 429 looks at the time before a connection,
//! refused ones included, so who comes again too early waits longer. Of nine feeds three are
//! alive; nobody is incorporated.

mod board;
mod calls;
mod change;
mod connection;
mod disturb;
mod event;
mod feed;
mod life;

#[cfg(test)]
mod tests;

pub use calls::FeedCalls;
pub use connection::{Connection, Next};
pub use disturb::Disturbance;
pub use feed::{Feed, Rate};

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{CONTENT_TYPE, DATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::api::{self, Answer, Company, Delivery, Officer, Query, Register, Reply, day, profile};
use super::calendar::Date;
use super::rng::{Rng, mix};
use event::Content;
use feed::Schedule;
use life::{Life, State as Changes, What};

/// How the streams behave.
#[derive(Debug, Clone)]
pub struct StreamSettings {
    /// The one key that is let in; any key when there is none.
    pub key: Option<String>,
    /// How fast events are published.
    pub rate: Rate,
    /// How fast on feeds where it is another.
    pub rates: Vec<(Feed, Rate)>,
    /// How many events of each feed were published before the start.
    pub backlog: u64,
    /// After how many events, those of the backlog included, nothing more happens on a feed.
    pub events: Option<u64>,
    /// How many of the newest events of a feed are kept for those who come again.
    pub keep: Option<u64>,
    /// How long after a heartbeat the next one comes.
    pub heartbeat: Duration,
    /// After what time a connection is ended.
    pub longest: Duration,
    /// How many connections a key may ask for in what time.
    pub connects: Option<(u32, Duration)>,
    /// Disturbances with the share of connections or events that meet them, 0 to 1.
    pub disturbances: Vec<(Disturbance, f64)>,
    /// How long a silence is, and a burst at most.
    pub pause: Duration,
}

impl Default for StreamSettings {
    /// Returns one event a second, nothing before the start and no end, heartbeats every 30
    /// seconds, connections of a day, silences of two minutes, and no disturbances.
    fn default() -> Self {
        Self {
            key: None,
            rate: Rate { events: 1, per: Duration::from_secs(1) },
            rates: Vec::new(),
            backlog: 0,
            events: None,
            keep: None,
            heartbeat: Duration::from_secs(30),
            longest: Duration::from_secs(86_400),
            connects: None,
            disturbances: Vec::new(),
            pause: Duration::from_secs(120),
        }
    }
}

impl StreamSettings {
    /// Says whether anything happens on any feed.
    pub fn happens(&self) -> bool {
        let mut rates = self.rates.iter().map(|(_, rate)| rate).chain([&self.rate]);
        self.events != Some(0) && (self.backlog > 0 || rates.any(|rate| rate.events > 0))
    }
}

/// The streams of a register. Clones are the same streams.
#[derive(Debug, Clone)]
pub struct Stream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    register: Arc<Register>,
    seed: u64,
    settings: StreamSettings,
    start: Timestamp,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    life: Life,
    /// Open connections, the oldest first: id, key and feed.
    open: Vec<(u64, String, Feed)>,
    next_id: u64,
    /// Connections with smaller ids were broken by a restart.
    restarted: u64,
    /// Connections that broke by themselves.
    broken: Vec<u64>,
    /// The oldest event of each feed that may still be asked for.
    expired: BTreeMap<Feed, u64>,
    /// When each key asked for connections.
    attempts: HashMap<String, VecDeque<Timestamp>>,
    n_asked: u64,
    calls: BTreeMap<&'static str, FeedCalls>,
}

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Ended,
    Broken,
}

/// So many connections a key may have.
const CONNECTIONS: usize = 2;

impl Stream {
    /// Begins the streams of a register at a moment.
    pub(super) fn new(
        register: Arc<Register>,
        seed: u64,
        settings: StreamSettings,
        start: Timestamp,
    ) -> Self {
        let state = State {
            life: Life::new(Arc::clone(&register), seed),
            open: Vec::new(),
            next_id: 0,
            restarted: 0,
            broken: Vec::new(),
            expired: BTreeMap::new(),
            attempts: HashMap::new(),
            n_asked: 0,
            calls: BTreeMap::new(),
        };
        Self(Arc::new(Inner { register, seed, settings, start, state: Mutex::new(state) }))
    }

    /// Lets a request in that arrives at `now`, or answers why not.
    pub fn connect(
        &self,
        request: &Request<Vec<u8>>,
        now: Timestamp,
    ) -> Result<Connection, Box<Answer>> {
        let Some(feed) = Feed::of(request.uri().path()) else {
            return Err(refusal(StatusCode::NOT_FOUND, now));
        };
        let connection = self.let_in(feed, request, now);
        if let Err(answer) = &connection {
            let status = answer.response.status().as_u16();
            self.0.count(feed, |calls| *calls.refused.entry(status).or_default() += 1);
        }
        connection
    }

    fn let_in(
        &self,
        feed: Feed,
        request: &Request<Vec<u8>>,
        now: Timestamp,
    ) -> Result<Connection, Box<Answer>> {
        let refused = |status| Err(refusal(status, now));
        if request.method() != Method::GET {
            return refused(StatusCode::METHOD_NOT_ALLOWED);
        }
        let settings = &self.0.settings;
        let is_known = |key: &String| settings.key.as_ref().is_none_or(|known| known == key);
        let Some(key) = api::key(request.headers()).filter(is_known) else {
            return refused(StatusCode::UNAUTHORIZED);
        };
        if !self.0.is_in_time(&key, now) {
            return refused(StatusCode::TOO_MANY_REQUESTS);
        }
        if let Some(answer) = self.0.fault(now) {
            return Err(answer);
        }
        let published = self.0.published(feed, now);
        let query = Query::of(request.uri().query());
        let at = match query.get("timepoint").map(str::parse::<u64>) {
            None => published,
            Some(Err(_)) => return refused(StatusCode::BAD_REQUEST),
            Some(Ok(timepoint)) => {
                let oldest = feed.first_timepoint() + self.0.oldest(feed, published);
                if timepoint < oldest {
                    return refused(StatusCode::RANGE_NOT_SATISFIABLE);
                }
                timepoint - feed.first_timepoint()
            }
        };
        let id = self.0.enter(feed, key);
        Ok(Connection::new(Arc::clone(&self.0), feed, id, at, now))
    }

    /// Breaks all connections, as a restart of the server does.
    pub fn restart(&self) {
        let mut state = self.0.state();
        state.restarted = state.next_id;
        for (_, _, feed) in std::mem::take(&mut state.open) {
            state.count(feed, |calls| calls.broken += 1);
        }
    }

    /// Makes everything published so far too old to be asked for.
    pub fn expire(&self, now: Timestamp) {
        for (feed, _) in Feed::ALL {
            let published = self.0.published(feed, now);
            self.0.state().expired.insert(feed, published);
        }
    }

    /// Returns the timepoints of the oldest event of a feed that may be asked for, and of the next
    /// one that will be published.
    pub fn timepoints(&self, feed: Feed, now: Timestamp) -> (u64, u64) {
        let published = self.0.published(feed, now);
        let first = feed.first_timepoint();
        (first + self.0.oldest(feed, published), first + published)
    }

    /// Returns what became of connections, by the name of the feed.
    pub(super) fn calls(&self) -> BTreeMap<&'static str, FeedCalls> {
        let state = self.0.state();
        let mut calls = state.calls.clone();
        for (_, _, feed) in &state.open {
            calls.entry(feed.name()).or_default().open += 1;
        }
        calls
    }

    /// Forgets counters and who came too often; connections and events stay.
    pub(super) fn reset(&self) {
        let mut state = self.0.state();
        state.calls.clear();
        state.attempts.clear();
    }

    /// Returns the timepoints of all feeds on which something happens.
    pub(super) fn shown(&self, now: Timestamp) -> Value {
        let mut shown = json!({});
        for (feed, name) in Feed::ALL.iter().filter(|(feed, _)| feed.is_alive()) {
            let (oldest, next) = self.timepoints(*feed, now);
            shown[*name] = json!({ "oldest": oldest, "next": next });
        }
        shown
    }

    /// Returns the row of a company as it is by now; nothing when it was deleted.
    pub(super) fn company(&self, row: &Company, now: Timestamp) -> Option<Company> {
        let end = self.0.published(Feed::Companies, now);
        let place = self.0.register.place(row.number())?;
        let changes = {
            let state = self.0.state();
            let last = state.life.of_company(place, end).next();
            last.and_then(|n| state.life.step(u64::from(n))).map(|step| step.state)
        };
        self.0.changed(row, &changes.unwrap_or_default(), Feed::Companies)
    }

    /// Returns the officers of a company by now.
    pub(super) fn officers(&self, row: &Company, now: Timestamp) -> Vec<Officer> {
        let end = self.0.published(Feed::Officers, now);
        let place = self.0.register.place(row.number());
        place.map_or(Vec::new(), |place| self.0.board(row, place, end).0)
    }

    /// Returns what was filed since the start, the latest first.
    pub(super) fn filings(&self, row: &Company, now: Timestamp) -> Vec<Value> {
        let end = self.0.published(Feed::Filings, now);
        let Some(place) = self.0.register.place(row.number()) else { return Vec::new() };
        let steps: Vec<u32> = self.0.state().life.of_company(place, end).collect();
        steps.into_iter().filter_map(|n| self.0.filing(row, n)).collect()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whole after every step; a thread that died left nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, feed: Feed, count: impl FnOnce(&mut FeedCalls)) {
        self.state().count(feed, count);
    }

    fn schedule(&self, feed: Feed) -> Schedule {
        let settings = &self.settings;
        let own = settings.rates.iter().rev().find(|(known, _)| *known == feed);
        let rate = own.map_or(settings.rate, |(_, rate)| *rate);
        Schedule { start: self.start, rate, backlog: settings.backlog }
    }

    /// Returns how many events of a feed are published.
    fn published(&self, feed: Feed, now: Timestamp) -> u64 {
        if !feed.is_alive() {
            return 0;
        }
        let n = self.schedule(feed).count(now).min(self.settings.events.unwrap_or(u64::MAX));
        self.state().life.grow(n)
    }

    /// Returns the oldest event, counted from 0, that may be asked for when so many are published.
    fn oldest(&self, feed: Feed, published: u64) -> u64 {
        let kept = self.settings.keep.map_or(0, |keep| published.saturating_sub(keep));
        kept.max(self.state().expired.get(&feed).copied().unwrap_or(0))
    }

    /// Says whether a key may ask for a connection now; counts that it does.
    fn is_in_time(&self, key: &str, now: Timestamp) -> bool {
        let Some((n, window)) = self.settings.connects else { return true };
        let window = SignedDuration::try_from(window).unwrap_or(SignedDuration::MAX);
        let mut state = self.state();
        let attempts = state.attempts.entry(key.to_owned()).or_default();
        attempts.retain(|at| now.duration_since(*at) < window);
        attempts.push_back(now);
        attempts.len() <= n as usize
    }

    /// Returns what meets a request before it is looked into.
    fn fault(&self, now: Timestamp) -> Option<Box<Answer>> {
        let n = {
            let mut state = self.state();
            state.n_asked += 1;
            state.n_asked
        };
        let mut rng = Rng::from_bits(mix(self.seed ^ 0xc022) ^ n);
        let shares = &self.settings.disturbances;
        let fault = disturb::drawn(shares, Disturbance::is_of_connections, &mut rng)?;
        let (status, after) = match fault {
            Disturbance::BadGateway => (StatusCode::BAD_GATEWAY, 5),
            Disturbance::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, 0),
            Disturbance::GatewayTimeout => (StatusCode::GATEWAY_TIMEOUT, 40),
            _ => return Some(refusal(StatusCode::TOO_MANY_REQUESTS, now)),
        };
        let mut answer = refusal(status, now);
        api::gateway(&mut answer.response, status);
        answer.after = Duration::from_secs(after);
        Some(answer)
    }

    /// Opens a connection; a third of the same key ends the oldest.
    fn enter(&self, feed: Feed, key: String) -> u64 {
        let mut state = self.state();
        let own = state.open.iter().filter(|(_, known, _)| *known == key);
        if own.count() >= CONNECTIONS
            && let Some(at) = state.open.iter().position(|(_, known, _)| *known == key)
        {
            let (_, _, oldest) = state.open.remove(at);
            state.count(oldest, |calls| calls.ended += 1);
        }
        let id = state.next_id;
        state.next_id += 1;
        state.open.push((id, key, feed));
        state.count(feed, |calls| calls.connections += 1);
        id
    }

    fn fate(&self, id: u64) -> Fate {
        let state = self.state();
        match state.open.iter().any(|(open, _, _)| *open == id) {
            true => Fate::Open,
            false if id < state.restarted || state.broken.contains(&id) => Fate::Broken,
            false => Fate::Ended,
        }
    }

    fn close(&self, id: u64, fate: Fate) {
        let mut state = self.state();
        let Some(at) = state.open.iter().position(|(open, _, _)| *open == id) else { return };
        let (_, _, feed) = state.open.remove(at);
        if fate == Fate::Broken {
            state.broken.push(id);
            state.count(feed, |calls| calls.broken += 1);
        } else {
            state.count(feed, |calls| calls.ended += 1);
        }
    }

    /// Forgets a connection whose other end is gone.
    fn leave(&self, id: u64) {
        let mut state = self.state();
        state.open.retain(|(open, _, _)| *open != id);
        state.broken.retain(|broken| *broken != id);
    }

    /// Writes an event; nothing when the snapshot is gone.
    fn line(&self, feed: Feed, n: u64) -> Option<Vec<u8>> {
        let content = self.content(feed, n)?;
        let mut rng = Rng::from_bits(mix(self.seed ^ feed.first_timepoint()) ^ mix(n));
        Some(event::line(&content, feed, n, &self.schedule(feed), &mut rng))
    }

    fn content(&self, feed: Feed, n: u64) -> Option<Content> {
        let step = self.state().life.step(n)?;
        let place = if feed == Feed::Officers { step.board } else { step.place };
        let row = self.register.at(place).ok()??;
        let number = row.number();
        match feed {
            Feed::Companies => {
                let company = self.changed(&row, &step.state, feed);
                let fields = match step.what {
                    What::Moved => Some("registered_office_address"),
                    What::Proposed | What::Withdrawn => Some("company_status_detail"),
                    What::Dissolved => Some("company_status"),
                    _ => None,
                };
                Some(Content {
                    kind: "company-profile",
                    uri: format!("/company/{number}"),
                    id: number.to_owned(),
                    data: company.map(|company| profile::kept(&company)),
                    fields,
                })
            }
            Feed::Officers => {
                let turn = self.board(&row, place, n + 1).1?;
                let id = turn.officer.id.clone();
                let data = (!turn.is_deleted).then(|| appointment(&turn.officer, number));
                let uri = format!("/company/{number}/appointments/{id}");
                Some(Content { kind: "company-officers", uri, id, data, fields: None })
            }
            Feed::Filings => {
                let n = u32::try_from(n).ok()?;
                let data = self.filing(&row, n);
                let known = data.as_ref().and_then(|item| item["transaction_id"].as_str());
                let id = known
                    .map_or_else(|| api::id(&mut change::rng(self.seed, n, 2), 24), str::to_owned);
                let uri = format!("/company/{number}/filing-history/{id}");
                let fields = Some("links.document_metadata");
                Some(Content { kind: "filing-history", uri, id, data, fields })
            }
            _ => None,
        }
    }

    fn changed(&self, row: &Company, changes: &Changes, feed: Feed) -> Option<Company> {
        change::changed(row, changes, self.seed, |step| self.day_of(feed, step))
    }

    /// Returns the day on which an event is published.
    fn day_of(&self, feed: Feed, n: u32) -> Date {
        day(self.schedule(feed).time(u64::from(n)))
    }

    /// Returns the board of a company before the `end`-th event, and what the last of its events
    /// did.
    fn board(&self, row: &Company, place: u32, end: u64) -> (Vec<Officer>, Option<board::Turn>) {
        let mut steps: Vec<u32> = self.state().life.of_board(place, end).collect();
        steps.reverse();
        let steps = steps.into_iter().map(|n| (n, self.day_of(Feed::Officers, n)));
        board::after(self.seed, row, day(self.start), steps)
    }

    /// Returns what is filed about a step; nothing when a filing is taken away.
    fn filing(&self, row: &Company, n: u32) -> Option<Value> {
        let (step, before) = {
            let state = self.state();
            let step = state.life.step(u64::from(n))?;
            let before = state.life.of_company(step.place, u64::from(n)).next();
            let before = before.and_then(|n| state.life.step(u64::from(n)));
            (step, before.map_or(Changes::default(), |step| step.state))
        };
        let before = self.changed(row, &before, Feed::Filings)?;
        let after = self.changed(row, &step.state, Feed::Filings);
        let day = self.day_of(Feed::Filings, n);
        change::filing(self.seed, n, &step, (&before, after.as_ref()), row, day)
    }
}

impl State {
    fn count(&mut self, feed: Feed, count: impl FnOnce(&mut FeedCalls)) {
        count(self.calls.entry(feed.name()).or_default());
    }
}

/// Returns an appointment as events carry it: of what the list shows, what was recorded; no number
/// of the company or the person, no etag.
fn appointment(officer: &Officer, number: &str) -> Value {
    let mut data = officer.shown(number);
    if let Some(members) = data.as_object_mut() {
        for name in ["etag", "person_number", "identity_verification_details"] {
            members.remove(name);
        }
        members.remove("is_pre_1992_appointment");
    }
    if let Some(links) = data["links"].as_object_mut() {
        links.remove("officer");
    }
    data
}

/// Answers with nothing but a status.
fn refusal(status: StatusCode, now: Timestamp) -> Box<Answer> {
    let reply = match status {
        StatusCode::UNAUTHORIZED => Reply::unauthorized(),
        status => Reply::empty(status),
    };
    let mut response = reply.into_response();
    if let Some(date) = api::http_date(now) {
        response.headers_mut().insert(DATE, date);
    }
    Box::new(Answer { response, after: Duration::ZERO, delivery: Delivery::Whole })
}

/// Returns the head of the answer to who is let in.
pub(super) fn head(now: Timestamp) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(date) = api::http_date(now) {
        headers.insert(DATE, date);
    }
    response
}
