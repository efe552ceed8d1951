//! The events of a feed in the order of their numbers, each once.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

/// So long an event waits for the ones that its number says are before it.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(250);
/// The most events that wait: one that so many have overtaken is not waited for.
const MOST_HELD: usize = 16;
/// How many numbers are remembered, to tell an event that comes late from one that comes twice.
const REMEMBERED: usize = 10_000;

/// Puts events in order. Feeds number them one after the other, but nobody promises that none is
/// left out: one that comes before its time waits a moment, and no longer.
#[derive(Debug)]
pub(super) struct Order<T> {
    /// What was known before anything came: events up to it were seen.
    known: Option<u64>,
    /// The greatest number that went on.
    reached: Option<u64>,
    /// The last numbers that went on.
    seen: BTreeSet<u64>,
    held: BTreeMap<u64, T>,
    /// When the first of the held ones came.
    held_since: Option<Timestamp>,
}

impl<T> Order<T> {
    /// Begins after the event with a number; anywhere without.
    pub(super) fn after(known: Option<u64>) -> Self {
        Self {
            known,
            reached: known,
            seen: BTreeSet::new(),
            held: BTreeMap::new(),
            held_since: None,
        }
    }

    /// Returns the number up to which everything went on: where a new connection resumes.
    pub(super) fn reached(&self) -> Option<u64> {
        self.reached
    }

    /// Returns when the events that wait go on at the latest.
    pub(super) fn until(&self) -> Option<Timestamp> {
        Some(crate::clock::after(self.held_since?, PATIENCE))
    }

    /// Takes an event; returns those that go on now.
    pub(super) fn push(&mut self, number: u64, event: T, now: Timestamp) -> Vec<(u64, T)> {
        let is_known = self.known.is_some_and(|known| number <= known);
        if is_known || self.seen.contains(&number) || self.held.contains_key(&number) {
            return Vec::new();
        }
        match self.reached {
            // It was overtaken by others for longer than anybody waits.
            Some(reached) if number < reached => {
                self.note(number);
                vec![(number, event)]
            }
            Some(reached) if number > reached + 1 => {
                self.held.insert(number, event);
                self.held_since.get_or_insert(now);
                match self.held.len() > MOST_HELD {
                    true => self.release(),
                    false => self.overdue(now),
                }
            }
            _ => {
                self.note(number);
                let mut going = vec![(number, event)];
                self.add_next(&mut going);
                going
            }
        }
    }

    /// Returns the events that have waited long enough.
    pub(super) fn overdue(&mut self, now: Timestamp) -> Vec<(u64, T)> {
        match self.until().is_some_and(|until| until <= now) {
            true => self.release(),
            false => Vec::new(),
        }
    }

    /// Forgets what waits: the connection is gone, and it comes again.
    pub(super) fn cut(&mut self) {
        self.held.clear();
        self.held_since = None;
    }

    /// Begins anew, anywhere: what was between is lost.
    pub(super) fn skip(&mut self) {
        self.cut();
        self.known = None;
        self.reached = None;
        self.seen.clear();
    }

    fn release(&mut self) -> Vec<(u64, T)> {
        self.held_since = None;
        let going: Vec<(u64, T)> = std::mem::take(&mut self.held).into_iter().collect();
        for (number, _) in &going {
            self.note(*number);
        }
        going
    }

    fn add_next(&mut self, going: &mut Vec<(u64, T)>) {
        while let Some(entry) = self.held.first_entry() {
            if Some(*entry.key()) != self.reached.map(|reached| reached + 1) {
                break;
            }
            let (number, event) = entry.remove_entry();
            self.note(number);
            going.push((number, event));
        }
        if self.held.is_empty() {
            self.held_since = None;
        }
    }

    fn note(&mut self, number: u64) {
        self.reached = self.reached.max(Some(number));
        self.seen.insert(number);
        if self.seen.len() > REMEMBERED {
            self.seen.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(millisecond).expect("a moment")
    }

    /// What goes on when events come at moments, each its own number.
    fn pushed(order: &mut Order<u64>, events: &[(u64, i64)]) -> Vec<Vec<u64>> {
        let push = |&(number, ms): &(u64, i64)| order.push(number, number, at(ms));
        let going: Vec<_> = events.iter().map(push).collect();
        going.into_iter().map(|going| going.into_iter().map(|(n, _)| n).collect()).collect()
    }

    #[test]
    fn puts_back_what_was_swapped_and_drops_what_comes_twice() {
        let mut order = Order::after(Some(10));
        let events = [(10, 0), (11, 0), (11, 0), (13, 1), (13, 1), (12, 2), (12, 2), (14, 3)];
        let none = vec![];
        let went = pushed(&mut order, &events);
        let expected = [
            none.clone(),
            vec![11],
            none.clone(),
            none.clone(),
            none.clone(),
            vec![12, 13],
            none,
            vec![14],
        ];
        assert_eq!(went, expected);
        assert_eq!((order.reached(), order.until()), (Some(14), None));
    }

    #[test]
    fn nothing_waits_longer_than_a_moment_for_what_never_comes() {
        let mut order = Order::after(Some(10));
        assert_eq!(pushed(&mut order, &[(20, 0), (30, 100)]), [vec![0; 0], vec![]]);
        assert_eq!(order.until(), Some(at(250)));
        assert!(order.overdue(at(249)).is_empty());
        assert_eq!(order.overdue(at(250)), [(20, 20), (30, 30)]);
        // What comes after all goes on, late, and once.
        assert_eq!(
            pushed(&mut order, &[(25, 300), (25, 300), (9, 300)]),
            [vec![25], vec![], vec![]]
        );
        assert_eq!(order.reached(), Some(30));
    }

    #[test]
    fn what_waited_on_a_lost_connection_comes_again() {
        let mut order = Order::after(Some(1));
        pushed(&mut order, &[(2, 0), (4, 0)]);
        order.cut();
        assert_eq!((order.reached(), order.until()), (Some(2), None));
        assert_eq!(pushed(&mut order, &[(2, 9), (3, 9), (4, 9)]), [vec![], vec![3], vec![4]]);
    }

    #[test]
    fn a_feed_with_sparse_numbers_holds_no_more_than_it_may() {
        let mut order = Order::after(None);
        let mut n_went = 0;
        for number in 0..10_000 {
            n_went += order.push(number * 7, (), at(0)).len();
            assert!(order.held.len() <= MOST_HELD);
        }
        assert!(n_went >= 9_000);
    }
}
