//! The one client for http and https: it heeds no proxy of the environment, says who it is, and
//! bounds every stage of a request.

use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use tokio::time::timeout;

use super::{Bounds, Failure, HiddenQuery, Opened, Request, Response, Stage, Transport};
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
        let mut opened = self.head(request).await?;
        let mut whole = http::Response::new(Vec::new());
        *whole.status_mut() = opened.status;
        *whole.headers_mut() = opened.headers;
        while let Some(piece) = opened.body.next().await {
            whole.body_mut().extend_from_slice(&piece?);
            if whole.body().len() > self.bounds.bytes {
                let reason = format!("more than {} MiB", self.bounds.bytes >> 20);
                return Err(Failure { stage: Stage::Body, reason });
            }
        }
        Ok(whole)
    }

    /// Sends a request and waits for the head of its response.
    async fn head(&self, request: Request) -> Result<Opened, Failure> {
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
        let (status, headers) = (response.status(), response.headers().clone());
        let idle = self.bounds.idle;
        let body = stream::unfold(Some(response.bytes_stream()), move |body| async move {
            let mut body = body?;
            let failed = match timeout(idle, body.next()).await {
                Ok(None) => return None,
                Ok(Some(Ok(piece))) => return Some((Ok(piece), Some(body))),
                Ok(Some(Err(error))) => reason(&error),
                Err(_) => too_slow(idle),
            };
            Some((Err(Failure { stage: Stage::Body, reason: failed }), None))
        });
        Ok(Opened { status, headers, body: body.boxed() })
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

    async fn open(&self, request: Request) -> Result<Opened, Failure> {
        self.head(request).await
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
