//! One request from its head to its access-log line.
//!
//! ```text
//! head -> inbound (connection manager rules) -> filters -> route -+-> reply, redirect ----------------+
//!                                                                 +-> attempt -> ... -> response ----+-> end
//!                                                                        ^--- retry ---'
//! ```
//!
//! This module holds the state and the decisions; [`engine`](crate::engine) moves the bytes.

mod attempt;
mod body;
pub mod client_cert;
mod filters;
pub mod inbound;
pub mod outbound;
mod retry;

pub use attempt::Attempt;
pub use body::RequestBody;
pub use filters::{Filters, Item, Shown};
pub use inbound::Refusal;
pub use retry::{Failure, Plan, RetryState};

use crate::buffer::below_low;
use crate::config::{Config, Forward, HttpManager, Route, VirtualHost};
use crate::filter::Side;
use crate::format::Names;
use crate::http::{Fields, RequestHead, ResponseHead};
use crate::http1::encode::BodyCoding;
use crate::http1::framing::Framing;
use crate::http2::StreamKey;
use crate::id::ConnId;
use crate::record::Record;
use crate::router::Found;
use crate::stats::Block;
use crate::time::Duration;
use crate::timer::{Deadlines, Owner};
use std::sync::Arc;

crate::reasons! {
    /// Why an exchange has a deadline.
    pub enum ExchangeDeadline {
        /// `RouteAction.timeout`: the response is not complete.
        Route,
        /// `per_try_timeout`: this try is not complete.
        PerTry,
        /// `per_try_idle_timeout`: nothing moved on this try.
        PerTryIdle,
        /// `stream_idle_timeout`: nothing moved on either side.
        Idle,
        /// `max_stream_duration`.
        Lifetime,
        /// `request_timeout`: the request is not complete.
        Request,
        /// The next try is due.
        Backoff,
    }
}

/// A connection manager's config and stats, as one engine holds them. The `Arc` around it belongs to that
/// engine alone, so that counting references disturbs no other worker.
#[derive(Debug)]
pub struct ManagerState {
    /// The snapshot it came with.
    pub snapshot: Arc<Config>,
    /// Its settings.
    pub config: Arc<HttpManager>,
    /// Its stats.
    pub stats: Arc<Block>,
    /// The listener's soft limit of buffered bytes.
    pub buffer_limit: usize,
}

/// How far the response is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub enum ResponsePhase {
    /// Nothing was sent to the client (interim responses aside).
    #[default]
    Waiting,
    /// The head was sent; the body follows in this coding.
    Body(BodyCoding),
    /// All was sent.
    Done,
}

/// The timeouts in force for an exchange; `None` is none.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From the end of the request to the end of the response.
    pub route: Option<Duration>,
    /// For each try.
    pub per_try: Option<Duration>,
    /// Without a byte from the upstream, for each try.
    pub per_try_idle: Option<Duration>,
    /// Without a byte in any direction.
    pub idle: Option<Duration>,
}

/// One exchange.
#[derive(Debug)]
pub struct Exchange {
    /// The client's connection.
    pub downstream: ConnId,
    /// Its stream on that, if it speaks HTTP/2.
    pub stream: Option<StreamKey>,
    /// Whose its deadlines are, for the queue.
    pub owner: Owner,
    /// The connection manager, with the config snapshot that this exchange keeps.
    pub manager: Arc<ManagerState>,
    /// The route.
    pub found: Option<Found>,
    /// Which of the route's weighted clusters was drawn.
    pub weighted: Option<usize>,
    /// Its HTTP filters, if there are any.
    pub filters: Option<Box<Filters>>,
    /// The request.
    pub request: RequestHead,
    /// The response.
    pub response: ResponseHead,
    /// Trailers of the request.
    pub trailers: Fields,
    /// Trailers of the response.
    pub response_trailers: Fields,
    /// The facts.
    pub record: Record,
    /// Deadlines.
    pub deadlines: Deadlines<7>,
    /// How the request's body ends.
    pub framing: Framing,
    /// The request has arrived whole.
    pub request_done: bool,
    /// Request body that was not sent, or is kept for another try.
    pub body: RequestBody,
    /// Where it is being sent.
    pub attempt: Attempt,
    /// Retries.
    pub retry: RetryState,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How far the response is.
    pub phase: ResponsePhase,
    /// The client's method was HEAD, whatever was sent upstream.
    pub to_head: bool,
    /// The client asked to switch to this protocol and may.
    pub upgrade: bool,
    /// Both sides only carry bytes from here on.
    pub tunnel: bool,
    /// The tunnel's client has sent its last byte.
    pub client_ended: bool,
    /// The tunnel's upstream has sent its last byte.
    pub upstream_ended: bool,
    /// The client is trusted (its address is internal): its `x-envoy-*` headers count.
    pub internal: bool,
}

