//! One connection's socket and the task that waits for it.
//!
//! The task reads and hands bytes to the engine. What the engine then wants to send, to this or another
//! connection, is written at once by whoever runs (see [`Worker::run`]); only a socket that would block
//! leaves the rest to its own task.

use crate::net::Net;
use crate::tls::stream::Look;
use crate::tls::{Stream, handshake};
use crate::worker::Worker;
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite};
use weir_core::buffer::Outbox;
use weir_core::engine::{ConnectError, ConnectTls, IoFault, Transmit, Transport};
use weir_core::id::ConnId;

/// Slices given to one vectored write.
const SLICES: usize = 16;

/// How long the rest of a TLS record may take that has begun to come when its connection is to close.
const PART: Duration = Duration::from_secs(1);

/// How the socket is to end.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Ending {
    /// It is not.
    None,
    /// Shut the sending side down once all is sent.
    ShutdownWrite,
    /// Close once all is sent.
    Close,
    /// Close once all is sent, if nothing has been received by then.
    CloseIfIdle,
    /// It is over: the task ends.
    Over,
}

/// One connection's socket.
#[derive(Debug)]
pub struct Socket<N: Net> {
    stream: RefCell<Option<Stream<N::Stream>>>,
    /// What could not be sent yet. An idle connection has none, and no memory for it.
    outbox: RefCell<Option<Box<Outbox>>>,
    /// What the engine did not take yet.
    input: RefCell<Option<Box<BytesMut>>>,
    waker: RefCell<Option<Waker>>,
    readable: Cell<bool>,
    eof: Cell<bool>,
    ending: Cell<Ending>,
    /// Nothing can be sent any more; what is to be sent is thrown away.
    broken: Cell<bool>,
    /// Nobody is to wait for the client's first bytes any longer.
    hurried: Cell<bool>,
}

impl<N: Net> Socket<N> {
    /// The socket of `stream`; of a connection that is being made if there is none.
    pub fn new(stream: Option<Stream<N::Stream>>) -> Socket<N> {
        Socket {
            stream: RefCell::new(stream),
            outbox: RefCell::new(None),
            input: RefCell::new(None),
            waker: RefCell::new(None),
            readable: Cell::new(true),
            eof: Cell::new(false),
            ending: Cell::new(Ending::None),
            broken: Cell::new(false),
            hurried: Cell::new(false),
        }
    }

    /// Lets the task go on where whoever wrote for it had to stop.
    pub fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Reads, or stops reading.
    pub fn set_readable(&self, readable: bool) {
        self.readable.set(readable);
        if readable {
            self.wake();
        }
    }

    /// Shuts the sending side down once all is sent.
    pub fn shutdown_write(&self) {
        if self.ending.get() == Ending::None {
            self.ending.set(Ending::ShutdownWrite);
            self.wake();
        }
    }

    /// Closes once all is sent.
    pub fn close(&self) {
        self.ending.set(Ending::Close);
        self.wake();
    }

    /// Closes now.
    pub fn end(&self) {
        self.ending.set(Ending::Over);
        let stream = self.stream.borrow_mut().take();
        if let (Some(mut stream), false) = (stream, self.broken.get()) {
            stream.say_goodbye();
        }
        self.outbox.borrow_mut().take();
        self.wake();
    }

    /// Sending has failed. What the peer sent before may still be read, and tell more than the failure;
    /// answers whether there is no point in that: the peer has said its last, or we were to close anyway.
    pub fn break_off(&self) -> bool {
        self.broken.set(true);
        self.outbox.borrow_mut().take();
        self.readable.set(true);
        self.wake();
        self.eof.get() || matches!(self.ending.get(), Ending::Close | Ending::CloseIfIdle)
    }

    /// The connection is there: it begins with `input`, which was read before.
    pub fn begin(&self, stream: Stream<N::Stream>, input: BytesMut) {
        *self.stream.borrow_mut() = Some(stream);
        *self.input.borrow_mut() = Some(input).filter(|input| !input.is_empty()).map(Box::new);
    }

    /// Waits no longer for a client's first bytes.
    pub fn hurry(&self) {
        self.hurried.set(true);
        self.wake();
    }

    /// Whether nobody is to wait for a client's first bytes any longer.
    pub fn is_hurried(&self) -> bool {
        self.hurried.get()
    }

