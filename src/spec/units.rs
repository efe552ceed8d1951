//! Amounts that carry their unit in the value: `5%`.

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

#[cfg(test)]
mod tests {
    use super::*;

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
