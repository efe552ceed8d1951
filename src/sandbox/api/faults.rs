//! What can go wrong on purpose: which fault meets which request, and what it does to an answer.
//!
//! Which request is met is decided by the seed and how many came before, so that a run can be had
//! again; one request meets one fault at most.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::super::rng::{Rng, mix};
use super::{Answer, Delivery};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Fault {
    /// 429 although the key has requests left.
    #[serde(rename = "429")]
    OutOfTurn,
    /// 403, now and to all requests of that address for a while.
    #[serde(rename = "403")]
    Forbidden,
    /// 500 with a small HTML body.
    #[serde(rename = "500")]
    Internal,
    /// 502 with a small HTML body.
    #[serde(rename = "502")]
    BadGateway,
    /// 503 with a small HTML body.
    #[serde(rename = "503")]
    Unavailable,
    /// 504 with a small HTML body.
    #[serde(rename = "504")]
    GatewayTimeout,
    /// The right answer, late.
    #[serde(rename = "slow")]
    Slow,
    /// The connection ends inside the body.
    #[serde(rename = "cut")]
    Cut,
    /// Whole by HTTP, half by JSON.
    #[serde(rename = "truncated")]
    Truncated,
    /// JSON whose values are of other types than they should be.
    #[serde(rename = "types")]
    Types,
    /// No JSON a reader should take: bytes that are no UTF-8, NUL, a BOM, nesting without end, one
    /// name twice.
    #[serde(rename = "garbage")]
    Garbage,
    /// The connection ends before the head.
    #[serde(rename = "no-head")]
    NoHead,
}

impl Fault {
    /// All of them, with the names they have on the command line.
    pub const ALL: [(Self, &'static str); 12] = [
        (Self::OutOfTurn, "429"),
        (Self::Forbidden, "403"),
        (Self::Internal, "500"),
        (Self::BadGateway, "502"),
        (Self::Unavailable, "503"),
        (Self::GatewayTimeout, "504"),
        (Self::Slow, "slow"),
        (Self::Cut, "cut"),
        (Self::Truncated, "truncated"),
        (Self::Types, "types"),
        (Self::Garbage, "garbage"),
        (Self::NoHead, "no-head"),
    ];
}

/// How often which fault occurs.
#[derive(Debug, Clone)]
pub struct Faults {
    /// Kinds with the share of requests that meet them, 0 to 1; together 1 at most.
    pub shares: Vec<(Fault, f64)>,
    /// How long a 403 holds for the address that got it.
    pub pause: Duration,
    /// How much later a slow answer comes.
    pub delay: Duration,
}

impl Default for Faults {
    /// Returns no faults, a pause of five minutes and a delay of ten seconds.
    fn default() -> Self {
        let (pause, delay) = (Duration::from_secs(300), Duration::from_secs(10));
        Self { shares: Vec::new(), pause, delay }
    }
}

impl Faults {
    /// Returns the fault of the `n`-th request, and random numbers for what it does.
    pub(super) fn of(&self, seed: u64, n: u64) -> (Option<Fault>, Rng) {
        let mut rng = Rng::from_bits(mix(seed ^ 0xfa17) ^ n);
        let drawn = f64::from(rng.below(1 << 30)) / f64::from(1 << 30);
        let mut end = 0.0;
        for (fault, share) in &self.shares {
            end += share;
            if drawn < end {
                return (Some(*fault), rng);
            }
        }
        (None, rng)
    }

