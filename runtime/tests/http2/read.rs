//! Frames as bytes and as values, and what a client keeps of them.

use crate::names::{flag, kind};

/// A list of fields as it was decoded.
pub type Fields = Vec<(String, String)>;

/// A frame that was read.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The 32 bits at a place of the payload; `None` if it is too short.
    pub fn word(&self, at: usize) -> Option<u32> {
        self.payload.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
    }
}

/// What a read comes to.
#[derive(Clone, Debug)]
pub enum Event {
    Frame(Frame),
    /// The peer closed the connection, or reset it.
    Closed,
    /// Nothing came in time.
    Silent,
    /// This is no HTTP/2; a message shows why.
    #[allow(dead_code)]
    Nonsense(String),
}

/// What came on a stream so far.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub informational: Vec<(u16, Fields)>,
    pub status: u16,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Option<Fields>,
    pub ended: bool,
    pub reset: Option<u32>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn is_over(&self) -> bool {
        self.ended || self.reset.is_some()
    }
}

/// The bytes of a frame.
pub fn encode(length: usize, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (length as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

pub fn unpadded(frame: &Frame) -> &[u8] {
    let mut payload = &frame.payload[..];
    if frame.has(flag::PADDED)
        && let Some((&padding, rest)) = payload.split_first()
    {
        payload = rest.get(..rest.len().saturating_sub(usize::from(padding))).unwrap_or_default();
    }
    if frame.kind == kind::HEADERS && frame.has(flag::PRIORITY) {
        payload = payload.get(5..).unwrap_or_default();
    }
    payload
}
