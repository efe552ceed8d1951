//! What the look-ups of a run have at hand: the ledger, and somebody to ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::breaker::Breaker;
use crate::clock::Clock;
use crate::engine::answers::Answers;
use crate::net::{Luck, Transport};
use crate::quota::Quota;
use crate::state::Ledger;

/// What the look-ups of a run have at hand.
pub(in crate::engine) struct Means {
    /// What was answered before; none where nothing was ever asked.
    pub(super) ledger: Option<Ledger>,
    pub(super) asked: Asked,
    pub(super) clock: Clock,
    /// The run.
    pub(super) run_id: String,
    /// When it began.
    pub(super) started_at: Timestamp,
    breakers: Mutex<BTreeMap<String, Arc<Breaker>>>,
    luck: Mutex<Luck>,
}

/// Whom look-ups ask.
pub(in crate::engine) enum Asked {
    /// The API.
    Api {
        /// How often.
        quota: Quota,
        /// By what way.
        transport: Arc<dyn Transport>,
    },
    /// Nobody: keys that are not in the ledger are pending.
    Nobody,
    /// A test.
    StandIn(Arc<Answers>),
}

impl Means {
    pub(in crate::engine) fn new(
        ledger: Option<Ledger>,
        asked: Asked,
        clock: Clock,
        started_at: Timestamp,
        run_id: &str,
    ) -> Self {
        // Another sequence in each run; the same in runs of one id.
        let seed = run_id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let (breakers, luck) = (Mutex::default(), Mutex::new(Luck::new(seed)));
        let run_id = run_id.to_owned();
        Self { ledger, asked, clock, run_id, started_at, breakers, luck }
    }

    /// Returns what was answered before; `None` where nothing was ever asked.
    pub(in crate::engine) fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    /// Says whether look-ups only look at what was answered before.
    pub(super) fn asks_nobody(&self) -> bool {
        matches!(self.asked, Asked::Nobody)
    }

    /// Returns the breaker of a server.
    pub(super) fn breaker(&self, server: &str) -> Arc<Breaker> {
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        let breaker = breakers.entry(server.to_owned());
        Arc::clone(breaker.or_insert_with(|| Arc::new(Breaker::new(self.clock))))
    }

    /// Returns a number from 0 to 1, another each time.
    pub(super) fn random(&self) -> f64 {
        self.luck.lock().unwrap_or_else(PoisonError::into_inner).draw()
    }
}
