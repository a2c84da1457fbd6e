//! Clients: hyper, on connections that they keep as long as they may.
//!
//! What an HTTP/2 server has surely not processed a client may send again, POST or not: who did process it is found by
//! the check that no POST arrives twice.

use crate::config::{Protocol, Wire, port};
use crate::origin::Here;
use crate::seen::Seen;
use crate::tls::{self, Bytes as Connection, Pem};
use crate::world::{PROXY, environment};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use turmoil::net::TcpStream;
use weir_core::rng::{Rng, Seed};
use weir_sim::pattern;

/// How often a request is sent again that a server has not processed.
const TRIES: u32 = 5;

/// A client, as a script.
#[derive(Copy, Clone)]
pub(crate) struct Client {
    /// How it talks.
    pub(crate) wire: Wire,
    /// The server that it asks for.
    pub(crate) name: &'static str,
    /// Whom it trusts.
    pub(crate) roots: Pem,
    /// When it begins.
    pub(crate) start: Duration,
    /// How many requests it asks, one after the other.
    pub(crate) requests: u32,
    /// How often it does so at the same time: on one connection in HTTP/2, else on one each.
    pub(crate) lanes: u32,
}

impl Client {
    /// One that asks `a.sim` so many requests at once.
    pub(crate) fn new(wire: Wire, requests: u32) -> Client {
        Client { wire, name: "a.sim", roots: tls::AUTHORITY, start: Duration::ZERO, requests, lanes: 1 }
    }

    /// Asks all it wants.
    pub(crate) async fn run(self, seen: Rc<Seen>, seed: Seed) -> turmoil::Result {
        tokio::time::sleep(self.start).await;
        let environment = environment(seed.fork("tls"));
        let tls = self.wire.tls.then(|| tls::client_config(environment, self.roots, self.wire.protocol));
        let shared = Rc::new(Slot::default());
        let mut lanes = Vec::new();
        for lane in 0..self.lanes {
            let slot = if self.wire.protocol == Protocol::Http2 { Rc::clone(&shared) } else { Rc::default() };
            // The first draws what a client with one lane draws.
            let rng = Rng::new(if lane == 0 { seed } else { seed.fork(&format!("lane {lane}")) });
            let lane = Lane { client: self, tls: tls.clone(), slot, seen: Rc::clone(&seen), rng };
            lanes.push(tokio::task::spawn_local(lane.run()));
        }
        for lane in lanes {
            lane.await?;
        }
        seen.finished.set(seen.finished.get() + 1);
        Ok(())
    }
}

/// A connection that is there, or none.
#[derive(Default)]
struct Slot(Mutex<Option<Sender>>);

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    fn is_closed(&self) -> bool {
        match self {
            Sender::One(one) => one.is_closed(),
            Sender::Two(two) => two.is_closed(),
        }
    }
}

/// Why there is no answer.
enum Lost {
    /// The server has not seen the request: it may be sent again.
    Unseen(String),
    Sent(String),
}

struct Lane {
    client: Client,
    tls: Option<Arc<ClientConfig>>,
    slot: Rc<Slot>,
    seen: Rc<Seen>,
    rng: Rng,
}

impl Lane {
    /// Asks, and gives up on a request after 10 s.
    async fn run(mut self) {
        for _ in 0..self.client.requests {
            tokio::time::sleep(Duration::from_millis(self.rng.below(40))).await;
            let id = self.seen.next_id();
            let asked = tokio::time::timeout(Duration::from_secs(10), self.ask_until_seen(id)).await;
            let ended = asked.unwrap_or_else(|_| Err("the client gave up".to_owned()));
            // Other lanes may still hear something on theirs: they have a share of it.
            if ended.is_err() {
                self.slot.0.lock().await.take();
            }
            self.seen.end(id, ended);
        }
    }

