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
pub(crate) struct EmbedNet;

/// A connection.
pub(crate) enum Wire {
    /// A socket.
    Tcp(TcpStream),
    /// In memory. Boxed, so that a socket is no larger than it is without.
    Memory(Box<Memory>),
}

/// One end of a connection in memory. Both are of one thread.
pub(crate) struct Memory {
    stream: RefCell<DuplexStream>,
    /// This end has given up, or the other: an end that is no end of what was sent, as a reset is to a socket.
    torn: (Torn, Torn),
}

/// Whether an end has given up.
#[derive(Clone, Default)]
pub(super) struct Torn(Rc<Cell<bool>>);

impl Torn {
    /// This end gives up, or does not.
    pub(super) fn set(&self, torn: bool) {
        self.0.set(torn);
    }
}

/// A connection in memory: the engine's end, and the other.
pub(super) fn memory() -> (Wire, Memory) {
    let (near, far) = tokio::io::duplex(HELD);
    let (one, two) = (Torn::default(), Torn::default());
    let near = Memory { stream: RefCell::new(near), torn: (one.clone(), two.clone()) };
    (Wire::Memory(Box::new(near)), Memory { stream: RefCell::new(far), torn: (two, one) })
}

impl Memory {
    /// What says that this end gives up.
    pub(super) fn torn(&self) -> Torn {
        self.torn.0.clone()
    }
}

impl AsyncRead for Memory {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let memory = self.get_mut();
        let before = out.filled().len();
        let read = Pin::new(memory.stream.get_mut()).poll_read(cx, out);
        match read {
            Poll::Ready(Ok(())) if out.filled().len() == before && memory.torn.1.0.get() => {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            other => other,
        }
    }
}

impl AsyncWrite for Memory {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().stream.get_mut()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().stream.get_mut()).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().stream.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().stream.get_mut()).poll_shutdown(cx)
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
            Wire::Memory(memory) => memory.torn.0.set(true),
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
            Wire::Memory(memory) => Pin::new(&mut **memory).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Memory(memory) => Pin::new(&mut **memory).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Wire::Memory(memory) => Pin::new(&mut **memory).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Memory(memory) => Pin::new(&mut **memory).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Memory(memory) => Pin::new(&mut **memory).poll_shutdown(cx),
        }
    }
}
