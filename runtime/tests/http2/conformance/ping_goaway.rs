//! RFC 9113, 6.7 and 6.8: PING and GOAWAY.

use super::{Case, alive, case, connection_error, expected, run, served};
use crate::block::Block;
use crate::frames::Event;
use crate::names::{code, flag, kind};

#[test]
fn ping_and_goaway() {
    run(CASES);
}

const CASES: &[Case] = &[
    case("6.7", "PING is answered with the same payload", |at| {
        let mut client = at.connect()?;
        client.ping(*b"\x00\xffping\r\n");
        loop {
            match client.next() {
                Event::Frame(frame) if frame.kind == kind::PING => {
                    let right = frame.has(flag::ACK) && frame.stream == 0 && frame.payload == b"\x00\xffping\r\n";
                    return if right { Ok(()) } else { Err(expected("an ACK")(format!("{frame:?}"))) };
                }
                Event::Frame(_) => {}
                other => return Err(expected("an ACK")(format!("{other:?}"))),
            }
        }
    }),
    case("6.7", "PING amid a request is answered", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        alive(&mut client)?;
        client.data(1, b"test", true);
        served(&mut client, 1)
    }),
    case("6.7", "PING with ACK is not answered", |at| {
        let mut client = at.connect()?;
        client.frame(kind::PING, flag::ACK, 0, b"invalid!");
        client.ping(*b"a second");
        loop {
            match client.next() {
                Event::Frame(frame) if frame.kind == kind::PING => {
                    return if frame.payload == b"a second" { Ok(()) } else { Err(expected("no answer")(format!("{frame:?}"))) };
                }
                Event::Frame(_) => {}
                other => return Err(expected("an ACK of the second")(format!("{other:?}"))),
            }
        }
    }),
    case("6.7", "PING on a stream is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::PING, 0, 1, &[0; 8]);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.7", "PING of 6 bytes is FRAME_SIZE_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::PING, 0, 0, &[0; 6]);
        connection_error(&mut client, &[code::FRAME_SIZE_ERROR])
    }),
    case("6.7", "PING of 9 bytes is FRAME_SIZE_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::PING, 0, 0, &[0; 9]);
        connection_error(&mut client, &[code::FRAME_SIZE_ERROR])
    }),
    case("6.7", "PING without payload is FRAME_SIZE_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::PING, 0, 0, &[]);
        connection_error(&mut client, &[code::FRAME_SIZE_ERROR])
    }),
    case("6.8", "GOAWAY on a stream is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::GOAWAY, 0, 1, &[0; 8]);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.8", "a request before the client's GOAWAY is answered", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::get(), true);
        client.frame(kind::GOAWAY, 0, 0, &[0; 8]);
        served(&mut client, 1)
    }),
    case("6.8", "after GOAWAY a PING is answered or the connection ends", |at| {
        let mut client = at.connect()?;
        client.frame(kind::GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0debug data");
        client.ping(*b"and then");
        match client.next() {
            Event::Closed => Ok(()),
            Event::Frame(frame) if matches!(frame.kind, kind::PING | kind::GOAWAY | kind::WINDOW_UPDATE) => Ok(()),
            other => Err(expected("an ACK or the end")(format!("{other:?}"))),
        }
    }),
    case("6.8", "GOAWAY of 7 bytes is FRAME_SIZE_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::GOAWAY, 0, 0, &[0; 7]);
        connection_error(&mut client, &[code::FRAME_SIZE_ERROR])
    }),
];
