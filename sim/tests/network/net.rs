//! The runtime's network, over turmoil: every socket is a simulated host's.

use bytes::BytesMut;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};
use weir::net::Net;
use weir_core::config::Bind;
use weir_core::record::Addresses;

/// The network of one simulated host. There is no SO_REUSEPORT: all workers accept from one socket.
#[derive(Clone, Default)]
pub(crate) struct SimNet {
    doors: Arc<Mutex<BTreeMap<u16, std::sync::Weak<TcpListener>>>>,
}

type Accepting = Pin<Box<dyn Future<Output = io::Result<(TcpStream, SocketAddr)>>>>;

/// A worker's share of a listening socket.
pub(crate) struct Door {
    listener: Arc<TcpListener>,
    accepting: RefCell<Option<Accepting>>,
}

/// A simulated connection. Reading what is there at once must not make it forget who waits for more.
pub(crate) struct Stream {
    inner: RefCell<TcpStream>,
    reader: RefCell<Option<Waker>>,
}

impl Stream {
    fn new(inner: TcpStream) -> Stream {
        Stream { inner: RefCell::new(inner), reader: RefCell::new(None) }
    }
}

impl Net for SimNet {
    type Bound = Arc<TcpListener>;
    type Listener = Door;
    type Stream = Stream;

    fn listen(&self, bind: &Bind) -> io::Result<(Self::Bound, SocketAddr)> {
        let mut doors = self.doors.lock().unwrap();
        let port = bind.address.port();
        if let Some(open) = doors.get(&port).and_then(std::sync::Weak::upgrade) {
            return Ok((open, bind.address));
        }
        // Binding is asynchronous in name only.
        let Poll::Ready(bound) = pin!(TcpListener::bind(("0.0.0.0", port))).poll(&mut Context::from_waker(Waker::noop())) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let bound = Arc::new(bound?);
        doors.insert(port, Arc::downgrade(&bound));
        Ok((bound, bind.address))
    }

    fn adopt(&self, listener: Self::Bound) -> io::Result<Self::Listener> {
        Ok(Door { listener, accepting: RefCell::new(None) })
    }

    fn poll_accept(&self, door: &Self::Listener, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Stream, Addresses)>> {
        let mut accepting = door.accepting.borrow_mut();
        let future = accepting.get_or_insert_with(|| {
            let listener = Arc::clone(&door.listener);
            Box::pin(async move { listener.accept().await })
        });
        future.as_mut().poll(cx).map(|accepted| {
            *accepting = None;
            let (stream, remote) = accepted?;
            let local = stream.local_addr()?;
            Ok((Stream::new(stream), Addresses { local, remote }))
        })
    }

    fn refuse_new(&self, _: &Self::Listener) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn accept_now(&self, door: &Self::Listener) -> io::Result<(Self::Stream, Addresses)> {
        match self.poll_accept(door, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(accepted) => accepted,
            Poll::Pending => {
                door.accepting.take();
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }

    fn read_now(stream: &Self::Stream, block: &mut BytesMut) -> io::Result<usize> {
        let waker = stream.reader.borrow().clone().unwrap_or_else(|| Waker::noop().clone());
        let mut piece = [0; 16 * 1024];
        let mut read = ReadBuf::new(&mut piece);
        let mut inner = stream.inner.borrow_mut();
        match Pin::new(&mut *inner).poll_read(&mut Context::from_waker(&waker), &mut read) {
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            Poll::Ready(result) => {
                result?;
                block.extend_from_slice(read.filled());
                Ok(read.filled().len())
            }
        }
    }

    fn reset(_: Self::Stream) {
        // Turmoil resets a connection only if something in it is unread; else its peer sees an end like any other.
    }

    #[allow(clippy::manual_async_fn)] // not `async fn`: the future must not borrow the network
    fn connect(&self, address: SocketAddr) -> impl Future<Output = io::Result<(Self::Stream, Addresses)>> + 'static {
        async move {
            let stream = TcpStream::connect(address).await?;
            let local = stream.local_addr()?;
            Ok((Stream::new(stream), Addresses { local, remote: address }))
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        *stream.reader.borrow_mut() = Some(cx.waker().clone());
        Pin::new(stream.inner.get_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().inner.get_mut()).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().inner.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().inner.get_mut()).poll_shutdown(cx)
    }
}
