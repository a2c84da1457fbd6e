//! Who of a world's peers brings what to its handshakes.

use super::actor::{Actor, Casting, Client, Misfit, Unfit};
use super::{ClientCertificate, Tls};
use crate::peer::Peer;
use crate::versions::Upstream;
use rustls::Error;
use weir::environment::Environment;
use weir_core::rng::Rng;

/// The peers, in their order: clients, misfits, perhaps one that probes, hosts by cluster.
#[derive(Debug)]
pub struct Roles<'a> {
    /// All peers.
    pub peers: &'a [Box<dyn Peer>],
    /// How many clients come before the misfits.
    pub clients: usize,
    /// What is wrong with those.
    pub misfits: &'a [Misfit],
    /// The cluster of each host; the hosts come last.
    pub hosts: &'a [usize],
    /// What the hosts of each cluster are spoken to in.
    pub versions: &'a [Upstream],
    /// Hosts may have a wrong certificate.
    pub wild: bool,
}

/// What is wrong with the clients of this world that may not be let in.
pub fn misfits(tls: &Tls, rng: &mut Rng) -> Vec<Misfit> {
    let Some(listener) = &tls.listener else { return Vec::new() };
    let mut kinds = vec![Misfit::Hangs, Misfit::ClearText, Misfit::Distrusts];
    kinds.extend(listener.by_name.then_some(Misfit::UnknownName));
    kinds.extend((listener.certificate != ClientCertificate::Unasked).then_some(Misfit::StrangeCertificate));
    kinds.extend((listener.certificate == ClientCertificate::Required).then_some(Misfit::NoCertificate));
    (0..rng.below(5)).map(|_| kinds[rng.below(kinds.len() as u64) as usize]).collect()
}

impl Tls {
    /// What each peer brings.
    ///
    /// # Errors
    /// The committed certificates cannot be used.
    pub fn cast(&self, roles: &Roles<'_>, environment: Environment, rng: &mut Rng) -> Result<Vec<Actor>, Error> {
        let casting = Casting::new(environment)?;
        let first_host = roles.peers.len() - roles.hosts.len();
        // One host in so many.
        let unfit_of = if roles.wild { [0, 0, 3, 3, 3, 1][rng.below(6) as usize] } else { 0 };
        let mut actor = |number: usize, two: bool| {
            if let Some(cluster) = number.checked_sub(first_host).and_then(|host| roles.hosts.get(host)) {
                let Some(upward) = self.upward(*cluster) else { return Ok(Actor::ClearHost) };
                let unfit = (unfit_of > 0 && rng.below(unfit_of) == 0)
                    .then(|| [Unfit::Stranger, Unfit::OtherName, Unfit::Hangs][rng.below(3) as usize]);
                let speaks = roles.versions.get(*cluster).copied().unwrap_or(Upstream::One);
                return casting.host(upward, speaks, unfit, rng).map(Actor::Host);
            }
            let Some(listener) = &self.listener else { return Ok(Actor::Client(Client::clear(0))) };
            let misfit = number.checked_sub(roles.clients).and_then(|misfit| roles.misfits.get(misfit)).copied();
            match misfit.is_none() && listener.beside_clear && rng.below(2) == 0 {
                true => Ok(Actor::Client(Client::clear(0))),
                false => casting.client(listener, two, misfit, rng).map(Actor::Client),
            }
        };
        roles.peers.iter().enumerate().map(|(number, peer)| actor(number, peer.speaks_http2())).collect()
    }
}
