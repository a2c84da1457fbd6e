//! `FilterChainMatch`: what a connection must be for a chain, and whether two chains could both fit one.

use std::net::IpAddr;
use std::sync::Arc;

/// `envoy.config.listener.v3.FilterChainMatch`. What is empty fits everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainMatch {
    /// Port that the client connected to.
    pub port: Option<u16>,
    /// Networks of the address that the client connected to.
    pub networks: Vec<Cidr>,
    /// Server names, in lower case: `a.example`, or `.example` for any name under it.
    pub server_names: Vec<Arc<str>>,
    /// `tls` or `raw_buffer`.
    pub transport: Option<Arc<str>>,
    /// Protocols that the client offers.
    pub protocols: Vec<Arc<str>>,
    /// Networks of the address that the connection comes from.
    pub direct_sources: Vec<Cidr>,
    /// Where it comes from.
    pub source: SourceType,
    /// Networks of the client's address.
    pub sources: Vec<Cidr>,
    /// The client's ports.
    pub source_ports: Vec<u16>,
}

/// A network: an address and how many bits of it count.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cidr {
    /// Its address; the bits that do not count are zero.
    address: IpAddr,
    bits: u8,
}

/// `ConnectionSourceType`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub enum SourceType {
    /// From anywhere.
    #[default]
    Any,
    /// From this machine.
    Local,
    /// From another.
    External,
}

impl Cidr {
    /// The network of `bits` bits that `address` is in.
    pub fn new(address: IpAddr, bits: u8) -> Cidr {
        match address {
            IpAddr::V4(ip) => {
                let bits = bits.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                Cidr { address: IpAddr::V4((ip.to_bits() & mask).into()), bits }
            }
            IpAddr::V6(ip) => {
                let bits = bits.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                Cidr { address: IpAddr::V6((ip.to_bits() & mask).into()), bits }
            }
        }
    }

    /// Whether an address is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && Cidr::new(address, self.bits) == self
    }

    /// How many bits count.
    pub fn bits(self) -> u8 {
        self.bits
    }
}

impl ChainMatch {
    /// Whether it asks for something that only a client's first bytes tell.
    pub fn needs_inspection(&self) -> bool {
        // Whoever does not look takes everything for bytes that mean nothing.
        let tls = self.transport.as_deref().is_some_and(|transport| transport != "raw_buffer");
        tls || !self.server_names.is_empty() || !self.protocols.is_empty()
    }

    /// Whether some connection fits this and `other` equally well.
    pub fn overlaps(&self, other: &ChainMatch) -> bool {
        fn meet<T: PartialEq>(one: &[T], other: &[T]) -> bool {
            (one.is_empty() && other.is_empty()) || one.iter().any(|key| other.contains(key))
        }
        self.port == other.port
            && self.transport == other.transport
            && self.source == other.source
            && meet(&self.networks, &other.networks)
            && meet(&self.server_names, &other.server_names)
            && meet(&self.protocols, &other.protocols)
            && meet(&self.direct_sources, &other.direct_sources)
            && meet(&self.sources, &other.sources)
            && meet(&self.source_ports, &other.source_ports)
    }

    /// The keys of which two chains that overlap have one in common.
    pub fn keys(&self) -> Vec<(Option<u16>, Arc<str>)> {
        match self.server_names.is_empty() {
            true => vec![(self.port, Arc::from(""))],
            false => self.server_names.iter().map(|name| (self.port, Arc::clone(name))).collect(),
        }
    }
}