    /// What `work` comes to; `None` if the engine ends the connection before.
    pub async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            match self.ending.get() {
                Ending::Over | Ending::Close => Poll::Ready(None),
                _ => work.as_mut().poll(cx).map(Some),
            }
        })
        .await
    }

    /// Whether the engine closes the connection and wants to hear when it is closed.
    pub fn is_closing(&self) -> bool {
        self.ending.get() == Ending::Close
    }

    /// The stream, to be ended in a way of its own.
    pub fn take_stream(&self) -> Option<Stream<N::Stream>> {
        self.stream.borrow_mut().take()
    }

    /// Whether bytes wait for the socket to take them.
    pub fn is_blocked(&self) -> bool {
        self.outbox.borrow().is_some()
    }

    /// Writes what the engine has for this connection until it has nothing or the socket would block.
    pub fn flush(&self, id: ConnId, worker: &Worker<N>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = self.stream.borrow_mut();
        let Some(stream) = stream.as_mut() else { return Poll::Ready(Ok(())) };
        let left = self.outbox.take();
        worker.with_outbox(left, |outbox| {
            let result = self.write_all(stream, outbox, id, worker, cx);
            if result.is_pending() {
                self.outbox.replace(Some(Box::new(outbox.take_rest())));
            }
            result
        })
    }

    fn write_all(
        &self,
        stream: &mut Stream<N::Stream>,
        outbox: &mut Outbox,
        id: ConnId,
        worker: &Worker<N>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if outbox.is_empty() && worker.poll_transmit(id, outbox) == Transmit::Empty {
                // TLS may hold encrypted bytes back.
                return if self.broken.get() { Poll::Ready(Ok(())) } else { Pin::new(&mut *stream).poll_flush(cx) };
            }
            if self.broken.get() {
                outbox.clear();
                continue;
            }
            match write_once(Pin::new(&mut *stream), outbox, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(sent)) => outbox.advance(sent),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Reads once into `block`.
    fn read(&self, block: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        let Some(stream) = stream.as_mut() else { return Poll::Ready(Ok(0)) };
        let read = pin!(stream.read_buf(block));
        read.poll(cx)
    }
}

fn write_once<S: AsyncWrite + Unpin>(stream: Pin<&mut S>, outbox: &Outbox, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut slices = outbox.slices();
    if slices.len() == 1 {
        return match slices.next() {
            Some(slice) => stream.poll_write(cx, slice),
            None => Poll::Ready(Ok(0)),
        };
    }
    let mut vector = [IoSlice::new(&[]); SLICES];
    let mut used = 0;
    for (slot, slice) in vector.iter_mut().zip(slices) {
        *slot = IoSlice::new(slice);
        used += 1;
    }
    stream.poll_write_vectored(cx, &vector[..used])
}

/// The task of one connection that is there.
pub struct ConnectionTask<N: Net> {
    id: ConnId,
    socket: Rc<Socket<N>>,
    worker: Rc<Worker<N>>,
}

impl<N: Net> ConnectionTask<N> {
    /// The task of `socket`.
    pub fn new(id: ConnId, socket: Rc<Socket<N>>, worker: Rc<Worker<N>>) -> ConnectionTask<N> {
        ConnectionTask { id, socket, worker }
    }

    fn fail(&self, why: IoFault) -> Poll<()> {
        self.socket.end();
        self.worker.closed(self.id, why);
        Poll::Ready(())
    }

    /// Sends what is left, then ends as asked. `Ready` if the task is over.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let flushed = self.socket.flush(self.id, &self.worker, cx);
        // Room in this socket may let the source of what is sent go on.
        self.worker.run();
        match flushed {
            Poll::Ready(Err(_)) if self.socket.break_off() => return self.fail(IoFault::Reset),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(_) => {}
        }
        match self.socket.ending.get() {
            Ending::Over => Poll::Ready(()),
            Ending::CloseIfIdle => {
                self.socket.ending.set(Ending::None);
                ConnectionTask::close_if_idle(self.id, &self.socket, &self.worker);
                self.worker.run();
                if self.socket.ending.get() == Ending::Over { Poll::Ready(()) } else { Poll::Pending }
            }
            Ending::Close => self.fail(IoFault::Closed),
            Ending::ShutdownWrite => {
                let mut stream = self.socket.stream.borrow_mut();
                let shut = stream.as_mut().map(|stream| Pin::new(stream).poll_shutdown(cx));
                if !shut.is_some_and(|shut| shut.is_pending()) {
                    self.socket.ending.set(Ending::None);
                }
                Poll::Pending
            }
            Ending::None => Poll::Pending,
        }
    }
}

impl<N: Net> Drop for ConnectionTask<N> {
    fn drop(&mut self) {
        // Only a task that is dropped by a panic has something to say.
        if std::thread::panicking() {
            drop(self.worker.crash_guard());
        }
    }
}

impl<N: Net> Future for ConnectionTask<N> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.socket.waker.borrow().is_none() {
            *self.socket.waker.borrow_mut() = Some(cx.waker().clone());
        }
        let blocked = self.socket.is_blocked() || self.socket.ending.get() != Ending::None;
        if self.socket.ending.get() == Ending::Over || (blocked && self.write(cx).is_ready()) {
            return Poll::Ready(());
        }
        self.read(cx)
    }
}

