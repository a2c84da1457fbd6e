//! RFC 9113, 3.4: how a connection begins.

use super::{Case, case, closed, connection_error, expected, goes_on, run, served};
use crate::block::Block;
use crate::frames::{Event, PREFACE, encode};
use crate::names::{code, flag, kind};
use std::time::Duration;

#[test]
fn preface() {
    run(CASES);
}

/// Reads to the end whatever it is: a server of both versions answers nonsense in HTTP/1.1.
fn ends(client: &mut crate::frames::Client) -> super::Verdict {
    match client.next() {
        Event::Closed | Event::Nonsense(_) => Ok(()),
        Event::Frame(frame) if frame.kind == kind::GOAWAY => Ok(()),
        Event::Frame(_) => closed(client),
        Event::Silent => Err(expected("an end")("nothing".into())),
    }
}

const CASES: &[Case] = &[
    case("3.4", "the server's first frame is SETTINGS", |at| {
        let mut client = at.silent()?;
        client.write(PREFACE);
        client.settings(&[]);
        match client.next() {
            Event::Frame(frame) if frame.kind == kind::SETTINGS && !frame.has(flag::ACK) => Ok(()),
            other => Err(expected("SETTINGS")(format!("{other:?}"))),
        }
    }),
    case("3.4", "the client's SETTINGS are acknowledged", |at| at.connect().map(drop)),
    case("3.4", "a preface that is another text ends the connection", |at| {
        let mut client = at.silent()?;
        client.write(b"INVALID CONNECTION PREFACE\r\n\r\n");
        ends(&mut client)
    }),
    case("3.4", "a preface that goes wrong in the middle ends the connection", |at| {
        let mut client = at.silent()?;
        client.write(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
        client.settings(&[]);
        ends(&mut client)
    }),
    case("3.4", "a frame that is no SETTINGS after the preface is PROTOCOL_ERROR", |at| {
        let mut client = at.silent()?;
        client.write(PREFACE);
        client.ping([0; 8]);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("3.4", "HEADERS before SETTINGS are PROTOCOL_ERROR", |at| {
        let mut client = at.silent()?;
        client.write(PREFACE);
        client.headers(1, &Block::get(), true);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("3.4", "the preface may come byte by byte", |at| {
        let mut client = at.silent()?;
        for byte in [PREFACE, &encode(0, kind::SETTINGS, 0, 0, &[])[..]].concat() {
            client.write(&[byte]);
            std::thread::sleep(Duration::from_millis(1));
        }
        client.headers(1, &Block::get(), true);
        served(&mut client, 1)
    }),
    case("3.4", "frames may follow the preface at once", |at| {
        let mut client = at.silent()?;
        let settings = encode(0, kind::SETTINGS, 0, 0, &[]);
        let block = Block::get().0;
        let headers = encode(block.len(), kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, &block);
        client.write(&[PREFACE, &settings, &headers].concat());
        served(&mut client, 1)
    }),
    case("3.4", "a connection goes on after the exchange", |at| {
        let mut client = at.connect()?;
        goes_on(&mut client, 1)
    }),
];
