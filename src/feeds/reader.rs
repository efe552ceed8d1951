//! The task of a feed: connects, reads, reconnects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use http::StatusCode;
use tokio::sync::{mpsc, watch};

use super::lines::{Line, Lines};
use super::order::Order;
use super::patience::{Ending, Next, Patience};
use super::{Gap, GapReason, Health, Item, Settings};
use crate::error::{Error, Kind, Result};
use crate::net::{Luck, Opened, Response};

/// What is kept of the body of an answer that is no feed.
const EXCERPT: usize = 4 << 10;

/// Nobody takes what comes any more.
struct Gone;

pub(super) struct Reader {
    settings: Settings,
    items: mpsc::Sender<Result<Item>>,
    health: watch::Sender<Health>,
    /// Set when no try would be better.
    is_over: Arc<AtomicBool>,
    order: Order<Vec<u8>>,
    patience: Patience,
    /// The last event before a gap whose end is not known yet.
    gap: Option<(u64, GapReason)>,
    /// Where this connection was asked to resume, until its first event came.
    resumed: Option<u64>,
    luck: Luck,
}

impl Reader {
    pub(super) fn new(
        settings: Settings,
        from: Option<u64>,
        (items, health, is_over): (
            mpsc::Sender<Result<Item>>,
            watch::Sender<Health>,
            Arc<AtomicBool>,
        ),
    ) -> Self {
        let patience = Patience::new(settings.reconnect_after);
        let now = settings.clock.now().as_nanosecond() as u64;
        let luck = Luck::new(now ^ (u64::from(std::process::id()) << 32));
        let order = Order::after(from);
        let (gap, resumed) = (None, None);
        Self { settings, items, health, is_over, order, patience, gap, resumed, luck }
    }

    /// Reads until nobody takes what comes, or no try would be better.
    pub(super) async fn run(mut self) {
        loop {
            let ending = match self.connection().await {
                Ok(ending) => ending,
                Err(Gone) => return,
            };
            self.disconnected();
            let (ending, reason) = ending;
            let next = self.patience.after(&ending, self.luck.draw());
            let failed = match next {
                Next::Retry(wait) if !self.is_hopeless() => {
                    self.tell(&reason, wait);
                    self.settings.clock.sleep(wait).await;
                    continue;
                }
                Next::TooOld if self.skip() => continue,
                Next::TooOld => self.too_old(),
                Next::Retry(_) | Next::GiveUp => self.given_up(&ending, &reason),
            };
            let is_over = !matches!(next, Next::Retry(_));
            self.is_over.store(is_over, Ordering::Relaxed);
            // Nobody may be there to hear it.
            if let Some(after) = self.order.reached().filter(|_| next == Next::TooOld) {
                let gap = Gap { after, before: None, reason: GapReason::TooOld };
                let _ = self.items.send(Ok(Item::Gap(gap))).await;
            }
            let _ = self.items.send(Err(failed)).await;
            return;
        }
    }

    /// Tells of another try: a connection that ends is nothing special, one that cannot be made is.
    fn tell(&self, reason: &str, wait: Duration) {
        let (server, wait_s) = (&self.settings.server, wait.as_secs());
        match self.patience.n_failures() {
            0 | 1 => tracing::info!(server, reason, wait_s, "the feed is asked for again"),
            n => tracing::warn!(
                server,
                reason,
                wait_s,
                n,
                "the feed does not come; it is asked for again"
            ),
        }
    }

    fn is_hopeless(&self) -> bool {
        self.settings.most_failures.is_some_and(|most| self.patience.n_failures() >= most)
    }

    /// Goes on from the present when the place to resume is too old, if it may.
    fn skip(&mut self) -> bool {
        let Some(reached) = self.order.reached().filter(|_| self.settings.may_skip) else {
            return false;
        };
        tracing::warn!(
            server = self.settings.server,
            after = reached,
            "events are lost: the feed does not go back so far; it goes on from now"
        );
        self.gap.get_or_insert((reached, GapReason::TooOld));
        self.order.skip();
        true
    }

    fn too_old(&self) -> Error {
        let Settings { server, .. } = &self.settings;
        let reached = self.order.reached().unwrap_or_default();
        Error::external(format!(
            "`{server}` does not go back to event {reached}, where this source stands (416): \
             events are lost"
        ))
        .because(
            "the gap is recorded; `pipeline state set FILE SOURCE now` goes on from the present, and \
             the next monthly file fills it (docs/guide/live.md)",
        )
    }

