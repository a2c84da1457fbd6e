//! One number that stands for all that an engine decided and sent.

use std::hash::Hasher;
use twox_hash::XxHash3_64;

/// A running digest. Two runs with equal digests made the same decisions and queued the same bytes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Digest(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    /// Takes in a number.
    pub fn word(&mut self, word: u64) {
        // One multiplication folded over itself: every bit of the past and of the word moves all the others.
        let product = u128::from(self.0.rotate_left(23) ^ word) * 0x9e37_79b9_7f4a_7c15_u128;
        self.0 = (product as u64) ^ ((product >> 64) as u64) ^ 0x2545_f491_4f6c_dd1d;
    }

    /// Takes in bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.word(of(bytes));
    }

    /// The number.
    pub fn value(self) -> u64 {
        self.0
    }
}

/// The digest of a piece of bytes: XXH3, the same on every machine.
pub fn of(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// As [`of`], of pieces that follow each other.
pub fn of_all<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hasher = XxHash3_64::new();
    pieces.into_iter().for_each(|piece| hasher.write(piece));
    hasher.finish()
}

/// Pieces up to this long are digested whole by [`sample`], in bytes.
const WHOLE: usize = 1024;
/// In longer ones, so many bytes of every [`STRIDE`] are.
const SAMPLE: usize = 64;
/// See [`SAMPLE`].
const STRIDE: usize = 4096;

/// A digest that costs next to nothing however long the piece is: of all of a short one; of a long one's length, its
/// beginning, its end, and some of every page of it. It tells bodies that were mixed up, cut or shifted, but not every
/// single byte that changed.
pub fn sample(bytes: &[u8]) -> u64 {
    if bytes.len() <= WHOLE {
        return of(bytes);
    }
    let mut digest = Digest::default();
    digest.word(bytes.len() as u64);
    bytes.chunks(STRIDE).for_each(|page| digest.bytes(&page[..page.len().min(SAMPLE)]));
    digest.bytes(&bytes[bytes.len() - SAMPLE..]);
    digest.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_a_whole() {
        let bytes: Vec<u8> = (0..5000u32).map(|n| (n % 253) as u8).collect();
        assert_eq!(of_all([&bytes[..7], &bytes[7..3000], &bytes[3000..]]), of(&bytes));
    }

    #[test]
    fn a_sample_tells_long_pieces_apart() {
        let one: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        let mut end = one.clone();
        end[99_999] ^= 1;
        for other in [&one[1..], &one[..99_999], &end] {
            assert_ne!(sample(&one), sample(other));
        }
    }

    #[test]
    fn order_and_every_bit_matter() {
        let digest = |words: &[u64]| {
            let mut digest = Digest::default();
            words.iter().for_each(|word| digest.word(*word));
            digest.value()
        };
        let all: std::collections::BTreeSet<u64> =
            (0..64).map(|bit| digest(&[1 << bit, 0])).chain((0..64).map(|bit| digest(&[0, 1 << bit]))).collect();
        assert_eq!(all.len(), 128);
        assert_ne!(digest(&[1, 2]), digest(&[2, 1]));
    }
}
