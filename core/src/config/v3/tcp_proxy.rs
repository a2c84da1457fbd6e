//! `TcpProxy`: bytes to a cluster, whatever they are.

use super::access_log;
use super::bootstrap::Draft;
use super::reader::Reader;
use super::route::read_tcp_choice;
use crate::config::{
    Action, Domains, Forward, HeaderEdits, HttpManager, PathIndex, PathMatch, RetryOn, RetryPolicy, Route, RouteMatch, RouteTable,
    VirtualHost,
};
use crate::limit;
use std::sync::Arc;

pub(super) fn read(proxy: &Reader<'_>, draft: &mut Draft) -> Option<HttpManager> {
    let cluster = read_tcp_choice(proxy, &draft.cluster_names);
    if !proxy.has("cluster") && !proxy.has("weighted_clusters") {
        proxy.error_here("a TCP proxy needs a `cluster` or `weighted_clusters`");
    }
    proxy.ignore(&["access_log_options"]);
    let mut access_logs = Vec::new();
    proxy.each("access_log", |log| access_logs.extend(access_log::read(&log, draft)));
    let attempts = proxy.u32("max_connect_attempts").unwrap_or(1).max(1);
    let retry = RetryPolicy { on: RetryOn::CONNECT_FAILURE, retries: attempts - 1, ..RetryPolicy::default() };
    let positive = |name: &str| proxy.duration(name).map(|time| Some(time).filter(|time| !time.is_zero()));
    let (idle, life) = (positive("idle_timeout"), positive("max_downstream_connection_duration").flatten());
    let forward = Forward {
        cluster: cluster?,
        cluster_not_found: 503,
        timeout: None,
        idle_timeout: None,
        max_stream_duration: None,
        retry: (attempts > 1).then(|| Arc::new(retry)),
        path: None,
        host: None,
        append_forwarded_host: false,
        high_priority: false,
        upgrades: Vec::new(),
        terminates_connect: true,
        grpc_timeout: None,
        replay_limit: None,
    };
    let on = RouteMatch {
        path: PathMatch::Prefix("/".into()),
        case_sensitive: true,
        headers: Vec::new(),
        query: Vec::new(),
        fraction: None,
        grpc: false,
    };
    let routes = vec![Route { name: "".into(), on, action: Action::Forward(Box::new(forward)), edits: HeaderEdits::default() }];
    let host = VirtualHost {
        name: "".into(),
        index: PathIndex::new(&routes),
        routes,
        edits: HeaderEdits::default(),
        attempt_count_in_request: false,
        attempt_count_in_response: false,
    };
    let mut domains = Domains::default();
    domains.insert("*", 0);
    let table = RouteTable {
        name: "".into(),
        hosts: vec![host],
        edits: HeaderEdits::default(),
        most_specific_wins: false,
        ignore_port: false,
        domains,
    };
    Some(HttpManager {
        access_logs,
        stream_idle_timeout: idle.unwrap_or(Some(limit::IDLE_TIMEOUT)),
        max_stream_duration: life,
        ..HttpManager::for_tcp(proxy.str("stat_prefix")?.into(), table)
    })
}
