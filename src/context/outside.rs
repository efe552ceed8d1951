//! What a source has of the world while it reads: the network, the time, and the feeds that stay
//! open from batch to batch.

use std::sync::Arc;

use crate::clock::Clock;
use crate::error::Result;
use crate::feeds::Feeds;
use crate::net::{Bounds, Client, Transport};

/// The world, as far as one source may reach it.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// Id of the source.
    pub node: String,
    /// What sends requests, if it is not the network itself.
    pub transport: Option<Arc<dyn Transport>>,
    /// What time it is.
    pub clock: Clock,
    /// Feeds that are open.
    pub feeds: Feeds,
}

impl Outside {
    /// Returns what sends requests, within bounds.
    pub fn network(&self, bounds: Bounds) -> Result<Arc<dyn Transport>> {
        match &self.transport {
            Some(transport) => Ok(Arc::clone(transport)),
            None => Ok(Arc::new(Client::new(bounds)?)),
        }
    }
}