    /// Does what `fault` does; `false` when there is nothing it could be done to.
    pub(super) fn apply(&self, fault: Fault, answer: &mut Answer, rng: &mut Rng) -> bool {
        let body = answer.response.body();
        let n = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let status = answer.response.status();
        let is_refusal = !status.is_success() && status != StatusCode::NOT_FOUND;
        match fault {
            // What is wrong with the request comes before what goes wrong with the answer.
            _ if is_refusal => return false,
            Fault::OutOfTurn => {
                *answer.response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
                emptied(&mut answer.response);
            }
            Fault::Forbidden => gateway(&mut answer.response, StatusCode::FORBIDDEN),
            Fault::Internal => gateway(&mut answer.response, StatusCode::INTERNAL_SERVER_ERROR),
            Fault::BadGateway => gateway(&mut answer.response, StatusCode::BAD_GATEWAY),
            Fault::Unavailable => gateway(&mut answer.response, StatusCode::SERVICE_UNAVAILABLE),
            Fault::GatewayTimeout => gateway(&mut answer.response, StatusCode::GATEWAY_TIMEOUT),
            Fault::Slow => answer.after += self.delay,
            Fault::NoHead => answer.delivery = Delivery::NoHead,
            _ if n < 2 => return false,
            Fault::Cut => answer.delivery = Delivery::CutAt(1 + rng.below(n - 1) as usize),
            Fault::Truncated => {
                let end = 1 + rng.below(n - 1) as usize;
                answer.response.body_mut().truncate(end);
            }
            Fault::Types => {
                let Ok(mut body) = serde_json::from_slice(body) else { return false };
                if !mistyped(&mut body, rng) {
                    return false;
                }
                *answer.response.body_mut() = body.to_string().into_bytes();
            }
            Fault::Garbage => garbled(answer.response.body_mut(), rng),
        }
        true
    }
}

/// Makes the answer one of the gateway before the API: HTML, no word of limits.
pub(in crate::sandbox) fn gateway(response: &mut Response<Vec<u8>>, status: StatusCode) {
    for name in ["limit", "remain", "reset", "window"] {
        response.headers_mut().remove(format!("x-ratelimit-{name}"));
    }
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    let body = format!("<html><head><title>{status}</title></head><body>{status}</body></html>\n");
    *response.body_mut() = body.into_bytes();
}

pub(super) fn emptied(response: &mut Response<Vec<u8>>) {
    response.headers_mut().remove(CONTENT_TYPE);
    response.body_mut().clear();
}

/// Gives one value of the body another type.
fn mistyped(body: &mut Value, rng: &mut Rng) -> bool {
    let places = [
        ("/items", "nothing here"),
        ("/items/0/appointed_on", "20240131"),
        ("/items/0/date_of_birth", "[1970, 1]"),
        ("/items/0/name", "{\"surname\": \"SPECIMEN\"}"),
        ("/items/0/date", "true"),
        ("/items/0/charge_number", "\"one\""),
        ("/total_results", "\"many\""),
        ("/total_count", "null"),
        ("/accounts", "[]"),
        ("/company_name", "17"),
        ("/company_status_detail", "[\"active\"]"),
        ("/sic_codes", "\"62090\""),
        ("/links", "[]"),
        ("/message", "404"),
        ("/path", "{}"),
    ];
    let there: Vec<_> = places.iter().filter(|(at, _)| body.pointer(at).is_some()).collect();
    let n = u32::try_from(there.len()).unwrap_or(0);
    let Some((at, text)) = there.get(rng.below(n) as usize) else { return false };
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(*text));
    if let Some(place) = body.pointer_mut(at) {
        *place = value;
    }
    true
}

fn garbled(body: &mut Vec<u8>, rng: &mut Rng) {
    let middle = body.len() / 2;
    match rng.below(5) {
        0 => body.splice(middle..middle, [0xff, 0xfe, 0xc3]).for_each(drop),
        1 => body.splice(middle..middle, [0, 0]).for_each(drop),
        2 => body.splice(0..0, [0xef, 0xbb, 0xbf]).for_each(drop),
        3 => {
            *body = [b"{\"items\":".as_slice(), &[b'['; 20_000], &[b']'; 20_000], b"}"].concat();
        }
        _ => body.splice(1..1, b"\"items\":[],\"items\":7,".iter().copied()).for_each(drop),
    }
}
