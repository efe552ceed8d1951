//! When a pipeline runs by itself.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Code, Diagnostic, Located, Period};

/// When a pipeline runs by itself: at moments (`cron`), again and again (`every`), or all the time
/// (`always`).
///
/// ```yaml
/// schedule:
///   cron: "30 7 * * mon-fri"
///   timezone: Europe/London
///   holidays: england-and-wales
///   overlap: skip
///   missed: run_once
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Moments as cron writes them: minute, hour, day, month, day of the week.
    pub cron: Option<Located<String>>,
    /// The time from the start of one run to the start of the next.
    pub every: Option<Located<Period>>,
    /// Whether one run follows the other at once, as streams need.
    pub always: Option<Located<bool>>,
    /// The hours in which it runs, as `["08:00", "18:00"]`; the second is no more in it.
    pub between: Option<Located<Vec<Located<String>>>>,
    /// The days on which it runs: `mon-fri`, `mon,thu`.
    pub days: Option<Located<String>>,
    /// The time zone of hours and days, as `Europe/London`; UTC otherwise.
    pub timezone: Option<Located<String>>,
    /// Whose bank holidays it does not run on.
    pub holidays: Option<Holidays>,
    /// What happens when the time comes and the last run has not ended.
    #[serde(default)]
    pub overlap: Overlap,
    /// What happens with moments at which nothing was there to run it.
    #[serde(default)]
    pub missed: Missed,
}

/// Whose bank holidays are kept.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Holidays {
    /// Those of England and Wales.
    EnglandAndWales,
    /// Those of Scotland.
    Scotland,
    /// Those of Northern Ireland.
    NorthernIreland,
}

/// What happens when the time comes and the last run has not ended.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// That moment is left out.
    #[default]
    Skip,
    /// The next run begins when the last one ends.
    Queue,
}

/// What happens with moments at which nothing was there to run it.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// One run makes up for all of them.
    #[default]
    RunOnce,
    /// One run for each of them.
    RunEach,
    /// Nothing.
    Ignore,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Schedule {
    /// Finds what is wrong with it.
    pub fn check(&self, at: super::Mark) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let mut wrong = |message: String, at, help: &str| {
            found.push(Diagnostic::error(Code::BadValue, message, at).help(help));
        };
        let whens = [
            self.cron.as_ref().map(|cron| cron.at),
            self.every.as_ref().map(|every| every.at),
            self.always.as_ref().map(|always| always.at),
        ];
        let given: Vec<_> = whens.into_iter().flatten().collect();
        if given.len() != 1 {
            let at = given.last().copied().unwrap_or(at);
            let message = "a schedule has one of `cron`, `every`, `always`".to_owned();
            wrong(message, at, "say `cron: \"30 7 * * mon-fri\"`, `every: 1h`, or `always: true`");
        }
        if let Some(cron) = &self.cron
            && let Err(error) = croner::parser::CronParser::builder()
                .seconds(croner::parser::Seconds::Disallowed)
                .build()
                .parse(cron)
        {
            let message = format!("`{}` is not a cron expression: {error}", cron.value);
            wrong(
                message,
                cron.at,
                "minute, hour, day, month, day of the week: `30 7 * * mon-fri`",
            );
        }
        if let Some(zone) = self.timezone.as_ref().filter(|zone| TimeZone::get(zone).is_err()) {
            let message = format!("no time zone `{}`", zone.value);
            wrong(message, zone.at, "name one of the tz database: `Europe/London`");
        }
        if let Some(between) = &self.between {
            let times: Vec<_> = between.value.iter().map(|text| text.parse::<Time>()).collect();
            if !matches!(times.as_slice(), [Ok(from), Ok(to)] if from < to) {
                let message = "`between` takes two times, the earlier first".to_owned();
                wrong(message, between.at, "write it as `between: [\"08:00\", \"18:00\"]`");
            }
        }
        if let Some(days) = self.days.as_ref().filter(|days| days_in(days).is_none()) {
            let message = format!("`{}` are no days", days.value);
            wrong(message, days.at, "write them as `mon-fri` or `mon,thu`");
        }
        found
    }
}

/// Reads `mon-fri` or `mon,thu`; the days count from Monday as 0.
fn days_in(text: &str) -> Option<Vec<usize>> {
    let day = |word: &str| DAYS.iter().position(|day| *day == word.trim().to_lowercase());
    let mut days = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (day(first)?, day(last)?);
                days.extend((0..7).map(|n| (first + n) % 7).take((last + 7 - first) % 7 + 1));
            }
            None => days.push(day(part)?),
        }
    }
    Some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_days() {
        assert_eq!(days_in("mon-wed"), Some(vec![0, 1, 2]));
        assert_eq!(days_in("sat-mon, Thu"), Some(vec![5, 6, 0, 3]));
        assert_eq!(days_in("mon-"), None);
        assert_eq!(days_in("moon"), None);
    }
}
