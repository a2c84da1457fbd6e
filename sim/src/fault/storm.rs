//! Links become slow and uneven: pieces are cut small, some wait long, windows are narrow.

use super::Fault;
use crate::event::MS;
use crate::link::Law;
use weir_core::rng::Rng;

/// Some storm.
pub fn draw(rng: &mut Rng) -> Fault {
    Fault::Storm(Law {
        latency: (100_000, MS + rng.below(20 * MS)),
        cut: rng.below(60) as u32,
        stalls: rng.below(100) as u32,
        stall: rng.below(200 * MS),
        window: 500 + rng.below(60_000) as usize,
        reset_loses: true,
    })
}
