//! Which route a request takes, and what becomes of it on the way.

mod pair;

use pair::{Pair, bootstrap, cluster};

/// Sends one request; answers what reached the upstream, or the answer if nothing did.
fn ask(routes: &str, request: &str) -> String {
    let clusters = format!("[{}]", ["u", "v", "w"].map(|name| cluster(name, 1, "")).join(", "));
    let mut pair = Pair::new(&bootstrap("", routes, &clusters));
    let client = pair.connect();
    let (line, fields) = request.split_once('\n').unwrap_or((request, ""));
    let fields: String = fields.lines().map(|line| format!("{}\r\n", line.trim())).collect();
    pair.send(client, format!("{line} HTTP/1.1\r\nHost: h.example\r\n{fields}\r\n"));
    match pair.upstreams.last() {
        Some(upstream) => pair.received(*upstream),
        None => pair.received(client),
    }
}

/// Answers the body of the route that was taken.
fn taken(matches: &[&str], request: &str) -> String {
    let routes: Vec<String> = matches
        .iter()
        .enumerate()
        .map(|(n, on)| format!("{{ match: {on}, direct_response: {{ status: 200, body: {{ inline_string: \"#{n}\" }} }} }}"))
        .collect();
    let answer = ask(&format!("[{}]", routes.join(", ")), request);
    if answer.starts_with("HTTP/1.1 404") { "none".to_owned() } else { answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned() }
}

#[test]
fn the_first_route_that_matches_wins() {
    let table = [
        "{ path: /a }",
        "{ prefix: /a/b }",
        "{ safe_regex: { regex: \"/a/[0-9]+\" } }",
        "{ path_separated_prefix: /api }",
        "{ prefix: /a }",
        "{ prefix: /, case_sensitive: false }",
    ];
    for (request, want) in [
        ("GET /a", "#0"),
        ("GET /a?x=1", "#0"),
        ("GET /a/b", "#1"),
        ("GET /a/bc", "#1"),
        ("GET /a/12", "#2"),
        ("GET /a/12x", "#4"),
        ("GET /api", "#3"),
        ("GET /api/x", "#3"),
        ("GET /apix", "#4"),
        ("GET /ab", "#4"),
        ("GET /", "#5"),
    ] {
        assert_eq!(taken(&table, request), want, "{request}");
    }
    // Order decides, not length.
    assert_eq!(taken(&["{ prefix: / }", "{ path: /exact }"], "GET /exact"), "#0");
    assert_eq!(taken(&["{ path: /AbC, case_sensitive: false }"], "GET /aBc"), "#0");
    assert_eq!(taken(&["{ path: /AbC }"], "GET /aBc"), "none");
}

#[test]
fn headers_and_query_parameters() {
    let table = [
        "{ prefix: /, headers: [{ name: x-a, string_match: { exact: \"1\" } }, { name: x-b, present_match: true }] }",
        "{ prefix: /, headers: [{ name: x-n, range_match: { start: 10, end: 20 } }] }",
        "{ prefix: /, headers: [{ name: \":method\", string_match: { safe_regex: { regex: \"P.*\" } } }] }",
        "{ prefix: /, query_parameters: [{ name: q, string_match: { prefix: ab } }] }",
        "{ prefix: /, query_parameters: [{ name: flag, present_match: true }] }",
        "{ prefix: /, headers: [{ name: x-c, string_match: { contains: \"B\", ignore_case: true }, invert_match: true }] }",
    ];
    for (request, want) in [
        ("GET /\nX-A: 1\nX-B: 2", "#0"),
        ("GET /\nX-A: 1", "none"),
        ("GET /\nX-N: 19", "#1"),
        ("GET /\nX-N: 20", "none"),
        ("PUT /\nContent-Length: 0", "#2"),
        ("GET /?q=abc", "#3"),
        ("GET /?q=ba", "none"),
        ("GET /?flag", "#4"),
        ("GET /\nX-C: xyz", "#5"),
        ("GET /\nX-C: aBc", "none"),
    ] {
        assert_eq!(taken(&table, request), want, "{request}");
    }
}

