//! The seam for HTTP filters.
//!
//! A filter sees an exchange's head and body on their way to the router and back. It decides by what it
//! returns and never does I/O: a filter that must ask somebody says [`Verdict::Pause`], keeps its
//! [`FilterId`], and is resumed through [`Engine::handle_filter`](crate::Engine::handle_filter) with what
//! was learned. The router itself is not a filter here: it is where the chain ends. `docs/filters.md` is
//! written for who writes filters.

mod answer;
mod header_mutation;
mod registry;

pub use answer::Answer;
pub use header_mutation::HeaderMutation;
pub(crate) use registry::type_name;
pub use registry::{FilterKind, Registry};

use crate::format::Names;
use crate::http::{Fields, RequestHead, ResponseHead};
use crate::id::ExchangeId;
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

    /// Whether its filters look at bodies, at their ends and at trailers. It is asked once for each exchange; a chain
    /// in which nobody does costs bodies nothing.
    fn wants_bodies(&self) -> bool {
        false
    }
}

/// A direction in which filters are passed.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// From the client to the router.
    Request,
    /// Back to the client.
    Response,
}

/// Names one filter of one exchange, one of its sides and one wait there, for
/// [`Engine::handle_filter`](crate::Engine::handle_filter). It never names another.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilterId {
    /// The exchange.
    pub exchange: ExchangeId,
    /// The filter's place in the chain, from 0.
    pub index: u32,
    /// The side.
    pub side: Side,
    /// How often the filter was resumed before on this side: a resume that comes twice does not end the next wait.
    pub turn: u32,
}

/// What a filter may look at and use besides what it is given.
#[derive(Debug)]
pub struct FilterContext<'a> {
    /// This filter, on the side that it is called for. A filter that is resumed and pauses again has a new one.
    pub id: FilterId,
    /// The engine, as its driver numbers it ([`Engine::set_number`](crate::Engine::set_number)); 0 if it does not. Nothing
    /// may be decided by it: another driver numbers otherwise.
    pub engine: u64,
    /// The facts so far.
    pub record: &'a Record,
    /// The filters' own stream of randomness.
    pub rng: &'a mut Rng,
    /// Names for templates.
    pub names: Names<'a>,
}

/// What becomes of what a filter was shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on to the next filter.
    #[default]
    Continue,
    /// It waits here until the filter is resumed, and what comes behind it waits unseen.
    Pause,
    /// It waits here, and what comes behind it is shown to this filter, but goes no further: until the filter says
    /// [`Verdict::Continue`] to the end of the message, or is resumed. For filters that want the whole of a message
    /// before any of it goes on. What is held is bounded by the listener's buffer limit: more of a request is answered
    /// with 413, more of a response with 500. From a filter that wants no bodies it is a [`Verdict::Pause`].
    Gather,
    /// The filter answers the client. A request goes no further; a response is replaced, which is possible only as long
    /// as nothing of it was sent: later it is cut.
    Respond(Box<Answer>),
}

/// What a paused filter is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// What waits may go on, if [`HttpFilter::resumed`] agrees, which is given these bytes: what the filter was waiting
    /// to learn. They are in the input log, so that a replay learns the same.
    Continue(Bytes),
    /// As [`Verdict::Respond`].
    Respond(Box<Answer>),
}

/// What waits at a filter that is resumed.
#[derive(Debug)]
pub enum Held<'a> {
    /// The request head.
    RequestHead(&'a mut RequestHead),
    /// A piece of the request body.
    RequestBody(&'a [u8]),
    /// The end of the request, with its trailers.
    RequestEnd(&'a mut Fields),
    /// The response head, beside the request head.
    ResponseHead(&'a RequestHead, &'a mut ResponseHead),
    /// A piece of the response body.
    ResponseBody(&'a [u8]),
    /// The end of the response, with its trailers.
    ResponseEnd(&'a mut Fields),
}

/// One HTTP filter in one exchange. Requests pass the chain in order, responses in reverse.
///
/// On each side it is shown a head, then, if its factory [wants bodies](FilterFactory::wants_bodies), any number of
/// pieces and one end. It is dropped when the exchange ends, or goes on as a tunnel that ends later.
pub trait HttpFilter: Debug + Send {
    /// The request head.
    fn request_head(&mut self, head: &mut RequestHead, context: &mut FilterContext<'_>) -> Verdict {
        let _ = (head, context);
        Verdict::Continue
    }

    /// A piece of the request body, never empty, before it goes on.
    fn request_body(&mut self, piece: &[u8], context: &mut FilterContext<'_>) -> Verdict {
        let _ = (piece, context);
        Verdict::Continue
    }

    /// The request is whole; also of a request without a body, whose head then waits for this. `trailers` are empty
    /// unless the client sent some.
    fn request_end(&mut self, trailers: &mut Fields, context: &mut FilterContext<'_>) -> Verdict {
        let _ = (trailers, context);
        Verdict::Continue
    }

    /// The response head, local replies included; interim responses are not shown.
    fn response_head(&mut self, request: &RequestHead, head: &mut ResponseHead, context: &mut FilterContext<'_>) -> Verdict {
        let _ = (request, head, context);
        Verdict::Continue
    }

    /// A piece of the response body, before it goes on.
    fn response_body(&mut self, piece: &[u8], context: &mut FilterContext<'_>) -> Verdict {
        let _ = (piece, context);
        Verdict::Continue
    }

    /// The response is whole.
    fn response_end(&mut self, trailers: &mut Fields, context: &mut FilterContext<'_>) -> Verdict {
        let _ = (trailers, context);
        Verdict::Continue
    }

    /// The filter is resumed with what it `learned`. [`Verdict::Continue`] lets what is held go on, [`Verdict::Pause`]
    /// leaves it.
    fn resumed(&mut self, held: Held<'_>, learned: &[u8], context: &mut FilterContext<'_>) -> Verdict {
        let _ = (held, learned, context);
        Verdict::Continue
    }

    /// The exchange has ended, in whatever way; the last call.
    fn finished(&mut self, record: &Record) {
        let _ = record;
    }
}
