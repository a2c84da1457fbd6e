//! The operators and what they read.

use super::tls::TlsFact;
use super::value::{Endpoint, Length, Point, Precision, address, number};
use super::{Facts, TimeFormat};
use crate::http::{Fields, Name, RequestHead};
use crate::record::{Addresses, Record};
use std::io::Write;
use std::net::SocketAddr;

/// One command operator.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Operator {
    StartTime(TimeFormat),
    EmitTime(TimeFormat),
    Request(HeaderRef),
    RequestWithoutQuery(HeaderRef),
    Response(HeaderRef),
    Trailer(HeaderRef),
    Protocol,
    ResponseCode,
    ResponseCodeDetails {
        spaces: bool,
    },
    ResponseFlags {
        long: bool,
    },
    Bytes(Length),
    /// Names and values of the head's fields.
    RequestFieldBytes,
    ResponseFieldBytes,
    TrailerFieldBytes,
    Duration(Point, Point, Precision),
    Upstream(Endpoint),
    Downstream(Endpoint),
    Client(Endpoint),
    UpstreamCluster,
    UpstreamProtocol,
    Attempts,
    TransportFailure,
    ConnectionId,
    RouteName,
    VirtualHostName,
    Hostname,
    Path {
        query: bool,
        from: PathFrom,
    },
    QueryParam(Box<str>),
    QueryParams {
        decoded: bool,
    },
    GrpcStatus(GrpcForm),
    /// The request's id.
    StreamId,
    UpstreamConnectionId,
    /// The host's name, or its address.
    UpstreamHostName {
        port: bool,
    },
    /// Every endpoint that was tried.
    HostsTried {
        port: bool,
    },
    /// What TLS of the client's connection left behind.
    Tls(TlsFact),
    /// The same of the upstream's.
    UpstreamTls(TlsFact),
    /// Always the same text.
    Fixed(&'static str),
    /// Known, but nothing in what is served so far sets it.
    Nothing,
}

/// Where `%PATH%` takes the path from.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PathFrom {
    Original,
    Current,
    OriginalOrCurrent,
}

/// How `%GRPC_STATUS%` is written.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum GrpcForm {
    Camel,
    Snake,
    Number,
}

/// The gRPC status codes (`google/rpc/code.proto`), in both spellings.
const GRPC: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

/// A header, or another if the first is missing: `%REQ(X?Y)%`.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderRef {
    name: Box<str>,
    alternative: Option<Box<str>>,
}

impl HeaderRef {
    pub(super) fn parse(argument: &str) -> HeaderRef {
        match argument.split_once('?') {
            Some((name, alternative)) => HeaderRef { name: name.into(), alternative: Some(alternative.into()) },
            None => HeaderRef { name: argument.into(), alternative: None },
        }
    }

    fn find<'h>(&self, mut value: impl FnMut(&str) -> Option<&'h [u8]>) -> Option<&'h [u8]> {
        value(&self.name).or_else(|| self.alternative.as_deref().and_then(value))
    }
}

/// A request header or pseudo-header by name.
pub(crate) fn request_value<'h>(head: &'h RequestHead, name: &str) -> Option<&'h [u8]> {
    let pseudo = match name.as_bytes() {
        n if !n.starts_with(b":") => return head.fields.get_named(n),
        n if n.eq_ignore_ascii_case(b":method") => head.method(),
        n if n.eq_ignore_ascii_case(b":path") => head.path_and_query(),
        n if n.eq_ignore_ascii_case(b":authority") => head.authority(),
        n if n.eq_ignore_ascii_case(b":scheme") => head.scheme.as_str().as_bytes(),
        _ => return None,
    };
    Some(pseudo).filter(|value| !value.is_empty())
}

fn field<'h>(fields: &'h Fields, name: &str) -> Option<&'h [u8]> {
    fields.get_named(name.as_bytes())
}

impl Operator {
    pub(super) fn is_number(&self) -> bool {
        let port = |part: &Endpoint| matches!(part, Endpoint::RemotePort | Endpoint::LocalPort);
        match self {
            Operator::ResponseCode
            | Operator::Bytes(_)
            | Operator::RequestFieldBytes
            | Operator::ResponseFieldBytes
            | Operator::TrailerFieldBytes
            | Operator::Duration(..)
            | Operator::Attempts
            | Operator::ConnectionId
            | Operator::UpstreamConnectionId
            | Operator::GrpcStatus(GrpcForm::Number) => true,
            Operator::Upstream(part) | Operator::Downstream(part) | Operator::Client(part) => port(part),
            _ => false,
        }
    }

