//! What a server says of its limit with each answer.

use http::HeaderMap;
use jiff::Timestamp;

use crate::spec::Period;

/// What a server said of its limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Calls that it allows in a window.
    pub limit: Option<u64>,
    /// Calls that are left.
    pub remain: Option<u64>,
    /// Milliseconds after which the window has ended for sure.
    pub resets_in: Option<i64>,
    /// The length of the window, in milliseconds.
    pub length: Option<i64>,
    /// Whether it refused the call because of the limit.
    pub is_limited: bool,
}

impl Said {
    /// Reads the headers of an answer that came at `now`.
    ///
    /// `x-ratelimit-limit`, `-remain` (Companies House) or `-remaining` (most others), `-reset` as
    /// seconds since 1970. The server's own `date` is taken as its present, so that its clock and
    /// ours may differ; both are cut to seconds, hence one more.
    pub fn read(headers: &HeaderMap, is_limited: bool, now: Timestamp) -> Self {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let number = |name: &str| text(name)?.trim().parse::<u64>().ok();
        let reset = number("x-ratelimit-reset").and_then(|reset| i64::try_from(reset).ok());
        let server_now = text("date").and_then(http_date).map(|date| date.as_second());
        let present = server_now.unwrap_or_else(|| now.as_second());
        let by_reset = reset.map(|reset| reset.saturating_sub(present).saturating_add(1));
        let window = text("x-ratelimit-window").and_then(|text| Period::parse(text).ok());
        let retry_after = text("retry-after").and_then(|text| match text.trim().parse::<i64>() {
            Ok(seconds) => Some(seconds),
            Err(_) => http_date(text).map(|at| at.as_second().saturating_sub(present) + 1),
        });
        let seconds = match is_limited {
            true => retry_after.or(by_reset),
            false => by_reset,
        };
        Self {
            limit: number("x-ratelimit-limit"),
            remain: number("x-ratelimit-remain").or_else(|| number("x-ratelimit-remaining")),
            resets_in: seconds.map(|seconds| seconds.max(0).saturating_mul(1000)),
            length: window.and_then(|window| i64::try_from(window.duration().as_millis()).ok()),
            is_limited,
        }
    }
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter()
            .map(|(name, value)| {
                (http::HeaderName::from_static(name), HeaderValue::from_static(value))
            })
            .collect()
    }

    #[test]
    fn takes_the_servers_clock_for_its_reset() {
        let now = Timestamp::UNIX_EPOCH;
        let all = headers(&[
            ("x-ratelimit-limit", "600"),
            ("x-ratelimit-remain", "501"),
            ("x-ratelimit-reset", "1769779001"),
            ("x-ratelimit-window", "5m"),
            ("date", "Fri, 30 Jan 2026 13:14:22 GMT"),
        ]);
        let said = Said::read(&all, false, now);
        assert_eq!((said.limit, said.remain), (Some(600), Some(501)));
        // 13:16:41 is 139 seconds later.
        assert_eq!(said.resets_in, Some(140_000));
        assert_eq!(said.length, Some(300_000));
    }

    #[test]
    fn what_is_no_number_is_not_said() {
        let all = headers(&[("x-ratelimit-limit", "many"), ("x-ratelimit-remaining", "7")]);
        let said = Said::read(&all, true, Timestamp::UNIX_EPOCH);
        assert_eq!(said, Said { remain: Some(7), is_limited: true, ..Said::default() });
        let later = headers(&[("retry-after", "30")]);
        assert_eq!(Said::read(&later, true, Timestamp::UNIX_EPOCH).resets_in, Some(30_000));
        let date = headers(&[("retry-after", "Thu, 01 Jan 1970 00:01:00 GMT")]);
        assert_eq!(Said::read(&date, true, Timestamp::UNIX_EPOCH).resets_in, Some(61_000));
    }
}
