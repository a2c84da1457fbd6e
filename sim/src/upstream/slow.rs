//! Answers piece by piece.

use super::{Answering, Mood};
use crate::event::MS;
use weir_core::rng::Rng;

/// In pieces of up to so many bytes.
#[derive(Debug)]
pub struct Slow(pub usize);

impl Mood for Slow {
    fn answering(&mut self, rng: &mut Rng) -> Answering {
        Answering::Slowly(1 + rng.below(self.0 as u64) as usize, rng.below(MS))
    }
}
