//! Rate limits in simulated time, against a server that keeps them as Companies House does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;

use pipeline::clock::{Clock, Simulation, after};
use pipeline::error::{Error, Result};
use pipeline::quota::{Ended, Limit, Quota, Said};
use pipeline::spec;
use pipeline::state::Shared;

/// A server that allows so many calls in a fixed window, which begins with the first call after
/// the last one ended.
struct Server {
    clock: Clock,
    limit: u64,
    window: Duration,
    state: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    ends_at: Option<Timestamp>,
    used: u64,
    accepted: u64,
    limited: u64,
}

impl Server {
    /// Answers a call, 30 to 150 ms after it went out.
    async fn call(&self, nth: u64) -> Said {
        let way = Duration::from_millis(15 + (nth * 7919) % 60);
        self.clock.sleep(way).await;
        let (headers, is_limited) = self.count();
        self.clock.sleep(way).await;
        Said::read(&headers, is_limited, self.clock.now())
    }

    fn count(&self) -> (HeaderMap, bool) {
        let now = self.clock.now();
        let mut counts = self.state.lock().expect("no panic");
        if counts.ends_at.is_none_or(|ends_at| now >= ends_at) {
            counts.ends_at = Some(after(now, self.window));
            counts.used = 0;
        }
        let is_limited = counts.used >= self.limit;
        match is_limited {
            true => counts.limited += 1,
            false => (counts.used, counts.accepted) = (counts.used + 1, counts.accepted + 1),
        }
        let reset = counts.ends_at.unwrap_or(now).as_second();
        let date = jiff::fmt::rfc2822::to_string(&now.to_zoned(jiff::tz::TimeZone::UTC));
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-ratelimit-limit", self.limit.to_string()),
            ("x-ratelimit-remain", (self.limit - counts.used).to_string()),
            ("x-ratelimit-reset", reset.to_string()),
            ("x-ratelimit-window", format!("{}s", self.window.as_secs())),
            ("date", date.unwrap_or_default().replace("+0000", "GMT")),
        ] {
            headers.extend(
                HeaderValue::from_str(&value)
                    .ok()
                    .map(|value| (http::HeaderName::from_static(name), value)),
            );
        }
        (headers, is_limited)
    }
}

fn limit(text: &str) -> Arc<Limit> {
    let resources: spec::Resources = serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{e}"));
    let (name, limit) = &resources.rate_limits.0[0];
    Arc::new(Limit::new(&name.value, limit))
}

/// Calls as fast as it may, for ever.
async fn work(quota: Quota, limit: Arc<Limit>, server: &Server, seed: u64) -> Result<()> {
    for nth in 0.. {
        let permit =
            quota.permit(&limit, "https://example.org", &format!("{seed} {nth}"), None).await?;
        let said = server.call(nth * 31 + seed).await;
        quota.settle(permit, Ended::Answered(said)).await?;
    }
    Ok(())
}

struct Measured {
    /// Calls that were accepted, of those that were allowed.
    share: f64,
    limited: u64,
}

/// Lets processes (which share nothing but the state file) call for hours; somebody else calls
/// every `other_every` seconds, without looking at any limit.
async fn measure(hours: u64, n_processes: u64, other_every: Option<f64>) -> Result<Measured> {
    let folder = tempfile::tempdir().map_err(|e| Error::io(std::path::Path::new("tmp"), e))?;
    let state = folder.path().join("state.db");
    let begin = Timestamp::from_millisecond(1_800_000_000_123).unwrap_or_default();
    let simulation = Simulation::begin(begin);
    let clock = Clock::simulated(simulation);
    let window = Duration::from_secs(300);
    let server = Server { clock, limit: 600, window, state: Mutex::default() };
    let ch = limit("rate_limits: { ch: { rates: [600/5m], follow_headers: true } }");
    let mut all: Vec<futures::future::LocalBoxFuture<'_, Result<()>>> = Vec::new();
    for process in 0..n_processes {
        let quota = Quota::open(Shared::open(&state, clock)?, &format!("p{process}")).await?;
        for worker in 0..4 {
            let (quota, ch) = (quota.clone(), Arc::clone(&ch));
            all.push(Box::pin(work(quota, ch, &server, process * 101 + worker)));
        }
    }
    let other = async {
        let Some(every) = other_every else { return std::future::pending().await };
        for nth in 0u64.. {
            // Now a little earlier, now a little later.
            let shaken = every * (0.5 + ((nth * 7919) % 1000) as f64 / 1000.0);
            clock.sleep(Duration::from_secs_f64(shaken)).await;
            server.call(nth).await;
        }
    };
    let end = after(begin, Duration::from_secs(hours * 3600));
    tokio::select! {
        failed = futures::future::try_join_all(all) => drop(failed?),
        () = other => {}
        () = clock.sleep_until(end) => {}
        never = simulation.drive() => match never {},
    }
    let counts = server.state.lock().expect("no panic");
    let allowed = hours * 3600 / 300 * 600;
    Ok(Measured { share: counts.accepted as f64 / allowed as f64, limited: counts.limited })
}

/// Simulated hours: few in every run of the tests, a day by hand.
fn hours() -> u64 {
    std::env::var("PIPELINE_QUOTA_HOURS").ok().and_then(|hours| hours.parse().ok()).unwrap_or(1)
}

/// Asserts that every call that is allowed is made, and not one more.
async fn check(n_processes: u64, other_every: Option<f64>) -> Result<()> {
    let Measured { share, limited } = measure(hours(), n_processes, other_every).await?;
    let others = if other_every.is_some() { " and another" } else { "" };
    let who = format!("{n_processes} processes{others}");
    eprintln!("{who}: {:.3} %, {limited} of 429", share * 100.0);
    assert_eq!(limited, 0, "{who}");
    assert!(share >= 0.995, "{who}: {share}");
    Ok(())
}

#[tokio::test]
async fn every_call_that_is_allowed_is_made_and_not_one_more() -> Result<()> {
    for n_processes in [1, 2, 4] {
        check(n_processes, None).await?;
    }
    Ok(())
}

#[tokio::test]
async fn others_with_the_same_key_are_left_their_part() -> Result<()> {
    for n_processes in [1, 4] {
        check(n_processes, Some(1.5)).await?;
    }
    Ok(())
}
