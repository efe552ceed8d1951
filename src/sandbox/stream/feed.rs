//! The feeds, and when which of their events is published.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// One of the streams, by what its events are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feed {
    /// Profiles of companies.
    Companies,
    /// Appointments of officers.
    Officers,
    /// Filings.
    Filings,
    /// Charges; nothing happens there.
    Charges,
    /// Cases of insolvency; nothing happens there.
    Insolvency,
    /// Persons with significant control; nothing happens there.
    Control,
    /// Statements about them; nothing happens there.
    ControlStatements,
    /// Disqualified officers; nothing happens there.
    Disqualified,
    /// Exemptions; nothing happens there.
    Exemptions,
}

impl Feed {
    /// All of them, with the names they have in paths.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Companies, "companies"),
        (Self::Officers, "officers"),
        (Self::Filings, "filings"),
        (Self::Charges, "charges"),
        (Self::Insolvency, "insolvency-cases"),
        (Self::Control, "persons-with-significant-control"),
        (Self::ControlStatements, "persons-with-significant-control-statements"),
        (Self::Disqualified, "disqualified-officers"),
        (Self::Exemptions, "company-exemptions"),
    ];

    /// Returns the feed of a path.
    pub fn of(path: &str) -> Option<Self> {
        Self::named(path.strip_prefix('/')?)
    }

    /// Returns the feed of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(feed, _)| *feed)
    }

    /// Returns the name it has in paths.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(feed, _)| *feed == self).map_or("", |(_, name)| *name)
    }

    /// Returns the timepoint of the feed's first event here. Each feed counts for itself, and the
    /// real ones are far from their first.
    pub fn first_timepoint(self) -> u64 {
        match self {
            Self::Companies => 90_750_001,
            Self::Officers => 24_300_001,
            Self::Filings => 190_120_001,
            _ => 1_000_001,
        }
    }

    /// Says whether anything ever happens on the feed.
    pub(super) fn is_alive(self) -> bool {
        matches!(self, Self::Companies | Self::Officers | Self::Filings)
    }
}

/// So many events in a time; 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many events.
    pub events: u32,
    /// In what time.
    pub per: Duration,
}

/// When the events of a feed are published: one after the other, evenly; those of the backlog
/// before the start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub start: Timestamp,
    pub rate: Rate,
    pub backlog: u64,
}

impl Schedule {
    /// Returns how many events are published at `now`.
    pub(super) fn count(&self, now: Timestamp) -> u64 {
        let past = now.duration_since(self.start).as_nanos().max(0);
        let per = self.rate.per.as_nanos().max(1);
        let n = past.unsigned_abs().saturating_mul(u128::from(self.rate.events)) / per;
        self.backlog.saturating_add(u64::try_from(n).unwrap_or(u64::MAX))
    }

    /// Returns the moment at which the `n`-th event, counted from 0, is published.
    pub(super) fn time(&self, n: u64) -> Timestamp {
        let steps = i128::from(n) + 1 - i128::from(self.backlog);
        if self.rate.events == 0 {
            return if steps > 0 { Timestamp::MAX } else { self.start };
        }
        let per = i128::try_from(self.rate.per.as_nanos()).unwrap_or(i128::MAX);
        let events = i128::from(self.rate.events);
        // Rounded up, so that at this moment the count has reached it.
        let nanos = -(-steps.saturating_mul(per)).div_euclid(events);
        let offset = SignedDuration::try_from_nanos_i128(nanos);
        let far = if steps > 0 { Timestamp::MAX } else { Timestamp::MIN };
        offset.and_then(|offset| self.start.checked_add(offset).ok()).unwrap_or(far)
    }

    /// Returns the time between two events; a day where there are none.
    pub(super) fn interval(&self) -> Duration {
        let day = Duration::from_secs(86_400);
        self.rate.per.checked_div(self.rate.events).unwrap_or(day)
    }
}
