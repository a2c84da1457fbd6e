//! Resets the connection instead of answering, for a while, then recovers, then again: a flapping host.

use super::{Answering, Mood};
use weir_core::rng::Rng;

/// How many more requests it serves or breaks.
#[derive(Debug, Default)]
pub struct Breaking {
    left: u64,
    broken: bool,
}

impl Mood for Breaking {
    fn answering(&mut self, rng: &mut Rng) -> Answering {
        if self.left == 0 {
            self.broken = !self.broken;
            self.left = 1 + rng.below(6);
        }
        self.left -= 1;
        if self.broken { Answering::Break } else { Answering::AsAsked }
    }
}
