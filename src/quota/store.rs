//! Windows, calls on their way and pauses as rows of the state file. Each function is one
//! transaction, so processes never see half of a decision.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::Limit;
use super::headers::Said;
use super::limiter::Ended;
use super::window::{Decision, InFlight, Left, Rate, Window};
use crate::error::Result;

/// Milliseconds after which a call that nobody ended is taken for lost: no call of ours lasts so
/// long.
const LOST: i64 = 90_000;

/// Milliseconds for which nobody else asks what somebody has asked in part: the next call may have to
/// wait for a window.
const CLAIMED: i64 = 15 * 60_000;

/// What came of asking for a permit.
pub(super) enum Taken {
    /// The call, by its id.
    Permit(i64),
    /// Not before this moment, unless an answer comes.
    Wait(i64),
}

/// A call that somebody wants to make.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The server.
    pub(super) server: String,
    /// What is asked.
    pub(super) asked: String,
    /// The pipeline that asks.
    pub(super) owner: String,
    /// An earlier call for the same that is not the last.
    pub(super) claim: Option<i64>,
}

/// Milliseconds until it is looked again whether somebody else's call for the same has ended.
const SAME: i64 = 50;

/// Takes a permit for one call, if it may go now.
pub(super) fn take(
    connection: &mut Connection,
    limit: &Limit,
    wanted: &Wanted,
    now: i64,
) -> Result<Taken> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let pause = "SELECT until FROM engine_pauses WHERE server = ?1 AND until > ?2";
    let paused: Option<i64> = tx
        .prepare_cached(pause)?
        .query_row(params![wanted.server, now], |row| row.get(0))
        .optional()?;
    if let Some(until) = paused {
        return Ok(Taken::Wait(until));
    }
    let same = "SELECT 1 FROM engine_calls WHERE asked = ?1 AND id IS NOT ?2
                  AND sent_at > CASE name WHEN '' THEN ?3 ELSE ?4 END LIMIT 1";
    let others = params![wanted.asked, wanted.claim, now - CLAIMED, now - LOST];
    if tx.prepare_cached(same)?.exists(others)? {
        return Ok(Taken::Wait(now + SAME));
    }
    let mut windows = Vec::new();
    let (mut wait, mut has_rolled) = (None, false);
    for rate in &limit.rates {
        let before = read(&tx, &limit.name, rate)?;
        let mut window = before.clone();
        let in_flight = in_flight(&tx, &limit.name, &window, now)?;
        if let Decision::Wait(until) = window.decide(rate, in_flight, now) {
            wait = wait.max(Some(until));
        }
        has_rolled |= window != before;
        windows.push(window);
    }
    if let (Some(until), false) = (wait, has_rolled) {
        return Ok(Taken::Wait(until));
    }
    if wait.is_none() {
        windows.iter_mut().for_each(|window| window.send(now));
    }
    for (rate, window) in limit.rates.iter().zip(&windows) {
        write(&tx, &limit.name, rate, window)?;
    }
    let taken = match wait {
        Some(until) => Taken::Wait(until),
        None => {
            let insert = "INSERT OR REPLACE INTO engine_calls (id, name, owner, asked, sent_at)
                          VALUES (?1, ?2, ?3, ?4, ?5)";
            let Wanted { owner, asked, claim, .. } = wanted;
            tx.prepare_cached(insert)?.execute(params![claim, limit.name, owner, asked, now])?;
            Taken::Permit(tx.last_insert_rowid())
        }
    };
    tx.commit()?;
    Ok(taken)
}

/// Ends a call. One that is not the last for what it asks stays as a claim to it.
pub(super) fn settle(
    connection: &mut Connection,
    limit: &Limit,
    (call, is_last): (i64, bool),
    ended: &Ended,
    now: i64,
) -> Result<()> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let sent_at: Option<i64> = tx
        .prepare_cached("SELECT sent_at FROM engine_calls WHERE id = ?1")?
        .query_row([call], |row| row.get(0))
        .optional()?;
    let end = match is_last {
        true => "DELETE FROM engine_calls WHERE id = ?1",
        false => "UPDATE engine_calls SET name = '' WHERE id = ?1",
    };
    tx.prepare_cached(end)?.execute([call])?;
    let Some(sent_at) = sent_at else { return Ok(()) };
    let told = match ended {
        Ended::Answered(said) => told(limit, said),
        Ended::NotSent | Ended::Unknown => None,
    };
    for (index, rate) in limit.rates.iter().enumerate() {
        let mut window = read(&tx, &limit.name, rate)?;
        let silent = Said::default();
        let said = match ended {
            Ended::NotSent => {
                if window.opened_at.is_some_and(|opened_at| sent_at >= opened_at) {
                    window.take_back();
                }
                write(&tx, &limit.name, rate, &window)?;
                continue;
            }
            Ended::Unknown => None,
            Ended::Answered(said) if told == Some(index) => Some(said),
            Ended::Answered(_) => Some(&silent),
        };
        window.settle(rate, said, sent_at, now);
        write(&tx, &limit.name, rate, &window)?;
    }
    tx.commit()?;
    Ok(())
}

