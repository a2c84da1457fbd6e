//! How numbers, addresses and entries are written.

use crate::cluster::Resolved;
use crate::config::{LogSink, Source};
use crate::drain::DrainScope;
use crate::engine::{ConnectError, IoFault, Transport};
use crate::filter::{FilterId, Resume};
use crate::id::{ConnId, ListenerId, QueryId};
use crate::record::Addresses;
use crate::time::Wall;
use crate::tls_info::{TlsFault, TlsInfo};
use std::net::{IpAddr, SocketAddr};

/// What a log begins with.
pub(super) const MAGIC: &[u8; 8] = b"WEIRLOG\n";

/// Set in the tag of an entry to which `Shared` answered something.
pub(super) const ANSWERED: u8 = 0x80;

macro_rules! tags {
    ($($name:ident = $tag:literal, $about:literal;)*) => {
        /// What an entry is, as its first byte.
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        pub(super) enum Tag { $($name = $tag),* }

        impl Tag {
            pub(super) fn of(byte: u8) -> Option<Tag> {
                match byte { $($tag => Some(Tag::$name),)* _ => None }
            }

            pub(super) fn about(self) -> &'static str {
                match self { $(Tag::$name => $about),* }
            }
        }
    };
}

tags! {
    Accept = 1, "a client connects";
    Connected = 2, "a connection to a host is made or fails";
    Recv = 3, "bytes arrive";
    Eof = 4, "a peer has sent its last byte";
    Closed = 5, "a connection is gone";
    Resolved = 6, "DNS answers";
    Config = 7, "a config takes effect";
    Drain = 8, "a drain begins";
    Nudge = 9, "another engine asks for room";
    Timeout = 10, "time passes";
    Transmit = 11, "bytes are taken to be sent";
    Wall = 12, "the wall clock is told";
    End = 13, "the log ends";
    ClientHello = 14, "a client's first bytes are seen";
    Secured = 15, "a TLS handshake is done";
    HandshakeFailed = 16, "a TLS handshake fails";
    Filter = 17, "a filter is resumed";
}

/// One input of an engine, as it is read: a call of its `handle_*` of that name, or of `poll_transmit`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // the fields are the arguments
pub enum Input {
    /// A client connects.
    Accept { on: ListenerId, addresses: Addresses },
    /// A connection to a host is made or fails.
    Connected { conn: ConnId, result: Result<Transport, ConnectError> },
    /// Bytes arrive: so many, of which the engine took these.
    Recv { conn: ConnId, offered: usize, taken: Vec<Piece> },
    /// A peer has sent its last byte.
    Eof(ConnId),
    /// A connection is gone.
    Closed(ConnId, IoFault),
    /// DNS answers.
    Resolved { query: QueryId, result: Result<Resolved, Box<str>> },
    /// A config takes effect.
    Config(Source),
    /// A drain begins.
    Drain(DrainScope),
    /// Another engine asks for room.
    Nudge,
    /// Time passes.
    Timeout,
    /// Bytes are taken to be sent.
    Transmit(ConnId),
    /// The wall clock is told.
    Wall(Wall),
    /// The log ends.
    End { entries: u64, digest: u64 },
    /// A client's first bytes are seen.
    ClientHello { conn: ConnId, tls: bool, server_name: Option<Box<str>>, alpn: Vec<Vec<u8>> },
    /// A TLS handshake is done.
    Secured { conn: ConnId, tls: TlsInfo },
    /// A TLS handshake fails.
    HandshakeFailed(ConnId, TlsFault),
    /// A filter is resumed.
    Filter(FilterId, Resume),
}

/// Bytes that the engine took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As they are.
    Bytes(Vec<u8>),
    /// Of a body: so many bytes, and their digest.
    Elided(usize),
}

/// Appends to a buffer.
pub(super) trait Put {
    fn number(&mut self, number: u64);
    fn signed(&mut self, number: i64);
    fn text(&mut self, bytes: &[u8]);
    fn socket(&mut self, address: SocketAddr);
    fn ip(&mut self, ip: IpAddr);
    fn addresses(&mut self, addresses: &Addresses);
    fn source(&mut self, source: &Source);
    fn sink(&mut self, sink: &LogSink);
}

impl Put for Vec<u8> {
    #[inline]
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.push(number as u8);
    }

    #[inline]
    fn signed(&mut self, number: i64) {
        self.number((number << 1 ^ number >> 63) as u64);
    }

    fn text(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.extend_from_slice(bytes);
    }

    fn socket(&mut self, address: SocketAddr) {
        self.ip(address.ip());
        self.number(u64::from(address.port()));
    }

    fn ip(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.text(&ip.octets()),
            IpAddr::V6(ip) => self.text(&ip.octets()),
        }
    }

    fn addresses(&mut self, addresses: &Addresses) {
        self.socket(addresses.local);
        self.socket(addresses.remote);
    }

    fn source(&mut self, source: &Source) {
        self.text(source.hostname.as_bytes());
        self.number(source.sinks.len() as u64);
        source.sinks.iter().for_each(|sink| self.sink(sink));
        self.text(source.file.as_bytes());
        self.text(source.text.as_bytes());
    }

    fn sink(&mut self, sink: &LogSink) {
        match sink {
            LogSink::Stdout => self.number(0),
            LogSink::Stderr => self.number(1),
            LogSink::File(path) => {
                self.number(2);
                self.text(path.as_bytes());
            }
        }
    }
}
