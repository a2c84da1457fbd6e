//! What the connection manager does to a request before any filter sees it: checks, path normalisation,
//! who the client is, and the headers that say so.
//! (`configuration/http/http_conn_man/headers`, `configuration/http/http_conn_man/header_sanitizing`.)

use super::{Exchange, client_cert};
use crate::config::{HttpManager, UnderscoreAction};
use crate::http::path::{Normalized, normalize};
use crate::http::validate::{list, split_port};
use crate::http::{Name, NameSet, RequestHead, Scheme, Version};
use crate::rng::Rng;
use crate::tls_info::TlsInfo;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// A request that goes no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status to answer.
    pub status: u16,
    /// Body to answer.
    pub body: &'static str,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: &'static str,
    /// Whether the client broke the protocol (flag DPE).
    pub protocol_error: bool,
    /// `location`, for a redirect.
    pub location: Option<Vec<u8>>,
}

impl Refusal {
    fn new(status: u16, body: &'static str, details: &'static str) -> Refusal {
        Refusal { status, body, details, protocol_error: false, location: None }
    }
}

/// Applies the connection manager's rules.
pub fn sanitize(exchange: &mut Exchange, rng: &mut Rng) -> Result<(), Refusal> {
    let manager = std::sync::Arc::clone(&exchange.manager);
    let config = &*manager.config;
    let head = &mut exchange.request;
    check_version(config, head)?;
    check_names(config, head)?;
    check_path(config, head)?;
    strip_host(config, head, exchange.record.downstream.local.port());
    exchange.upgrade = upgrade(head);
    remove_hop_by_hop(head, exchange.upgrade);
    identify_client(config, exchange);
    let (peer, client) = (exchange.record.downstream.remote.ip(), exchange.record.client.ip());
    let tls = exchange.record.tls.as_deref();
    mark(config, &mut exchange.request, rng, Client { peer, address: client, internal: exchange.internal, tls });
    Ok(())
}

fn check_version(config: &HttpManager, head: &mut RequestHead) -> Result<(), Refusal> {
    if head.version != Version::Http10 {
        return Ok(());
    }
    if !config.accept_http_10 {
        return Err(Refusal { protocol_error: true, ..Refusal::new(426, "Upgrade Required", "low_version") });
    }
    match (&config.default_host, head.fields.has(Name::Host)) {
        (_, true) => Ok(()),
        (Some(host), false) => {
            head.fields.push_known(Name::Host, host.as_bytes());
            Ok(())
        }
        (None, false) => Err(Refusal::new(400, "", "missing_host_header")),
    }
}

fn check_names(config: &HttpManager, head: &mut RequestHead) -> Result<(), Refusal> {
    if config.underscores == UnderscoreAction::Allow || !head.fields.iter().any(|(name, _)| name.contains(&b'_')) {
        return Ok(());
    }
    if config.underscores == UnderscoreAction::Reject {
        let details = if head.version == Version::Http2 { "http2.unexpected_underscore" } else { "http1.unexpected_underscore" };
        return Err(Refusal { protocol_error: true, ..Refusal::new(400, "Bad Request", details) });
    }
    head.fields.retain(|_, name, _| !name.contains(&b'_'));
    Ok(())
}

fn check_path(config: &HttpManager, head: &mut RequestHead) -> Result<(), Refusal> {
    if head.path_and_query() == b"*" {
        return Err(Refusal::new(404, "", "absolute_path_rejected"));
    }
    match normalize(head.path_and_query(), config.path_rules) {
        Normalized::Unchanged => {}
        Normalized::Changed(path) => head.set_path_and_query(&path),
        Normalized::Reject => return Err(Refusal::new(400, "", "path_normalization_failed")),
        Normalized::Redirect(path) => {
            return Err(Refusal { location: Some(path), ..Refusal::new(307, "", "path_normalization_failed") });
        }
    }
    Ok(())
}

fn strip_host(config: &HttpManager, head: &mut RequestHead, listener_port: u16) {
    if !config.strip_trailing_dot && !config.strip_matching_port && !config.strip_any_port {
        return;
    }
    let (name, port) = split_port(head.authority());
    let matches = |port: &[u8]| std::str::from_utf8(port).ok().and_then(|p| p.parse().ok()) == Some(listener_port);
    let drop_port = config.strip_any_port || (config.strip_matching_port && port.is_some_and(matches));
    let mut new = match name {
        [stem @ .., b'.'] if config.strip_trailing_dot => stem.to_vec(),
        name => name.to_vec(),
    };
    if let (Some(port), false) = (port, drop_port) {
        new.push(b':');
        new.extend_from_slice(port);
    }
    if new != head.authority() {
        head.fields.set(Name::Host, &new);
    }
}

