//! Breaks off in the middle of some answers.

use super::{Answering, Mood};
use weir_core::rng::Rng;

/// So many in a hundred.
#[derive(Debug)]
pub struct Truncating(pub u32);

impl Mood for Truncating {
    fn answering(&mut self, rng: &mut Rng) -> Answering {
        match rng.below(100) < u64::from(self.0) {
            true => Answering::Truncated { reset: rng.below(2) == 0 },
            false => Answering::AsAsked,
        }
    }
}
