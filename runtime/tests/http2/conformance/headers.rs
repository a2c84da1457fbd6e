//! RFC 9113, 6.2 and 6.10: HEADERS and CONTINUATION; and PUSH_PROMISE (6.6), which no client may send.

use super::{Case, case, connection_error, run, served};
use crate::block::Block;
use crate::names::{code, flag, kind};

#[test]
fn headers_and_continuation() {
    run(CASES);
}

const ALL: u8 = flag::END_HEADERS | flag::END_STREAM;

const CASES: &[Case] = &[
    case("6.2", "HEADERS are taken", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::get(), true);
        served(&mut client, 1)
    }),
    case("6.2", "padded HEADERS are taken", |at| {
        let mut client = at.connect()?;
        client.frame(kind::HEADERS, ALL | flag::PADDED, 1, &[&[6][..], &Block::get().0, &[0; 6]].concat());
        served(&mut client, 1)
    }),
    case("6.2", "HEADERS with a priority are taken", |at| {
        let mut client = at.connect()?;
        client.frame(kind::HEADERS, ALL | flag::PRIORITY, 1, &[&[0, 0, 0, 0, 15][..], &Block::get().0].concat());
        served(&mut client, 1)
    }),
    case("6.2", "padded HEADERS with an exclusive priority are taken", |at| {
        let mut client = at.connect()?;
        let payload = [&[2, 0x80, 0, 0, 0, 255][..], &Block::get().0, &[0; 2]].concat();
        client.frame(kind::HEADERS, ALL | flag::PADDED | flag::PRIORITY, 1, &payload);
        served(&mut client, 1)
    }),
    case("6.2", "HEADERS on stream 0 are PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.headers(0, &Block::get(), true);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.2", "padding longer than the payload is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        let block = Block::get().0;
        client.frame(kind::HEADERS, ALL | flag::PADDED, 1, &[&[block.len() as u8 + 1][..], &block].concat());
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.2", "padding that eats into the priority is an error", |at| {
        let mut client = at.connect()?;
        client.frame(kind::HEADERS, ALL | flag::PADDED | flag::PRIORITY, 1, &[3, 0, 0, 0, 0, 15]);
        connection_error(&mut client, &[code::PROTOCOL_ERROR, code::FRAME_SIZE_ERROR])
    }),
    case("6.2", "HEADERS too short for their priority are an error", |at| {
        let mut client = at.connect()?;
        client.frame(kind::HEADERS, ALL | flag::PRIORITY, 1, &[0, 0]);
        connection_error(&mut client, &[code::PROTOCOL_ERROR, code::FRAME_SIZE_ERROR])
    }),
    case("6.10", "one CONTINUATION is taken", |at| {
        let mut client = at.connect()?;
        client.frame(kind::HEADERS, flag::END_STREAM, 1, &Block::get().0);
        client.frame(kind::CONTINUATION, flag::END_HEADERS, 1, &Block::new().field("x-one", "1").0);
        served(&mut client, 1)
    }),
    case("6.10", "a few CONTINUATIONs are taken, cut wherever", |at| {
        let mut client = at.connect()?;
        let block = Block::get().field("x-one", &"1".repeat(40)).0;
        let mut pieces = block.chunks(30).peekable();
        client.frame(kind::HEADERS, flag::END_STREAM, 1, pieces.next().unwrap_or_default());
        while let Some(piece) = pieces.next() {
            client.frame(kind::CONTINUATION, if pieces.peek().is_some() { 0 } else { flag::END_HEADERS }, 1, piece);
        }
        served(&mut client, 1)
    }),
    case("6.10", "an empty CONTINUATION ends a header block", |at| {
        let mut client = at.connect()?;
        client.frame(kind::HEADERS, flag::END_STREAM, 1, &Block::get().0);
        client.frame(kind::CONTINUATION, flag::END_HEADERS, 1, &[]);
        served(&mut client, 1)
    }),
    case("6.10", "HEADERS may be empty before CONTINUATION", |at| {
        let mut client = at.connect()?;
        client.frame(kind::HEADERS, flag::END_STREAM, 1, &[]);
        client.frame(kind::CONTINUATION, flag::END_HEADERS, 1, &Block::get().0);
        served(&mut client, 1)
    }),
    case("6.10", "DATA inside a header block is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::HEADERS, 0, 1, &Block::post().0);
        client.frame(kind::CONTINUATION, 0, 1, &Block::new().field("x-one", "1").0);
        client.data(1, b"test", true);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.10", "SETTINGS inside a header block are PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::HEADERS, flag::END_STREAM, 1, &Block::get().0);
        client.settings(&[]);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.10", "CONTINUATION on stream 0 is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::HEADERS, flag::END_STREAM, 1, &Block::get().0);
        client.frame(kind::CONTINUATION, flag::END_HEADERS, 0, &Block::new().field("x-one", "1").0);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.10", "CONTINUATION of another stream is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::HEADERS, flag::END_STREAM, 1, &Block::get().0);
        client.frame(kind::CONTINUATION, flag::END_HEADERS, 3, &Block::new().field("x-one", "1").0);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.10", "CONTINUATION after END_HEADERS is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.frame(kind::CONTINUATION, flag::END_HEADERS, 1, &Block::new().field("x-one", "1").0);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.10", "CONTINUATION after a CONTINUATION with END_HEADERS is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::HEADERS, 0, 1, &Block::post().0);
        client.frame(kind::CONTINUATION, flag::END_HEADERS, 1, &Block::new().field("x-one", "1").0);
        client.frame(kind::CONTINUATION, flag::END_HEADERS, 1, &Block::new().field("x-two", "1").0);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.10", "CONTINUATION after DATA is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.data(1, b"test", false);
        client.frame(kind::CONTINUATION, flag::END_HEADERS, 1, &Block::new().field("x-one", "1").0);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.6", "PUSH_PROMISE from a client is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, &[&[0, 0, 0, 2][..], &Block::get().0].concat());
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
];
