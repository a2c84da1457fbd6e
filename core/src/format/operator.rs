//! The operators and what they read.

use super::{Facts, TimeFormat};
use crate::http::{Fields, RequestHead};
use crate::record::{Addresses, Record};
use crate::time::Instant;
use std::io::Write;
use std::net::SocketAddr;

/// One command operator.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Operator {
    StartTime(TimeFormat),
    Request(HeaderRef),
    Response(HeaderRef),
    Trailer(HeaderRef),
    Protocol,
    ResponseCode,
    ResponseCodeDetails,
    ResponseFlags {
        long: bool,
    },
    Bytes(Length),
    Duration(Point, Point),
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
    },
    QueryParam(Box<str>),
    GrpcStatus,
    /// Known, but nothing in what is served so far sets it.
    Nothing,
}

/// A header, or another if the first is missing: `%REQ(X?Y)%`.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderRef {
    name: Box<str>,
    alternative: Option<Box<str>>,
}

/// A counted length.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Length {
    Received,
    Sent,
    /// Heads and bodies; what chunked coding adds is not counted.
    WireReceived,
    WireSent,
    UpstreamWireReceived,
    UpstreamWireSent,
    RequestHead,
    ResponseHead,
    UpstreamRequestHead,
    UpstreamResponseHead,
}

/// A point in an exchange's life.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Point {
    Start,
    RequestEnd,
    UpstreamStart,
    ResponseStart,
    End,
}

/// A part of a pair of addresses.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Endpoint {
    Address,
    Remote,
    RemoteIp,
    RemotePort,
    Local,
    LocalIp,
    LocalPort,
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
            Operator::ResponseCode | Operator::Bytes(_) | Operator::Duration(..) | Operator::Attempts | Operator::ConnectionId => true,
            Operator::Upstream(part) | Operator::Downstream(part) | Operator::Client(part) => port(part),
            _ => false,
        }
    }

    /// Appends the value; false if it is not known.
    pub(super) fn write(&self, facts: &Facts<'_>, out: &mut Vec<u8>) -> bool {
        let record = facts.record;
        match self {
            Operator::StartTime(format) => format.write(record.start_wall, out),
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
            Operator::ResponseCodeDetails => return bytes(Some(record.details.as_bytes()).filter(|d| !d.is_empty()), out),
            Operator::ResponseFlags { long } => return flags(record, *long, out),
            Operator::Bytes(length) => return number(length.of(record), out),
            Operator::Duration(from, to) => {
                let (Some(from), Some(to)) = (from.of(record), to.of(record)) else { return false };
                return number(to.since(from).as_millis() as u64, out);
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
            Operator::Path { query } => {
                let original = facts.request.fields.get(crate::http::Name::OriginalPath);
                let path = original.or_else(|| request_value(facts.request, ":path"));
                let path = path.map(|path| if *query { path } else { path.split(|byte| *byte == b'?').next().unwrap_or_default() });
                return bytes(path, out);
            }
            Operator::QueryParam(name) => return bytes(query_param(facts.request, name.as_bytes()), out),
            Operator::GrpcStatus => {
                let status = |fields: &Fields| fields.get(crate::http::Name::GrpcStatus).map(<[u8]>::to_vec);
                let value = facts.trailers.and_then(status).or_else(|| facts.response.and_then(|r| status(&r.fields)));
                return bytes(value.as_deref(), out);
            }
            Operator::Nothing => return false,
        }
        true
    }
}

impl Length {
    fn of(self, record: &Record) -> u64 {
        match self {
            Length::Received => record.bytes_received,
            Length::Sent => record.bytes_sent,
            Length::WireReceived => record.request_head_bytes + record.bytes_received,
            Length::WireSent => record.response_head_bytes + record.bytes_sent,
            Length::UpstreamWireReceived => record.upstream_head_received + record.upstream_bytes_received,
            Length::UpstreamWireSent => record.upstream_head_sent + record.upstream_bytes_sent,
            Length::RequestHead => record.request_head_bytes,
            Length::ResponseHead => record.response_head_bytes,
            Length::UpstreamRequestHead => record.upstream_head_sent,
            Length::UpstreamResponseHead => record.upstream_head_received,
        }
    }
}

impl Point {
    fn of(self, record: &Record) -> Option<Instant> {
        match self {
            Point::Start => Some(record.start),
            Point::RequestEnd => record.request_end,
            Point::UpstreamStart => record.upstream_start,
            Point::ResponseStart => record.response_start,
            Point::End => record.end,
        }
    }
}

impl Endpoint {
    fn write(self, pair: Addresses, out: &mut Vec<u8>) -> bool {
        match self {
            Endpoint::Address | Endpoint::Remote => address(Some(pair.remote), out),
            Endpoint::Local => address(Some(pair.local), out),
            Endpoint::RemoteIp => write!(out, "{}", pair.remote.ip()).is_ok(),
            Endpoint::LocalIp => write!(out, "{}", pair.local.ip()).is_ok(),
            Endpoint::RemotePort => number(u64::from(pair.remote.port()), out),
            Endpoint::LocalPort => number(u64::from(pair.local.port()), out),
        }
    }
}

fn bytes(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value.unwrap_or_default());
    value.is_some()
}

fn name(value: &str, out: &mut Vec<u8>) -> bool {
    bytes(Some(value.as_bytes()).filter(|v| !v.is_empty()), out)
}

fn number(value: u64, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    true
}

fn address(value: Option<SocketAddr>, out: &mut Vec<u8>) -> bool {
    value.is_some_and(|address| write!(out, "{address}").is_ok())
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
