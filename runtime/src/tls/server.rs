//! `DownstreamTlsContext` to rustls: one for each filter chain.

use super::material::Material;
use super::resolve::Certificates;
use super::session;
use super::tickets::{self, Shared};
use super::verify::Clients;
use rustls::crypto::CryptoProvider;
use rustls::server::NoClientAuth;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CipherSuite, NamedGroup, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};
use std::sync::Arc;
use weir_core::config::tls::{CommonTls, DownstreamTls, TlsParams, TlsVersion};

/// Makes settings ready; `None` if something is wrong, which is said.
pub fn build(tls: &DownstreamTls, material: &Material<'_>) -> Option<Arc<ServerConfig>> {
    // All certificates are looked at, whatever is wrong with the first.
    let own: Vec<_> = tls.common.certificates.iter().map(|certificate| material.own(certificate)).collect();
    let verifier = verifier(tls, material);
    let keys = ticket_keys(tls, material);
    let own = own.into_iter().collect::<Option<Vec<_>>>()?;
    let environment = material.environment;
    let provider = narrowed(&environment.provider, &tls.common.params);
    let builder = ServerConfig::builder_with_details(Arc::new(provider), Arc::clone(&environment.time));
    let builder = match builder.with_protocol_versions(&versions(&tls.common.params)) {
        Ok(builder) => builder,
        Err(error) => return complain(&tls.common, material, &error),
    };
    let resolver = Certificates::new(own, tls.full_scan, tls.require_sni);
    let mut config = builder.with_client_cert_verifier(verifier?).with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = alpn(&tls.common);
    config.ignore_client_order = !tls.prefer_client_ciphers;
    config.session_storage = session::cache(tls.stateful_resumption, tls.session_timeout, environment);
    match tls.stateless_resumption {
        true => match session::tickets(tls.session_timeout, keys?, environment) {
            Ok(tickets) => config.ticketer = tickets,
            Err(error) => return complain(&tls.common, material, &error),
        },
        // A cache is for TLS 1.2 only, as in Envoy.
        false => config.send_tls13_tickets = 0,
    }
    Some(Arc::new(config))
}

/// The config's keys of tickets, if it has some; the outer `None` if something is wrong with them, which is said.
fn ticket_keys(tls: &DownstreamTls, material: &Material<'_>) -> Option<Option<Shared>> {
    if tls.ticket_keys.is_empty() {
        return Some(None);
    }
    let keys: Vec<_> = tls.ticket_keys.iter().map(|source| material.ticket_key(source)).collect();
    let keys = keys.into_iter().collect::<Option<Vec<_>>>()?;
    Shared::new(&keys, tickets::asks(tls, material), material.environment.provider.secure_random).map(Some)
}

fn verifier(tls: &DownstreamTls, material: &Material<'_>) -> Option<Arc<dyn ClientCertVerifier>> {
    match &tls.common.validation {
        Some(validation) => Some(Arc::new(Clients::new(validation, tls.require_client_certificate, material)?)),
        None => Some(Arc::new(NoClientAuth)),
    }
}

/// Says that rustls does not take settings.
pub(super) fn complain<T>(common: &CommonTls, material: &Material<'_>, error: &rustls::Error) -> Option<T> {
    material.error(&common.place, format!("these TLS settings cannot be used: {error}"));
    None
}

/// The versions that settings allow.
pub(super) fn versions(params: &TlsParams) -> Vec<&'static SupportedProtocolVersion> {
    let (min, max) = (params.min.unwrap_or(TlsVersion::Tls12), params.max.unwrap_or(TlsVersion::Tls13));
    let all = [(TlsVersion::Tls13, &rustls::version::TLS13), (TlsVersion::Tls12, &rustls::version::TLS12)];
    all.into_iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, version)| version).collect()
}

pub(super) fn alpn(common: &CommonTls) -> Vec<Vec<u8>> {
    common.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect()
}

/// A provider with no more ciphers and key exchanges than settings allow, in their order. Those of TLS 1.3 cannot be
/// chosen, as in Envoy.
pub(super) fn narrowed(provider: &CryptoProvider, params: &TlsParams) -> CryptoProvider {
    let mut narrowed = provider.clone();
    if !params.ciphers.is_empty() {
        let (modern, old): (Vec<SupportedCipherSuite>, Vec<SupportedCipherSuite>) =
            provider.cipher_suites.iter().partition(|suite| suite.tls13().is_some());
        let wanted = params.ciphers.iter().filter_map(|name| old.iter().find(|suite| cipher_name(suite.suite()) == *name));
        narrowed.cipher_suites = modern.into_iter().chain(wanted.copied()).collect();
    }
    if !params.curves.is_empty() {
        let wanted = params.curves.iter().filter_map(|name| provider.kx_groups.iter().find(|group| curve_name(group.name()) == *name));
        narrowed.kx_groups = wanted.copied().collect();
    }
    narrowed
}

/// OpenSSL's name of a cipher, which Envoy uses.
pub fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        _ => "",
    }
}

/// BoringSSL's name of a key exchange, which Envoy uses.
pub fn curve_name(group: NamedGroup) -> &'static str {
    match group {
        NamedGroup::X25519 => "X25519",
        NamedGroup::secp256r1 => "P-256",
        NamedGroup::secp384r1 => "P-384",
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        _ => "",
    }
}
