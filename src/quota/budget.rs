//! Budgets: amounts that end the work of a day or another time.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::error::Result;
use crate::spec::Budget;

/// The time of a budget in which a moment lies: its beginning and its end. A day begins at midnight
/// in the budget's time zone; other times follow each other from 1970 on.
fn time_of(budget: &Budget, at: Timestamp) -> (Timestamp, Timestamp) {
    const DAY: i64 = 86_400_000;
    let length = i64::try_from(budget.per.duration().as_millis()).unwrap_or(i64::MAX / 4).max(1);
    if length == DAY {
        let zone = budget.timezone.as_ref().and_then(|name| TimeZone::get(name).ok());
        let now = at.to_zoned(zone.unwrap_or(TimeZone::UTC));
        let next = now.start_of_day().ok().and_then(|start| {
            let end = start.checked_add(Span::new().days(1)).ok()?;
            Some((start.timestamp(), end.timestamp()))
        });
        if let Some(day) = next {
            return day;
        }
    }
    let begins = at.as_millisecond().div_euclid(length) * length;
    let moment = |ms| Timestamp::from_millisecond(ms).unwrap_or(at);
    (moment(begins), moment(begins.saturating_add(length)))
}

/// Sets an amount aside; `Some` is the moment from which on there is something again when too little
/// is left.
pub(super) fn spend(
    connection: &mut Connection,
    (name, budget): (&str, &Budget),
    amount: u64,
    now: Timestamp,
) -> Result<Option<Timestamp>> {
    let (begins, ends) = time_of(budget, now);
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let sql = "SELECT spent FROM engine_budgets WHERE name = ?1 AND begins_at = ?2";
    let row = params![name, begins.as_millisecond()];
    let spent: u64 = tx.query_row(sql, row, |row| row.get(0)).optional()?.unwrap_or(0);
    if spent + amount > budget.limit.value {
        return Ok(Some(ends));
    }
    tx.execute(
        "INSERT INTO engine_budgets (name, begins_at, spent) VALUES (?1, ?2, ?3)
         ON CONFLICT (name, begins_at) DO UPDATE SET spent = spent + excluded.spent",
        params![name, begins.as_millisecond(), amount],
    )?;
    tx.commit()?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::state::State;

    fn budget(text: &str) -> Budget {
        serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_day_begins_at_midnight_where_the_budget_is() -> std::result::Result<(), jiff::Error> {
        let london = budget("{ limit: 3, per: 1d, timezone: Europe/London }");
        // The clocks go back on this day: it has 25 hours.
        let (begins, ends) = time_of(&london, "2026-10-25T12:00:00Z".parse()?);
        assert_eq!(begins.to_string(), "2026-10-24T23:00:00Z");
        assert_eq!(ends.to_string(), "2026-10-26T00:00:00Z");
        Ok(())
    }

    #[test]
    fn what_is_spent_is_spent_until_the_time_is_over() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::io(std::path::Path::new("tmp"), e))?;
        let mut state = State::open(&folder.path().join("state.db"))?;
        let hourly = budget("{ limit: 3, per: 1h }");
        let now = Timestamp::from_second(1000).unwrap_or_default();
        let mut spend = |amount, now| spend(state.connection(), ("b", &hourly), amount, now);
        assert_eq!(spend(2, now)?, None);
        let next = Timestamp::from_second(3600).unwrap_or_default();
        assert_eq!(spend(2, now)?, Some(next));
        assert_eq!(spend(1, now)?, None);
        assert_eq!(spend(3, next)?, None);
        Ok(())
    }
}
