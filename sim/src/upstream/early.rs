//! Answers some requests before they have arrived whole.

use super::{Answering, Mood};
use weir_core::rng::Rng;

/// One in three.
#[derive(Debug)]
pub struct Early;

impl Mood for Early {
    fn answering(&mut self, rng: &mut Rng) -> Answering {
        if rng.below(3) == 0 { Answering::Early } else { Answering::AsAsked }
    }
}
