//! What happens in the register, step after step: decided by snapshot and seed alone.
//!
//! Step n is the n-th event of each feed: something happens to a company (`/companies`), that is
//! filed (`/filings`), and something happens in the board of a company (`/officers`). When each of
//! them is published is the schedule's; a feed that is slower than another tells later of the same
//! step. Steps are made when they are needed, one after the other, and kept: who is proposed for
//! strike-off at one decides who can be dissolved at the next.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::api::{Company, Register, column, profile};
use super::super::rng::{Rng, mix};

/// What happens to a company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// It is proposed for strike-off.
    Proposed,
    /// The proposal is withdrawn.
    Withdrawn,
    /// It is struck off.
    Dissolved,
    /// It comes back.
    Restored,
    /// Its record is taken away.
    Deleted,
    /// It moves.
    Moved,
    /// It files accounts.
    Accounts,
    /// It files a confirmation statement.
    Statement,
    /// Nothing that can be seen; such events come too.
    Nothing,
}

/// How a company stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// As in the snapshot.
    #[default]
    AsBefore,
    Active,
    Proposed,
    Dissolved,
}

/// How a company differs from its row in the snapshot.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    pub standing: Standing,
    /// The step that dissolved it last; a restored company keeps the day.
    pub ceased: Option<u32>,
    /// The step at which it moved last.
    pub moved: Option<u32>,
    /// How many accounts and statements it filed.
    pub accounts: u16,
    pub statements: u16,
    pub is_deleted: bool,
}

/// One step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// The company's place in the register.
    pub place: u32,
    pub what: What,
    /// How the company differs from then on.
    pub state: State,
    /// The step before of the same company.
    before: Option<u32>,
    /// The place of the company in whose board something happens.
    pub board: u32,
    board_before: Option<u32>,
}

/// The steps so far.
#[derive(Debug)]
pub(super) struct Life {
    register: Arc<Register>,
    seed: u64,
    steps: Vec<Step>,
    /// The last step of each company that had one, and of each board.
    latest: HashMap<u32, u32>,
    latest_board: HashMap<u32, u32>,
    proposed: Vec<u32>,
    dissolved: Vec<u32>,
    n_deleted: usize,
    /// Nothing more can happen: there are no companies.
    is_over: bool,
}

/// So many companies are looked at until one is found to which something can happen.
const TRIES: usize = 64;

impl Life {
    pub(super) fn new(register: Arc<Register>, seed: u64) -> Self {
        let proposed = register.proposed().to_vec();
        Self {
            register,
            seed,
            steps: Vec::new(),
            latest: HashMap::new(),
            latest_board: HashMap::new(),
            proposed,
            dissolved: Vec::new(),
            n_deleted: 0,
            is_over: false,
        }
    }

    /// Makes steps until there are `n`; returns how many of these there are.
    pub(super) fn grow(&mut self, n: u64) -> u64 {
        while (self.steps.len() as u64) < n && !self.is_over {
            match self.next_step() {
                Some(step) => self.steps.push(step),
                None => self.is_over = true,
            }
        }
        n.min(self.steps.len() as u64)
    }

    /// Returns a step that was made.
    pub(super) fn step(&self, n: u64) -> Option<Step> {
        self.steps.get(usize::try_from(n).ok()?).copied()
    }

    /// Returns the steps of a company before the `end`-th, the latest first.
    pub(super) fn of_company(&self, place: u32, end: u64) -> impl Iterator<Item = u32> {
        let before = |step: &Step| step.before;
        self.chain(self.latest.get(&place).copied(), before).filter(move |n| u64::from(*n) < end)
    }

    /// Returns the steps of a company's board before the `end`-th, the latest first.
    pub(super) fn of_board(&self, place: u32, end: u64) -> impl Iterator<Item = u32> {
        let last = self.latest_board.get(&place).copied();
        let before = |step: &Step| step.board_before;
        self.chain(last, before).filter(move |n| u64::from(*n) < end)
    }

