//! How the hosts of a world are disposed.

use super::Kind;
use crate::event::MS;
use crate::upstream::Mood;
use crate::upstream::breaking::Breaking;
use crate::upstream::early::Early;
use crate::upstream::garbage::Garbage;
use crate::upstream::hanging::Hanging;
use crate::upstream::healthy::Healthy;
use crate::upstream::idle_closing::IdleClosing;
use crate::upstream::leaving::Leaving;
use crate::upstream::refusing::Refusing;
use crate::upstream::slow::Slow;
use crate::upstream::truncating::Truncating;
use weir_core::rng::Rng;

/// Moods that only HTTP/2 has words for. Neither harms a request, but the proxy sends each only so often again.
pub(super) fn mood2(kind: Kind, mood: Box<dyn Mood>, rng: &mut Rng) -> Box<dyn Mood> {
    match (kind, rng.below(5)) {
        (Kind::Wild, 0) => Box::new(Refusing(1 + rng.below(60) as u32)),
        (Kind::Wild, 1) => Box::new(Leaving(2 + rng.below(30))),
        (_, 1) => Box::new(Leaving(10 + rng.below(30))),
        _ => mood,
    }
}

pub(super) fn mood(kind: Kind, rng: &mut Rng) -> Box<dyn Mood> {
    match (kind, rng.below(10)) {
        (_, 0 | 1) => Box::new(Healthy),
        (Kind::Calm, _) | (_, 2) => Box::new(Slow(1 + rng.below(20_000) as usize)),
        (Kind::Exact, _) | (_, 3) => Box::new(Hanging(1 + rng.below(50) as u32)),
        (_, 4) => Box::new(Early),
        (_, 5) => Box::new(Truncating(1 + rng.below(50) as u32)),
        (_, 6) => Box::new(Garbage),
        (_, 7) => Box::new(Breaking::default()),
        (_, 8) => Box::new(IdleClosing(rng.below(3 * MS))),
        _ => Box::new(Healthy),
    }
}
