//! From a request head to a decision where it goes, and its body behind it.

use super::Engine;
use crate::cluster::{PoolKey, PoolKind};
use crate::config::tls::NameByRequest;
use crate::config::{Action as RouteAction, ClusterChoice, Forward, HostRewrite, Upgrade, UpstreamProtocol};
use crate::connection::{Connection, DownstreamDeadline, DownstreamPhase};
use crate::exchange::{Exchange, ExchangeDeadline, Item, ResponsePhase, inbound, outbound};
use crate::filter::Side;
use crate::http::validate::list;
use crate::http::{Name, NameSet, Version};
use crate::http1::body::Decoder;
use crate::http1::{Reject, framing, parse};
use crate::id::{ClusterId, ConnId, ExchangeId};
use crate::limit;
use crate::plant::{Plant, is_planted};
use crate::record::{Flags, Record};
use crate::router::{self, rewritten_host};
use crate::stats::HttpStat;
use crate::time::{Duration, Instant};
use bytes::Bytes;
use std::sync::Arc;

impl Engine {
    /// A fresh exchange on a connection, counted.
    pub(super) fn new_exchange(&mut self, conn_id: ConnId, now: Instant) -> Option<Box<Exchange>> {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(conn_id) else { return None };
        if let Some(listener) = self.listeners.get(conn.listener)
            && let Some(chain) = listener.chains.get(conn.chain)
            && !Arc::ptr_eq(&conn.manager, &chain.manager)
            && !is_planted(Plant::MixedSnapshot)
        {
            for gauge in conn.gauges() {
                conn.manager.stats.dec(gauge);
                chain.manager.stats.inc(gauge);
            }
            conn.manager = Arc::clone(&chain.manager);
        }
        conn.last |= self.listeners.get(conn.listener).is_some_and(|listener| listener.chains.is_gone(conn.chain));
        let manager = Arc::clone(&conn.manager);
        let mut record = Record::new(conn.number, conn.addresses, now, self.clock.wall.at(now));
        record.tls.clone_from(&conn.tls);
        let exchange = match self.spare.pop() {
            Some(mut spare) => {
                spare.reset(conn_id, manager, record);
                spare
            }
            None => Box::new(Exchange::new(conn_id, manager, record)),
        };
        for stat in [HttpStat::RqTotal, HttpStat::RqActive] {
            exchange.manager.stats.inc(stat);
        }
        conn.requests += 1;
        conn.deadlines.clear(DownstreamDeadline::Idle);
        if conn.version != Some(Version::Http2) {
            conn.deadlines.clear(DownstreamDeadline::Head);
        }
        let max = exchange.manager.config.max_requests_per_connection;
        if max.is_some_and(|max| conn.requests >= max) && !conn.last {
            exchange.manager.stats.inc(HttpStat::CxMaxRequests);
            conn.last = true;
        }
        Some(exchange)
    }

    /// A request head is complete, or will never be.
    pub(super) fn begin_exchange(&mut self, conn_id: ConnId, raw: Result<&[u8], Reject>, now: Instant) {
        let Some(mut exchange) = self.new_exchange(conn_id, now) else { return };
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(conn_id) else { return };
        let config = &exchange.manager.config;
        let parsed = raw.and_then(|raw| {
            exchange.record.request_head_bytes = raw.len() as u64;
            parse::request(raw, config.limits, &mut exchange.request)?;
            framing::request(&mut exchange.request, config.allow_chunked_length)
        });
        exchange.record.protocol = exchange.request.version;
        exchange.deadlines.inherit(std::mem::replace(&mut conn.exchange_alarm, Instant::NEVER));
        exchange.to_head = exchange.request.is_head();
        exchange.manager.stats.inc(HttpStat::RqHttp1Total);
        conn.speaks(Version::Http11);
        conn.body = Decoder::default();
        match parsed {
            Err(reject) => {
                let id = self.exchanges.insert(exchange);
                conn.phase = DownstreamPhase::Exchange(id);
                self.reject(id, reject, now);
            }
            Ok(framing) => {
                exchange.framing = framing;
                conn.body = Decoder::new(framing);
                exchange.request_done = conn.body.is_done();
                exchange.record.request_end = exchange.request_done.then_some(now);
                conn.client_closes = wants_close(&exchange);
                conn.last |= conn.client_closes;
                let id = self.exchanges.insert(exchange);
                conn.phase = DownstreamPhase::Exchange(id);
                self.serve(id, now);
            }
        }
    }

