//! Named places where a test can make a run die, fail or panic; nothing in a release build.
//!
//! `PIPELINE_FAILPOINT=name:nth:action` arms one point: at its nth passing the process is killed
//! (`kill`, as by `kill -9`), the call fails (`error`) or the thread panics (`panic`). The points
//! are compiled in with debug assertions or with the feature `failpoints`.

use crate::error::Result;

/// Every point, in the order in which a run passes them. The crash test walks this list.
pub const POINTS: &[&str] = &[
    "run.recorded",
    "source.batch",
    "land.written",
    "stage.announced",
    "stage.parquet.batch",
    "stage.parquet.closed",
    "stage.csv.closed",
    "stage.table.batch",
    "stage.table.closed",
    "stage.synced",
    "commit.begun",
    "commit.merged",
    "commit.recorded",
    "commit.done",
    "publish.begun",
    "publish.replaced",
    "publish.dir_synced",
    "publish.table_merged",
    "publish.item_done",
    "publish.swept",
];

/// The points that each call of a look-up passes.
pub const CALL_POINTS: &[&str] = &["enrich.sending", "enrich.answered", "enrich.kept"];

/// Passes a point: does nothing unless a test armed it.
#[cfg(not(any(debug_assertions, feature = "failpoints")))]
#[inline(always)]
pub fn pass(_point: &'static str) -> Result<()> {
    Ok(())
}

/// Passes a point: does nothing unless a test armed it.
#[cfg(any(debug_assertions, feature = "failpoints"))]
pub fn pass(point: &'static str) -> Result<()> {
    let is_known = POINTS.contains(&point) || CALL_POINTS.contains(&point);
    debug_assert!(is_known, "`{point}` is not in failpoint::POINTS");
    armed::pass(point)
}

#[cfg(any(debug_assertions, feature = "failpoints"))]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use crate::error::{Error, Result};

    struct Armed {
        point: String,
        nth: u64,
        action: String,
        passed: AtomicU64,
    }

    fn armed() -> Option<&'static Armed> {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        ARMED
            .get_or_init(|| {
                let text = std::env::var("PIPELINE_FAILPOINT").ok()?;
                let mut parts = text.split(':');
                Some(Armed {
                    point: parts.next()?.to_owned(),
                    nth: parts.next()?.parse().ok()?,
                    action: parts.next()?.to_owned(),
                    passed: AtomicU64::new(0),
                })
            })
            .as_ref()
    }

    #[expect(clippy::panic, reason = "a test asked for it")]
    pub(super) fn pass(point: &'static str) -> Result<()> {
        let Some(armed) = armed().filter(|armed| armed.point == point) else { return Ok(()) };
        if armed.passed.fetch_add(1, Ordering::SeqCst) + 1 != armed.nth {
            return Ok(());
        }
        match armed.action.as_str() {
            "panic" => panic!("fail point `{point}`"),
            "error" => Err(Error::external(format!("fail point `{point}`"))),
            // Nothing is flushed, no destructor runs: what `kill -9` leaves.
            _ => {
                kill();
                Err(Error::internal("a kill was survived"))
            }
        }
    }

    /// Ends the process at once with SIGKILL, from outside, so that nothing of ours runs after.
    fn kill() {
        let pid = std::process::id().to_string();
        let killed = std::process::Command::new("kill").args(["-9", &pid]).status();
        if killed.is_err() {
            std::process::abort();
        }
        std::thread::park();
    }
}
