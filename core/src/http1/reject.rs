//! Why a message was refused.

/// A breach of HTTP/1 that a peer committed. The text names the rule; the detail is what access logs say.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Reject {
    #[error("a line of the head ends in LF without CR (RFC 9112 section 2.2)")]
    BareLf,
    #[error("the head was not complete in time (`request_headers_timeout`)")]
    HeadTimeout,
    #[error("malformed head: {0} (RFC 9112 section 2)")]
    Syntax(&'static str),
    #[error("illegal method (RFC 9110 section 9.1)")]
    Method,
    #[error("illegal request target (RFC 9112 section 3.2)")]
    Target,
    #[error("HTTP version is not 1.x (RFC 9112 section 2.3)")]
    Version,
    #[error("head is larger than the limit (RFC 9110 section 5.4)")]
    HeadTooLarge,
    #[error("more header fields than the limit (RFC 9110 section 5.4)")]
    TooManyHeaders,
    #[error("request without Host (RFC 9112 section 3.2)")]
    MissingHost,
    #[error("more than one Host (RFC 9112 section 3.2)")]
    DuplicateHost,
    #[error("invalid Host (RFC 9112 section 3.2)")]
    Host,
    #[error("Content-Length is not one decimal number (RFC 9112 section 6.3)")]
    ContentLength,
    #[error("both Transfer-Encoding and Content-Length (RFC 9112 section 6.1)")]
    LengthAndEncoding,
    #[error("Transfer-Encoding other than exactly `chunked` (RFC 9112 section 6.1)")]
    TransferEncoding,
    #[error("Transfer-Encoding in an HTTP/1.0 message (RFC 9112 section 6.1)")]
    EncodingInHttp10,
    #[error("malformed chunk (RFC 9112 section 7.1)")]
    Chunk,
    #[error("malformed trailer section (RFC 9112 section 7.1.2)")]
    Trailer,
    #[error("trailer section is larger than the limit (RFC 9110 section 6.5)")]
    TrailerTooLarge,
    #[error("status code is not three digits from 100 to 599 (RFC 9112 section 4)")]
    Status,
}

impl Reject {
    /// The status to answer a client with.
    pub fn status(self) -> u16 {
        match self {
            Reject::HeadTooLarge | Reject::TooManyHeaders | Reject::TrailerTooLarge => 431,
            Reject::Version => 505,
            Reject::HeadTimeout => 408,
            _ => 400,
        }
    }

    /// `%RESPONSE_CODE_DETAILS%`.
    pub fn details(self) -> &'static str {
        match self {
            Reject::BareLf => "http1.bare_lf",
            Reject::HeadTimeout => "request_header_timeout",
            Reject::Syntax(_) => "http1.codec_error",
            Reject::Method => "http1.invalid_method",
            Reject::Target => "http1.invalid_url",
            Reject::Version => "http1.unsupported_version",
            Reject::HeadTooLarge => "http1.headers_too_large",
            Reject::TooManyHeaders => "http1.too_many_headers",
            Reject::MissingHost => "missing_host_header",
            Reject::DuplicateHost => "http1.multiple_host_headers",
            Reject::Host => "http1.invalid_host",
            Reject::ContentLength => "http1.invalid_content_length",
            Reject::LengthAndEncoding => "http1.content_length_and_chunked_not_allowed",
            Reject::TransferEncoding => "http1.invalid_transfer_encoding",
            Reject::EncodingInHttp10 => "http1.transfer_encoding_not_allowed",
            Reject::Chunk => "http1.invalid_chunk",
            Reject::Trailer => "http1.invalid_trailers",
            Reject::TrailerTooLarge => "http1.trailers_too_large",
            Reject::Status => "http1.invalid_status",
        }
    }
}