impl Exchange {
    /// A fresh exchange; its memory is used again by [`Self::reset`].
    pub fn new(downstream: ConnId, manager: Arc<ManagerState>, record: Record) -> Exchange {
        Exchange {
            downstream,
            stream: None,
            owner: Owner::Exchange(downstream),
            manager,
            found: None,
            weighted: None,
            filters: None,
            request: RequestHead::default(),
            response: ResponseHead::default(),
            trailers: Fields::default(),
            response_trailers: Fields::default(),
            record,
            deadlines: Deadlines::default(),
            framing: Framing::Empty,
            request_done: false,
            body: RequestBody::default(),
            attempt: Attempt::default(),
            retry: RetryState::default(),
            timeouts: Timeouts::default(),
            phase: ResponsePhase::Waiting,
            to_head: false,
            upgrade: false,
            tunnel: false,
            client_ended: false,
            upstream_ended: false,
            internal: false,
        }
    }

    /// Becomes another exchange, in the same memory.
    pub fn reset(&mut self, downstream: ConnId, manager: Arc<ManagerState>, record: Record) {
        self.downstream = downstream;
        self.stream = None;
        self.owner = Owner::Exchange(downstream);
        self.manager = manager;
        self.found = None;
        self.weighted = None;
        self.filters = None;
        self.request.clear();
        self.response.clear();
        self.trailers.clear();
        self.response_trailers.clear();
        self.record = record;
        self.deadlines = Deadlines::default();
        self.framing = Framing::Empty;
        self.request_done = false;
        self.body.clear();
        self.attempt = Attempt::default();
        self.retry.clear();
        self.timeouts = Timeouts::default();
        self.phase = ResponsePhase::Waiting;
        self.to_head = false;
        self.upgrade = false;
        self.tunnel = false;
        self.client_ended = false;
        self.upstream_ended = false;
        self.internal = false;
    }

    /// Whether only the end of the connection tells the client that the body has ended.
    pub fn is_ended_by_close(&self) -> bool {
        self.phase == ResponsePhase::Body(BodyCoding::Plain)
            && self.stream.is_none()
            && !self.is_tunnel()
            && !self.response.fields.has(crate::http::Name::ContentLength)
    }

    /// Whether the response head says that both sides only carry bytes from here on.
    pub fn switches_protocol(&self) -> bool {
        let success = (200..300).contains(&self.response.status);
        match self.attempt.stream {
            _ if self.request.is_connect() => success,
            None => self.response.status == 101,
            Some(_) => self.upgrade && success,
        }
    }

    /// Whether the request has arrived whole and has passed all filters.
    pub fn request_passed(&self) -> bool {
        self.request_done && !self.filters.as_ref().is_some_and(|filters| filters.holds(Side::Request))
    }

    /// Whether what comes on this side has to pass filters, or waits behind what is held there.
    pub fn is_filtered(&self, side: Side) -> bool {
        self.filters.as_ref().is_some_and(|filters| filters.is_concerned(side))
    }

    /// Whether filters hold a head that would make it a tunnel.
    pub fn holds_switch(&self) -> bool {
        self.filters.as_ref().is_some_and(|filters| filters.holds_switch())
    }

    /// Whether so little of this side is held by filters that its source may go on.
    pub fn has_filter_room(&self, side: Side) -> bool {
        let limit = self.manager.buffer_limit;
        let has_room = |filters: &Filters| limit == 0 || below_low(filters.held_bytes(side), limit);
        self.filters.as_ref().is_none_or(|filters| has_room(filters) && (side == Side::Request || !filters.holds_switch()))
    }

    /// Whether it carries an upgraded protocol's bytes.
    pub fn is_tunnel(&self) -> bool {
        self.tunnel
    }

    /// The matched virtual host and route.
    pub fn route(&self) -> Option<(&VirtualHost, &Route)> {
        self.found.and_then(|found| found.get(&self.manager.config.routes))
    }

    /// The route's forward action, if it has one.
    pub fn forward(&self) -> Option<&Forward> {
        match self.route()?.1.action {
            crate::config::Action::Forward(ref forward) => Some(forward),
            _ => None,
        }
    }
}

/// Names for templates.
pub fn names(manager: &ManagerState, found: Option<Found>) -> Names<'_> {
    let route = found.and_then(|found| found.get(&manager.config.routes));
    Names {
        hostname: &manager.snapshot.hostname,
        route: route.map_or("", |(_, route)| &route.name),
        virtual_host: route.map_or("", |(host, _)| &host.name),
        upstream_host: "",
    }
}
