//! Plaintext between an engine and the proxy's side of a connection with TLS: reading, writing and ending it in the order
//! in which the runtime's task of a connection does (`runtime/src/socket.rs`).

use super::connection::{Conn, Ending};
use super::secure::Secure;
use super::{Step, World};
use crate::event::SECOND;
use crate::link::End;
use crate::peer::ConnNo;
use crate::tls::pipe::Pipe;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncReadExt, AsyncWrite};
use weir::tls::Stream;
use weir_core::buffer::Outbox;
use weir_core::engine::{IoFault, Transmit};

/// Slices for one write.
const SLICES: usize = 64;

impl Secure {
    /// Reads more; behind what the engine has not taken yet.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut plain = std::mem::take(&mut self.plain);
        plain.reserve(16 * 1024);
        let read = match self.stream() {
            Some(mut stream) => pin!(stream.read_buf(&mut plain)).poll(cx),
            None => Poll::Pending,
        };
        self.plain = plain;
        read
    }

    /// Writes what is there.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outbox = std::mem::take(&mut self.outbox);
        let written = match self.stream() {
            Some(stream) => write_all(stream, &mut outbox, cx),
            None => Poll::Pending,
        };
        self.outbox = outbox;
        written
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().map_or(Poll::Pending, |stream| stream.poll_flush(cx))
    }

    fn shut_down(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().map_or(Poll::Ready(Ok(())), |stream| stream.poll_shutdown(cx))
    }
}

fn write_all(mut stream: Pin<&mut Stream<Pipe>>, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    while !outbox.is_empty() {
        let mut vector = [IoSlice::new(&[]); SLICES];
        let mut used = 0;
        for (slot, slice) in vector.iter_mut().zip(outbox.slices()) {
            *slot = IoSlice::new(slice);
            used += 1;
        }
        match ready!(stream.as_mut().poll_write_vectored(cx, &vector[..used]))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            sent => outbox.advance(sent),
        }
    }
    Poll::Ready(Ok(()))
}

impl World {
    /// Something has arrived on such a connection, or it is to be read again.
    pub(super) fn reach_secure(&mut self, no: ConnNo) {
        self.feed_secure(no);
        if let Some(node) = self.conns[no].as_ref().map(|conn| conn.node) {
            self.drive(node);
        }
    }

    /// Hands the engine what is there, as long as it wants to read.
    pub(super) fn feed_secure(&mut self, no: ConnNo) {
        if !self.go_on(no) {
            return;
        }
        loop {
            let Some(conn) = self.conns[no].as_mut() else { return };
            let (Some(id), node) = (conn.id.filter(|_| conn.socket), conn.node) else { return };
            let Some(secure) = conn.secure.as_mut() else { return };
            if !conn.readable {
                break;
            }
            let now = self.nodes[node].instant(self.now);
            if !secure.plain.is_empty() {
                let mut input = secure.plain.split();
                let before = input.len();
                self.nodes[node].engine.handle_recv(id, &mut input, now);
                let progress = input.len() < before;
                if let Some(secure) = self.conns[no].as_mut().and_then(|conn| conn.secure.as_mut()) {
                    secure.plain = input;
                }
                self.drive(node);
                if progress {
                    continue;
                }
                break;
            }
            if conn.eof_told {
                break;
            }
            match self.through(no, Secure::read) {
                Some(Poll::Ready(Ok(0))) => {
                    if let Some(conn) = self.conns[no].as_mut() {
                        conn.eof_told = true;
                    }
                    self.nodes[node].engine.handle_eof(id, now);
                    break;
                }
                Some(Poll::Ready(Ok(count))) => self.digest.add(self.now ^ (count as u64) << 40 ^ no as u64),
                Some(Poll::Ready(Err(_))) => return self.fails(no),
                None | Some(Poll::Pending) => break,
            }
        }
        let is_reset = |conn: &Conn| conn.socket && conn.to_engine.ended == Some(End::Reset);
        if self.conns[no].as_deref().is_some_and(is_reset) {
            self.fails(no);
        }
    }

    /// The connection is broken.
    fn fails(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_ref() else { return };
        let (Some(id), node) = (conn.id, conn.node) else { return };
        self.close_socket(no, End::Fin);
        let now = self.instant(node);
        self.nodes[node].engine.handle_closed(id, IoFault::Reset, now);
    }

    /// Sends what the engine has, as far as the link has room for it, and ends what is to be ended then.
    pub(super) fn transmit_secure(&mut self, no: ConnNo) {
        if let Some(conn) = self.conns[no].as_mut() {
            conn.blocked = false;
        }
        if !self.go_on(no) {
            // Nobody waits for the handshake of a connection that is to be closed.
            if self.conns[no].as_ref().is_some_and(|conn| conn.ending == Ending::Close) {
                self.close(no);
            }
            return;
        }
        loop {
            match self.through(no, Secure::write) {
                Some(Poll::Ready(Ok(()))) => {}
                Some(Poll::Ready(Err(_))) => return self.fails(no),
                None | Some(Poll::Pending) => return,
            }
            let Some(conn) = self.conns[no].as_mut() else { return };
            let (Some(id), node) = (conn.id, conn.node) else { return };
            let Some(secure) = conn.secure.as_mut() else { return };
            let now = self.nodes[node].instant(self.now);
            if self.nodes[node].engine.poll_transmit(id, &mut secure.outbox, now) == Transmit::Empty {
                break;
            }
        }
        if !matches!(self.through(no, Secure::flush), Some(Poll::Ready(Ok(())))) {
            return;
        }
        let Some(conn) = self.conns[no].as_mut() else { return };
        match std::mem::replace(&mut conn.ending, Ending::None) {
            Ending::None => {}
            Ending::ShutdownWrite => {
                if self.through(no, Secure::shut_down).is_some_and(|shut| shut.is_pending())
                    && let Some(conn) = self.conns[no].as_mut()
                {
                    conn.ending = Ending::ShutdownWrite;
                }
            }
            Ending::Close => self.close(no),
            Ending::CloseIfIdle => self.close_secure_if_idle(no),
        }
    }

    /// Looks once more: hands in what has come, or closes if nothing has.
    fn close_secure_if_idle(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_ref() else { return };
        let came = !conn.to_engine.arrived.is_empty();
        if conn.secure.as_ref().is_some_and(|secure| !secure.plain.is_empty()) {
            return self.feed_secure(no);
        }
        match self.through(no, Secure::read) {
            Some(Poll::Ready(Ok(1..))) => self.feed_secure(no),
            // The rest of a record is on its way.
            Some(Poll::Pending) if came => self.queue.push(self.now + SECOND, Step::Look(no)),
            _ => self.close(no),
        }
    }

    /// Says to the peer that nothing more comes, if there is room for it.
    pub(super) fn say_goodbye(&mut self, no: ConnNo) {
        self.through(no, |secure, cx| secure.stream().map(|stream| stream.poll_shutdown(cx)).is_some());
    }
}
