//! One direction of a connection: what TCP may do to bytes, and no more. It cuts, joins, delays and stalls them
//! and closes its window, but keeps their order, and loses none unless it is reset.

use crate::event::Time;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use weir_core::rng::Rng;

/// How links treat bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Law {
    /// Time from one end to the other, from and to.
    pub latency: (Time, Time),
    /// How often in a hundred a piece is cut in two, again and again.
    pub cut: u32,
    /// How often in a thousand a piece waits for `stall` before it goes on.
    pub stalls: u32,
    /// How long.
    pub stall: Time,
    /// Bytes that may be on their way or unread.
    pub window: usize,
    /// What was sent less than a trip before the connection is reset never arrives: it is still in a buffer.
    pub reset_loses: bool,
}

impl Default for Law {
    fn default() -> Self {
        Law { latency: (50_000, 50_000), cut: 0, stalls: 0, stall: 0, window: 256 * 1024, reset_loses: true }
    }
}

/// How a direction ends.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All was sent.
    Fin,
    /// The connection is broken.
    Reset,
}

/// A piece on its way.
#[derive(Debug)]
struct Piece {
    sent: Time,
    at: Time,
    bytes: Bytes,
}

/// One direction of one connection.
#[derive(Debug, Default)]
pub struct Link {
    flight: VecDeque<Piece>,
    ending: Option<(Time, End)>,
    /// Arrived and not read.
    pub arrived: BytesMut,
    unread: usize,
    last: Time,
    /// The receiver knows of the end.
    pub ended: Option<End>,
}

impl Link {
    /// Bytes that may be sent now.
    pub fn room(&self, law: &Law) -> usize {
        law.window.saturating_sub(self.unread)
    }

    /// Whether the sender has said its last.
    pub fn is_finished(&self) -> bool {
        self.ending.is_some() || self.ended.is_some()
    }

    /// Sends bytes; answers through `plan` when something will arrive.
    pub fn send(&mut self, mut bytes: Bytes, now: Time, law: &Law, rng: &mut Rng, mut plan: impl FnMut(Time)) {
        self.unread += bytes.len();
        while !bytes.is_empty() {
            let cut = bytes.len() > 1 && rng.below(100) < u64::from(law.cut);
            let piece = match cut {
                true => bytes.split_to(1 + rng.below(bytes.len() as u64 - 1) as usize),
                false => bytes.split_to(bytes.len()),
            };
            let at = self.arrival(now, law, rng);
            self.flight.push_back(Piece { sent: now, at, bytes: piece });
            plan(at);
        }
    }

    /// Ends the direction; answers when the other side will know.
    pub fn end(&mut self, end: End, now: Time, law: &Law, rng: &mut Rng) -> Time {
        if end == End::Reset && law.reset_loses {
            while let Some(piece) = self.flight.pop_back_if(|piece| piece.sent + law.latency.0 >= now) {
                self.unread -= piece.bytes.len();
            }
        }
        let at = self.arrival(now, law, rng);
        self.ending = Some((at, end));
        at
    }

    /// In order, however long each piece takes.
    fn arrival(&mut self, now: Time, law: &Law, rng: &mut Rng) -> Time {
        let (from, to) = law.latency;
        let mut at = now + from + if to > from { rng.below(to - from + 1) } else { 0 };
        if law.stalls > 0 && rng.below(1000) < u64::from(law.stalls) {
            at += law.stall;
        }
        self.last = self.last.max(at);
        self.last
    }

    /// Takes in what is there by now; true if there is something new.
    pub fn arrive(&mut self, now: Time) -> bool {
        let mut news = false;
        while let Some(piece) = self.flight.pop_front_if(|piece| piece.at <= now) {
            // A piece that nobody else holds needs no copy.
            match piece.bytes.try_into_mut() {
                Ok(bytes) if self.arrived.is_empty() => self.arrived = bytes,
                Ok(bytes) => self.arrived.extend_from_slice(&bytes),
                Err(bytes) => self.arrived.extend_from_slice(&bytes),
            }
            news = true;
        }
        if let Some((_, end)) = self.ending.take_if(|(at, _)| *at <= now) {
            self.ended = Some(end);
            news = true;
        }
        news
    }

    /// The receiver has read so much.
    pub fn read(&mut self, count: usize) {
        self.unread -= count;
    }

    /// Throws away all that is unread: nobody will read it.
    pub fn discard(&mut self) {
        self.flight.clear();
        self.arrived.clear();
        self.unread = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::rng::Seed;

    #[test]
    fn bytes_come_in_order_whatever_the_law() {
        let law = Law { latency: (1, 1000), cut: 70, stalls: 100, stall: 5000, ..Law::default() };
        let (mut link, mut rng, mut times) = (Link::default(), Rng::new(Seed(3)), Vec::new());
        let text: Vec<u8> = (0..=255).cycle().take(5000).collect();
        for (step, chunk) in text.chunks(100).enumerate() {
            link.send(Bytes::copy_from_slice(chunk), step as Time * 10, &law, &mut rng, |at| times.push(at));
        }
        times.push(link.end(End::Fin, 1000, &law, &mut rng));
        assert!(times.is_sorted());
        for at in times {
            link.arrive(at);
        }
        assert_eq!((&link.arrived[..], link.ended), (&text[..], Some(End::Fin)));
    }

    #[test]
    fn the_window_closes_and_opens() {
        let law = Law { window: 10, ..Law::default() };
        let (mut link, mut rng) = (Link::default(), Rng::new(Seed(3)));
        link.send(Bytes::from_static(b"12345678"), 0, &law, &mut rng, |_| {});
        assert_eq!(link.room(&law), 2);
        link.arrive(law.latency.1);
        assert_eq!(link.room(&law), 2);
        link.read(8);
        assert_eq!(link.room(&law), 10);
    }
}
