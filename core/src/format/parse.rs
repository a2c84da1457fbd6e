//! From text to templates.

use super::operator::{GrpcForm, HeaderRef, Operator, PathFrom};
use super::tls::TlsFact;
use super::value::{Endpoint, Length, Point, Precision};
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
    "CEL",
    "CLUSTER_METADATA",
    "COALESCE",
    "DOWNSTREAM_DETECTED_CLOSE_TYPE",
    "DOWNSTREAM_LOCAL_CLOSE_REASON",
    "EMIT_TIME_LOCAL",
    "ENVIRONMENT",
    "LOCAL_REPLY_BODY",
    "METADATA",
    "START_TIME_LOCAL",
    "TYPED_CEL",
    "UNIQUE_ID",
    "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
    "UPSTREAM_CONNECTION_POOL_READY_DURATION",
    "UPSTREAM_DETECTED_CLOSE_TYPE",
    "UPSTREAM_HOST_NAMES_ATTEMPTED",
    "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT",
    "UPSTREAM_LOCAL_CLOSE_REASON",
    "UPSTREAM_METADATA",
];

/// Operators of what no connection here has (QUIC, internal listeners, listener filters) and no filter sets.
/// Their arguments do not matter.
const NEVER_SET: &[&str] = &[
    "CONNECTION_TERMINATION_DETAILS",
    "CUSTOM_FLAGS",
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID",
    "DOWNSTREAM_HANDSHAKE_DURATION",
    "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID",
    "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
    "DOWNSTREAM_PEER_OTHERNAME_SAN",
    "DOWNSTREAM_TLS_GROUP",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "DYNAMIC_METADATA",
    "FILTER_CHAIN_NAME",
    "FILTER_STATE",
    "ROUNDTRIP_DURATION",
    "SPAN_ID",
    "TLS_JA3_FINGERPRINT",
    "TLS_JA4_FINGERPRINT",
    "TRACE_ID",
    "UPSTREAM_FILTER_STATE",
    "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID",
    "UPSTREAM_TLS_GROUP",
    "VIRTUAL_CLUSTER_NAME",
];

