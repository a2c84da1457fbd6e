//! `UpstreamTlsContext`.

use super::certificates::Secrets;
use super::common::read_common;
use super::{DOWNSTREAM, UPSTREAM};
use crate::config::tls::{CommonTls, NameByRequest, TlsParams, UpstreamTls, Validation};
use crate::config::v3::listener::Transport;
use crate::config::v3::reader::Reader;

/// What a cluster's transport socket is.
pub(in crate::config::v3) fn read_upstream(config: &Reader<'_>, secrets: &Secrets, names: NameByRequest) -> Option<Transport<UpstreamTls>> {
    match config.type_name() {
        UPSTREAM => {}
        DOWNSTREAM => {
            config.error_here("this is TLS towards clients; a cluster has an UpstreamTlsContext");
            return None;
        }
        _ => return None,
    }
    Some(Transport::Tls(read_upstream_context(config, secrets, names)))
}

fn read_upstream_context(context: &Reader<'_>, secrets: &Secrets, by_request: NameByRequest) -> Option<UpstreamTls> {
    let place = context.place_here();
    let empty = || CommonTls {
        certificates: Vec::new(),
        certificate_files: Vec::new(),
        validation: None,
        validation_file: None,
        alpn: Vec::new(),
        params: TlsParams::default(),
        place,
    };
    let common = match context.has("common_tls_context") {
        true => context.message("common_tls_context", |common| read_common(&common, secrets)).flatten(),
        false => Some(empty()),
    };
    if context.flag("allow_renegotiation") {
        context.unsupported("allow_renegotiation", "Weir never renegotiates: TLS 1.3 has no renegotiation, and that of TLS 1.2 is unsafe");
    }
    context.ignore(&["enforce_rsa_key_usage"]);
    let sni = context.str("sni").unwrap_or_default();
    let tls = UpstreamTls {
        common: common?,
        sni: sni.into(),
        auto_host_sni: context.flag("auto_host_sni"),
        auto_sni_san: context.flag("auto_sni_san_validation"),
        max_session_keys: context.u32("max_session_keys").unwrap_or(1),
        by_request,
    };
    // What a file of secrets holds is judged by whoever reads it.
    let by_file = tls.common.validation_file.is_some();
    let has_roots = by_file || tls.common.validation.as_ref().is_some_and(Validation::has_roots);
    if tls.common.certificates.len() + tls.common.certificate_files.len() > 1 {
        context.error("common_tls_context", "TLS towards upstreams has one certificate at the most");
    }
    if tls.auto_sni_san && !has_roots {
        context.error("auto_sni_san_validation", UpstreamTls::UNFOUNDED);
    }
    if tls.by_request.san && !has_roots {
        context.error_here(format!("`auto_san_validation` is set, but {}", UpstreamTls::UNFOUNDED));
    }
    if tls.auto_sni_san && sni.is_empty() && !tls.auto_host_sni && !tls.by_request.sni {
        context.error("auto_sni_san_validation", "there is no name to compare with: set `sni`, `auto_host_sni` or `auto_sni`");
    }
    if !by_file && !tls.common.is_verifying() {
        context.warn_here(UpstreamTls::UNVERIFIED);
    } else if !tls.auto_sni_san
        && !tls.by_request.san
        && tls.common.validation.as_ref().is_some_and(|validation| validation.names.is_empty() && !validation.has_pins())
    {
        context.warn_here(
            "any certificate of the `trusted_ca` is accepted, whatever its name, as in Envoy: add `auto_sni_san_validation` or \
             `match_typed_subject_alt_names`",
        );
    }
    Some(tls)
}
