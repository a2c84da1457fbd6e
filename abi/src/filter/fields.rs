//! Header fields as filters in C name them: `:path` and its like among the others.

use super::frame::{Frame, Part};
use crate::result::{Fault, weir_result};
use weir_core::http::validate::{is_authority, is_field_value, is_target, is_token};
use weir_core::http::{Fields, Name, RequestHead, ResponseHead, Scheme};

const REQUEST: u32 = 0;
const RESPONSE: u32 = 1;
const TRAILERS: u32 = 2;

fn absent(part: u32) -> Fault {
    match part {
        REQUEST | RESPONSE | TRAILERS => {
            let name = ["the request head", "the response head", "trailers"][part as usize];
            Fault::new(weir_result::WEIR_NOT_HERE, format_args!("this callback does not have {name}"))
        }
        _ => Fault::new(weir_result::WEIR_BAD_VALUE, format_args!("`part` is {part}; see enum weir_part")),
    }
}

fn read_only(what: &str) -> Fault {
    Fault::new(weir_result::WEIR_NOT_HERE, format_args!("this callback may not change {what}: it is for others, or was sent already"))
}

fn bad(words: impl std::fmt::Display) -> Fault {
    Fault::new(weir_result::WEIR_BAD_FIELD, words)
}

/// Whether a part can have such a field: what frames or routes a message has no place in trailers (RFC 9110 section 6.5.1).
pub(super) fn check_in(part: u32, name: &[u8], value: &[u8]) -> Result<(), Fault> {
    let known = Name::of(name);
    let frames = matches!(known, Name::ContentLength | Name::TransferEncoding | Name::Host | Name::Trailer | Name::Connection);
    match part == TRAILERS && frames {
        true => Err(bad(format_args!("`{}` has no place in trailers (RFC 9110 section 6.5.1)", String::from_utf8_lossy(name)))),
        false => check(name, value),
    }
}

/// Whether such a field can be sent.
pub(super) fn check(name: &[u8], value: &[u8]) -> Result<(), Fault> {
    let shown = String::from_utf8_lossy(name);
    match (is_token(name), is_field_value(value)) {
        (false, _) => Err(bad(format_args!("`{shown}` is no name of a header field (RFC 9110 section 5.1)"))),
        (_, false) => Err(bad(format_args!("the value for `{shown}` has control characters, or space around it (RFC 9110 section 5.5)"))),
        _ => Ok(()),
    }
}

/// # Safety
/// The frame's callback must be under way.
unsafe fn look<T>(part: &Part<T>) -> Option<&T> {
    match part {
        Part::Absent => None,
        // SAFETY: the caller answers for it.
        Part::Read(at) => Some(unsafe { &**at }),
        // SAFETY: as above.
        Part::Write(at) => Some(unsafe { &**at }),
    }
}

/// The fields of a part.
///
/// # Safety
/// The frame's callback must be under way.
pub(super) unsafe fn read(frame: &Frame, part: u32) -> Result<&Fields, Fault> {
    // SAFETY: the caller answers for it.
    let found = unsafe {
        match part {
            REQUEST => look(&frame.request).map(|head| &head.fields),
            RESPONSE => look(&frame.response).map(|head| &head.fields),
            TRAILERS => look(&frame.trailers),
            _ => None,
        }
    };
    found.ok_or_else(|| absent(part))
}

/// The fields of a part, to be changed.
///
/// # Safety
/// The frame's callback must be under way.
pub(super) unsafe fn write(frame: &mut Frame, part: u32) -> Result<&mut Fields, Fault> {
    // SAFETY: the caller answers for it; nobody else has them.
    unsafe {
        match (part, &frame.request, &frame.response, &frame.trailers) {
            (REQUEST, Part::Write(head), ..) => Ok(&mut (**head).fields),
            (RESPONSE, _, Part::Write(head), _) => Ok(&mut (**head).fields),
            (TRAILERS, .., Part::Write(fields)) => Ok(&mut **fields),
            (REQUEST, Part::Read(_), ..) => Err(read_only("the request head")),
            (RESPONSE, _, Part::Read(_), _) => Err(read_only("the response head")),
            _ => Err(absent(part)),
        }
    }
}

