//! What the steps of a board make of it: people come, go, move, and are taken away.

use super::super::api::{Company, Officer, board};
use super::super::calendar::Date;
use super::change::rng;

/// What a step did to whom.
#[derive(Debug)]
pub(super) struct Turn {
    /// The officer as he is then, or was when taken away.
    pub officer: Officer,
    pub is_deleted: bool,
}

/// Returns the board of a company after `steps`, the first of them first, each with the day on
/// which it was published; and what the last of them did.
///
/// The board that they begin with is that of the day `from`: nobody comes or goes by himself later.
pub(super) fn after(
    seed: u64,
    row: &Company,
    from: Date,
    steps: impl Iterator<Item = (u32, Date)>,
) -> (Vec<Officer>, Option<Turn>) {
    let mut officers = board::officers(seed, row, from);
    let mut last = None;
    for (n, day) in steps {
        last = Some(turn(seed, row, &mut officers, n, day));
    }
    board::sort(&mut officers);
    (officers, last)
}

fn turn(seed: u64, row: &Company, officers: &mut Vec<Officer>, n: u32, day: Date) -> Turn {
    let mut rng = rng(seed, n, 3);
    let there: Vec<usize> =
        (0..officers.len()).filter(|at| officers[*at].resigned.is_none()).collect();
    let draw = rng.below(100);
    let chosen = rng.below(u32::try_from(there.len()).unwrap_or(u32::MAX)) as usize;
    // The last one stays; where nobody is, somebody comes.
    let chosen = there.get(chosen).copied().filter(|_| draw >= 30);
    match chosen {
        Some(at) if draw < 60 && there.len() > 1 => {
            officers[at].resigned = Some(day.max(officers[at].appointed));
            Turn { officer: officers[at].clone(), is_deleted: false }
        }
        Some(at) if draw >= 98 && there.len() > 1 => {
            Turn { officer: officers.remove(at), is_deleted: true }
        }
        Some(at) => {
            officers[at].move_away(&mut rng);
            Turn { officer: officers[at].clone(), is_deleted: false }
        }
        None => {
            let officer = Officer::appointed(row, day, &mut rng);
            officers.push(officer.clone());
            Turn { officer, is_deleted: false }
        }
    }
}