    pub(super) fn serve(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.timeouts.idle = exchange.manager.config.stream_idle_timeout;
        if let Err(refusal) = inbound::sanitize(exchange, &mut self.random.request_id) {
            return self.refuse(id, refusal, now);
        }
        let unfiltered = exchange.manager.config.filters.is_empty();
        self.explain_request(id, now);
        match unfiltered {
            true => self.route(id, now),
            false => self.begin_filtering(id, now),
        }
    }

    /// Finds the route and does what it says.
    pub(super) fn route(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let manager = Arc::clone(&exchange.manager);
        manager.stats.inc(HttpStat::RouterRqTotal);
        exchange.found = router::find(&manager.config.routes, &exchange.request, &mut self.random.route);
        self.explain_route(id, now);
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let Some((_, route)) = exchange.found.and_then(|found| found.get(&manager.config.routes)) else {
            manager.stats.inc(HttpStat::NoRoute);
            exchange.record.flags.insert(Flags::NO_ROUTE);
            return self.reply(id, 404, &Bytes::new(), "route_not_found", now);
        };
        match &route.action {
            RouteAction::Reply(reply) => {
                manager.stats.inc(HttpStat::RqDirectResponse);
                self.reply(id, reply.status, &reply.body, "direct_response", now);
            }
            RouteAction::Redirect(redirect) => {
                manager.stats.inc(HttpStat::RqRedirect);
                let location = router::redirect_location(&route.on, redirect, &exchange.request, &exchange.record);
                self.redirect(id, redirect.status, &location, "direct_response", now);
            }
            RouteAction::Forward(forward) => self.start_forwarding(id, forward, now),
        }
    }

    fn start_forwarding(&mut self, id: ExchangeId, forward: &Forward, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        if is_planted(Plant::MixedSnapshot)
            && let Some(Connection::Downstream(conn)) = self.connections.get(exchange.downstream)
            && let Some(chain) = self.listeners.get(conn.listener).and_then(|listener| listener.chains.get(conn.chain))
        {
            exchange.manager = Arc::clone(&chain.manager);
        }
        let connects = exchange.request.is_connect();
        if (exchange.upgrade || connects) && !may_upgrade(exchange, forward) {
            exchange.manager.stats.inc(HttpStat::RqWsOnNonWsRoute);
            if let (Some(Connection::Downstream(conn)), None) = (self.connections.get_mut(exchange.downstream), exchange.stream) {
                conn.last = true;
            }
            return self.reply(id, 403, &Bytes::new(), "upgrade_failed", now);
        }
        let cluster = choose_cluster(&forward.cluster, exchange, &mut self.random.weight, |name| self.cluster_names.get(name).copied());
        let Some(cluster) = cluster else {
            exchange.manager.stats.inc(HttpStat::NoCluster);
            exchange.record.flags.insert(Flags::NO_CLUSTER);
            return self.reply(id, forward.cluster_not_found, &Bytes::new(), "cluster_not_found", now);
        };
        self.prepare_forwarding(id, cluster, forward, now);
        if let Some(exchange) = self.exchanges.get_mut(id)
            && forward.terminates_connect
            && (connects || exchange.manager.config.tcp)
        {
            exchange.attempt.pool.kind = PoolKind::Raw;
        }
        self.explain_cluster(id, now);
        self.try_upstream(id, now);
    }

