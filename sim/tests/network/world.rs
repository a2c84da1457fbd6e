//! A proxy, hyper clients and hyper upstreams on simulated hosts, and what they tell of each other.

use crate::client::Client;
use crate::config::Setup;
use crate::net::SimNet;
use crate::origin::{Origin, stay_silent};
use crate::seen::Seen;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use turmoil::{Builder, Sim};
use weir::cli::RunArgs;
use weir::clock::Clock;
use weir::environment::Environment;
use weir::run::{Order, Outside, Primary, Threads};
use weir_core::config::v3;
use weir_core::rng::{Rng, Seed};
use weir_core::time::Wall;
use weir_sim::crypto;

pub(crate) const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// Where calendars begin, in seconds.
const EPOCH: u64 = 1_700_000_000;

pub(crate) fn upstream(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 1, number).into()
}

pub(crate) fn client(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 2, number).into()
}

/// The clock of the host that asks, from when it asks.
pub(crate) fn clock() -> Clock {
    let since = turmoil::sim_elapsed().unwrap_or_default();
    Clock::simulated(Wall::from_nanos(EPOCH * 1_000_000_000 + since.as_nanos() as u64))
}

/// What the TLS of the host that asks is made with.
pub(crate) fn environment(seed: Seed) -> Environment {
    let clock = clock();
    crypto::environment(seed, move || clock.wall().as_secs())
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
    /// A world with a proxy of `workers` workers, set up so.
    pub(crate) fn new(seed: u64, workers: u16, setup: &Setup, latency: (u64, u64)) -> World {
        let mut sim = Builder::new()
            .rng_seed(seed)
            .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH))
            .simulation_duration(Duration::from_secs(600))
            .tick_duration(Duration::from_millis(1))
            .min_message_latency(Duration::from_millis(latency.0))
            .max_message_latency(Duration::from_millis(latency.1))
            .tcp_capacity(4096)
            .build();
        let seen: Rc<Seen> = Rc::default();
        let (orders, received) = mpsc::unbounded_channel();
        let received = Rc::new(RefCell::new(Some(received)));
        let path = config_file(&setup.yaml());
        let told = Rc::clone(&seen);
        sim.host(PROXY, move || {
            let (received, path, told) = (Rc::clone(&received), path.clone(), Rc::clone(&told));
            async move {
                let Some(received) = received.borrow_mut().take() else { return Ok(()) };
                let text = std::fs::read_to_string(&path)?;
                let config = v3::load(&text, &path.display().to_string()).config.ok_or("the config is refused")?;
                let args = RunArgs { concurrency: Some(workers), drain_time: 60, ..RunArgs::of(path) };
                let (clock, seed) = (clock(), Seed(seed));
                let tls = environment(seed.fork("proxy's tls"));
                let outside = Outside { clock, seed, hostname: "proxy".into(), threads: Threads::Here, tls };
                let (mut primary, _, _) = Primary::start(SimNet::default(), args, config, text, outside).await?;
                primary.serve(received, None).await;
                told.drained.set(Some(primary.finish().await));
                Ok(())
            }
        });
        World { sim, seen, orders, seed }
    }

    /// The config file takes this text; an order to reload reads it.
    pub(crate) fn rewrite(&self, setup: &Setup) {
        config_file(&setup.yaml());
    }

    /// An upstream.
    pub(crate) fn upstream(&mut self, number: u8, origin: Origin) {
        let (seen, seed) = (Rc::clone(&self.seen), Seed(self.seed).fork(&format!("upstream {number}")));
        let rng = Rc::new(RefCell::new(Rng::new(seed)));
        self.sim.host(upstream(number), move || origin.serve(Rc::clone(&seen), Rc::clone(&rng), seed.fork("tls")));
    }

    /// An upstream that accepts, and says nothing.
    pub(crate) fn silent_upstream(&mut self, number: u8) {
        self.sim.host(upstream(number), stay_silent);
    }

    /// A client.
    pub(crate) fn client(&mut self, number: u8, script: Client) {
        let (seen, seed) = (Rc::clone(&self.seen), Seed(self.seed).fork(&format!("client {number}")));
        self.sim.client(client(number), script.run(seen, seed));
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
            // Odd ids are POSTs.
            assert!(*count <= 1 || id % 2 == 0, "seed {}: the POST {id} was sent {count} times", self.seed);
        }
    }
}
