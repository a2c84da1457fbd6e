//! `UpstreamTlsContext` to rustls: one for each cluster.

use super::material::Material;
use super::server::{alpn, complain, narrowed, versions};
use super::verify::Servers;
use rustls::ClientConfig;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::sync::Arc;
use weir_core::config::tls::UpstreamTls;
use weir_core::tls_info::Certificate;

/// Settings that are ready.
#[derive(Debug)]
pub struct Client {
    /// For rustls.
    pub config: Arc<ClientConfig>,
    /// The same, but the certificate must be for the name that is sent. Its sessions are its own: one that was begun
    /// without that check is not resumed with it.
    pub for_sent_name: Option<Arc<ClientConfig>>,
    verifier: Arc<Servers>,
    /// What our own certificate says.
    pub own: Option<Arc<Certificate>>,
}

/// Shows no certificate.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Makes settings ready; `None` if something is wrong, which is said.
pub fn build(tls: &UpstreamTls, material: &Material<'_>) -> Option<Client> {
    let own = tls.common.certificates.first().map(|certificate| material.own(certificate));
    let verifier = Servers::new(tls.common.validation.as_ref(), tls.auto_sni_san, material);
    if !tls.sni.is_empty() && ServerName::try_from(&*tls.sni).is_err() {
        material.error(&tls.common.place, format!("`{}` is no host name that a server could be asked for", tls.sni));
        return None;
    }
    let own = match own {
        Some(own) => Some(own?),
        None => None,
    };
    let verifier = Arc::new(verifier?);
    let environment = material.environment;
    let provider = narrowed(&environment.provider, &tls.common.params);
    let builder = ClientConfig::builder_with_details(Arc::new(provider), Arc::clone(&environment.time));
    let builder = match builder.with_protocol_versions(&versions(&tls.common.params)) {
        Ok(builder) => builder,
        Err(error) => return complain(&tls.common, material, &error),
    };
    let resolver: Arc<dyn ResolvesClientCert> = match &own {
        Some(own) => Arc::new(SingleCertAndKey::from(own.key.as_ref().clone())),
        None => Arc::new(NoCertificate),
    };
    let mut config =
        builder.dangerous().with_custom_certificate_verifier(Arc::<Servers>::clone(&verifier)).with_client_cert_resolver(resolver);
    config.alpn_protocols = alpn(&tls.common);
    config.resumption = sessions(tls);
    let for_sent_name = tls.by_request.san.then(|| {
        let mut config = config.clone();
        config.dangerous().set_certificate_verifier(Arc::new(verifier.demanding(None)));
        config.resumption = sessions(tls);
        Arc::new(config)
    });
    Some(Client { config: Arc::new(config), for_sent_name, verifier, own: own.map(|own| own.facts) })
}

/// Sessions are kept by server name, and each cluster has hosts of its own.
fn sessions(tls: &UpstreamTls) -> Resumption {
    match tls.max_session_keys {
        0 => Resumption::disabled(),
        keys => Resumption::in_memory_sessions((keys as usize).max(32)),
    }
}

impl Client {
    /// Settings for one connection, whose server must be called `san`, whatever name is sent: it resumes nothing.
    pub fn demanding(&self, san: ServerName<'static>) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.config);
        config.dangerous().set_certificate_verifier(Arc::new(self.verifier.demanding(Some(san))));
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }
}