    /// Everything about a forwarded request that is decided once, before the first try.
    fn prepare_forwarding(&mut self, id: ExchangeId, cluster: ClusterId, forward: &Forward, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.attempt.cluster = Some(cluster);
        exchange.attempt.priority = usize::from(forward.high_priority);
        let version = exchange.record.protocol;
        let config = self.clusters.get(cluster).map(|cluster| &cluster.config);
        let kind = config.map_or(PoolKind::Http, |config| config.protocol.pool_for(version));
        let name = config.and_then(|config| config.tls.as_ref()).and_then(|tls| host_name(&tls.by_request, exchange, forward));
        exchange.attempt.pool = PoolKey { kind, name };
        // An HTTP/2 upstream can say that it has not looked at a request: then it may be sent again, whatever it is.
        let may_be_refused = self.clusters.get(cluster).is_some_and(|cluster| !matches!(cluster.config.protocol, UpstreamProtocol::Http1));
        exchange.record.cluster = self.clusters.get(cluster).map(|cluster| Arc::clone(&cluster.name));
        let timeouts = &mut exchange.timeouts;
        let timeout = header_ms(&exchange.request, Name::UpstreamTimeout).or(forward.timeout).filter(|timeout| !timeout.is_zero());
        timeouts.route = timeout;
        let policy = forward.retry.as_deref();
        let per_try = header_ms(&exchange.request, Name::PerTryTimeout).or(policy.and_then(|policy| policy.per_try_timeout));
        timeouts.per_try = per_try.filter(|per_try| timeout.is_none_or(|timeout| *per_try < timeout));
        timeouts.per_try_idle = policy.and_then(|policy| policy.per_try_idle_timeout);
        exchange.retry.begin(forward.retry.as_ref(), &mut exchange.request);
        exchange.request.fields.remove_all(NameSet::of(&[Name::UpstreamTimeout, Name::PerTryTimeout]));
        let buffer = exchange.manager.buffer_limit;
        if exchange.retry.is_on() {
            exchange.body.keep(forward.replay_limit.unwrap_or(buffer));
        } else if exchange.request.is_idempotent() || may_be_refused {
            exchange.body.keep(limit::REPLAY_BODY.min(buffer));
        }
        outbound::prepare_request(exchange, exchange.timeouts.per_try.or(timeout));
        // The earliest deadline comes first: the others then need no entry in the queue.
        if exchange.request_passed() {
            self.arm_route_timeout(id, now);
        }
        if let Some(exchange) = self.exchanges.get_mut(id) {
            arm(exchange, forward, &mut self.timers, now);
        }
    }

    /// A piece of the request body.
    pub(super) fn request_data(&mut self, id: ExchangeId, piece: Bytes, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.record.bytes_received += piece.len() as u64;
        touch(exchange, &mut self.timers, now);
        if exchange.phase == ResponsePhase::Done {
            return;
        }
        match exchange.is_filtered(Side::Request) {
            true => self.filter(id, Side::Request, Item::Piece(piece), now),
            false => drop(self.pass_request(id, piece)),
        }
    }

    /// A piece of the request body goes towards the upstream; answers whether the client has to wait.
    pub(super) fn pass_request(&mut self, id: ExchangeId, piece: Bytes) -> bool {
        let Some(exchange) = self.exchanges.get_mut(id) else { return false };
        if exchange.attempt.conn.is_some() {
            return self.send_request_piece(id, piece);
        }
        exchange.body.hold(piece);
        let full = exchange.body.is_full(exchange.manager.buffer_limit);
        if full {
            self.pause_request(id);
        }
        full
    }

    /// The request has arrived whole.
    pub(super) fn request_end(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.request_done = true;
        exchange.record.request_end = Some(now);
        exchange.deadlines.clear(ExchangeDeadline::Request);
        match exchange.is_filtered(Side::Request) {
            true => self.filter(id, Side::Request, Item::End, now),
            false => self.pass_request_end(id, now),
        }
    }

    /// The end of the request goes towards the upstream.
    pub(super) fn pass_request_end(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        if exchange.attempt.cluster.is_some() {
            self.arm_route_timeout(id, now);
        }
        self.send_request_end(id, now);
    }

    /// `RouteAction.timeout` runs from the end of the request.
    fn arm_route_timeout(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        // An upgraded connection has no end that a timeout could wait for.
        if let (Some(timeout), false) = (exchange.timeouts.route, exchange.upgrade || exchange.request.is_connect()) {
            let timeout = if is_planted(Plant::TimerOffItsTick) { timeout + Duration::from_millis(1) } else { timeout };
            exchange.deadlines.set(ExchangeDeadline::Route, now + timeout, exchange.owner, &mut self.timers);
        }
    }
}

/// Something moved: the idle clock starts again.
pub(super) fn touch(exchange: &mut Exchange, timers: &mut crate::timer::TimerQueue, now: Instant) {
    if let Some(idle) = exchange.timeouts.idle {
        exchange.deadlines.set(ExchangeDeadline::Idle, now + idle, exchange.owner, timers);
    }
}

