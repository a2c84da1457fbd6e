//! What is known about a TLS connection once its handshake is done.
//!
//! The driver fills it in; the engine keeps it with the connection, records it, and hands it to whoever reads facts:
//! access logs, `x-forwarded-client-cert`, the scheme of a request. Certificates are kept as they came (DER): their
//! text is made only when somebody wants it.

use crate::time::Wall;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

/// A finished handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: Arc<str>,
    /// The cipher, by OpenSSL's name.
    pub cipher: Arc<str>,
    /// The key exchange, by BoringSSL's name; empty for none.
    pub curve: Arc<str>,
    /// The protocol that was agreed on (ALPN); empty for none.
    pub alpn: Box<[u8]>,
    /// The server that the client asked for (SNI); empty for none.
    pub server_name: Box<str>,
    /// The session's id in hex; empty if it has none.
    pub session_id: Box<str>,
    /// An earlier session was resumed.
    pub resumed: bool,
    /// The peer's certificate.
    pub peer: Option<Arc<Certificate>>,
    /// The certificates that came with it, itself first, DER.
    pub peer_chain: Vec<Box<[u8]>>,
    /// Our own certificate.
    pub local: Option<Arc<Certificate>>,
}

/// What a certificate says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// Subject, as RFC 2253 writes it.
    pub subject: Box<str>,
    /// Issuer, likewise.
    pub issuer: Box<str>,
    /// Serial number in hex.
    pub serial: Box<str>,
    /// SHA-256 of the certificate in hex.
    pub sha256: Box<str>,
    /// SHA-1 of the certificate in hex.
    pub sha1: Box<str>,
    /// Names of each kind.
    pub uris: Vec<Box<str>>,
    /// DNS names.
    pub dns: Vec<Box<str>>,
    /// Mail addresses.
    pub emails: Vec<Box<str>>,
    /// IP addresses.
    pub ips: Vec<Box<str>>,
    /// First moment at which it is valid.
    pub not_before: Wall,
    /// Last moment at which it is valid.
    pub not_after: Wall,
}

/// A peer's words, without control characters: those could end a header, or a line of a log.
pub fn printable(text: &str) -> Cow<'_, str> {
    match text.contains(char::is_control) {
        true => text.chars().filter(|letter| !letter.is_control()).collect::<String>().into(),
        false => text.into(),
    }
}

/// Certificates as Envoy writes them into headers and logs: PEM, URL-encoded.
pub fn url_encoded_pem<'c>(chain: impl Iterator<Item = &'c [u8]>) -> String {
    let mut out = String::new();
    for der in chain {
        out.push_str("-----BEGIN%20CERTIFICATE-----%0A");
        let text = STANDARD.encode(der);
        for line in text.as_bytes().chunks(64) {
            for byte in line {
                match byte {
                    b'+' | b'/' | b'=' => drop(write!(out, "%{byte:02X}")),
                    _ => out.push(char::from(*byte)),
                }
            }
            out.push_str("%0A");
        }
        out.push_str("-----END%20CERTIFICATE-----%0A");
    }
    out
}

/// Why a TLS handshake failed: what stats tell apart.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The peer spoke no TLS, or no version or cipher that we have, or sent an alert.
    Protocol,
    /// The client showed no certificate and must.
    NoCertificate,
    /// The peer's certificate is not trusted, expired or revoked.
    Untrusted,
    /// It has none of the names that it must have.
    Name,
    /// It is none of those that are pinned.
    Pin,
}

impl TlsFault {
    /// All of them; their places are their numbers in a log.
    pub const ALL: [TlsFault; 5] = [TlsFault::Protocol, TlsFault::NoCertificate, TlsFault::Untrusted, TlsFault::Name, TlsFault::Pin];
}
