//! `DownstreamTlsContext`.

use super::certificates::{Secrets, read_source};
use super::common::read_common;
use super::{DOWNSTREAM, UPSTREAM};
use crate::config::tls::{Data, DownstreamTls};
use crate::config::v3::listener::Transport;
use crate::config::v3::reader::Reader;
use crate::limit;

/// What a listener's transport socket is.
pub(in crate::config::v3) fn read_downstream(config: &Reader<'_>, secrets: &Secrets) -> Option<Transport<DownstreamTls>> {
    match config.type_name() {
        DOWNSTREAM => {}
        UPSTREAM => {
            config.error_here("this is TLS towards upstreams; a listener has a DownstreamTlsContext");
            return None;
        }
        _ => return None,
    }
    Some(Transport::Tls(read_downstream_context(config, secrets)))
}

fn read_downstream_context(context: &Reader<'_>, secrets: &Secrets) -> Option<DownstreamTls> {
    let common = context.message("common_tls_context", |common| read_common(&common, secrets)).flatten();
    if !context.has("common_tls_context") {
        context.error_here("TLS on a listener needs a `common_tls_context` with a certificate");
    }
    let require = context.flag("require_client_certificate");
    if let Some(common) = &common {
        if common.certificates.is_empty() && common.certificate_files.is_empty() {
            context.error("common_tls_context", "TLS on a listener needs a certificate: `tls_certificates`");
        }
        if require && common.validation_file.is_none() && !common.is_verifying() {
            context.error("require_client_certificate", DownstreamTls::UNFOUNDED);
        }
    }
    let mut ticket_keys = Vec::new();
    context.message("session_ticket_keys", |keys| {
        keys.each("keys", |key| ticket_keys.extend(read_source(&key)));
    });
    for key in &ticket_keys {
        if let Data::Inline(bytes) = &key.data
            && bytes.len() != limit::TICKET_KEY
        {
            let why = format!("a key is {} bytes (`openssl rand {0}`), and one of these is {}", limit::TICKET_KEY, bytes.len());
            context.error("session_ticket_keys", why);
        }
    }
    if context.has("session_ticket_keys_sds_secret_config") {
        context.ignore(&["session_ticket_keys_sds_secret_config"]);
        let why = "Weir takes session ticket keys from `session_ticket_keys` only so far; files that it names are watched";
        context.unsupported("session_ticket_keys_sds_secret_config", why);
    }
    if context.enumeration("ocsp_staple_policy") != 0 {
        context.unsupported("ocsp_staple_policy", "Weir sends the staples that it is given, and does not look at their dates yet");
    }
    Some(DownstreamTls {
        common: common?,
        require_client_certificate: require,
        require_sni: context.flag("require_sni"),
        session_timeout: context.duration("session_timeout").unwrap_or(limit::TLS_SESSION_LIFE),
        ticket_keys,
        stateless_resumption: !context.flag("disable_stateless_session_resumption"),
        stateful_resumption: !context.flag("disable_stateful_session_resumption"),
        full_scan: context.flag("full_scan_certs_on_sni_mismatch"),
        prefer_client_ciphers: context.flag("prefer_client_ciphers"),
    })
}
