//! The same traffic whole, byte by byte and cut at random places: always the same outcome.

mod pair;

use pair::{Cut, Pair, plain, with};

const CUTS: [Cut; 6] = [Cut::Whole, Cut::Bytes, Cut::Random(1), Cut::Random(2), Cut::Random(3), Cut::Random(4)];

/// What the upstream got and what the client got, for one request and one answer.
fn exchange(yaml: &str, request: &str, answer: &str) -> (String, String, bool) {
    let run = |cut: Cut| {
        let mut pair = Pair::cut(yaml, cut);
        let client = pair.connect();
        pair.send(client, request);
        pair.answer(answer);
        if answer.ends_with("<eof>") {
            unreachable!("write the eof into the test");
        }
        (pair.received(pair.upstream()), pair.received(client), pair.is_closed(client))
    };
    let whole = run(Cut::Whole);
    for cut in &CUTS[1..] {
        let (up, down, closed) = run(*cut);
        assert_eq!((dechunk(&up), dechunk(&down), closed), (dechunk(&whole.0), dechunk(&whole.1), whole.2), "{cut:?}");
    }
    whole
}

/// Chunk borders follow reads; what counts is the content.
fn dechunk(text: &str) -> String {
    let Some((head, mut body)) = text.split_once("\r\n\r\n") else { return text.to_owned() };
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return text.to_owned();
    }
    let mut out = format!("{head}\r\n\r\n");
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        if size == 0 {
            out.push_str(&format!("<end>{rest}"));
            break;
        }
        out.push_str(&rest[..size]);
        assert_eq!(&rest[size..size + 2], "\r\n");
        body = &rest[size + 2..];
    }
    out
}

#[test]
fn get_keeps_case_order_and_raw_target() {
    let (up, down, closed) = exchange(
        &plain(),
        "GET /a%2Fb?q=|x HTTP/1.1\r\nX-Foo: 1\r\nHOST: h\r\nb-Bar: 2\r\nx-fOO: 3\r\n\r\n",
        "HTTP/1.1 200 Fine\r\nX-Up: 1\r\nContent-Length: 2\r\nx-uP: 2\r\n\r\nok",
    );
    assert_eq!(
        up,
        "GET /a%2Fb?q=|x HTTP/1.1\r\nX-Foo: 1\r\nHOST: h\r\nb-Bar: 2\r\nx-fOO: 3\r\nx-forwarded-proto: http\r\nx-envoy-expected-rq-timeout-ms: 15000\r\n\r\n"
    );
    assert_eq!(
        down,
        "HTTP/1.1 200 Fine\r\nX-Up: 1\r\nContent-Length: 2\r\nx-uP: 2\r\nx-envoy-upstream-service-time: 0\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nserver: weir\r\n\r\nok"
    );
    assert!(!closed);
}

#[test]
fn bodies_by_length_both_ways() {
    let (up, down, _) = exchange(
        &plain(),
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world",
        "HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nthere",
    );
    assert!(up.ends_with("\r\n\r\nhello world") && up.contains("Content-Length: 11\r\n"));
    assert!(down.ends_with("\r\n\r\nthere"));
}

