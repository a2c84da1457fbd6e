//! RFC 9113, 6.3 and 6.4: PRIORITY and RST_STREAM.

use super::{Case, case, connection_error, goes_on, run, served, stream_error};
use crate::block::Block;
use crate::names::{code, kind};

#[test]
fn priority_and_reset() {
    run(CASES);
}

const CASES: &[Case] = &[
    case("6.3", "PRIORITY is taken before, amid and after a request", |at| {
        let mut client = at.connect()?;
        client.frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 15]);
        client.headers(1, &Block::post(), false);
        client.frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 255]);
        client.data(1, b"test", true);
        served(&mut client, 1)?;
        client.frame(kind::PRIORITY, 0, 1, &[0x80, 0, 0, 0, 1]);
        goes_on(&mut client, 3)
    }),
    case("6.3", "PRIORITY may depend on a stream that is idle", |at| {
        let mut client = at.connect()?;
        client.frame(kind::PRIORITY, 0, 3, &[0, 0, 0, 99, 1]);
        goes_on(&mut client, 1)
    }),
    case("6.3", "PRIORITY on stream 0 is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::PRIORITY, 0, 0, &[0, 0, 0, 1, 15]);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.3", "PRIORITY of 4 bytes is FRAME_SIZE_ERROR", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.frame(kind::PRIORITY, 0, 1, &[0; 4]);
        stream_error(&mut client, 1, &[code::FRAME_SIZE_ERROR])
    }),
    case("6.3", "PRIORITY of 6 bytes is FRAME_SIZE_ERROR", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.frame(kind::PRIORITY, 0, 1, &[0; 6]);
        stream_error(&mut client, 1, &[code::FRAME_SIZE_ERROR])
    }),
    case("6.4", "RST_STREAM ends a stream and no more", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.reset(1, code::CANCEL);
        goes_on(&mut client, 3)
    }),
    case("6.4", "an unknown error code is a code like any other", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.reset(1, 0xdead_beef);
        goes_on(&mut client, 3)
    }),
    case("6.4", "RST_STREAM on stream 0 is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.reset(0, code::CANCEL);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.4", "RST_STREAM on an idle stream is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.reset(1, code::CANCEL);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.4", "RST_STREAM of 3 bytes is FRAME_SIZE_ERROR", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.frame(kind::RST_STREAM, 0, 1, &[0; 3]);
        connection_error(&mut client, &[code::FRAME_SIZE_ERROR])
    }),
    case("6.4", "RST_STREAM of 5 bytes is FRAME_SIZE_ERROR", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.frame(kind::RST_STREAM, 0, 1, &[0; 5]);
        connection_error(&mut client, &[code::FRAME_SIZE_ERROR])
    }),
];
