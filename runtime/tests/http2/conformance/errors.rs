//! RFC 9113, 5.3 to 5.5: dependencies, what an error does to the rest, and extensions.

use super::{Case, case, closed, connection_error, expected, goes_on, goes_on_or_ends, run, served, stream_error};
use crate::block::Block;
use crate::frames::{Client, Event};
use crate::names::{code, flag, kind};

#[test]
fn errors_and_extensions() {
    run(CASES);
}

const CASES: &[Case] = &[
    case("5.3", "HEADERS that depend on their own stream are served or PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        let payload = [&[0, 0, 0, 1, 15][..], &Block::get().0].concat();
        client.frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM | flag::PRIORITY, 1, &payload);
        deprecated(&mut client)
    }),
    case("5.3", "PRIORITY on its own stream is ignored or PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 1, 15]);
        client.headers(1, &Block::get(), true);
        deprecated(&mut client)
    }),
    case("5.4.1", "GOAWAY is the last thing on a connection with an error", |at| {
        let mut client = at.connect()?;
        client.frame(kind::PING, 0, 3, &[0; 8]);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])?;
        closed(&mut client)
    }),
    case("5.4.1", "GOAWAY names the last stream that was looked at", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::get(), true);
        served(&mut client, 1)?;
        client.frame(kind::PING, 0, 3, &[0; 8]);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])?;
        match client.goaways.last() {
            None | Some((1 | 0x7fff_ffff, _)) => Ok(()),
            other => Err(expected("GOAWAY with stream 1")(format!("{other:?}"))),
        }
    }),
    case("5.4.2", "an error of one stream leaves the others alone", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.window_update(1, 0x7fff_ffff);
        stream_error(&mut client, 1, &[code::FLOW_CONTROL_ERROR])?;
        goes_on_or_ends(&mut client, 3)
    }),
    case("5.4.2", "RST_STREAM is not answered by RST_STREAM", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.reset(1, code::CANCEL);
        goes_on(&mut client, 3)?;
        match client.answers.get(&1).and_then(|answer| answer.reset) {
            None => Ok(()),
            Some(code) => Err(expected("no RST_STREAM")(format!("one with {code}"))),
        }
    }),
    case("5.4.3", "a request that the end of the connection cuts harms nobody", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        drop(client);
        goes_on(&mut at.connect()?, 1)
    }),
    case("5.5", "a frame of an unknown type on a stream is ignored", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.frame(0x16, 0xff, 1, b"extension");
        client.data(1, b"x", true);
        served(&mut client, 1)
    }),
    case("5.5", "a frame of an unknown type on an idle stream is ignored", |at| {
        let mut client = at.connect()?;
        client.frame(0xfa, 0, 99, b"grease");
        goes_on(&mut client, 1)
    }),
    case("5.5", "a frame of an unknown type inside a header block is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::HEADERS, flag::END_STREAM, 1, &Block::get().0);
        client.frame(0x16, 0, 0, b"extension");
        client.frame(kind::CONTINUATION, flag::END_HEADERS, 1, &[]);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("5.5", "ALTSVC and ORIGIN from a client are ignored", |at| {
        let mut client = at.connect()?;
        client.frame(0x0a, 0, 0, b"\x00\x04a.tev");
        client.frame(0x0c, 0, 0, b"\x00\x08http://a");
        goes_on(&mut client, 1)
    }),
    case("5.5", "PRIORITY_UPDATE (RFC 9218) is taken or ignored", |at| {
        let mut client = at.connect()?;
        client.frame(0x10, 0, 0, b"\x00\x00\x00\x01u=1");
        goes_on(&mut client, 1)
    }),
];

/// RFC 9113 deprecates what RFC 7540, 5.3 made an error: a server may know it or not.
fn deprecated(client: &mut Client) -> super::Verdict {
    while !client.answers.get(&1).is_some_and(|answer| answer.is_over()) {
        match client.next() {
            Event::Frame(frame) if frame.kind == kind::GOAWAY && frame.word(4) == Some(code::PROTOCOL_ERROR) => return Ok(()),
            Event::Frame(_) => {}
            Event::Closed => return Ok(()),
            other => return Err(expected("an answer or PROTOCOL_ERROR")(format!("{other:?}"))),
        }
    }
    match client.answers.get(&1).and_then(|answer| answer.reset) {
        None | Some(code::PROTOCOL_ERROR) => Ok(()),
        other => Err(expected("an answer or PROTOCOL_ERROR")(format!("{other:?}"))),
    }
}
