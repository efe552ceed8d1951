//! One window of a rate limit: how many calls went out in it, what the server said, and whether
//! another may go now. Pure: moments come in as milliseconds since 1970.
//!
//! Servers keep fixed windows that begin with the first call after the last one ended (facts of
//! Companies House). When one ends is known from two sides, and the earlier is taken: it cannot be
//! later than a whole window after the first answer in it came, nor later than the `reset` that
//! the server names.

use super::headers::Said;

/// How often an API may be called in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    /// Calls in a window, as the file says.
    pub(super) calls: u64,
    /// Its length.
    pub(super) length: i64,
    /// The share of calls that is left to others.
    pub(super) reserve: f64,
    /// Whether what the server says overrides the file.
    pub(super) follow: bool,
}

/// What is known of a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Window {
    /// When the first call of ours went out; tells windows apart.
    pub(super) opened_at: Option<i64>,
    /// When it has ended for sure.
    pub(super) ends_at: Option<i64>,
    /// Calls of ours that went out in it, those in flight too.
    pub(super) sent: u64,
    /// The least that the server said is left, its limit, and when it said so.
    pub(super) server: Option<Left>,
    /// Calls that others made in it, at least.
    pub(super) others: u64,
    /// Calls that others made in the window before; `None` when that is not known.
    pub(super) others_before: Option<u64>,
    /// Whether the server answers without saying what is left.
    pub(super) is_silent: bool,
}

/// What a server said is left of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Left {
    pub(super) limit: u64,
    pub(super) remain: u64,
    pub(super) at: i64,
}

/// Calls that are on their way now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct InFlight {
    /// All of them.
    pub(super) all: u64,
    /// Those that went out in this window.
    pub(super) own: u64,
}

/// Whether a call may go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Decision {
    /// Now.
    Go,
    /// Not before this moment, unless an answer comes.
    Wait(i64),
}

/// Calls of others with the same key, as many as are likely.
struct Others {
    per_ms: f64,
    /// Of the window.
    length: i64,
}

impl Others {
    /// Returns the calls that they make in a time, on the average.
    fn likely(&self, time: i64) -> f64 {
        self.per_ms * time.max(0) as f64
    }

    /// Returns a number of calls that they exceed the less the more deviations of a number of
    /// random calls are added.
    fn at_most(&self, time: i64, deviations: f64) -> f64 {
        // Where nobody else calls nothing is kept; where anybody does, the next call may be theirs.
        if self.likely(self.length) < 1.0 {
            return 0.0;
        }
        let likely = self.likely(time);
        (likely + deviations * likely.sqrt()).max(1.0)
    }
}

/// Deviations that are kept free for others.
const SURE: f64 = 2.5;

/// The shortest wait before it is looked again, in milliseconds.
const LOOK_AGAIN: i64 = 10;

impl Window {
    /// Begins anew when it has ended. Calls that are still on their way then may be counted by the
    /// server in either.
    fn roll(&mut self, rate: &Rate, in_flight: InFlight, now: i64) {
        // A clock that was set back must not make a window longer than it is.
        if let Some(ends_at) = &mut self.ends_at {
            *ends_at = (*ends_at).min(now + rate.length + 1000);
        }
        let Some(ends_at) = self.ends_at.filter(|ends_at| now >= *ends_at) else { return };
        let is_fresh = now - ends_at < 3 * rate.length;
        let others_before =
            self.server.filter(|_| is_fresh).map(|left| self.others_of(rate, left, ends_at));
        let is_silent = self.is_silent;
        *self = Self { others_before, is_silent, sent: in_flight.all, ..Self::default() };
    }

    /// Returns the calls that others made in the window, as far as it is known: those that were seen,
    /// and for the time in which the server was not heard fewer than there were before. So what is
    /// kept for others who are gone is soon kept no more.
    fn others_of(&self, rate: &Rate, left: Left, ends_at: i64) -> u64 {
        const STILL: f64 = 0.75;
        let unheard = (ends_at - left.at).clamp(0, rate.length) as f64 / rate.length as f64;
        let before = self.others_before.unwrap_or(left.limit / 3) as f64;
        (self.others + (before * unheard * STILL).round() as u64).min(left.limit)
    }

