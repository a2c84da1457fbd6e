//! Several requests at once on one connection (RFC 9112 section 9.3.2).

use super::{Manners, Session};
use crate::event::{MS, Time};
use crate::request::Request;
use weir_core::rng::Rng;

/// A session with up to eight requests under way.
pub fn draw(start: Time, requests: Vec<Request>, rng: &mut Rng) -> Session {
    let depth = 2 + rng.below(7) as usize;
    Session::new(Manners { start, depth, think: (0, MS), half_closes: rng.below(4) == 0, ..Manners::default() }, requests)
}