    /// Appends the value; false if it is not known.
    pub(super) fn write(&self, facts: &Facts<'_>, out: &mut Vec<u8>) -> bool {
        let record = facts.record;
        match self {
            Operator::StartTime(format) => format.write(record.start_wall, out),
            Operator::EmitTime(format) => format.write(record.end_wall(), out),
            Operator::RequestWithoutQuery(header) => {
                return bytes(header.find(|name| request_value(facts.request, name)).map(without_query), out);
            }
            Operator::Request(header) => return bytes(header.find(|name| request_value(facts.request, name)), out),
            Operator::Response(header) => {
                let value = |name: &str| facts.response.and_then(|head| field(&head.fields, name));
                if header.name.eq_ignore_ascii_case(":status") {
                    return number(u64::from(record.status), out);
                }
                return bytes(header.find(value), out);
            }
            Operator::Trailer(header) => return bytes(header.find(|name| facts.trailers.and_then(|t| field(t, name))), out),
            Operator::Protocol => out.extend_from_slice(record.protocol.as_str().as_bytes()),
            Operator::ResponseCode => return number(u64::from(record.status), out),
            Operator::ResponseCodeDetails { spaces } => {
                let start = out.len();
                let known = name(&record.details, out);
                if !spaces {
                    out[start..].iter_mut().filter(|byte| byte.is_ascii_whitespace()).for_each(|byte| *byte = b'_');
                }
                return known;
            }
            Operator::ResponseFlags { long } => return flags(record, *long, out),
            Operator::Bytes(length) => return number(length.of(record), out),
            Operator::RequestFieldBytes => return number(request_field_bytes(facts.request), out),
            // `:status` and its value stand among the fields.
            Operator::ResponseFieldBytes => return number(facts.response.map_or(0, |head| head.fields.byte_size() as u64 + 10), out),
            Operator::TrailerFieldBytes => return number(facts.trailers.map_or(0, |trailers| trailers.byte_size() as u64), out),
            Operator::Duration(from, to, precision) => {
                let (Some(from), Some(to)) = (from.of(record), to.of(record)) else { return false };
                let nanos = i128::from(to.as_nanos()) - i128::from(from.as_nanos());
                return write!(out, "{}", precision.of(nanos)).is_ok();
            }
            Operator::Upstream(Endpoint::Address) => return address(record.endpoint, out),
            Operator::Upstream(part) => return record.upstream.is_some_and(|pair| part.write(pair, out)),
            Operator::Downstream(part) => return part.write(record.downstream, out),
            Operator::Client(part) => {
                return part.write(Addresses { remote: record.client, local: record.downstream.local }, out);
            }
            Operator::UpstreamCluster => return bytes(record.cluster.as_deref().map(str::as_bytes), out),
            // HTTP/1.1 is all that upstreams are spoken to in.
            Operator::UpstreamProtocol => return bytes(record.upstream.map(|_| &b"HTTP/1.1"[..]), out),
            Operator::Attempts => return number(u64::from(record.attempts), out),
            Operator::TransportFailure => {
                return bytes(record.transport_failure.as_deref().map(|why| why.replace(' ', "_")).as_deref().map(str::as_bytes), out);
            }
            Operator::ConnectionId => return number(record.connection, out),
            Operator::RouteName => return name(facts.names.route, out),
            Operator::VirtualHostName => return name(facts.names.virtual_host, out),
            Operator::Hostname => return name(facts.names.hostname, out),
            Operator::Path { query, from } => {
                let original = || facts.request.fields.get(Name::OriginalPath);
                let current = || request_value(facts.request, ":path");
                let path = match from {
                    PathFrom::Original => original(),
                    PathFrom::Current => current(),
                    PathFrom::OriginalOrCurrent => original().or_else(current),
                };
                return bytes(if *query { path } else { path.map(without_query) }, out);
            }
            Operator::QueryParam(name) => return bytes(query_param(facts.request, name.as_bytes()), out),
            Operator::QueryParams { decoded } => {
                let query = facts.request.query().filter(|query| !query.is_empty());
                return match decoded {
                    true => bytes(query.map(crate::http::path::percent_decode).as_deref(), out),
                    false => bytes(query, out),
                };
            }
            Operator::GrpcStatus(form) => return form.write(facts, out),
            Operator::StreamId => return bytes(facts.request.fields.get(Name::XRequestId), out),
            Operator::UpstreamConnectionId => return record.upstream_connection.is_some_and(|id| number(id, out)),
            Operator::UpstreamHostName { port } => {
                let host = facts.names.upstream_host;
                return match record.endpoint {
                    Some(endpoint) if host.is_empty() => endpoint_text(endpoint, *port, out),
                    Some(endpoint) => name(host, out) && (!port || write!(out, ":{}", endpoint.port()).is_ok()),
                    None => false,
                };
            }
            Operator::HostsTried { port } => {
                for (index, endpoint) in record.earlier_endpoints.iter().chain(&record.endpoint).enumerate() {
                    out.extend_from_slice(if index > 0 { b"," } else { b"" });
                    endpoint_text(*endpoint, *port, out);
                }
                return record.endpoint.is_some();
            }
            Operator::Tls(fact) => return record.tls.as_ref().is_some_and(|tls| fact.write(tls, out)),
            Operator::UpstreamTls(fact) => return record.upstream_tls.as_ref().is_some_and(|tls| fact.write(tls, out)),
            Operator::Fixed(text) => out.extend_from_slice(text.as_bytes()),
            Operator::Nothing => return false,
        }
        true
    }
}