/// Whether the client asks to switch protocols: `Connection: upgrade` and an `Upgrade` field. `h2c` is
/// ignored, as Envoy does: the request is served as it is.
fn upgrade(head: &RequestHead) -> bool {
    // RFC 9110 section 7.8: HTTP/1.0 knows no upgrade.
    let asked = head.version != Version::Http10
        && head.fields.all(Name::Connection).flat_map(list).any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    asked && head.fields.get(Name::Upgrade).is_some_and(|protocol| !protocol.eq_ignore_ascii_case(b"h2c"))
}

/// An extended CONNECT becomes what HTTP/1 would have said (RFC 8441 section 5), with the key that HTTP/2 does without.
pub fn translate_connect(head: &mut RequestHead, protocol: &[u8], rng: &mut Rng) {
    head.set_method(b"GET");
    head.fields.push(b"connection", b"upgrade");
    head.fields.push(b"upgrade", protocol);
    if protocol.eq_ignore_ascii_case(b"websocket") && head.fields.get_named(b"sec-websocket-key").is_none() {
        let nonce = [rng.bits().to_be_bytes(), rng.bits().to_be_bytes()].concat();
        head.fields.push(b"sec-websocket-key", BASE64.encode(nonce).as_bytes());
    }
}

/// RFC 9110 section 7.6.1. Fields that frame or address the message are not for the client to remove.
fn remove_hop_by_hop(head: &mut RequestHead, upgrade: bool) {
    let keeps_trailers = head.fields.all(Name::Te).flat_map(list).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    if head.fields.has(Name::Connection) {
        let named: Vec<Vec<u8>> = head.fields.all(Name::Connection).flat_map(list).map(<[u8]>::to_ascii_lowercase).collect();
        let protected = |name: Name| matches!(name, Name::Host | Name::ContentLength | Name::TransferEncoding | Name::Upgrade | Name::Te);
        head.fields.retain(|known, name, _| protected(known) || !named.iter().any(|option| name.eq_ignore_ascii_case(option)));
    }
    head.fields.remove_all(NameSet::of(&[Name::KeepAlive, Name::ProxyConnection]));
    if upgrade {
        head.fields.set(Name::Connection, b"upgrade");
    } else {
        head.fields.remove_all(NameSet::of(&[Name::Connection, Name::Upgrade]));
    }
    if head.fields.has(Name::Te) {
        if keeps_trailers { head.fields.set(Name::Te, b"trailers") } else { head.fields.remove(Name::Te) }
    }
}

/// Who the client is: the connection's peer for an edge proxy, else the trusted end of X-Forwarded-For.
fn identify_client(config: &HttpManager, exchange: &mut Exchange) {
    let peer = exchange.record.downstream.remote;
    let forwarded: Vec<IpAddr> = exchange
        .request
        .fields
        .all(Name::XForwardedFor)
        .flat_map(list)
        .filter_map(|text| std::str::from_utf8(text).ok()?.parse().ok())
        .collect();
    let hops = config.trusted_hops as usize;
    let from_header = |back: usize| forwarded.len().checked_sub(back).and_then(|at| forwarded.get(at)).map(|ip| SocketAddr::new(*ip, 0));
    let client = match config.use_remote_address {
        true if hops == 0 => None,
        true => from_header(hops),
        false => from_header(hops + 1),
    };
    exchange.record.client = client.unwrap_or(peer);
    let single = if config.use_remote_address { forwarded.is_empty() } else { forwarded.len() == 1 };
    exchange.internal = single && config.internal_ranges.iter().any(|range| contains(*range, exchange.record.client.ip()));
}

/// Whether an address lies in a CIDR range.
pub(crate) fn contains((network, bits): (IpAddr, u8), address: IpAddr) -> bool {
    let prefix = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits().checked_shr(32u32.saturating_sub(u32::from(bits))).unwrap_or(0)),
        IpAddr::V6(ip) => ip.to_bits().checked_shr(128u32.saturating_sub(u32::from(bits))).unwrap_or(0),
    };
    network.is_ipv4() == address.is_ipv4() && prefix(network) == prefix(address)
}

/// Who asks: the connection's peer, and the client that it may speak for.
#[derive(Copy, Clone)]
struct Client<'t> {
    peer: IpAddr,
    address: IpAddr,
    internal: bool,
    tls: Option<&'t TlsInfo>,
}

