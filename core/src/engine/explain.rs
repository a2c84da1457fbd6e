//! Saying what was decided for an exchange, step by step, to observers that asked for it. Nothing is formatted, or
//! kept, for anybody else.

use super::{Engine, Event};
use crate::config::{Action, ClusterChoice};
use crate::exchange::{Exchange, Failure, Plan};
use crate::id::{ConnId, ExchangeId};
use crate::record::{Flags, Record};
use crate::time::Instant;
use std::fmt::Write;

/// A decision about an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The exchange.
    pub exchange: ExchangeId,
    /// When.
    pub at: Instant,
    /// What was decided, and why: a line for people.
    pub what: String,
    /// All that is known about the exchange, if it ends with this.
    pub end: Option<Box<Ended>>,
}

/// An exchange that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its method and target, as the client wrote them; empty if no head could be read.
    pub request: String,
    /// The facts.
    pub record: Record,
}

/// For tests: of the facts, how it ended.
impl PartialEq for Ended {
    fn eq(&self, other: &Self) -> bool {
        (&self.request, self.record.status, self.record.flags) == (&other.request, other.record.status, other.record.flags)
    }
}

impl Eq for Ended {}

impl Engine {
    /// From here on every decision about an exchange is told as an [`Event::Step`]. It changes none of them.
    pub fn explain(&mut self) {
        self.explaining = true;
    }

    #[inline]
    pub(super) fn step(&mut self, id: ExchangeId, now: Instant, what: impl FnOnce(&Engine, &Exchange) -> String) {
        if self.explaining
            && let Some(exchange) = self.exchanges.get(id)
        {
            let what = what(self, exchange);
            self.out.events.push_back(Event::Step(Step { exchange: id, at: now, what, end: None }));
        }
    }

    pub(super) fn explain_request(&mut self, id: ExchangeId, now: Instant) {
        self.step(id, now, |_, exchange| {
            let request = &exchange.request;
            let text = String::from_utf8_lossy;
            let mut line = format!(
                "{} {}{} from {}",
                text(request.method()),
                text(request.authority()),
                text(request.path_and_query()),
                exchange.record.client
            );
            let _ = write!(line, " on connection {}", exchange.record.connection);
            if let Some(request_id) = request.fields.get(crate::http::Name::XRequestId) {
                let _ = write!(line, ", x-request-id {}", text(request_id));
            }
            line
        });
    }

    pub(super) fn explain_route(&mut self, id: ExchangeId, now: Instant) {
        self.step(id, now, |_, exchange| {
            let (Some(found), Some((host, route))) = (exchange.found, exchange.route()) else { return "no route matches".to_owned() };
            let mut line = format!("virtual host `{}`, route {}", host.name, found.route);
            if !route.name.is_empty() {
                let _ = write!(line, " `{}`", route.name);
            }
            let _ = match &route.action {
                Action::Reply(reply) => write!(line, ": answers {} directly", reply.status),
                Action::Redirect(redirect) => write!(line, ": redirects with {}", redirect.status),
                Action::Forward(forward) => match &forward.cluster {
                    ClusterChoice::Named(name) => write!(line, ": forwards to cluster {name}"),
                    ClusterChoice::Header(name) => write!(line, ": forwards to the cluster that the header {name} names"),
                    ClusterChoice::Weighted { .. } => write!(line, ": forwards to one of its weighted clusters"),
                },
            };
            line
        });
    }

    pub(super) fn explain_cluster(&mut self, id: ExchangeId, now: Instant) {
        self.step(id, now, |_, exchange| {
            let mut line = format!("cluster {}", exchange.record.cluster.as_deref().unwrap_or("?"));
            match exchange.timeouts.route {
                Some(timeout) => drop(write!(line, ", timeout {timeout:?}")),
                None => line.push_str(", no timeout"),
            }
            if let Some(per_try) = exchange.timeouts.per_try {
                let _ = write!(line, ", {per_try:?} for each try");
            }
            line.push_str(if exchange.retry.is_on() { ", may be retried" } else { ", no retries" });
            line
        });
    }

    pub(super) fn explain_attempt(&mut self, id: ExchangeId, idle: Option<ConnId>, now: Instant) {
        self.step(id, now, |engine, exchange| {
            let mut line = format!("try {}", exchange.record.attempts);
            let cluster = exchange.attempt.cluster.and_then(|cluster| engine.clusters.get(cluster));
            if let (Some(cluster), Some(endpoint)) = (cluster, exchange.record.endpoint) {
                let _ = write!(line, ": host {endpoint}, of {} ({} healthy)", cluster.hosts.len(), cluster.hosts.healthy());
            }
            line.push_str(if idle.is_some() { ", on a connection of its pool" } else { ", waits for a connection" });
            line
        });
    }

    pub(super) fn explain_sent(&mut self, id: ExchangeId, now: Instant) {
        self.step(id, now, |_, exchange| {
            let connection = exchange.record.upstream_connection.unwrap_or_default();
            let kind = if exchange.attempt.reused { "used before" } else { "new" };
            format!("sent on connection {connection}, {kind}")
        });
    }

    pub(super) fn explain_failure(&mut self, id: ExchangeId, failure: Failure, now: Instant) {
        self.step(id, now, |_, exchange| {
            let why = exchange.record.transport_failure.as_deref().map(|why| format!(": {why}"));
            format!("the try failed: {failure:?}{}", why.unwrap_or_default())
        });
    }

    pub(super) fn explain_plan(&mut self, id: ExchangeId, plan: Plan, followed: bool, now: Instant) {
        self.step(id, now, |_, _| match plan {
            Plan::Retry(pause) if followed => format!("tries again in {pause:?}"),
            Plan::Retry(_) => "would try again, but the cluster's retries are at their bound".to_owned(),
            Plan::Exhausted => "would try again, but its retries are used up".to_owned(),
            Plan::GiveUp => "does not try again".to_owned(),
        });
    }

    pub(super) fn explain_answer(&mut self, id: ExchangeId, now: Instant) {
        self.step(id, now, |_, exchange| {
            let after = now.since(exchange.record.start);
            format!("answers {} ({}) after {after:?}", exchange.response.status, exchange.record.details)
        });
    }

    pub(super) fn explain_end(&mut self, id: ExchangeId, exchange: &Exchange, now: Instant) {
        if !self.explaining {
            return;
        }
        let record = &exchange.record;
        let mut what = format!("ends: status {}, {} bytes in, {} out", record.status, record.bytes_received, record.bytes_sent);
        if record.flags != Flags::default() {
            let names: Vec<_> = record.flags.names().map(|(short, _)| short).collect();
            let _ = write!(what, ", flags {}", names.join(","));
        }
        if !record.details.is_empty() {
            let _ = write!(what, " ({})", record.details);
        }
        let text = String::from_utf8_lossy;
        let request = format!("{} {}", text(exchange.request.method()), text(exchange.request.target()));
        let end = Ended { request, record: exchange.record.clone() };
        self.out.events.push_back(Event::Step(Step { exchange: id, at: now, what, end: Some(Box::new(end)) }));
    }
}
