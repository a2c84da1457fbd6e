//! Says after some requests that it looks at none that come behind them: GOAWAY. Those that are on their way already
//! are safe to be sent again. Over HTTP/1 it has no word for that, and answers.

use super::{Answering, Mood};
use weir_core::rng::Rng;

/// One in so many.
#[derive(Debug)]
pub struct Leaving(pub u64);

impl Mood for Leaving {
    fn answering(&mut self, rng: &mut Rng) -> Answering {
        if rng.below(self.0) == 0 { Answering::Leave } else { Answering::AsAsked }
    }
}
