//! `pipeline sandbox serve`.

mod stream;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;

use super::super::{Surroundings, output, wait_for_signal};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::sandbox::{self, Api, Fault, Faults, Register, Settings, Time};

/// Serve made-up Companies House APIs, REST and streams, on this machine only.
///
/// Answers profiles, officers, filing histories and charges over a made-up snapshot as the real API
/// does, counts requests against a limit, and goes wrong on request. The first line on standard
/// output is its address. `GET /sandbox/calls` tells what it was asked, `POST /sandbox/reset`
/// forgets it. Ctrl-C ends it.
///
/// With --stream-rate or --stream-backlog things happen in the register. `GET /companies`, `/officers` and `/filings`
/// stream them (`?timepoint=N` from an event on), and profiles, officers and filings are as the
/// events so far left them. `GET /sandbox/stream` tells the oldest and the next timepoint of each
/// feed, `POST /sandbox/stream/restart` breaks all connections, `POST /sandbox/stream/expire`
/// makes all events so far too old to be asked for.
#[derive(Debug, Args)]
#[command(after_help = "Faults, each with the share of requests that meet it:
  429        over the limit, although nothing is used up
  403        this address is shut out for --fault-pause
  500 502 503 504
             a small HTML page of a gateway
  slow       the right answer, later by --fault-delay
  cut        the connection ends inside the body
  truncated  a whole body with half of the JSON
  types      a value of another type than it should have
  garbage    no UTF-8, NUL, a BOM, endless nesting, a name twice
  no-head    the connection ends without an answer

Disturbances of streams, each with the share of connections that meet it:
  429        as if it came too often
  502 503 504
             a small HTML page of a gateway, after 5 s, at once, after 40 s
or of events:
  cut        the connection breaks inside the event
  duplicate  the event comes twice
  disorder   the event comes after the next one
  burst      the event is held back and comes with the nineteen after it
  silence    heartbeats only for --stream-pause
  split      the event comes in pieces
  garbage    a line that is no event comes before it

Examples:
  pipeline sandbox serve --snapshot BasicCompanyData-2026-11-01.csv
  pipeline sandbox serve --snapshot register.csv --port 0 --limit 60/5s --key k1
  pipeline sandbox serve --snapshot register.csv --fault 429=0.1 --fault cut=0.05 --latency 50ms
  pipeline sandbox serve --snapshot register.csv --stream-rate 10/s --stream-backlog 5000 \
    --stream-fault cut=0.001 --speed 60")]
pub(super) struct Arguments {
    /// The snapshot: a CSV that `pipeline sandbox snapshot` made.
    #[arg(long)]
    snapshot: PathBuf,
    /// The port; 0 takes any that is free.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// How many requests a key has in which time.
    #[arg(long, default_value = "600/5m", value_parser = limit)]
    limit: (u32, Duration),
    /// The one key that is let in; any key otherwise.
    #[arg(long)]
    key: Option<String>,
    /// Which people: another seed makes up others, and other requests meet faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A fault and the share of requests that meet it, `429=0.1`; once for each.
    #[arg(long = "fault", value_parser = fault)]
    faults: Vec<(Fault, f64)>,
    /// How long a 403 holds.
    #[arg(long, default_value = "5m", value_parser = length)]
    fault_pause: Duration,
    /// How much later a slow answer comes.
    #[arg(long, default_value = "10s", value_parser = length)]
    fault_delay: Duration,
    /// How long every answer takes.
    #[arg(long, default_value = "0s", value_parser = length)]
    latency: Duration,
    /// How many times as fast as ours its time runs: limits, delays, events, heartbeats.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    speed: u32,
    #[command(flatten)]
    stream: stream::StreamArguments,
}

fn length(text: &str) -> std::result::Result<Duration, String> {
    let wrong = |_| "not a length of time; write `50ms`, `5s` or `5m`".to_owned();
    let length: jiff::SignedDuration = text.parse().map_err(wrong)?;
    Duration::try_from(length).map_err(wrong)
}

fn limit(text: &str) -> std::result::Result<(u32, Duration), String> {
    let wrong = || "not a limit; write `600/5m`".to_owned();
    let (n, window) = text.split_once('/').ok_or_else(wrong)?;
    let window = length(window)?;
    if window.as_secs() == 0 || window.subsec_nanos() != 0 {
        return Err("the time of a limit is in whole seconds".to_owned());
    }
    Ok((n.parse().map_err(|_| wrong())?, window))
}

fn fault(text: &str) -> std::result::Result<(Fault, f64), String> {
    share_of(text, &Fault::ALL)
}

/// Reads `429=0.1`: one of the faults there are, and its share.
fn share_of<F: Copy>(text: &str, all: &[(F, &str)]) -> std::result::Result<(F, f64), String> {
    let (name, share) =
        text.split_once('=').ok_or("not a fault with its share; write `429=0.1`")?;
    let fault = all.iter().find(|(_, known)| *known == name).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|(_, name)| *name).collect();
        format!("no fault `{name}`; there are {}", known.join(", "))
    })?;
    let share: f64 = share.parse().map_err(|_| "the share is not a number from 0 to 1")?;
    if !(0.0..=1.0).contains(&share) {
        return Err("the share is not a number from 0 to 1".to_owned());
    }
    Ok((fault.0, share))
}

pub(super) async fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    let sum: f64 = arguments.faults.iter().map(|(_, share)| share).sum();
    if sum > 1.0 {
        let message = format!("the shares of all `--fault` add up to {sum}; 1 is all requests");
        return Err(Error::user(message));
    }
    let streams = arguments.stream.settings(arguments.key.as_deref())?;
    let is_alive = streams.happens();
    let register = Register::open(&arguments.snapshot)?;
    let faults = Faults {
        shares: arguments.faults,
        pause: arguments.fault_pause,
        delay: arguments.fault_delay,
    };
    let (n, window) = arguments.limit;
    let settings = Settings {
        limit: n,
        window,
        key: arguments.key.clone(),
        seed: arguments.seed,
        faults,
        latency: arguments.latency,
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let message =
            format!("port {} cannot be used; `--port 0` takes a free one", address.port());
        Error::external(message).because(error)
    })?;
    let address =
        listener.local_addr().map_err(|e| Error::external("no address to serve on").because(e))?;
    let first = register.numbers().next().unwrap_or("").to_owned();
    let n_skipped = register.n_skipped();
    let n_companies = register.len();
    let time = Time::begin(Clock::system(), arguments.speed);
    let api = Arc::new(Api::new(register, settings).streaming(streams, time.start()));
    output::print(&format!("http://{address}\n"));
    if !surroundings.is_quiet {
        let key = arguments.key.as_deref().unwrap_or("any");
        let (path, window) = (arguments.snapshot.display(), shown(window));
        output::say(&format!(
            "{n_companies} companies of `{path}`, {n_skipped} broken lines left out; \
             {n} requests in {window}"
        ));
        output::say(&format!("try: curl -u {key}: http://{address}/company/{first}/officers"));
        output::say(&format!(
            "{}: curl -Nu {key}: http://{address}/companies",
            if is_alive { "stream" } else { "stream (nothing happens without --stream-rate)" }
        ));
        output::say(&format!("what was asked: curl http://{address}/sandbox/calls; Ctrl-C ends"));
    }
    tokio::select! {
        served = sandbox::serve(api, listener, time) => {
            served.map_err(|e| Error::external("serving ended").because(e))?;
        }
        () = wait_for_signal() => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(length: Duration) -> String {
    match length.as_secs() {
        s if s.is_multiple_of(60) => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}
