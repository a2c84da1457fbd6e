//! Start, reload, drain, end: what a signal loses (nothing) and what a bad start says (one line).

mod support;

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;
use support::{Load, Proxy, bootstrap, file, ok_upstream, read_answer, read_head, upstream, weir};

/// Takes a moment for each answer, so that there is always something in flight.
fn slow_upstream() -> std::net::SocketAddr {
    upstream(|mut stream| {
        while read_head(&mut stream).is_some() {
            std::thread::sleep(Duration::from_millis(3));
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    })
}

#[test]
fn sigterm_under_load_loses_nothing() {
    for _ in 0..5 {
        let proxy = Proxy::start(&bootstrap(slow_upstream(), "", ""));
        let load = Load::start(&proxy, 16);
        load.wait_for(200);
        proxy.signal("TERM");
        let (status, stderr) = proxy.wait();
        assert!(status.success() && stderr.contains("drained; nothing was cut"), "{stderr}");
        load.finish();
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let stuck = upstream(|mut stream| {
        let _ = read_head(&mut stream);
        std::thread::sleep(Duration::from_secs(60));
    });
    let proxy = Proxy::start(&bootstrap(stuck, "", ""));
    let mut client = proxy.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    while proxy.stat("cluster.u.upstream_rq_active") == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    proxy.signal("INT");
    proxy.wait_for_line("draining for at most 600 s");
    assert!(proxy.admin_get("/ready").contains("503"));
    proxy.signal("INT");
    let (_, stderr) = proxy.wait();
    assert!(stderr.contains("drained; 1 exchanges were cut"), "{stderr}");
}

#[test]
fn reloads_under_load_lose_nothing() {
    let upstream = slow_upstream();
    let proxy = Proxy::start(&bootstrap(upstream, "", ""));
    let load = Load::start(&proxy, 8);
    for n in 0..10 {
        load.wait_for(20);
        let yaml = bootstrap(upstream, &format!("via: reload-{n}"), "");
        std::fs::write(&proxy.config, &yaml).unwrap();
        proxy.signal("HUP");
        load.wait_for(20);
    }
    // A broken config changes nothing.
    std::fs::write(&proxy.config, "static_resources: { listenerz: [] }").unwrap();
    proxy.signal("HUP");
    proxy.wait_for_line("reload failed, the old config goes on");
    load.wait_for(50);
    assert!(proxy.stderr.lock().unwrap().contains("did you mean `listeners`?"));
    let mut client = proxy.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert!(read_answer(&mut client).unwrap().0.contains("via: reload-9"));
    load.finish();
}

#[test]
fn a_bad_start_is_one_line_and_no_process() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let yaml = bootstrap("127.0.0.1:1".parse().unwrap(), "", "");
    let on_taken_port = yaml.replace(
        "      address: { socket_address: { address: 127.0.0.1, port_value: 0 } }\n      filter_chains",
        &format!("      address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}\n      filter_chains"),
    );
    let no_such_name = yaml
        .replace("type: STATIC", "type: STRICT_DNS")
        .replace("address: 127.0.0.1, port_value: 1 }", "address: no-such-name.invalid, port_value: 1 }");
    let unwritable = bootstrap(
        "127.0.0.1:1".parse().unwrap(),
        "access_log: [{ name: f, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /no/such/folder/log } }]",
        "",
    );
    for (yaml, want) in [
        (on_taken_port, format!("weir: listener main: cannot listen on 127.0.0.1:{port}: Address already in use (os error 98)")),
        (no_such_name, "weir: cluster u: `no-such-name.invalid` does not exist".to_owned()),
        (unwritable, "weir: cannot open the access log /no/such/folder/log: No such file or directory (os error 2)".to_owned()),
    ] {
        let config = file("bad.yaml", &yaml);
        let output = weir().args(["run", "-c"]).arg(&config).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr.trim_end(), want);
        assert_eq!(output.status.code(), Some(1));
    }
    let output = weir().args(["run", "-c", "/no/such/file.yaml"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr.trim_end(), "weir: cannot read the config /no/such/file.yaml: No such file or directory (os error 2)");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn names_are_resolved() {
    let upstream = ok_upstream();
    let yaml = bootstrap(upstream, "", "").replace("type: STATIC", "type: STRICT_DNS\n      dns_lookup_family: V4_ONLY");
    let proxy = Proxy::start(&yaml.replace(
        &format!("address: 127.0.0.1, port_value: {} }}", upstream.port()),
        &format!("address: localhost, port_value: {} }}", upstream.port()),
    ));
    let mut client = proxy.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut client).unwrap().1, b"ok");
}

#[test]
fn validate_prints_everything_that_is_wrong() {
    let good = file("good.yaml", &bootstrap("127.0.0.1:1".parse().unwrap(), "", ""));
    let output = weir().args(["validate", "-c"]).arg(&good).output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).ends_with("OK\n"));
    let bad = file("bad.yaml", &bootstrap("127.0.0.1:1".parse().unwrap(), "stat_prefixx: 1\nidle: 5", ", timeout: 250ms"));
    let output = weir().args(["validate", "--format", "json", "-c"]).arg(&bad).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found.as_array().map(Vec::len), Some(3), "{found}");
    assert!(
        found
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["line"].as_u64() > Some(1) && one["path"].as_str().unwrap().starts_with("static_resources.listeners[0]"))
    );
}

