//! The client's side of a call, on the worker's own thread: hyper on a connection in memory, whose other end the engine
//! has as if it had been accepted.
//!
//! Each call has a connection of its own: its windows are its own back-pressure, and a drain knows it like any other.

use super::call::{CallError, ResponseHead};
use super::net::{EmbedNet, Memory, memory};
use super::request::{Entrance, Headers, headers};
use crate::worker::Worker;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::HeaderMap;
use hyper::http::{Request, Response};
use hyper::rt::Executor;
use hyper::{Error, Version};
use hyper_util::rt::TokioIo;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::spawn_local;

/// Bytes of a response that may be on their way to a host that does not read.
const WINDOW: u32 = 256 * 1024;

/// What a host sends of a body.
pub(super) enum Sent {
    Data(Bytes),
    /// It is whole.
    End(HeaderMap),
}

/// What a host gets of a body.
pub(super) enum Piece {
    Data(Bytes),
    /// It is whole.
    End(Headers),
}

/// A call that is to begin.
pub(super) struct Job {
    pub(super) entrance: Entrance,
    pub(super) head: Request<()>,
    /// The body, if there is one.
    pub(super) body: Option<mpsc::Receiver<Sent>>,
    pub(super) answer: oneshot::Sender<Result<ResponseHead, CallError>>,
    pub(super) pieces: mpsc::Sender<Result<Piece, CallError>>,
    pub(super) cancel: Arc<Notify>,
}

/// Begins a call on the worker's thread.
pub(super) fn begin(worker: &Rc<Worker<EmbedNet>>, draining: bool, job: Job) {
    if draining {
        return drop(job.answer.send(Err(CallError::Draining)));
    }
    let Job { entrance, head, body, answer, pieces, cancel } = job;
    let (near, far) = memory();
    let torn = far.torn();
    let name = Arc::clone(&entrance.listener.name);
    let entered = entrance.with_hello(|hello| worker.enter(&name, near, entrance.addresses, hello, entrance.tls_info()));
    if let Err(refused) = entered {
        return drop(answer.send(Err(CallError::Refused(refused.to_string()))));
    }
    // Until the exchange has ended as it should, the end of this side is a reset.
    torn.set(true);
    spawn_local(async move {
        let request = head.map(|()| Sending(body));
        let mut answer = Some(answer);
        let exchange = async {
            let response = send(entrance.version, far, request).await.map_err(|error| broken(&error))?;
            let head = ResponseHead { status: response.status().as_u16(), headers: headers(response.headers()) };
            if let Some(answer) = answer.take() {
                let _ = answer.send(Ok(head));
            }
            receive(response.into_body(), &pieces).await
        };
        let ended = tokio::select! {
            biased;
            ended = exchange => ended,
            () = cancel.notified() => Err(CallError::Cancelled),
        };
        match ended {
            Ok(()) => torn.set(false),
            Err(error) => {
                if let Some(answer) = answer {
                    let _ = answer.send(Err(error.clone()));
                }
                // There is room, or a host that takes nothing would not hear of it anyway; but one that comes later does.
                let told = pieces.send(Err(error));
                tokio::select! {
                    biased;
                    _ = told => {}
                    () = cancel.notified() => {}
                }
            }
        }
    });
}

async fn send(version: Version, far: Memory, request: Request<Sending>) -> Result<Response<Incoming>, Error> {
    let io = TokioIo::new(far);
    if version == Version::HTTP_11 {
        let (mut sender, connection) = http1::Builder::new().handshake(io).await?;
        spawn_local(connection);
        return sender.send_request(request).await;
    }
    let mut builder = http2::Builder::new(Here);
    builder.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW).max_send_buf_size(WINDOW as usize);
    let (mut sender, connection) = builder.handshake(io).await?;
    spawn_local(connection);
    sender.send_request(request).await
}

async fn receive(mut body: Incoming, pieces: &mpsc::Sender<Result<Piece, CallError>>) -> Result<(), CallError> {
    let mut trailers = Headers::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame.map_err(|error| broken(&error))?.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => pieces.send(Ok(Piece::Data(data))).await.map_err(|_| CallError::Cancelled)?,
            Err(frame) => trailers = frame.into_trailers().map(|map| headers(&map)).unwrap_or_default(),
        }
    }
    pieces.send(Ok(Piece::End(trailers))).await.map_err(|_| CallError::Cancelled)
}

/// hyper's words, with what is below them.
fn broken(error: &Error) -> CallError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(below) = source {
        text = format!("{text}: {below}");
        source = below.source();
    }
    CallError::Reset(text)
}

/// A request's body, as its host sends it.
struct Sending(Option<mpsc::Receiver<Sent>>);

/// The host has given up in the middle of a body.
#[derive(Debug, thiserror::Error)]
#[error("the body was not finished")]
struct Unfinished;

impl Body for Sending {
    type Data = Bytes;
    type Error = Unfinished;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Unfinished>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let frame = match ready!(body.poll_recv(cx)) {
            Some(Sent::Data(bytes)) => Ok(Frame::data(bytes)),
            Some(Sent::End(trailers)) => {
                self.0 = None;
                if trailers.is_empty() {
                    return Poll::Ready(None);
                }
                Ok(Frame::trailers(trailers))
            }
            None => Err(Unfinished),
        };
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

/// Runs hyper's tasks on the worker's thread.
#[derive(Copy, Clone)]
struct Here;

impl<F: Future + 'static> Executor<F> for Here {
    fn execute(&self, task: F) {
        spawn_local(async move { drop(task.await) });
    }
}
