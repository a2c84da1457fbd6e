//! A request of the host's own, through a listener's filter chain, routes and clusters, without a socket.

use super::client::{self, Job, Piece, Sent};
use super::failure::Refusal;
use super::life::{Mark, State};
use super::proxy::Proxy;
use super::request::{CallBody, CallRequest, Entrance, Headers, fields};
use super::wait::wait;
use crate::command::Command;
use bytes::Bytes;
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};

/// Largest piece of a body that is handed over at once.
const PIECE: usize = 32 * 1024;
/// Pieces that wait in each direction; then whoever sends waits.
const WAITING: usize = 4;

/// Why a call goes no further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The time is over; the call goes on.
    #[error("the time is over; the call goes on")]
    TimedOut,
    /// The exchange was broken off: by the upstream, a deadline of the config, a drain's deadline, or a stop.
    #[error("the exchange was broken off: {0}")]
    Reset(String),
    /// It was cancelled.
    #[error("the call was cancelled")]
    Cancelled,
    /// A drain had begun.
    #[error("the proxy drains: no new call begins")]
    Draining,
    /// The proxy has ended.
    #[error("the proxy has ended")]
    Ended,
    /// The listener takes no connection now.
    #[error("the listener takes no connection: {0}")]
    Refused(String),
    /// Nobody takes more of the body: it was finished, or the response came first.
    #[error("nobody takes more of the request's body")]
    Finished,
    /// Another thread is reading, or sending, for this call.
    #[error("another thread does the same for this call")]
    Busy,
    /// The call came from one of the proxy's own threads, which it would have waited for.
    #[error("this was called from one of the proxy's own threads, which it would have to wait for")]
    OwnThread,
    /// A trailer is no header field.
    #[error("{0}")]
    Invalid(String),
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Its status.
    pub status: u16,
    /// Its header fields, in order.
    pub headers: Headers,
}

/// What comes of a response's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The next bytes of it.
    Data(Bytes),
    /// It is whole; trailers, if it had any.
    End(Headers),
}

/// A call under way. Methods may be called from any thread: one may send while another reads. Dropping it cancels what
/// has not ended.
pub struct Call {
    mark: Mark,
    cancel: Arc<Notify>,
    up: Mutex<Option<mpsc::Sender<Sent>>>,
    head: Mutex<Head>,
    down: Mutex<Down>,
}

enum Head {
    Awaited(oneshot::Receiver<Result<ResponseHead, CallError>>),
    Known(Result<ResponseHead, CallError>),
}

struct Down {
    pieces: mpsc::Receiver<Result<Piece, CallError>>,
    /// What all reading comes to from now on.
    last: Option<Result<Headers, CallError>>,
}

impl Proxy {
    /// Sends a request through a listener, as if a client on this machine had connected to it: the same filters, routes,
    /// clusters, limits, stats and access logs. The connection's local address is the listener's, its remote one
    /// `127.0.0.1:0`. A listener's TLS is taken as done, without a client certificate; where the filter chain depends on
    /// the server name, that is the authority's host.
    ///
    /// # Errors
    /// If the proxy drains or has ended, there is no such listener, or the request cannot be sent as it is.
    pub fn call(&self, listener: &str, request: &CallRequest) -> Result<Call, Refusal> {
        match self.state() {
            State::Serving => {}
            State::Draining => return Err(Refusal::Draining),
            State::Drained { .. } | State::Failed(_) => return Err(Refusal::Ended),
        }
        let entrance = Entrance::of(self, listener, &request.authority)?;
        let head = request.head(&entrance)?;
        let (up, body) = match request.body {
            CallBody::None => (None, None),
            CallBody::Stream => {
                let (up, body) = mpsc::channel(WAITING);
                (Some(up), Some(body))
            }
        };
        let ((answer, awaited), (pieces, down)) = (oneshot::channel(), mpsc::channel(WAITING));
        let cancel = Arc::<Notify>::default();
        let job = Job { entrance, head, body, answer, pieces, cancel: Arc::clone(&cancel) };
        let turn = self.calls.fetch_add(1, Relaxed) % self.admin.commands.len();
        let enter = Command::Enter(Box::new(move |worker, draining| client::begin(worker, draining, job)));
        self.admin.commands[turn].send(enter).map_err(|_| Refusal::Ended)?;
        Ok(Call {
            mark: self.mark,
            cancel,
            up: Mutex::new(up),
            head: Mutex::new(Head::Awaited(awaited)),
            down: Mutex::new(Down { pieces: down, last: None }),
        })
    }
}

