#![no_main]
//! Any bytes as a response head: no panic, and what is accepted is accepted again when it is written out.

use bytes::BytesMut;
use weir_core::http::ResponseHead;
use weir_core::http1::{encode, framing, parse};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (limits, mut head) = (parse::HeadLimits::default(), ResponseHead::default());
    if parse::response(input, limits, &mut head).is_err() || framing::response(&mut head, false).is_err() {
        return;
    }
    let (mut written, mut again) = (BytesMut::new(), ResponseHead::default());
    encode::response_head(&head, &mut written);
    parse::response(&written, limits, &mut again).expect("what we write, we read");
    assert_eq!((again.status, again.fields.len()), (head.status, head.fields.len()));
});
