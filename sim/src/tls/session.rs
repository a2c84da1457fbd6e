//! A scripted peer's side of TLS on one connection: what it says becomes ciphertext, what it hears plaintext.

use bytes::Bytes;
use rustls::Connection;
use std::io::{Read, Write};

/// One connection.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    /// Its certificate is one that the proxy accepts.
    pub fit: bool,
    /// It sends so many parts in a hundred of its first flight, and hangs then.
    hangs: Option<usize>,
    sent: bool,
    /// First byte that was heard.
    first: Option<u8>,
    opened: bool,
    failed: bool,
    /// The peer knows that the other side has ended.
    pub end_told: bool,
}

/// What was heard.
#[derive(Debug, Default)]
pub struct Heard {
    /// The handshake is done, since now.
    pub opened: bool,
    /// Plaintext.
    pub plain: Vec<u8>,
    /// The other side has said that it will send no more.
    pub closed: bool,
    /// TLS has failed.
    pub failed: bool,
}

impl Session {
    /// A session at its beginning.
    pub fn new(mut connection: Connection, fit: bool) -> Session {
        // Peers keep what they cannot send yet, whatever it is.
        connection.set_buffer_limit(None);
        Session { connection, fit, hangs: None, sent: false, first: None, opened: false, failed: false, end_told: false }
    }

    /// Sends so many parts in a hundred of its first flight, and hangs then.
    pub fn hangs_after(&mut self, percent: usize) {
        self.hangs = Some(percent);
    }

    /// Ciphertext has come.
    pub fn hear(&mut self, mut bytes: &[u8]) -> Heard {
        let mut heard = Heard::default();
        self.first = self.first.or(bytes.first().copied());
        while !bytes.is_empty() && !self.failed {
            let taken = self.connection.read_tls(&mut bytes);
            match self.connection.process_new_packets() {
                Ok(state) => {
                    let before = heard.plain.len();
                    heard.plain.resize(before + state.plaintext_bytes_to_read(), 0);
                    self.failed |= self.connection.reader().read_exact(&mut heard.plain[before..]).is_err();
                    heard.closed |= state.peer_has_closed();
                }
                Err(_) => self.failed = true,
            }
            if !matches!(taken, Ok(1..)) {
                break;
            }
        }
        heard.failed = self.failed;
        heard.opened = !self.failed && self.hangs.is_none() && !self.connection.is_handshaking() && !self.opened;
        self.opened |= heard.opened;
        heard
    }

    /// What it has heard of the other side's is no TLS.
    pub fn is_in_clear(&self) -> bool {
        self.first.is_some_and(|first| !(20..=24).contains(&first))
    }

    /// Says something.
    pub fn say(&mut self, plain: &[u8]) {
        // It cannot fail: what is written is kept in memory.
        let _ = self.connection.writer().write_all(plain);
    }

    /// Says that nothing more will be said.
    pub fn say_last(&mut self) {
        self.connection.send_close_notify();
    }

    /// What is to be sent, if anything is.
    pub fn take_sent(&mut self) -> Option<Bytes> {
        let mut bytes = Vec::new();
        while self.connection.wants_write() && self.connection.write_tls(&mut bytes).is_ok() {}
        if let Some(percent) = self.hangs {
            bytes.truncate(if self.sent { 0 } else { bytes.len() * percent / 100 });
            self.sent = true;
        }
        (!bytes.is_empty()).then(|| bytes.into())
    }
}
