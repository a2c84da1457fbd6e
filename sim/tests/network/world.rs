//! A proxy, hyper clients and hyper upstreams on simulated hosts, and what they tell of each other.

use crate::net::SimNet;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use turmoil::net::{TcpListener, TcpStream};
use turmoil::{Builder, Sim};
use weir::cli::RunArgs;
use weir::clock::Clock;
use weir::run::{Order, Outside, Primary, Threads};
use weir_core::config::v3;
use weir_core::rng::{Rng, Seed};
use weir_core::time::Wall;
use weir_sim::pattern;

pub(crate) const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

pub(crate) fn upstream(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 1, number).into()
}

pub(crate) fn client(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 2, number).into()
}

/// What clients and upstreams have seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// Requests that reached upstreams, by id: how often.
    pub(crate) arrived: RefCell<BTreeMap<u64, u32>>,
    /// How each request ended: a status, or why there is none.
    pub(crate) ended: RefCell<BTreeMap<u64, Result<u16, String>>>,
    /// What nobody may ever see.
    pub(crate) faults: RefCell<Vec<String>>,
    /// Clients that have asked all they wanted.
    pub(crate) finished: Cell<usize>,
    /// What the drain has cut, once it has ended.
    pub(crate) drained: Cell<Option<u32>>,
    next: Cell<u64>,
}

impl Seen {
    fn fault(&self, what: String) {
        self.faults.borrow_mut().push(what);
    }

    /// How many requests ended so.
    pub(crate) fn count(&self, suits: impl Fn(&Result<u16, String>) -> bool) -> usize {
        self.ended.borrow().values().filter(|ended| suits(ended)).count()
    }
}

/// A config with one route to these upstreams.
pub(crate) fn config(upstreams: u8, more: &str) -> String {
    let endpoint = |n| format!("{{ endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: 80 }} }} }} }}", upstream(n));
    let endpoints: Vec<String> = (1..=upstreams).map(endpoint).collect();
    format!(
        r#"
static_resources:
  listeners:
    - name: main
      address: {{ socket_address: {{ address: 0.0.0.0, port_value: 80 }} }}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: ingress
                http_filters: [{{ name: envoy.filters.http.router, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }}]
                route_config: {{ name: r, virtual_hosts: [{{ name: v, domains: ["*"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: u, timeout: 5s{more} }} }}] }}] }}
  clusters:
    - name: u
      type: STATIC
      connect_timeout: 1s
      load_assignment: {{ cluster_name: u, endpoints: [{{ lb_endpoints: [{}] }}] }}
"#,
        endpoints.join(", ")
    )
}

/// A simulation and what is seen in it.
pub(crate) struct World {
    pub(crate) sim: Sim<'static>,
    pub(crate) seen: Rc<Seen>,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    seed: u64,
}

/// The file that the proxy reads its config from; orders to reload read it again. Its name is in what the proxy logs, so
/// where that is compared it is the same in every process.
fn config_file(yaml: &str) -> std::path::PathBuf {
    let name = match std::env::var("WEIR_NETWORK_SEED") {
        Ok(seed) => format!("weir-network-{seed}.yaml"),
        Err(_) => format!("weir-network-{}-{:?}.yaml", std::process::id(), std::thread::current().id()),
    };
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, yaml).expect("a temporary file");
    path
}

