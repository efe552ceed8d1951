//! Amounts that carry their unit in the value: `5%`, `30s`.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// A part of a whole, written `5%`, `0.01%` or `0%`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(f64);

impl Share {
    /// Reads `5%`; says what is wrong otherwise.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = || format!("`{text}` is not a share; write one as `5%`");
        let percent = text.trim().strip_suffix('%').ok_or_else(fault)?;
        match percent.trim().parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Self(percent / 100.0)),
            Ok(_) => Err(format!("`{text}` is not a share: one is from 0% to 100%")),
            Err(_) => Err(fault()),
        }
    }

    /// Returns the part of one.
    pub fn of_one(self) -> f64 {
        self.0
    }

    /// Says whether `part` of `whole` is more than this share. Of nothing, nothing is too much.
    pub fn is_exceeded(self, part: u64, whole: u64) -> bool {
        whole > 0 && part as f64 > self.0 * whole as f64
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Rounded to ten places, so that 0.07 * 100 prints as 7.
        write!(f, "{}%", (self.0 * 1e12).round() / 1e10)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A length of time, written `500ms`, `30s`, `5m`, `3h` or `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

impl Period {
    /// Reads `5m`; says what is wrong otherwise.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = || format!("`{text}` is not a period; write one as `30s`, `5m`, `3h` or `30d`");
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let number: u64 = number.parse().map_err(|_| fault())?;
        let milliseconds = match unit.trim() {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(fault()),
        };
        let period = number.checked_mul(milliseconds).filter(|ms| *ms <= 100 * 366 * 86_400_000);
        period
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(|| format!("`{text}` is longer than a hundred years"))
    }

    /// Makes a period of a length.
    pub const fn of(length: Duration) -> Self {
        Self(length)
    }

    /// Makes a period of seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Returns it.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const UNITS: [(u128, &str); 4] =
            [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
        let ms = self.0.as_millis();
        let whole = UNITS.iter().find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
        let (unit, name) = whole.copied().unwrap_or((1, "ms"));
        write!(f, "{}{name}", ms / unit)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_periods() {
        let ms = |text| Period::parse(text).map(|period| period.duration().as_millis());
        assert_eq!((ms("5m"), ms("500ms"), ms("30 d")), (Ok(300_000), Ok(500), Ok(2_592_000_000)));
        for bad in ["5", "m", "-5m", "5 weeks", "1.5h", "99999999999999999999s", "40000d", "é"] {
            assert!(Period::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shows_periods_in_their_largest_unit() {
        for text in ["5m", "500ms", "30d", "36h", "90s", "0ms"] {
            assert_eq!(Period::parse(text).map(|p| p.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(Period::parse("48h").map(|p| p.to_string()).as_deref(), Ok("2d"));
    }

    #[test]
    fn reads_shares() {
        assert_eq!(Share::parse("7%").map(|s| s.to_string()), Ok("7%".into()));
        assert_eq!(Share::parse("0.01 %").map(|s| s.to_string()), Ok("0.01%".into()));
        for bad in ["7", "-1%", "101%", "x%", "NaN%", ""] {
            assert!(Share::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn is_exceeded_only_above_the_share() {
        let five = Share(0.05);
        assert!(!five.is_exceeded(5, 100));
        assert!(five.is_exceeded(6, 100));
        assert!(!five.is_exceeded(0, 0));
        assert!(Share(0.0).is_exceeded(1, 1_000_000));
    }
}
