//! Calendar days as the sandbox needs them: counted, compared, moved by months, printed.
//!
//! The proleptic Gregorian calendar throughout, by the algorithms of Howard Hinnant
//! (<https://howardhinnant.github.io/date_algorithms.html>). No clock: the caller says the date.

/// A day, held as days since 1 January 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i32);

impl Date {
    /// Returns the day `year`-`month`-`day`, or nothing when the calendar has no such day.
    pub fn new(year: i32, month: u32, day: u32) -> Option<Self> {
        let in_range = (1..=9999).contains(&year) && (1..=12).contains(&month) && day >= 1;
        (in_range && day <= days_in_month(year, month)).then(|| Self::at(year, month, day))
    }

    /// Returns the day that is `days` after 1 January 1970.
    pub fn from_days(days: i32) -> Self {
        Self(days)
    }

    /// Returns the number of days since 1 January 1970.
    pub fn days(self) -> i32 {
        self.0
    }

    /// Returns year, month (1 to 12) and day of the month.
    pub fn parts(self) -> (i32, u32, u32) {
        let shifted = self.0 + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i32::from(month <= 2);
        (year, month.unsigned_abs(), day.unsigned_abs())
    }

    /// Returns the day `n` days later (earlier when negative).
    pub(super) fn plus_days(self, n: i32) -> Self {
        Self(self.0 + n)
    }

    /// Returns the same day of the month `n` months later, or that month's last day if shorter.
    pub(super) fn plus_months(self, n: i32) -> Self {
        let (_, _, day) = self.parts();
        let (year, month) = year_and_month(self.month_index() + n);
        Self::at(year, month, day.min(days_in_month(year, month)))
    }

    /// Returns months counted from year 0, so that two days can be told apart in whole months.
    pub(super) fn month_index(self) -> i32 {
        let (year, month, _) = self.parts();
        year * 12 + month.cast_signed() - 1
    }

    /// Returns the first day of the month at `index` (see [`Date::month_index`]).
    pub(super) fn month_start(index: i32) -> Self {
        let (year, month) = year_and_month(index);
        Self::at(year, month, 1)
    }

    /// Returns the last day of the month at `index`.
    pub(super) fn month_end(index: i32) -> Self {
        Self::month_start(index + 1).plus_days(-1)
    }

    fn at(year: i32, month: u32, day: u32) -> Self {
        let (month, day) = (month.cast_signed(), day.cast_signed());
        let year = year - i32::from(month <= 2);
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let of_era_days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        Self(era * 146_097 + of_era_days - 719_468)
    }
}

fn year_and_month(index: i32) -> (i32, u32) {
    (index.div_euclid(12), index.rem_euclid(12).unsigned_abs() + 1)
}

fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}
