//! A made-up Companies House REST API over a made-up snapshot: requests in, answers out.
//!
//! What it knows is decided by the snapshot, a seed and the moment it is handed; it has no socket,
//! no clock and waits for nothing, so that a test can live through a day of it at once. How long an
//! answer should take and where its connection should break are part of the answer; `serve.rs` does
//! the waiting and breaking. Facts about the real one are from `companies-house.md`, sections 3 and
//! 5. It is not the whole API: profile, officers, filing history and charges are there, insolvency
//! is always 404, and so is everything else.
//!
//! In this order a request meets: the pause of its address (403), its key (401), the limit (429), a
//! fault, the answer. Whatever gets past the limit uses it up, faults too. Headers about the limit
//! are on all that is counted against one, not on what a gateway says before.

mod auth;
pub(super) mod board;
mod calls;
mod charges;
mod company;
mod faults;
mod history;
mod limit;
mod officers;
pub(super) mod person;
pub(super) mod profile;
mod register;
mod reply;

#[cfg(test)]
mod tests;

pub use calls::Calls;
pub use faults::{Fault, Faults};
pub use register::Register;

// What the streams make their events from.
pub(super) use auth::key;
pub(super) use board::{Officer, stream};
pub(super) use company::{Company, column};
pub(super) use faults::gateway;
pub(super) use history::Filing;
pub(super) use reply::{Query, Reply, day, http_date, id, iso, put};

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::DATE;
use http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;

use super::rng::{Rng, mix};
use super::stream::{Stream, StreamSettings};
use calls::Counters;
use limit::{Limit, Told};

/// How the API behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many requests a key has in a window.
    pub limit: u32,
    /// How long a window is, in whole seconds.
    pub window: Duration,
    /// The one key that is let in; any key when there is none.
    pub key: Option<String>,
    /// Which people and which faults.
    pub seed: u64,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// How long every answer takes.
    pub latency: Duration,
}

impl Default for Settings {
    /// Returns the real limit, 600 requests in five minutes, any key, no faults and no delay.
    fn default() -> Self {
        Self {
            limit: 600,
            window: Duration::from_secs(300),
            key: None,
            seed: 1,
            faults: Faults::default(),
            latency: Duration::ZERO,
        }
    }
}

/// A response and how it reaches who asked.
#[derive(Debug)]
pub struct Answer {
    /// The response.
    pub response: Response<Vec<u8>>,
    /// How long after the request it is sent.
    pub after: Duration,
    /// How much of it arrives.
    pub delivery: Delivery,
}

/// How much of an answer arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// All of it.
    Whole,
    /// The head and that many bytes of the body; then the connection ends.
    CutAt(usize),
    /// Nothing: the connection ends before the head.
    NoHead,
}

/// The API. It may be asked from many threads; counters are shared.
#[derive(Debug)]
pub struct Api {
    register: Arc<Register>,
    settings: Settings,
    /// What happens in the register, if anything does.
    stream: Option<Stream>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    counters: Counters,
    limit: Limit,
    /// Until when an address gets nothing but 403.
    paused: HashMap<IpAddr, Timestamp>,
}

impl Api {
    /// Makes an API over a register in which nothing happens.
    pub fn new(register: Register, settings: Settings) -> Self {
        let state = State {
            counters: Counters::default(),
            limit: Limit::new(settings.limit, settings.window),
            paused: HashMap::new(),
        };
        Self { register: Arc::new(register), settings, stream: None, state: Mutex::new(state) }
    }

    /// Lets things happen in the register from `start` on, and tells of them in streams.
    pub fn streaming(mut self, settings: StreamSettings, start: Timestamp) -> Self {
        let register = Arc::clone(&self.register);
        self.stream = Some(Stream::new(register, self.settings.seed, settings, start));
        self
    }

    /// Returns the streams, if there are any.
    pub fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    /// Returns the register it answers from.
    pub fn register(&self) -> &Register {
        &self.register
    }

    /// Returns what was asked since the start or the last reset.
    pub fn calls(&self) -> Calls {
        let state = self.state();
        let mut calls = state.counters.calls.clone();
        calls.windows = state.limit.n_windows;
        calls.most_in_a_window = state.limit.most;
        calls.stream = self.stream.as_ref().map(Stream::calls).unwrap_or_default();
        calls
    }

    /// Forgets counters, windows and pauses, as if it were just made.
    pub fn reset(&self) {
        let mut state = self.state();
        state.counters = Counters::default();
        state.limit.clear();
        state.paused.clear();
        if let Some(stream) = &self.stream {
            stream.reset();
        }
    }

