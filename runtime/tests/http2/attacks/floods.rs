//! Frames that cost their sender nothing: SETTINGS, PING, empty DATA, WINDOW_UPDATE, PRIORITY and unknown ones
//! (CVE-2019-9511 to 9518). The attacker reads no answer while it sends.

use super::{Siege, outcome};
use crate::block::Block;
use crate::frames::{Client, encode};
use crate::names::{code, flag, kind};

/// Frames of each flood.
const FRAMES: u32 = 300_000;

/// Frames in one write.
const BATCH: u32 = 500;

/// Sends frames until the proxy takes no more. Whether it then says so, holds off or has taken all is its own affair.
fn flood(prepare: impl FnOnce(&mut Client), frame: impl Fn(u32) -> Vec<u8>) {
    let siege = Siege::start("");
    let mut client = siege.attacker();
    prepare(&mut client);
    let _ = (0..FRAMES / BATCH).all(|batch| {
        let bytes: Vec<u8> = (0..BATCH).flat_map(|n| frame(batch * BATCH + n)).collect();
        client.write(&bytes)
    });
    let _ = outcome(&mut client);
    drop(client);
    siege.end();
}

#[test]
fn settings() {
    flood(|_| {}, |_| encode(0, kind::SETTINGS, 0, 0, &[]));
}

#[test]
fn settings_that_change_every_window() {
    let open = |client: &mut Client| (0..90).for_each(|n| _ = client.headers(1 + 2 * n, &Block::request("GET", "/hang"), true));
    flood(open, |n| encode(6, kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, n as u8]));
}

#[test]
fn settings_that_change_the_table() {
    flood(|_| {}, |n| encode(6, kind::SETTINGS, 0, 0, &[0, 1, 0, 0, (n % 16) as u8, 0]));
}

#[test]
fn ping() {
    flood(|_| {}, |n| encode(8, kind::PING, 0, 0, &u64::from(n).to_be_bytes()));
}

#[test]
fn ping_that_is_answered() {
    // The attacker takes the answers: nothing piles up, and the neighbour must not wait.
    let siege = Siege::start("");
    let mut client = siege.attacker();
    let _ = (0..20_000).all(|_| client.is_alive().is_ok());
    drop(client);
    siege.end();
}

#[test]
fn empty_data() {
    let open = |client: &mut Client| _ = client.headers(1, &Block::request("POST", "/echo"), false);
    flood(open, |_| encode(0, kind::DATA, 0, 1, &[]));
}

#[test]
fn data_of_padding() {
    let open = |client: &mut Client| _ = client.headers(1, &Block::request("POST", "/echo"), false);
    flood(open, |_| encode(1, kind::DATA, flag::PADDED, 1, &[0]));
}

#[test]
fn data_of_one_byte() {
    // Within the window of the stream, or beyond it if the proxy gives nothing back: an error then.
    let open = |client: &mut Client| _ = client.headers(1, &Block::request("POST", "/hang"), false);
    flood(open, |_| encode(1, kind::DATA, 0, 1, b"x"));
}

#[test]
fn window_updates_of_the_connection() {
    flood(|_| {}, |_| encode(4, kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
}

#[test]
fn window_updates_of_a_stream() {
    let open = |client: &mut Client| _ = client.headers(1, &Block::request("GET", "/hang"), true);
    flood(open, |_| encode(4, kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]));
}

#[test]
fn priority_of_many_streams() {
    flood(|_| {}, |n| encode(5, kind::PRIORITY, 0, 1 + 2 * n, &[0, 0, 0, 0, 15]));
}

#[test]
fn unknown_frames() {
    flood(|_| {}, |_| encode(0, 0xfe, 0, 0, &[]));
}

#[test]
fn goaways() {
    flood(|_| {}, |_| encode(8, kind::GOAWAY, 0, 0, &[0; 8]));
}

#[test]
fn requests_of_which_no_answer_is_read() {
    let block = Block::get().0;
    flood(
        |_| {},
        |n| {
            let mut bytes = encode(block.len(), kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1 + 2 * n, &block);
            bytes.extend(encode(4, kind::RST_STREAM, 0, 1 + 2 * n, &code::CANCEL.to_be_bytes()));
            bytes
        },
    );
}
