//! A host answers nothing to those who want to connect: it is off, or behind a broken network.

use super::Fault;
use std::net::SocketAddr;
use weir_core::rng::Rng;

/// Some host.
pub fn draw(hosts: &[SocketAddr], rng: &mut Rng) -> Fault {
    Fault::Blackhole(hosts[rng.below(hosts.len() as u64) as usize])
}
