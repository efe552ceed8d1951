//! What pipelines share: how often an API may be called, and how much may be spent.

use std::time::Duration;

use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{Code, Diagnostic, Located, LocatedMap, Period, Share};

/// What pipelines share that have the same state file.
///
/// ```yaml
/// resources:
///   rate_limits:
///     companies_house: { rates: [600/5m], reserve: 10%, follow_headers: true }
///   budgets:
///     apollo_credits: { limit: 300, per: 1d, timezone: Europe/London }
/// ```
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// How often APIs may be called, by name.
    pub rate_limits: LocatedMap<RateLimit>,
    /// How much may be spent, by name.
    pub budgets: LocatedMap<Budget>,
}

/// How often an API may be called; what is over waits.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Calls in a time; all of them are kept.
    pub rates: Located<Vec<Rate>>,
    /// The share of calls that is left to others with the same key.
    pub reserve: Option<Share>,
    /// Whether what the server says of its limit overrides our own count.
    #[serde(default)]
    pub follow_headers: bool,
}

/// How much may be spent in a time; then the work ends, and the next run goes on.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The most that is spent.
    pub limit: Located<u64>,
    /// In which time.
    pub per: Period,
    /// The time zone in which a day begins; UTC otherwise.
    pub timezone: Option<Located<String>>,
}

/// Calls in a time, written `600/5m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The most calls.
    pub calls: u64,
    /// The time in which they may be made.
    pub window: Duration,
}

impl Rate {
    /// Reads `600/5m`; says what is wrong otherwise.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = || format!("`{text}` is not a rate; write one as `600/5m`");
        let (calls, window) = text.split_once('/').ok_or_else(fault)?;
        let calls: u64 = calls.trim().parse().map_err(|_| fault())?;
        let window = Period::parse(window.trim()).map_err(|_| fault())?.duration();
        match calls > 0 && !window.is_zero() {
            true => Ok(Self { calls, window }),
            false => Err(fault()),
        }
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Resources {
    /// Finds what is wrong with them.
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for (name, limit) in &self.rate_limits.0 {
            if limit.rates.value.is_empty() {
                let message = format!("the rate limit `{}` has no rates", name.value);
                let fault = Diagnostic::error(Code::BadValue, message, limit.rates.at);
                found.push(fault.help("write them as `rates: [600/5m]`"));
            }
        }
        for (_, budget) in &self.budgets.0 {
            let zone = budget.timezone.as_ref().filter(|zone| TimeZone::get(zone).is_err());
            if let Some(zone) = zone {
                let message = format!("no time zone `{}`", zone.value);
                let fault = Diagnostic::error(Code::BadValue, message, zone.at);
                found.push(fault.help("name one of the tz database: `Europe/London`"));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rates() {
        let rate = Rate { calls: 600, window: Duration::from_secs(300) };
        assert_eq!(Rate::parse("600/5m"), Ok(rate));
        for bad in ["600", "0/5m", "600/0s", "x/5m", "600/5", "-1/5m"] {
            assert!(Rate::parse(bad).is_err(), "{bad}");
        }
    }
}
