#![no_main]
//! Any bytes as a chunked body: whole and byte by byte give the same body and the same verdict.

use bytes::BytesMut;
use weir_core::http::Fields;
use weir_core::http1::body::{Decoder, Piece};
use weir_core::http1::{framing::Framing, parse};

fn decode(pieces: &mut dyn Iterator<Item = &[u8]>) -> (Vec<u8>, bool, bool) {
    let (mut decoder, mut body, mut trailers) = (Decoder::new(Framing::Chunked), Vec::new(), Fields::default());
    let mut input = BytesMut::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input, parse::HeadLimits::default(), &mut trailers) {
                Ok(Piece::Data(data)) => body.extend_from_slice(&data),
                Ok(Piece::More) => break,
                Ok(Piece::End) => return (body, true, true),
                Err(_) => return (body, false, true),
            }
        }
    }
    (body, true, false)
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (whole, cut) = (decode(&mut std::iter::once(input)), decode(&mut input.chunks(1)));
    assert_eq!(whole, cut);
});
