//! One connection: its codec, what waits to be sent, its deadlines and what it is doing.

mod downstream;
mod upstream;

pub use downstream::{Downstream, DownstreamDeadline, DownstreamPhase};
pub use upstream::{Upstream, UpstreamDeadline, UpstreamPhase};

use crate::buffer::SendQueue;
use crate::http1::parse::Scan;
use crate::plant::{Plant, is_planted};
use bytes::{Buf, BytesMut};

/// Either kind.
#[derive(Debug)]
pub enum Connection {
    /// From a client.
    Downstream(Box<Downstream>),
    /// To an upstream host.
    Upstream(Box<Upstream>),
}

/// What both kinds of connection share: the bytes on their way out and what the driver was told.
#[derive(Debug)]
pub struct Wire {
    /// What waits to be sent.
    pub out: SendQueue,
    /// Whether the driver should read.
    pub readable: bool,
    /// Whether a `Transmit` for it is among the actions already.
    pub transmit_queued: bool,
    /// Whether the driver was told to close it.
    pub closing: bool,
    /// The peer has sent its last byte.
    pub eof: bool,
}

impl Default for Wire {
    fn default() -> Self {
        Wire { out: SendQueue::default(), readable: true, transmit_queued: false, closing: false, eof: false }
    }
}

impl Connection {
    /// The part that both kinds share.
    pub fn wire(&mut self) -> &mut Wire {
        match self {
            Connection::Downstream(conn) => &mut conn.wire,
            Connection::Upstream(conn) => &mut conn.wire,
        }
    }

    /// Its streams, if it speaks HTTP/2.
    pub fn session(&mut self) -> Option<&mut crate::http2::Session> {
        match self {
            Connection::Downstream(conn) => conn.session(),
            Connection::Upstream(conn) => conn.session(),
        }
    }

    /// How many streams are open on it, if it speaks HTTP/2.
    pub fn open_streams(&self) -> Option<usize> {
        match self {
            Connection::Downstream(conn) => match &conn.phase {
                DownstreamPhase::Http2(session) => Some(session.streams()),
                _ => None,
            },
            Connection::Upstream(conn) => match &conn.phase {
                UpstreamPhase::Http2(session) => Some(session.streams()),
                _ => None,
            },
        }
    }
}

/// A head that has not arrived whole: what is there and how far it was scanned.
#[derive(Debug, Default)]
pub struct PartialHead {
    bytes: BytesMut,
    scan: Scan,
}

/// Where a head is.
#[derive(Debug)]
pub enum HeadInput {
    /// The first so many bytes of the input are a whole head.
    InInput(usize),
    /// A whole head that came in pieces; the input begins after it.
    Assembled(BytesMut),
    /// More is needed; the input was taken.
    More,
}

impl PartialHead {
    /// Whether no byte of a head has arrived.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The last so many bytes that have arrived.
    pub fn last(&self, count: usize) -> &[u8] {
        &self.bytes[self.bytes.len().saturating_sub(count)..]
    }

    /// Looks for a whole head. What belongs to an incomplete one is moved out of `input` and kept.
    pub fn feed(&mut self, input: &mut BytesMut, limit: usize) -> Result<HeadInput, crate::http1::Reject> {
        if self.bytes.is_empty() {
            let mut scan = Scan::default();
            if let Some(end) = scan.find_end(input, limit)? {
                return Ok(HeadInput::InInput(end));
            }
            self.bytes.extend_from_slice(input);
            self.scan = scan;
            input.clear();
            return Ok(HeadInput::More);
        }
        let before = self.bytes.len();
        let room = (limit + 1).saturating_sub(before).min(input.len());
        let from = usize::from(is_planted(Plant::HeadLosesByte) && room > 20);
        self.bytes.extend_from_slice(&input[from..room]);
        match self.scan.find_end(&self.bytes, limit)? {
            None => {
                input.advance(room);
                Ok(HeadInput::More)
            }
            Some(end) => {
                input.advance(end - before);
                self.bytes.truncate(end);
                self.scan = Scan::default();
                Ok(HeadInput::Assembled(std::mem::take(&mut self.bytes)))
            }
        }
    }
}
