//! Received bytes that the engine left, for hosts that do not keep them: offered again when it reads again.
//!
//! Such a host is told to pause when something is left, and to read once it was all taken. An end that it has told
//! waits behind the bytes.

use super::EngineObject;
use bytes::BytesMut;
use weir_core::engine::Action;
use weir_core::id::ConnId;
use weir_core::time::Instant;

/// What a connection has received, and the engine not taken.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: BytesMut,
    /// The peer has sent its last byte.
    ended: bool,
}

impl EngineObject {
    /// Feeds bytes, and keeps what is left.
    pub(super) fn recv_all(&mut self, id: ConnId, data: &[u8], now: Instant) {
        if let Some(kept) = self.kept.get_mut(id) {
            kept.bytes.extend_from_slice(data);
            return;
        }
        let left = self.recv(id, data, now);
        if !left.is_empty() && self.engine.has_connection(id) {
            self.kept.insert(id, Kept { bytes: left, ended: false });
            self.to_pause.push_back(id);
        }
    }

    /// Feeds the end, or lets it wait behind what is kept.
    pub(super) fn recv_eof(&mut self, id: ConnId, now: Instant) {
        match self.kept.get_mut(id) {
            Some(kept) => kept.ended = true,
            None => self.engine.handle_eof(id, now),
        }
    }

    /// The next action that is the host's to do.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        while let Some(id) = self.to_pause.pop_front() {
            if self.kept.contains_key(id) {
                return Some(Action::SetReadable(id, false));
            }
        }
        loop {
            let action = self.engine.poll_action()?;
            match action {
                Action::SetReadable(id, true) if self.kept.contains_key(id) && !self.offer(id) => {}
                // What it would read is there already.
                Action::CloseIfIdle(id) if self.kept.contains_key(id) => drop(self.offer(id)),
                other => return Some(other),
            }
        }
    }

    /// Offers again what is kept; whether all of it was taken.
    fn offer(&mut self, id: ConnId) -> bool {
        let Some(mut kept) = self.kept.remove(id) else { return true };
        self.engine.handle_recv(id, &mut kept.bytes, self.now);
        if !self.engine.has_connection(id) {
            return true;
        }
        if kept.bytes.is_empty() {
            if kept.ended {
                self.engine.handle_eof(id, self.now);
            }
            return true;
        }
        self.kept.insert(id, kept);
        false
    }
}