/// `Err(None)`: there is no such operator. `Err(Some(why))`: it cannot take this argument.
fn named(name: &str, argument: Option<&str>) -> Result<Operator, Option<String>> {
    let header = || -> Result<HeaderRef, Option<String>> {
        let argument =
            argument.filter(|a| !a.is_empty()).ok_or_else(|| Some("needs a header name: `(NAME)` or `(NAME?ALTERNATIVE)`".to_owned()))?;
        Ok(HeaderRef::parse(argument))
    };
    if NEVER_SET.contains(&name) {
        return Ok(Operator::Nothing);
    }
    let argument = argument.filter(|argument| !argument.is_empty());
    if argument.is_some() && !takes_argument(name) {
        return Err(Some("takes no argument".to_owned()));
    }
    if let Some(operator) = tls(name, argument) {
        return Ok(operator);
    }
    let millis = |from, to| Operator::Duration(from, to, Precision::Milliseconds);
    Ok(match name {
        "START_TIME" => Operator::StartTime(TimeFormat::parse(argument.unwrap_or_default())),
        "EMIT_TIME" => Operator::EmitTime(TimeFormat::parse(argument.unwrap_or_default())),
        "REQ" | "REQUEST_HEADER" => Operator::Request(header()?),
        "REQ_WITHOUT_QUERY" => Operator::RequestWithoutQuery(header()?),
        "RESP" | "RESPONSE_HEADER" => Operator::Response(header()?),
        "TRAILER" | "RESPONSE_TRAILER" => Operator::Trailer(header()?),
        "PROTOCOL" => Operator::Protocol,
        "RESPONSE_CODE" => Operator::ResponseCode,
        "RESPONSE_CODE_DETAILS" => Operator::ResponseCodeDetails { spaces: one_of(argument, [("", false), ("ALLOW_WHITESPACES", true)])? },
        "RESPONSE_FLAGS" => Operator::ResponseFlags { long: false },
        "RESPONSE_FLAGS_LONG" => Operator::ResponseFlags { long: true },
        "BYTES_RECEIVED" => Operator::Bytes(Length::Received),
        "BYTES_SENT" => Operator::Bytes(Length::Sent),
        "DOWNSTREAM_WIRE_BYTES_RECEIVED" => Operator::Bytes(Length::WireReceived),
        "DOWNSTREAM_WIRE_BYTES_SENT" => Operator::Bytes(Length::WireSent),
        "UPSTREAM_WIRE_BYTES_RECEIVED" => Operator::Bytes(Length::UpstreamWireReceived),
        "UPSTREAM_WIRE_BYTES_SENT" => Operator::Bytes(Length::UpstreamWireSent),
        "DOWNSTREAM_HEADER_BYTES_RECEIVED" | "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED" => Operator::Bytes(Length::RequestHead),
        "DOWNSTREAM_HEADER_BYTES_SENT" | "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT" => Operator::Bytes(Length::ResponseHead),
        "UPSTREAM_HEADER_BYTES_SENT" | "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT" => Operator::Bytes(Length::UpstreamRequestHead),
        "UPSTREAM_HEADER_BYTES_RECEIVED" | "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED" => Operator::Bytes(Length::UpstreamResponseHead),
        "UPSTREAM_PROTOCOL" => Operator::UpstreamProtocol,
        "DURATION" => millis(Point::Start, Point::End),
        "REQUEST_DURATION" => millis(Point::Start, Point::RequestEnd),
        "REQUEST_TX_DURATION" => millis(Point::Start, Point::UpstreamEnd),
        "RESPONSE_DURATION" => millis(Point::Start, Point::ResponseStart),
        "RESPONSE_TX_DURATION" => millis(Point::ResponseStart, Point::End),
        "COMMON_DURATION" => common_duration(argument)?,
        "BYTES_RETRANSMITTED" | "PACKETS_RETRANSMITTED" => Operator::Bytes(Length::Zero),
        "REQUEST_HEADERS_BYTES" => Operator::RequestFieldBytes,
        "RESPONSE_HEADERS_BYTES" => Operator::ResponseFieldBytes,
        "RESPONSE_TRAILERS_BYTES" => Operator::TrailerFieldBytes,
        "UPSTREAM_HOST_NAME" => Operator::UpstreamHostName { port: true },
        "UPSTREAM_HOST_NAME_WITHOUT_PORT" => Operator::UpstreamHostName { port: false },
        "UPSTREAM_HOSTS_ATTEMPTED" => Operator::HostsTried { port: true },
        "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT" => Operator::HostsTried { port: false },
        "UPSTREAM_CONNECTION_ID" => Operator::UpstreamConnectionId,
        "UPSTREAM_HOST" => Operator::Upstream(Endpoint::Address),
        "UPSTREAM_REMOTE_ADDRESS" => Operator::Upstream(Endpoint::Remote),
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Operator::Upstream(without_port(argument, Endpoint::RemoteIp, Endpoint::RemoteNet)?),
        "UPSTREAM_REMOTE_PORT" => Operator::Upstream(Endpoint::RemotePort),
        "UPSTREAM_LOCAL_ADDRESS" => Operator::Upstream(Endpoint::Local),
        "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => Operator::Upstream(without_port(argument, Endpoint::LocalIp, Endpoint::LocalNet)?),
        "UPSTREAM_LOCAL_PORT" => Operator::Upstream(Endpoint::LocalPort),
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Operator::UpstreamCluster,
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Operator::Attempts,
        "UPSTREAM_TRANSPORT_FAILURE_REASON" => Operator::TransportFailure,
        "DOWNSTREAM_REMOTE_ADDRESS" => Operator::Client(Endpoint::Address),
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Operator::Client(without_port(argument, Endpoint::RemoteIp, Endpoint::RemoteNet)?),
        "DOWNSTREAM_REMOTE_PORT" => Operator::Client(Endpoint::RemotePort),
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Operator::Downstream(Endpoint::Remote),
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => {
            Operator::Downstream(without_port(argument, Endpoint::RemoteIp, Endpoint::RemoteNet)?)
        }
        "DOWNSTREAM_DIRECT_REMOTE_PORT" => Operator::Downstream(Endpoint::RemotePort),
        "DOWNSTREAM_LOCAL_ADDRESS" | "DOWNSTREAM_DIRECT_LOCAL_ADDRESS" => Operator::Downstream(Endpoint::Local),
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" | "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT" => {
            Operator::Downstream(without_port(argument, Endpoint::LocalIp, Endpoint::LocalNet)?)
        }
        "DOWNSTREAM_LOCAL_PORT" | "DOWNSTREAM_DIRECT_LOCAL_PORT" => Operator::Downstream(Endpoint::LocalPort),
        "CONNECTION_ID" => Operator::ConnectionId,
        "ROUTE_NAME" => Operator::RouteName,
        "VIRTUAL_HOST_NAME" => Operator::VirtualHostName,
        "HOSTNAME" => Operator::Hostname,
        "PATH" => {
            let (query, from) = argument.unwrap_or_default().split_once(':').unwrap_or((argument.unwrap_or_default(), ""));
            Operator::Path {
                query: one_of(Some(query), [("", true), ("WQ", true), ("NQ", false)])?,
                from: one_of(
                    Some(from),
                    [
                        ("", PathFrom::OriginalOrCurrent),
                        ("ORIG_OR_PATH", PathFrom::OriginalOrCurrent),
                        ("ORIG", PathFrom::Original),
                        ("PATH", PathFrom::Current),
                    ],
                )?,
            }
        }
        "QUERY_PARAM" => Operator::QueryParam(argument.ok_or_else(|| Some("needs a parameter name".to_owned()))?.into()),
        "QUERY_PARAMS" => Operator::QueryParams { decoded: one_of(argument, [("", false), ("ORIG", false), ("DECODED", true)])? },
        "GRPC_STATUS" => Operator::GrpcStatus(one_of(
            argument,
            [("", GrpcForm::Camel), ("CAMEL_STRING", GrpcForm::Camel), ("SNAKE_STRING", GrpcForm::Snake), ("NUMBER", GrpcForm::Number)],
        )?),
        "GRPC_STATUS_NUMBER" => Operator::GrpcStatus(GrpcForm::Number),
        "STREAM_ID" => Operator::StreamId,
        "ACCESS_LOG_TYPE" => Operator::Fixed("DownstreamEnd"),
        _ => return Err(None),
    })
}

