//! What the proxy's TLS reads from and writes to, in the place of a socket: what a link has brought, and as much as it
//! has room for. The world fills it before a connection's turn and empties it afterwards.

use crate::link::End;
use bytes::{Buf, BytesMut};
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Both directions of a connection in its turn.
#[derive(Debug, Default)]
pub struct Flow {
    /// Arrived, not read.
    pub input: BytesMut,
    /// How that direction has ended, behind the input.
    pub end: Option<End>,
    /// Written.
    pub output: BytesMut,
    /// Bytes that can be written.
    pub room: usize,
    /// More would have been written.
    pub starved: bool,
    /// Nothing more will be written.
    pub shut: bool,
    /// Nobody is to wait for a client's first bytes any longer.
    pub hurried: bool,
}

/// A handle to a [`Flow`].
#[derive(Clone, Debug, Default)]
pub struct Pipe(pub Rc<RefCell<Flow>>);

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut flow = self.0.borrow_mut();
        if flow.input.is_empty() {
            return match flow.end {
                None => Poll::Pending,
                Some(End::Fin) => Poll::Ready(Ok(())),
                Some(End::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            };
        }
        let count = flow.input.len().min(out.remaining());
        out.put_slice(&flow.input[..count]);
        flow.input.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut flow = self.0.borrow_mut();
        let count = flow.room.min(bytes.len());
        if count == 0 && !bytes.is_empty() {
            flow.starved = true;
            return Poll::Pending;
        }
        flow.room -= count;
        flow.output.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().shut = true;
        Poll::Ready(Ok(()))
    }
}
