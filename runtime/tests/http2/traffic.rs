//! What a proxy is there for: requests in HTTP/2 on one side, HTTP/1.1 on the other.

mod bodies;
mod endings;
mod heads;

use crate::block::Block;
use crate::frames::{Answer, Client};

/// One request without a body.
fn get(client: &mut Client, stream: u32, path: &str) -> Answer {
    client.headers(stream, &Block::request("GET", path), true);
    answer(client, stream)
}

fn answer(client: &mut Client, stream: u32) -> Answer {
    client.answer(stream).unwrap_or_else(|came| panic!("stream {stream}: no answer: {came}"))
}

#[track_caller]
fn assert_ok(answer: &Answer, body: &[u8]) {
    assert!(answer.ended && answer.reset.is_none() && answer.status == 200, "{answer:?}");
    assert!(answer.body == body, "{} bytes, not {}", answer.body.len(), body.len());
}
