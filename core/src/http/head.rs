//! Request and response heads.

use super::{Fields, Name, Span};

/// Protocol version of a message.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
    /// HTTP/2
    Http2,
}

impl Version {
    /// As access logs and `Via` write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2",
        }
    }
}

/// Scheme of a request: of the connection, or as a trusted hop told it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub enum Scheme {
    /// Clear text.
    #[default]
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// In lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// The head of a request. The authority is the value of its `Host` field.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// Header fields in order.
    pub fields: Fields,
    /// Version the client spoke.
    pub version: Version,
    /// Scheme the client used.
    pub scheme: Scheme,
    /// Bytes of the head on the wire.
    pub wire_len: usize,
    method: Span,
    target: Span,
    path: Span,
}

impl RequestHead {
    /// Forgets the request but keeps the memory.
    pub fn clear(&mut self) {
        self.fields.clear();
        *self = RequestHead { fields: std::mem::take(&mut self.fields), ..RequestHead::default() };
    }

    /// Takes over a parsed head. `path` is the part of `target` that routes look at.
    pub(crate) fn load<'h>(
        &mut self,
        raw: &'h [u8],
        (method, target, path): (&'h [u8], &'h [u8], &'h [u8]),
        fields: impl Iterator<Item = (&'h [u8], &'h [u8])>,
    ) {
        let base = self.fields.load(raw, fields);
        self.method = Fields::rebase(base, Span::within(raw, method));
        self.target = Fields::rebase(base, Span::within(raw, target));
        self.path = Fields::rebase(base, Span::within(raw, path));
        self.wire_len = raw.len();
    }

    /// The method as it was written.
    pub fn method(&self) -> &[u8] {
        self.fields.text(self.method)
    }

    /// Replaces the method.
    pub fn set_method(&mut self, method: &[u8]) {
        self.method = self.fields.store(method);
    }

    /// The request target exactly as it came.
    pub fn target(&self) -> &[u8] {
        self.fields.text(self.target)
    }

    /// Replaces the target.
    pub(crate) fn set_target(&mut self, target: &[u8]) {
        self.target = self.fields.store(target);
    }

    /// Path and query that routes match and that goes upstream.
    pub fn path_and_query(&self) -> &[u8] {
        self.fields.text(self.path)
    }

    /// The path without its query.
    pub fn path(&self) -> &[u8] {
        let all = self.path_and_query();
        &all[..memchr::memchr(b'?', all).unwrap_or(all.len())]
    }

    /// The query without its `?`, if there is one.
    pub fn query(&self) -> Option<&[u8]> {
        let all = self.path_and_query();
        memchr::memchr(b'?', all).map(|at| &all[at + 1..])
    }

    /// Replaces path and query.
    pub fn set_path_and_query(&mut self, path: &[u8]) {
        self.path = self.fields.store(path);
    }

    /// Host and port that the client asked for; empty if it named none.
    pub fn authority(&self) -> &[u8] {
        self.fields.get(Name::Host).unwrap_or_default()
    }

    /// Whether the method is `HEAD`, whose response has no body.
    pub fn is_head(&self) -> bool {
        self.method() == b"HEAD"
    }

    /// Whether the method is `CONNECT`.
    pub fn is_connect(&self) -> bool {
        self.method() == b"CONNECT"
    }

    /// Whether sending the request twice is the same as sending it once (RFC 9110 section 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        matches!(self.method(), b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
    }
}

/// The head of a response.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// Header fields in order.
    pub fields: Fields,
    /// Version the upstream spoke.
    pub version: Version,
    /// Status code.
    pub status: u16,
    /// Bytes of the head on the wire.
    pub wire_len: usize,
    reason: Span,
}

impl ResponseHead {
    /// Forgets the response but keeps the memory.
    pub fn clear(&mut self) {
        self.fields.clear();
        *self = ResponseHead { fields: std::mem::take(&mut self.fields), ..ResponseHead::default() };
    }

    /// Takes over a parsed head.
    pub(crate) fn load<'h>(&mut self, raw: &'h [u8], reason: &'h [u8], fields: impl Iterator<Item = (&'h [u8], &'h [u8])>) {
        let base = self.fields.load(raw, fields);
        self.reason = Fields::rebase(base, Span::within(raw, reason));
        self.wire_len = raw.len();
    }

    /// The reason phrase as the upstream wrote it; empty if it wrote none.
    pub fn reason(&self) -> &[u8] {
        self.fields.text(self.reason)
    }

    /// Whether this is an interim response (1xx) after which another follows. `101` is final.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}
