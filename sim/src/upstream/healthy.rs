//! Answers as it is asked to.

use super::{Answering, Mood};
use weir_core::rng::Rng;

/// Always.
#[derive(Debug)]
pub struct Healthy;

impl Mood for Healthy {
    fn answering(&mut self, _: &mut Rng) -> Answering {
        Answering::AsAsked
    }
}