    fn chain(
        &self,
        last: Option<u32>,
        before: impl Fn(&Step) -> Option<u32>,
    ) -> impl Iterator<Item = u32> {
        std::iter::successors(last, move |n| before(self.steps.get(*n as usize)?))
    }

    fn next_step(&mut self) -> Option<Step> {
        let n = u32::try_from(self.steps.len()).ok()?;
        let mut rng = Rng::from_bits(mix(self.seed ^ 0x57e9) ^ mix(u64::from(n)));
        let (place, what) = self.happening(&mut rng)?;
        let board = self.board(&mut rng)?;
        let state = self.state(place).after(what, n);
        self.enlist(place, what);
        let before = self.latest.insert(place, n);
        let board_before = self.latest_board.insert(board, n);
        Some(Step { place, what, state, before, board, board_before })
    }

    /// Returns how a company differs from its row by now.
    fn state(&self, place: u32) -> State {
        let last = self.latest.get(&place).and_then(|n| self.steps.get(*n as usize));
        last.map_or(State::default(), |step| step.state)
    }

    fn happening(&mut self, rng: &mut Rng) -> Option<(u32, What)> {
        let n = self.register.len();
        let is_much = |count: usize, share: usize| count > n / share;
        let found = match rng.below(1000) {
            0..220 => self.anyone(rng, can_be_proposed).map(proposed),
            220..340 => self.listed(Standing::Proposed, rng).map(|place| (place, What::Withdrawn)),
            // In a small register everybody would be gone in the end.
            340..450 if is_much(self.dissolved.len(), 8) => self.restored(rng),
            340..450 => self.listed(Standing::Proposed, rng).map(|place| (place, What::Dissolved)),
            450..460 => self.restored(rng),
            460..475 if !is_much(self.n_deleted, 50) => {
                self.anyone(rng, |_, _| true).map(|(place, _)| (place, What::Deleted))
            }
            475..575 => self.anyone(rng, |_, _| true).map(|(place, _)| (place, What::Nothing)),
            _ => None,
        };
        found.or_else(|| self.ordinary(rng))
    }

    fn restored(&mut self, rng: &mut Rng) -> Option<(u32, What)> {
        self.listed(Standing::Dissolved, rng).map(|place| (place, What::Restored))
    }

    /// Picks a company that moves or files, one in three of them proposed for strike-off.
    fn ordinary(&mut self, rng: &mut Rng) -> Option<(u32, What)> {
        let (place, row) = match rng.chance(330_000) {
            true => self.one_proposed(rng).or_else(|| self.anyone(rng, |_, _| true)),
            false => self.anyone(rng, |_, _| true),
        }?;
        let (state, as_of) = (self.state(place), self.register.as_of());
        let is_due = |day: Option<_>| day.is_some_and(|day| day <= as_of);
        let what = match rng.below(3) {
            0 if is_due(accounts_end(&row, state.accounts)) => What::Accounts,
            1 if is_due(statement_end(&row, state.statements)) => What::Statement,
            _ => What::Moved,
        };
        Some((place, what))
    }

    /// Picks a company in whose board something happens, every other one proposed for strike-off.
    fn board(&mut self, rng: &mut Rng) -> Option<u32> {
        let found = match rng.chance(500_000) {
            true => self.one_proposed(rng).filter(|(_, row)| row.incorporated().is_some()),
            false => None,
        };
        let found = found.or_else(|| self.anyone(rng, |_, row| row.incorporated().is_some()));
        found.map(|(place, _)| place)
    }

    /// Picks a company that is neither dissolved nor deleted, and of which `fits` is true.
    fn anyone(
        &self,
        rng: &mut Rng,
        fits: impl Fn(&State, &Company) -> bool,
    ) -> Option<(u32, Company)> {
        let n = u32::try_from(self.register.len()).unwrap_or(u32::MAX);
        for _ in 0..TRIES {
            let place = rng.below(n);
            let state = self.state(place);
            if state.is_deleted || state.standing == Standing::Dissolved {
                continue;
            }
            // A row that is broken, or a file that is gone, is nobody.
            let Ok(Some(row)) = self.register.at(place) else { continue };
            if fits(&state, &row) {
                return Some((place, row));
            }
        }
        None
    }

