//! The seam to the network: listen, accept, connect, and the stream.

use bytes::BytesMut;
use rustix::net::RecvFlags;
#[cfg(target_os = "linux")]
use socket2::SockFilter;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use weir_core::config::Bind;
use weir_core::record::Addresses;

/// A network that connections come from and go to.
pub trait Net: Clone + 'static {
    /// A listening socket that no thread has taken over yet.
    type Bound: Send + 'static;
    /// A listening socket of one worker.
    type Listener: 'static;
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Opens a listening socket; answers it and its address.
    fn listen(&self, bind: &Bind) -> io::Result<(Self::Bound, SocketAddr)>;

    /// Takes a listening socket over, on the thread that will accept from it.
    fn adopt(&self, bound: Self::Bound) -> io::Result<Self::Listener>;

    /// Accepts a connection.
    fn poll_accept(&self, listener: &Self::Listener, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Stream, Addresses)>>;

    /// Lets no new connection begin. Those that have begun can be accepted as before.
    fn refuse_new(&self, listener: &Self::Listener) -> io::Result<()>;

    /// Accepts what the kernel has accepted already, whatever the runtime has heard of it.
    fn accept_now(&self, listener: &Self::Listener) -> io::Result<(Self::Stream, Addresses)>;

    /// Reads what the kernel has received already, whatever the runtime has heard of it.
    fn read_now(stream: &Self::Stream, block: &mut BytesMut) -> io::Result<usize>;

    /// Closes a connection so that its peer sees an error.
    fn reset(stream: Self::Stream);

    /// Makes a connection.
    fn connect(&self, address: SocketAddr) -> impl Future<Output = io::Result<(Self::Stream, Addresses)>> + 'static;
}

/// The operating system's network, through tokio.
#[derive(Copy, Clone, Debug)]
pub struct TokioNet;

impl Net for TokioNet {
    type Bound = std::net::TcpListener;
    type Listener = TcpListener;
    type Stream = TcpStream;

    fn listen(&self, bind: &Bind) -> io::Result<(Self::Bound, SocketAddr)> {
        let socket = Socket::new(Domain::for_address(bind.address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(bind.reuse_port)?;
        if bind.address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        // Accepted sockets inherit it: no system call for each.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&bind.address.into())?;
        socket.listen(bind.backlog.min(i32::MAX as u32) as i32)?;
        let listener: std::net::TcpListener = socket.into();
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    fn adopt(&self, bound: Self::Bound) -> io::Result<Self::Listener> {
        TcpListener::from_std(bound)
    }

    fn poll_accept(&self, listener: &Self::Listener, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Stream, Addresses)>> {
        listener.poll_accept(cx).map(|accepted| {
            let (stream, remote) = accepted?;
            let local = stream.local_addr()?;
            Ok((stream, Addresses { local, remote }))
        })
    }

    #[cfg(target_os = "linux")]
    fn refuse_new(&self, listener: &Self::Listener) -> io::Result<()> {
        // Classic BPF over the TCP header: load the byte of flags; drop the segment if of SYN and ACK only SYN is
        // set. The client tries again after a second and finds the port closed, or another process on it.
        const LOAD_BYTE: u16 = 0x30;
        const AND: u16 = 0x54;
        const JUMP_IF_EQUAL: u16 = 0x15;
        const RETURN: u16 = 0x06;
        let (syn, syn_or_ack) = (0x02, 0x12);
        SockRef::from(listener).attach_filter(&[
            SockFilter::new(LOAD_BYTE, 0, 0, 13),
            SockFilter::new(AND, 0, 0, syn_or_ack),
            SockFilter::new(JUMP_IF_EQUAL, 0, 1, syn),
            SockFilter::new(RETURN, 0, 0, 0),
            SockFilter::new(RETURN, 0, 0, u32::MAX),
        ])
    }

    #[cfg(not(target_os = "linux"))]
    fn refuse_new(&self, _: &Self::Listener) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn accept_now(&self, listener: &Self::Listener) -> io::Result<(Self::Stream, Addresses)> {
        let (socket, _) = SockRef::from(listener).accept()?;
        socket.set_nonblocking(true)?;
        let stream = TcpStream::from_std(socket.into())?;
        let addresses = Addresses { local: stream.local_addr()?, remote: stream.peer_addr()? };
        Ok((stream, addresses))
    }

    fn read_now(stream: &Self::Stream, block: &mut BytesMut) -> io::Result<usize> {
        let mut piece = [0; 16 * 1024];
        let count = rustix::net::recv(stream, &mut piece, RecvFlags::DONTWAIT)?.0;
        block.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    fn reset(stream: Self::Stream) {
        // With no time to linger, closing sends RST.
        let _ = stream.set_zero_linger();
    }

    // Not `async fn`: the future must not borrow the network.
    #[allow(clippy::manual_async_fn)]
    fn connect(&self, address: SocketAddr) -> impl Future<Output = io::Result<(Self::Stream, Addresses)>> + 'static {
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let local = stream.local_addr()?;
            Ok((stream, Addresses { local, remote: address }))
        }
    }
}
