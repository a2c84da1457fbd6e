//! Memory in the place of a socket. Bytes of the peer lie in it until `h2` reads them; what `h2` writes lies in it until
//! the driver takes it. It is `h2`'s only I/O, so it never fails and never waits for anything but room.

use bytes::{Buf, Bytes, BytesMut};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// With so much to be sent, `h2` must wait: what is not in here is subject to its order of streams.
const OUT_LIMIT: usize = 64 * 1024;

/// Both directions.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// What the peer has sent.
    pub(super) input: Bytes,
    /// What it is to be sent.
    pub(super) output: BytesMut,
    /// It has sent its last byte.
    pub(super) eof: bool,
    /// `h2` was told to wait.
    pub(super) blocked: bool,
}

/// A handle to them. The lock is never contended: one engine has both handles.
#[derive(Clone, Debug, Default)]
pub(super) struct Pipe(Arc<Mutex<Buffers>>);

impl Pipe {
    pub(super) fn lock(&self) -> MutexGuard<'_, Buffers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut buffers = self.lock();
        if buffers.input.is_empty() {
            return if buffers.eof { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        let count = to.remaining().min(buffers.input.len());
        to.put_slice(&buffers.input[..count]);
        buffers.input.advance(count);
        if buffers.input.is_empty() {
            // Nothing of the driver's block must be held on to.
            buffers.input = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let mut buffers = self.lock();
        if buffers.output.len() >= OUT_LIMIT {
            buffers.blocked = true;
            return Poll::Pending;
        }
        buffers.output.extend_from_slice(from);
        Poll::Ready(Ok(from.len()))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, _: &mut Context<'_>, from: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut buffers = self.lock();
        if buffers.output.len() >= OUT_LIMIT {
            buffers.blocked = true;
            return Poll::Pending;
        }
        from.iter().for_each(|slice| buffers.output.extend_from_slice(slice));
        Poll::Ready(Ok(from.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