    async fn ask_until_seen(&mut self, id: u64) -> Result<u16, String> {
        let size = if id % 2 == 1 { self.rng.below(50_000) } else { 0 };
        let mut last = String::new();
        for _ in 0..TRIES {
            match self.ask(id, size).await {
                Ok(status) => return Ok(status),
                Err(Lost::Sent(why)) => return Err(why),
                Err(Lost::Unseen(why)) => last = why,
            }
            self.slot.0.lock().await.take_if(|sender| sender.is_closed());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err(format!("never taken: {last}"))
    }

    /// Asks once, on the connection that is there or on a new one.
    async fn ask(&self, id: u64, size: u64) -> Result<u16, Lost> {
        let request = self.request(id, size).map_err(|error| Lost::Sent(error.to_string()))?;
        let response = self.send(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| lost("receiving", &error))?.to_bytes();
        let number = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let (of, size) = (number("x-id"), number("x-size"));
        if head.status == StatusCode::OK && (of != Some(id) || size != Some(body.len() as u64) || !pattern::is_piece(id, 0, &body)) {
            self.seen.fault(format!("request {id} got the answer of {of:?} with {} of {size:?} bytes", body.len()));
        }
        let chain = head.headers.get("x-chain").and_then(|chain| chain.to_str().ok());
        let expected = if self.client.wire.tls { self.client.name } else { "clear" };
        if head.status == StatusCode::OK && chain != Some(expected) {
            self.seen.fault(format!("request {id} for {} was answered by the chain {chain:?}", self.client.name));
        }
        if head.status == StatusCode::SERVICE_UNAVAILABLE {
            let why = head.headers.get("x-why").map_or(&b""[..], |why| why.as_bytes());
            let reason = format!("{} [{}]", String::from_utf8_lossy(&body), String::from_utf8_lossy(why));
            self.seen.reasons.borrow_mut().insert(reason);
        }
        Ok(head.status.as_u16())
    }

    fn request(&self, id: u64, size: u64) -> hyper::http::Result<Request<Full<Bytes>>> {
        let body = Bytes::from_static(pattern::piece(id, 0, size as usize));
        let method = if id % 2 == 1 { "POST" } else { "GET" };
        let request = Request::builder().method(method).header("x-id", id).header("x-size", size);
        let request = match (self.client.wire.protocol, self.client.wire.tls) {
            (Protocol::Http1, _) => request.uri("/").header("host", self.client.name),
            (Protocol::Http2, false) => request.uri(format!("http://{}/", self.client.name)),
            (Protocol::Http2, true) => request.uri(format!("https://{}/", self.client.name)),
        };
        request.body(Full::new(body))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Lost> {
        let mut slot = self.slot.0.lock().await;
        if slot.as_ref().is_none_or(Sender::is_closed) {
            *slot = None;
            *slot = Some(self.connect().await.map_err(Lost::Sent)?);
        }
        let mut two = match &mut *slot {
            Some(Sender::One(one)) => {
                one.ready().await.map_err(|error| Lost::Sent(format!("waiting: {error}")))?;
                return one.send_request(request).await.map_err(|error| Lost::Sent(format!("sending: {error}")));
            }
            Some(Sender::Two(two)) => two.clone(),
            None => return Err(Lost::Sent("no connection".to_owned())),
        };
        drop(slot);
        two.ready().await.map_err(|error| lost("waiting", &error))?;
        two.send_request(request).await.map_err(|error| lost("sending", &error))
    }

    async fn connect(&self) -> Result<Sender, String> {
        // A host that has ended answers nobody: what is sent to it waits for ever.
        let connecting = tokio::time::timeout(Duration::from_secs(2), TcpStream::connect(SocketAddr::new(PROXY, port(self.client.wire))));
        let connected = connecting.await.map_err(|_| "connecting: no answer".to_owned())?;
        let stream = connected.map_err(|error| format!("connecting: {error}"))?;
        let io = TokioIo::new(match &self.tls {
            Some(tls) => self.secure(Arc::clone(tls), stream).await?,
            None => Box::new(stream),
        });
        match self.client.wire.protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await.map_err(|error| error.to_string())?;
                tokio::task::spawn_local(connection);
                Ok(Sender::One(sender))
            }
            Protocol::Http2 => {
                let shaking = http2::Builder::new(Here).timer(TokioTimer::new()).handshake(io);
                let (sender, connection) = shaking.await.map_err(|error| error.to_string())?;
                tokio::task::spawn_local(connection);
                Ok(Sender::Two(sender))
            }
        }
    }

    /// A handshake, and what is to hold of each: the chain of the name that was asked for served it.
    async fn secure(&self, tls: Arc<ClientConfig>, stream: TcpStream) -> Result<Box<dyn Connection>, String> {
        let name = self.client.name;
        let secured = match tls::secure(tls, name, stream).await {
            Ok(secured) => secured,
            Err(error) => {
                let is_ours =
                    error.get_ref().is_some_and(|inner| matches!(inner.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))));
                if is_ours && self.client.roots == tls::AUTHORITY {
                    self.seen.fault(format!("{name} was served with a certificate that is not good: {error}"));
                }
                return Err(format!("handshake: {error}"));
            }
        };
        let good: &[Pem] = if name == "b.sim" { &[tls::B] } else { &[tls::A, tls::RENEWED] };
        if !good.iter().any(|pem| pem.certificate().ok() == secured.certificate) {
            self.seen.fault(format!("{name} was served with the certificate of another"));
        }
        if !secured.is_agreed {
            self.seen.fault(format!("{name}: no agreement on {:?}", self.client.wire.protocol));
        }
        self.seen.resumed.set(self.seen.resumed.get() + usize::from(secured.is_resumed));
        Ok(secured.stream)
    }
}

/// Whether the server has seen what got lost (RFC 9113 sections 6.8 and 8.7).
fn lost(when: &str, error: &hyper::Error) -> Lost {
    let mut text = format!("{when}: {error}");
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    if let Some(cause) = cause {
        text = format!("{text}: {cause}");
    }
    let is_refused = cause.is_some_and(|cause| match cause.reason() {
        Some(h2::Reason::NO_ERROR) => cause.is_go_away() && cause.is_remote(),
        reason => reason == Some(h2::Reason::REFUSED_STREAM) && cause.is_remote(),
    });
    if is_refused || error.is_canceled() { Lost::Unseen(text) } else { Lost::Sent(text) }
}