    /// Says whether another call may go now.
    pub(super) fn decide(&mut self, rate: &Rate, in_flight: InFlight, now: i64) -> Decision {
        self.roll(rate, in_flight, now);
        let own =
            InFlight { own: if self.opened_at.is_some() { in_flight.own } else { 0 }, ..in_flight };
        if rate.follow && !self.is_silent {
            return self.decide_by_server(rate, own, now);
        }
        let reserved = (rate.calls as f64 * rate.reserve).ceil() as u64;
        match (self.sent < rate.calls.saturating_sub(reserved).max(1), self.ends_at) {
            (true, _) => Decision::Go,
            (false, Some(ends_at)) => Decision::Wait(ends_at),
            (false, None) => Decision::Wait(now + LOOK_AGAIN),
        }
    }

    fn decide_by_server(&self, rate: &Rate, in_flight: InFlight, now: i64) -> Decision {
        let Some(left) = self.server else {
            // What others have used is not known before the first answer: one call goes ahead.
            return match in_flight.own {
                0 => Decision::Go,
                _ => Decision::Wait(now + LOOK_AGAIN),
            };
        };
        let ends_at = self.ends_at.unwrap_or(now + rate.length);
        if left.remain <= in_flight.all {
            return match in_flight.all {
                0 => Decision::Wait(ends_at),
                _ => Decision::Wait((now + LOOK_AGAIN).min(ends_at.max(now + 1))),
            };
        }
        let reserved = (left.limit as f64 * rate.reserve).ceil() - self.others as f64;
        let free = (left.remain - in_flight.all) as f64;
        // Calls on their way may be among those that the server has counted, or not.
        let unsure = self.others + in_flight.own;
        let per_ms = self.others_per_ms(rate, (left.limit, unsure), ends_at, now);
        let others = Others { per_ms, length: rate.length };
        let (unheard, coming) = (now - left.at, ends_at - now);
        let spares = |deviations| {
            let kept = others.at_most(unheard + coming, deviations).max(reserved);
            free - kept.ceil() >= 1.0
        };
        // Each time half of what was left of the window has passed, one call goes out to hear how
        // many others made: less has to be kept for the rest then.
        let is_time_to_hear = unheard >= coming && in_flight.all == 0;
        let may_go = spares(SURE) || is_time_to_hear && spares(SURE / 2.0);
        match may_go {
            true => Decision::Go,
            // What is kept for others shrinks towards the end of the window.
            false => Decision::Wait((now + (coming / 20).max(LOOK_AGAIN)).min(ends_at)),
        }
    }

    /// Returns how often others call, by this window and the one before.
    fn others_per_ms(
        &self,
        rate: &Rate,
        (limit, others): (u64, u64),
        ends_at: i64,
        at: i64,
    ) -> f64 {
        let elapsed = (at - (ends_at - rate.length)).clamp(0, rate.length);
        // Without a window before it, a third may be others'.
        let before = self.others_before.unwrap_or(limit / 3);
        (before + others) as f64 / (rate.length + elapsed) as f64
    }

    /// Notes that a call goes out.
    pub(super) fn send(&mut self, now: i64) {
        self.sent += 1;
        self.opened_at.get_or_insert(now);
    }

    /// Notes a call that the server has not seen.
    pub(super) fn take_back(&mut self) {
        self.sent = self.sent.saturating_sub(1);
        if self.sent == 0 && self.server.is_none() {
            self.opened_at = None;
        }
    }

    /// Notes the end of a call: when it went out, and what the server said with its answer; `None`
    /// when no answer came.
    pub(super) fn settle(&mut self, rate: &Rate, said: Option<&Said>, sent_at: i64, now: i64) {
        let is_own = self.opened_at.is_some_and(|opened_at| sent_at >= opened_at);
        let Some(said) = said else {
            if is_own {
                // It may have been counted, and may have begun the window, up to now.
                self.ends_at.get_or_insert(now + rate.length);
            }
            return;
        };
        let latest = now + rate.length;
        let reset = said.resets_in.map_or(latest, |left| now + left.min(rate.length + 1000));
        match self.server.zip(self.ends_at) {
            Some((left, ends_at)) if is_next(rate, left, ends_at, said, reset) => {
                self.begin_next(said, (sent_at, now), latest.min(reset));
            }
            // It went out before this window, and was counted in it.
            Some((left, ends_at)) if !is_own => {
                let is_counted = said.remain.is_some_and(|remain| remain < left.remain);
                if is_counted && (reset - ends_at).abs() < rate.length / 2 {
                    self.sent += 1;
                    self.hear(rate, said, now);
                }
            }
            _ if is_own => {
                self.ends_at = Some(self.ends_at.unwrap_or(latest).min(reset));
                self.hear(rate, said, now);
            }
            _ => {}
        }
    }

