//! Asks about one key until there is an answer, or none can be had.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use super::breaker::Breaker;
use super::keys::{Wanted, read_key};
use super::means::{Asked, Means};
use crate::clock::after;
use crate::engine::land::Tally;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::lookups::{Key, Verdict};
use crate::net::{Failure, Request, Response, Stage, Transport};
use crate::quota::{Claim, Ended, Quota, Said};
use crate::spec::Row;
use crate::state::Answer;
use crate::transforms::Enrichment;

/// How long a server is left alone that bars the address and does not say how long.
const BARRED: Duration = Duration::from_secs(300);
/// How often a key is refused by a rate limit, or barred, before it is given up.
const MOST_REFUSALS: u32 = 10;

/// What came of asking about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There is an answer, and it is in the ledger.
    Answered,
    /// There is none to be had.
    Failed(Failed),
    /// It was not asked to the end.
    Pending,
}

/// Why a key got no answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Failed {
    /// In words, without secrets.
    pub(super) reason: String,
    /// The status of the last response.
    pub(super) status: Option<u16>,
    /// Calls that were made.
    pub(super) attempts: u32,
}

/// Why no more keys are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// `stop_after` is over.
    Time,
    /// A budget is spent until a moment.
    Budget(String, Timestamp),
    /// The server does not answer.
    Down(String),
}

/// Asks for one node in one run.
pub(super) struct Caller<'a> {
    pub(super) enrichment: &'a Enrichment,
    pub(super) means: &'a Means,
    pub(super) tally: &'a Tally,
    /// The hash of the look-up in the ledger.
    pub(super) lookup: &'a str,
    pub(super) node: &'a str,
    /// Of the server that it asks.
    pub(super) breaker: Arc<Breaker>,
    pub(super) deadline: Option<Timestamp>,
    pub(super) since: Timestamp,
    /// Set once.
    pub(super) stop: OnceLock<Stop>,
    /// Told when it is set.
    pub(super) stopped: Notify,
}

/// A key that is being asked about.
#[derive(Default)]
struct Asking {
    rows: Vec<Row>,
    calls: u64,
    /// Calls for the present request that failed.
    attempts: u32,
    refusals: u32,
    status: Option<u16>,
}

/// What to do after a call.
enum Next {
    Done(Outcome),
    Again,
    Wait,
}

