//! A connection's bytes, plain or through TLS.

use crate::net::Net;
use bytes::{Buf, BytesMut};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;
use weir_core::plant::{Plant, is_planted};

/// A stream of which some bytes were read before.
#[derive(Debug)]
pub struct Prefixed<S> {
    prefix: BytesMut,
    inner: S,
}

/// A connection.
#[derive(Debug)]
pub enum Stream<S> {
    /// As it is.
    Plain(S),
    /// Through TLS.
    Tls(Box<TlsStream<Prefixed<S>>>),
}

/// What looking once more at a connection came to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// There is something for the engine.
    Bytes,
    /// Something came, but no whole record of it yet.
    Part,
    /// Nothing has come, or the end.
    Nothing,
}

impl<S> Prefixed<S> {
    /// `inner`, from which `prefix` was read.
    pub fn new(prefix: BytesMut, inner: S) -> Prefixed<S> {
        Prefixed { prefix, inner }
    }

    /// The stream, without what was read before.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S> Stream<S> {
    /// The socket, without telling the peer anything.
    pub fn into_socket(self) -> S {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => match *tls {
                TlsStream::Client(tls) => tls.into_inner().0.into_inner(),
                TlsStream::Server(tls) => tls.into_inner().0.into_inner(),
            },
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// Tells the peer that nothing more comes, if there is room to tell it.
    pub fn say_goodbye(&mut self) {
        if let Stream::Tls(tls) = self {
            let _ = Pin::new(tls).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Reads what the kernel has received already, whatever the runtime has heard of it. Who waits for this stream is
    /// to be woken afterwards.
    pub fn look<N: Net<Stream = S>>(&mut self, input: &mut BytesMut) -> Look {
        match self {
            Stream::Plain(socket) => match N::read_now(socket, input) {
                Ok(1..) => Look::Bytes,
                _ => Look::Nothing,
            },
            Stream::Tls(tls) => {
                let below = tls.get_mut().0;
                let came = matches!(N::read_now(&below.inner, &mut below.prefix), Ok(1..));
                let read = pin!(tls.read_buf(input)).poll(&mut Context::from_waker(Waker::noop()));
                match read {
                    Poll::Ready(Ok(1..)) => Look::Bytes,
                    Poll::Ready(_) => Look::Nothing,
                    Poll::Pending => {
                        if came {
                            Look::Part
                        } else {
                            Look::Nothing
                        }
                    }
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, out);
        }
        let count = self.prefix.len().min(out.remaining());
        out.put_slice(&self.prefix[..count]);
        self.prefix.advance(count);
        if self.prefix.is_empty() {
            self.prefix = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(socket) => Pin::new(socket).poll_read(cx, out),
            Stream::Tls(tls) => match Pin::new(tls).poll_read(cx, out) {
                // What the peer's TLS has not ended may be cut.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof && is_planted(Plant::CutTlsIsWhole) => {
                    Poll::Ready(Ok(()))
                }
                read => read,
            },
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Stream::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Stream::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Stream::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