    /// Begins the window that the server has begun already: so far all of its calls are ours.
    fn begin_next(&mut self, said: &Said, (sent_at, now): (i64, i64), ends_at: i64) {
        let others_before = Some(self.others);
        let left = said.limit.zip(said.remain);
        *self = Self {
            opened_at: Some(sent_at),
            ends_at: Some(ends_at),
            sent: left.map_or(1, |(limit, remain)| limit.saturating_sub(remain)),
            server: left.map(|(limit, remain)| Left { limit, remain, at: now }),
            others_before,
            ..Self::default()
        };
    }

    /// Takes in what the server says of this window.
    fn hear(&mut self, rate: &Rate, said: &Said, now: i64) {
        match said.limit.zip(said.remain) {
            Some((limit, remain)) => {
                if self.server.is_none_or(|known| remain <= known.remain) {
                    self.server = Some(Left { limit, remain, at: now });
                }
                let used = limit.saturating_sub(remain);
                self.others = self.others.max(used.saturating_sub(self.sent));
                self.is_silent = false;
            }
            None if said.is_limited => {
                self.server = Some(Left { limit: rate.calls, remain: 0, at: now });
            }
            None => self.is_silent = self.server.is_none(),
        }
        if said.is_limited {
            if let Some(left) = &mut self.server {
                left.remain = 0;
            }
            self.sent = self.sent.max(rate.calls);
        }
    }
}

