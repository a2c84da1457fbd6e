//! One request after the other on one connection, as browsers and most libraries do.

use super::{Manners, Session};
use crate::event::{MS, Time};
use crate::request::Request;
use weir_core::rng::Rng;

/// A session that thinks for a while between requests; now and then for so long that idle connections are closed.
pub fn draw(start: Time, requests: Vec<Request>, rng: &mut Rng) -> Session {
    let think = match rng.below(4) {
        0 => (0, 0),
        1 => (0, 20 * MS),
        2 => (5 * MS, 400 * MS),
        _ => (0, 2 * MS),
    };
    let manners = Manners { start, think, half_closes: rng.below(8) == 0, lingers: rng.below(2) == 0, ..Manners::default() };
    Session::new(manners, requests)
}