/// The value of a field, or of what stands beside the fields.
///
/// # Safety
/// The frame's callback must be under way.
pub(super) unsafe fn get<'f>(frame: &'f Frame, part: u32, name: &[u8], index: usize) -> Result<Option<&'f [u8]>, Fault> {
    // SAFETY: the caller answers for it.
    unsafe {
        if let (Some(b':'), 0) = (name.first(), index) {
            return match part {
                REQUEST => Ok(request(look(&frame.request).ok_or_else(|| absent(part))?, name)),
                RESPONSE => Ok(status(look(&frame.response).ok_or_else(|| absent(part))?, name)),
                _ => read(frame, part).map(|_| None),
            };
        }
        Ok(read(frame, part)?.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).nth(index).map(|(_, value)| value))
    }
}

fn request<'h>(head: &'h RequestHead, name: &[u8]) -> Option<&'h [u8]> {
    match name {
        b":method" => Some(head.method()),
        b":path" => Some(head.path_and_query()),
        b":authority" => Some(head.authority()),
        b":scheme" => Some(head.scheme.as_str().as_bytes()),
        _ => None,
    }
}

/// All statuses there are, as text: what C is given must live somewhere.
static STATUSES: [[u8; 3]; 1000] = {
    let mut made = [[b'0'; 3]; 1000];
    let mut status = 0;
    while status < 1000 {
        made[status] = [b'0' + (status / 100) as u8, b'0' + (status / 10 % 10) as u8, b'0' + (status % 10) as u8];
        status += 1;
    }
    made
};

fn status<'h>(head: &ResponseHead, name: &[u8]) -> Option<&'h [u8]> {
    match name {
        b":status" => STATUSES.get(usize::from(head.status)).map(|text| &text[..]),
        _ => None,
    }
}

/// Gives a part one field of this name, or sets what stands beside the fields.
///
/// # Safety
/// The frame's callback must be under way.
pub(super) unsafe fn set(frame: &mut Frame, part: u32, name: &[u8], value: &[u8]) -> Result<(), Fault> {
    if name.first() != Some(&b':') {
        check_in(part, name, value)?;
        // SAFETY: the caller answers for it.
        unsafe { write(frame, part)? }.set_named(name, value);
        return Ok(());
    }
    // SAFETY: the caller answers for it; nobody else has the heads.
    unsafe {
        match (part, &frame.request, &frame.response) {
            (REQUEST, Part::Write(head), _) => set_request(&mut **head, name, value),
            (RESPONSE, _, Part::Write(head)) => set_status(&mut **head, name, value),
            _ => write(frame, part).and_then(|_| Err(no_such(name))),
        }
    }
}

fn no_such(name: &[u8]) -> Fault {
    bad(format_args!("there is no `{}` here", String::from_utf8_lossy(name)))
}

fn set_request(head: &mut RequestHead, name: &[u8], value: &[u8]) -> Result<(), Fault> {
    match name {
        b":method" if is_token(value) && value != b"CONNECT" && !head.is_connect() => head.set_method(value),
        b":method" => return Err(bad("`:method` must be a token, and CONNECT is not to be made or unmade")),
        b":path" if is_target(value) && (value[0] == b'/' || value == b"*") => head.set_path_and_query(value),
        b":path" => return Err(bad("`:path` must begin with a slash, and have no spaces, fragments or bytes above 126")),
        b":authority" if is_authority(value) => head.fields.set_named(b"host", value),
        b":authority" => return Err(bad("`:authority` must be a host, with or without a port (RFC 3986 section 3.2)")),
        b":scheme" if value == b"http" => head.scheme = Scheme::Http,
        b":scheme" if value == b"https" => head.scheme = Scheme::Https,
        b":scheme" => return Err(bad("`:scheme` must be http or https")),
        _ => return Err(no_such(name)),
    }
    Ok(())
}

fn set_status(head: &mut ResponseHead, name: &[u8], value: &[u8]) -> Result<(), Fault> {
    if name != b":status" {
        return Err(no_such(name));
    }
    let status = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).filter(|status| (200..600).contains(status));
    // What switches protocols, or has no body, is not to be made of what has.
    match status {
        Some(status) if !has_no_body(head.status) && !has_no_body(status) => head.status = status,
        Some(_) => return Err(bad("`:status`: 101, 204, 205 and 304 are not to be made or unmade")),
        None => return Err(bad("`:status` must be 200 to 599")),
    }
    Ok(())
}

fn has_no_body(status: u16) -> bool {
    matches!(status, 101 | 204 | 205 | 304)
}
