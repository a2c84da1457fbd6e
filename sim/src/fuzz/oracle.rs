//! Our HTTP/1 beside hyper's: we accept no more than it does, and where both accept we read the same.

use super::heads::{Ended, decode};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use hyper::{Request, Response};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use weir_core::http::RequestHead;
use weir_core::http1::parse::{self, HeadLimits};
use weir_core::http1::{framing, framing::Framing};

/// A request as it was read: method, names and values of its fields, body.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    method: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
}

/// Fields that frame the message, which each of us rewrites in its own way.
const FRAMING: [&[u8]; 2] = [b"content-length", b"transfer-encoding"];

fn sorted(fields: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut fields: Vec<_> = fields.filter(|(name, _)| !FRAMING.contains(&&**name)).collect();
    fields.sort();
    fields
}

/// As we read it; `None` if it is refused, not whole, or of a kind that hyper reads in a way of its own.
fn ours(input: &[u8]) -> Option<Message> {
    let mut scan = parse::Scan::default();
    let start = parse::leading_crlf(input);
    let end = start + scan.find_end(&input[start..], HeadLimits::default().bytes).ok()??;
    let mut head = RequestHead::default();
    parse::request(&input[start..end], HeadLimits::default(), &mut head).ok()?;
    let framing: Framing = framing::request(&mut head, false).ok()?;
    // RFC 9110 section 2.5: a higher minor version is read as the highest that is known. hyper refuses it.
    let line = &input[start..start + memchr::memchr(b'\r', &input[start..])?];
    if !line.ends_with(b" HTTP/1.1") && !line.ends_with(b" HTTP/1.0") {
        return None;
    }
    // The host of an absolute target takes the place of Host (RFC 9112 section 3.2.2): hyper leaves that to its user.
    if !head.target().starts_with(b"/") {
        return None;
    }
    let (body, ended) = decode(framing, std::iter::once(&input[end..]));
    let fields = sorted(head.fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())));
    (ended == Ended::Whole).then(|| Message { method: head.method().to_vec(), fields, body })
}

/// Reads the input to its end, and forgets what is written.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let count = self.0.len().min(buf.remaining());
        let (now, later) = self.0.split_at(count);
        buf.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The first request as hyper reads it; `None` if it is refused or not whole.
fn hypers(input: &[u8]) -> Option<Message> {
    let first: Rc<RefCell<Option<Option<Message>>>> = Rc::default();
    let serve = service_fn(|request: Request<hyper::body::Incoming>| {
        let first = Rc::clone(&first);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.ok().map(|body| body.to_bytes().to_vec());
            let fields = sorted(head.headers.iter().map(|(name, value)| (name.as_str().into(), value.as_bytes().to_vec())));
            let method = head.method.as_str().into();
            first.borrow_mut().get_or_insert(body.map(|body| Message { method, fields, body }));
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().auto_date_header(false).half_close(true).serve_connection(Wire(input), serve);
    let mut connection = pin!(connection);
    // Nothing ever waits: a connection that is not over by then has more requests than matter here.
    for _ in 0..64 {
        if connection.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            break;
        }
    }
    let first = first.borrow_mut().take();
    first.flatten()
}

/// The same request for `/`. Targets are not compared: hyper's URIs refuse hosts that RFC 3986 section 3.2.2 allows, and
/// in paths a few characters that browsers send; no two messages are told apart by that.
fn with_plain_target(input: &[u8]) -> Vec<u8> {
    let start = parse::leading_crlf(input);
    let line = input[start..].split(|byte| *byte == b'\r').next().unwrap_or_default();
    let (first, last) = (memchr::memchr(b' ', line), memchr::memrchr(b' ', line));
    match (first, last) {
        (Some(first), Some(last)) if first < last => [&input[..=start + first], b"/", &input[start + last..]].concat(),
        _ => input.to_vec(),
    }
}

/// Any bytes as a request with its body: what we accept, hyper accepts, and reads the same.
///
/// # Panics
/// If not.
pub fn differential(input: &[u8]) {
    let Some(ours) = ours(input) else { return };
    match hypers(&with_plain_target(input)) {
        Some(hypers) => assert_eq!(ours, hypers, "the same bytes, read in two ways"),
        None => panic!("we accept what hyper refuses: {ours:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_read_the_same() {
        for input in [
            &b"GET /a HTTP/1.1\r\nHost: x\r\nX-Y: 1\r\nx-y: 2\r\n\r\n"[..],
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcrest",
            b"\r\nPUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
        ] {
            let read = ours(input).expect("we accept it");
            assert_eq!(Some(read), hypers(input));
            differential(input);
        }
    }

    #[test]
    fn what_only_hyper_accepts_is_ours_to_refuse() {
        let smuggled = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        assert!(ours(smuggled).is_none() && hypers(smuggled).is_some());
    }
}
