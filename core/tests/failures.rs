//! What goes wrong upstream, and what the client sees of it: statuses, texts, flags, and exact ticks.

mod pair;

use pair::{Cut, OnConnect, Pair, bootstrap, cluster, config, plain, with};
use std::sync::Arc;
use std::time::Duration;
use weir_core::connection::{DownstreamDeadline, UpstreamDeadline};
use weir_core::engine::{EngineDeadline, Why};
use weir_core::exchange::ExchangeDeadline;
use weir_core::shared::Shared;
use weir_core::stats::Scope;

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn body(answer: &str) -> &str {
    answer.rsplit_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[test]
fn a_refused_connection() {
    let mut pair = Pair::new(&plain());
    pair.on_connect = OnConnect::Refuse;
    let client = pair.connect();
    pair.send(client, GET);
    let answer = pair.received(client);
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 98\r\ncontent-type: text/plain\r\n"), "{answer}");
    assert_eq!(body(&answer), "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure");
    let details = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
    assert_eq!(pair.log, [format!("GET / 503 UF 0 98 0 {details} 1")]);
    pair.assert_quiet();
}

#[test]
fn timeouts_fire_at_their_tick() {
    let hang = |yaml: &str, tick: u64| {
        let mut pair = Pair::new(yaml);
        let client = pair.connect();
        pair.send(client, GET);
        pair.advance(Duration::from_millis(tick) - Duration::from_nanos(1));
        assert_eq!(pair.received(client), "", "too early");
        pair.advance(Duration::from_nanos(1));
        let answer = pair.received(client);
        pair.assert_quiet();
        (answer.split(' ').nth(1).unwrap_or_default().to_owned(), body(&answer).to_owned(), pair.log.join(";"))
    };
    let (status, text, log) = hang(&with("", ", timeout: 0.3s", ""), 300);
    assert_eq!((&*status, &*text, &*log), ("504", "upstream request timeout", "GET / 504 UT 0 24 300 response_timeout 1"));
    let (status, text, log) = hang(&plain(), 15_000);
    assert_eq!((&*status, &*text, &*log), ("504", "upstream request timeout", "GET / 504 UT 0 24 15000 response_timeout 1"));
    let (status, text, log) = hang(&with("stream_idle_timeout: 0.2s", "", ""), 200);
    assert_eq!((&*status, &*text, &*log), ("504", "stream timeout", "GET / 504 SI 0 14 200 stream_idle_timeout 1"));
    let (status, text, log) = hang(&with("common_http_protocol_options: { max_stream_duration: 0.1s }", "", ""), 100);
    assert_eq!((&*status, &*text, &*log), ("504", "downstream duration timeout", "GET / 504 - 0 27 100 max_duration_timeout 1"));
}

#[test]
fn the_next_deadline_says_why() {
    let mut pair = Pair::new(&plain());
    pair.on_connect = OnConnect::Hang;
    let why = |pair: &Pair| pair.engine.poll_timeout().map(|deadline| deadline.why);
    let client = pair.connect();
    assert_eq!(why(&pair), Some(Why::Downstream(client, DownstreamDeadline::Idle)));
    pair.send(client, "GET ");
    assert_eq!(why(&pair), Some(Why::Downstream(client, DownstreamDeadline::Head)));
    pair.send(client, &GET[4..]);
    let upstream = pair.upstream();
    assert_eq!(why(&pair), Some(Why::Upstream(upstream, UpstreamDeadline::Connect)));
    pair.connected(upstream);
    pair.advance(Duration::from_secs(1));
    assert_eq!(why(&pair), Some(Why::Exchange(client, ExchangeDeadline::Route)));
    pair.drain(Duration::from_secs(2));
    assert_eq!(why(&pair), Some(Why::Engine(EngineDeadline::Drain)));
}

#[test]
fn a_connection_that_is_not_made_in_time() {
    let mut pair = Pair::new(&plain());
    pair.on_connect = OnConnect::Hang;
    let client = pair.connect();
    pair.send(client, GET);
    pair.advance(Duration::from_secs(1));
    assert!(pair.received(client).ends_with("reset reason: connection timeout"));
    assert!(pair.is_closed(pair.upstream()));
    pair.assert_quiet();
}

#[test]
fn slow_heads_and_bodies_are_timed_out() {
    let mut pair = Pair::new(&with("request_headers_timeout: 0.3s", "", ""));
    let client = pair.connect();
    pair.send(client, "GET / HTTP/1.1\r\nHo");
    pair.advance(Duration::from_millis(200));
    pair.send(client, "st");
    pair.advance(Duration::from_millis(100));
    assert!(
        pair.received(client).starts_with("HTTP/1.1 408 Request Timeout\r\n") && pair.received(client).ends_with("request header timeout")
    );
    assert!(pair.log[0].starts_with("- - 408 - "), "{:?}", pair.log);

    let mut pair = Pair::new(&with("request_timeout: 0.3s", "", ""));
    let client = pair.connect();
    pair.send(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc");
    pair.advance(Duration::from_millis(300));
    assert!(pair.received(client).starts_with("HTTP/1.1 408") && pair.received(client).ends_with("request timeout"));
    assert!(pair.is_closed(pair.upstream()));
    pair.assert_quiet();
}

#[test]
fn idle_connections_are_closed_on_both_sides() {
    let more = ", typed_extension_protocol_options: { x: { \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, common_http_protocol_options: { idle_timeout: 2s }, explicit_http_config: { http_protocol_options: {} } } }";
    let mut pair = Pair::new(&with("common_http_protocol_options: { idle_timeout: 5s }", "", more));
    let client = pair.connect();
    pair.send(client, GET);
    pair.answer(OK);
    pair.advance(Duration::from_millis(1999));
    assert!(!pair.is_closed(pair.upstream()));
    pair.advance(Duration::from_millis(1));
    assert!(pair.is_closed(pair.upstream()) && !pair.is_closed(client));
    pair.advance(Duration::from_secs(3));
    assert!(pair.is_closed(client));
}

#[test]
fn an_upstream_that_closes_before_it_answers() {
    let mut pair = Pair::new(&plain());
    let client = pair.connect();
    pair.send(client, GET);
    let upstream = pair.upstream();
    pair.eof(upstream);
    assert!(pair.received(client).ends_with("reset reason: connection termination"));
    assert!(pair.log[0].contains(" 503 UC "));
    pair.assert_quiet();
}

#[test]
fn a_response_that_breaks_off_is_not_passed_on_as_whole() {
    for (answer, reset) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", false),
    ] {
        let mut pair = Pair::new(&plain());
        let client = pair.connect();
        pair.send(client, GET);
        let upstream = pair.upstream();
        pair.answer(answer);
        pair.eof(upstream);
        assert!(pair.peer(client).fin);
        pair.client_closes(client);
        assert!(!pair.received(client).ends_with("0\r\n\r\n"));
        assert_eq!(pair.peer(client).reset, reset);
        assert!(pair.log[0].contains(" 200 UPE "), "{:?}", pair.log);
        pair.assert_quiet();
    }
    // To an HTTP/1.0 client only the end of the connection ends a body: it must see an error instead.
    let mut pair = Pair::new(&with("http_protocol_options: { accept_http_10: true }", "", ""));
    let client = pair.connect();
    pair.send(client, "GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    let upstream = pair.upstream();
    pair.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    pair.eof(upstream);
    assert!(pair.peer(client).reset);
}

/// A pooled connection is closed by the upstream at the very moment when a request is sent on it.
#[test]
fn the_idle_close_race_loses_no_idempotent_request() {
    for (request, replayed) in [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", true),
        ("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", true),
        ("DELETE / HTTP/1.1\r\nHost: h\r\n\r\n", true),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", false),
    ] {
        let mut pair = Pair::new(&plain());
        let client = pair.connect();
        pair.send(client, GET);
        pair.answer(OK);
        pair.take_received(client);
        let first = pair.upstream();
        pair.take_received(first);
        pair.send(client, request);
        let sent = pair.received(first);
        pair.eof(first);
        if replayed {
            assert_eq!(pair.upstreams.len(), 2);
            assert_eq!(pair.received(pair.upstream()), sent, "the very same bytes");
            pair.answer(OK);
            assert!(pair.received(client).starts_with("HTTP/1.1 200 OK"));
            // A second time it is a failure like any other.
        } else {
            assert!(pair.received(client).starts_with("HTTP/1.1 503"), "{request}");
            assert_eq!(pair.upstreams.len(), 1, "a POST is not sent twice");
        }
        pair.assert_quiet();
    }
}

#[test]
fn a_replay_happens_once() {
    let mut pair = Pair::new(&plain());
    let client = pair.connect();
    pair.send(client, GET);
    pair.answer(OK);
    pair.send(client, GET);
    for _ in 0..2 {
        let upstream = pair.upstream();
        pair.eof(upstream);
    }
    assert_eq!(pair.upstreams.len(), 2);
    assert!(pair.received(client).ends_with("connection termination"));
}

#[test]
fn retries_follow_the_policy_with_backoff() {
    let yaml = with("", ", retry_policy: { retry_on: 5xx, num_retries: 2 }", "");
    let mut pair = Pair::new(&yaml);
    let client = pair.connect();
    pair.send(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    for _ in 0..2 {
        pair.answer("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
        assert_eq!(pair.received(client), "");
        pair.advance(Duration::from_millis(250));
    }
    assert_eq!(pair.requests().iter().filter(|sent| sent.ends_with("\r\n\r\nabc")).count(), 3, "the body goes along");
    pair.answer(OK);
    assert!(pair.received(client).ends_with("ok"));
    assert!(pair.log[0].contains(" 200 - ") && pair.log[0].ends_with(" 3"), "{:?}", pair.log);
    assert_eq!(pair.stat(Scope::Cluster, "upstream_rq_retry"), 2);
    pair.assert_quiet();
}

#[test]
fn used_up_retries_pass_the_last_answer_on() {
    let mut pair = Pair::new(&with("", ", retry_policy: { retry_on: 5xx, num_retries: 1 }", ""));
    let client = pair.connect();
    pair.send(client, GET);
    pair.answer("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    pair.advance(Duration::from_millis(30));
    pair.answer("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nlast");
    assert!(pair.received(client).ends_with("last") && pair.log[0].contains(" 503 URX "), "{:?}", pair.log);
    pair.assert_quiet();
}

#[test]
fn per_try_timeouts_are_retried_and_reported() {
    let mut pair = Pair::new(&with("", ", retry_policy: { retry_on: 5xx, num_retries: 1, per_try_timeout: 0.2s }", ""));
    let client = pair.connect();
    pair.send(client, GET);
    pair.advance(Duration::from_millis(500));
    assert!(pair.received(client).starts_with("HTTP/1.1 504") && pair.log[0].contains(" 504 URX,UT "), "{:?}", pair.log);
    assert_eq!(pair.upstreams.len(), 2);
    pair.assert_quiet();
}

#[test]
fn a_retry_can_avoid_the_host_that_failed() {
    let predicate = "retry_host_predicate: [{ name: p, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate } }], host_selection_retry_max_attempts: 5";
    let routes = format!("[{{ match: {{ prefix: / }}, route: {{ cluster: u, retry_policy: {{ retry_on: reset, {predicate} }} }} }}]");
    let mut pair = Pair::new(&bootstrap("", &routes, &format!("[{}]", cluster("u", 3, ""))));
    let client = pair.connect();
    pair.send(client, GET);
    let first = pair.upstream();
    pair.reset(first);
    pair.advance(Duration::from_millis(30));
    let second = pair.upstream();
    let (first, second) = (pair.peer(first).address, pair.peer(second).address);
    assert_ne!(first, second);
}

#[test]
fn a_big_body_is_sent_once() {
    let mut pair = Pair::new(&with("", ", retry_policy: { retry_on: 5xx, num_retries: 3 }", ""));
    let client = pair.connect();
    let big = "x".repeat(2_000_000);
    pair.send(client, format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n{big}"));
    pair.answer("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
    assert!(pair.received(client).ends_with("busy"), "what was not kept cannot be sent again");
    assert_eq!(pair.upstreams.len(), 1);
}

#[test]
fn circuit_breakers_are_exact_over_engines() {
    let yaml = with("", "", ", circuit_breakers: { thresholds: [{ max_requests: 3 }] }");
    let (config, shared) = (config(&yaml), Arc::<Shared>::default());
    let mut engines: Vec<Pair> = (0..4).map(|_| Pair::with(Arc::clone(&config), Arc::clone(&shared), Cut::Whole)).collect();
    let clients: Vec<_> = engines
        .iter_mut()
        .map(|pair| {
            let client = pair.connect();
            pair.send(client, GET);
            client
        })
        .collect();
    let refused: Vec<bool> =
        engines.iter().zip(&clients).map(|(pair, client)| pair.received(*client).starts_with("HTTP/1.1 503")).collect();
    assert_eq!(refused, [false, false, false, true]);
    assert!(engines[3].received(clients[3]).contains("x-envoy-overloaded: true\r\n"));
    assert!(engines[3].log[0].contains(" 503 UO "));
    engines[0].answer(OK);
    engines[3].send(clients[3], GET);
    engines[3].answer(OK);
    assert!(engines[3].received(clients[3]).ends_with("ok"));
}

#[test]
fn a_connection_limit_is_never_passed_and_idle_connections_yield() {
    let yaml = with("", "", ", circuit_breakers: { thresholds: [{ max_connections: 1 }] }");
    let (config, shared) = (config(&yaml), Arc::<Shared>::default());
    let mut a = Pair::with(Arc::clone(&config), Arc::clone(&shared), Cut::Whole);
    let mut b = Pair::with(config, shared, Cut::Whole);
    let (ca, cb) = (a.connect(), b.connect());
    a.send(ca, GET);
    b.send(cb, GET);
    assert!(b.upstreams.is_empty() && b.nudges > 0, "the one connection is in use elsewhere");
    a.answer(OK);
    assert!(a.is_closed(a.upstream()), "it is not kept idle while somebody starves");
    b.engine.handle_nudge(b.now);
    b.pump();
    b.answer(OK);
    assert!(b.received(cb).ends_with("ok"));
    // An idle connection that was there before yields when it is asked to.
    a.send(ca, GET);
    assert!(a.upstreams.len() == 1, "b holds the one connection idle");
    b.engine.handle_nudge(b.now);
    b.pump();
    a.engine.handle_nudge(a.now);
    a.pump();
    assert_eq!(a.upstreams.len(), 2);
    a.answer(OK);
    a.assert_quiet();
    b.assert_quiet();
}

#[test]
fn who_waits_behind_one_that_starved_is_not_forgotten() {
    let yaml = with("", ", timeout: 5s", ", circuit_breakers: { thresholds: [{ max_connections: 1 }] }");
    let shared: Arc<Shared> = Arc::default();
    let mut busy = Pair::with(config(&yaml), Arc::clone(&shared), Cut::Whole);
    let mut starving = Pair::with(config(&yaml), shared, Cut::Whole);
    let client = busy.connect();
    busy.send(client, GET);
    let (first, second) = (starving.connect(), starving.connect());
    starving.send(first, GET);
    starving.send(second, GET);
    starving.reset(first);
    assert!(starving.upstreams.is_empty(), "there is no room yet");
    busy.answer("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    starving.engine.handle_nudge(starving.now);
    starving.pump();
    starving.answer(OK);
    assert!(starving.received(second).ends_with("ok"));
    assert!(busy.nudges > 0, "the one that made room said so");
}

#[test]
fn pending_requests_are_bounded() {
    let yaml = with("", "", ", circuit_breakers: { thresholds: [{ max_connections: 1, max_pending_requests: 1 }] }");
    let mut pair = Pair::new(&yaml);
    let clients: Vec<_> = (0..3).map(|_| pair.connect()).collect();
    for client in &clients {
        pair.send(*client, GET);
    }
    assert!(pair.received(clients[2]).ends_with("reset reason: overflow"));
    for _ in 0..2 {
        pair.answer(OK);
    }
    assert!(pair.received(clients[0]).ends_with("ok") && pair.received(clients[1]).ends_with("ok"));
    pair.assert_quiet();
}

#[test]
fn no_hosts_no_route_no_cluster() {
    let routes = "[{ match: { prefix: /empty }, route: { cluster: empty } }, { match: { prefix: /by-header }, route: { cluster_header: x-cluster } }]";
    let mut pair = Pair::new(&bootstrap("", routes, &format!("[{}]", cluster("empty", 0, ""))));
    let client = pair.connect();
    for (request, status, flag, text) in [
        ("GET /empty HTTP/1.1\r\nHost: h\r\n\r\n", "503", " UH ", "no healthy upstream"),
        ("GET /none HTTP/1.1\r\nHost: h\r\n\r\n", "404", " NR ", ""),
        ("GET /by-header HTTP/1.1\r\nHost: h\r\nX-Cluster: nosuch\r\n\r\n", "503", " NC ", ""),
    ] {
        pair.send(client, request);
        let answer = pair.take_received(client);
        assert_eq!((answer.split(' ').nth(1), body(&answer)), (Some(status), text));
        assert!(pair.log.pop().is_some_and(|line| line.contains(flag)));
    }
}

#[test]
fn an_early_answer_ends_an_unfinished_request() {
    let mut pair = Pair::new(&plain());
    let client = pair.connect();
    pair.send(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc");
    let upstream = pair.upstream();
    pair.answer("HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno");
    assert!(pair.received(client).contains("connection: close\r\n") && pair.received(client).ends_with("no"));
    assert!(pair.is_closed(upstream), "the rest of the request must not become the next one");
    pair.send(client, "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(pair.upstreams.len(), 1);
    pair.assert_quiet();
}

#[test]
fn a_full_breaker_refuses_a_long_queue_without_a_deep_stack() {
    const CLIENTS: usize = 20_000;
    let yaml = with("", "", ", circuit_breakers: { thresholds: [{ max_connections: 1, max_pending_requests: 100000, max_requests: 0 }] }");
    let mut pair = Pair::new(&yaml);
    pair.on_connect = OnConnect::Hang;
    let clients: Vec<_> = (0..CLIENTS).map(|_| pair.connect()).collect();
    for client in &clients {
        pair.send(*client, GET);
    }
    let upstream = pair.upstream();
    pair.connected(upstream);
    pair.pump();
    for client in clients {
        assert!(pair.received(client).starts_with("HTTP/1.1 503 "), "{}", pair.received(client));
    }
    assert_eq!(pair.log.len(), CLIENTS);
    pair.assert_quiet();
}
