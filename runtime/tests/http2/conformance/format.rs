//! RFC 9113, 4: the format and the size of frames, and what is an error of compression.

use super::{Case, alive, case, connection_error, goes_on, run, served, stream_error};
use crate::block::Block;
use crate::names::{code, flag, kind};

#[test]
fn frame_format() {
    run(CASES);
}

const CASES: &[Case] = &[
    case("4.1", "a frame of an unknown type is ignored", |at| {
        let mut client = at.connect()?;
        client.frame(0xbb, 0, 0, &[0; 8]);
        goes_on(&mut client, 1)
    }),
    case("4.1", "flags that a type does not define are ignored", |at| {
        let mut client = at.connect()?;
        client.frame(kind::PING, 0x16 & !flag::ACK, 0, &[7; 8]);
        goes_on(&mut client, 1)
    }),
    case("4.1", "the reserved bit of the stream identifier is ignored", |at| {
        let mut client = at.connect()?;
        client.frame(kind::PING, 0, 0x8000_0000, &[7; 8]);
        alive(&mut client)
    }),
    case("4.1", "the reserved bit of HEADERS is ignored", |at| {
        let mut client = at.connect()?;
        client.frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 0x8000_0001, &Block::get().0);
        served(&mut client, 1)
    }),
    case("4.2", "DATA of 2^14 bytes are taken", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.data(1, &[b'x'; 1 << 14], true);
        served(&mut client, 1)
    }),
    case("4.2", "DATA above SETTINGS_MAX_FRAME_SIZE are FRAME_SIZE_ERROR", |at| {
        let mut client = at.connect()?;
        let most = client.settings.get(&5).copied().unwrap_or(1 << 14) as usize;
        client.headers(1, &Block::post(), false);
        client.data(1, &vec![b'x'; most + 1], true);
        stream_error(&mut client, 1, &[code::FRAME_SIZE_ERROR])
    }),
    case("4.2", "HEADERS above SETTINGS_MAX_FRAME_SIZE are a connection error", |at| {
        let mut client = at.connect()?;
        let most = client.settings.get(&5).copied().unwrap_or(1 << 14) as usize;
        client.headers(1, &Block::get().field("x-fill", &"x".repeat(most)), true);
        connection_error(&mut client, &[code::FRAME_SIZE_ERROR])
    }),
    case("4.2", "SETTINGS above SETTINGS_MAX_FRAME_SIZE are a connection error", |at| {
        let mut client = at.connect()?;
        let most = client.settings.get(&5).copied().unwrap_or(1 << 14) as usize;
        client.settings(&vec![(0x99, 0); most / 6 + 1]);
        connection_error(&mut client, &[code::FRAME_SIZE_ERROR, code::ENHANCE_YOUR_CALM])
    }),
    case("4.2", "a length far above the limit is FRAME_SIZE_ERROR before the payload has come", |at| {
        let mut client = at.connect()?;
        client.lie(0xff_ffff, kind::PING, 0, 0, &[0; 8]);
        connection_error(&mut client, &[code::FRAME_SIZE_ERROR])
    }),
    case("4.3", "a header block that cannot be read is COMPRESSION_ERROR", |at| {
        let mut client = at.connect()?;
        // A literal of a name of 10 bytes, of which none come.
        client.headers(1, &Block::new().raw(&[0x00, 0x0a]), true);
        connection_error(&mut client, &super::COMPRESSION)
    }),
    case("4.3", "PRIORITY inside a header block is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::HEADERS, flag::END_STREAM, 1, &Block::get().0);
        client.frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 15]);
        client.frame(kind::CONTINUATION, flag::END_HEADERS, 1, &Block::new().field("x", "y").0);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("4.3", "HEADERS of another stream inside a header block are PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::HEADERS, flag::END_STREAM, 1, &Block::get().0);
        client.headers(3, &Block::get(), true);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("4.3", "the table outlives a refused request", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::get().insert("x-kept", "1").field("Bad", "name"), true);
        let _ = super::malformed(&mut client, 1);
        if !client.goaways.is_empty() || client.is_alive().is_err() {
            return Ok(());
        }
        client.headers(3, &Block::get().indexed(62), true);
        served(&mut client, 3)
    }),
];
