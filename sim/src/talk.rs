//! HTTP/2 as peers speak it: one connection's [`Session`], the bytes that it was given and the bytes that it wants to
//! send. Streams are the peer's until it releases or resets them. Who the peer is and what it wants is no matter of this file: clients ([`crate::client::streams`]) and hosts
//! (`upstream::streams`) ask for events, answer them through the session and send what [`Talk::said`] has.

use crate::event::Time;
use crate::request::Request;
use crate::wire::Head;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use weir_core::http2::{Http2Options, PREFACE, Session, SessionEvent, StreamKey};
use weir_core::id::ExchangeId;
use weir_core::rng::Rng;
use weir_core::time::Instant;

/// The trailer that says whose message has ended.
const X_END: HeaderName = HeaderName::from_static("x-end");
const X_ID: HeaderName = HeaderName::from_static("x-id");

/// One connection.
#[derive(Debug)]
pub struct Talk {
    /// Its streams.
    pub session: Session,
    /// Received, and not read by the session yet.
    unread: BytesMut,
}

impl Talk {
    /// The client's side.
    pub fn client(options: &Http2Options) -> Talk {
        Talk { session: Session::client(options), unread: BytesMut::new() }
    }

    /// The server's side.
    pub fn server(options: &Http2Options) -> Talk {
        Talk { session: Session::server(options), unread: BytesMut::new() }
    }

    /// Bytes have come.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// What has happened, until `None`.
    #[must_use]
    pub fn poll(&mut self, now: Time) -> Option<SessionEvent> {
        let now = Instant::from_nanos(now);
        loop {
            if let Some(event) = self.session.poll_event(now) {
                if let SessionEvent::Request { stream, .. } = &event {
                    self.session.set_exchange(*stream, ExchangeId::default());
                }
                return Some(event);
            }
            if self.unread.is_empty() || !self.session.wants_input() || self.session.is_closed() {
                return None;
            }
            let bytes = self.unread.split().freeze();
            self.session.recv(bytes, now, |_| {});
        }
    }

    /// What is to be sent; `None` if that is nothing, though [`Self::poll`] may make it more.
    #[must_use]
    pub fn said(&mut self, now: Time) -> Option<Bytes> {
        self.session.flush(Instant::from_nanos(now));
        let bytes = self.session.take_output(None);
        self.session.take_moved();
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Client: asks; the head only, and the end if nothing follows it. `None` if the connection takes no more.
    pub fn ask(&mut self, request: &Request, now: Time) -> Option<StreamKey> {
        let whole = request.body == 0 && !request.trailers;
        let key = self.session.open(head_of(request), whole, Instant::from_nanos(now)).ok()?;
        self.session.set_exchange(key, ExchangeId::default());
        Some(key)
    }
}

/// Settings as any implementation may have them, with windows of streams from `least` on. A server should have none below
/// 65,535, which clients may use up before they hear of less: `h2` then forgets to open the window again.
pub fn draw_options(least: u32, rng: &mut Rng) -> Http2Options {
    Http2Options {
        stream_window: [least, least, 65_535, 65_535, 1 << 20][rng.below(5) as usize],
        connection_window: [65_535, 65_535, 1 << 20][rng.below(3) as usize],
        max_concurrent_streams: 100,
        allow_connect: true,
        // What the proxy sends is not what is being tested here.
        max_window_updates: u32::MAX,
        max_empty_frames: 100,
        ..Http2Options::default()
    }
}

/// GOAWAY, no error: what comes after stream `last` was not and will not be looked at.
pub fn goaway(last: u32) -> Bytes {
    let mut frame = BytesMut::with_capacity(17);
    frame.put_slice(&[0, 0, 8, 7, 0, 0, 0, 0, 0]);
    frame.put_u32(last);
    frame.put_u32(0);
    frame.freeze()
}

/// Whether a connection that begins so speaks HTTP/2; `None` if that cannot be known yet.
pub fn is_preface(begin: &[u8]) -> Option<bool> {
    let common = begin.iter().zip(PREFACE).take_while(|(one, other)| one == other).count();
    if common == PREFACE.len() || common < begin.len() { Some(common == PREFACE.len()) } else { None }
}

fn head_of(request: &Request) -> http::Request<()> {
    let mut head = http::Request::new(());
    *head.method_mut() = http::Method::from_bytes(request.method.as_str().as_bytes()).unwrap_or_default();
    let uri = format!("http://sim{}", request.target());
    *head.uri_mut() = uri.parse().unwrap_or_default();
    let headers = head.headers_mut();
    headers.insert(X_ID, HeaderValue::from(request.id));
    if request.body > 0 && !request.chunked {
        headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(request.body));
    }
    head
}

/// A request head as peers see it in either version.
pub fn request_head(from: &http::Request<()>) -> Head {
    let target = from.uri().path_and_query().map_or("", |target| target.as_str());
    Head {
        method: from.method().as_str().into(),
        target: target.into(),
        upgrade: from.extensions().get::<h2::ext::Protocol>().is_some(),
        ..fields(from.headers())
    }
}

/// A response head as peers see it in either version.
pub fn response_head(from: &http::Response<()>) -> Head {
    Head { status: from.status().as_u16(), ..fields(from.headers()) }
}

fn fields(from: &HeaderMap) -> Head {
    let number = |name: &str| from.get(name).and_then(|value| value.to_str().ok()?.parse().ok());
    Head {
        id: number("x-id"),
        versions: (number("x-table"), number("x-route")),
        attempt: number("x-envoy-attempt-count"),
        ..Head::default()
    }
}

/// An answer's head.
pub fn answer(status: u16, id: u64, length: Option<u64>) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    head.headers_mut().insert(X_ID, HeaderValue::from(id));
    if let Some(length) = length {
        head.headers_mut().insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    head
}

/// Trailers that say whose message has ended.
pub fn trailers(id: u64) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(X_END, HeaderValue::from(id));
    trailers
}

/// Whose message the trailers say has ended.
pub fn trailer(trailers: Option<&HeaderMap>) -> Option<u64> {
    trailers?.get(X_END)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preface_is_told_from_methods() {
        assert_eq!([b"P".as_slice(), b"PR", b"PO", b"G", PREFACE].map(is_preface), [None, None, Some(false), Some(false), Some(true)]);
    }
}
