//! Looking at a client's first bytes before its filter chain is chosen. They are not taken: whoever serves the
//! connection gets them again.

use bytes::BytesMut;
use rustls::server::Acceptor;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};
use weir_core::limit;
use weir_core::listener::Hello;

/// A TLS record that holds a handshake message begins with this (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// What a client's first bytes are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// A TLS client hello.
    pub tls: bool,
    /// The server that it asks for.
    pub server_name: Option<String>,
    /// The protocols that it offers.
    pub alpn: Vec<Vec<u8>>,
}

impl Seen {
    /// Calls `tell` with it, as core wants it.
    pub fn tell<R>(&self, tell: impl FnOnce(Hello<'_>) -> R) -> R {
        let alpn: Vec<&[u8]> = self.alpn.iter().map(Vec::as_slice).collect();
        tell(Hello { tls: self.tls, server_name: self.server_name.as_deref(), alpn: &alpn })
    }
}

/// Reads until it is clear what the first bytes are; they are left in `bytes`.
pub async fn look<S: AsyncRead + Unpin>(stream: &mut S, bytes: &mut BytesMut) -> io::Result<Seen> {
    let mut acceptor = Acceptor::default();
    loop {
        let before = bytes.len();
        if stream.read_buf(bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match feed(&mut acceptor, bytes, before) {
            Some(seen) => return Ok(seen),
            None if bytes.len() > limit::CLIENT_HELLO => return Ok(Seen::default()),
            None => {}
        }
    }
}

/// What `bytes` are, of which the first `known` were fed before; `None` if more are needed.
fn feed(acceptor: &mut Acceptor, bytes: &[u8], known: usize) -> Option<Seen> {
    if bytes.first() != Some(&HANDSHAKE) || bytes.get(1).is_some_and(|major| *major != 3) {
        return Some(Seen::default());
    }
    let mut left = &bytes[known..];
    while !left.is_empty() {
        match acceptor.read_tls(&mut left) {
            Ok(1..) => {}
            _ => return Some(Seen::default()),
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                return Some(Seen {
                    tls: true,
                    server_name: hello.server_name().map(str::to_ascii_lowercase),
                    alpn: hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect(),
                });
            }
            // It looked like one, and is none.
            Err(_) => return Some(Seen::default()),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    use std::sync::Arc;

    fn hello() -> Vec<u8> {
        let builder = ClientConfig::builder_with_provider(Environment::system().provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut client = ClientConnection::new(Arc::new(config), "A.example".try_into().unwrap()).unwrap();
        let mut out = Vec::new();
        client.write_tls(&mut out).unwrap();
        out
    }

    #[test]
    fn a_hello_is_seen_however_it_is_cut() {
        let bytes = hello();
        for step in [1, 7, bytes.len()] {
            let (mut acceptor, mut seen, mut known) = (Acceptor::default(), None, 0);
            while seen.is_none() && known < bytes.len() {
                let end = (known + step).min(bytes.len());
                seen = feed(&mut acceptor, &bytes[..end], known);
                known = end;
            }
            let alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            assert_eq!(seen, Some(Seen { tls: true, server_name: Some("a.example".into()), alpn }), "step {step}");
        }
    }

    #[test]
    fn what_is_no_hello_is_told_from_its_first_byte_on() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"G", &[22, 2], &[22, 3, 1, 0, 4, 9, 9, 9, 9]] {
            assert_eq!(feed(&mut Acceptor::default(), bytes, 0), Some(Seen::default()), "{bytes:?}");
        }
        assert_eq!(feed(&mut Acceptor::default(), &[22, 3], 0), None);
    }
}
