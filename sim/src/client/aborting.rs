//! Loses interest in the middle.

use super::{Manners, Session};
use crate::event::{MS, Time};
use crate::request::Request;
use weir_core::rng::Rng;

/// A session that leaves some of its requests, at any moment.
pub fn draw(start: Time, requests: Vec<Request>, rng: &mut Rng) -> Session {
    let leaves = Some((10 + rng.below(50) as u32, 1 + rng.below(6 * MS)));
    let pieces = (rng.below(3) == 0).then(|| (1 + rng.below(500) as usize, rng.below(MS)));
    Session::new(Manners { start, leaves, pieces, depth: 1 + rng.below(3) as usize, ..Manners::default() }, requests)
}