#[test]
fn chunked_bodies_with_trailers_both_ways() {
    let (up, down, _) = exchange(
        &plain(),
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=\"x\"\r\nhello\r\nA\r\n, you there\r\n0\r\nX-Sum: 1\r\n\r\n"
            .replace("A\r\n, you there", "b\r\n, you there")
            .as_str(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: v\r\nContent-Length: 9\r\n\r\n",
    );
    assert!(dechunk(&up).ends_with("\r\n\r\nhello, you there<end>X-Sum: 1\r\n\r\n"), "{up}");
    assert!(dechunk(&down).ends_with("\r\n\r\nabcde<end>X-T: v\r\n\r\n"), "{down}");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    for cut in CUTS {
        let mut pair = Pair::cut(&plain(), cut);
        let client = pair.connect();
        let requests = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: h\r\n\r\n";
        pair.send(client, requests);
        for n in 1..=3 {
            let sent = pair.requests().concat();
            assert_eq!(sent.matches("HTTP/1.1").count(), n, "{cut:?}");
            pair.answer(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{n}"));
        }
        let bodies: String =
            pair.received(client).split("HTTP/1.1").filter_map(|part| part.chars().last()).filter(char::is_ascii_digit).collect();
        assert_eq!(bodies, "123", "{cut:?}");
        assert_eq!(pair.upstreams.len(), 1, "one pooled connection serves all");
        pair.assert_quiet();
    }
}

#[test]
fn continue_and_early_hints_pass_through() {
    for cut in CUTS {
        let mut pair = Pair::cut(&plain(), cut);
        let client = pair.connect();
        pair.send(client, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
        assert!(pair.received(pair.upstream()).contains("Expect: 100-continue"));
        assert_eq!(pair.received(client), "");
        pair.answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        assert_eq!(pair.take_received(client), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        pair.send(client, "hi");
        assert!(pair.received(pair.upstream()).ends_with("\r\n\r\nhi"));
        pair.answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert!(pair.received(client).starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[test]
fn responses_without_bodies() {
    let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let (_, down, closed) = exchange(&plain(), get, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n");
    assert!(!down.to_ascii_lowercase().contains("content-length") && !closed, "{down}");
    let (_, down, _) = exchange(&plain(), get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 55\r\n\r\n");
    assert!(down.contains("Content-Length: 55\r\n") && down.ends_with("\r\n\r\n"), "{down}");
    let head = "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n";
    let (_, down, _) = exchange(&plain(), head, "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    assert!(down.contains("Content-Length: 1234\r\n") && down.ends_with("\r\n\r\n"), "{down}");
}

#[test]
fn a_response_that_ends_with_the_connection() {
    for cut in CUTS {
        let mut pair = Pair::cut(&plain(), cut);
        let client = pair.connect();
        pair.send(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let upstream = pair.upstream();
        pair.answer("HTTP/1.1 200 OK\r\n\r\nhello");
        pair.eof(upstream);
        assert!(dechunk(&pair.received(client)).ends_with("\r\n\r\nhello<end>\r\n"));
        assert!(!pair.is_closed(client) && pair.is_closed(upstream));
        pair.assert_quiet();
    }
}

#[test]
fn an_upgrade_becomes_a_tunnel() {
    let yaml = with("upgrade_configs: [{ upgrade_type: websocket }]", "", "");
    for cut in CUTS {
        let mut pair = Pair::cut(&yaml, cut);
        let client = pair.connect();
        pair.send(client, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        let upstream = pair.upstream();
        assert!(pair.received(upstream).contains("Upgrade: websocket\r\n"));
        pair.answer("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst");
        assert!(pair.take_received(client).ends_with("\r\n\r\nfirst"));
        pair.take_received(upstream);
        pair.send(client, "GET / HTTP/1.1\r\n\r\n");
        assert_eq!(pair.received(upstream), "GET / HTTP/1.1\r\n\r\n", "bytes, not requests");
        pair.send(upstream, "\0\u{1}\u{2}");
        assert_eq!(pair.received(client), "\0\u{1}\u{2}");
        pair.eof(client);
        assert!(pair.peer(upstream).fin && !pair.is_closed(client), "half-close goes through");
        pair.send(upstream, "bye");
        assert!(pair.received(client).ends_with("bye"));
        pair.eof(upstream);
        assert!(pair.is_closed(client) && pair.is_closed(upstream));
        pair.assert_quiet();
    }
}

#[test]
fn a_tunnel_never_becomes_http_again() {
    let ends: [fn(&mut Pair); 3] =
        [|pair| pair.reset(pair.upstream()), |pair| pair.advance(std::time::Duration::from_millis(500)), |pair| pair.eof(pair.upstream())];
    for end in ends {
        let mut pair = Pair::new(&with("upgrade_configs: [{ upgrade_type: websocket }]\nstream_idle_timeout: 0.5s", "", ""));
        let client = pair.connect();
        pair.send(client, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        pair.answer("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        end(&mut pair);
        assert!(pair.peer(client).fin || pair.is_closed(client), "the client is told");
        let (before, upstreams) = (pair.received(client), pair.upstreams.len());
        pair.send(client, "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!((pair.received(client), pair.upstreams.len()), (before, upstreams), "bytes of a tunnel are no request");
    }
}

#[test]
fn what_a_client_goes_on_to_send_does_not_cost_it_an_early_answer() {
    let mut pair = Pair::new(&plain());
    let client = pair.connect();
    pair.send(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n");
    pair.answer("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    // It sends on for ten seconds: nothing closes under it. Then it stops, and the connection ends.
    for _ in 0..100 {
        pair.send(client, vec![b'x'; 100_000]);
        pair.advance(std::time::Duration::from_millis(100));
        assert!(!pair.is_closed(client));
    }
    pair.advance(std::time::Duration::from_secs(1));
    assert!(pair.is_closed(client) && pair.received(client).ends_with("no"));
    // One that never stops is cut in the end.
    let client = pair.connect();
    pair.send(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n");
    pair.answer("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    for _ in 0..310 {
        pair.send(client, "x");
        pair.advance(std::time::Duration::from_millis(100));
    }
    assert!(pair.is_closed(client));
}

#[test]
fn an_upgrade_that_is_not_configured_is_refused() {
    let mut pair = Pair::new(&plain());
    let client = pair.connect();
    pair.send(client, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert!(pair.received(client).starts_with("HTTP/1.1 403 Forbidden\r\n"));
    assert!(pair.upstreams.is_empty());
}

#[test]
fn an_http_10_client_gets_what_it_can_read() {
    let yaml = with("http_protocol_options: { accept_http_10: true }", "", "");
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let (_, down, closed) = exchange(&yaml, "GET / HTTP/1.0\r\nHost: h\r\n\r\n", answer);
    assert!(down.ends_with("\r\nconnection: close\r\n\r\nhello") && closed, "{down}");
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (_, down, closed) = exchange(&yaml, "GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", answer);
    assert!(down.contains("\r\nconnection: keep-alive\r\n") && !closed, "{down}");
}

#[test]
fn a_half_closed_client_gets_its_answer() {
    let mut pair = Pair::new(&plain());
    let client = pair.connect();
    pair.send(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    pair.eof(client);
    pair.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert!(pair.received(client).ends_with("ok") && pair.is_closed(client));
    pair.assert_quiet();
}

#[test]
fn a_client_that_leaves_takes_its_request_along() {
    let mut pair = Pair::new(&plain());
    let client = pair.connect();
    pair.send(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
    let upstream = pair.upstream();
    pair.reset(client);
    assert!(pair.is_closed(upstream), "half a request must not look like a whole one");
    assert_eq!(pair.log, ["POST / 0 DC 3 0 0 downstream_remote_disconnect 1"]);
    pair.assert_quiet();
}

#[test]
fn connection_close_is_respected_on_both_sides() {
    let (_, down, closed) = exchange(
        &plain(),
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    );
    assert!(down.contains("\r\nconnection: close\r\n") && closed);
    let mut pair = Pair::new(&plain());
    let client = pair.connect();
    for _ in 0..2 {
        pair.send(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        pair.answer("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    }
    assert_eq!(pair.upstreams.len(), 2, "a closing connection is not used again");
}

#[test]
fn hop_by_hop_fields_stay_where_they_belong() {
    let (up, down, _) = exchange(
        &plain(),
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Secret, Host\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: gzip, trailers\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(up, "GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nx-forwarded-proto: http\r\nx-envoy-expected-rq-timeout-ms: 15000\r\n\r\n");
    assert!(!down.contains("X-Hop") && !down.contains("Keep-Alive"));
}

/// Bytes behind an answer without a body belong to nobody, least of all to the request that waits.
#[test]
fn bytes_behind_an_answer_are_not_the_next_answer() {
    let yaml = with("", "", ", circuit_breakers: { thresholds: [{ max_connections: 1 }] }");
    let mut pair = Pair::new(&yaml);
    let (first, second) = (pair.connect(), pair.connect());
    pair.send(first, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    pair.send(second, "GET /second HTTP/1.1\r\nHost: h\r\n\r\n");
    pair.answer("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad");
    assert!(pair.received(first).starts_with("HTTP/1.1 200 OK"));
    assert_eq!(pair.received(second), "");
    pair.answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
    assert!(pair.received(second).ends_with("good") && pair.upstreams.len() == 2);
}

/// A connection that was paused for a slow client serves the next one.
#[test]
fn a_paused_upstream_connection_is_read_again_by_its_next_exchange() {
    let yaml = plain().replace("      filter_chains:", "      per_connection_buffer_limit_bytes: 1000\n      filter_chains:");
    let mut pair = Pair::new(&yaml);
    let client = pair.connect();
    for _ in 0..2 {
        pair.send(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        pair.answer(format!("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{}", "x".repeat(5000)));
        assert!(pair.take_received(client).ends_with("xxx"));
    }
    assert_eq!(pair.upstreams.len(), 1);
}

/// A client that sends but does not read gets no more answers made than its buffer takes.
#[test]
fn answers_that_are_not_read_are_not_made() {
    let routes = "[{ match: { prefix: / }, direct_response: { status: 200, body: { inline_string: \"0123456789\" } } }]";
    let yaml = pair::bootstrap("", routes, "[]")
        .replace("      filter_chains:", "      per_connection_buffer_limit_bytes: 2000\n      filter_chains:");
    let mut pair = Pair::new(&yaml);
    let client = pair.connect();
    pair.stalled = true;
    pair.send(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(1000));
    assert!(pair.log.len() < 100, "{} answers wait", pair.log.len());
    pair.unstall();
    for _ in 0..1000 {
        pair.advance(std::time::Duration::from_millis(1));
    }
    assert_eq!(pair.received(client).matches("0123456789").count(), 1000);
}

#[test]
fn a_slow_client_pauses_the_upstream_and_goes_on_later() {
    let yaml = with("", "", "").replace("      filter_chains:", "      per_connection_buffer_limit_bytes: 10000\n      filter_chains:");
    let mut pair = Pair::new(&yaml);
    let client = pair.connect();
    pair.send(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    pair.stalled = true;
    let body = "x".repeat(100_000);
    pair.answer(format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}", &body[..20_000]));
    for at in (20_000..100_000).step_by(10_000) {
        let upstream = pair.upstream();
        pair.send(upstream, &body[at..at + 10_000]);
    }
    assert_eq!(pair.stat(weir_core::stats::Scope::Cluster, "upstream_flow_control_paused_reading_total"), 1);
    pair.unstall();
    assert!(pair.received(client).ends_with(&body));
    pair.assert_quiet();
}
