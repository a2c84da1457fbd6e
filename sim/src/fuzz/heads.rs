//! Heads and bodies of HTTP/1.

use bytes::BytesMut;
use weir_core::http::{Fields, RequestHead, ResponseHead};
use weir_core::http1::body::{Decoder, Piece};
use weir_core::http1::framing::{self, Framing};
use weir_core::http1::{encode, parse};

/// Any bytes as a request head: what is accepted is accepted again when it is written out.
///
/// # Panics
/// If not.
pub fn request_head(input: &[u8]) {
    let (limits, mut head) = (parse::HeadLimits::default(), RequestHead::default());
    if parse::request(input, limits, &mut head).is_err() || framing::request(&mut head, false).is_err() {
        return;
    }
    // An HTTP/1.0 request may lack Host; the connection manager adds one before it goes on.
    if head.authority().is_empty() {
        return;
    }
    let (mut written, mut again) = (BytesMut::new(), RequestHead::default());
    encode::request_head(&head, &mut written);
    parse::request(&written, limits, &mut again).expect("what we write, we read");
    assert_eq!((again.method(), again.fields.len()), (head.method(), head.fields.len()));
}

/// Any bytes as a response head: what is accepted is accepted again when it is written out.
///
/// # Panics
/// If not.
pub fn response_head(input: &[u8]) {
    let (limits, mut head) = (parse::HeadLimits::default(), ResponseHead::default());
    if parse::response(input, limits, &mut head).is_err() || framing::response(&mut head, false).is_err() {
        return;
    }
    let (mut written, mut again) = (BytesMut::new(), ResponseHead::default());
    encode::response_head(&head, &mut written);
    parse::response(&written, limits, &mut again).expect("what we write, we read");
    assert_eq!((again.status, again.fields.len()), (head.status, head.fields.len()));
}

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Whole,
    Refused,
    NotYet,
}

/// Reads a body that comes in these pieces.
pub(super) fn decode<'a>(framing: Framing, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Ended) {
    let (mut decoder, mut body, mut trailers) = (Decoder::new(framing), Vec::new(), Fields::default());
    let mut input = BytesMut::new();
    if decoder.is_done() {
        return (body, Ended::Whole);
    }
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input, parse::HeadLimits::default(), &mut trailers) {
                Ok(Piece::Data(data)) => body.extend_from_slice(&data),
                Ok(Piece::More) => break,
                Ok(Piece::End) => return (body, Ended::Whole),
                Err(_) => return (body, Ended::Refused),
            }
            if decoder.is_done() {
                return (body, Ended::Whole);
            }
        }
    }
    (body, Ended::NotYet)
}

/// Any bytes as a chunked body: whole and byte by byte give the same body and the same verdict.
///
/// # Panics
/// If not.
pub fn chunked(input: &[u8]) {
    assert_eq!(decode(Framing::Chunked, std::iter::once(input)), decode(Framing::Chunked, input.chunks(1)));
}
