//! Answers some requests with what is not HTTP.

use super::{Answering, Mood};
use weir_core::rng::Rng;

/// One in five.
#[derive(Debug)]
pub struct Garbage;

impl Mood for Garbage {
    fn answering(&mut self, rng: &mut Rng) -> Answering {
        if rng.below(5) == 0 { Answering::Garbage } else { Answering::AsAsked }
    }
}
