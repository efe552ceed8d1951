//! The network as those see it who ask an API: a request goes out, a whole response comes back.
//!
//! What stands behind it is [`Client`] (the one client for everything), or something in its place:
//! a test's own server, without sockets.

mod client;
mod luck;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::{HeaderMap, StatusCode};

pub use client::Client;
pub(crate) use client::{builder, reason};
pub use luck::Luck;

/// A request. Headers that hold secrets are marked sensitive, so that `Debug` hides them.
pub type Request = http::Request<Vec<u8>>;

/// A response with its whole body.
pub type Response = http::Response<Vec<u8>>;

/// A piece of a query that holds a secret, `name=value`, among the extensions of a request: it is
/// added to the address when the request is sent, so that `Debug` does not show it.
#[derive(Clone)]
pub struct HiddenQuery(String);

impl HiddenQuery {
    /// Hides a piece of a query; it is written as it stands in an address.
    pub fn new(pair: String) -> Self {
        Self(pair)
    }

    /// Returns the address to which a request goes, for the wire only.
    pub fn reveal(request: &Request) -> String {
        let uri = request.uri().to_string();
        match request.extensions().get::<Self>() {
            None => uri,
            Some(Self(pair)) if uri.contains('?') => format!("{uri}&{pair}"),
            Some(Self(pair)) => format!("{uri}?{pair}"),
        }
    }
}

impl fmt::Debug for HiddenQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What sends requests.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends a request and reads the response to its end.
    async fn send(&self, request: Request) -> Result<Response, Failure>;

    /// Sends a request and returns as soon as the head of the response is there.
    async fn open(&self, request: Request) -> Result<Opened, Failure> {
        let (head, body) = self.send(request).await?.into_parts();
        let body = futures::stream::iter([Ok(Bytes::from(body))]).boxed();
        Ok(Opened { status: head.status, headers: head.headers, body })
    }
}

/// A response whose body comes piece by piece.
pub struct Opened {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; a failure ends it.
    pub body: BoxStream<'static, Result<Bytes, Failure>>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Why no whole response came: the same request may succeed later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How far it came.
    pub stage: Stage,
    /// What happened, without the address and what may be in it.
    pub reason: String,
}

/// How far a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No connection: the server has not seen the request.
    Connect,
    /// The request went out, and no head of a response came back.
    Head,
    /// The response broke off.
    Body,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Connect => "no connection",
            Stage::Head => "no answer",
            Stage::Body => "the answer broke off",
        };
        write!(f, "{stage}: {}", self.reason)
    }
}

/// How long each stage of a request may take, and how much may come back.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Until there is a connection, with TLS.
    pub connect: Duration,
    /// Until the head of the response is there.
    pub head: Duration,
    /// Between two pieces of the body.
    pub idle: Duration,
    /// All of it.
    pub whole: Duration,
    /// The most bytes of the body.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            head: Duration::from_secs(15),
            idle: Duration::from_secs(30),
            whole: Duration::from_secs(60),
            bytes: 8 << 20,
        }
    }
}