/// Headers that only a trusted client may send.
const INTERNAL_ONLY: NameSet = NameSet::of(&[
    Name::Internal,
    Name::RetryOn,
    Name::RetryGrpcOn,
    Name::MaxRetries,
    Name::AltStatName,
    Name::UpstreamTimeout,
    Name::PerTryTimeout,
    Name::ExpectedTimeout,
    Name::ForceTrace,
    Name::IpTags,
    Name::HedgeOnTimeout,
    Name::RetriableStatusCodes,
    Name::RetriableHeaderNames,
]);

/// Headers that an edge proxy removes besides.
const EDGE_ONLY: NameSet =
    NameSet::of(&[Name::DownstreamCluster, Name::DownstreamNode, Name::OriginalPath, Name::OriginalHost, Name::DecoratorOperation]);

/// Writes down for the upstream who asked, how, and under which id.
fn mark(config: &HttpManager, head: &mut RequestHead, rng: &mut Rng, client: Client<'_>) {
    let internal = client.internal;
    client_cert::mark(config.client_cert, head, client.tls);
    let mut forged = NameSet::of(&[]);
    let edge = config.use_remote_address && !internal;
    if !internal {
        forged = forged.with(INTERNAL_ONLY);
    }
    if edge {
        forged = forged.with(EDGE_ONLY);
    }
    head.fields.remove_all(forged);
    let mut text = Vec::new();
    if config.use_remote_address && !config.skip_xff_append {
        let _ = write!(text, "{}", client.peer);
        head.fields.append(Name::XForwardedFor, b",", &text);
    }
    let trusted_proto = !config.use_remote_address || config.trusted_hops > 0;
    if config.scheme.is_some() || !trusted_proto || !head.fields.has(Name::XForwardedProto) {
        let scheme = config.scheme.unwrap_or(if client.tls.is_some() { Scheme::Https } else { Scheme::Http });
        head.fields.set(Name::XForwardedProto, scheme.as_str().as_bytes());
    }
    head.scheme = match head.fields.get(Name::XForwardedProto) {
        Some(proto) if proto.eq_ignore_ascii_case(b"https") => Scheme::Https,
        _ => Scheme::Http,
    };
    if internal {
        head.fields.set(Name::Internal, b"true");
    } else if edge {
        text.clear();
        let _ = write!(text, "{}", client.address);
        head.fields.set(Name::ExternalAddress, &text);
    }
    if let Some(via) = &config.via {
        head.fields.append(Name::Via, b", ", via.as_bytes());
    }
    if config.generate_request_id && ((edge && !config.preserve_external_request_id) || !head.fields.has(Name::XRequestId)) {
        head.fields.set(Name::XRequestId, &uuid(rng));
    }
}

/// A random UUID (RFC 9562 section 5.4).
pub fn uuid(rng: &mut Rng) -> [u8; 36] {
    let (high, low) = (rng.bits() & !0xf000 | 0x4000, rng.bits() & !(3 << 62) | (1 << 63));
    let mut digits = [0; 32];
    for (half, number) in digits.chunks_exact_mut(16).zip([high, low]) {
        for (pair, byte) in half.chunks_exact_mut(2).zip(number.to_be_bytes()) {
            pair.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
        }
    }
    let mut out = [b'-'; 36];
    for (to, from) in [(0..8, 0..8), (9..13, 8..12), (14..18, 12..16), (19..23, 16..20), (24..36, 20..32)] {
        out[to].copy_from_slice(&digits[from]);
    }
    out
}

/// Without a table or a branch, so that the compiler makes many at once.
fn hex_digit(nibble: u8) -> u8 {
    b'0' + nibble + (b'a' - b'0' - 10) * u8::from(nibble > 9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn a_uuid_is_random_but_for_its_version_and_variant() {
        let mut rng = Rng::new(Seed(7));
        let (mut seen, mut changing) = (uuid(&mut rng), [false; 36]);
        for _ in 0..1000 {
            let next = uuid(&mut rng);
            for (at, byte) in next.into_iter().enumerate() {
                match at {
                    8 | 13 | 18 | 23 => assert_eq!(byte, b'-'),
                    14 => assert_eq!(byte, b'4'),
                    19 => assert!(b"89ab".contains(&byte)),
                    _ => assert!(b"0123456789abcdef".contains(&byte)),
                }
                changing[at] |= byte != seen[at];
            }
            seen = next;
        }
        assert_eq!(changing.iter().filter(|changing| **changing).count(), 36 - 5);
    }
}
