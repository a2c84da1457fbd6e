//! RFC 9113, 6.9: WINDOW_UPDATE and the arithmetic of windows.

use super::{Case, Verdict, case, connection_error, expected, run, served, stream_error};
use crate::block::Block;
use crate::frames::{Client, Event};
use crate::names::{code, kind, setting};
use std::time::Duration;

#[test]
fn flow_control() {
    run(CASES);
}

/// Payload of the next DATA of a stream.
pub(super) fn first_data(client: &mut Client, stream: u32) -> Result<usize, (String, String)> {
    loop {
        match client.next() {
            Event::Frame(frame) if frame.kind == kind::DATA && frame.stream == stream => return Ok(frame.payload.len()),
            Event::Frame(_) => {}
            other => return Err(expected("DATA")(format!("{other:?}; {:?}", client.answers))),
        }
    }
}

fn data_of(client: &mut Client, stream: u32, want: usize) -> Verdict {
    let came = first_data(client, stream)?;
    if came == want { Ok(()) } else { Err(expected(&format!("DATA of {want} bytes"))(format!("{came} bytes"))) }
}

/// No payload comes for a while. Empty DATA may (6.9.1).
fn no_data(client: &mut Client) -> Verdict {
    let patience = std::mem::replace(&mut client.patience, Duration::from_millis(300));
    let verdict = loop {
        match client.next() {
            Event::Frame(frame) if frame.kind == kind::DATA && !frame.payload.is_empty() => {
                break Err(expected("no DATA")(format!("{} bytes", frame.payload.len())));
            }
            Event::Frame(_) => {}
            Event::Silent => break Ok(()),
            other => break Err(expected("no DATA")(format!("{other:?}"))),
        }
    };
    client.patience = patience;
    verdict
}

fn with_window(at: super::At, window: u32) -> Result<Client, (String, String)> {
    let mut client = at.connect_with(&[(setting::INITIAL_WINDOW_SIZE, window)])?;
    client.credit = false;
    client.headers(1, &Block::get(), true);
    Ok(client)
}

const CASES: &[Case] = &[
    case("6.9", "WINDOW_UPDATE of 0 on the connection is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.window_update(0, 0);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.9", "WINDOW_UPDATE of 0 on a stream is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.window_update(1, 0);
        stream_error(&mut client, 1, &[code::PROTOCOL_ERROR])
    }),
    case("6.9", "WINDOW_UPDATE of 3 bytes is FRAME_SIZE_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 1]);
        connection_error(&mut client, &[code::FRAME_SIZE_ERROR])
    }),
    case("6.9", "WINDOW_UPDATE of 5 bytes on a stream is FRAME_SIZE_ERROR", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 0, 1]);
        connection_error(&mut client, &[code::FRAME_SIZE_ERROR])
    }),
    case("6.9", "the reserved bit of WINDOW_UPDATE is ignored", |at| {
        let mut client = with_window(at, 0)?;
        client.window_update(1, 0x8000_0001);
        data_of(&mut client, 1, 1)
    }),
    case("6.9", "a window is given back as a body is taken", |at| {
        let mut client = at.connect()?;
        let window = client.settings.get(&setting::INITIAL_WINDOW_SIZE).copied().unwrap_or(65_535).min(65_535) as usize;
        client.headers(1, &Block::post(), false);
        for chunk in vec![b'x'; window].chunks(1 << 14) {
            client.data(1, chunk, false);
        }
        // Whoever takes no body of such a request may answer at once.
        loop {
            match client.next() {
                Event::Frame(frame) if matches!(frame.kind, kind::WINDOW_UPDATE | kind::HEADERS) && frame.stream == 1 => return Ok(()),
                Event::Frame(_) => {}
                other => return Err(expected("WINDOW_UPDATE")(format!("{other:?}"))),
            }
        }
    }),
    case("6.9.1", "DATA stay within the window of the stream", |at| {
        let mut client = with_window(at, 1)?;
        data_of(&mut client, 1, 1)?;
        no_data(&mut client)
    }),
    case("6.9.1", "DATA go on byte for byte of the window", |at| {
        let mut client = with_window(at, 1)?;
        for _ in 0..4 {
            data_of(&mut client, 1, 1)?;
            client.window_update(1, 1);
        }
        data_of(&mut client, 1, 1)
    }),
    case("6.9.1", "a window of 2^31-1 that grows is FLOW_CONTROL_ERROR, on the connection", |at| {
        let mut client = at.connect()?;
        client.window_update(0, 0x7fff_ffff);
        client.window_update(0, 0x7fff_ffff);
        connection_error(&mut client, &[code::FLOW_CONTROL_ERROR])
    }),
    case("6.9.1", "a window of 2^31-1 that grows is FLOW_CONTROL_ERROR, on a stream", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.window_update(1, 0x7fff_ffff);
        client.window_update(1, 0x7fff_ffff);
        stream_error(&mut client, 1, &[code::FLOW_CONTROL_ERROR])
    }),
    case("6.9.1", "a window may grow to just 2^31-1", |at| {
        let mut client = at.connect()?;
        client.window_update(0, 0x7fff_ffff - 65_535);
        client.headers(1, &Block::post(), false);
        client.window_update(1, 0x7fff_ffff - 65_535);
        client.data(1, b"", true);
        served(&mut client, 1)
    }),
    case("6.9.1", "a window of 0 lets HEADERS through", |at| {
        let mut client = with_window(at, 0)?;
        client.read_until(|client| client.answers.get(&1).is_some_and(|answer| answer.status != 0)).map_err(expected("HEADERS"))?;
        no_data(&mut client)
    }),
    case("6.9.2", "a larger SETTINGS_INITIAL_WINDOW_SIZE frees a stream that waits", |at| {
        let mut client = with_window(at, 0)?;
        client.read_until(|client| client.answers.get(&1).is_some_and(|answer| answer.status != 0)).map_err(expected("HEADERS"))?;
        client.settings(&[(setting::INITIAL_WINDOW_SIZE, 1)]);
        data_of(&mut client, 1, 1)
    }),
    case("6.9.2", "a window that SETTINGS made negative is kept track of", |at| {
        let mut client = with_window(at, 3)?;
        data_of(&mut client, 1, 3)?;
        client.settings(&[(setting::INITIAL_WINDOW_SIZE, 2)]);
        client.window_update(1, 1);
        no_data(&mut client)?;
        client.window_update(1, 1);
        data_of(&mut client, 1, 1)
    }),
    case("6.9.2", "SETTINGS that overflow the window of a stream are FLOW_CONTROL_ERROR", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.window_update(1, 0x7fff_ffff - 65_535);
        client.settings(&[(setting::INITIAL_WINDOW_SIZE, 65_536)]);
        stream_error(&mut client, 1, &[code::FLOW_CONTROL_ERROR])
    }),
    case("6.9.2", "SETTINGS do not change the window of the connection", |at| {
        let mut client = at.connect_with(&[(setting::INITIAL_WINDOW_SIZE, 0)])?;
        client.settings(&[(setting::INITIAL_WINDOW_SIZE, 65_535)]);
        client.headers(1, &Block::get(), true);
        served(&mut client, 1)
    }),
    case("6.9.2", "a padded frame takes its padding from the window", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        let payload = [b"\xffx", &[0; 255][..]].concat();
        // More than 65,535 bytes in all, within the window if the server gives back padding too.
        for n in 0..400 {
            client.frame(kind::DATA, 0x08 | u8::from(n == 399), 1, &payload);
            if n % 100 == 99 {
                client.is_alive().map_err(expected("that padding is given back"))?;
            }
        }
        served(&mut client, 1)
    }),
];
