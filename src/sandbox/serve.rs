//! Serves the made-up APIs on a port: does the waiting and the breaking that an answer or a stream
//! asks for.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use futures::{StreamExt as _, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::Time;
use super::api::{Answer, Api, Delivery};
use super::stream::{self as streams, Connection as Streamed, Feed, Next};

/// Requests have no body to speak of.
const LARGEST: usize = 1 << 16;
/// So much later a cut comes than what is before it, so that this is on its way already.
const BEFORE_A_CUT: Duration = Duration::from_millis(20);
/// So often a stream is asked whether it was closed from elsewhere.
const LOOK: Duration = Duration::from_millis(100);

/// Serves `api` to whom `listener` lets in, until it is dropped, in a time of its own.
pub async fn serve(api: Arc<Api>, listener: TcpListener, time: Time) -> io::Result<()> {
    let answer = move |ConnectInfo(peer): ConnectInfo<Peer>, request: Request| {
        let api = Arc::clone(&api);
        async move {
            let (mut parts, body) = request.into_parts();
            parts.extensions.insert(peer.address.ip());
            let body = to_bytes(body, LARGEST).await.unwrap_or_default();
            let request = Request::from_parts(parts, body.to_vec());
            let feed = Feed::of(request.uri().path()).and(api.stream());
            let answer = match feed.map(|stream| stream.connect(&request, time.now())) {
                Some(Ok(connection)) => return streamed(connection, time),
                Some(Err(answer)) => *answer,
                None => api.answer(&request, time.now()),
            };
            if !answer.after.is_zero() {
                time.sleep(answer.after).await;
            }
            delivered(answer, &peer)
        }
    };
    let router = Router::new().fallback(answer);
    let service = router.into_make_service_with_connect_info::<Peer>();
    axum::serve(Doors(listener), service).await
}

fn delivered(answer: Answer, peer: &Peer) -> Response {
    let (head, body) = answer.response.into_parts();
    let body = match answer.delivery {
        Delivery::Whole if body.is_empty() => Body::empty(),
        // In chunks, as the real one answers.
        Delivery::Whole => Body::from_stream(stream::iter([Ok::<_, io::Error>(body)])),
        Delivery::CutAt(end) => {
            let kept = Bytes::copy_from_slice(&body[..end.min(body.len())]);
            let cut = async {
                tokio::time::sleep(BEFORE_A_CUT).await;
                Err(io::Error::from(io::ErrorKind::ConnectionReset))
            };
            Body::from_stream(stream::iter([Ok(kept)]).chain(stream::once(cut)))
        }
        Delivery::NoHead => {
            peer.is_closed.store(true, Ordering::Relaxed);
            Body::empty()
        }
    };
    Response::from_parts(head, body)
}

/// Sends what a connection has to send, each piece by itself, until it ends or breaks.
fn streamed(connection: Streamed, time: Time) -> Response {
    let (head, ()) = streams::head(time.now()).into_parts();
    let pieces = stream::unfold(Some(connection), move |connection| async move {
        let mut connection = connection?;
        loop {
            match connection.next(time.now()) {
                Next::Bytes(bytes) => return Some((Ok(Bytes::from(bytes)), Some(connection))),
                Next::Wait(until) => time.sleep_until(until, LOOK).await,
                Next::End => return None,
                Next::Cut => {
                    tokio::time::sleep(BEFORE_A_CUT).await;
                    return Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), None));
                }
            }
        }
    });
    Response::from_parts(head, Body::from_stream(pieces))
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
struct Peer {
    address: SocketAddr,
    /// Set when not one byte more is to be written.
    is_closed: Arc<AtomicBool>,
}

/// A listener whose connections can be ended before an answer's head: nothing inside a handler can
/// do that.
struct Doors(TcpListener);

struct Connection {
    stream: TcpStream,
    is_closed: Arc<AtomicBool>,
}

impl Listener for Doors {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        (Connection { stream, is_closed: Arc::default() }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Doors>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Doors>) -> Self {
        let is_closed = Arc::clone(&stream.io().is_closed);
        Self { address: *stream.remote_addr(), is_closed }
    }
}

impl Connection {
    fn checked(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match self.is_closed.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(Pin::new(&mut self.stream)),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.checked()?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.checked()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
