//! Variables: declared with a type in the file, given a value by `--var` or a default.

use jiff::{Timestamp, civil::Date};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Located, Text};

/// The declaration of a variable.
///
/// ```yaml
/// vars:
///   out:     { type: path, default: ./out }
///   min_age: { type: interval, default: 1 year }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VarDecl {
    /// What its values look like.
    #[serde(rename = "type")]
    pub kind: Located<VarType>,
    /// The value when `--var` gives none; without it the variable must be given.
    pub default: Option<Text>,
    /// What it is for.
    pub description: Option<String>,
}

/// The type of a variable.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum VarType {
    /// Any text; `text` is the same.
    #[serde(alias = "text")]
    String,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// `true` or `false`.
    Bool,
    /// A day, `2026-11-01`.
    Date,
    /// A moment, `2026-11-01T09:00:00Z`.
    Timestamp,
    /// A span of time as SQL writes it, `1 year` or `90 days`.
    Interval,
    /// A file or folder. A relative default is relative to the pipeline file, a relative
    /// `--var` to the current folder.
    Path,
}

/// The value of a variable.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text, and paths.
    String(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A day.
    Date(Date),
    /// A moment in UTC.
    Timestamp(Timestamp),
    /// A span of time as SQL writes it.
    Interval(String),
}

impl VarType {
    /// Reads a value of this type; says what is wrong otherwise.
    pub fn parse(self, text: &str) -> Result<Value, String> {
        match self {
            Self::String | Self::Path => Some(Value::String(text.to_owned())),
            Self::Int => text.parse().ok().map(Value::Int),
            Self::Float => text.parse().ok().filter(|f: &f64| f.is_finite()).map(Value::Float),
            Self::Bool => text.parse().ok().map(Value::Bool),
            Self::Date => text.parse().ok().map(Value::Date),
            Self::Timestamp => text.parse().ok().map(Value::Timestamp),
            Self::Interval => is_interval(text).then(|| Value::Interval(text.to_owned())),
        }
        .ok_or_else(|| format!("`{text}` is not {}", self.example()))
    }

    /// Returns some value of this type, to plan with while none is given.
    pub fn stand_in(self) -> Value {
        match self {
            Self::String | Self::Path => Value::String(String::new()),
            Self::Int => Value::Int(0),
            Self::Float => Value::Float(0.0),
            Self::Bool => Value::Bool(false),
            Self::Date => Value::Date(Date::constant(1970, 1, 1)),
            Self::Timestamp => Value::Timestamp(Timestamp::UNIX_EPOCH),
            Self::Interval => Value::Interval("0 days".to_owned()),
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::String => "text",
            Self::Int => "a whole number such as `60`",
            Self::Float => "a number such as `0.5`",
            Self::Bool => "`true` or `false`",
            Self::Date => "a date such as `2026-11-01`",
            Self::Timestamp => "a moment such as `2026-11-01T09:00:00Z`",
            Self::Interval => "an interval such as `1 year` or `90 days`",
            Self::Path => "a path",
        }
    }
}

/// Says whether the text is one or more of "number unit".
fn is_interval(text: &str) -> bool {
    const UNITS: [&str; 7] = ["year", "month", "week", "day", "hour", "minute", "second"];
    let words: Vec<&str> = text.split_whitespace().collect();
    !words.is_empty()
        && words.chunks(2).all(|pair| {
            let [n, unit] = pair else { return false };
            let unit = unit.strip_suffix('s').unwrap_or(unit);
            n.parse::<i32>().is_ok() && UNITS.contains(&unit)
        })
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::String(text) | Self::Interval(text) => f.write_str(text),
            Self::Int(n) => n.fmt(f),
            Self::Float(n) => n.fmt(f),
            Self::Bool(b) => b.fmt(f),
            Self::Date(date) => date.fmt(f),
            Self::Timestamp(moment) => moment.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_type() {
        let shown = |kind: VarType, text: &str| kind.parse(text).map(|v| v.to_string());
        assert_eq!(shown(VarType::Int, "60"), Ok("60".into()));
        assert_eq!(shown(VarType::Date, "2026-11-01"), Ok("2026-11-01".into()));
        assert_eq!(shown(VarType::Interval, "1 year 3 months"), Ok("1 year 3 months".into()));
        assert_eq!(shown(VarType::String, "0825"), Ok("0825".into()));
    }

    #[test]
    fn refuses_what_is_not_of_the_type() {
        for (kind, text) in [
            (VarType::Int, "6.5"),
            (VarType::Float, "NaN"),
            (VarType::Bool, "yes"),
            (VarType::Date, "2026-02-30"),
            (VarType::Timestamp, "2026-11-01"),
            (VarType::Interval, "1 fortnight"),
            (VarType::Interval, "year"),
            (VarType::Interval, ""),
        ] {
            assert!(kind.parse(text).is_err(), "{kind:?} {text}");
        }
    }
}
