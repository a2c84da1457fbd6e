//! Closes connections soon after an answer: just when the next request may be on its way.

use super::{Answering, Mood};
use crate::event::Time;
use weir_core::rng::Rng;

/// After so long.
#[derive(Debug)]
pub struct IdleClosing(pub Time);

impl Mood for IdleClosing {
    fn answering(&mut self, _: &mut Rng) -> Answering {
        Answering::AsAsked
    }

    fn keeps_idle(&self) -> Option<Time> {
        Some(self.0)
    }
}
