//! Path normalisation, as Envoy's connection manager does it before any filter or route looks.

/// What to do with `%2F`, `%2f`, `%5C` and `%5c` in a path (`path_with_escaped_slashes_action`).
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub enum EscapedSlashes {
    /// Leave them.
    #[default]
    Keep,
    /// Answer 400.
    Reject,
    /// Answer 307 with the unescaped path.
    UnescapeAndRedirect,
    /// Unescape and go on.
    UnescapeAndForward,
}

/// How paths are normalised.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub struct PathRules {
    /// RFC 3986 section 6 normalisation: dot segments, `\` to `/`, escaped unreserved characters.
    pub normalize: bool,
    /// `//` becomes `/`.
    pub merge_slashes: bool,
    /// Escaped slashes.
    pub escaped_slashes: EscapedSlashes,
}

/// What normalisation made of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Normalized {
    /// It was in order.
    Unchanged,
    /// Go on with this path and query.
    Changed(Vec<u8>),
    /// Send the client to this path and query with a 307.
    Redirect(Vec<u8>),
    /// The path holds what the rules reject: 400.
    Reject,
}

/// Applies `rules` to a path and query. The query is never changed.
pub fn normalize(path_and_query: &[u8], rules: PathRules) -> Normalized {
    if rules == PathRules::default() || !path_and_query.starts_with(b"/") {
        return Normalized::Unchanged;
    }
    let end = memchr::memchr(b'?', path_and_query).unwrap_or(path_and_query.len());
    let (path, query) = path_and_query.split_at(end);
    if is_plain(path) {
        return Normalized::Unchanged;
    }
    let mut redirect = false;
    let mut out = path.to_vec();
    if rules.escaped_slashes != EscapedSlashes::Keep && has_escaped_slash(&out) {
        match rules.escaped_slashes {
            EscapedSlashes::Reject => return Normalized::Reject,
            EscapedSlashes::UnescapeAndRedirect => redirect = true,
            _ => {}
        }
        out = unescape_slashes(&out);
    }
    if rules.normalize {
        out = remove_dots(&unescape_unreserved(&out));
    }
    if rules.merge_slashes {
        out.dedup_by(|a, b| *a == b'/' && *b == b'/');
    }
    if out == path {
        return Normalized::Unchanged;
    }
    out.extend_from_slice(query);
    if redirect { Normalized::Redirect(out) } else { Normalized::Changed(out) }
}

/// Whether no rule can change the path: no dots after a slash, no escapes, no double or back slashes.
fn is_plain(path: &[u8]) -> bool {
    !path.windows(2).any(|pair| pair[0] == b'/' && matches!(pair[1], b'.' | b'/')) && memchr::memchr2(b'%', b'\\', path).is_none()
}

fn escape_at(path: &[u8], at: usize) -> Option<u8> {
    let digits = path.get(at + 1..at + 3)?;
    let hex = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
    (path[at] == b'%').then_some(hex(digits[0])? * 16 + hex(digits[1])?)
}

fn has_escaped_slash(path: &[u8]) -> bool {
    memchr::memchr_iter(b'%', path).any(|at| matches!(escape_at(path, at), Some(b'/' | b'\\')))
}

fn unescape(path: &[u8], which: impl Fn(u8) -> bool) -> Vec<u8> {
    let (mut out, mut at) = (Vec::with_capacity(path.len()), 0);
    while at < path.len() {
        match escape_at(path, at) {
            Some(byte) if which(byte) => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(path[at]);
                at += 1;
            }
        }
    }
    out
}

/// Decodes the escapes of `text`, but not those of control characters: what comes out may stand on a line.
pub fn percent_decode(text: &[u8]) -> Vec<u8> {
    unescape(text, |byte| !byte.is_ascii_control())
}

fn unescape_slashes(path: &[u8]) -> Vec<u8> {
    unescape(path, |byte| matches!(byte, b'/' | b'\\'))
}

/// RFC 3986 section 6.2.2.2.
fn unescape_unreserved(path: &[u8]) -> Vec<u8> {
    unescape(path, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

/// RFC 3986 section 5.2.4, with `\` taken for `/` as browsers do. A path that leads above the root stays
/// at the root.
fn remove_dots(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut segments = path[1..].split(|byte| matches!(byte, b'/' | b'\\')).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." => {
                if last {
                    out.push(b'/');
                }
            }
            b".." => {
                out.truncate(memchr::memrchr(b'/', &out).unwrap_or_default());
                if last {
                    out.push(b'/');
                }
            }
            other => {
                out.push(b'/');
                out.extend_from_slice(other);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: PathRules = PathRules { normalize: true, merge_slashes: true, escaped_slashes: EscapedSlashes::UnescapeAndForward };

    fn changed(path: &str, rules: PathRules) -> String {
        match normalize(path.as_bytes(), rules) {
            Normalized::Unchanged => path.to_owned(),
            Normalized::Changed(out) => String::from_utf8_lossy(&out).into_owned(),
            Normalized::Redirect(out) => format!("-> {}", String::from_utf8_lossy(&out)),
            Normalized::Reject => "reject".to_owned(),
        }
    }

    #[test]
    fn table() {
        let normalize = PathRules { normalize: true, ..PathRules::default() };
        let merge = PathRules { merge_slashes: true, ..PathRules::default() };
        for (path, rules, want) in [
            ("/a/./b", normalize, "/a/b"),
            ("/a/../b", normalize, "/b"),
            ("/a/..", normalize, "/"),
            ("/a/b/.", normalize, "/a/b/"),
            ("/../a", normalize, "/a"),
            ("/a/..%2Fb", normalize, "/a/..%2Fb"),
            ("/%61%2e/x", normalize, "/a./x"),
            ("/a/%2e%2e/b", normalize, "/b"),
            ("/a\\b", normalize, "/a/b"),
            ("/a?x=/../y", normalize, "/a?x=/../y"),
            ("/a//b///c", merge, "/a/b/c"),
            ("/a//b", normalize, "/a//b"),
            ("/a/./b", merge, "/a/./b"),
            ("/a%2fb//c?d//e", ALL, "/a/b/c?d//e"),
            ("/a%2f..%5Cc", ALL, "/c"),
            ("/a%2fb", PathRules { escaped_slashes: EscapedSlashes::Reject, ..normalize }, "reject"),
            ("/a%2fb?q", PathRules { escaped_slashes: EscapedSlashes::UnescapeAndRedirect, ..normalize }, "-> /a/b?q"),
            ("*", ALL, "*"),
        ] {
            assert_eq!(changed(path, rules), want, "{path}");
        }
    }

    #[test]
    fn normalising_twice_is_normalising_once() {
        for path in ["/a/../b//c%2fd/./e", "/%2e%2e%2fa", "/a%252e%252e/b"] {
            let once = changed(path, ALL);
            if once != "reject" {
                assert_eq!(changed(&once, PathRules { escaped_slashes: EscapedSlashes::Keep, ..ALL }), once, "{path}");
            }
        }
    }
}
