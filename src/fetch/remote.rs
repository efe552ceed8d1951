//! Asking a server for a file, or for the rest of one.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use reqwest::header::{self, HeaderMap};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::net::{self, reason};

/// A client for http and https. It follows few redirects, heeds no proxy of the environment, and
/// gives up on a server that is silent for a minute.
#[derive(Clone, Debug)]
pub struct Http(reqwest::Client);

/// What a server says of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    /// Its version, as the server names it.
    pub(super) etag: Option<String>,
    /// When it changed last, as the server writes it.
    pub(super) last_modified: Option<String>,
    /// Its bytes.
    pub(super) size: Option<u64>,
}

impl Version {
    /// Returns the words by which a rest is asked for "if it is still this version": a strong
    /// `ETag`, or the time of the change. A file with neither cannot be resumed.
    fn validator(&self) -> Option<&str> {
        let strong = self.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
        strong.or(self.last_modified.as_deref())
    }

    /// Says whether another version, as far as is told, can be the same file.
    fn agrees(&self, other: &Self) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
        same(&self.etag, &other.etag) && same(&self.last_modified, &other.last_modified)
    }
}

/// What is there already when a file is asked for.
#[derive(Debug, Default)]
pub(super) struct Ask<'a> {
    /// The version of a whole file that need not come again.
    pub(super) unless: Option<&'a Version>,
    /// The version of a part, and how many of its bytes are there.
    pub(super) rest_of: Option<(&'a Version, u64)>,
}

/// What a server answers.
pub(super) enum Answer {
    /// The whole file is still what it was.
    Unchanged,
    /// The file from its beginning.
    Whole(Version, Body),
    /// The bytes after those that are there.
    Rest(Body),
    /// The part that is there is of no use: ask for the whole.
    NoRest,
    /// No such file.
    Missing,
    /// Ask again, after a while if one is said.
    Later(Option<Duration>, String),
}

/// Bytes as they come.
pub(super) type Body = BoxStream<'static, Result<Vec<u8>, String>>;

impl Http {
    /// Makes a client.
    pub fn new() -> Result<Self> {
        let client = net::builder(Duration::from_secs(10))
            .read_timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::limited(3))
            .build();
        client.map(Self).map_err(|e| Error::external("no client for http").because(e))
    }

    /// Returns the text of a page of at most a mebibyte; `None` when there is no such page.
    pub async fn page(&self, address: &str) -> Result<Option<String>> {
        const MOST: usize = 1 << 20;
        let failed = |why: String| Error::external(format!("`{address}`: {why}"));
        let response = self.0.get(address).send().await.map_err(|e| failed(reason(&e)))?;
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
            status if !status.is_success() => return Err(failed(format!("answered {status}"))),
            _ => {}
        }
        let mut text = Vec::new();
        let mut body = response.bytes_stream();
        while let Some(piece) = body.next().await {
            text.extend_from_slice(&piece.map_err(|e| failed(reason(&e)))?);
            if text.len() > MOST {
                return Err(failed("the page is larger than 1 MiB".to_owned()));
            }
        }
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    /// Says whether there is a file.
    pub async fn has(&self, address: &str) -> Result<bool> {
        let failed = |why: String| Error::external(format!("`{address}`: {why}"));
        let asked = self.0.request(Method::HEAD, address).send().await;
        match asked.map_err(|e| failed(reason(&e)))?.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(false),
            status if status.is_success() => Ok(true),
            status => Err(failed(format!("answered {status}"))),
        }
    }

    /// Asks for a file. Errors are those that asking again cannot mend.
    pub(super) async fn get(&self, address: &str, ask: &Ask<'_>) -> Result<Answer> {
        let mut request = self.0.get(address).header(header::ACCEPT_ENCODING, "identity");
        if let Some(version) = ask.unless {
            if let Some(etag) = &version.etag {
                request = request.header(header::IF_NONE_MATCH, etag);
            }
            if let Some(time) = &version.last_modified {
                request = request.header(header::IF_MODIFIED_SINCE, time);
            }
        }
        let rest = ask.rest_of.and_then(|(of, from)| Some((of, from, of.validator()?)));
        if let Some((_, from, validator)) = rest {
            request = request
                .header(header::RANGE, format!("bytes={from}-"))
                .header(header::IF_RANGE, validator);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_builder() || error.is_redirect() => {
                return Err(Error::user(format!("`{address}`: {}", reason(&error))));
            }
            Err(error) => return Ok(Answer::Later(None, reason(&error))),
        };
        let version = version_of(response.headers(), response.content_length());
        Ok(match (response.status(), rest) {
            (StatusCode::NOT_MODIFIED, _) if ask.unless.is_some() => Answer::Unchanged,
            (StatusCode::OK, _) => Answer::Whole(version, body(response)),
            (StatusCode::PARTIAL_CONTENT, Some((of, from, _))) => {
                let goes_on = |(start, total): (u64, u64)| {
                    start == from && of.size.is_none_or(|size| size == total)
                };
                let is_rest =
                    of.agrees(&version) && content_range(response.headers()).is_some_and(goes_on);
                if is_rest { Answer::Rest(body(response)) } else { Answer::NoRest }
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => Answer::NoRest,
            (StatusCode::NOT_FOUND | StatusCode::GONE, _) => Answer::Missing,
            (status, _) if is_passing(status) => {
                Answer::Later(retry_after(response.headers()), format!("answered {status}"))
            }
            (status, _) => {
                return Err(Error::external(format!("`{address}`: answered {status}")));
            }
        })
    }
}

fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

fn version_of(headers: &HeaderMap, size: Option<u64>) -> Version {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Version { etag: text(header::ETAG), last_modified: text(header::LAST_MODIFIED), size }
}

/// Reads `bytes 100-499/500` as the first byte and the size of the whole.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()?))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn body(response: reqwest::Response) -> Body {
    let pieces = response.bytes_stream();
    pieces.map(|piece| piece.map(Vec::from).map_err(|error| reason(&error))).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_strong_version_is_resumed() {
        let version = |etag: Option<&str>, time: Option<&str>| Version {
            etag: etag.map(str::to_owned),
            last_modified: time.map(str::to_owned),
            size: Some(9),
        };
        assert_eq!(version(Some("\"a\""), Some("t")).validator(), Some("\"a\""));
        assert_eq!(version(Some("W/\"a\""), Some("t")).validator(), Some("t"));
        assert_eq!(version(Some("W/\"a\""), None).validator(), None);
        assert!(version(Some("a"), None).agrees(&version(Some("a"), Some("t"))));
        assert!(!version(Some("a"), None).agrees(&version(Some("b"), None)));
    }

    #[test]
    fn reads_the_place_of_a_rest() {
        let mut headers = HeaderMap::new();
        for (text, place) in [
            ("bytes 100-499/500", Some((100, 500))),
            ("bytes 100-499/*", None),
            ("bytes */500", None),
            ("items 1-2/3", None),
        ] {
            headers.insert(header::CONTENT_RANGE, header::HeaderValue::from_static(text));
            assert_eq!(content_range(&headers), place, "{text}");
        }
    }
}
