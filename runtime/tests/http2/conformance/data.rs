//! RFC 9113, 6.1: DATA.

use super::{Case, case, connection_error, run, served, stream_error};
use crate::block::Block;
use crate::names::{code, flag, kind};

#[test]
fn data() {
    run(CASES);
}

const CASES: &[Case] = &[
    case("6.1", "DATA are taken", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.data(1, b"test", true);
        served(&mut client, 1)
    }),
    case("6.1", "many DATA are taken", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        for n in 0..50 {
            client.data(1, b"test", n == 49);
        }
        served(&mut client, 1)
    }),
    case("6.1", "empty DATA end a stream", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.data(1, b"", true);
        served(&mut client, 1)
    }),
    case("6.1", "padded DATA are taken", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post().field("content-length", "4"), false);
        client.frame(kind::DATA, flag::PADDED | flag::END_STREAM, 1, b"\x06test\0\0\0\0\0\0");
        served(&mut client, 1)
    }),
    case("6.1", "DATA of padding alone are taken", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post().field("content-length", "0"), false);
        client.frame(kind::DATA, flag::PADDED | flag::END_STREAM, 1, &[3, 0, 0, 0]);
        served(&mut client, 1)
    }),
    case("6.1", "DATA with a pad length of 0 are taken", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post().field("content-length", "4"), false);
        client.frame(kind::DATA, flag::PADDED | flag::END_STREAM, 1, b"\0test");
        served(&mut client, 1)
    }),
    case("6.1", "DATA on stream 0 are PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.data(0, b"test", true);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.1", "DATA on a stream that is not open are STREAM_CLOSED", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::get(), true);
        client.data(1, b"test", true);
        // The `h2` crate takes it for a body that is longer than it should be.
        stream_error(&mut client, 1, &[code::STREAM_CLOSED, code::PROTOCOL_ERROR])
    }),
    case("6.1", "padding as long as the payload is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.frame(kind::DATA, flag::PADDED | flag::END_STREAM, 1, b"\x05test");
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.1", "padding longer than the payload is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.frame(kind::DATA, flag::PADDED | flag::END_STREAM, 1, b"\xfftest");
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.1", "padded DATA without a pad length are an error", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.frame(kind::DATA, flag::PADDED | flag::END_STREAM, 1, b"");
        connection_error(&mut client, &[code::PROTOCOL_ERROR, code::FRAME_SIZE_ERROR])
    }),
];