/// Says whether a server speaks of the window after the one that is known: more is left, and it
/// ends much later.
fn is_next(rate: &Rate, left: Left, ends_at: i64, said: &Said, reset: i64) -> bool {
    said.remain.is_some_and(|remain| remain > left.remain)
        && said.resets_in.is_some()
        && reset - ends_at > rate.length / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { calls: 600, length: 300_000, reserve: 0.0, follow: true };

    fn said(remain: u64, resets_in: i64) -> Said {
        let (limit, remain, resets_in) = (Some(600), Some(remain), Some(resets_in));
        Said { limit, remain, resets_in, ..Said::default() }
    }

    fn in_flight(own: u64) -> InFlight {
        InFlight { all: own, own }
    }

    #[test]
    fn one_call_goes_ahead_and_the_rest_follow_its_answer() {
        let mut window = Window::default();
        assert_eq!(window.decide(&RATE, in_flight(0), 0), Decision::Go);
        window.send(0);
        assert_eq!(window.decide(&RATE, in_flight(1), 5), Decision::Wait(15));
        window.settle(&RATE, Some(&said(599, 301_000)), 10, 100);
        // The first answer came at 100: the window cannot end after 300,100.
        assert_eq!(window.ends_at, Some(300_100));
        assert_eq!(window.decide(&RATE, in_flight(0), 100), Decision::Go);
    }

    #[test]
    fn not_one_call_too_many_is_sent_when_others_are_silent() {
        let mut window = Window { others_before: Some(0), ..Window::default() };
        window.send(0);
        window.settle(&RATE, Some(&said(599, 301_000)), 10, 10);
        let mut n_sent = 1;
        while window.decide(&RATE, InFlight::default(), 10) == Decision::Go {
            window.send(10);
            n_sent += 1;
            assert!(matches!(window.decide(&RATE, in_flight(600), 10), Decision::Wait(_)));
            window.settle(&RATE, Some(&said(600 - n_sent, 300_000)), 10, 10);
        }
        assert_eq!(n_sent, 600);
        assert_eq!(window.decide(&RATE, in_flight(0), 30), Decision::Wait(300_010));
        assert_eq!(window.decide(&RATE, in_flight(0), 300_010), Decision::Go);
    }

    #[test]
    fn what_others_used_before_is_kept_for_them_until_the_end() {
        let mut window = Window { others_before: Some(200), ..Window::default() };
        window.send(0);
        window.settle(&RATE, Some(&said(599, 301_000)), 10, 10);
        let mut n_sent = 1u64;
        while window.decide(&RATE, InFlight::default(), 10) == Decision::Go {
            window.send(10);
            n_sent += 1;
            window.settle(&RATE, Some(&said(600 - n_sent, 300_000)), 10, 10);
        }
        assert!((350..400).contains(&n_sent), "{n_sent}");
        // Of those 200 nobody made one: shortly before the end they are free.
        window.settle(&RATE, Some(&said(600 - n_sent, 100)), 10, 299_900);
        assert_eq!(window.decide(&RATE, InFlight::default(), 299_900), Decision::Go);
    }

    #[test]
    fn an_answer_of_429_closes_the_window() {
        for limit in [Some(600), None] {
            let mut window = Window::default();
            window.send(0);
            let (remain, resets_in) = (limit.map(|_| 0), limit.map(|_| 7_000));
            let said = Said { limit, remain, resets_in, is_limited: true, ..Said::default() };
            window.settle(&RATE, Some(&said), 10, 50);
            let end = if limit.is_some() { 7_050 } else { 300_050 };
            assert_eq!(window.decide(&RATE, InFlight::default(), 60), Decision::Wait(end));
        }
    }

    #[test]
    fn without_headers_the_own_count_decides() {
        let rate = Rate { calls: 10, length: 1000, reserve: 0.2, follow: false };
        let mut window = Window::default();
        let mut n_sent = 0;
        while window.decide(&rate, in_flight(n_sent), 5) == Decision::Go {
            window.send(5);
            n_sent += 1;
        }
        assert_eq!(n_sent, 8);
        let silent = Said::default();
        window.settle(&rate, Some(&silent), 10, 40);
        assert_eq!(window.decide(&rate, InFlight::default(), 50), Decision::Wait(1040));
        // A call that is still on its way when a window ends may be counted in the next.
        let mut late = window.clone();
        assert_eq!(late.decide(&rate, in_flight(3), 1040), Decision::Go);
        assert_eq!(late.sent, 3);
    }

    #[test]
    fn a_call_that_never_arrived_opens_nothing() {
        let mut window = Window::default();
        window.send(0);
        window.take_back();
        assert_eq!(window, Window::default());
    }

    #[test]
    fn an_answer_of_the_next_window_begins_it() {
        let mut window = Window { others_before: Some(0), ..Window::default() };
        window.send(0);
        window.settle(&RATE, Some(&said(599, 301_000)), 0, 100);
        window.sent = 595;
        window.settle(&RATE, Some(&said(5, 250_000)), 0, 50_000);
        // The server's window ended at 300,050; ours does at 300,100. Two calls went out between.
        window.send(300_060);
        window.send(300_070);
        window.settle(&RATE, Some(&said(599, 301_000)), 300_060, 300_080);
        assert_eq!((window.opened_at, window.sent, window.others), (Some(300_060), 1, 0));
        window.settle(&RATE, Some(&said(598, 301_000)), 300_050, 300_090);
        assert_eq!((window.sent, window.others), (2, 0));
        assert_eq!(window.ends_at, Some(600_080));
    }

    #[test]
    fn what_is_kept_for_others_who_are_gone_is_soon_kept_no_more() {
        let mut window = Window { others_before: Some(600), ..Window::default() };
        let mut n_blocked = 0;
        let mut now = 0;
        while n_blocked < 20 {
            window.decide(&RATE, InFlight::default(), now);
            window.send(now);
            window.settle(&RATE, Some(&said(599, 301_000)), now, now);
            if window.decide(&RATE, InFlight::default(), now) == Decision::Go {
                break;
            }
            n_blocked += 1;
            now += 300_000;
        }
        assert!((1..5).contains(&n_blocked), "{n_blocked}");
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_the_calls() {
        let mut window = Window { ends_at: Some(9_000_000), sent: 600, ..Window::default() };
        window.opened_at = Some(8_700_000);
        window.decide(&RATE, InFlight::default(), 1000);
        assert_eq!(window.ends_at, Some(302_000));
    }
}