    fn one_proposed(&mut self, rng: &mut Rng) -> Option<(u32, Company)> {
        let place = self.listed(Standing::Proposed, rng)?;
        Some((place, self.register.at(place).ok()??))
    }

    /// Picks one of those who are proposed, or dissolved; who cannot be read is no longer.
    fn listed(&mut self, standing: Standing, rng: &mut Rng) -> Option<u32> {
        let list = match standing {
            Standing::Proposed => &mut self.proposed,
            _ => &mut self.dissolved,
        };
        while !list.is_empty() {
            let at = rng.below(u32::try_from(list.len()).unwrap_or(u32::MAX)) as usize;
            let place = *list.get(at)?;
            if matches!(self.register.at(place), Ok(Some(_))) {
                return Some(place);
            }
            list.swap_remove(at);
        }
        None
    }

    /// Writes down who is proposed and who is dissolved from now on.
    fn enlist(&mut self, place: u32, what: What) {
        match what {
            What::Proposed => self.proposed.push(place),
            What::Withdrawn => remove(&mut self.proposed, place),
            What::Dissolved => {
                remove(&mut self.proposed, place);
                self.dissolved.push(place);
            }
            What::Restored => remove(&mut self.dissolved, place),
            What::Deleted => {
                remove(&mut self.proposed, place);
                self.n_deleted += 1;
            }
            What::Moved | What::Accounts | What::Statement | What::Nothing => {}
        }
    }
}

fn remove(list: &mut Vec<u32>, place: u32) {
    // 400,000 at most, of four bytes each: to look through them takes less than to write an event.
    if let Some(at) = list.iter().position(|known| *known == place) {
        list.swap_remove(at);
    }
}

fn proposed((place, _): (u32, Company)) -> (u32, What) {
    (place, What::Proposed)
}

/// A company in good order, of those that file statements, can be proposed.
fn can_be_proposed(state: &State, row: &Company) -> bool {
    let is_active = match state.standing {
        Standing::AsBefore => row.text(column::STATUS) == "Active",
        standing => standing == Standing::Active,
    };
    is_active && row.date(column::STATEMENT_DUE).is_some()
}

impl State {
    fn after(mut self, what: What, n: u32) -> Self {
        match what {
            What::Proposed => self.standing = Standing::Proposed,
            What::Withdrawn | What::Restored => self.standing = Standing::Active,
            What::Dissolved => {
                self.standing = Standing::Dissolved;
                self.ceased = Some(n);
            }
            What::Deleted => self.is_deleted = true,
            What::Moved => self.moved = Some(n),
            What::Accounts => self.accounts = self.accounts.saturating_add(1),
            What::Statement => self.statements = self.statements.saturating_add(1),
            What::Nothing => {}
        }
        self
    }
}

/// Returns the end of the accounts that a company files after `n` others; nothing for one that
/// files none.
pub(super) fn accounts_end(row: &Company, n: u16) -> Option<super::super::Date> {
    row.date(column::ACCOUNTS_DUE)?;
    let first = match row.date(column::ACCOUNTS_MADE) {
        Some(made) => profile::year_later(made),
        None => {
            let (day, month) = (column::REFERENCE_DAY, column::REFERENCE_MONTH);
            profile::first_end(row.incorporated()?, row.count(day), row.count(month))
        }
    };
    Some((0..n).fold(first, |end, _| profile::year_later(end)))
}

/// Returns the day to which the statement after `n` others is made up.
pub(super) fn statement_end(row: &Company, n: u16) -> Option<super::super::Date> {
    let first = row.date(column::STATEMENT_DUE)?.plus_days(-14);
    Some((0..n).fold(first, |end, _| profile::year_later(end)))
}
