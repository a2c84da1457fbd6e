//! A request of the host's own: what it says, and what the listener that it is for makes of its connection.

use super::failure::Refusal;
use super::proxy::Proxy;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::http::Request;
use hyper::http::uri::Uri;
use hyper::{Method, Version};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use weir_core::config::{Codec, FilterChain, Listener};
use weir_core::listener::Hello;
use weir_core::record::Addresses;
use weir_core::tls_info::TlsInfo;

/// Header fields, or trailers, in order. Names are in lower case when they come from the proxy.
pub type Headers = Vec<(String, Vec<u8>)>;

/// The request of a call.
#[derive(Clone, Debug, Default)]
pub struct CallRequest {
    /// Its method.
    pub method: String,
    /// `http` or `https`; `None` for what the listener's transport would make of it.
    pub scheme: Option<String>,
    /// Host, and port if it has one: what routes call the domain.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// Header fields.
    pub headers: Headers,
    /// Whether a body follows.
    pub body: CallBody,
}

/// Whether a call has a body.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub enum CallBody {
    /// It has none: its head is all.
    #[default]
    None,
    /// It is sent piece by piece, until `finish`.
    Stream,
}

/// How a call comes in.
pub(super) struct Entrance {
    pub(super) listener: Arc<Listener>,
    pub(super) addresses: Addresses,
    /// The version of HTTP that it speaks.
    pub(super) version: Version,
    /// Whether TLS would stand before the chain.
    pub(super) tls: bool,
    /// The host that it asks for, in lower case.
    pub(super) host: String,
}

impl Entrance {
    pub(super) fn of(proxy: &Proxy, listener: &str, authority: &str) -> Result<Entrance, Refusal> {
        let found = proxy.admin.listener(listener);
        let (listener, local) = found.ok_or_else(|| Refusal::UnknownListener(listener.to_owned()))?;
        let https: Vec<&Arc<FilterChain>> = listener.all_chains().filter(|chain| !chain.http.tcp).collect();
        if https.is_empty() {
            return Err(Refusal::Invalid(format!("the listener `{}` has no HTTP connection manager", listener.name)));
        }
        let version = match https.iter().any(|chain| chain.http.codec == Codec::Http1) {
            true => Version::HTTP_11,
            false => Version::HTTP_2,
        };
        let tls = https.iter().any(|chain| chain.tls.is_some());
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).to_ascii_lowercase();
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Ok(Entrance { listener, addresses: Addresses { local, remote }, version, tls, host })
    }

    fn protocol(&self) -> &'static [u8] {
        if self.version == Version::HTTP_2 { b"h2" } else { b"http/1.1" }
    }

    /// What a client hello would say.
    pub(super) fn with_hello<R>(&self, take: impl FnOnce(Hello<'_>) -> R) -> R {
        let alpn = [self.protocol()];
        match self.tls {
            true => take(Hello { tls: true, server_name: Some(&self.host), alpn: &alpn }),
            false => take(Hello::default()),
        }
    }

    /// What is known of the handshake that there is none of.
    pub(super) fn tls_info(&self) -> TlsInfo {
        TlsInfo { alpn: self.protocol().into(), server_name: self.host.as_str().into(), ..TlsInfo::default() }
    }
}

impl CallRequest {
    /// A request without header fields and without a body.
    pub fn new(method: &str, authority: &str, path: &str) -> CallRequest {
        CallRequest { method: method.to_owned(), authority: authority.to_owned(), path: path.to_owned(), ..CallRequest::default() }
    }

    /// The same with one more header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> CallRequest {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same with a body that is sent piece by piece.
    #[must_use]
    pub fn streaming(mut self) -> CallRequest {
        self.body = CallBody::Stream;
        self
    }

    pub(super) fn head(&self, entrance: &Entrance) -> Result<Request<()>, Refusal> {
        let invalid = |what: &str, error: &dyn std::fmt::Display| Refusal::Invalid(format!("{what}: {error}"));
        let method = Method::from_bytes(self.method.as_bytes()).map_err(|error| invalid("method", &error))?;
        if method == Method::CONNECT {
            return Err(Refusal::Invalid("method: a call opens no tunnels".to_owned()));
        }
        let scheme = self.scheme.as_deref().unwrap_or(if entrance.tls { "https" } else { "http" });
        let uri = Uri::builder().scheme(scheme).authority(self.authority.as_str()).path_and_query(self.path.as_str());
        let uri = uri.build().map_err(|error| invalid("scheme, authority or path", &error))?;
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.headers_mut() = fields(&self.headers)?;
        for name in [CONNECTION, UPGRADE, TRANSFER_ENCODING, HOST] {
            if request.headers().contains_key(&name) {
                return Err(Refusal::Invalid(format!("header {name}: that is for a connection, or the authority, to say")));
            }
        }
        *request.version_mut() = entrance.version;
        if entrance.version == Version::HTTP_11 {
            let host = HeaderValue::from_str(&self.authority).map_err(|error| invalid("authority", &error))?;
            request.headers_mut().insert(HOST, host);
            *request.uri_mut() = self.path.parse().map_err(|error| invalid("path", &error))?;
        } else {
            *request.uri_mut() = uri;
        }
        Ok(request)
    }
}

/// Header fields or trailers, as hyper wants them.
pub(super) fn fields(headers: &[(String, Vec<u8>)]) -> Result<HeaderMap, Refusal> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let invalid = |error: &dyn std::fmt::Display| Refusal::Invalid(format!("header {name}: {error}"));
        let field = HeaderName::from_bytes(name.as_bytes()).map_err(|error| invalid(&error))?;
        map.append(field, HeaderValue::from_bytes(value).map_err(|error| invalid(&error))?);
    }
    Ok(map)
}

/// Header fields or trailers, as hosts want them.
pub(super) fn headers(map: &HeaderMap) -> Headers {
    map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}
