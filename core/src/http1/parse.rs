//! From bytes to heads.

use super::Reject;
use crate::http::validate::{is_authority, is_target, is_token};
use crate::http::{Fields, Name, RequestHead, ResponseHead, Version};
use std::mem::MaybeUninit;

/// What a head may grow to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes, start line and blank line included.
    pub bytes: usize,
    /// Header fields.
    pub fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        HeadLimits { bytes: crate::limit::HEAD_KB as usize * 1024, fields: crate::limit::HEADERS }
    }
}

/// Where the scan for the end of a head stands; kept while the head is incomplete, so that no byte is
/// looked at twice.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Bytes scanned so far.
    seen: usize,
    /// Where the current line starts.
    line: usize,
}

impl Scan {
    /// Looks for the blank line that ends a head (or a trailer section) and answers the length up to and
    /// including it; `None` if it is not there yet.
    pub fn find_end(&mut self, input: &[u8], limit: usize) -> Result<Option<usize>, Reject> {
        for lf in memchr::memchr_iter(b'\n', &input[self.seen..]) {
            let lf = self.seen + lf;
            if lf == 0 || input[lf - 1] != b'\r' {
                return Err(Reject::BareLf);
            }
            if lf - 1 == self.line {
                let end = lf + 1;
                return if end > limit { Err(Reject::HeadTooLarge) } else { Ok(Some(end)) };
            }
            self.line = lf + 1;
        }
        // A CR at the very end may belong to a CRLF whose LF is still to come; nothing is lost by
        // counting it as seen, since only LF is searched for.
        self.seen = input.len();
        if input.len() > limit { Err(Reject::HeadTooLarge) } else { Ok(None) }
    }
}

/// How many bytes of empty lines precede a request (RFC 9112 section 2.2 asks to ignore at least one).
pub fn leading_crlf(input: &[u8]) -> usize {
    let pairs = input.chunks_exact(2).take_while(|pair| pair == b"\r\n").count();
    2 * pairs
}

const ON_STACK: usize = 128;

fn with_slots<'h, R>(limit: usize, parse: impl FnOnce(&mut [MaybeUninit<httparse::Header<'h>>]) -> R) -> R {
    if limit <= ON_STACK {
        parse(&mut [const { MaybeUninit::uninit() }; ON_STACK][..limit])
    } else {
        parse(&mut vec![MaybeUninit::uninit(); limit])
    }
}

fn syntax(error: httparse::Error) -> Reject {
    match error {
        httparse::Error::TooManyHeaders => Reject::TooManyHeaders,
        httparse::Error::Version => Reject::Version,
        httparse::Error::HeaderName => Reject::Syntax("invalid header name"),
        httparse::Error::HeaderValue => Reject::Syntax("invalid header value"),
        httparse::Error::NewLine => Reject::Syntax("invalid line end"),
        httparse::Error::Status => Reject::Status,
        httparse::Error::Token => Reject::Syntax("invalid start line"),
    }
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::Http10 } else { Version::Http11 }
}

/// Parses a whole request head, blank line included, and checks all that does not depend on framing.
pub fn request(raw: &[u8], limits: HeadLimits, head: &mut RequestHead) -> Result<(), Reject> {
    match request_of_known_version(raw, limits, head) {
        Err(Reject::Version) => {
            let known = as_http11(raw).ok_or(Reject::Version)?;
            request_of_known_version(&known, limits, head)
        }
        result => result,
    }
}

/// The same request as HTTP/1.1, if it is of a later minor version: those are read alike (RFC 9110 section 2.5).
fn as_http11(raw: &[u8]) -> Option<Vec<u8>> {
    let end = memchr::memchr(b'\r', raw)?;
    let minor = end.checked_sub(1)?;
    (raw[..minor].ends_with(b" HTTP/1.") && matches!(raw[minor], b'2'..=b'9')).then(|| {
        let mut known = raw.to_vec();
        known[minor] = b'1';
        known
    })
}

fn request_of_known_version(raw: &[u8], limits: HeadLimits, head: &mut RequestHead) -> Result<(), Reject> {
    head.clear();
    with_slots(limits.fields, |slots| {
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(raw, slots).map_err(|e| start_line_fault(raw, e))?;
        if !parsed.is_complete() {
            return Err(Reject::Syntax("incomplete head"));
        }
        let (method, target) = (request.method.unwrap_or_default().as_bytes(), request.path.unwrap_or_default().as_bytes());
        head.version = version(request.version);
        let (path, authority) = split_target(method, target)?;
        head.load(raw, (method, target, path), request.headers.iter().map(|h| (h.name.as_bytes(), h.value)));
        check_method(method)?;
        if path.is_empty() && method != b"CONNECT" {
            head.set_path_and_query(b"/");
        } else if path.starts_with(b"?") {
            let rooted = [b"/", path].concat();
            head.set_path_and_query(&rooted);
        }
        check_host(head, authority)
    })
}

