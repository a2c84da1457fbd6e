//! What is done to a response before the client gets it, and to a request before the upstream does.

use super::{Exchange, names};
use crate::config::{Action, ClusterChoice, HeaderEdit, HeaderEdits, Route, ServerHeader};
use crate::http::validate::list;
use crate::http::{Name, NameSet, ResponseHead, Version};
use crate::http1::encode::BodyCoding;
use crate::http1::framing::Framing;
use crate::router::{apply_request_edits, apply_response_edits};
use crate::time::Duration;
use base64::Engine as _;
use sha1::{Digest, Sha1};

/// Rewrites the request as its route says, once, before the first try.
pub fn prepare_request(exchange: &mut Exchange, timeout: Option<Duration>) {
    let manager = std::sync::Arc::clone(&exchange.manager);
    let found = exchange.found;
    let Some((host, route)) = found.and_then(|found| found.get(&manager.config.routes)) else { return };
    let table = &manager.config.routes;
    let Action::Forward(forward) = &route.action else { return };
    let names = names(&manager, found);
    let suppress = manager.config.suppress_envoy_headers;
    let weighted = weighted_edits(route, exchange.weighted).map_or(&[][..], |edits| &edits.request);
    let mut levels: [&[HeaderEdit]; 4] = [weighted, &route.edits.request, &host.edits.request, &table.edits.request];
    if table.most_specific_wins {
        levels.reverse();
    }
    for edits in levels {
        apply_request_edits(edits, &mut exchange.request, &exchange.record, names);
    }
    if let (Some(timeout), false) = (timeout.filter(|t| !t.is_zero()), suppress) {
        let ms = timeout.as_millis().min(u128::from(u64::MAX)) as u64;
        exchange.request.fields.set(Name::ExpectedTimeout, itoa::Buffer::new().format(ms).as_bytes());
    }
    if host.attempt_count_in_request {
        exchange.request.fields.set(Name::AttemptCount, b"1");
    }
    if let Some(rewrite) = &forward.path {
        crate::router::rewrite_request(&route.on, rewrite, &mut exchange.request, &exchange.record, suppress);
    }
    restore_framing(exchange);
}

/// Content-Length and Transfer-Encoding are ours to say, whatever header edits did.
fn restore_framing(exchange: &mut Exchange) {
    let fields = &mut exchange.request.fields;
    match exchange.framing {
        Framing::Chunked => {
            fields.remove(Name::ContentLength);
            fields.set(Name::TransferEncoding, b"chunked");
        }
        Framing::Length(n) => {
            fields.remove(Name::TransferEncoding);
            fields.set(Name::ContentLength, itoa::Buffer::new().format(n).as_bytes());
        }
        Framing::Empty | Framing::UntilClose => {
            fields.remove(Name::TransferEncoding);
            // RFC 9110 section 8.6: a method that expects a body says that there is none.
            if matches!(exchange.request.method(), b"POST" | b"PUT" | b"PATCH") && !exchange.upgrade {
                exchange.request.fields.set(Name::ContentLength, b"0");
            }
        }
    }
}

/// How the request body is written upstream.
pub fn request_coding(framing: Framing) -> BodyCoding {
    match framing {
        Framing::Empty | Framing::UntilClose => BodyCoding::None,
        Framing::Length(_) => BodyCoding::Plain,
        Framing::Chunked => BodyCoding::Chunked,
    }
}

fn weighted_edits(route: &Route, drawn: Option<usize>) -> Option<&HeaderEdits> {
    match &route.action {
        Action::Forward(forward) => match &forward.cluster {
            ClusterChoice::Weighted { clusters, .. } => clusters.get(drawn?).map(|(_, _, edits)| edits),
            _ => None,
        },
        _ => None,
    }
}

/// Removes from an upstream's response what concerned only that connection, and adds how long it took.
pub fn clean_response(exchange: &mut Exchange) {
    let (head, suppress) = (&mut exchange.response, exchange.manager.config.suppress_envoy_headers);
    if head.status != 101 {
        if head.fields.has(Name::Connection) {
            let named: Vec<Vec<u8>> = head.fields.all(Name::Connection).flat_map(list).map(<[u8]>::to_ascii_lowercase).collect();
            let protected = |name: Name| matches!(name, Name::ContentLength | Name::TransferEncoding | Name::Date);
            head.fields.retain(|known, name, _| protected(known) || !named.iter().any(|option| name.eq_ignore_ascii_case(option)));
        }
        head.fields.remove_all(NameSet::of(&[Name::Connection, Name::Upgrade]));
    }
    head.fields.remove_all(NameSet::of(&[Name::KeepAlive, Name::ProxyConnection]));
    if let (Some(start), Some(end), false) = (exchange.record.upstream_start, exchange.record.response_start, suppress) {
        // From when the upstream had the whole request.
        let start = exchange.record.request_end.map_or(start, |request_end| request_end.max(start));
        let ms = end.since(start).as_millis() as u64;
        head.fields.set(Name::UpstreamServiceTime, itoa::Buffer::new().format(ms).as_bytes());
    }
}

