//! When silence is odd: a feed that says nothing while offices are open has stalled, whatever its
//! connection looks like.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::Health;

/// Bank holidays of England and Wales, from gov.uk/bank-holidays. Later years have none here: then
/// an alarm may come on a holiday, which is better than none on a working day.
const HOLIDAYS: &[(i16, &[(i8, i8)])] = &[
    (2026, &[(1, 1), (4, 3), (4, 6), (5, 4), (5, 25), (8, 31), (12, 25), (12, 28)]),
    (2027, &[(1, 1), (3, 26), (3, 29), (5, 3), (5, 31), (8, 30), (12, 27), (12, 28)]),
    (2028, &[(1, 3), (4, 14), (4, 17), (5, 1), (5, 29), (8, 28), (12, 25), (12, 26)]),
];

/// The hours in which the register changes all the time, the second no more in them.
const HOURS: (i8, i8) = (9, 17);

/// Says whether offices in the United Kingdom are open.
pub fn is_business_time(now: Timestamp) -> bool {
    let Ok(zone) = TimeZone::get("Europe/London") else { return true };
    let local = now.to_zoned(zone);
    let is_weekend = matches!(local.weekday(), Weekday::Saturday | Weekday::Sunday);
    let of_year = HOLIDAYS.iter().find(|(year, _)| *year == local.year());
    let day = (local.month(), local.day());
    let is_holiday = of_year.is_some_and(|(_, days)| days.contains(&day));
    !is_weekend && !is_holiday && (HOURS.0..HOURS.1).contains(&local.hour())
}

/// Returns since when a feed has been silent, if that is odd: for longer than `patience`, all of it
/// in business time as far as its end goes.
pub fn stalled_since(health: &Health, patience: Duration, now: Timestamp) -> Option<Timestamp> {
    let since = health.last_event.unwrap_or(health.since);
    let is_silent = now.duration_since(since) >= jiff::SignedDuration::try_from(patience).ok()?;
    let began = now.checked_sub(patience).ok()?;
    (is_silent && is_business_time(now) && is_business_time(began)).then_some(since)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a test fails by panicking")]

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    #[test]
    fn offices_are_open_on_working_days_in_local_time() {
        for (moment, is_open) in [
            ("2026-11-02T09:00:00Z", true),
            ("2026-11-02T08:59:59Z", false),
            ("2026-11-02T17:00:00Z", false),
            ("2026-11-01T12:00:00Z", false),
            ("2026-12-28T12:00:00Z", false),
            // In summer London is an hour ahead.
            ("2026-07-01T08:00:00Z", true),
            ("2026-07-01T16:00:00Z", false),
            ("2031-12-25T12:00:00Z", true),
        ] {
            assert_eq!(is_business_time(at(moment)), is_open, "{moment}");
        }
    }

    #[test]
    fn silence_is_odd_when_it_should_not_be() {
        let mut health = Health::new(at("2026-11-02T06:00:00Z"));
        let stalled = |health: &Health, now: &str| {
            stalled_since(health, Duration::from_secs(900), at(now)).map(|at| at.to_string())
        };
        // The night does not count: the first quarter of an hour of the day has to pass.
        assert_eq!(stalled(&health, "2026-11-02T09:05:00Z"), None);
        let since = Some("2026-11-02T06:00:00Z".to_owned());
        assert_eq!(stalled(&health, "2026-11-02T09:15:00Z"), since);
        health.last_event = Some(at("2026-11-02T09:10:00Z"));
        assert_eq!(stalled(&health, "2026-11-02T09:24:59Z"), None);
        assert!(stalled(&health, "2026-11-02T09:25:00Z").is_some());
        assert_eq!(stalled(&health, "2026-11-02T20:00:00Z"), None);
    }
}