/// Returns the rate that the headers of an answer speak of: the one with their window, or the
/// shortest.
fn told(limit: &Limit, said: &Said) -> Option<usize> {
    let rates = limit.rates.iter().enumerate();
    let same = rates.clone().find(|(_, rate)| Some(rate.length) == said.length);
    let shortest = rates.min_by_key(|(_, rate)| rate.length);
    same.or(shortest).map(|(index, _)| index)
}

/// Gives up what was asked in part.
pub(super) fn release(connection: &Connection, claim: i64) -> Result<()> {
    connection.execute("DELETE FROM engine_calls WHERE id = ?1", [claim])?;
    Ok(())
}

/// Bars a server until a moment.
pub(super) fn pause(connection: &Connection, server: &str, until: i64, reason: &str) -> Result<()> {
    connection.execute(
        "INSERT INTO engine_pauses (server, until, reason) VALUES (?1, ?2, ?3)
         ON CONFLICT (server) DO UPDATE SET until = max(until, excluded.until), reason = excluded.reason",
        params![server, until, reason],
    )?;
    Ok(())
}

/// Forgets the calls of a pipeline: a run of it begins, so no process makes them any more.
pub(super) fn forget(connection: &Connection, owner: &str) -> Result<()> {
    connection.execute("DELETE FROM engine_calls WHERE owner = ?1", [owner])?;
    Ok(())
}

fn in_flight(tx: &Transaction<'_>, name: &str, window: &Window, now: i64) -> Result<InFlight> {
    let sql = "SELECT count(*), count(*) FILTER (WHERE sent_at >= ?2) FROM engine_calls
               WHERE name = ?1 AND sent_at > ?3";
    let opened_at = window.opened_at.unwrap_or(i64::MAX);
    let mut statement = tx.prepare_cached(sql)?;
    let read = |row: &rusqlite::Row<'_>| Ok(InFlight { all: row.get(0)?, own: row.get(1)? });
    Ok(statement.query_row(params![name, opened_at, now - LOST], read)?)
}

fn read(tx: &Transaction<'_>, name: &str, rate: &Rate) -> Result<Window> {
    let sql = "SELECT opened_at, ends_at, sent, allowed, remain, said_at, others, others_before,
                      is_silent
               FROM engine_limits WHERE name = ?1 AND length = ?2";
    let window = tx.prepare_cached(sql)?.query_row(params![name, rate.length], |row| {
        let server: (Option<u64>, Option<u64>, Option<i64>) =
            (row.get(3)?, row.get(4)?, row.get(5)?);
        let server = match server {
            (Some(limit), Some(remain), Some(at)) => Some(Left { limit, remain, at }),
            _ => None,
        };
        Ok(Window {
            opened_at: row.get(0)?,
            ends_at: row.get(1)?,
            sent: row.get(2)?,
            server,
            others: row.get(6)?,
            others_before: row.get(7)?,
            is_silent: row.get(8)?,
        })
    });
    Ok(window.optional()?.unwrap_or_default())
}

fn write(tx: &Transaction<'_>, name: &str, rate: &Rate, window: &Window) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO engine_limits
                 (name, length, opened_at, ends_at, sent, allowed, remain, said_at, others,
                  others_before, is_silent)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let Window { opened_at, ends_at, sent, server, others, others_before, is_silent } = window;
    tx.prepare_cached(sql)?.execute(params![
        name,
        rate.length,
        opened_at,
        ends_at,
        sent,
        server.map(|left| left.limit),
        server.map(|left| left.remain),
        server.map(|left| left.at),
        others,
        others_before,
        is_silent
    ])?;
    Ok(())
}
