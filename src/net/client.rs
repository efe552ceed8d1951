//! The one client for http and https: it heeds no proxy of the environment, says who it is, and
//! bounds every stage of a request.

use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use tokio::time::timeout;

use super::{Bounds, Failure, HiddenQuery, Request, Response, Stage, Transport};
use crate::error::{Error, Result};

/// Sends requests over the network.
#[derive(Clone, Debug)]
pub struct Client {
    inner: reqwest::Client,
    bounds: Bounds,
}

impl Client {
    /// Makes a client for APIs. It follows no redirects: where credentials go is said in the file.
    pub fn new(bounds: Bounds) -> Result<Self> {
        let inner = builder(bounds.connect)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| Error::external("no client for http").because(e))?;
        Ok(Self { inner, bounds })
    }

    async fn exchange(&self, request: Request) -> Result<Response, Failure> {
        let failed = |stage, reason: String| Failure { stage, reason };
        let mut request = request;
        if request.extensions().get::<HiddenQuery>().is_some() {
            // An address that is none is the same fault as below.
            let uri = HiddenQuery::reveal(&request).parse();
            *request.uri_mut() = uri.unwrap_or_default();
        }
        let request = reqwest::Request::try_from(request)
            .map_err(|error| failed(Stage::Connect, reason(&error)))?;
        let sent = timeout(self.bounds.head, self.inner.execute(request)).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => {
                return Err(failed(Stage::Connect, reason(&error)));
            }
            Ok(Err(error)) => return Err(failed(Stage::Head, reason(&error))),
            Err(_) => return Err(failed(Stage::Head, too_slow(self.bounds.head))),
        };
        let mut whole = http::Response::new(Vec::new());
        *whole.status_mut() = response.status();
        *whole.headers_mut() = response.headers().clone();
        let mut body = response.bytes_stream();
        loop {
            let piece = match timeout(self.bounds.idle, body.next()).await {
                Ok(None) => return Ok(whole),
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(error))) => return Err(failed(Stage::Body, reason(&error))),
                Err(_) => return Err(failed(Stage::Body, too_slow(self.bounds.idle))),
            };
            whole.body_mut().extend_from_slice(&piece);
            if whole.body().len() > self.bounds.bytes {
                let reason = format!("more than {} MiB", self.bounds.bytes >> 20);
                return Err(failed(Stage::Body, reason));
            }
        }
    }
}

#[async_trait]
impl Transport for Client {
    async fn send(&self, request: Request) -> Result<Response, Failure> {
        match timeout(self.bounds.whole, self.exchange(request)).await {
            Ok(done) => done,
            Err(_) => Err(Failure { stage: Stage::Body, reason: too_slow(self.bounds.whole) }),
        }
    }
}

fn too_slow(limit: Duration) -> String {
    format!("not within {} s", limit.as_secs())
}

/// Returns what every client of ours begins with.
pub(crate) fn builder(connect: Duration) -> reqwest::ClientBuilder {
    // Fails when a provider is installed already: then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("pipeline/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect)
        .no_proxy()
}

/// Says why a request failed, down to its root, without the address and what may be in it.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    use std::error::Error as _;

    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match (error.is_timeout(), error.source()) {
        (true, _) => "no answer in time".to_owned(),
        (false, Some(_)) => cause.to_string(),
        (false, None) => "the request failed".to_owned(),
    }
}
