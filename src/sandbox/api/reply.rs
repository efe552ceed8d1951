//! An answer before it is sent, and the forms in which the register says no.
//!
//! There are four (`companies-house.md` 3.2): a message with a request's id (profiles), a list of
//! errors (a query that cannot be served), status and path (insolvency), and nothing at all.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::calendar::Date;
use super::super::rng::{Rng, mix};

/// A status and, as JSON, what is said.
#[derive(Debug)]
pub(in crate::sandbox) struct Reply {
    pub status: StatusCode,
    pub body: Option<Value>,
}

impl Reply {
    pub(in crate::sandbox) fn found(body: Value) -> Self {
        Self { status: StatusCode::OK, body: Some(body) }
    }

    /// Answers with nothing.
    pub(in crate::sandbox) fn empty(status: StatusCode) -> Self {
        Self { status, body: None }
    }

    /// Answers as profiles do when there is no such company.
    pub(in crate::sandbox) fn no_profile(number: &str, now: Timestamp, rng: &mut Rng) -> Self {
        let body = json!({
            "timestamp": now.strftime("%Y-%m-%dT%H:%M:%S.%9f").to_string(),
            "message": format!("404 NOT_FOUND \"Resource not found for company profile {number}\""),
            "request_id": id(rng, 28),
        });
        Self { status: StatusCode::NOT_FOUND, body: Some(body) }
    }

    /// Answers as insolvency does when there is no case.
    pub(in crate::sandbox) fn no_case(path: &str, now: Timestamp) -> Self {
        let body = json!({
            "timestamp": now.strftime("%Y-%m-%d").to_string(),
            "status": 404,
            "error": "Not Found",
            "path": path,
        });
        Self { status: StatusCode::NOT_FOUND, body: Some(body) }
    }

    /// Answers with the documented list of errors.
    pub(in crate::sandbox) fn errors(status: StatusCode, error: &str) -> Self {
        let body = json!({ "errors": [{ "type": "ch:service", "error": error }] });
        Self { status, body: Some(body) }
    }

    /// Answers to a key that is missing, malformed or unknown.
    pub(in crate::sandbox) fn unauthorized() -> Self {
        let body = json!({ "error": "Invalid Authorization", "type": "ch:service" });
        Self { status: StatusCode::UNAUTHORIZED, body: Some(body) }
    }

    /// Makes the response.
    pub(in crate::sandbox) fn into_response(self) -> Response<Vec<u8>> {
        let bytes = self.body.as_ref().map(|body| body.to_string().into_bytes());
        let mut response = Response::new(bytes.unwrap_or_default());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if self.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let kept = HeaderValue::from_static("no-cache, no-store, max-age=0, must-revalidate");
        headers.insert(CACHE_CONTROL, kept);
        response
    }
}

/// Writes a moment as the `date` header does.
pub(in crate::sandbox) fn http_date(now: Timestamp) -> Option<HeaderValue> {
    let text = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    HeaderValue::from_str(&text).ok()
}

/// Returns the day of a moment.
pub(in crate::sandbox) fn day(now: Timestamp) -> Date {
    Date::from_days(i32::try_from(now.as_second().div_euclid(86_400)).unwrap_or(0))
}

/// Writes a day as `yyyy-mm-dd`.
pub(in crate::sandbox) fn iso(date: Date) -> String {
    let (year, month, day) = date.parts();
    format!("{year:04}-{month:02}-{day:02}")
}

/// Makes up an identifier of `n` characters, as base64 for addresses writes them.
pub(in crate::sandbox) fn id(rng: &mut Rng, n: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..n).map(|_| char::from(LETTERS[rng.below(64) as usize])).collect()
}

/// Returns the `etag` of a body: 40 figures that change with it. Not for secrets.
pub(in crate::sandbox) fn etag(body: &Value) -> String {
    let text = body.to_string();
    let hash = text.as_bytes().chunks(8).fold(mix(text.len() as u64), |hash, chunk| {
        chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)) ^ mix(hash)
    });
    format!("{:016x}{:016x}{:08x}", mix(hash), mix(!hash), mix(hash ^ 1) >> 32)
}

/// Sets `name` in an object when there is a value.
pub(in crate::sandbox) fn put(object: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(name.to_owned(), value.into());
    }
}

/// Writes words as the register's answers do: `MILL ROAD` as `Mill Road`.
pub(in crate::sandbox) fn titled(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut is_inside = false;
    for c in text.chars() {
        match is_inside {
            true => out.extend(c.to_lowercase()),
            false => out.push(c),
        }
        is_inside = c.is_alphanumeric() || c == '\'' && is_inside;
    }
    out
}

/// What a query says: the values of its names, decoded.
#[derive(Debug)]
pub(in crate::sandbox) struct Query(Vec<(String, String)>);

impl Query {
    pub(in crate::sandbox) fn of(text: Option<&str>) -> Self {
        let pairs = text.unwrap_or("").split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decoded(name), decoded(value)))
                .collect(),
        )
    }

    /// Returns the first value of `name` that is not empty.
    pub(in crate::sandbox) fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(known, value)| known == name && !value.is_empty());
        found.next().map(|(_, value)| value.as_str())
    }

    /// Returns a number, or `default`; fails when it is none.
    pub(in crate::sandbox) fn number(&self, name: &str, default: usize) -> Result<usize, Reply> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let error = "invalid-query-parameter";
        text.parse().map_err(|_| Reply::errors(StatusCode::BAD_REQUEST, error))
    }
}

/// Undoes `%2C` and `+`.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let coded = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (byte, coded) {
            (b'%', Some(coded)) => {
                out.push(coded);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}
