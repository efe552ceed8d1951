//! What a look-up left undone in a run, in words for its report.

use jiff::Timestamp;

use super::Stop;
use crate::clock::after;
use crate::engine::report::{grouped, words};
use crate::state::AskedKeys;
use crate::transforms::Enrichment;

/// Says why keys are pending and when they may all be answered; `None` when none is.
pub(super) fn note(
    asked: &AskedKeys,
    stop: Option<&Stop>,
    enrichment: &Enrichment,
    now: Timestamp,
) -> Option<String> {
    if asked.pending == 0 {
        return None;
    }
    let n = |n: usize| grouped(n as u64);
    let done = asked.keys - asked.pending;
    let mut note =
        format!("{} of {} keys answered, {} pending", n(done), n(asked.keys), n(asked.pending));
    match stop {
        Some(Stop::Time) => note.push_str(": the time of `stop_after` is over"),
        Some(Stop::Budget(name, again)) => {
            note.push_str(&format!(": the budget `{name}` is spent until {}", minute(*again)));
        }
        Some(Stop::Down(reason)) => {
            note.push_str(&format!(": the server does not answer ({reason})"));
        }
        None => note.push_str(": nothing was asked"),
    }
    let time = enrichment.limit.time_for(asked.pending as u64);
    let rest = match time.as_secs() {
        0 => "; the next run asks for the rest".to_owned(),
        _ => format!(
            "; the next runs ask for the rest, which takes {} at least (until {})",
            words(time),
            minute(after(now, time))
        ),
    };
    Some(note + &rest)
}

fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