impl GrpcForm {
    fn write(self, facts: &Facts<'_>, out: &mut Vec<u8>) -> bool {
        let trailers = facts.trailers.and_then(|trailers| trailers.get(Name::GrpcStatus));
        let status = trailers.or_else(|| facts.response.and_then(|head| head.fields.get(Name::GrpcStatus)));
        let code = status.and_then(|status| std::str::from_utf8(status).ok()?.parse::<usize>().ok());
        match (self, code.and_then(|code| GRPC.get(code))) {
            (GrpcForm::Camel, Some((camel, _))) => name(camel, out),
            (GrpcForm::Snake, Some((_, snake))) => name(snake, out),
            // A code that has no name is written as it came.
            _ => bytes(status, out),
        }
    }
}

fn endpoint_text(endpoint: SocketAddr, port: bool, out: &mut Vec<u8>) -> bool {
    match port {
        true => address(Some(endpoint), out),
        false => write!(out, "{}", endpoint.ip()).is_ok(),
    }
}

fn without_query(path: &[u8]) -> &[u8] {
    path.split(|byte| *byte == b'?').next().unwrap_or_default()
}

/// As Envoy counts them: method, path, scheme and authority are fields too.
fn request_field_bytes(head: &RequestHead) -> u64 {
    let pseudo = [(":method", head.method()), (":path", head.path_and_query()), (":scheme", head.scheme.as_str().as_bytes())];
    let pseudo: usize = pseudo.iter().map(|(name, value)| name.len() + value.len()).sum();
    let host = if head.fields.has(Name::Host) { ":authority".len() - "host".len() } else { 0 };
    (head.fields.byte_size() + pseudo + host) as u64
}

fn bytes(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value.unwrap_or_default());
    value.is_some()
}

fn name(value: &str, out: &mut Vec<u8>) -> bool {
    bytes(Some(value.as_bytes()).filter(|v| !v.is_empty()), out)
}

fn flags(record: &Record, long: bool, out: &mut Vec<u8>) -> bool {
    for (index, (short, name)) in record.flags.names().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(if long { name } else { short }.as_bytes());
    }
    if record.flags.is_empty() {
        out.push(b'-');
    }
    true
}

/// The first value of a query parameter, as it was sent.
pub(crate) fn query_param<'h>(head: &'h RequestHead, name: &[u8]) -> Option<&'h [u8]> {
    let pairs = head.query()?.split(|byte| *byte == b'&');
    pairs
        .map(|pair| pair.split_at(memchr::memchr(b'=', pair).unwrap_or(pair.len())))
        .find_map(|(key, value)| (key == name).then(|| value.strip_prefix(b"=").unwrap_or(value)))
}
