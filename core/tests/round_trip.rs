//! Whatever is written is read back: heads and bodies, however they are cut.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use weir_core::buffer::{Blocks, Outbox, SendQueue};
use weir_core::http::{Fields, RequestHead};
use weir_core::http1::body::{Decoder, Piece};
use weir_core::http1::encode::{self, BodyCoding};
use weir_core::http1::framing::Framing;
use weir_core::http1::parse::{self, HeadLimits};

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z][A-Za-z0-9-]{0,20}".prop_filter("framing and Host have rules of their own", |name| {
        !["host", "content-length", "transfer-encoding"].contains(&name.to_ascii_lowercase().as_str())
    })
}

fn sent(queue: &mut SendQueue, blocks: &mut Blocks) -> Vec<u8> {
    let mut out = Outbox::default();
    queue.drain_into(&mut out, usize::MAX, blocks);
    out.slices().flat_map(|slice| slice.iter().copied()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn heads(path in "/[!-\"$-~]{0,40}", fields in proptest::collection::vec((name(), "[!-~]([ -~]{0,30}[!-~])?"), 0..20)) {
        let mut text = format!("GET {path} HTTP/1.1\r\nHost: h\r\n");
        for (name, value) in &fields {
            text.push_str(&format!("{name}:  {value}\t\r\n"));
        }
        text.push_str("\r\n");
        let mut head = RequestHead::default();
        parse::request(text.as_bytes(), HeadLimits::default(), &mut head).expect("it is right");
        let mut written = BytesMut::new();
        encode::request_head(&head, &mut written);
        let mut again = RequestHead::default();
        parse::request(&written, HeadLimits::default(), &mut again).expect("what we write, we read");
        prop_assert_eq!(again.target(), path.as_bytes());
        let got: Vec<(Vec<u8>, Vec<u8>)> = again.fields.iter().skip(1).map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
        let want: Vec<(Vec<u8>, Vec<u8>)> = fields.iter().map(|(n, v)| (n.clone().into_bytes(), v.clone().into_bytes())).collect();
        prop_assert_eq!(got, want);
    }

    #[test]
    fn chunked_bodies(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 0..8), cuts in proptest::collection::vec(1usize..2000, 1..40), trailer in name()) {
        let (mut queue, mut blocks, mut trailers) = (SendQueue::default(), Blocks::default(), Fields::default());
        trailers.push(trailer.as_bytes(), b"v");
        for piece in &pieces {
            encode::body(BodyCoding::Chunked, Bytes::from(piece.clone()), &mut queue, &mut blocks);
        }
        encode::end(BodyCoding::Chunked, &trailers, &mut queue, &mut blocks);
        let mut wire = sent(&mut queue, &mut blocks);
        wire.extend_from_slice(b"next");

        let (mut decoder, mut got, mut read_trailers) = (Decoder::new(Framing::Chunked), Vec::new(), Fields::default());
        let (mut input, mut at, mut cut) = (BytesMut::new(), 0, cuts.iter().cycle());
        'all: loop {
            let take = (*cut.next().expect("cycles")).min(wire.len() - at);
            input.extend_from_slice(&wire[at..at + take]);
            at += take;
            loop {
                match decoder.decode(&mut input, HeadLimits::default(), &mut read_trailers).expect("it is right") {
                    Piece::Data(data) => got.extend_from_slice(&data),
                    Piece::More => break,
                    Piece::End => break 'all,
                }
            }
            prop_assert!(at < wire.len(), "the end was not seen");
        }
        prop_assert_eq!(got, pieces.concat());
        let framing_name = ["trailer", "connection"].contains(&trailer.to_ascii_lowercase().as_str());
        prop_assert_eq!(read_trailers.len(), usize::from(!framing_name));
        input.extend_from_slice(&wire[at..]);
        prop_assert_eq!(&input[..], b"next");
    }

    #[test]
    fn any_bytes_are_a_request_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse::request(&bytes, HeadLimits::default(), &mut RequestHead::default());
    }
}
