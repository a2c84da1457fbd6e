//! Faults of the network, one file each, and what they make of it: the [`Weather`].

pub mod blackhole;
pub mod dns;
pub mod refuse;
pub mod storm;

use crate::link::Law;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// A fault that begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A host refuses connections.
    Refuse(SocketAddr),
    /// A host does not answer to connections.
    Blackhole(SocketAddr),
    /// DNS does not name a host any more; if it was the last one, it fails.
    Unnamed(SocketAddr),
    /// All links are slow and uneven.
    Storm(Law),
    /// All is well again.
    Over,
}

impl Fault {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Refuse(_) => "refuse",
            Fault::Blackhole(_) => "blackhole",
            Fault::Unnamed(_) => "dns",
            Fault::Storm(_) => "storm",
            Fault::Over => "none",
        }
    }
}

/// The state of the network.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    refusing: BTreeSet<SocketAddr>,
    silent: BTreeSet<SocketAddr>,
    unnamed: BTreeSet<SocketAddr>,
    storm: Option<Law>,
}

impl Weather {
    pub(crate) fn change(&mut self, fault: &Fault) {
        match fault {
            Fault::Refuse(host) => drop(self.refusing.insert(*host)),
            Fault::Blackhole(host) => drop(self.silent.insert(*host)),
            Fault::Unnamed(host) => drop(self.unnamed.insert(*host)),
            Fault::Storm(law) => self.storm = Some(law.clone()),
            Fault::Over => *self = Weather::default(),
        }
    }

    /// Whether a connection to a host succeeds; `None` if nothing is ever heard of it.
    pub(crate) fn connects(&self, host: SocketAddr) -> Option<bool> {
        if self.silent.contains(&host) {
            return None;
        }
        Some(!self.refusing.contains(&host))
    }

    /// Whether DNS tells of a host.
    pub(crate) fn names(&self, host: IpAddr) -> bool {
        !self.unnamed.iter().any(|unnamed| unnamed.ip() == host)
    }

    /// The law of a link in this weather.
    pub(crate) fn bend(&self, law: &Law) -> Law {
        self.storm.clone().unwrap_or_else(|| law.clone())
    }
}
