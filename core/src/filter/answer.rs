//! An answer that a filter gives in place of the upstream.

use crate::http::validate::{is_field_value, is_token};
use crate::http::{Name, NameSet};
use bytes::Bytes;
use std::borrow::Cow;

/// How a body and a connection end is not a filter's to say.
const OURS: NameSet =
    NameSet::of(&[Name::Connection, Name::ContentLength, Name::KeepAlive, Name::ProxyConnection, Name::TransferEncoding, Name::Upgrade]);

/// A whole answer. A gRPC client gets its status as `grpc-status` and its body as `grpc-message`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Status, 200 to 599.
    pub status: u16,
    /// Header fields, in order. Those that frame a message, or concern only a connection, are left out.
    pub headers: Vec<(Bytes, Bytes)>,
    /// Body. It is `text/plain` unless a header says what it is.
    pub body: Bytes,
    /// `%RESPONSE_CODE_DETAILS%`; white space in it is sent as `_`.
    pub details: Cow<'static, str>,
}

impl Answer {
    /// An answer without headers of its own.
    pub fn new(status: u16, body: impl Into<Bytes>, details: impl Into<Cow<'static, str>>) -> Answer {
        Answer { status, headers: Vec::new(), body: body.into(), details: details.into() }
    }

    /// With one more header field.
    #[must_use]
    pub fn header(mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) -> Answer {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Whether it can be sent.
    pub(crate) fn is_valid(&self) -> bool {
        let sendable = |(name, value): &(Bytes, Bytes)| is_token(name) && is_field_value(value);
        (200..600).contains(&self.status) && self.headers.iter().all(sendable)
    }

    /// The fields that are sent.
    pub(crate) fn fields(&self) -> Vec<(&[u8], &[u8])> {
        let sent = self.headers.iter().filter(|(name, _)| !OURS.has(Name::of(name)));
        sent.map(|(name, value)| (&name[..], &value[..])).collect()
    }

    /// The details as a log can hold them: one word.
    pub(crate) fn word(&self) -> Cow<'static, str> {
        let breaks = |c: char| c.is_whitespace() || c.is_control();
        match self.details.contains(breaks) {
            true => Cow::Owned(self.details.replace(breaks, "_")),
            false => self.details.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_is_no_answer() {
        let good = Answer::new(403, "no", "a b\n").header("x-why", "because").header("Content-Length", "7");
        assert!(good.is_valid());
        assert_eq!((good.fields(), &*good.word()), (vec![(&b"x-why"[..], &b"because"[..])], "a_b_"));
        for bad in [
            Answer::new(100, "", ""),
            Answer::new(600, "", ""),
            Answer::new(200, "", "").header("x y", ""),
            Answer::new(200, "", "").header("x", "a\r\nb: c"),
        ] {
            assert!(!bad.is_valid(), "{bad:?}");
        }
    }
}
