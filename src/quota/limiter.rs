//! Permits: who may call waits here until it may.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Notify;

use super::store::{self, Taken, Wanted};
use super::{Limit, Said, budget};
use crate::error::Result;
use crate::spec::Budget;
use crate::state::Shared;

/// The rate limits of a state file, for one pipeline.
#[derive(Clone, Debug)]
pub struct Quota {
    state: Shared,
    owner: Arc<str>,
    settled: Arc<Notify>,
}

/// The right to make one call. It must be settled when the call has ended; one that never is counts
/// as on its way for a while.
#[derive(Debug)]
pub struct Permit {
    call: i64,
    limit: Arc<Limit>,
}

/// The right to be the only one who asks something, between two calls for it.
#[derive(Debug)]
pub struct Claim(i64);

/// How a call ended.
#[derive(Clone, Debug)]
pub enum Ended {
    /// The server has answered, and said this of its limit.
    Answered(Said),
    /// The server has not seen it.
    NotSent,
    /// The server may have seen it.
    Unknown,
}

impl Quota {
    /// Opens the rate limits of a state file for a pipeline, and forgets calls that an earlier run
    /// of it left behind.
    pub async fn open(state: Shared, owner: &str) -> Result<Self> {
        let owner: Arc<str> = owner.into();
        let forgotten = Arc::clone(&owner);
        state.on_thread(move |connection, _| store::forget(connection, &forgotten)).await?;
        Ok(Self { state, owner, settled: Arc::default() })
    }

    /// Waits until a call to a server may go: the rate limit allows it, the server does not bar us,
    /// and nobody is asking the same (`asked`: look-up and key) just now.
    /// `claim` is that of an earlier call for the same.
    pub async fn permit(
        &self,
        limit: &Arc<Limit>,
        server: &str,
        asked: &str,
        claim: Option<&Claim>,
    ) -> Result<Permit> {
        let (server, asked) = (server.to_owned(), asked.to_owned());
        let claim = claim.map(|claim| claim.0);
        let wanted = Wanted { server, asked, owner: self.owner.to_string(), claim };
        loop {
            let (limited, wanted) = (Arc::clone(limit), wanted.clone());
            let taken = self.state.on_thread(move |connection, now| {
                store::take(connection, &limited, &wanted, now.as_millisecond())
            });
            match taken.await? {
                Taken::Permit(call) => return Ok(Permit { call, limit: Arc::clone(limit) }),
                Taken::Wait(until) => {
                    let until = Timestamp::from_millisecond(until).unwrap_or(Timestamp::MAX);
                    let clock = self.state.clock();
                    tokio::select! {
                        () = self.settled.notified() => {}
                        () = clock.sleep_until(until) => {}
                    }
                }
            }
        }
    }

    /// Ends the last call for something.
    pub async fn settle(&self, permit: Permit, ended: Ended) -> Result<()> {
        self.end(permit, ended, true).await.map(drop)
    }

    /// Ends a call that is followed by another one for the same: nobody else asks it in between.
    pub async fn settle_in_part(&self, permit: Permit, ended: Ended) -> Result<Claim> {
        self.end(permit, ended, false).await
    }

    async fn end(&self, permit: Permit, ended: Ended, is_last: bool) -> Result<Claim> {
        let call = permit.call;
        let settled = self.state.on_thread(move |connection, now| {
            let now = now.as_millisecond();
            store::settle(connection, &permit.limit, (call, is_last), &ended, now)
        });
        settled.await?;
        self.settled.notify_one();
        Ok(Claim(call))
    }

    /// Gives up something that was asked in part.
    pub async fn release(&self, claim: Claim) -> Result<()> {
        self.state.on_thread(move |connection, _| store::release(connection, claim.0)).await
    }

    /// Bars a server for everybody who shares the state file, until a moment.
    pub async fn pause(&self, server: &str, until: Timestamp, reason: &str) -> Result<()> {
        let (server, reason) = (server.to_owned(), reason.to_owned());
        self.state
            .on_thread(move |connection, _| {
                store::pause(connection, &server, until.as_millisecond(), &reason)
            })
            .await
    }

    /// Sets an amount of a budget aside; `Some` is the moment from which on there is something again
    /// when too little is left.
    pub async fn spend(
        &self,
        name: &str,
        budget: &Budget,
        amount: u64,
    ) -> Result<Option<Timestamp>> {
        let (name, budget) = (name.to_owned(), budget.clone());
        self.state
            .on_thread(move |connection, now| {
                budget::spend(connection, (&name, &budget), amount, now)
            })
            .await
    }
}
