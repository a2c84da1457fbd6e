//! The real binary on real sockets: start it, find its ports, talk to it, end it.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::print_stderr)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A file of this test's own.
pub fn file(name: &str, text: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("weir-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a temporary file");
    path
}

pub fn weir() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.env("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// A running proxy.
pub struct Proxy {
    pub child: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub config: PathBuf,
    pub stderr: Arc<Mutex<String>>,
    lines: Receiver<String>,
}

impl Proxy {
    /// Starts the proxy with one listener called `main` and an admin page, and waits for both.
    pub fn start(yaml: &str) -> Proxy {
        Proxy::start_with(yaml, &[])
    }

    pub fn start_with(yaml: &str, arguments: &[&str]) -> Proxy {
        let config = file("weir.yaml", yaml);
        let mut command = weir();
        command.args(["run", "-c"]).arg(&config).args(arguments);
        if !arguments.contains(&"--concurrency") {
            command.args(["--concurrency", "2"]);
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let stderr = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = channel();
        let (pipe, all) = (child.stderr.take().expect("a pipe"), Arc::clone(&stderr));
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                all.lock().unwrap().push_str(&format!("{line}\n"));
                let _ = sender.send(line);
            }
        });
        let mut proxy = Proxy { child, address: "0.0.0.0:0".parse().unwrap(), admin: "0.0.0.0:0".parse().unwrap(), config, stderr, lines };
        proxy.address = proxy.wait_for("listener main listens on ");
        proxy.admin = proxy.wait_for("admin listens on ");
        proxy
    }

    fn wait_for(&self, what: &str) -> SocketAddr {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(20));
            let line = line.unwrap_or_else(|_| panic!("no line with {what:?}; stderr:\n{}", self.stderr.lock().unwrap()));
            if let Some((_, address)) = line.split_once(what) {
                return address.trim().parse().expect("an address");
            }
        }
    }

    /// Waits for a line of the log.
    pub fn wait_for_line(&self, what: &str) {
        while !self.stderr.lock().unwrap().contains(what) {
            let line = self.lines.recv_timeout(Duration::from_secs(20));
            line.unwrap_or_else(|_| panic!("no line with {what:?}; stderr:\n{}", self.stderr.lock().unwrap()));
        }
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(status.success());
    }

    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().split(' ').next().unwrap().parse().unwrap()
    }

    pub fn admin_get(&self, path: &str) -> String {
        request(self.admin, &format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n"))
    }

    pub fn admin_post(&self, path: &str) -> String {
        request(self.admin, &format!("POST {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
    }

    /// The value of a stat.
    pub fn stat(&self, name: &str) -> i64 {
        let all = self.admin_get(&format!("/stats?filter={name}"));
        let line = all.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no stat {name} in {all}")).parse().expect("a number")
    }

    /// Waits for the process to end.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("the process ends");
        // Its last words may still be on their way.
        while self.lines.recv_timeout(Duration::from_secs(5)).is_ok() {}
        (status, self.stderr.lock().unwrap().clone())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the address is listened on");
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends text, reads to the end.
pub fn request(address: SocketAddr, text: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(text.as_bytes()).expect("the request is taken");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer comes");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads one answer with a Content-Length: head and body.
pub fn read_answer(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")).map_or(0, |n| n.trim().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((head, body))
}

/// A server that gives each connection to `serve` on a thread of its own.
pub fn upstream(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Reads a request head.
pub fn read_head(stream: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// Answers every request without a body with `ok`.
pub fn ok_upstream() -> SocketAddr {
    upstream(|mut stream| {
        while read_head(&mut stream).is_some() {
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    })
}

/// A bootstrap with a listener called `main`, an admin page, and everything to one upstream. `manager` are
/// more lines for the connection manager, `route` more of the route in flow style.
pub fn bootstrap(upstream: SocketAddr, manager: &str, route: &str) -> String {
    let manager: String = manager.lines().map(|line| format!("                {line}\n")).collect();
    format!(
        r#"
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
static_resources:
  listeners:
    - name: main
      address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: ingress
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
                route_config: {{ name: r, virtual_hosts: [{{ name: v, domains: ["*"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: u{route} }} }}] }}] }}
{manager}
  clusters:
    - name: u
      type: STATIC
      connect_timeout: 1s
      load_assignment:
        cluster_name: u
        endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }} }}] }}]
"#,
        upstream.ip(),
        upstream.port()
    )
}

/// Clients that send requests on connections they keep until told to close them.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Result<(), String>>>,
}

impl Load {
    pub fn start(proxy: &Proxy, clients: usize) -> Load {
        Load::on(proxy.address, clients)
    }

    pub fn on(address: SocketAddr, clients: usize) -> Load {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = || {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // A listener that is closed takes no connection: that is no loss, the client goes elsewhere.
                    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return Ok(()) };
                    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    loop {
                        if stop.load(Ordering::Relaxed) {
                            return Ok(());
                        }
                        if let Err(error) = stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n") {
                            return Err(format!("sending: {error}"));
                        }
                        let (head, body) = read_answer(&mut stream).map_err(|error| format!("receiving: {error}"))?;
                        if !head.starts_with("HTTP/1.1 200") || body != b"ok" {
                            return Err(head);
                        }
                        answered.fetch_add(1, Ordering::Relaxed);
                        if head.contains("connection: close") {
                            break;
                        }
                    }
                }
                Ok(())
            })
        };
        let clients = (0..clients).map(|_| client()).collect();
        Load { stop, answered, clients }
    }

    pub fn wait_for(&self, more: usize) {
        let target = self.answered.load(Ordering::Relaxed) + more;
        while self.answered.load(Ordering::Relaxed) < target {
            assert!(!self.clients.iter().all(JoinHandle::is_finished), "the load has ended by itself");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            assert_eq!(client.join().unwrap(), Ok(()));
        }
        self.answered.load(Ordering::Relaxed)
    }
}
