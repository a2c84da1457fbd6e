//! From text to templates.

use super::operator::{Endpoint, HeaderRef, Length, Operator, Point};
use super::{Piece, TimeFormat};

/// Why a template does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A `%` without its partner.
    #[error("`%` at byte {0} opens an operator that is not closed; write `%%` for a percent sign")]
    Unclosed(usize),
    /// An operator that Envoy does not have, or that Weir does not know yet.
    #[error("unknown operator `%{0}%`")]
    Unknown(String),
    /// An operator that Envoy has and Weir does not know yet.
    #[error("Weir does not implement the operator `%{0}%` yet")]
    NotYet(String),
    /// An operator with an argument it cannot take.
    #[error("operator `%{0}%`: {1}")]
    Argument(String, String),
}

pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, FormatError> {
    let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some(percent) = rest.find('%') {
        literal.push_str(&rest[..percent]);
        rest = &rest[percent + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let at = text.len() - rest.len() - 1;
        let end = operator_end(rest).ok_or(FormatError::Unclosed(at))?;
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal).into_bytes().into()));
        }
        pieces.push(operator(&rest[..end])?);
        rest = &rest[end + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal.into_bytes().into()));
    }
    Ok(pieces)
}

/// The closing `%`: the first one that is not inside the argument's parentheses (time formats hold some).
fn operator_end(rest: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'%' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

fn operator(text: &str) -> Result<Piece, FormatError> {
    let (name, argument, max_len) = split(text)?;
    let operator = named(name, argument).map_err(|problem| match problem {
        None if NOT_YET.contains(&name) => FormatError::NotYet(text.to_owned()),
        None => FormatError::Unknown(text.to_owned()),
        Some(problem) => FormatError::Argument(text.to_owned(), problem),
    })?;
    Ok(Piece::Operator { operator, max_len })
}

/// Splits `NAME(ARGUMENT):MAX`.
fn split(text: &str) -> Result<(&str, Option<&str>, Option<usize>), FormatError> {
    let (head, max) = match (text.rfind(')'), text.rfind(':')) {
        (Some(paren), Some(colon)) if colon > paren => (&text[..colon], Some(&text[colon + 1..])),
        (None, Some(colon)) => (&text[..colon], Some(&text[colon + 1..])),
        _ => (text, None),
    };
    let max_len = match max.map(str::parse) {
        None => None,
        Some(Ok(n)) => Some(n),
        Some(Err(_)) => return Err(FormatError::Argument(text.to_owned(), "the length after `:` is not a number".to_owned())),
    };
    match head.split_once('(') {
        None => Ok((head, None, max_len)),
        Some((name, argument)) => match argument.strip_suffix(')') {
            Some(argument) => Ok((name, Some(argument), max_len)),
            None => Err(FormatError::Argument(text.to_owned(), "`(` is not closed".to_owned())),
        },
    }
}

/// Envoy's other operators.
const NOT_YET: &[&str] = &[
    "ACCESS_LOG_TYPE",
    "CEL",
    "CLUSTER_METADATA",
    "COMMON_DURATION",
    "CUSTOM_FLAGS",
    "DOWNSTREAM_DETECTED_CLOSE_TYPE",
    "DOWNSTREAM_HANDSHAKE_DURATION",
    "DOWNSTREAM_LOCAL_CLOSE_REASON",
    "DYNAMIC_METADATA",
    "EMIT_TIME",
    "ENVIRONMENT",
    "FILTER_STATE",
    "LISTENER_NAME",
    "LOCAL_REPLY_BODY",
    "METADATA",
    "QUERY_PARAMS",
    "REQUEST_HEADERS_BYTES",
    "RESPONSE_HEADERS_BYTES",
    "RESPONSE_TRAILERS_BYTES",
    "ROUNDTRIP_DURATION",
    "START_TIME_LOCAL",
    "STREAM_ID",
    "UNIQUE_ID",
    "UPSTREAM_CONNECTION_ID",
    "UPSTREAM_CONNECTION_POOL_READY_DURATION",
    "UPSTREAM_DETECTED_CLOSE_TYPE",
    "UPSTREAM_FILTER_STATE",
    "UPSTREAM_HOST_NAME",
    "UPSTREAM_HOST_NAME_WITHOUT_PORT",
    "UPSTREAM_HOSTS_ATTEMPTED",
    "UPSTREAM_LOCAL_CLOSE_REASON",
    "UPSTREAM_METADATA",
];

/// `Err(None)`: there is no such operator. `Err(Some(why))`: it cannot take this argument.
fn named(name: &str, argument: Option<&str>) -> Result<Operator, Option<String>> {
    let header = || -> Result<HeaderRef, Option<String>> {
        let argument =
            argument.filter(|a| !a.is_empty()).ok_or_else(|| Some("needs a header name: `(NAME)` or `(NAME?ALTERNATIVE)`".to_owned()))?;
        Ok(HeaderRef::parse(argument))
    };
    const WITH_ARGUMENT: [&str; 8] = ["START_TIME", "REQ", "RESP", "TRAILER", "REQUEST_HEADER", "RESPONSE_HEADER", "QUERY_PARAM", "PATH"];
    if argument.is_some_and(|argument| !argument.is_empty()) && !WITH_ARGUMENT.contains(&name) {
        return Err(Some("Weir does not implement an argument here".to_owned()));
    }
    Ok(match name {
        "START_TIME" => Operator::StartTime(TimeFormat::parse(argument.unwrap_or_default())),
        "REQ" => Operator::Request(header()?),
        "RESP" => Operator::Response(header()?),
        "TRAILER" => Operator::Trailer(header()?),
        "REQUEST_HEADER" => Operator::Request(header()?),
        "RESPONSE_HEADER" => Operator::Response(header()?),
        "PROTOCOL" => Operator::Protocol,
        "RESPONSE_CODE" => Operator::ResponseCode,
        "RESPONSE_CODE_DETAILS" => Operator::ResponseCodeDetails,
        "RESPONSE_FLAGS" => Operator::ResponseFlags { long: false },
        "RESPONSE_FLAGS_LONG" => Operator::ResponseFlags { long: true },
        "BYTES_RECEIVED" => Operator::Bytes(Length::Received),
        "BYTES_SENT" => Operator::Bytes(Length::Sent),
        "DOWNSTREAM_WIRE_BYTES_RECEIVED" => Operator::Bytes(Length::WireReceived),
        "DOWNSTREAM_WIRE_BYTES_SENT" => Operator::Bytes(Length::WireSent),
        "UPSTREAM_WIRE_BYTES_RECEIVED" => Operator::Bytes(Length::UpstreamWireReceived),
        "UPSTREAM_WIRE_BYTES_SENT" => Operator::Bytes(Length::UpstreamWireSent),
        "DOWNSTREAM_HEADER_BYTES_RECEIVED" => Operator::Bytes(Length::RequestHead),
        "DOWNSTREAM_HEADER_BYTES_SENT" => Operator::Bytes(Length::ResponseHead),
        "UPSTREAM_HEADER_BYTES_SENT" => Operator::Bytes(Length::UpstreamRequestHead),
        "UPSTREAM_HEADER_BYTES_RECEIVED" => Operator::Bytes(Length::UpstreamResponseHead),
        "UPSTREAM_PROTOCOL" => Operator::UpstreamProtocol,
        "DURATION" => Operator::Duration(Point::Start, Point::End),
        "REQUEST_DURATION" => Operator::Duration(Point::Start, Point::RequestEnd),
        "REQUEST_TX_DURATION" => Operator::Duration(Point::Start, Point::UpstreamStart),
        "RESPONSE_DURATION" => Operator::Duration(Point::Start, Point::ResponseStart),
        "RESPONSE_TX_DURATION" => Operator::Duration(Point::ResponseStart, Point::End),
        "UPSTREAM_HOST" => Operator::Upstream(Endpoint::Address),
        "UPSTREAM_REMOTE_ADDRESS" => Operator::Upstream(Endpoint::Remote),
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Operator::Upstream(Endpoint::RemoteIp),
        "UPSTREAM_REMOTE_PORT" => Operator::Upstream(Endpoint::RemotePort),
        "UPSTREAM_LOCAL_ADDRESS" => Operator::Upstream(Endpoint::Local),
        "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => Operator::Upstream(Endpoint::LocalIp),
        "UPSTREAM_LOCAL_PORT" => Operator::Upstream(Endpoint::LocalPort),
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Operator::UpstreamCluster,
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Operator::Attempts,
        "UPSTREAM_TRANSPORT_FAILURE_REASON" => Operator::TransportFailure,
        "DOWNSTREAM_REMOTE_ADDRESS" => Operator::Client(Endpoint::Address),
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Operator::Client(Endpoint::RemoteIp),
        "DOWNSTREAM_REMOTE_PORT" => Operator::Client(Endpoint::RemotePort),
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Operator::Downstream(Endpoint::Remote),
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => Operator::Downstream(Endpoint::RemoteIp),
        "DOWNSTREAM_DIRECT_REMOTE_PORT" => Operator::Downstream(Endpoint::RemotePort),
        "DOWNSTREAM_LOCAL_ADDRESS" => Operator::Downstream(Endpoint::Local),
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => Operator::Downstream(Endpoint::LocalIp),
        "DOWNSTREAM_LOCAL_PORT" => Operator::Downstream(Endpoint::LocalPort),
        "CONNECTION_ID" => Operator::ConnectionId,
        "ROUTE_NAME" => Operator::RouteName,
        "VIRTUAL_HOST_NAME" => Operator::VirtualHostName,
        "HOSTNAME" => Operator::Hostname,
        "PATH" => match argument {
            None | Some("" | "WQ") => Operator::Path { query: true },
            Some("NQ") => Operator::Path { query: false },
            Some(_) => return Err(Some("takes `WQ` or `NQ`".to_owned())),
        },
        "QUERY_PARAM" => Operator::QueryParam(argument.ok_or_else(|| Some("needs a parameter name".to_owned()))?.into()),
        "GRPC_STATUS" | "GRPC_STATUS_NUMBER" => Operator::GrpcStatus,
        // Known, and never set for plain HTTP/1.
        "REQUESTED_SERVER_NAME"
        | "CONNECTION_TERMINATION_DETAILS"
        | "DOWNSTREAM_TRANSPORT_FAILURE_REASON"
        | "DOWNSTREAM_TLS_VERSION"
        | "DOWNSTREAM_TLS_CIPHER"
        | "DOWNSTREAM_TLS_SESSION_ID"
        | "DOWNSTREAM_PEER_SUBJECT"
        | "DOWNSTREAM_PEER_URI_SAN"
        | "DOWNSTREAM_LOCAL_URI_SAN"
        | "VIRTUAL_CLUSTER_NAME"
        | "TRACE_ID"
        | "SPAN_ID"
        | "FILTER_CHAIN_NAME"
        | "UPSTREAM_TLS_VERSION"
        | "UPSTREAM_TLS_CIPHER"
        | "UPSTREAM_PEER_SUBJECT" => Operator::Nothing,
        _ => return Err(None),
    })
}
