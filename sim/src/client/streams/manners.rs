//! How a client of HTTP/2 behaves, and clients drawn at random.

use super::Streams;
use crate::event::{MS, Time};
use crate::request::Request;
use crate::talk;
use weir_core::http2::Http2Options;
use weir_core::rng::Rng;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Manners {
    /// When it begins.
    pub start: Time,
    /// Streams at once.
    pub depth: usize,
    /// From an answer to the next request, from and to.
    pub think: (Time, Time),
    /// Sends bodies in pieces of so many bytes, and waits so long between.
    pub pieces: Option<(usize, Time)>,
    /// After each read it reads nothing for so long.
    pub read_pause: Option<Time>,
    /// How often in a hundred answers it leaves the body where it is, and for how long.
    pub stream_pause: Option<(u32, Time)>,
    /// How often in a hundred requests it resets the stream within so long.
    pub resets: Option<(u32, Time)>,
    /// How often in a hundred requests it leaves its connection within so long.
    pub leaves: Option<(u32, Time)>,
    /// Keeps its connection when it has no more to ask.
    pub lingers: bool,
    /// Its settings.
    pub options: Http2Options,
}

/// A client that behaves well, or fails to in all the ways that leave a connection whole, or leaves those as well.
pub fn draw(start: Time, requests: Vec<Request>, gentle: bool, rng: &mut Rng) -> Streams {
    let mut sometimes = |of: u64| rng.below(of) == 0;
    let (pieces, reads, pauses) = (sometimes(3), sometimes(5), sometimes(3));
    let (resets, leaves) = (!gentle && sometimes(3), !gentle && sometimes(6));
    let manners = Manners {
        start,
        depth: 1 + rng.below(12) as usize,
        think: [(0, 0), (0, MS), (0, 20 * MS)][rng.below(3) as usize],
        pieces: pieces.then(|| (1 + rng.below(5_000) as usize, rng.below(2 * MS))),
        read_pause: reads.then(|| 1 + rng.below(5 * MS)),
        stream_pause: pauses.then(|| (10 + rng.below(60) as u32, 1 + rng.below(50 * MS))),
        resets: resets.then(|| (5 + rng.below(40) as u32, 1 + rng.below(6 * MS))),
        leaves: leaves.then(|| (1 + rng.below(10) as u32, 1 + rng.below(6 * MS))),
        lingers: rng.below(4) > 0,
        options: talk::draw_options(1_000, rng),
    };
    Streams::new(manners, requests)
}

/// A client that asks one after the other, at once and whole: nothing of it takes time.
pub fn exact(start: Time, requests: Vec<Request>, rng: &mut Rng) -> Streams {
    let options = Http2Options { stream_window: 1 << 24, connection_window: 1 << 26, ..talk::draw_options(1_000, rng) };
    let think = (0, 1 + rng.below(20 * MS));
    let (pieces, read_pause, stream_pause, resets, leaves) = (None, None, None, None, None);
    let manners = Manners {
        start,
        depth: 1 + rng.below(4) as usize,
        think,
        pieces,
        read_pause,
        stream_pause,
        resets,
        leaves,
        lingers: true,
        options,
    };
    Streams::new(manners, requests)
}