/// What TLS left behind, of either connection.
fn tls(name: &str, argument: Option<&str>) -> Option<Operator> {
    if name == "REQUESTED_SERVER_NAME" {
        return TlsFact::named("SERVER_NAME", None).map(Operator::Tls);
    }
    match name.split_once('_')? {
        ("DOWNSTREAM", fact) if fact != "SERVER_NAME" => TlsFact::named(fact, argument).map(Operator::Tls),
        ("UPSTREAM", fact) => TlsFact::named(fact, argument).map(Operator::UpstreamTls),
        _ => None,
    }
}

fn takes_argument(name: &str) -> bool {
    const NAMES: [&str; 15] = [
        "START_TIME",
        "EMIT_TIME",
        "REQ",
        "REQ_WITHOUT_QUERY",
        "RESP",
        "TRAILER",
        "REQUEST_HEADER",
        "RESPONSE_HEADER",
        "RESPONSE_TRAILER",
        "RESPONSE_CODE_DETAILS",
        "COMMON_DURATION",
        "QUERY_PARAM",
        "QUERY_PARAMS",
        "PATH",
        "GRPC_STATUS",
    ];
    // What is not known at all is told by its name, not by its argument.
    NAMES.contains(&name) || TlsFact::takes_argument(name) || NOT_YET.contains(&name) || name.ends_with("_WITHOUT_PORT")
}

/// The value of an argument that must be one of a few words; the empty one stands for none.
fn one_of<T: Copy, const N: usize>(argument: Option<&str>, words: [(&str, T); N]) -> Result<T, Option<String>> {
    let given = argument.unwrap_or_default();
    let found = words.iter().find(|(word, _)| *word == given).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).filter(|word| word != "``").collect();
        Some(format!("takes {}, not `{given}`", words.join(" or ")))
    })
}

fn common_duration(argument: Option<&str>) -> Result<Operator, Option<String>> {
    let parts: Vec<&str> = argument.unwrap_or_default().split(':').collect();
    let [from, to, precision] = parts[..] else {
        return Err(Some("needs a start, an end and a precision: `(DS_RX_BEG:DS_TX_END:ms)`".to_owned()));
    };
    let words = [("ms", Precision::Milliseconds), ("us", Precision::Microseconds), ("ns", Precision::Nanoseconds)];
    Ok(Operator::Duration(Point::named(from), Point::named(to), one_of(Some(precision), words)?))
}

/// An address, or the network of the given length that it lies in.
fn without_port(bits: Option<&str>, address: Endpoint, network: fn(u8) -> Endpoint) -> Result<Endpoint, Option<String>> {
    let Some(bits) = bits else { return Ok(address) };
    let bits = bits.parse().ok().filter(|bits| *bits <= 128);
    bits.map(network).ok_or_else(|| Some("takes a prefix length of 0 to 32 (IPv4) or 128 (IPv6)".to_owned()))
}
