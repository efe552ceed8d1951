//! Feeds over a scripted server, in simulated time.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use http::StatusCode;

use super::*;
use crate::clock::Simulation;
use crate::net::{Failure, Opened, Stage};

/// Small and fast, so that a seed tells everything.
#[derive(Debug)]
struct Dice(AtomicU64);

impl Dice {
    /// Returns a number below `n`.
    fn below(&self, n: u64) -> u64 {
        let mut bits = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % n
    }
}

/// A server with a log of events 1 to `last`; numbers are `step` apart.
#[derive(Debug)]
struct Server {
    last: u64,
    step: u64,
    /// The events up to here are gone: 416 if `says_gone`, left out silently otherwise.
    gone: AtomicU64,
    says_gone: bool,
    /// Cuts a connection after this many bytes on average; never with 0.
    cut_after: u64,
    /// In a thousand events so many come twice, and so many after the next.
    odd: u64,
    /// Statuses of the first answers.
    statuses: Mutex<Vec<u16>>,
    dice: Dice,
    n_connections: AtomicU64,
}

impl Server {
    fn new(last: u64) -> Self {
        Self {
            last,
            step: 1,
            gone: AtomicU64::new(0),
            says_gone: true,
            cut_after: 0,
            odd: 0,
            statuses: Mutex::default(),
            dice: Dice(AtomicU64::new(7)),
            n_connections: AtomicU64::new(0),
        }
    }

    /// What a connection that begins at an event sends.
    fn sent(&self, from: u64) -> Vec<u8> {
        let mut numbers: Vec<u64> = (from..=self.last).step_by(self.step as usize).collect();
        let mut index = 0;
        while index + 1 < numbers.len() {
            if self.dice.below(1_000) < self.odd {
                numbers.swap(index, index + 1);
                index += 1;
            } else if self.dice.below(1_000) < self.odd {
                numbers.insert(index, numbers[index]);
                index += 1;
            }
            index += 1;
        }
        let mut sent = Vec::new();
        for number in numbers {
            if self.dice.below(50) == 0 {
                sent.push(b'\n');
            }
            sent.extend_from_slice(format!("{{\"n\":{number}}}\n").as_bytes());
            if self.cut_after > 0 && sent.len() as u64 > 4 * self.cut_after {
                break;
            }
        }
        sent
    }
}

#[async_trait]
impl Transport for Server {
    async fn send(&self, _: Request) -> std::result::Result<Response, Failure> {
        panic!("a feed is opened")
    }

    async fn open(&self, request: Request) -> std::result::Result<Opened, Failure> {
        self.n_connections.fetch_add(1, Ordering::Relaxed);
        let opened = |status: u16, body| Opened {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: http::HeaderMap::new(),
            body,
        };
        let none = || futures::stream::empty().boxed();
        let status = self.statuses.lock().expect("a lock").pop();
        match status {
            None => {}
            Some(0) => {
                return Err(Failure { stage: Stage::Connect, reason: "refused".to_owned() });
            }
            Some(status) => return Ok(opened(status, none())),
        }
        let asked = request.uri().query().map(|q| q.trim_start_matches("timepoint=").parse());
        let from = asked.map(|number| number.expect("a number")).unwrap_or(self.last);
        let gone = self.gone.load(Ordering::Relaxed);
        if from <= gone && self.says_gone {
            return Ok(opened(416, none()));
        }
        let from = from.max(gone + 1);
        let mut sent = self.sent(from);
        let is_cut = self.cut_after > 0 && sent.len() as u64 > self.cut_after;
        if is_cut {
            sent.truncate(self.dice.below(2 * self.cut_after) as usize);
        }
        let mut pieces = Vec::new();
        while !sent.is_empty() {
            let size = 1 + self.dice.below(200) as usize;
            let rest = sent.split_off(size.min(sent.len()));
            pieces.push(Ok(Bytes::from(std::mem::replace(&mut sent, rest))));
        }
        let pieces = futures::stream::iter(pieces);
        Ok(opened(
            200,
            match is_cut {
                true => pieces
                    .chain(futures::stream::iter([Err(Failure {
                        stage: Stage::Body,
                        reason: "cut".to_owned(),
                    })]))
                    .boxed(),
                false => pieces.chain(futures::stream::pending()).boxed(),
            },
        ))
    }
}

fn number(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    text.strip_prefix("{\"n\":")?.strip_suffix('}')?.parse().ok()
}

/// What a feed gives from a place on, until it gives nothing for a minute, and how long that took.
fn given(server: Arc<Server>, from: Option<u64>, may_skip: bool) -> (Vec<Result<Item>>, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(async {
        let simulation = Simulation::begin(Timestamp::UNIX_EPOCH);
        let clock = Clock::simulated(simulation);
        let read = async {
            let feeds = Feeds::default();
            let settings = Settings {
                server: "test".to_owned(),
                request: Arc::new(|from| {
                    let query = from.map(|from| format!("?timepoint={from}")).unwrap_or_default();
                    let mut request = Request::new(Vec::new());
                    *request.uri_mut() = format!("http://test/x{query}").parse().expect("a URI");
                    request
                }),
                start: None,
                number,
                excerpt: Arc::new(|response| response.status().to_string()),
                transport: server,
                clock,
                reconnect_after: Duration::from_secs(2),
                may_skip,
                most_failures: None,
            };
            let mut taken = feeds.take("x", from, || Ok(settings)).await.expect("a feed");
            let mut items = Vec::new();
            let mut last = clock.now();
            loop {
                let item = tokio::select! {
                    biased;
                    item = taken.take() => item,
                    () = clock.sleep(Duration::from_secs(3_600)) => break,
                };
                last = clock.now();
                match item {
                    Ok(None) => break,
                    Ok(Some(item)) => items.push(Ok(item)),
                    Err(error) => items.push(Err(error)),
                }
            }
            (items, last.as_second() as u64)
        };
        tokio::select! {
            given = read => given,
            never = simulation.drive() => match never {},
        }
    })
}