/// A protocol is switched with 101 in HTTP/1 and 200 in HTTP/2 (RFC 8441 section 5): says it in the client's way.
pub fn translate_switch(exchange: &mut Exchange) {
    if exchange.request.is_connect() {
        // RFC 9110 section 9.3.6: no length, and no body, but bytes.
        exchange.response.fields.remove_all(NameSet::of(&[Name::ContentLength, Name::TransferEncoding]));
    } else if exchange.stream.is_some() {
        exchange.response.status = 200;
        exchange.response.fields.remove_all(NameSet::of(&[Name::Connection, Name::Upgrade, Name::ContentLength]));
    } else if exchange.attempt.stream.is_some() && exchange.upgrade {
        exchange.response.status = 101;
        let protocol = exchange.request.fields.get(Name::Upgrade).unwrap_or_default().to_vec();
        exchange.response.fields.set(Name::Upgrade, &protocol);
        exchange.response.fields.set(Name::Connection, b"Upgrade");
        // RFC 8441 section 5: in HTTP/2 the key and its answer are not used, but this client waits for one.
        let key = exchange.request.fields.get_named(b"sec-websocket-key").map(<[u8]>::to_vec);
        if let (Some(key), None) = (key, exchange.response.fields.get_named(b"sec-websocket-accept")) {
            exchange.response.fields.push(b"sec-websocket-accept", &websocket_accept(&key));
        }
    }
}

/// RFC 6455 section 4.2.2.
fn websocket_accept(key: &[u8]) -> Vec<u8> {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64::engine::general_purpose::STANDARD.encode(hash.finalize()).into_bytes()
}

/// Applies the response edits of weighted cluster, route, virtual host and table.
pub fn edit_response(exchange: &mut Exchange) {
    let manager = std::sync::Arc::clone(&exchange.manager);
    let found = exchange.found;
    let Some((host, route)) = found.and_then(|found| found.get(&manager.config.routes)) else { return };
    if host.attempt_count_in_response && exchange.record.attempts > 0 {
        let mut buffer = itoa::Buffer::new();
        exchange.response.fields.set(Name::AttemptCount, buffer.format(exchange.record.attempts).as_bytes());
    }
    let table = &manager.config.routes;
    let weighted = weighted_edits(route, exchange.weighted).map_or(&[][..], |edits| &edits.response);
    let mut levels: [&[HeaderEdit]; 4] = [weighted, &route.edits.response, &host.edits.response, &table.edits.response];
    if table.most_specific_wins {
        levels.reverse();
    }
    for edits in levels {
        let names = names(&manager, found);
        apply_response_edits(edits, &exchange.request, &mut exchange.response, &exchange.record, names);
    }
}

/// How long a response is was the upstream's to say, or is ours, whatever filters did to its head.
pub fn restore_response_framing(exchange: &mut Exchange, framing: Framing) {
    let fields = &mut exchange.response.fields;
    match framing {
        Framing::Length(n) if fields.has(Name::ContentLength) && !exchange.to_head => {
            fields.set(Name::ContentLength, itoa::Buffer::new().format(n).as_bytes());
        }
        Framing::Chunked | Framing::UntilClose => fields.remove(Name::ContentLength),
        Framing::Empty | Framing::Length(_) => {}
    }
}

/// The last touches: `date`, `server`, `via`, the id, and how body and connection end. Answers how the body
/// is written and whether the connection can be used again.
pub fn finish_response(exchange: &mut Exchange, framing: Framing, date: &[u8; 29], last: bool) -> (BodyCoding, bool) {
    let config = &exchange.manager.config;
    let head = &mut exchange.response;
    if !head.fields.has(Name::Date) {
        head.fields.push_known(Name::Date, date);
    }
    set_server(head, config.server_header, config.server_name.as_bytes());
    if let Some(via) = &config.via {
        head.fields.append(Name::Via, b", ", via.as_bytes());
    }
    if config.request_id_in_response
        && let Some(id) = exchange.request.fields.get(Name::XRequestId)
    {
        head.fields.set(Name::XRequestId, id);
    }
    if exchange.tunnel {
        return (BodyCoding::Plain, last);
    }
    let bodyless = exchange.to_head || matches!(head.status, 204 | 304);
    if exchange.stream.is_some() {
        // The stream says where its body ends.
        head.fields.remove(Name::TransferEncoding);
        let empty = bodyless || framing == Framing::Empty;
        return (if empty { BodyCoding::None } else { BodyCoding::Plain }, last);
    }
    let old_client = exchange.record.protocol == Version::Http10;
    let (coding, last) = match framing {
        _ if bodyless => (BodyCoding::None, last),
        Framing::Empty => (BodyCoding::None, last),
        Framing::Length(_) => (BodyCoding::Plain, last),
        Framing::Chunked | Framing::UntilClose if old_client => (BodyCoding::Plain, true),
        Framing::Chunked | Framing::UntilClose => (BodyCoding::Chunked, last),
    };
    if last {
        head.fields.push_known(Name::Connection, b"close");
    } else if old_client {
        head.fields.push_known(Name::Connection, b"keep-alive");
    }
    match coding {
        BodyCoding::Chunked => {
            head.fields.remove(Name::ContentLength);
            head.fields.set(Name::TransferEncoding, b"chunked");
        }
        // To HEAD and in a 304, Transfer-Encoding says what GET would have got.
        BodyCoding::None if bodyless && !old_client => {}
        _ => head.fields.remove(Name::TransferEncoding),
    }
    // Header edits cannot change how long the body is.
    if let (Framing::Length(length), false) = (framing, bodyless) {
        let mut buffer = itoa::Buffer::new();
        let text = buffer.format(length);
        if head.fields.get(Name::ContentLength) != Some(text.as_bytes()) {
            head.fields.set(Name::ContentLength, text.as_bytes());
        }
    }
    (coding, last)
}

fn set_server(head: &mut ResponseHead, action: ServerHeader, name: &[u8]) {
    match action {
        ServerHeader::Overwrite => head.fields.set(Name::Server, name),
        ServerHeader::AppendIfAbsent if !head.fields.has(Name::Server) => head.fields.set(Name::Server, name),
        ServerHeader::AppendIfAbsent | ServerHeader::PassThrough => {}
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_of_rfc_6455() {
        assert_eq!(super::websocket_accept(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
