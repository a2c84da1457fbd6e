#![no_main]
//! Any bytes as a request head: no panic, and what is accepted is accepted again when it is written out.

use bytes::BytesMut;
use weir_core::http::RequestHead;
use weir_core::http1::{encode, framing, parse};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (limits, mut head) = (parse::HeadLimits::default(), RequestHead::default());
    if parse::request(input, limits, &mut head).is_err() || framing::request(&mut head, false).is_err() {
        return;
    }
    // An HTTP/1.0 request may lack Host; the connection manager adds one before it goes on.
    if head.authority().is_empty() {
        return;
    }
    let mut written = BytesMut::new();
    encode::request_head(&head, &mut written);
    let mut again = RequestHead::default();
    parse::request(&written, limits, &mut again).expect("what we write, we read");
    assert_eq!((again.method(), again.fields.len()), (head.method(), head.fields.len()));
});
