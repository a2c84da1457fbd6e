//! How long a body is: RFC 9112 section 6.3, with the lenient branches closed.

use super::Reject;
use crate::http::{Fields, Name, NameSet, RequestHead, ResponseHead, Version};
use crate::plant::{Plant, is_planted};

/// How the end of a body is known.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub enum Framing {
    /// There is no body.
    #[default]
    Empty,
    /// So many bytes.
    Length(u64),
    /// Chunked, with trailers.
    Chunked,
    /// Until the connection is closed: responses only.
    UntilClose,
}

/// What the head of a request says about its body.
///
/// `allow_chunked_length` is Envoy's option of that name: with both fields, chunked wins and
/// Content-Length is removed.
pub fn request(head: &mut RequestHead, allow_chunked_length: bool) -> Result<Framing, Reject> {
    let framing = from_fields(&mut head.fields, head.version, allow_chunked_length)?;
    Ok(framing.unwrap_or(Framing::Empty))
}

/// What the head of a response says about its body, given the request it answers.
pub fn response(head: &mut ResponseHead, to_head: bool) -> Result<Framing, Reject> {
    let bodyless = to_head || matches!(head.status, 100..=199 | 204 | 304);
    let framing = from_fields(&mut head.fields, head.version, false)?;
    if bodyless {
        // RFC 9112 section 6.1: no Transfer-Encoding in 1xx and 204. To HEAD and in 304 it only says what
        // a GET would get.
        if matches!(head.status, 100..=199 | 204) {
            head.fields.remove_all(NameSet::of(&[Name::TransferEncoding, Name::ContentLength]));
        }
        return Ok(Framing::Empty);
    }
    Ok(framing.unwrap_or(Framing::UntilClose))
}

fn from_fields(fields: &mut Fields, version: Version, allow_chunked_length: bool) -> Result<Option<Framing>, Reject> {
    let length = content_length(fields)?;
    if !fields.has(Name::TransferEncoding) {
        return Ok(length.map(Framing::Length));
    }
    if version == Version::Http10 {
        return Err(Reject::EncodingInHttp10);
    }
    if !is_exactly_chunked(fields) {
        return Err(Reject::TransferEncoding);
    }
    if length.is_some() {
        if !allow_chunked_length && !is_planted(Plant::SmuggledLength) {
            return Err(Reject::LengthAndEncoding);
        }
        fields.remove(Name::ContentLength);
    }
    Ok(Some(Framing::Chunked))
}

fn is_exactly_chunked(fields: &Fields) -> bool {
    let mut encodings = fields.all(Name::TransferEncoding);
    encodings.next().is_some_and(|encoding| encoding.eq_ignore_ascii_case(b"chunked")) && encodings.next().is_none()
}

/// One or more equal Content-Length fields are one; they leave as one.
fn content_length(fields: &mut Fields) -> Result<Option<u64>, Reject> {
    if !fields.has(Name::ContentLength) {
        return Ok(None);
    }
    let (mut length, mut count) = (None, 0);
    for value in fields.all(Name::ContentLength) {
        let parsed = decimal(value).ok_or(Reject::ContentLength)?;
        if length.is_some_and(|first| first != parsed) {
            return Err(Reject::ContentLength);
        }
        length = Some(parsed);
        count += 1;
    }
    if let (Some(n), true) = (length, count > 1) {
        fields.set(Name::ContentLength, itoa::Buffer::new().format(n).as_bytes());
    }
    Ok(length)
}

/// Digits only: no sign, no list, no space (RFC 9110 section 8.6).
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    text.iter().try_fold(0u64, |n, digit| digit.is_ascii_digit().then(|| n * 10 + u64::from(digit - b'0')))
}