impl<N: Net> ConnectionTask<N> {
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (socket, worker) = (&self.socket, &self.worker);
        loop {
            if socket.ending.get() == Ending::Over {
                return Poll::Ready(());
            }
            if !socket.readable.get() {
                return Poll::Pending;
            }
            let kept = socket.input.borrow_mut().take();
            if let Some(input) = kept {
                let before = input.len();
                self.hand_in(*input);
                let left = socket.input.borrow().as_ref().map_or(0, |left| left.len());
                if left < before {
                    continue;
                }
                // The engine wants none of it. On a socket that cannot send any more it never will.
                return if socket.broken.get() { self.fail(IoFault::Reset) } else { Poll::Pending };
            }
            if socket.eof.get() {
                return Poll::Pending;
            }
            let mut block = worker.read_block();
            let read = socket.read(&mut block, cx);
            let input = block.split();
            worker.return_block(block);
            match read {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    socket.eof.set(true);
                    worker.eof(self.id);
                    if socket.broken.get() {
                        // Nothing goes in either direction any more.
                        return self.fail(IoFault::Reset);
                    }
                }
                Poll::Ready(Ok(_)) => self.hand_in(input),
                Poll::Ready(Err(_)) => return self.fail(IoFault::Reset),
            }
        }
    }

    /// Gives bytes to the engine and keeps what it leaves.
    fn hand_in(&self, mut input: BytesMut) {
        self.worker.recv(self.id, &mut input);
        if !input.is_empty() {
            *self.socket.input.borrow_mut() = Some(Box::new(Worker::<N>::keep(input)));
        }
    }

    /// Asks the kernel once more: hands in what has come, or closes if nothing has.
    pub fn close_if_idle(id: ConnId, socket: &Rc<Socket<N>>, worker: &Rc<Worker<N>>) {
        if socket.input.borrow().is_some() {
            // The next request is here already; the task hands it in.
            return socket.wake();
        }
        if socket.is_blocked() {
            socket.ending.set(Ending::CloseIfIdle);
            return socket.wake();
        }
        let mut input = BytesMut::new();
        let look = match &mut *socket.stream.borrow_mut() {
            Some(stream) => stream.look::<N>(&mut input),
            None => Look::Nothing,
        };
        match look {
            Look::Bytes => {
                worker.recv_now(id, &mut input);
                *socket.input.borrow_mut() = Some(input).filter(|input| !input.is_empty()).map(Box::new);
                socket.wake();
            }
            // The rest of it is on its way.
            Look::Part => {
                let (socket, worker) = (Rc::clone(socket), Rc::clone(worker));
                socket.wake();
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(PART).await;
                    if socket.ending.get() == Ending::None {
                        ConnectionTask::close_if_idle(id, &socket, &worker);
                        worker.run();
                    }
                });
            }
            Look::Nothing => {
                socket.end();
                worker.closed_now(id, IoFault::Closed);
            }
        }
    }
}

/// Makes a connection, then serves it.
pub async fn connect<N: Net>(
    id: ConnId,
    address: std::net::SocketAddr,
    tls: Option<ConnectTls>,
    socket: Rc<Socket<N>>,
    worker: Rc<Worker<N>>,
) {
    let _guard = worker.crash_guard();
    // In memory of its own, which is free again once the connection is there.
    let made = socket.unless_ended(Box::pin(make(address, tls, &worker))).await;
    match made {
        None => return,
        Some(Err(error)) => return worker.connected(id, Err(error)),
        Some(Ok((stream, transport))) => {
            socket.begin(stream, BytesMut::new());
            worker.connected(id, Ok(transport));
        }
    }
    ConnectionTask::new(id, socket, worker).await;
}

async fn make<N: Net>(
    address: std::net::SocketAddr,
    tls: Option<ConnectTls>,
    worker: &Worker<N>,
) -> Result<(Stream<N::Stream>, Transport), ConnectError> {
    let (stream, addresses) = worker.net.connect(address).await.map_err(|error| connect_error(&error))?;
    let Some(tls) = tls else { return Ok((Stream::Plain(stream), addresses.into())) };
    let Some(client) = worker.tls_upstream(&tls.config) else {
        return Err(ConnectError::new("TLS_error:|the settings of the cluster are gone:TLS_error_end"));
    };
    let shaken = handshake::connect(&client, &tls, address.ip(), stream).await;
    let (stream, info) = shaken.map_err(handshake::Failed::into_connect_error)?;
    Ok((Stream::Tls(Box::new(stream)), Transport { addresses, tls: Some(info.into()) }))
}

/// Envoy's words for a connection that could not be made: `delayed connect error: Connection refused`.
fn connect_error(error: &io::Error) -> ConnectError {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    ConnectError::new(format!("delayed connect error: {text}"))
}
