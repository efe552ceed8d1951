//! How long to wait before a feed is asked again, by the rules of its server.

use std::time::Duration;

use http::StatusCode;

/// After a 429 or a 403; earlier tries make it longer.
const BARRED: Duration = Duration::from_secs(60);
/// After any other answer that may be better next time.
const TROUBLED: Duration = Duration::from_secs(10);
/// The longest wait after a failure, and after being told to wait.
const LONGEST: Duration = Duration::from_secs(60);
const LONGEST_BARRED: Duration = Duration::from_secs(900);

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The server closed it, or it broke, or nothing came any more.
    Broken,
    /// The server answered with a status that is none of a feed.
    Status(StatusCode),
}

/// What comes after an ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another try after a time.
    Retry(Duration),
    /// The place to resume is too old: what is after it is gone.
    TooOld,
    /// No try would be better.
    GiveUp,
}

/// Remembers how often it went wrong.
#[derive(Debug)]
pub(super) struct Patience {
    after_a_break: Duration,
    n_broken: u32,
    n_troubled: u32,
    n_barred: u32,
}

impl Patience {
    /// Begins with the wait after the first broken connection.
    pub(super) fn new(after_a_break: Duration) -> Self {
        Self { after_a_break, n_broken: 0, n_troubled: 0, n_barred: 0 }
    }

    /// Hears that something came: all is well again.
    pub(super) fn heard(&mut self) {
        *self = Self::new(self.after_a_break);
    }

    /// Returns how often it went wrong in a row.
    pub(super) fn n_failures(&self) -> u32 {
        self.n_broken + self.n_troubled + self.n_barred
    }

    /// Decides; `luck` from 0 to 1 spreads the tries of many.
    pub(super) fn after(&mut self, ending: &Ending, luck: f64) -> Next {
        let (count, first, longest) = match ending {
            Ending::Broken => (&mut self.n_broken, self.after_a_break, LONGEST),
            Ending::Status(status) => match *status {
                StatusCode::RANGE_NOT_SATISFIABLE => return Next::TooOld,
                // The server bars a key (429) or an address (403) that asks too often.
                StatusCode::TOO_MANY_REQUESTS | StatusCode::FORBIDDEN => {
                    (&mut self.n_barred, BARRED, LONGEST_BARRED)
                }
                StatusCode::REQUEST_TIMEOUT => (&mut self.n_troubled, TROUBLED, LONGEST),
                status if status.is_server_error() => (&mut self.n_troubled, TROUBLED, LONGEST),
                _ => return Next::GiveUp,
            },
        };
        let wait = first.saturating_mul(1 << (*count).min(10)).min(longest);
        *count += 1;
        Next::Retry(wait.mul_f64(1.0 + 0.5 * luck.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(endings: &[Ending], luck: f64) -> Vec<u64> {
        let mut patience = Patience::new(Duration::from_secs(2));
        let wait = |ending: &Ending| match patience.after(ending, luck) {
            Next::Retry(wait) => wait.as_secs(),
            _ => 0,
        };
        endings.iter().map(wait).collect()
    }

    #[test]
    fn waits_as_the_server_asks_and_longer_each_time() {
        let status = |code: u16| Ending::Status(StatusCode::from_u16(code).expect("a status"));
        assert_eq!(waits(&vec![Ending::Broken; 7], 0.0), [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(waits(&[Ending::Broken, Ending::Broken], 1.0), [3, 6]);
        assert_eq!(waits(&vec![status(429); 6], 0.0), [60, 120, 240, 480, 900, 900]);
        assert_eq!(waits(&[status(502), status(504), status(403)], 0.0), [10, 20, 60]);
        let mut patience = Patience::new(Duration::from_secs(2));
        assert_eq!(patience.after(&status(416), 0.0), Next::TooOld);
        for code in [301, 400, 401, 404] {
            assert_eq!(patience.after(&status(code), 0.0), Next::GiveUp, "{code}");
        }
    }

    #[test]
    fn what_comes_makes_good_what_was() {
        let mut patience = Patience::new(Duration::from_secs(2));
        patience.after(&Ending::Broken, 0.0);
        patience.after(&Ending::Broken, 0.0);
        assert_eq!(patience.n_failures(), 2);
        patience.heard();
        assert_eq!(patience.n_failures(), 0);
        let next = patience.after(&Ending::Broken, 0.0);
        assert_eq!(next, Next::Retry(Duration::from_secs(2)));
    }
}
