//! What can go wrong with a stream on purpose. It is the delivery that is disturbed, never the
//! feed: who comes again gets everything.

use super::super::rng::{Rng, mix};

/// A kind of disturbance: of a connection that is asked for, or of an event on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disturbance {
    /// 429 although nobody came too often.
    OutOfTurn,
    /// 502 with a small HTML body, after five seconds.
    BadGateway,
    /// 503 with a small HTML body, at once.
    Unavailable,
    /// 504 with a small HTML body, after forty seconds.
    GatewayTimeout,
    /// The connection breaks inside the event.
    Cut,
    /// The event comes twice.
    Duplicate,
    /// The event comes after the next one.
    Disorder,
    /// The event is held back and comes with the nineteen after it.
    Burst,
    /// From here on there are heartbeats only, for a while.
    Silence,
    /// The event comes in pieces.
    Split,
    /// A line that is no event comes before it.
    Garbage,
}

impl Disturbance {
    /// All of them, with the names they have on the command line; the first four are of
    /// connections, the others of events.
    pub const ALL: [(Self, &'static str); 11] = [
        (Self::OutOfTurn, "429"),
        (Self::BadGateway, "502"),
        (Self::Unavailable, "503"),
        (Self::GatewayTimeout, "504"),
        (Self::Cut, "cut"),
        (Self::Duplicate, "duplicate"),
        (Self::Disorder, "disorder"),
        (Self::Burst, "burst"),
        (Self::Silence, "silence"),
        (Self::Split, "split"),
        (Self::Garbage, "garbage"),
    ];

    /// Says whether it meets connections that are asked for, not events.
    pub fn is_of_connections(self) -> bool {
        let of_connections =
            [Self::OutOfTurn, Self::BadGateway, Self::Unavailable, Self::GatewayTimeout];
        of_connections.contains(&self)
    }
}

/// How many events come together in a burst.
pub(super) const BURST: u64 = 20;

/// Returns random numbers for one event on one connection: who comes again meets others.
pub(super) fn rng(seed: u64, connection: u64, n: u64) -> Rng {
    Rng::from_bits(mix(seed ^ 0xd157) ^ mix(mix(connection) ^ n))
}

/// Draws a disturbance by its share.
pub(super) fn drawn(
    shares: &[(Disturbance, f64)],
    is_of_connections: impl Fn(Disturbance) -> bool,
    rng: &mut Rng,
) -> Option<Disturbance> {
    let drawn = f64::from(rng.below(1 << 30)) / f64::from(1 << 30);
    let mut end = 0.0;
    for (disturbance, share) in shares.iter().filter(|(kind, _)| is_of_connections(*kind)) {
        end += share;
        if drawn < end {
            return Some(*disturbance);
        }
    }
    None
}

/// Returns a line that is no event: cut off, no UTF-8, no JSON, another JSON, a page of HTML.
pub(super) fn garbage(event: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut line = match rng.below(5) {
        0 => event[..event.len() / 2].to_vec(),
        1 => [b"{\"resource_kind\":\"".as_slice(), &[0xff, 0xfe, 0xc3], b"\"}"].concat(),
        2 => b"}{".to_vec(),
        3 => b"[]".to_vec(),
        _ => b"<html><body>502 Bad Gateway</body></html>".to_vec(),
    };
    line.push(b'\n');
    line
}
