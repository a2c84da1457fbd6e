//! The network of an embedded proxy: the system's, and connections in memory, whose other end is in this process too.

use crate::net::{Net, TokioNet};
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use weir_core::config::Bind;
use weir_core::record::Addresses;

/// Bytes that a connection in memory holds in each direction: what the kernel's buffers are to a socket.
const HELD: usize = 64 * 1024;

/// The network of an embedded proxy.
#[derive(Copy, Clone, Debug)]
pub struct EmbedNet;

/// A connection.
pub enum Wire {
    /// A socket.
    Tcp(TcpStream),
    /// In memory. Boxed, so that a socket is no larger than it is without.
    Memory(Box<Memory>),
}

/// The proxy's end of a connection in memory.
pub struct Memory {
    stream: RefCell<DuplexStream>,
    torn: Torn,
}

/// Tells the proxy's end that the other has not ended, but given up: what a reset is to a socket.
#[derive(Clone, Default)]
pub(super) struct Torn(Rc<Cell<bool>>);

impl Torn {
    /// The other end gives up, or goes on.
    pub(super) fn set(&self, torn: bool) {
        self.0.set(torn);
    }
}

/// A connection in memory: the proxy's end, and the other.
pub(super) fn memory() -> (Wire, DuplexStream, Torn) {
    let (near, far) = tokio::io::duplex(HELD);
    let torn = Torn::default();
    (Wire::Memory(Box::new(Memory { stream: RefCell::new(near), torn: torn.clone() })), far, torn)
}

impl Memory {
    fn read_once(&self, read: Poll<io::Result<()>>, came: bool) -> Poll<io::Result<()>> {
        match read {
            Poll::Ready(Ok(())) if !came && self.torn.0.get() => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            other => other,
        }
    }
}

impl Net for EmbedNet {
    type Bound = <TokioNet as Net>::Bound;
    type Listener = <TokioNet as Net>::Listener;
    type Stream = Wire;

    fn listen(&self, bind: &Bind) -> io::Result<(Self::Bound, SocketAddr)> {
        TokioNet.listen(bind)
    }

    fn adopt(&self, bound: Self::Bound) -> io::Result<Self::Listener> {
        TokioNet.adopt(bound)
    }

    fn poll_accept(&self, listener: &Self::Listener, cx: &mut Context<'_>) -> Poll<io::Result<(Wire, Addresses)>> {
        TokioNet.poll_accept(listener, cx).map_ok(|(stream, addresses)| (Wire::Tcp(stream), addresses))
    }

    fn refuse_new(&self, listener: &Self::Listener) -> io::Result<()> {
        TokioNet.refuse_new(listener)
    }

    fn accept_now(&self, listener: &Self::Listener) -> io::Result<(Wire, Addresses)> {
        TokioNet.accept_now(listener).map(|(stream, addresses)| (Wire::Tcp(stream), addresses))
    }

    fn read_now(stream: &Wire, block: &mut BytesMut) -> io::Result<usize> {
        match stream {
            Wire::Tcp(stream) => TokioNet::read_now(stream, block),
            // Who waits for this stream is woken afterwards.
            Wire::Memory(memory) => match pin!(memory.stream.borrow_mut().read_buf(block)).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(read) => read,
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            },
        }
    }

    fn reset(stream: Wire) {
        match stream {
            Wire::Tcp(stream) => TokioNet::reset(stream),
            // The other end sees that what it read was no whole answer.
            Wire::Memory(_) => {}
        }
    }

    // Not `async fn`: the future must not borrow the network.
    #[allow(clippy::manual_async_fn)]
    fn connect(&self, address: SocketAddr) -> impl Future<Output = io::Result<(Wire, Addresses)>> + 'static {
        let connecting = TokioNet.connect(address);
        async move { connecting.await.map(|(stream, addresses)| (Wire::Tcp(stream), addresses)) }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_read(cx, out),
            Wire::Memory(memory) => {
                let before = out.filled().len();
                let read = Pin::new(memory.stream.get_mut()).poll_read(cx, out);
                memory.read_once(read, out.filled().len() > before)
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Memory(memory) => Pin::new(memory.stream.get_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Wire::Memory(memory) => Pin::new(memory.stream.get_mut()).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Memory(memory) => Pin::new(memory.stream.get_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Memory(memory) => Pin::new(memory.stream.get_mut()).poll_shutdown(cx),
        }
    }
}
