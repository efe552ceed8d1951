//! Who works on how many cores. A thread that keeps one busy for long says so, and work that is
//! spread over all cores leaves it alone: what everything else waits for must not wait itself.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cores that are kept busy.
static OCCUPIED: AtomicUsize = AtomicUsize::new(0);

/// A core that is kept busy until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Occupied(());

/// Says that this thread keeps a core busy.
pub fn occupy() -> Occupied {
    OCCUPIED.fetch_add(1, Ordering::Relaxed);
    Occupied(())
}

impl Drop for Occupied {
    fn drop(&mut self) {
        OCCUPIED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns how many cores work may be spread over, one at least.
pub fn free() -> usize {
    let all = std::thread::available_parallelism().map_or(1, NonZero::get);
    all.saturating_sub(OCCUPIED.load(Ordering::Relaxed)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_core_is_left_in_any_case() {
        let held: Vec<Occupied> = (0..10_000).map(|_| occupy()).collect();
        assert_eq!(free(), 1);
        drop(held);
        assert!(OCCUPIED.load(Ordering::Relaxed) < 10_000);
    }
}
