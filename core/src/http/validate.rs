//! What may stand in a head: octet classes of RFC 9110 and RFC 3986, and the checks built on them.

const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const HOST: u8 = 4;

const CLASS: [u8; 256] = {
    let mut class = [0u8; 256];
    let mut i = 0;
    while i < 256 {
        let c = i as u8;
        let alnum = c.is_ascii_alphanumeric();
        // RFC 9110 section 5.6.2: tchar.
        if alnum || matches!(c, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~') {
            class[i] |= TOKEN;
        }
        // RFC 3986 sections 3.3 and 3.4, and the characters that browsers send without escaping.
        if c > 0x20 && c < 0x7f && c != b'#' {
            class[i] |= TARGET;
        }
        // RFC 3986 section 3.2.2: reg-name, IP-literal, and the port's colon.
        if alnum
            || matches!(
                c,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'%'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
                    | b':'
                    | b'['
                    | b']'
            )
        {
            class[i] |= HOST;
        }
        i += 1;
    }
    class
};

fn all(text: &[u8], class: u8) -> bool {
    text.iter().all(|byte| CLASS[usize::from(*byte)] & class != 0)
}

/// Whether `text` is a token: a method or a field name.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && all(text, TOKEN)
}

/// Whether `text` may stand in a request target: visible ASCII and no fragment.
pub fn is_target(text: &[u8]) -> bool {
    !text.is_empty() && all(text, TARGET)
}

/// Whether `text` is a value that may be sent: no control characters but tab, no space around it.
pub fn is_field_value(text: &[u8]) -> bool {
    text.iter().all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f)) && text.trim_ascii().len() == text.len()
}

/// Whether `text` is an authority without user information: a host and an optional port.
pub fn is_authority(text: &[u8]) -> bool {
    if text.is_empty() || !all(text, HOST) {
        return false;
    }
    let (host, port) = split_port(text);
    let bracketed = host.starts_with(b"[");
    let host_is_good = match bracketed {
        true => host.ends_with(b"]") && host[1..host.len() - 1].iter().all(|c| c.is_ascii_hexdigit() || matches!(c, b':' | b'.')),
        false => !host.is_empty() && !host.iter().any(|c| matches!(c, b':' | b'[' | b']')),
    };
    host_is_good && port.is_none_or(|port| port.len() <= 5 && port.iter().all(u8::is_ascii_digit) && port_number(port).is_some())
}

fn port_number(port: &[u8]) -> Option<u16> {
    port.iter().try_fold(0u32, |n, digit| Some(n * 10 + u32::from(digit - b'0'))).and_then(|n| u16::try_from(n).ok())
}

/// Splits an authority into host and port.
pub fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let after_bracket = memchr::memrchr(b']', authority).map_or(0, |at| at + 1);
    match memchr::memchr(b':', &authority[after_bracket..]) {
        Some(colon) => (&authority[..after_bracket + colon], Some(&authority[after_bracket + colon + 1..])),
        None => (authority, None),
    }
}

/// The elements of a comma-separated list, trimmed, without empty ones (RFC 9110 section 5.6.1).
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(|element| element.trim_ascii()).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for good in ["a", "a.example:80", "[::1]:8080", "[::1]", "10.0.0.1", "a_b", "a:", "*"] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in ["", "a b", "a/b", "user@a", "a:b", "a:99999", ":80", "[::1", "::1", "a\"", "a\u{e9}", "[x]"] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn ports_are_split_off() {
        assert_eq!(split_port(b"a:80"), (&b"a"[..], Some(&b"80"[..])));
        assert_eq!(split_port(b"[::1]:80"), (&b"[::1]"[..], Some(&b"80"[..])));
        assert_eq!(split_port(b"[::1]"), (&b"[::1]"[..], None));
    }

    #[test]
    fn targets_and_tokens() {
        assert!(is_target(b"/a?b=|{}") && !is_target(b"/a#b") && !is_target(b"/a b") && !is_target("/é".as_bytes()));
        assert!(is_token(b"GET") && !is_token(b"G(T") && !is_token(b""));
        assert!(is_field_value(b"a\tb") && is_field_value(b"") && !is_field_value(b" a") && !is_field_value(b"a\x01"));
    }
}