fn numbers(items: &[Result<Item>]) -> Vec<u64> {
    let parsed = number;
    let number = |item: &Result<Item>| match item {
        Ok(Item::Event(number, line)) => {
            assert_eq!(parsed(line), Some(*number));
            *number
        }
        other => panic!("{other:?}"),
    };
    items.iter().map(number).collect()
}

#[test]
fn every_event_comes_once_and_in_order_over_two_thousand_cuts() {
    let server = Server { cut_after: 300, odd: 20, ..Server::new(60_000) };
    let server = Arc::new(server);
    let (items, _) = given(Arc::clone(&server), Some(1_000), false);
    assert_eq!(numbers(&items), (1_001..=60_000).collect::<Vec<_>>());
    assert!(server.n_connections.load(Ordering::Relaxed) > 2_000);
}

#[test]
fn numbers_that_are_far_apart_hold_nothing_up_for_long() {
    let server = Server { step: 7, cut_after: 2_000, ..Server::new(70_001) };
    let (items, _) = given(Arc::new(server), Some(1), false);
    assert_eq!(numbers(&items), (8..=70_001).step_by(7).collect::<Vec<_>>());
}

#[test]
fn trouble_passes_in_the_time_that_the_server_asks_for() {
    // From the last to the first: no connection, 503, 429.
    let server = Server { statuses: Mutex::new(vec![429, 503, 0]), ..Server::new(5) };
    let (items, seconds) = given(Arc::new(server), Some(1), false);
    assert_eq!(numbers(&items), [2, 3, 4, 5]);
    assert!((2 + 10 + 60..=3 + 15 + 90).contains(&seconds), "{seconds} s");
}

#[test]
fn a_key_that_is_none_is_not_tried_again() {
    let server = Arc::new(Server { statuses: Mutex::new(vec![401]), ..Server::new(5) });
    let (items, _) = given(Arc::clone(&server), None, false);
    let error = items.into_iter().next().expect("an item").expect_err("an error").to_string();
    assert!(error.contains("does not know the key (401)"), "{error}");
    assert_eq!(server.n_connections.load(Ordering::Relaxed), 1);
}

fn gap(after: u64, before: Option<u64>, reason: GapReason) -> Item {
    Item::Gap(Gap { after, before, reason })
}

#[test]
fn a_place_that_is_too_old_ends_it_and_the_gap_is_told_first() {
    let server = Arc::new(Server { gone: AtomicU64::new(50), ..Server::new(100) });
    let (mut items, _) = given(Arc::clone(&server), Some(20), false);
    let error = items.pop().expect("an item").expect_err("an error").to_string();
    assert!(error.contains("does not go back to event 20"), "{error}");
    let told: Vec<Item> = items.into_iter().flatten().collect();
    assert_eq!(told, [gap(20, None, GapReason::TooOld)]);
    assert_eq!(server.n_connections.load(Ordering::Relaxed), 1);
}

#[test]
fn a_place_that_is_too_old_is_skipped_when_it_may_be() {
    let server = Arc::new(Server { gone: AtomicU64::new(50), ..Server::new(100) });
    let (items, _) = given(server, Some(20), true);
    let told: Vec<Item> = items.into_iter().flatten().collect();
    assert_eq!(told[0], gap(20, Some(100), GapReason::TooOld));
    assert!(matches!(told[1..], [Item::Event(100, _)]));
}

#[test]
fn events_that_are_left_out_silently_are_a_gap() {
    let server = Server { gone: AtomicU64::new(50), says_gone: false, ..Server::new(100) };
    let (items, _) = given(Arc::new(server), Some(20), false);
    let told: Vec<Item> = items.into_iter().flatten().collect();
    assert_eq!(told[0], gap(20, Some(51), GapReason::Skipped));
    assert_eq!(told.len(), 51);
    // The server gives the event at which it resumes once more: then nothing is missing.
    let server = Server { gone: AtomicU64::new(20), says_gone: false, ..Server::new(100) };
    let (items, _) = given(Arc::new(server), Some(20), false);
    assert_eq!(numbers(&items), (21..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_not_committed_is_asked_for_again() {
    let server = Arc::new(Server::new(9));
    let feeds = Feeds::default();
    let settings = || {
        Ok(Settings {
            server: "test".to_owned(),
            request: Arc::new(|from| {
                let mut request = Request::new(Vec::new());
                let uri = format!("http://test/x?timepoint={}", from.unwrap_or(0));
                *request.uri_mut() = uri.parse().expect("a URI");
                request
            }),
            start: None,
            number,
            excerpt: Arc::new(|_| String::new()),
            transport: Arc::clone(&server) as Arc<dyn Transport>,
            clock: Clock::system(),
            reconnect_after: Duration::ZERO,
            may_skip: false,
            most_failures: Some(1),
        })
    };
    for (from, expected) in [(Some(4), 5), (Some(5), 6), (Some(4), 5)] {
        let mut taken = feeds.take("x", from, settings).await.expect("a feed");
        let item = taken.take().await.expect("an item");
        assert!(matches!(item, Some(Item::Event(number, _)) if number == expected));
    }
    // The second went on where the first had ended; the third began anew.
    assert_eq!(server.n_connections.load(Ordering::Relaxed), 2);
}
