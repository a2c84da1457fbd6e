//! Never answers some requests.

use super::{Answering, Mood};
use weir_core::rng::Rng;

/// So many in a hundred.
#[derive(Debug)]
pub struct Hanging(pub u32);

impl Mood for Hanging {
    fn answering(&mut self, rng: &mut Rng) -> Answering {
        if rng.below(100) < u64::from(self.0) { Answering::Never } else { Answering::AsAsked }
    }
}
