//! What TLS handshakes can agree on, by the names that Envoy counts them under: `ssl.versions.TLSv1.3`. A closed list,
//! so that counting one needs no name to be made.

/// What is agreed on.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum TlsChoice {
    /// `ssl.versions.`
    Version,
    /// `ssl.ciphers.`
    Cipher,
    /// `ssl.curves.`
    Curve,
}

impl TlsChoice {
    /// What the names begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            TlsChoice::Version => "ssl.versions",
            TlsChoice::Cipher => "ssl.ciphers",
            TlsChoice::Curve => "ssl.curves",
        }
    }

    /// The label that tells them apart in Prometheus.
    pub fn label(self) -> &'static str {
        match self {
            TlsChoice::Version => "envoy_ssl_version",
            TlsChoice::Cipher => "envoy_ssl_cipher",
            TlsChoice::Curve => "envoy_ssl_curve",
        }
    }
}

/// All that there is to agree on.
pub const TLS_CHOICES: [(TlsChoice, &str); 15] = [
    (TlsChoice::Version, "TLSv1.2"),
    (TlsChoice::Version, "TLSv1.3"),
    (TlsChoice::Cipher, "TLS_AES_128_GCM_SHA256"),
    (TlsChoice::Cipher, "TLS_AES_256_GCM_SHA384"),
    (TlsChoice::Cipher, "TLS_CHACHA20_POLY1305_SHA256"),
    (TlsChoice::Cipher, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (TlsChoice::Cipher, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (TlsChoice::Cipher, "ECDHE-ECDSA-CHACHA20-POLY1305"),
    (TlsChoice::Cipher, "ECDHE-RSA-AES128-GCM-SHA256"),
    (TlsChoice::Cipher, "ECDHE-RSA-AES256-GCM-SHA384"),
    (TlsChoice::Cipher, "ECDHE-RSA-CHACHA20-POLY1305"),
    (TlsChoice::Curve, "X25519"),
    (TlsChoice::Curve, "P-256"),
    (TlsChoice::Curve, "P-384"),
    (TlsChoice::Curve, "X25519MLKEM768"),
];
