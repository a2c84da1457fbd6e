//! Access-log lines, made when an exchange ends and only if somebody logs it.

use super::{Engine, Event};
use crate::config::{LogFilter, LogFormat};
use crate::exchange::{Exchange, names};
use crate::format::{Facts, Names};
use crate::router::header_matches;

impl Engine {
    pub(super) fn log(&mut self, exchange: &Exchange) {
        for log in &exchange.manager.config.access_logs {
            if log.filter.as_ref().is_some_and(|filter| !passes(filter, exchange)) {
                continue;
            }
            let host = exchange.attempt.cluster.zip(exchange.attempt.host);
            let host = host.and_then(|(cluster, host)| self.clusters.get(cluster)?.hosts.get(host));
            let facts = Facts {
                request: &exchange.request,
                response: Some(&exchange.response),
                trailers: Some(&exchange.response_trailers),
                record: &exchange.record,
                names: Names { upstream_host: host.map_or("", |host| &host.hostname), ..names(&exchange.manager, exchange.found) },
            };
            let mut line = Vec::with_capacity(256);
            match &log.format {
                LogFormat::Text(template, missing) => template.write(&facts, missing, &mut line),
                LogFormat::Json(template) => template.write_line(&facts, &mut line),
            }
            self.out.events.push_back(Event::AccessLog { sink: log.sink, line });
        }
    }
}

fn passes(filter: &LogFilter, exchange: &Exchange) -> bool {
    let record = &exchange.record;
    match filter {
        LogFilter::Status(comparison) => comparison.holds(u64::from(record.status)),
        LogFilter::Duration(comparison) => comparison.holds(record.end.map_or(0, |end| end.since(record.start).as_millis() as u64)),
        LogFilter::Flags(flags) if flags.is_empty() => !record.flags.is_empty(),
        LogFilter::Flags(flags) => flags.iter().any(|flag| record.flags.contains(*flag)),
        LogFilter::Header(matcher) => header_matches(matcher, &exchange.request),
        LogFilter::NotHealthCheck => true,
        LogFilter::And(filters) => filters.iter().all(|filter| passes(filter, exchange)),
        LogFilter::Or(filters) => filters.iter().any(|filter| passes(filter, exchange)),
    }
}