    fn given_up(&self, ending: &Ending, reason: &str) -> Error {
        let server = &self.settings.server;
        match ending {
            Ending::Status(StatusCode::UNAUTHORIZED) => Error::external(format!(
                "`{server}` does not know the key (401); keys of the REST API are no keys of the \
                 streaming API"
            )),
            _ => Error::new(Kind::External, format!("`{server}`: {reason}")),
        }
    }

    /// Makes one connection and reads it to its end; says how it ended.
    async fn connection(&mut self) -> Result<(Ending, String), Gone> {
        let reached = self.order.reached();
        // Before the first event of all comes, nothing is resumed.
        let start = self.settings.start.filter(|start| start.checked_sub(1) == reached);
        let request = (self.settings.request)(start.or(reached));
        let resumed = reached.filter(|_| start.is_none());
        let opened = match self.settings.transport.open(request).await {
            Ok(opened) if opened.status == StatusCode::OK => opened,
            Ok(refused) => {
                let status = refused.status;
                let response = whole(refused).await;
                return Ok((Ending::Status(status), (self.settings.excerpt)(&response)));
            }
            Err(failure) => return Ok((Ending::Broken, failure.to_string())),
        };
        self.connected();
        self.resumed = resumed;
        let reason = self.read(opened).await?;
        self.order.cut();
        Ok((Ending::Broken, reason))
    }

    async fn read(&mut self, mut opened: Opened) -> Result<String, Gone> {
        let mut lines = Lines::default();
        let clock = self.settings.clock;
        loop {
            let until = self.order.until();
            let overdue = async {
                match until {
                    Some(until) => clock.sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let piece = tokio::select! {
                biased;
                piece = opened.body.next() => piece,
                () = overdue => {
                    let going = self.order.overdue(clock.now());
                    self.send(going).await?;
                    continue;
                }
                () = self.items.closed() => return Err(Gone),
            };
            match piece {
                None => return Ok("the server closed the connection".to_owned()),
                Some(Err(failure)) => return Ok(failure.to_string()),
                Some(Ok(piece)) => {
                    for line in lines.push(&piece) {
                        self.line(line).await?;
                    }
                }
            }
        }
    }

    async fn line(&mut self, line: Line) -> Result<(), Gone> {
        let now = self.settings.clock.now();
        self.health.send_modify(|health| health.last_sign = Some(now));
        let (line, number) = match line {
            Line::Heartbeat => return Ok(()),
            Line::TooLong(line) => return self.broken(line, "the line is longer than 4 MiB").await,
            Line::Text(line) => {
                let number = (self.settings.number)(&line);
                (line, number)
            }
        };
        let Some(number) = number else {
            return self.broken(line, "this is no event: no JSON with a timepoint").await;
        };
        self.patience.heard();
        self.health.send_modify(|health| health.last_event = Some(now));
        self.note_gap(number).await?;
        let going = self.order.push(number, line, now);
        self.send(going).await
    }

    /// Tells of events that are missing before the first one of a connection.
    async fn note_gap(&mut self, number: u64) -> Result<(), Gone> {
        let skipped = self.resumed.take().filter(|from| number > from + 1);
        let skipped = skipped.map(|from| (from, GapReason::Skipped));
        let Some((after, reason)) = self.gap.take().or(skipped) else { return Ok(()) };
        let gap = Gap { after, before: Some(number), reason };
        self.items.send(Ok(Item::Gap(gap))).await.map_err(|_| Gone)
    }

    async fn broken(&mut self, line: Vec<u8>, reason: &'static str) -> Result<(), Gone> {
        self.items.send(Ok(Item::Broken(line, reason))).await.map_err(|_| Gone)
    }

    async fn send(&mut self, going: Vec<(u64, Vec<u8>)>) -> Result<(), Gone> {
        for (number, line) in going {
            self.items.send(Ok(Item::Event(number, line))).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    fn connected(&mut self) {
        let now = self.settings.clock.now();
        self.health.send_modify(|health| {
            health.is_connected = true;
            health.since = now;
            health.last_sign = Some(now);
            health.n_connections += 1;
        });
    }

    fn disconnected(&mut self) {
        let now = self.settings.clock.now();
        self.health.send_modify(|health| {
            if health.is_connected {
                health.is_connected = false;
                health.since = now;
            }
        });
    }
}

/// Reads what there is of a body that is no feed.
async fn whole(mut opened: Opened) -> Response {
    let mut response = http::Response::new(Vec::new());
    *response.status_mut() = opened.status;
    while let Some(Ok(piece)) = opened.body.next().await {
        response.body_mut().extend_from_slice(&piece);
        if response.body().len() > EXCERPT {
            break;
        }
    }
    response
}