    /// Answers a request that arrives at `now`. Whose it is an [`IpAddr`] among its extensions
    /// tells; without one all come from the same address.
    pub fn answer(&self, request: &Request<Vec<u8>>, now: Timestamp) -> Answer {
        let path = request.uri().path();
        if let Some(answer) = self.own(request.method(), path, now) {
            return answer;
        }
        let address = request.extensions().get::<IpAddr>().copied();
        let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let mut state = self.state();
        let n = state.counters.asked(path);
        if state.paused.get(&address).is_some_and(|until| now < *until) {
            let mut answer = self.finished(Reply::empty(StatusCode::FORBIDDEN), None, now);
            gateway(&mut answer.response, StatusCode::FORBIDDEN);
            state.counters.answered(StatusCode::FORBIDDEN, Some(Fault::Forbidden));
            return answer;
        }
        let key = key(request.headers());
        let is_known = |key: &String| self.settings.key.as_ref().is_none_or(|known| known == key);
        let Some(key) = key.filter(is_known) else {
            state.counters.answered(StatusCode::UNAUTHORIZED, None);
            return self.finished(Reply::unauthorized(), None, now);
        };
        let told = state.limit.count(&key, now);
        if !told.is_within {
            state.counters.answered(StatusCode::TOO_MANY_REQUESTS, None);
            let reply = Reply::empty(StatusCode::TOO_MANY_REQUESTS);
            return self.finished(reply, Some(told), now);
        }
        let (fault, mut rng) = self.settings.faults.of(self.settings.seed, n);
        drop(state);
        let reply = self.reply(request, now, n);
        let mut answer = self.finished(reply, Some(told), now);
        let fault = fault.filter(|fault| self.settings.faults.apply(*fault, &mut answer, &mut rng));
        let mut state = self.state();
        if fault == Some(Fault::Forbidden) {
            let until = now.checked_add(self.settings.faults.pause).unwrap_or(Timestamp::MAX);
            state.paused.insert(address, until);
        }
        state.counters.answered(answer.response.status(), fault);
        answer
    }

    /// Answers what is the sandbox's own: its counters and its streams. Nobody needs a key for
    /// them, and they count nothing.
    fn own(&self, method: &Method, path: &str, now: Timestamp) -> Option<Answer> {
        let reply = match (method, path, &self.stream) {
            (&Method::GET, "/sandbox/calls", _) => {
                Reply::found(serde_json::to_value(self.calls()).unwrap_or_default())
            }
            (&Method::POST, "/sandbox/reset", _) => {
                self.reset();
                Reply::empty(StatusCode::NO_CONTENT)
            }
            (&Method::GET, "/sandbox/stream", Some(stream)) => Reply::found(stream.shown(now)),
            (&Method::POST, "/sandbox/stream/restart", Some(stream)) => {
                stream.restart();
                Reply::empty(StatusCode::NO_CONTENT)
            }
            (&Method::POST, "/sandbox/stream/expire", Some(stream)) => {
                stream.expire(now);
                Reply::empty(StatusCode::NO_CONTENT)
            }
            _ => return None,
        };
        let mut answer = self.finished(reply, None, now);
        answer.after = Duration::ZERO;
        Some(answer)
    }

    fn reply(&self, request: &Request<Vec<u8>>, now: Timestamp, n: u64) -> Reply {
        if request.method() != Method::GET {
            return Reply::errors(StatusCode::METHOD_NOT_ALLOWED, "invalid-http-method");
        }
        let seed = self.settings.seed;
        let path = request.uri().path();
        let query = Query::of(request.uri().query());
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (number, what) = match *parts.as_slice() {
            ["company", number] => (number, ""),
            ["company", number, what] => (number, what),
            _ => return Reply::empty(StatusCode::NOT_FOUND),
        };
        let Ok(row) = self.register.company(number) else {
            // The file went away under us: what a server would say of its own trouble.
            return Reply::errors(StatusCode::INTERNAL_SERVER_ERROR, "internal-error");
        };
        // The row is what was; people, charges and older filings are made from it.
        let company = row.as_ref().and_then(|row| match &self.stream {
            Some(stream) => stream.company(row, now),
            None => Some(row.clone()),
        });
        let row = row.filter(|_| company.is_some());
        let as_of = self.register.as_of();
        let reply = match (what, &row) {
            ("", Some(row)) => {
                let company = company.as_ref().unwrap_or(row);
                Ok(Reply::found(profile::profile(company, now)))
            }
            ("", None) => {
                let mut rng = Rng::from_bits(mix(seed) ^ mix(n));
                Ok(Reply::no_profile(number, now, &mut rng))
            }
            ("officers", row) => {
                let officers = row.as_ref().map_or(Vec::new(), |row| self.officers(row, now));
                let is_dissolved = company.is_some_and(|company| company.is_dissolved());
                officers::answer(seed, number, &officers, is_dissolved, &query)
            }
            ("insolvency", _) => Ok(Reply::no_case(path, now)),
            ("filing-history", Some(row)) => {
                let newer = self.stream.as_ref().map(|stream| stream.filings(row, now));
                history::answer(seed, row, as_of, newer.unwrap_or_default(), &query, now)
            }
            ("charges", Some(row)) => charges::answer(seed, row, as_of, &query),
            ("filing-history", None) => {
                Ok(Reply::errors(StatusCode::NOT_FOUND, "company-profile-not-found"))
            }
            _ => Ok(Reply::empty(StatusCode::NOT_FOUND)),
        };
        reply.unwrap_or_else(|refusal| refusal)
    }

    fn officers(&self, row: &Company, now: Timestamp) -> Vec<Officer> {
        match &self.stream {
            Some(stream) => stream.officers(row, now),
            None => board::officers(self.settings.seed, row, day(now)),
        }
    }

    fn finished(&self, reply: Reply, told: Option<Told>, now: Timestamp) -> Answer {
        let mut response = reply.into_response();
        if let Some(told) = told {
            told.write(response.headers_mut());
        }
        if let Some(date) = http_date(now) {
            response.headers_mut().insert(DATE, date);
        }
        Answer { response, after: self.settings.latency, delivery: Delivery::Whole }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counters are whole after every step; a thread that died left nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
