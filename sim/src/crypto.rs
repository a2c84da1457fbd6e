//! Cryptography that is the same in every process: keys, nonces and tickets are drawn from a seed, dates are compared
//! with the simulated clock. Algorithms are aws-lc-rs's. The engine world and the network world both use it.
//!
//! Randomness comes in at three places only: `secure_random` (hellos, session ids), the keys of key exchanges, and
//! signatures, which therefore are Ed25519's. Never for anything but tests.

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use rustls::crypto::{ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup, aws_lc_rs as base};
use rustls::pki_types::UnixTime;
use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;
use rustls::{Error, NamedGroup, PeerMisbehaved};
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use weir::environment::Environment;
use weir_core::filter::Registry;
use weir_core::rng::{Rng, Seed};

/// What a host's TLS is made with. `seconds` tells the time since 1970.
pub fn environment(seed: Seed, seconds: impl Fn() -> u64 + Send + Sync + 'static) -> Environment {
    Environment { provider: Arc::new(provider(seed)), time: Arc::new(SimTime(Box::new(seconds))), tickets, filters: Registry::default() }
}

fn provider(seed: Seed) -> CryptoProvider {
    // rustls wants them for ever: a few bytes of each simulated host stay behind.
    let dice: &'static Dice = Box::leak(Box::new(Dice(Mutex::new(Rng::new(seed)))));
    let exchange: &'static Exchange = Box::leak(Box::new(Exchange(dice)));
    CryptoProvider { secure_random: dice, kx_groups: vec![exchange], ..base::default_provider() }
}

/// Randomness from a seed.
#[derive(Debug)]
struct Dice(Mutex<Rng>);

impl SecureRandom for Dice {
    fn fill(&self, out: &mut [u8]) -> Result<(), GetRandomFailed> {
        let mut rng = self.0.lock().map_err(|_| GetRandomFailed)?;
        for piece in out.chunks_mut(8) {
            piece.copy_from_slice(&rng.bits().to_le_bytes()[..piece.len()]);
        }
        Ok(())
    }
}

/// X25519 with keys from a seed.
#[derive(Debug)]
struct Exchange(&'static Dice);

impl SupportedKxGroup for Exchange {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut secret = [0; 32];
        self.0.fill(&mut secret)?;
        let key = PrivateKey::from_private_key(&X25519, &secret).map_err(|_| GetRandomFailed)?;
        let public = key.compute_public_key().map_err(|_| GetRandomFailed)?;
        Ok(Box::new(Exchanging { key, public: public.as_ref().to_vec() }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct Exchanging {
    key: PrivateKey,
    public: Vec<u8>,
}

impl ActiveKeyExchange for Exchanging {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let wrong = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);
        let peer = UnparsedPublicKey::new(&X25519, peer);
        agreement::agree(&self.key, peer, wrong, |secret| Ok(SharedSecret::from(secret)))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// The simulated clock, as certificates see it.
struct SimTime(Box<dyn Fn() -> u64 + Send + Sync>);

impl Debug for SimTime {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "SimTime({})", (self.0)())
    }
}

impl TimeProvider for SimTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs((self.0)())))
    }
}

/// Tickets that hide nothing: a mark drawn from the seed, then the session. Other settings' tickets are not taken.
#[derive(Debug)]
struct OpenTickets([u8; 16]);

fn tickets(provider: &CryptoProvider) -> Result<Arc<dyn ProducesTickets>, Error> {
    let mut mark = [0; 16];
    provider.secure_random.fill(&mut mark)?;
    Ok(Arc::new(OpenTickets(mark)))
}

impl ProducesTickets for OpenTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        3600
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        Some([&self.0, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        cipher.strip_prefix(&self.0).map(<[u8]>::to_vec)
    }
}
