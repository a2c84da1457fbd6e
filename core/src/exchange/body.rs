//! The request body between the client and an upstream connection.

use crate::buffer::above_high;
use crate::plant::{Plant, is_planted};
use bytes::{Bytes, BytesMut};

/// Shorter pieces are copied.
const COPY_LIMIT: usize = 16 * 1024;

/// Pieces that were not sent yet, and sent ones that are kept for another try.
#[derive(Debug, Default)]
pub struct RequestBody {
    pieces: Vec<Bytes>,
    /// Short pieces are copied together: a slice would pin the whole block that it was read into.
    tail: BytesMut,
    len: usize,
    /// Keep what is sent, up to this many bytes; zero keeps nothing.
    keep_limit: usize,
    /// Pieces were sent and not kept: the request cannot be sent again.
    lost: bool,
}

impl RequestBody {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.tail = BytesMut::new();
        (self.len, self.keep_limit, self.lost) = (0, 0, false);
    }

    /// From now on keeps up to `limit` bytes of what is sent.
    pub fn keep(&mut self, limit: usize) {
        self.keep_limit = limit;
    }

    /// A piece came and no connection is there to take it.
    pub fn hold(&mut self, piece: Bytes) {
        self.add(piece);
    }

    fn add(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() < COPY_LIMIT {
            self.tail.extend_from_slice(&piece);
            return;
        }
        self.seal();
        self.pieces.push(piece);
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(std::mem::take(&mut self.tail).freeze());
        }
    }

    /// A piece was sent on.
    pub fn sent(&mut self, piece: &Bytes) {
        if self.lost {
            return;
        }
        if self.len + piece.len() > self.keep_limit {
            self.give_up();
        } else {
            self.add(piece.clone());
        }
    }

    /// All held pieces are being sent; those that are not kept are given away.
    pub fn start_sending(&mut self) -> Vec<Bytes> {
        self.seal();
        if self.len > self.keep_limit && !self.pieces.is_empty() {
            let pieces = std::mem::take(&mut self.pieces);
            self.give_up();
            return pieces;
        }
        let lost = usize::from(is_planted(Plant::ReplayLosesPiece) && self.pieces.len() > 1);
        self.pieces[lost..].to_vec()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.tail.is_empty()
    }

    /// No other try will be made.
    pub fn give_up(&mut self) {
        self.pieces.clear();
        self.tail = BytesMut::new();
        self.len = 0;
        self.lost = true;
    }

    /// Whether the request can be sent once more.
    pub fn can_replay(&self) -> bool {
        !self.lost
    }

    /// Whether so much is held that the client must wait.
    pub fn is_full(&self, limit: usize) -> bool {
        above_high(self.len, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(len: usize) -> Bytes {
        Bytes::from(vec![b'x'; len])
    }

    #[test]
    fn what_fits_can_be_sent_again() {
        let mut body = RequestBody::default();
        body.keep(10);
        body.hold(piece(4));
        assert_eq!(body.start_sending().len(), 1);
        body.sent(&piece(6));
        assert!(body.can_replay());
        assert_eq!(body.start_sending().iter().map(Bytes::len).sum::<usize>(), 10);
        body.sent(&piece(1));
        assert!(!body.can_replay() && body.is_empty());
    }

    #[test]
    fn held_pieces_are_sent_even_if_they_cannot_be_kept() {
        let mut body = RequestBody::default();
        body.hold(piece(4));
        assert!(body.can_replay());
        assert_eq!(body.start_sending().len(), 1);
        assert!(!body.can_replay());
    }
}
