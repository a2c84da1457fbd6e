//! Templates with Envoy's command operators (`%REQ(X)%`, `%START_TIME%`, ...): for access logs and for
//! header values. (`configuration/observability/access_log/usage#command-operators`)

mod json;
mod operator;
mod parse;
mod time;
mod tls;
mod value;

pub use json::{JsonTemplate, quote};
pub use operator::{GrpcForm, HeaderRef, Operator, PathFrom};
pub use parse::FormatError;
pub use time::TimeFormat;
pub use value::{Endpoint, Length, Point, Precision};

pub(crate) use operator::{query_param, request_value};

use crate::http::{Fields, RequestHead, ResponseHead};
use crate::record::Record;

/// What a template may read.
#[derive(Copy, Clone)]
pub struct Facts<'a> {
    /// The request as the client's filters left it.
    pub request: &'a RequestHead,
    /// The response, once there is one.
    pub response: Option<&'a ResponseHead>,
    /// The response's trailers.
    pub trailers: Option<&'a Fields>,
    /// Everything that was counted and timed.
    pub record: &'a Record,
    /// Names from the config.
    pub names: Names<'a>,
}

/// Names that templates can ask for; empty if there is none.
#[derive(Copy, Clone, Debug, Default)]
pub struct Names<'a> {
    /// The host we run on.
    pub hostname: &'a str,
    /// The matched route.
    pub route: &'a str,
    /// The matched virtual host.
    pub virtual_host: &'a str,
    /// The upstream host, if it was named by DNS or by the config.
    pub upstream_host: &'a str,
}

/// A compiled template.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(Box<[u8]>),
    Operator { operator: Operator, max_len: Option<usize> },
}

/// Envoy's default access-log line.
pub const DEFAULT_ACCESS_LOG: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

impl Template {
    /// Compiles a template; the error says which operator is wrong.
    pub fn parse(text: &str) -> Result<Template, FormatError> {
        Ok(Template { pieces: parse::pieces(text)? })
    }

    /// A template without operators, whatever it holds.
    pub fn literal(text: &str) -> Template {
        Template { pieces: vec![Piece::Text(text.as_bytes().into())] }
    }

    /// The text, if the template has no operators.
    pub fn as_literal(&self) -> Option<&[u8]> {
        match self.pieces.as_slice() {
            [] => Some(b""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the line to `out`; `missing` stands for what is not known (`-` in logs, nothing in headers).
    pub fn write(&self, facts: &Facts<'_>, missing: &str, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Operator { operator, max_len } => {
                    let start = out.len();
                    if !operator.write(facts, out) {
                        out.truncate(start);
                        out.extend_from_slice(missing.as_bytes());
                    }
                    if let Some(max) = max_len {
                        out.truncate(out.len().min(start + max));
                    }
                }
            }
        }
    }

    /// If the template is one operator that answers a number: the number, for typed JSON.
    pub fn is_number(&self) -> bool {
        matches!(self.pieces.as_slice(), [Piece::Operator { operator, max_len: None }] if operator.is_number())
    }

    /// Whether the template is a single operator, whose absence JSON writes as `null`.
    pub fn is_single_operator(&self) -> bool {
        matches!(self.pieces.as_slice(), [Piece::Operator { .. }])
    }

    /// Appends the value of a single operator; false, and nothing appended, if it is not known.
    pub fn write_known(&self, facts: &Facts<'_>, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        match self.pieces.as_slice() {
            [Piece::Operator { operator, max_len }] => {
                let known = operator.write(facts, out);
                out.truncate(if known { out.len().min(start + max_len.unwrap_or(usize::MAX - start)) } else { start });
                known
            }
            _ => {
                self.write(facts, "-", out);
                true
            }
        }
    }
}
