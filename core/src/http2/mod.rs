//! HTTP/2 (RFC 9113): the `h2` crate on in-memory I/O, for both roles.
//!
//! A [`Session`] is one connection. Bytes go in with [`Session::recv`] and come out with [`Session::take_output`]; in
//! between, [`Session::poll_event`] is asked until `None`. No future of the crate is polled unless its waker has put it
//! on the session's ready list, so that streams on which nothing happens cost nothing.
//!
//! The crate speaks the protocol; what it leaves to its user is here: the limits that it lacks ([`guard`]), what an
//! input log and its digest need to know of frames ([`frames`]), and the way between its heads and ours ([`head`]).

mod alive;
pub mod frames;
pub mod guard;
pub mod head;
mod pipe;
mod ready;
mod session;
mod stream;

pub use alive::Alive;
pub use guard::{Breach, Guard};
pub use session::{ResetBy, Session, SessionEvent};
pub use stream::StreamKey;

use crate::limit;
use crate::time::Duration;

/// What a client sends first (RFC 9113 section 3.4). An HTTP/1 parser sees a whole head, up to the empty line.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The part of [`PREFACE`] that looks like an HTTP/1 head.
pub const PREFACE_HEAD: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// `envoy.config.core.v3.Http2ProtocolOptions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2Options {
    /// Streams that a peer may have open at once.
    pub max_concurrent_streams: u32,
    /// Window of each stream, in bytes: what a peer may send before we have passed it on.
    pub stream_window: u32,
    /// Window of the connection, in bytes.
    pub connection_window: u32,
    /// Size of the HPACK table that we offer, in bytes.
    pub header_table_size: u32,
    /// Whether clients may use extended CONNECT (RFC 8441).
    pub allow_connect: bool,
    /// Largest head, in bytes as RFC 9113 section 6.5.2 counts them.
    pub max_header_bytes: u32,
    /// Send a PING when nothing was received for so long, and give up if it is not answered for so long.
    pub keepalive: Option<Keepalive>,
    /// Frames in a row without a payload.
    pub max_empty_frames: u32,
    /// PRIORITY frames for each stream.
    pub max_priority_frames: u32,
    /// WINDOW_UPDATE frames for each DATA frame that we sent.
    pub max_window_updates: u32,
}

/// `connection_keepalive`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Time between PINGs.
    pub interval: Duration,
    /// Time for an answer.
    pub timeout: Duration,
}

impl Default for Http2Options {
    fn default() -> Self {
        Http2Options {
            max_concurrent_streams: limit::STREAMS,
            stream_window: limit::STREAM_WINDOW,
            connection_window: limit::CONNECTION_WINDOW,
            header_table_size: 4096,
            allow_connect: false,
            max_header_bytes: limit::HEAD_KB * 1024,
            keepalive: None,
            max_empty_frames: limit::EMPTY_FRAMES,
            max_priority_frames: limit::PRIORITY_FRAMES,
            max_window_updates: limit::WINDOW_UPDATES,
        }
    }
}