impl World {
    /// A world with a proxy of `workers` workers that runs `yaml`.
    pub(crate) fn new(seed: u64, workers: u16, yaml: &str, latency: (u64, u64)) -> World {
        let mut sim = Builder::new()
            .rng_seed(seed)
            .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
            .simulation_duration(Duration::from_secs(600))
            .tick_duration(Duration::from_millis(1))
            .min_message_latency(Duration::from_millis(latency.0))
            .max_message_latency(Duration::from_millis(latency.1))
            .tcp_capacity(4096)
            .build();
        let seen: Rc<Seen> = Rc::default();
        let (orders, received) = mpsc::unbounded_channel();
        let received = Rc::new(RefCell::new(Some(received)));
        let path = config_file(yaml);
        let told = Rc::clone(&seen);
        sim.host(PROXY, move || {
            let (received, path, told) = (Rc::clone(&received), path.clone(), Rc::clone(&told));
            async move {
                let Some(received) = received.borrow_mut().take() else { return Ok(()) };
                let text = std::fs::read_to_string(&path)?;
                let config = v3::load(&text, &path.display().to_string()).config.ok_or("the config is refused")?;
                let args = RunArgs { concurrency: Some(workers), drain_time: 60, ..RunArgs::of(path) };
                let clock = Clock::simulated(Wall::from_nanos(1_700_000_000_000_000_000));
                let outside = Outside {
                    clock,
                    seed: Seed(seed),
                    hostname: "proxy".into(),
                    threads: Threads::Here,
                    tls: weir::tls::Environment::system(),
                };
                let (mut primary, _, _) = Primary::start(SimNet::default(), args, config, text, outside).await?;
                primary.serve(received, None).await;
                told.drained.set(Some(primary.finish().await));
                Ok(())
            }
        });
        World { sim, seen, orders, seed }
    }

    /// The config file takes this text; an order to reload reads it.
    pub(crate) fn rewrite(&self, yaml: &str) {
        config_file(yaml);
    }

    /// An upstream that answers each request with its id, after up to so many milliseconds.
    pub(crate) fn upstream(&mut self, number: u8, slowest: u64) {
        let (seen, seed) = (Rc::clone(&self.seen), Seed(self.seed).fork(&format!("upstream {number}")));
        let rng = Rc::new(RefCell::new(Rng::new(seed)));
        self.sim.host(upstream(number), move || {
            let (seen, rng) = (Rc::clone(&seen), Rc::clone(&rng));
            async move {
                let listener = TcpListener::bind("0.0.0.0:80").await?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    let (seen, rng) = (Rc::clone(&seen), Rc::clone(&rng));
                    tokio::task::spawn_local(async move {
                        let serve = service_fn(|request| answer(Rc::clone(&seen), Rc::clone(&rng), slowest, request));
                        let _ = hyper::server::conn::http1::Builder::new()
                            .timer(TokioTimer::new())
                            .auto_date_header(false)
                            .serve_connection(TokioIo::new(stream), serve)
                            .await;
                    });
                }
            }
        });
    }

    /// A client that asks so many requests, keeps its connection as long as it may, and gives up on one after 10 s.
    pub(crate) fn client(&mut self, number: u8, start: Duration, requests: u32) {
        let (seen, seed) = (Rc::clone(&self.seen), Seed(self.seed).fork(&format!("client {number}")));
        self.sim.client(client(number), async move {
            tokio::time::sleep(start).await;
            let mut rng = Rng::new(seed);
            let mut sender = None;
            for _ in 0..requests {
                tokio::time::sleep(Duration::from_millis(rng.below(40))).await;
                let id = seen.next.replace(seen.next.get() + 1);
                let ended = match tokio::time::timeout(Duration::from_secs(10), ask(&mut sender, id, &mut rng, &seen)).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        sender = None;
                        Err("the client gave up".to_owned())
                    }
                };
                if ended.is_err() {
                    sender = None;
                }
                if seen.ended.borrow_mut().insert(id, ended).is_some() {
                    seen.fault(format!("request {id} ended twice"));
                }
            }
            seen.finished.set(seen.finished.get() + 1);
            Ok(())
        });
    }

    /// Runs for so long.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let until = self.sim.elapsed() + time;
        while self.sim.elapsed() < until {
            self.sim.step().expect("no host fails");
        }
    }

    /// Runs until so many clients have asked all they wanted.
    pub(crate) fn run_until_finished(&mut self, clients: usize) {
        while self.seen.finished.get() < clients {
            self.sim.step().expect("no host fails");
            assert!(self.sim.elapsed() < Duration::from_secs(300), "clients hang: seed {}", self.seed);
        }
    }

    /// Drains the proxy; answers how many exchanges were cut.
    pub(crate) fn drain(&mut self) -> u32 {
        self.orders.send(Order::Drain("SIGTERM")).expect("the proxy listens");
        while self.seen.drained.get().is_none() {
            self.sim.step().expect("no host fails");
            assert!(self.sim.elapsed() < Duration::from_secs(500), "the drain does not end: seed {}", self.seed);
        }
        self.seen.drained.get().unwrap_or_default()
    }

    /// What must hold in every world.
    pub(crate) fn check(&self) {
        let faults = self.seen.faults.borrow();
        assert!(faults.is_empty(), "seed {}: {faults:?}", self.seed);
        for (id, count) in self.seen.arrived.borrow().iter() {
            // Odd ids are POSTs: see `ask`.
            assert!(*count <= 1 || id % 2 == 0, "seed {}: the POST {id} was sent {count} times", self.seed);
        }
    }
}

