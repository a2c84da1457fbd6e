//! TLS of clients and upstreams, with certificates that are checked in.

use crate::config::{Protocol, Wire};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use turmoil::net::TcpStream;
use weir::environment::Environment;

pub(crate) use weir_sim::tls::pem::{A, AUTHORITY, B, ORIGIN, Pem, RENEWED, STRANGER};

/// A connection, in TLS or not.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Bytes for S {}

fn alpn(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    }
}

/// What a client does its handshakes with, that trusts `roots` and wants `protocol`.
pub(crate) fn client_config(environment: Environment, roots: Pem, protocol: Protocol) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    store.add(roots.certificate().expect("a certificate")).expect("an authority");
    let builder = ClientConfig::builder_with_details(environment.provider, environment.time);
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(store).with_no_client_auth();
    config.alpn_protocols = vec![alpn(protocol)];
    Arc::new(config)
}

/// What an upstream does its handshakes with, that shows `own` and speaks `protocol`.
pub(crate) fn server_config(environment: Environment, own: Pem, protocol: Protocol) -> Arc<ServerConfig> {
    let key = own.key().expect("a key");
    let builder = ServerConfig::builder_with_details(environment.provider, environment.time);
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_no_client_auth().with_single_cert(vec![own.certificate().expect("a certificate")], key).expect("its key");
    config.alpn_protocols = vec![alpn(protocol)];
    Arc::new(config)
}

/// How a client's handshake ended.
pub(crate) struct Secured {
    pub(crate) stream: Box<dyn Bytes>,
    /// What the server showed.
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// The protocol that both agreed on.
    pub(crate) is_agreed: bool,
    /// Whether it went on with a session that was there before.
    pub(crate) is_resumed: bool,
}

/// A client's handshake.
pub(crate) async fn secure(config: Arc<ClientConfig>, name: &'static str, stream: TcpStream) -> io::Result<Secured> {
    let wanted = config.alpn_protocols.first().cloned();
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    let state = stream.get_ref().1;
    let certificate = state.peer_certificates().and_then(|chain| Some(chain.first()?.clone().into_owned()));
    let is_agreed = state.alpn_protocol() == wanted.as_deref();
    let is_resumed = state.handshake_kind() == Some(HandshakeKind::Resumed);
    Ok(Secured { stream: Box::new(stream), certificate, is_agreed, is_resumed })
}

/// An upstream's side of a new connection; `None` if it has none in common with the proxy.
pub(crate) async fn accept(config: Option<Arc<ServerConfig>>, wire: Wire, stream: TcpStream) -> Option<Box<dyn Bytes>> {
    let Some(config) = config else { return Some(Box::new(stream)) };
    let stream = TlsAcceptor::from(config).accept(stream).await.ok()?;
    // A proxy that knows its upstreams need not ask for HTTP/1.1.
    let agreed = stream.get_ref().1.alpn_protocol().unwrap_or(b"http/1.1") == alpn(wire.protocol);
    agreed.then(|| Box::new(stream) as Box<dyn Bytes>)
}
