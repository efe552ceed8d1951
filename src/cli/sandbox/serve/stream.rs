//! The options of `pipeline sandbox serve` that are about streams.

use std::time::Duration;

use clap::Args;

use crate::error::{Error, Result};
use crate::sandbox::{Disturbance, Feed, Rate, StreamSettings};

#[derive(Debug, Args)]
pub(super) struct StreamArguments {
    /// How fast events come on each feed, or on one: `10/s`, `officers=90/m`. Nothing happens on
    /// other feeds, so that without it a company is as it was when it was asked for before.
    #[arg(long = "stream-rate", value_name = "RATE", value_parser = rate)]
    stream_rates: Vec<(Option<Feed>, Rate)>,
    /// How many events of each feed are published before the start.
    #[arg(long, value_name = "EVENTS", default_value_t = 0)]
    stream_backlog: u64,
    /// After how many events, those of the backlog included, nothing more happens on a feed; never
    /// otherwise.
    #[arg(long, value_name = "EVENTS")]
    stream_events: Option<u64>,
    /// How many of the newest events of a feed can be asked for by a timepoint, older ones are
    /// 416; all otherwise.
    #[arg(long, value_name = "EVENTS")]
    stream_keep: Option<u64>,
    /// How long after a heartbeat the next one comes.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = some)]
    stream_heartbeat: Duration,
    /// After what time the server ends a connection.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = some)]
    stream_longest: Duration,
    /// How many connections a key may ask for in what time, `5/1m`; as many as it likes otherwise.
    #[arg(long, value_name = "LIMIT", value_parser = super::limit)]
    stream_connects: Option<(u32, Duration)>,
    /// The one key that is let in to streams; that of --key otherwise.
    #[arg(long, value_name = "KEY")]
    stream_key: Option<String>,
    /// A disturbance and its share, `cut=0.001`; once for each.
    #[arg(long = "stream-fault", value_name = "FAULT", value_parser = disturbance)]
    stream_faults: Vec<(Disturbance, f64)>,
    /// How long a silence is, and a burst or a disorder at most.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = super::length)]
    stream_pause: Duration,
}

/// The rate of a feed on which nothing happens.
const NEVER: Rate = Rate { events: 0, per: Duration::from_secs(1) };

impl StreamArguments {
    pub(super) fn settings(self, key: Option<&str>) -> Result<StreamSettings> {
        for is_of_connections in [true, false] {
            let met = self.stream_faults.iter();
            let met = met.filter(|(kind, _)| kind.is_of_connections() == is_of_connections);
            let sum: f64 = met.map(|(_, share)| share).sum();
            if sum > 1.0 {
                let what = if is_of_connections { "connections" } else { "events" };
                let message = format!(
                    "the shares of `--stream-fault` for {what} add up to {sum}; 1 is all of them"
                );
                return Err(Error::user(message));
            }
        }
        let for_all = self.stream_rates.iter().rev().find(|(feed, _)| feed.is_none());
        let own = self.stream_rates.iter().filter_map(|(feed, rate)| Some(((*feed)?, *rate)));
        Ok(StreamSettings {
            key: self.stream_key.or_else(|| key.map(str::to_owned)),
            rate: for_all.map_or(NEVER, |(_, rate)| *rate),
            rates: own.collect(),
            backlog: self.stream_backlog,
            events: self.stream_events,
            keep: self.stream_keep,
            heartbeat: self.stream_heartbeat,
            longest: self.stream_longest,
            connects: self.stream_connects,
            disturbances: self.stream_faults,
            pause: self.stream_pause,
        })
    }
}

/// Reads `10/s`, `600/5m`, `officers=0/s`.
fn rate(text: &str) -> std::result::Result<(Option<Feed>, Rate), String> {
    let wrong = || "not a rate; write `10/s`, or `officers=2/s` for one feed".to_owned();
    let (feed, rate) = match text.split_once('=') {
        Some((name, rate)) => {
            let known = ["companies", "officers", "filings"].contains(&name);
            let feed = Feed::named(name).filter(|_| known).ok_or_else(|| {
                format!("no feed `{name}`; there are companies, officers, filings")
            })?;
            (Some(feed), rate)
        }
        None => (None, text),
    };
    let (events, per) = rate.split_once('/').ok_or_else(wrong)?;
    let events = events.parse().map_err(|_| wrong())?;
    let is_number = per.starts_with(|c: char| c.is_ascii_digit());
    let per = if is_number { per.to_owned() } else { format!("1{per}") };
    Ok((feed, Rate { events, per: some(&per).map_err(|_| wrong())? }))
}

/// Reads a length of time that is not nothing.
fn some(text: &str) -> std::result::Result<Duration, String> {
    let length = super::length(text)?;
    if length.is_zero() {
        return Err("no time at all; write `30s`".to_owned());
    }
    Ok(length)
}

fn disturbance(text: &str) -> std::result::Result<(Disturbance, f64), String> {
    super::share_of(text, &Disturbance::ALL)
}
