//! Between HTTP/2's heads and ours: pseudo-header fields, cookies, and what has no place in HTTP/2
//! (RFC 9113 sections 8.2.2, 8.2.3 and 8.3).

use crate::http::validate::{is_authority, is_field_value, is_target};
use crate::http::{Fields, Name, NameSet, RequestHead, ResponseHead, Scheme, Version};
use crate::http1::Reject;
use crate::http1::framing::Framing;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, uri};

/// Fields that belong to an HTTP/1 connection (RFC 9113 section 8.2.2).
const CONNECTION_FIELDS: NameSet =
    NameSet::of(&[Name::Connection, Name::KeepAlive, Name::ProxyConnection, Name::TransferEncoding, Name::Upgrade]);

/// A head that cannot be said in HTTP/2.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be sent in HTTP/2")]
pub struct Unspeakable(&'static str);

/// Takes over a request head. Answers the protocol of an extended CONNECT (RFC 8441).
pub fn read_request(from: &Request<()>, max_fields: usize, head: &mut RequestHead) -> Result<Option<Vec<u8>>, Reject> {
    let protocol = from.extensions().get::<h2::ext::Protocol>().map(|protocol| protocol.as_str().as_bytes().to_vec());
    head.version = Version::Http2;
    if from.headers().len() > max_fields {
        return Err(Reject::TooManyHeaders);
    }
    head.set_method(from.method().as_str().as_bytes());
    let uri = from.uri();
    let plain_connect = from.method() == Method::CONNECT && protocol.is_none();
    let path: &[u8] = match uri.path_and_query() {
        _ if plain_connect => b"",
        Some(path) => path.as_str().as_bytes(),
        None => return Err(Reject::Target),
    };
    if !plain_connect && !is_target(path) {
        return Err(Reject::Target);
    }
    head.set_path_and_query(path);
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = from.headers().get(http::header::HOST).map(HeaderValue::as_bytes);
    let Some(authority) = authority.or(host).filter(|authority| !authority.is_empty()) else { return Err(Reject::MissingHost) };
    if !is_authority(authority) {
        return Err(Reject::Host);
    }
    // RFC 9113 section 8.3.1: they must not differ.
    if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)) {
        return Err(Reject::DuplicateHost);
    }
    let target = if plain_connect { authority } else { path };
    head.set_target(target);
    head.fields.push(b"host", authority);
    head.wire_len = read_fields(from.headers(), &mut head.fields)? + path.len() + authority.len();
    Ok(protocol)
}

/// Takes over a response head.
pub fn read_response(from: &Response<()>, max_fields: usize, head: &mut ResponseHead) -> Result<(), Reject> {
    head.clear();
    head.version = Version::Http2;
    head.status = from.status().as_u16();
    if !(100..600).contains(&head.status) || head.status == 101 {
        return Err(Reject::Status);
    }
    if from.headers().len() > max_fields {
        return Err(Reject::TooManyHeaders);
    }
    head.wire_len = read_fields(from.headers(), &mut head.fields)?;
    Ok(())
}

/// Takes over a trailer section.
pub fn read_trailers(from: &HeaderMap, max_fields: usize, fields: &mut Fields) -> Result<(), Reject> {
    if from.len() > max_fields {
        return Err(Reject::TrailerTooLarge);
    }
    read_fields(from, fields).map(drop)
}

/// Answers the size of the section as it would be in HTTP/1.
fn read_fields(from: &HeaderMap, fields: &mut Fields) -> Result<usize, Reject> {
    let mut size = 0;
    let mut cookie: Vec<u8> = Vec::new();
    for (name, value) in from {
        size += name.as_str().len() + value.len() + 4;
        if !is_field_value(value.as_bytes()) {
            return Err(Reject::Syntax("field value"));
        }
        match name {
            &http::header::HOST => {}
            &http::header::COOKIE => {
                if !cookie.is_empty() {
                    cookie.extend_from_slice(b"; ");
                }
                cookie.extend_from_slice(value.as_bytes());
            }
            name => fields.push(name.as_str().as_bytes(), value.as_bytes()),
        }
    }
    if !cookie.is_empty() {
        fields.push(b"cookie", &cookie);
    }
    Ok(size)
}

/// How long a body is of which HTTP/2 knows the end.
pub fn framing(fields: &Fields, end: bool) -> Framing {
    match fields.get(Name::ContentLength).and_then(|length| std::str::from_utf8(length).ok()?.parse().ok()) {
        _ if end => Framing::Empty,
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    }
}