/// One thread at a time.
fn one<T>(of: &Mutex<T>) -> Result<std::sync::MutexGuard<'_, T>, CallError> {
    match of.try_lock() {
        Ok(guard) => Ok(guard),
        Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => Err(CallError::Busy),
    }
}

impl Call {
    fn elsewhere(&self) -> Result<(), CallError> {
        if self.mark.is_here() { Err(CallError::OwnThread) } else { Ok(()) }
    }

    /// Sends more of the body. Waits while the proxy takes no more.
    ///
    /// # Errors
    /// If nobody takes it: [`Call::response`] says more.
    pub fn send(&self, bytes: &[u8]) -> Result<(), CallError> {
        let mut left = bytes;
        while !left.is_empty() {
            let sent = self.send_within(left, None)?;
            left = &left[sent..];
        }
        Ok(())
    }

    /// Sends the first of these bytes of the body, as many as the proxy takes at once; answers how many.
    ///
    /// # Errors
    /// As for [`Call::send`]; [`CallError::TimedOut`] if the proxy takes none for so long.
    pub fn send_within(&self, bytes: &[u8], timeout: Option<Duration>) -> Result<usize, CallError> {
        self.elsewhere()?;
        let piece = &bytes[..bytes.len().min(PIECE)];
        let up = one(&self.up)?;
        let sender = up.as_ref().ok_or(CallError::Finished)?;
        let room = wait(sender.reserve(), timeout).ok_or(CallError::TimedOut)?;
        room.map_err(|_| CallError::Finished)?.send(Sent::Data(Bytes::copy_from_slice(piece)));
        Ok(piece.len())
    }

    /// The body is whole, with these trailers. On a listener whose `codec_type` is HTTP1, trailers go only if a `trailer`
    /// header has announced them.
    ///
    /// # Errors
    /// If nobody takes it, or a trailer is no header field.
    pub fn finish(&self, trailers: &[(String, Vec<u8>)]) -> Result<(), CallError> {
        self.elsewhere()?;
        let trailers = fields(trailers).map_err(|refusal| CallError::Invalid(refusal.to_string()))?;
        let mut up = one(&self.up)?;
        let sender = up.as_ref().ok_or(CallError::Finished)?;
        let room = wait(sender.reserve(), None).and_then(Result::ok).ok_or(CallError::Finished)?;
        room.send(Sent::End(trailers));
        *up = None;
        Ok(())
    }

    /// The response's head; again, the same.
    ///
    /// # Errors
    /// [`CallError::TimedOut`] if it takes longer; else why there will be none.
    pub fn response(&self, timeout: Option<Duration>) -> Result<ResponseHead, CallError> {
        self.elsewhere()?;
        let mut head = one(&self.head)?;
        if let Head::Awaited(awaited) = &mut *head {
            let answer = wait(awaited, timeout).ok_or(CallError::TimedOut)?;
            *head = Head::Known(answer.unwrap_or(Err(CallError::Ended)));
        }
        match &*head {
            Head::Known(known) => known.clone(),
            Head::Awaited(_) => Err(CallError::TimedOut),
        }
    }

    /// What comes next of the response's body. What is not read waits, and lets the upstream wait.
    ///
    /// # Errors
    /// [`CallError::TimedOut`] if nothing comes for so long; else why nothing more comes.
    pub fn read(&self, timeout: Option<Duration>) -> Result<Read, CallError> {
        self.elsewhere()?;
        let mut down = one(&self.down)?;
        if let Some(last) = &down.last {
            return last.clone().map(Read::End);
        }
        let piece = wait(down.pieces.recv(), timeout).ok_or(CallError::TimedOut)?;
        let last = match piece {
            Some(Ok(Piece::Data(bytes))) => return Ok(Read::Data(bytes)),
            Some(Ok(Piece::End(trailers))) => Ok(trailers),
            Some(Err(error)) => Err(error),
            None => Err(CallError::Ended),
        };
        down.last = Some(last.clone());
        last.map(Read::End)
    }

    /// Gives up: what is under way is broken off, and whoever waits hears of it. Once the call has ended, nothing.
    pub fn cancel(&self) {
        self.cancel.notify_one();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let ended = matches!(&self.down.get_mut().unwrap_or_else(PoisonError::into_inner).last, Some(Ok(_)));
        let sending = self.up.get_mut().unwrap_or_else(PoisonError::into_inner).is_some();
        if !ended || sending {
            self.cancel();
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Call")
    }
}