/// Names what is wrong with a start line more closely than the parser does.
fn start_line_fault(raw: &[u8], error: httparse::Error) -> Reject {
    let line = raw.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.splitn(3, |byte| *byte == b' ');
    if error == httparse::Error::Version {
        let version = words.nth(2).unwrap_or_default();
        let known =
            matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit());
        return if known { Reject::Version } else { Reject::Syntax("invalid HTTP version") };
    }
    if error != httparse::Error::Token {
        return syntax(error);
    }
    match (words.next(), words.next()) {
        (Some(method), _) if !is_token(method) => Reject::Method,
        (_, Some(target)) if !is_target(target) => Reject::Target,
        _ => Reject::Syntax("invalid start line"),
    }
}

/// Methods are case-sensitive; no registered one has a lower-case letter, so one that does is a mistake
/// that different recipients read differently.
fn check_method(method: &[u8]) -> Result<(), Reject> {
    let good = is_token(method) && !method.iter().any(u8::is_ascii_lowercase);
    if good { Ok(()) } else { Err(Reject::Method) }
}

/// Splits a target by its form (RFC 9112 section 3.2) into the path and the authority that overrides Host.
fn split_target<'t>(method: &[u8], target: &'t [u8]) -> Result<(&'t [u8], Option<&'t [u8]>), Reject> {
    if !is_target(target) {
        return Err(Reject::Target);
    }
    if method == b"CONNECT" {
        return Ok((b"", Some(target)));
    }
    if target[0] == b'/' || (target == b"*" && method == b"OPTIONS") {
        return Ok((target, None));
    }
    let scheme_end = memchr::memmem::find(target, b"://").ok_or(Reject::Target)?;
    if !matches!(target[..scheme_end].to_ascii_lowercase().as_slice(), b"http" | b"https") {
        return Err(Reject::Target);
    }
    let rest = &target[scheme_end + 3..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    Ok((&rest[end..], Some(&rest[..end])))
}

/// Checks Host; the authority of an absolute target takes its place (RFC 9112 section 3.2.2).
fn check_host(head: &mut RequestHead, authority: Option<&[u8]>) -> Result<(), Reject> {
    if head.fields.all(Name::Host).count() > 1 {
        return Err(Reject::DuplicateHost);
    }
    let first = head.fields.get(Name::Host);
    if first.is_none() && head.version == Version::Http11 {
        return Err(Reject::MissingHost);
    }
    if first.is_some_and(|host| !is_authority(host)) || authority.is_some_and(|a| !is_authority(a)) {
        return Err(Reject::Host);
    }
    let differs = authority.is_some_and(|authority| Some(authority) != first);
    if let (Some(authority), true) = (authority, differs) {
        head.fields.set(Name::Host, authority);
    }
    Ok(())
}

/// Parses a whole response head, blank line included.
pub fn response(raw: &[u8], limits: HeadLimits, head: &mut ResponseHead) -> Result<(), Reject> {
    head.clear();
    with_slots(limits.fields, |slots| {
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, raw, slots).map_err(syntax)?;
        if !parsed.is_complete() {
            return Err(Reject::Syntax("incomplete head"));
        }
        head.version = version(response.version);
        head.status = response.code.filter(|code| (100..600).contains(code)).ok_or(Reject::Status)?;
        let reason = response.reason.unwrap_or_default().as_bytes();
        head.load(raw, reason, response.headers.iter().map(|h| (h.name.as_bytes(), h.value)));
        Ok(())
    })
}

/// Parses a whole trailer section, blank line included.
pub fn trailers(raw: &[u8], limits: HeadLimits, trailers: &mut Fields) -> Result<(), Reject> {
    let mut headers = vec![httparse::EMPTY_HEADER; limits.fields];
    match httparse::parse_headers(raw, &mut headers) {
        Ok(httparse::Status::Complete((_, found))) => {
            trailers.clear();
            trailers.load(raw, found.iter().map(|h| (h.name.as_bytes(), h.value)));
            // RFC 9110 section 6.5.1: fields that frame or route the message have no place in a trailer.
            trailers.retain(|name, _, _| {
                !matches!(name, Name::ContentLength | Name::TransferEncoding | Name::Host | Name::Trailer | Name::Connection)
            });
            Ok(())
        }
        Err(httparse::Error::TooManyHeaders) => Err(Reject::TrailerTooLarge),
        _ => Err(Reject::Trailer),
    }
}
