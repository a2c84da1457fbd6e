//! Upstreams: hyper servers that answer each request with its id and a body of its own.

use crate::config::{Protocol, Wire};
use crate::seen::Seen;
use crate::tls::{self, Pem};
use crate::world;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;
use turmoil::net::{TcpListener, TcpStream};
use weir_core::rng::{Rng, Seed};
use weir_sim::pattern;

/// An upstream.
#[derive(Copy, Clone)]
pub(crate) struct Origin {
    /// How it is talked to.
    pub(crate) wire: Wire,
    /// Its certificate.
    pub(crate) own: Pem,
    /// How many milliseconds an answer takes at the most.
    pub(crate) slowest: u64,
}

impl Origin {
    /// One that everybody trusts.
    pub(crate) fn new(wire: Wire, slowest: u64) -> Origin {
        Origin { wire, own: tls::ORIGIN, slowest }
    }

    /// Serves until its host crashes.
    pub(crate) async fn serve(self, seen: Rc<Seen>, rng: Rc<RefCell<Rng>>, seed: Seed) -> turmoil::Result {
        let environment = world::environment(seed);
        let config = self.wire.tls.then(|| tls::server_config(environment, self.own, self.wire.protocol));
        let listener = TcpListener::bind("0.0.0.0:80").await?;
        loop {
            let (stream, _) = listener.accept().await?;
            let (seen, rng, config) = (Rc::clone(&seen), Rc::clone(&rng), config.clone());
            tokio::task::spawn_local(async move {
                if let Some(stream) = tls::accept(config, self.wire, stream).await {
                    self.serve_one(stream, seen, rng).await;
                }
            });
        }
    }

    async fn serve_one(self, stream: Box<dyn tls::Bytes>, seen: Rc<Seen>, rng: Rc<RefCell<Rng>>) {
        let serve = service_fn(|request| answer(Rc::clone(&seen), Rc::clone(&rng), self.slowest, request));
        let io = TokioIo::new(stream);
        let _ = match self.wire.protocol {
            Protocol::Http1 => {
                let builder = &mut hyper::server::conn::http1::Builder::new();
                builder.timer(TokioTimer::new()).auto_date_header(false).serve_connection(io, serve).await
            }
            Protocol::Http2 => {
                let builder = &mut hyper::server::conn::http2::Builder::new(Here);
                builder.timer(TokioTimer::new()).auto_date_header(false).serve_connection(io, serve).await
            }
        };
    }
}

/// An upstream that accepts, and says nothing.
pub(crate) async fn stay_silent() -> turmoil::Result {
    let listener = TcpListener::bind("0.0.0.0:80").await?;
    let mut held: Vec<TcpStream> = Vec::new();
    loop {
        held.push(listener.accept().await?.0);
    }
}

/// Runs hyper's tasks on the host that they belong to.
#[derive(Copy, Clone)]
pub(crate) struct Here;

impl<F: Future<Output: 'static> + 'static> Executor<F> for Here {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

async fn answer(
    seen: Rc<Seen>,
    rng: Rc<RefCell<Rng>>,
    slowest: u64,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let id: u64 = request.headers().get("x-id").and_then(|id| id.to_str().ok()?.parse().ok()).unwrap_or(u64::MAX);
    *seen.arrived.borrow_mut().entry(id).or_default() += 1;
    let expected: u64 = request.headers().get("x-size").and_then(|size| size.to_str().ok()?.parse().ok()).unwrap_or(0);
    match request.into_body().collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            if body.len() as u64 != expected || !pattern::is_piece(id, 0, &body) {
                seen.fault(format!("request {id} came with another body, as if it were whole"));
            }
        }
        // Its client is gone, and the proxy said so.
        Err(_) => return Ok(Response::new(Full::default())),
    }
    let (pause, size) = {
        let mut rng = rng.borrow_mut();
        (rng.below(slowest + 1), rng.below(60_000))
    };
    tokio::time::sleep(Duration::from_millis(pause)).await;
    let body = Bytes::from_static(pattern::piece(id, 0, size as usize));
    let response = Response::builder().header("x-id", id).header("x-size", size);
    Ok(response.body(Full::new(body)).unwrap_or_default())
}