#[test]
fn ten_thousand_routes_answer_as_one_would() {
    let mut routes: Vec<String> = (0..10_000)
        .map(|n| format!("{{ match: {{ prefix: /svc-{n}/ }}, direct_response: {{ status: 200, body: {{ inline_string: \"{n}\" }} }} }}"))
        .collect();
    routes.push("{ match: { prefix: / }, direct_response: { status: 200, body: { inline_string: rest } } }".to_owned());
    let mut pair = Pair::new(&bootstrap("", &format!("[{}]", routes.join(", ")), "[]"));
    let client = pair.connect();
    for n in (0..10_000).step_by(97) {
        pair.send(client, format!("GET /svc-{n}/x HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert!(pair.take_received(client).ends_with(&format!("\r\n\r\n{n}")));
    }
    pair.send(client, "GET /svc-10000/x HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(pair.take_received(client).ends_with("rest"));
}

#[test]
fn rewrites_keep_the_old_path_and_host_for_the_upstream() {
    let sent = ask(
        "[{ match: { prefix: /old/ }, route: { cluster: u, prefix_rewrite: /new/, host_rewrite_literal: other, append_x_forwarded_host: true } }]",
        "GET /old/a?b=c",
    );
    assert!(sent.starts_with("GET /new/a?b=c HTTP/1.1\r\nHost: other\r\n"), "{sent}");
    for field in ["x-envoy-original-path: /old/a?b=c\r\n", "x-envoy-original-host: h.example\r\n", "x-forwarded-host: h.example\r\n"] {
        assert!(sent.contains(field), "{sent}");
    }
    let sent = ask(
        "[{ match: { prefix: / }, route: { cluster: u, regex_rewrite: { pattern: { regex: \"^/(\\\\w+)/(\\\\w+)\" }, substitution: \"/\\\\2/\\\\1\" } } }]",
        "GET /a/b/c?q",
    );
    assert!(sent.starts_with("GET /b/a/c?q HTTP/1.1\r\n"), "{sent}");
    let sent = ask("[{ match: { prefix: / }, route: { cluster: u, host_rewrite_header: x-host } }]", "GET /\nX-Host: from-header");
    assert!(sent.contains("\r\nHost: from-header\r\n"), "{sent}");
}

#[test]
fn redirects() {
    let location = |redirect: &str, target: &str| {
        let answer = ask(&format!("[{{ match: {{ prefix: /a }}, redirect: {redirect} }}]"), &format!("GET {target}"));
        let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
        let location = answer.lines().find_map(|line| line.strip_prefix("location: ")).unwrap_or_default().to_owned();
        format!("{status} {location}")
    };
    assert_eq!(location("{ https_redirect: true }", "/a?b"), "301 https://h.example/a?b");
    assert_eq!(location("{ host_redirect: x, port_redirect: 81, response_code: FOUND }", "/a"), "302 http://x:81/a");
    assert_eq!(location("{ path_redirect: /new }", "/a?b=1"), "301 http://h.example/new?b=1");
    assert_eq!(location("{ path_redirect: \"/new?x=y\" }", "/a?b=1"), "301 http://h.example/new?x=y");
    assert_eq!(
        location("{ prefix_rewrite: /n, strip_query: true, response_code: PERMANENT_REDIRECT }", "/a/x?b=1"),
        "308 http://h.example/n/x"
    );
}

#[test]
fn header_edits_with_operators() {
    let edits = "request_headers_to_add: [{ header: { key: x-new, value: \"%REQ(:METHOD)% %PROTOCOL% 100%%\" } }, { header: { key: x-set, value: over }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }, { header: { key: x-if, value: no }, append_action: ADD_IF_ABSENT }], request_headers_to_remove: [x-gone]";
    let sent = ask(
        &format!("[{{ match: {{ prefix: / }}, route: {{ cluster: u }}, {edits} }}]"),
        "GET /\nX-Set: 1\nX-If: yes\nX-Gone: 1\nx-gone: 2\nX-Set: 2",
    );
    assert!(sent.contains("x-new: GET HTTP/1.1 100%\r\n") && sent.contains("X-Set: over\r\nX-If: yes\r\n"), "{sent}");
    assert!(!sent.to_ascii_lowercase().contains("x-gone") && sent.matches("X-Set").count() == 1, "{sent}");
}

#[test]
fn weights_hold() {
    let routes = "[{ match: { prefix: / }, route: { weighted_clusters: { clusters: [{ name: u, weight: 1 }, { name: v, weight: 3 }] } } }]";
    let clusters = format!("[{}, {}]", cluster("u", 1, ""), cluster("v", 2, ""));
    let mut pair = Pair::new(&bootstrap("", routes, &clusters));
    let client = pair.connect();
    for _ in 0..2000 {
        let before: Vec<usize> = pair.upstreams.iter().map(|id| pair.received(*id).len()).collect();
        pair.send(client, "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n");
        let busy = pair
            .upstreams
            .iter()
            .enumerate()
            .find(|(n, id)| pair.received(**id).len() > before.get(*n).copied().unwrap_or(0))
            .map(|(_, id)| *id);
        pair.send(busy.expect("a request went upstream"), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
    let to_u = pair.engine.clusters().find(|cluster| &*cluster.name == "u").expect("u").stats.get(weir_core::stats::ClusterStat::RqTotal);
    assert!((430..570).contains(&to_u), "{to_u} of 2000 went to a quarter");
}

#[test]
fn client_addresses_and_their_headers() {
    let ask = |manager: &str, fields: &str| {
        let routes = "[{ match: { prefix: / }, route: { cluster: u } }]";
        let mut pair = Pair::new(&bootstrap(manager, routes, &format!("[{}]", cluster("u", 1, ""))));
        let client = pair.connect();
        pair.send(client, format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
        pair.received(pair.upstream())
    };
    let edge = ask(
        "use_remote_address: true",
        "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Envoy-Retry-On: 5xx\r\nX-Forwarded-Client-Cert: By=evil\r\n",
    );
    assert!(edge.contains("X-Forwarded-For: 1.2.3.4,192.0.2.7\r\n") && edge.contains("X-Forwarded-Proto: http\r\n"), "{edge}");
    assert!(
        edge.contains("x-envoy-external-address: 192.0.2.7\r\n") && !edge.contains("Retry-On") && !edge.contains("Client-Cert"),
        "{edge}"
    );
    let behind =
        ask("use_remote_address: true\nxff_num_trusted_hops: 1", "X-Forwarded-For: 9.9.9.9, 1.2.3.4\r\nX-Forwarded-Proto: https\r\n");
    assert!(behind.contains("x-envoy-external-address: 1.2.3.4\r\n") && behind.contains("X-Forwarded-Proto: https\r\n"), "{behind}");
    let inner = ask("via: here", "X-Forwarded-For: 1.2.3.4\r\nVia: 1.1 there\r\n");
    assert!(inner.contains("X-Forwarded-For: 1.2.3.4\r\n") && inner.contains("Via: 1.1 there, here\r\n"), "{inner}");
    let trusted =
        ask("use_remote_address: true\ninternal_address_config: { cidr_ranges: [{ address_prefix: 192.0.2.0, prefix_len: 24 }] }", "");
    assert!(trusted.contains("x-envoy-internal: true\r\n"), "{trusted}");
}
