//! TLS in simulated worlds: who speaks it, with which settings, and what is wrong with whom. All of it comes from a stream
//! of randomness of its own, so that worlds without TLS do not change.
//!
//! [`Tls`] is what a world's configs say (`yaml.rs` writes it down), [`actor`] what a scripted peer brings to its handshakes,
//! [`session`] a peer's side of one connection, and [`pipe`] what the proxy's side reads from and writes to: above it is
//! the runtime's own code. `world/secure.rs` joins them.

pub mod actor;
pub mod cast;
pub mod pem;
pub mod pipe;
pub mod session;
mod yaml;

use crate::event::{MS, Time};
use crate::versions::Upstream;
use rustls::SupportedProtocolVersion;
use weir_core::rng::Rng;

/// How many worlds there are for one with TLS.
const WORLDS: u64 = 5;

/// What the configs of one world say of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The listener that speaks it.
    pub listener: Option<Downstream>,
    /// For each cluster, if it does.
    pub clusters: Vec<Option<Upward>>,
}

/// Which versions are allowed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Allowed {
    Both,
    Only12,
    Only13,
}

/// Whether clients show a certificate.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ClientCertificate {
    Unasked,
    Verified,
    Required,
}

/// TLS towards clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downstream {
    /// There is a listener in clear text as well.
    pub beside_clear: bool,
    /// A chain for each of two names, found by the client hello; else one chain for all.
    pub by_name: bool,
    /// Client certificates.
    pub certificate: ClientCertificate,
    /// Versions.
    pub allowed: Allowed,
    /// Sessions are resumed by tickets.
    pub tickets: bool,
    /// `transport_socket_connect_timeout`, and `listener_filters_timeout`.
    pub timeout: Time,
    /// Every other version of the config has another certificate for the first name.
    pub renews: bool,
}

/// TLS towards the hosts of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upward {
    /// The proxy shows a certificate, and hosts want one.
    pub mutual: bool,
    /// Versions.
    pub allowed: Allowed,
    /// `max_session_keys`.
    pub sessions: u64,
    /// ALPN decides which version of HTTP is spoken (`auto_config`).
    pub auto: bool,
}

impl Tls {
    /// None at all in most worlds.
    pub fn draw(versions: &mut [Upstream], rng: &mut Rng) -> Tls {
        let clusters = versions.len();
        if rng.below(WORLDS) > 0 {
            return Tls { listener: None, clusters: vec![None; clusters] };
        }
        let (down, up) = [(true, true), (true, true), (true, false), (false, true)][rng.below(4) as usize];
        let listener = down.then(|| Downstream::draw(rng));
        let clusters = (0..clusters).map(|_| (up && rng.below(4) > 0).then(|| Upward::draw(rng))).collect();
        let tls = Tls { listener, clusters };
        for (version, _) in versions.iter_mut().zip(&tls.clusters).filter(|(_, up)| up.as_ref().is_some_and(|up| up.auto)) {
            *version = Upstream::Agreed;
        }
        tls
    }

    /// Whether anybody speaks it.
    pub fn is_spoken(&self) -> bool {
        self.listener.is_some() || self.clusters.iter().any(Option::is_some)
    }

    /// The settings towards a cluster.
    pub fn upward(&self, cluster: usize) -> Option<&Upward> {
        self.clusters.get(cluster)?.as_ref()
    }

    /// Where the proxy listens: names and ports, the one with TLS last.
    pub fn listeners(&self) -> &'static [(&'static str, u16)] {
        match &self.listener {
            None => &[("main", 80)],
            Some(Downstream { beside_clear: false, .. }) => &[("main", 443)],
            Some(_) => &[("main", 80), ("secure", 443)],
        }
    }
}

impl Allowed {
    fn draw(rng: &mut Rng) -> Allowed {
        [Allowed::Both, Allowed::Both, Allowed::Only12, Allowed::Only13][rng.below(4) as usize]
    }

    /// For rustls.
    pub fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        use rustls::version::{TLS12, TLS13};
        static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        match self {
            Allowed::Both => &BOTH,
            Allowed::Only12 => &BOTH[1..],
            Allowed::Only13 => &BOTH[..1],
        }
    }
}

impl Downstream {
    fn draw(rng: &mut Rng) -> Downstream {
        use ClientCertificate::{Required, Unasked, Verified};
        Downstream {
            beside_clear: rng.below(3) == 0,
            by_name: rng.below(2) == 0,
            certificate: [Unasked, Unasked, Verified, Required][rng.below(4) as usize],
            allowed: Allowed::draw(rng),
            tickets: rng.below(3) > 0,
            timeout: (300 + rng.below(4_000)) * MS,
            renews: rng.below(3) == 0,
        }
    }
}

impl Upward {
    fn draw(rng: &mut Rng) -> Upward {
        Upward {
            mutual: rng.below(3) == 0,
            allowed: Allowed::draw(rng),
            sessions: [0, 1, 1, 8][rng.below(4) as usize],
            auto: rng.below(3) == 0,
        }
    }
}
