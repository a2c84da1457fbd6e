//! One connection's handshake, and what is known of it afterwards.

use super::stream::Prefixed;
use super::{client::Client, facts, resolve, server, verify};
use bytes::BytesMut;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CommonState, Error, HandshakeKind, ProtocolVersion, ServerConfig};
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use weir_core::engine::{ConnectError, ConnectTls};
use weir_core::tls_info::{Certificate, TlsFault, TlsInfo};

/// How a handshake failed.
#[derive(Debug)]
pub struct Failed {
    /// What stats tell apart; `None` if the connection broke before TLS could fail.
    pub fault: Option<TlsFault>,
    /// In words.
    pub text: String,
}

impl Failed {
    fn new(error: &io::Error) -> Failed {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => Failed { fault: Some(verify::fault(error)), text: words(error) },
            None => Failed { fault: None, text: error.to_string() },
        }
    }

    /// As a reason why a connection to an upstream could not be made, in Envoy's form.
    pub fn into_connect_error(self) -> ConnectError {
        let text = match self.fault {
            Some(TlsFault::Protocol) => format!("TLS_error:|{}:TLS_error_end", self.text),
            Some(_) => {
                format!(
                    "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: {}:TLS_error_end",
                    self.text
                )
            }
            None => format!("TLS_error:|the connection was closed in the handshake: {}:TLS_error_end", self.text),
        };
        ConnectError { text: text.into(), tls: Some(self.fault.unwrap_or(TlsFault::Protocol)) }
    }
}

fn words(error: &Error) -> String {
    use rustls::{CertificateError, OtherError};
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => other.to_string(),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => "unable to get local issuer certificate".to_owned(),
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "certificate has expired".to_owned()
        }
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "certificate is not yet valid".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Revoked) => "certificate revoked".to_owned(),
        Error::InvalidCertificate(CertificateError::UnknownRevocationStatus) => "unable to get certificate CRL".to_owned(),
        other => other.to_string(),
    }
}

/// A client's handshake. `prefix` was read of its bytes before.
pub async fn accept<S>(config: Arc<ServerConfig>, prefix: BytesMut, socket: S) -> Result<(TlsStream<Prefixed<S>>, TlsInfo), Failed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut accepting = pin!(TlsAcceptor::from(config).accept(Prefixed::new(prefix, socket)));
    let mut own = None;
    // Handshakes take turns on this thread: what one was given must be asked for in its own turn.
    let accepted = poll_fn(|cx| {
        resolve::take_given();
        let polled = accepting.as_mut().poll(cx);
        own = resolve::take_given().or(own.take());
        polled
    });
    let stream = accepted.await.map_err(|error| Failed::new(&error))?;
    let name = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
    let info = info(stream.get_ref().1, &name, own);
    Ok((TlsStream::Server(stream), info))
}

/// A handshake with an upstream at `address`. Nothing is sent as a name if there is none.
pub async fn connect<S>(client: &Client, tls: &ConnectTls, address: IpAddr, socket: S) -> Result<(TlsStream<Prefixed<S>>, TlsInfo), Failed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = &*tls.server_name;
    let mut target = match name {
        "" => ServerName::IpAddress(address.into()),
        name => server_name(name)?,
    };
    let config = match &tls.san {
        None => Arc::clone(&client.config),
        Some(san) => {
            let san = server_name(san)?;
            // An address is never sent, so it can stand for itself.
            if name.is_empty() && matches!(san, ServerName::IpAddress(_)) {
                target = san.clone();
            }
            match &client.for_sent_name {
                Some(config) if target == san => Arc::clone(config),
                _ => client.demanding(san),
            }
        }
    };
    let connecting = TlsConnector::from(config).connect(target, Prefixed::new(BytesMut::new(), socket));
    let stream = connecting.await.map_err(|error| Failed::new(&error))?;
    let info = info(stream.get_ref().1, name, client.own.clone());
    Ok((TlsStream::Client(stream), info))
}

fn server_name(name: &str) -> Result<ServerName<'static>, Failed> {
    let fault = |_| Failed { fault: Some(TlsFault::Protocol), text: format!("`{name}` is no host name to ask for") };
    ServerName::try_from(name.to_owned()).map_err(fault)
}

fn info(state: &CommonState, name: &str, local: Option<Arc<Certificate>>) -> TlsInfo {
    let chain = state.peer_certificates().unwrap_or_default();
    TlsInfo {
        version: match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2".into(),
            _ => "TLSv1.3".into(),
        },
        cipher: state.negotiated_cipher_suite().map_or("", |suite| server::cipher_name(suite.suite())).into(),
        curve: state.negotiated_key_exchange_group().map_or("", |group| server::curve_name(group.name())).into(),
        alpn: state.alpn_protocol().unwrap_or_default().into(),
        server_name: name.into(),
        session_id: "".into(),
        resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        peer: chain.first().and_then(|der| facts::read(der)).map(Arc::new),
        peer_chain: chain.iter().map(|der: &CertificateDer<'_>| der.as_ref().into()).collect(),
        local,
    }
}
