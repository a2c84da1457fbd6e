//! Randomness from one seed, forked by name.
//!
//! An engine gets one [`Seed`]. Each user of randomness forks its own stream by name, so a new draw in one
//! place moves nothing in another. PCG-64 is small, fast and the same on every machine; it is not for
//! secrets, and core keeps none.

use rand_core::{Rng as _, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Where an engine's randomness starts. The same seed gives the same decisions.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed of the stream called `name`.
    pub fn fork(self, name: &str) -> Seed {
        // FNV-1a over the name, then SplitMix64's finaliser: neighbouring seeds give unrelated streams.
        let hash =
            name.bytes().fold(0xcbf2_9ce4_8422_2325 ^ self.0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        Seed(mix(hash))
    }
}

fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A stream of pseudo-random numbers.
#[derive(Clone, Debug)]
pub struct Rng(Pcg64Mcg);

impl Rng {
    /// The stream that starts at `seed`.
    pub fn new(seed: Seed) -> Rng {
        Rng(Pcg64Mcg::seed_from_u64(seed.0))
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`; zero if `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Lemire's multiply-shift; its bias is below 2^-32 for any bound that a proxy uses.
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_named_and_repeatable() {
        let draw = |seed: u64, name: &str| Rng::new(Seed(seed).fork(name)).bits();
        assert_eq!(draw(7, "balance"), draw(7, "balance"));
        assert_ne!(draw(7, "balance"), draw(7, "backoff"));
        assert_ne!(draw(7, "balance"), draw(8, "balance"));
    }

    #[test]
    fn below_stays_below() {
        let mut rng = Rng::new(Seed(1));
        assert_eq!(rng.below(0), 0);
        assert!((0..1000).all(|_| rng.below(3) < 3));
    }
}
