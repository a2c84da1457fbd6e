//! Sends piece by piece, or reads with pauses, or both.

use super::{Manners, Session};
use crate::event::{MS, Time};
use crate::request::Request;
use weir_core::rng::Rng;

/// A session that is slow in one direction or in both.
pub fn draw(start: Time, requests: Vec<Request>, rng: &mut Rng) -> Session {
    let (sends, reads) = [(true, false), (false, true), (true, true)][rng.below(3) as usize];
    let pieces = sends.then(|| (1 + rng.below(2000) as usize, rng.below(2 * MS)));
    let read_pause = reads.then(|| 1 + rng.below(5 * MS));
    Session::new(Manners { start, pieces, read_pause, ..Manners::default() }, requests)
}
