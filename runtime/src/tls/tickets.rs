//! Session tickets under keys of the config (`session_ticket_keys`): what one process has sealed, another one with the
//! same keys opens.
//!
//! A ticket is what RFC 5077 section 4 recommends: the key's name, an IV, AES-256-CBC, HMAC-SHA256 over all of it. The
//! HMAC also covers what the settings ask of clients: a ticket holds a client's certificate, which is not looked at
//! again, so it must not open where other clients are let in. [`super::session`] wraps this, for the age of sessions.

use super::material::Material;
use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::{digest, hmac, iv::FixedLength};
use rustls::crypto::SecureRandom;
use rustls::server::ProducesTickets;
use weir_core::config::tls::DownstreamTls;
use weir_core::limit;

const NAME: usize = 16;
const IV: usize = 16;
const MAC: usize = 32;

/// One key.
struct Key {
    name: [u8; NAME],
    mac: hmac::Key,
    seal: PaddedBlockEncryptingKey,
    open: PaddedBlockDecryptingKey,
}

/// Seals with the first key, opens with any.
pub struct Shared {
    keys: Vec<Key>,
    /// Digest of what the settings ask of clients.
    asks: [u8; 32],
    random: &'static dyn SecureRandom,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys are nobody's to see.
        f.debug_struct("Shared").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Key {
    fn new(bytes: &[u8]) -> Option<Key> {
        let bytes: &[u8; limit::TICKET_KEY] = bytes.try_into().ok()?;
        let (name, rest) = bytes.split_first_chunk::<NAME>()?;
        let (mac, aes) = rest.split_at(32);
        Some(Key {
            name: *name,
            mac: hmac::Key::new(hmac::HMAC_SHA256, mac),
            seal: PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, aes).ok()?).ok()?,
            open: PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, aes).ok()?).ok()?,
        })
    }
}

impl Shared {
    /// With these keys, 80 bytes each, the first of which seals. `None` if there is none, or one is no key.
    pub fn new(keys: &[impl AsRef<[u8]>], asks: [u8; 32], random: &'static dyn SecureRandom) -> Option<Shared> {
        let keys = keys.iter().map(|key| Key::new(key.as_ref())).collect::<Option<Vec<Key>>>()?;
        (!keys.is_empty()).then_some(Shared { keys, asks, random })
    }
}

impl ProducesTickets for Shared {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        // Who wraps this knows.
        0
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.first()?;
        let mut iv = [0; IV];
        self.random.fill(&mut iv).ok()?;
        let mut sealed = plain.to_vec();
        key.seal.less_safe_encrypt(&mut sealed, EncryptionContext::Iv128(FixedLength::from(iv))).ok()?;
        let mut ticket = [&key.name[..], &iv, &sealed].concat();
        let tag = hmac::sign(&key.mac, &[&ticket[..], &self.asks].concat());
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (body, tag) = ticket.split_at(ticket.len().checked_sub(MAC)?);
        let (name, rest) = body.split_first_chunk::<NAME>()?;
        let (iv, sealed) = rest.split_first_chunk::<IV>()?;
        // More than one key may have that name.
        let of_name = |key: &&Key| key.name == *name;
        let fits = |key: &&Key| hmac::verify(&key.mac, &[body, &self.asks].concat(), tag).is_ok();
        let key = self.keys.iter().filter(of_name).find(fits)?;
        let mut plain = sealed.to_vec();
        let opened = key.open.decrypt(&mut plain, DecryptionContext::Iv128(FixedLength::from(*iv))).ok()?.len();
        plain.truncate(opened);
        Some(plain)
    }
}

/// What settings ask of clients, as a digest: the same for the same settings in another process, wherever its files are.
pub fn asks(tls: &DownstreamTls, material: &Material<'_>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[u8::from(tls.require_client_certificate)]);
    if let Some(validation) = &tls.common.validation {
        for source in [&validation.trusted_ca, &validation.crl] {
            let bytes = source.as_ref().and_then(|source| material.bytes(source)).unwrap_or_default();
            context.update(&(bytes.len() as u64).to_le_bytes());
            context.update(&bytes);
        }
        let (leaf, any, old) = (validation.leaf_crl_only, validation.accept_untrusted, validation.allow_expired);
        let rules = (&validation.names, &validation.spki_pins, &validation.hash_pins, validation.max_depth, leaf, any, old);
        context.update(format!("{rules:?}").as_bytes());
    }
    context.finish().as_ref().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    fn shared(keys: &[[u8; 80]], asks: u8) -> Shared {
        Shared::new(keys, [asks; 32], Environment::system().provider.secure_random).unwrap()
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let (old, new) = ([1; 80], [2; 80]);
        let (before, between, after) = (shared(&[old], 0), shared(&[new, old], 0), shared(&[new], 0));
        let (early, late) = (before.encrypt(b"session").unwrap(), between.encrypt(b"session").unwrap());
        assert_ne!(early, before.encrypt(b"session").unwrap(), "an IV is used once");
        for (tickets, early_opens, late_opens) in [(&before, true, false), (&between, true, true), (&after, false, true)] {
            assert_eq!(tickets.decrypt(&early).as_deref(), early_opens.then_some(&b"session"[..]));
            assert_eq!(tickets.decrypt(&late).as_deref(), late_opens.then_some(&b"session"[..]));
        }
        // Whoever asks something else of clients opens none of them.
        assert_eq!(shared(&[old], 1).decrypt(&early), None);
    }

    #[test]
    fn what_was_changed_or_cut_does_not_open() {
        let tickets = shared(&[[7; 80]], 0);
        let ticket = tickets.encrypt(b"session").unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "byte {at}");
            assert_eq!(tickets.decrypt(&ticket[..at]), None, "cut at {at}");
        }
        assert!(Shared::new(&[[0_u8; 79]], [0; 32], Environment::system().provider.secure_random).is_none());
        let none: [[u8; 80]; 0] = [];
        assert!(Shared::new(&none, [0; 32], Environment::system().provider.secure_random).is_none());
    }
}
