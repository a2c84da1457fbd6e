//! The seam for HTTP filters.
//!
//! A filter sees an exchange's head and body on their way to the router and back. It decides by what it
//! returns and never does I/O. The router itself is not a filter here: it is where the chain ends.

mod header_mutation;

pub use header_mutation::HeaderMutation;

use crate::format::Names;
use crate::http::{RequestHead, ResponseHead};
use crate::record::Record;
use crate::rng::Rng;
use bytes::Bytes;
use std::fmt::Debug;

/// Makes a filter for each exchange. Lives in the config.
pub trait FilterFactory: Debug + Send + Sync {
    /// Name in the config.
    fn name(&self) -> &str;
    /// A filter for one exchange.
    fn make(&self) -> Box<dyn HttpFilter>;
}

/// What a filter may look at and use besides the head it is given.
#[derive(Debug)]
pub struct FilterContext<'a> {
    /// The facts so far.
    pub record: &'a Record,
    /// The filters' own stream of randomness.
    pub rng: &'a mut Rng,
    /// Names for templates.
    pub names: Names<'a>,
}

/// What becomes of the exchange after a filter saw its request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on to the next filter.
    Continue,
    /// The filter answers; nothing goes upstream.
    Respond {
        /// Status.
        status: u16,
        /// Body.
        body: Bytes,
        /// `%RESPONSE_CODE_DETAILS%`.
        details: &'static str,
    },
}

/// One HTTP filter in one exchange. Requests pass the chain in order, responses in reverse.
pub trait HttpFilter: Debug + Send {
    /// The request head.
    fn request_head(&mut self, head: &mut RequestHead, context: &mut FilterContext<'_>) -> Verdict {
        let _ = (head, context);
        Verdict::Continue
    }

    /// The response head, local replies included.
    fn response_head(&mut self, request: &RequestHead, head: &mut ResponseHead, context: &mut FilterContext<'_>) {
        let _ = (request, head, context);
    }
}