impl Caller<'_> {
    /// Asks about a key; an answer is in the ledger when this returns. Errors end the run.
    pub(super) async fn ask(&self, wanted: Wanted) -> Result<(Wanted, Outcome)> {
        let key = &wanted.key;
        let outcome = match &self.means.asked {
            Asked::Api { quota, transport } => {
                self.ask_api(&wanted, quota, transport.as_ref()).await?
            }
            Asked::StandIn(answers) => {
                let asked = answers.ask(self.node, self.enrichment, &read_key(key))?;
                self.tally.call(asked.calls);
                match asked.answer {
                    Ok(answer) => self.answered(key, answer).await?,
                    Err((reason, status)) => {
                        let attempts = u32::try_from(asked.calls).unwrap_or(u32::MAX);
                        Outcome::Failed(Failed { reason, status, attempts })
                    }
                }
            }
            Asked::Nobody => Outcome::Pending,
        };
        Ok((wanted, outcome))
    }

    async fn ask_api(
        &self,
        wanted: &Wanted,
        quota: &Quota,
        transport: &dyn Transport,
    ) -> Result<Outcome> {
        let text = wanted.key.as_str();
        let lookup = &self.enrichment.lookup;
        let key = read_key(text);
        let mut request = lookup.ask(&key);
        let mut asking = Asking::default();
        let asked = format!("{} {text}", self.lookup);
        let mut claim: Option<Claim> = None;
        loop {
            let way = async {
                self.breaker.pass().await;
                quota.permit(&self.enrichment.limit, lookup.server(), &asked, claim.as_ref()).await
            };
            let Some(permit) = self.before_deadline(way).await else {
                return self.give_back(quota, claim).await;
            };
            let permit = permit?;
            // Somebody else may have asked in the meantime.
            if asking.calls == 0 && self.is_known(wanted).await? {
                quota.settle(permit, Ended::NotSent).await?;
                return Ok(Outcome::Answered);
            }
            if !self.spend(quota).await? {
                quota.settle(permit, Ended::NotSent).await?;
                return Ok(Outcome::Pending);
            }
            let sent = transport.send(request.clone());
            let (ended, next) =
                self.call((text, &key), sent, &mut request, &mut asking, quota).await?;
            if let Next::Done(outcome) = next {
                quota.settle(permit, ended).await?;
                return Ok(outcome);
            }
            claim = Some(quota.settle_in_part(permit, ended).await?);
            if let Next::Wait = next {
                let wait = self.means.clock.sleep(self.wait(asking.attempts));
                if self.before_deadline(wait).await.is_none() {
                    return self.give_back(quota, claim).await;
                }
            }
        }
    }

    /// Makes one call, and does what comes of it.
    async fn call(
        &self,
        (text, key): (&str, &Key),
        sent: impl Future<Output = Result<Response, Failure>>,
        request: &mut Request,
        asking: &mut Asking,
        quota: &Quota,
    ) -> Result<(Ended, Next)> {
        let lookup = &self.enrichment.lookup;
        failpoint::pass("enrich.sending")?;
        let sent = sent.await;
        failpoint::pass("enrich.answered")?;
        self.tally.call(1);
        let response = match sent {
            Ok(response) => response,
            Err(failure) => {
                let ended = match failure.stage {
                    Stage::Connect => Ended::NotSent,
                    Stage::Head | Stage::Body => Ended::Unknown,
                };
                asking.status = None;
                return Ok((ended, self.failed(asking, failure.to_string())));
            }
        };
        asking.calls += 1;
        asking.status = Some(response.status().as_u16());
        let verdict = lookup.read(key, request, &response, &mut asking.rows);
        let now = self.means.clock.now();
        let is_limited = matches!(verdict, Verdict::Limited(_));
        let said = Said::read(response.headers(), is_limited, now);
        if !matches!(verdict, Verdict::Passing(_)) {
            self.breaker.succeeded();
        }
        if let Verdict::Barred(reason) = &verdict {
            let told = said.resets_in.map(|ms| Duration::from_millis(ms.unsigned_abs()));
            let until = after(now, told.unwrap_or(BARRED));
            quota.pause(lookup.server(), until, reason).await?;
        }
        let next = self.judge(text, verdict, asking, request).await?;
        Ok((Ended::Answered(said), next))
    }

    /// Leaves a key that is not asked to the end to whoever asks it next.
    async fn give_back(&self, quota: &Quota, claim: Option<Claim>) -> Result<Outcome> {
        if let Some(claim) = claim {
            quota.release(claim).await?;
        }
        Ok(Outcome::Pending)
    }

    /// Does what a response says.
    async fn judge(
        &self,
        text: &str,
        verdict: Verdict,
        asking: &mut Asking,
        request: &mut Request,
    ) -> Result<Next> {
        let done = |missing: Option<&str>, asking: &mut Asking| Answer {
            missing: missing.map(str::to_owned),
            rows: std::mem::take(&mut asking.rows),
            calls: asking.calls,
        };
        Ok(match verdict {
            Verdict::Answer => Next::Done(self.answered(text, done(None, asking)).await?),
            Verdict::Missing(word) => {
                asking.rows.clear();
                Next::Done(self.answered(text, done(Some(word), asking)).await?)
            }
            Verdict::Next(next) => {
                *request = *next;
                asking.attempts = 0;
                Next::Again
            }
            Verdict::Limited(reason) | Verdict::Barred(reason) => {
                asking.refusals += 1;
                match asking.refusals > MOST_REFUSALS {
                    true => Next::Done(asking.give_up(reason)),
                    false => Next::Again,
                }
            }
            Verdict::Passing(reason) => self.failed(asking, reason),
            Verdict::Refused(reason) => {
                asking.attempts += 1;
                Next::Done(asking.give_up(reason))
            }
            Verdict::Unauthorized(reason) => {
                let message = format!("`{}` refuses the key", self.enrichment.lookup.server());
                return Err(Error::external(message).because(reason));
            }
        })
    }

    /// Notes a failure that may pass.
    fn failed(&self, asking: &mut Asking, reason: String) -> Next {
        asking.attempts += 1;
        let down_for = self.breaker.failed(self.means.random());
        if down_for > self.enrichment.retry.up_to.duration() {
            self.stop_for(Stop::Down(reason.clone()));
        }
        match asking.attempts >= self.enrichment.retry.attempts.value.max(1) {
            true => Next::Done(asking.give_up(reason)),
            false => Next::Wait,
        }
    }

    /// Writes an answer down.
    async fn answered(&self, key: &str, answer: Answer) -> Result<Outcome> {
        if let Some(ledger) = &self.means.ledger {
            ledger.put(self.lookup, key.to_owned(), answer).await?;
            failpoint::pass("enrich.kept")?;
        }
        Ok(Outcome::Answered)
    }

    async fn is_known(&self, wanted: &Wanted) -> Result<bool> {
        let Some(ledger) = &self.means.ledger else { return Ok(false) };
        let known = ledger.known(self.lookup, vec![wanted.key.clone()], self.since).await?;
        Ok(wanted.is_met(known.first().map(|(_, at)| *at)))
    }

    /// Sets aside what a call costs; `false` when a budget is spent.
    async fn spend(&self, quota: &Quota) -> Result<bool> {
        for (name, budget, cost) in &self.enrichment.budgets {
            if let Some(again) = quota.spend(name, budget, *cost).await? {
                self.stop_for(Stop::Budget(name.value.clone(), again));
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns a random part of a wait that doubles with each attempt.
    fn wait(&self, attempts: u32) -> Duration {
        let retry = &self.enrichment.retry;
        let doubled = retry.wait.duration().saturating_mul(1 << attempts.saturating_sub(1).min(20));
        doubled.min(retry.up_to.duration()).mul_f64(self.means.random())
    }

    /// Asks about no more keys; those that wait are pending.
    fn stop_for(&self, why: Stop) {
        // The first reason counts.
        let _ = self.stop.set(why);
        self.stopped.notify_waiters();
    }

    /// Waits for something until no more keys are asked; `None` then.
    async fn before_deadline<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let stopped = self.stopped.notified();
        tokio::pin!(stopped);
        stopped.as_mut().enable();
        if self.stop.get().is_some() {
            return None;
        }
        let deadline = async {
            match self.deadline {
                Some(deadline) => self.means.clock.sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = stopped => None,
            () = deadline => {
                self.stop_for(Stop::Time);
                None
            }
        }
    }
}

impl Asking {
    fn give_up(&self, reason: String) -> Outcome {
        let attempts = self.attempts + self.refusals;
        Outcome::Failed(Failed { reason, status: self.status, attempts })
    }
}