/// Answers with the request's id and a body of its own.
async fn answer(
    seen: Rc<Seen>,
    rng: Rc<RefCell<Rng>>,
    slowest: u64,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let id: u64 = request.headers().get("x-id").and_then(|id| id.to_str().ok()?.parse().ok()).unwrap_or(u64::MAX);
    *seen.arrived.borrow_mut().entry(id).or_default() += 1;
    let expected: u64 = request.headers().get("x-size").and_then(|size| size.to_str().ok()?.parse().ok()).unwrap_or(0);
    match request.into_body().collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            if body.len() as u64 != expected || !pattern::is_piece(id, 0, &body) {
                seen.fault(format!("request {id} came with another body, as if it were whole"));
            }
        }
        // Its client is gone, and the proxy said so.
        Err(_) => return Ok(Response::new(Full::default())),
    }
    let (pause, size) = {
        let mut rng = rng.borrow_mut();
        (rng.below(slowest + 1), rng.below(60_000))
    };
    tokio::time::sleep(Duration::from_millis(pause)).await;
    let body = Bytes::from_static(pattern::piece(id, 0, size as usize));
    let response = Response::builder().header("x-id", id).header("x-size", size);
    Ok(response.body(Full::new(body)).unwrap_or_default())
}

type Sender = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

/// Asks once, on the connection that is there or on a new one.
async fn ask(sender: &mut Option<Sender>, id: u64, rng: &mut Rng, seen: &Seen) -> Result<u16, String> {
    if sender.as_ref().is_none_or(Sender::is_closed) {
        // A host that has ended answers nobody: what is sent to it waits for ever.
        let connecting = tokio::time::timeout(Duration::from_secs(2), TcpStream::connect(SocketAddr::new(PROXY, 80)));
        let connected = connecting.await.map_err(|_| "connecting: no answer".to_owned())?;
        let stream = connected.map_err(|error| format!("connecting: {error}"))?;
        let (fresh, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::task::spawn_local(connection);
        *sender = Some(fresh);
    }
    let Some(sender) = sender else { return Err("no connection".to_owned()) };
    sender.ready().await.map_err(|error| format!("waiting: {error}"))?;
    let size = if id % 2 == 1 { rng.below(50_000) } else { 0 };
    let body = Bytes::from_static(pattern::piece(id, 0, size as usize));
    let method = if id % 2 == 1 { "POST" } else { "GET" };
    let request = Request::builder().method(method).uri("/").header("host", "sim").header("x-id", id).header("x-size", size);
    let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| format!("sending: {error}"))?;
    let status = response.status();
    let number = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let (of, size) = (number("x-id"), number("x-size"));
    let body = response.into_body().collect().await.map_err(|error| format!("receiving: {error}"))?.to_bytes();
    if status == StatusCode::OK && (of != Some(id) || size != Some(body.len() as u64) || !pattern::is_piece(id, 0, &body)) {
        seen.fault(format!("request {id} got the answer of {of:?} with {} of {size:?} bytes", body.len()));
    }
    Ok(status.as_u16())
}
