//! What a proxy has to know of gRPC (gRPC over HTTP/2, `PROTOCOL-HTTP2.md`).

use crate::time::Duration;

/// Whether a Content-Type is gRPC's.
pub fn is_grpc(content_type: &[u8]) -> bool {
    content_type.strip_prefix(b"application/grpc").is_some_and(|rest| rest.is_empty() || rest[0] == b'+')
}

/// The value of `grpc-timeout`: up to eight digits and a unit.
pub fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// The gRPC status that stands for an HTTP status ("HTTP to gRPC status code mapping").
pub fn status(http: u16) -> &'static [u8] {
    match http {
        400 => b"13",
        401 => b"16",
        403 => b"7",
        404 => b"12",
        429 | 502 | 503 | 504 => b"14",
        _ => b"2",
    }
}

/// DEADLINE_EXCEEDED.
pub const DEADLINE_EXCEEDED: &[u8] = b"4";

/// Percent-encodes what gRPC does not allow in `grpc-message`.
pub fn encode_message(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b' '..=b'~' if *byte != b'%' => out.push(*byte),
            other => out.extend_from_slice(format!("%{other:02X}").as_bytes()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        assert_eq!(timeout(b"100m"), Some(Duration::from_millis(100)));
        assert_eq!(timeout(b"2S"), Some(Duration::from_secs(2)));
        for bad in [&b""[..], b"m", b"123456789m", b"1x", b"-1S"] {
            assert_eq!(timeout(bad), None);
        }
    }
}