/// A request head to send. `protocol` makes it an extended CONNECT.
pub fn request(head: &RequestHead, protocol: Option<&[u8]>, scheme: Scheme) -> Result<Request<()>, Unspeakable> {
    let mut request = Request::new(());
    let authority = Bytes::copy_from_slice(head.authority());
    let mut parts = uri::Parts::default();
    parts.authority = match authority.is_empty() {
        true => None,
        false => Some(uri::Authority::from_maybe_shared(authority).map_err(|_| Unspeakable("the authority"))?),
    };
    *request.method_mut() = match protocol {
        Some(_) => Method::CONNECT,
        None => Method::from_bytes(head.method()).map_err(|_| Unspeakable("the method"))?,
    };
    if request.method() != Method::CONNECT || protocol.is_some() {
        let path = Bytes::copy_from_slice(head.path_and_query());
        parts.path_and_query = Some(uri::PathAndQuery::from_maybe_shared(path).map_err(|_| Unspeakable("the path"))?);
        parts.scheme = Some(if scheme == Scheme::Https { uri::Scheme::HTTPS } else { uri::Scheme::HTTP });
    }
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Unspeakable("the request target"))?;
    *request.version_mut() = http::Version::HTTP_2;
    if let Some(protocol) = protocol.and_then(|protocol| std::str::from_utf8(protocol).ok()) {
        request.extensions_mut().insert(h2::ext::Protocol::from(protocol));
    }
    write_fields(&head.fields, CONNECTION_FIELDS.with(NameSet::of(&[Name::Host])), request.headers_mut())?;
    Ok(request)
}

/// A response head to send.
pub fn response(head: &ResponseHead) -> Result<Response<()>, Unspeakable> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status).map_err(|_| Unspeakable("the status"))?;
    write_fields(&head.fields, CONNECTION_FIELDS, response.headers_mut())?;
    Ok(response)
}

/// A trailer section to send.
pub fn trailers(fields: &Fields) -> Result<Option<HeaderMap>, Unspeakable> {
    if fields.is_empty() {
        return Ok(None);
    }
    let mut map = HeaderMap::with_capacity(fields.len());
    write_fields(fields, CONNECTION_FIELDS.with(NameSet::of(&[Name::Host, Name::ContentLength])), &mut map)?;
    Ok(Some(map))
}

fn write_fields(fields: &Fields, without: NameSet, map: &mut HeaderMap) -> Result<(), Unspeakable> {
    map.reserve(fields.len());
    // One copy for all values.
    let mut text = bytes::BytesMut::with_capacity(fields.byte_size());
    for (known, name, value) in fields.iter_known() {
        if without.has(known) {
            continue;
        }
        let name = HeaderName::from_bytes(name).map_err(|_| Unspeakable("a field name"))?;
        text.extend_from_slice(value);
        let value = HeaderValue::from_maybe_shared(text.split().freeze()).map_err(|_| Unspeakable("a field value"))?;
        map.try_append(name, value).map_err(|_| Unspeakable("so many fields"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_one_field_again_and_connection_fields_stay_behind() {
        let from =
            Request::get("http://a.example/x?y=1").header("cookie", "a=1").header("b", "2").header("cookie", "c=3").body(()).unwrap();
        let mut head = RequestHead::default();
        assert_eq!(read_request(&from, 100, &mut head), Ok(None));
        let all: Vec<_> =
            head.fields.iter().map(|(n, v)| (String::from_utf8_lossy(n).into_owned(), String::from_utf8_lossy(v).into_owned())).collect();
        let expected = [("host", "a.example"), ("b", "2"), ("cookie", "a=1; c=3")];
        assert_eq!(all, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        head.fields.push(b"Connection", b"close");
        head.fields.push(b"Transfer-Encoding", b"chunked");
        let to = request(&head, None, Scheme::Https).unwrap();
        assert_eq!(to.uri().to_string(), "https://a.example/x?y=1");
        assert_eq!(to.headers().len(), 2);
    }

    #[test]
    fn an_extended_connect_keeps_its_path() {
        let mut head = RequestHead::default();
        head.set_method(b"GET");
        head.set_path_and_query(b"/chat");
        head.fields.push(b"host", b"a");
        let to = request(&head, Some(b"websocket"), Scheme::Http).unwrap();
        assert_eq!((to.method(), to.uri().path()), (&Method::CONNECT, "/chat"));
    }
}
