//! RFC 9113, 6.5: SETTINGS.

use super::{Case, answered, case, connection_error, expected, goes_on, run};
use crate::block::Block;
use crate::frames::Event;
use crate::names::{code, flag, kind, setting};

#[test]
fn settings() {
    run(CASES);
}

const CASES: &[Case] = &[
    case("6.5", "SETTINGS are acknowledged", |at| {
        let mut client = at.connect()?;
        client.settings(&[(setting::MAX_CONCURRENT_STREAMS, 100), (setting::INITIAL_WINDOW_SIZE, 100_000)]);
        loop {
            match client.next() {
                Event::Frame(frame) if frame.kind == kind::SETTINGS && frame.has(flag::ACK) => {
                    return if frame.payload.is_empty() && frame.stream == 0 {
                        Ok(())
                    } else {
                        Err(expected("an ACK")(format!("{frame:?}")))
                    };
                }
                Event::Frame(_) => {}
                other => return Err(expected("an ACK")(format!("{other:?}"))),
            }
        }
    }),
    case("6.5", "empty SETTINGS amid a connection are taken", |at| {
        let mut client = at.connect()?;
        client.settings(&[]);
        goes_on(&mut client, 1)
    }),
    case("6.5", "ACK with a payload is FRAME_SIZE_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::SETTINGS, flag::ACK, 0, &[0; 6]);
        connection_error(&mut client, &[code::FRAME_SIZE_ERROR])
    }),
    case("6.5", "SETTINGS on a stream are PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 100]);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.5", "SETTINGS on an open stream are PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.frame(kind::SETTINGS, 0, 1, &[]);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.5", "a length that is no multiple of 6 is FRAME_SIZE_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::SETTINGS, 0, 0, &[0, 3, 0]);
        connection_error(&mut client, &[code::FRAME_SIZE_ERROR])
    }),
    case("6.5.2", "SETTINGS_ENABLE_PUSH of 2 is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.settings(&[(setting::ENABLE_PUSH, 2)]);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.5.2", "SETTINGS_ENABLE_PUSH of 0 and 1 are taken", |at| {
        let mut client = at.connect()?;
        client.settings(&[(setting::ENABLE_PUSH, 1)]);
        client.settings(&[(setting::ENABLE_PUSH, 0)]);
        goes_on(&mut client, 1)
    }),
    case("6.5.2", "a server does not say SETTINGS_ENABLE_PUSH of 1", |at| {
        let client = at.connect()?;
        match client.settings.get(&setting::ENABLE_PUSH) {
            None | Some(0) => Ok(()),
            Some(other) => Err(expected("none or 0")(other.to_string())),
        }
    }),
    case("6.5.2", "SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1 is FLOW_CONTROL_ERROR", |at| {
        let mut client = at.connect()?;
        client.settings(&[(setting::INITIAL_WINDOW_SIZE, 0x8000_0000)]);
        connection_error(&mut client, &[code::FLOW_CONTROL_ERROR])
    }),
    case("6.5.2", "SETTINGS_INITIAL_WINDOW_SIZE of 2^31-1 is taken", |at| {
        let mut client = at.connect()?;
        client.settings(&[(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)]);
        goes_on(&mut client, 1)
    }),
    case("6.5.2", "SETTINGS_MAX_FRAME_SIZE below 2^14 is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.settings(&[(setting::MAX_FRAME_SIZE, (1 << 14) - 1)]);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.5.2", "SETTINGS_MAX_FRAME_SIZE above 2^24-1 is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.settings(&[(setting::MAX_FRAME_SIZE, 1 << 24)]);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("6.5.2", "an unknown setting is ignored", |at| {
        let mut client = at.connect()?;
        client.settings(&[(0xff, 1), (0x0a0a, 0xffff_ffff)]);
        goes_on(&mut client, 1)
    }),
    case("6.5.2", "SETTINGS_HEADER_TABLE_SIZE of 0 is kept", |at| {
        let mut client = at.connect_with(&[(setting::HEADER_TABLE_SIZE, 0)])?;
        for n in 0..3 {
            client.headers(1 + 2 * n, &Block::get(), true);
            answered(&mut client, 1 + 2 * n)?;
        }
        Ok(())
    }),
    case("6.5.2", "SETTINGS_MAX_CONCURRENT_STREAMS of 0 does not hinder requests", |at| {
        let mut client = at.connect_with(&[(setting::MAX_CONCURRENT_STREAMS, 0)])?;
        goes_on(&mut client, 1)
    }),
    case("6.5.3", "of a setting that is named twice the last counts", |at| {
        let mut client = at.connect_with(&[(setting::INITIAL_WINDOW_SIZE, 100), (setting::INITIAL_WINDOW_SIZE, 1)])?;
        client.credit = false;
        client.headers(1, &Block::get(), true);
        super::flow::first_data(&mut client, 1)
            .and_then(|length| if length == 1 { Ok(()) } else { Err(expected("DATA of 1 byte")(format!("{length} bytes"))) })
    }),
    case("6.5.3", "every SETTINGS has its ACK", |at| {
        let mut client = at.connect()?;
        (0..10).for_each(|_| _ = client.settings(&[]));
        let mut acknowledged = 0;
        while acknowledged < 10 {
            match client.next() {
                Event::Frame(frame) => acknowledged += u32::from(frame.kind == kind::SETTINGS && frame.has(flag::ACK)),
                other => return Err(expected("10 ACKs")(format!("{acknowledged} and {other:?}"))),
            }
        }
        Ok(())
    }),
];
