//! Refuses some requests without a look at them: REFUSED_STREAM. Over HTTP/1 it has no word for that, and answers.

use super::{Answering, Mood};
use weir_core::rng::Rng;

/// So many in a hundred.
#[derive(Debug)]
pub struct Refusing(pub u32);

impl Mood for Refusing {
    fn answering(&mut self, rng: &mut Rng) -> Answering {
        if rng.below(100) < u64::from(self.0) { Answering::Refuse } else { Answering::AsAsked }
    }
}