#[test]
fn the_demo_serves_a_request() {
    let output = weir().args(["demo", "--once", "--port", "0", "--admin-port", "0"]).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && stdout.starts_with("HTTP/1.1 200 OK\r\n") && stdout.contains("x-request-id: "), "{stdout}");
}

#[test]
fn the_admin_page_has_envoys_shapes() {
    let proxy = Proxy::start(&bootstrap(ok_upstream(), "", ""));
    let mut client = proxy.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    read_answer(&mut client).unwrap();
    assert!(proxy.admin_get("/ready").ends_with("LIVE\n"));
    assert!(proxy.admin_get("/listeners").ends_with(&format!("main::{}\n", proxy.address)));
    let clusters = proxy.admin_get("/clusters");
    assert!(clusters.contains("u::default_priority::max_connections::1024\n") && clusters.contains("::rq_total::1\n"), "{clusters}");
    assert_eq!(proxy.stat("cluster.u.upstream_rq_200"), 1);
    assert_eq!(proxy.stat("http.ingress.downstream_rq_2xx"), 1);
    let metrics = proxy.admin_get("/stats/prometheus");
    assert!(
        metrics.contains("# TYPE envoy_cluster_upstream_rq_total counter\nenvoy_cluster_upstream_rq_total{envoy_cluster_name=\"u\"} 1\n")
    );
    assert!(metrics.contains("envoy_cluster_upstream_rq{envoy_response_code=\"200\",envoy_cluster_name=\"u\"} 1\n"));
    let json = |path: &str| -> serde_json::Value {
        let page = proxy.admin_get(path);
        serde_json::from_str(page.split_once("\r\n\r\n").unwrap().1).unwrap_or_else(|error| panic!("{path}: {error}\n{page}"))
    };
    assert_eq!(json("/server_info")["state"], "LIVE");
    assert_eq!(json("/listeners?format=json")["listener_statuses"][0]["name"], "main");
    assert_eq!(json("/clusters?format=json")["cluster_statuses"][0]["name"], "u");
    assert!(json("/stats?format=json")["stats"].as_array().unwrap().len() > 50);
    assert!(json("/memory")["allocated"].is_string());
    let dump = json("/config_dump");
    assert_eq!(dump["configs"][0]["@type"], "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump");
    assert_eq!(dump["configs"][1]["static_clusters"][0]["cluster"]["name"], "u");
    assert_eq!(dump["configs"][4]["static_route_configs"][0]["route_config"]["name"], "r");
    assert!(proxy.admin_get("/help").contains("  /quitquitquit (POST): "));
    assert!(proxy.admin_get("/quitquitquit").starts_with("HTTP/1.1 405"));
    assert!(proxy.admin_get("/nope").starts_with("HTTP/1.1 404"));
    assert!(proxy.admin_post("/logging?level=debug").contains("weir: debug"));
    proxy.admin_post("/healthcheck/fail");
    assert!(proxy.admin_get("/ready").ends_with("DRAINING\n"));
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert!(read_answer(&mut client).unwrap().0.contains("connection: close"));
    proxy.admin_post("/healthcheck/ok");
    assert!(proxy.admin_get("/ready").ends_with("LIVE\n"));
    proxy.admin_post("/quitquitquit");
    assert!(proxy.wait().0.success());
}

#[test]
fn drain_listeners_closes_the_door_but_not_the_room() {
    let proxy = Proxy::start(&bootstrap(ok_upstream(), "", ""));
    let mut client = proxy.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    read_answer(&mut client).unwrap();
    proxy.admin_post("/drain_listeners");
    while std::net::TcpStream::connect(proxy.address).is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(proxy.admin_get("/ready").ends_with("LIVE\n"));
}

#[test]
fn access_logs_are_written_to_files() {
    let log = file("access.log", "");
    let manager = format!(
        "access_log: [{{ name: f, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: {} }} }}]",
        log.display()
    );
    let upstream = ok_upstream();
    let proxy = Proxy::start(&bootstrap(upstream, &manager, ""));
    let mut client = proxy.connect();
    client.write_all(b"GET /x?y HTTP/1.1\r\nHost: h.example\r\nUser-Agent: test\r\n\r\n").unwrap();
    read_answer(&mut client).unwrap();
    proxy.signal("TERM");
    proxy.wait();
    let line = std::fs::read_to_string(&log).unwrap();
    assert!(
        line.contains("\"GET /x?y HTTP/1.1\" 200 - 0 2 ")
            && line.contains("\"test\"")
            && line.ends_with(&format!("\"h.example\" \"{upstream}\"\n")),
        "{line}"
    );
}