/// Deadlines of an exchange that is forwarded. What is answered here has no time to be late.
fn arm(exchange: &mut Exchange, forward: &Forward, timers: &mut crate::timer::TimerQueue, now: Instant) {
    let manager = Arc::clone(&exchange.manager);
    let owner = exchange.owner;
    if let (Some(timeout), false) = (manager.config.request_timeout, exchange.request_done) {
        exchange.deadlines.set(ExchangeDeadline::Request, exchange.record.start + timeout, owner, timers);
    }
    // A filter may have waited under the connection manager's: the route's takes its place.
    exchange.deadlines.clear(ExchangeDeadline::Lifetime);
    let lifetime = grpc_timeout(exchange, forward).or(forward.max_stream_duration.unwrap_or(manager.config.max_stream_duration));
    if let Some(lifetime) = lifetime {
        exchange.deadlines.set(ExchangeDeadline::Lifetime, exchange.record.start + lifetime, owner, timers);
    }
    exchange.timeouts.idle = forward.idle_timeout.unwrap_or(exchange.timeouts.idle);
    touch(exchange, timers, now);
}

/// How long a gRPC client wants to wait (`grpc-timeout`), as far as the route lets it say.
fn grpc_timeout(exchange: &Exchange, forward: &Forward) -> Option<Duration> {
    let (most, offset) = forward.grpc_timeout?;
    let asked = crate::http::grpc::timeout(exchange.request.fields.get_named(b"grpc-timeout")?)?;
    let asked = if most.is_zero() { asked } else { asked.min(most) };
    Some(asked.checked_sub(offset).filter(|left| !left.is_zero()).unwrap_or(asked))
}

fn header_ms(head: &crate::http::RequestHead, name: Name) -> Option<Duration> {
    let text = std::str::from_utf8(head.fields.get(name)?).ok()?;
    text.parse().ok().map(Duration::from_millis)
}

/// Whether the client wants the connection closed (RFC 9112 section 9.3).
fn wants_close(exchange: &Exchange) -> bool {
    let head = &exchange.request;
    let has = |option: &[u8]| {
        let options = head.fields.all(Name::Connection).chain(head.fields.all(Name::ProxyConnection));
        options.flat_map(list).any(|o| o.eq_ignore_ascii_case(option))
    };
    match head.version {
        Version::Http11 => has(b"close"),
        Version::Http10 => !has(b"keep-alive"),
        Version::Http2 => false,
    }
}

fn may_upgrade(exchange: &Exchange, forward: &Forward) -> bool {
    let connect: Option<&[u8]> = exchange.request.is_connect().then_some(b"CONNECT");
    let Some(wanted) = connect.or_else(|| exchange.request.fields.get(Name::Upgrade)) else { return false };
    let find = |list: &[Upgrade]| list.iter().find(|u| wanted.eq_ignore_ascii_case(u.protocol.as_bytes())).map(|u| u.enabled);
    find(&forward.upgrades).or_else(|| find(&exchange.manager.config.upgrades)).unwrap_or(false)
}

fn choose_cluster(
    choice: &ClusterChoice,
    exchange: &mut Exchange,
    rng: &mut crate::rng::Rng,
    find: impl Fn(&str) -> Option<ClusterId>,
) -> Option<ClusterId> {
    match choice {
        ClusterChoice::Named(name) => find(name),
        ClusterChoice::Header(name) => {
            let value = exchange.request.fields.get_named(name.as_bytes())?;
            std::str::from_utf8(value).ok().and_then(find)
        }
        ClusterChoice::Weighted { clusters, total } => {
            let mut point = rng.below(u64::from(*total));
            for (index, (name, weight, _)) in clusters.iter().enumerate() {
                match point.checked_sub(u64::from(*weight)) {
                    Some(rest) => point = rest,
                    None => {
                        exchange.weighted = Some(index);
                        return find(name);
                    }
                }
            }
            None
        }
    }
}

/// The host name that TLS to the upstream is told, if the request is to say. It is that of the request as it will be
/// sent, except for a name that only the host that is chosen gives, as in Envoy.
fn host_name(names: &NameByRequest, exchange: &Exchange, forward: &Forward) -> Option<Arc<str>> {
    if exchange.manager.config.tcp {
        return None;
    }
    let rewrite = forward.host.as_ref().filter(|rewrite| !matches!(rewrite, HostRewrite::Endpoint));
    let rewritten = rewrite.and_then(|rewrite| rewritten_host(rewrite, &exchange.request, ""));
    names.host(&exchange.request.fields, rewritten.as_deref().unwrap_or(exchange.request.authority()))
}
