//! What `Shared` answers, as an input like any other.
//!
//! Other workers move the counts that an engine asks, so the same question has another answer in a replay, where
//! there are no other workers. An engine asks through [`Answers`]: live ones come from the counts, recorded ones are
//! written down on the way, replayed ones come from the log.

use crate::shared::Count;
use std::collections::VecDeque;

/// Where answers come from.
#[derive(Debug, Default)]
pub enum Answers {
    /// From the counts.
    #[default]
    Live,
    /// From the counts; those to the current input are kept for the log.
    Recorded(Vec<u64>),
    /// From the log.
    Replayed(Replayed),
}

/// Answers to one input, as a log has them.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Those that were not asked for yet.
    pub left: VecDeque<u64>,
    /// More was asked than the log answers: this is another run.
    pub missing: bool,
}

impl Answers {
    /// Counts one more unless there are `max` already.
    pub fn acquire(&mut self, count: &Count, max: u32) -> bool {
        self.acquire_by(count, || count.try_acquire(max))
    }

    /// As [`Self::acquire`], where `live` knows the bound.
    pub fn acquire_by(&mut self, count: &Count, live: impl FnOnce() -> bool) -> bool {
        let acquired = self.is(live);
        if let (Answers::Replayed(_), true) = (&*self, acquired) {
            // The count has to be there when it is released.
            let _ = count.try_acquire(u32::MAX);
        }
        acquired
    }

    /// Whether something is so.
    pub fn is(&mut self, live: impl FnOnce() -> bool) -> bool {
        self.number(|| u64::from(live())) != 0
    }

    /// How much something is.
    pub fn number(&mut self, live: impl FnOnce() -> u64) -> u64 {
        match self {
            Answers::Live => live(),
            Answers::Recorded(answers) => {
                let answer = live();
                answers.push(answer);
                answer
            }
            Answers::Replayed(replayed) => replayed.left.pop_front().unwrap_or_else(|| {
                replayed.missing = true;
                0
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_hears_what_was_answered_and_releases_what_it_acquired() {
        let (count, mut answers) = (Count::default(), Answers::Recorded(Vec::new()));
        assert!(answers.acquire(&count, 1) && !answers.acquire(&count, 1));
        let Answers::Recorded(recorded) = answers else { panic!("still recording") };
        let (count, mut answers) = (Count::default(), Answers::Replayed(Replayed { left: recorded.into(), missing: false }));
        assert!(answers.acquire(&count, 0) && !answers.acquire(&count, 9));
        count.release();
        assert!(!answers.is(|| true), "the log has no more answers");
        assert!(matches!(answers, Answers::Replayed(Replayed { missing: true, .. })));
    }
}
