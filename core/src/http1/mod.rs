//! Our strict HTTP/1.1 codec around `httparse`, for both roles.
//!
//! Heads are parsed whole, once their end has been seen, so a slow sender costs one scan of each byte.
//! Where RFC 9112 lets a recipient be lenient and leniency has been the door for request smuggling, this
//! codec refuses: a message is forwarded only if every recipient down the line must read it the same way.

pub mod body;
mod chunked;
pub mod encode;
pub mod framing;
pub mod parse;
mod reject;

pub use reject::Reject;
