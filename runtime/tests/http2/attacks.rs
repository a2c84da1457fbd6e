//! Peers that mean harm. Whatever they send, a well-behaved neighbour is answered all along, the memory of the proxy
//! stays bounded, and nothing of it is left when they are gone: that is asked of every test here, see [`Siege`].
//! Where the peer costs more than it pays the connection must end as well ([`Outcome::Ended`]); where it may be held
//! off by reading no faster than answers are taken, any outcome is right.

mod floods;
mod heads;
mod resets;
mod stalls;

use crate::block::Block;
use crate::frames::Client;
use crate::support::Proxy;
use crate::upstream::{Upstream, wait_until};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What an attack may add to the memory of the proxy, in KiB, unless a test says otherwise.
const GROWTH_KIB: u64 = 32 << 10;

/// How long the neighbour waits for an answer.
const NEIGHBOUR: Duration = Duration::from_secs(3);

/// What became of an attacker's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// GOAWAY with a code, or the end without one.
    Ended(Option<u32>),
    /// The proxy reads no more for now.
    HeldOff,
    /// All was taken, and a PING after it answered.
    Taken,
}

/// Looks what became of a connection.
fn outcome(client: &mut Client) -> Outcome {
    let alive = client.is_alive();
    match (client.goaways.last(), alive) {
        (Some((_, code)), _) => Outcome::Ended(Some(*code)),
        (None, Ok(())) => Outcome::Taken,
        (None, Err(came)) if came.starts_with("Silent") => Outcome::HeldOff,
        (None, Err(_)) => Outcome::Ended(None),
    }
}

#[track_caller]
fn assert_ended(client: &mut Client) {
    let outcome = outcome(client);
    assert!(matches!(outcome, Outcome::Ended(_)), "the attack was {outcome:?}");
}

/// A proxy, a neighbour that uses it, and somebody who watches its memory.
struct Siege {
    proxy: Proxy,
    upstream: Upstream,
    start_kib: u64,
    peak_kib: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    watchers: Vec<JoinHandle<Result<(), String>>>,
}

impl Siege {
    fn start(more: &str) -> Siege {
        let upstream = Upstream::start();
        let proxy = crate::proxy(upstream.address, more);
        let (stop, peak_kib) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        // Warm first: the first request of a worker is not growth.
        let mut neighbour = crate::client(&proxy);
        for n in 0..50 {
            ask(&mut neighbour, 1 + 2 * n).expect("the neighbour is answered before the attack");
        }
        let start_kib = proxy.resident_kib();
        let (address, stopped) = (proxy.address, Arc::clone(&stop));
        let neighbour = std::thread::spawn(move || live(address, &stopped));
        let (pid, stopped, peak) = (proxy.child.id(), Arc::clone(&stop), Arc::clone(&peak_kib));
        let watcher = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                peak.fetch_max(resident_kib(pid), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        });
        Siege { proxy, upstream, start_kib, peak_kib, stop, watchers: vec![neighbour, watcher] }
    }

    fn attacker(&self) -> Client {
        crate::client(&self.proxy)
    }

    /// The attackers are gone.
    fn end(self) {
        self.end_within(GROWTH_KIB);
    }

    fn end_within(mut self, growth_kib: u64) {
        std::thread::sleep(Duration::from_millis(200));
        self.stop.store(true, Ordering::Relaxed);
        for watcher in self.watchers.drain(..) {
            assert_eq!(watcher.join().expect("no panic"), Ok(()), "the neighbour");
        }
        let growth = self.peak_kib.load(Ordering::Relaxed).saturating_sub(self.start_kib);
        assert!(growth <= growth_kib, "the proxy grew by {growth} KiB");
        for gauge in ["http.ingress.downstream_rq_active", "cluster.u.upstream_rq_active", "cluster.u.upstream_rq_pending_active"] {
            wait_until(&format!("{gauge} is 0"), || self.proxy.stat(gauge) == 0);
        }
        wait_until("http.ingress.downstream_cx_active is 0", || self.proxy.stat("http.ingress.downstream_cx_active") == 0);
        ask(&mut self.attacker(), 1).expect("a new connection is served");
    }
}

fn ask(client: &mut Client, stream: u32) -> Result<(), String> {
    client.headers(stream, &Block::get(), true);
    let answer = client.answer(stream)?;
    client.answers.clear();
    if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
}

/// A neighbour: one connection, one request after the other.
fn live(address: SocketAddr, stopped: &AtomicBool) -> Result<(), String> {
    let mut client = Client::connect(address).map_err(|error| error.to_string())?;
    client.patience = NEIGHBOUR;
    for n in 0.. {
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let asked = Instant::now();
        ask(&mut client, 1 + 2 * n).map_err(|came| format!("request {n}, after {:?}: {came}", asked.elapsed()))?;
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
