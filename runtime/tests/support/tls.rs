//! Certificates made for a test, clients and upstreams that speak TLS.
#![allow(dead_code, unreachable_pub, missing_docs)]

use super::support::{file, upstream};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An authority and the folder that its certificates are written to.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub certificate: CertificateDer<'static>,
    pub folder: PathBuf,
}

/// A certificate with its key, as text and in files.
#[derive(Clone)]
pub struct Leaf {
    pub pem: String,
    pub key: String,
    pub der: CertificateDer<'static>,
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    pub serial: rcgen::SerialNumber,
}

impl Ca {
    pub fn new(name: &str) -> Ca {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let path = file("ca.pem", &certificate.pem());
        Ca { certificate: certificate.der().clone(), issuer: Issuer::new(params, key), folder: path.parent().unwrap().to_owned() }
    }

    /// An authority that this one vouches for.
    pub fn below(&self, name: &str) -> Ca {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = file("ca.pem", &certificate.pem());
        Ca { certificate: certificate.der().clone(), issuer: Issuer::new(params, key), folder: path.parent().unwrap().to_owned() }
    }

    /// A client that trusts this authority and shows a certificate with those that lead to its root.
    pub fn client_of(&self, own: &Leaf, above: &[&Ca]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let chain = std::iter::once(own.der.clone()).chain(above.iter().map(|ca| ca.certificate.clone())).collect();
        Arc::new(builder.with_root_certificates(roots).with_client_auth_cert(chain, own.private_key()).unwrap())
    }

    pub fn file(&self) -> String {
        self.folder.join("ca.pem").display().to_string()
    }

    pub fn leaf(&self, name: &str, sans: &[&str]) -> Leaf {
        self.leaf_of(name, sans, KeyPair::generate().unwrap(), |_| {})
    }

    pub fn rsa_leaf(&self, name: &str, sans: &[&str]) -> Leaf {
        self.leaf_of(name, sans, KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap(), |_| {})
    }

    pub fn leaf_of(&self, name: &str, sans: &[&str], key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let (uris, names): (Vec<&str>, Vec<&str>) = sans.iter().partition(|san| san.contains("://"));
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        params.distinguished_name.push(DnType::CommonName, name);
        let serial = rcgen::SerialNumber::from(rcgen_serial());
        params.serial_number = Some(serial.clone());
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (pem, key) = (certificate.pem(), key.serialize_pem());
        let (cert_file, key_file) = (self.folder.join(format!("{name}.pem")), self.folder.join(format!("{name}.key")));
        std::fs::write(&cert_file, &pem).unwrap();
        std::fs::write(&key_file, &key).unwrap();
        Leaf { pem, key, der: certificate.der().clone(), cert_file, key_file, serial }
    }

    /// A list that revokes one certificate; answers its file.
    pub fn revoke(&self, leaf: &Leaf) -> String {
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2124, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: vec![rcgen::RevokedCertParams {
                serial_number: leaf.serial.clone(),
                revocation_time: rcgen::date_time_ymd(2024, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let path = self.folder.join("crl.pem");
        std::fs::write(&path, params.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
        path.display().to_string()
    }

    /// A client that trusts this authority.
    pub fn client(&self, own: Option<&Leaf>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        Arc::new(match own {
            Some(leaf) => builder.with_client_auth_cert(vec![leaf.der.clone()], leaf.private_key()).unwrap(),
            None => builder.with_no_client_auth(),
        })
    }
}

impl Leaf {
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }

    /// `{ certificate_chain: .., private_key: .. }`
    pub fn yaml(&self) -> String {
        certificate(&self.cert_file, &self.key_file)
    }
}

pub fn certificate(chain: &Path, key: &Path) -> String {
    let (chain, key) = (chain.display(), key.display());
    format!("{{ certificate_chain: {{ filename: {chain} }}, private_key: {{ filename: {key} }} }}")
}

fn rcgen_serial() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1000);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub type Client = StreamOwned<ClientConnection, TcpStream>;

/// Shakes hands.
pub fn connect(config: &Arc<ClientConfig>, name: &str, address: SocketAddr) -> std::io::Result<Client> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), super::support::connect(address));
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Sends a request and reads the answer, head and body.
pub fn ask(stream: &mut Client, host: &str) -> std::io::Result<String> {
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length:").map(|n| n.trim().parse().unwrap()));
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok(head + &String::from_utf8_lossy(&body))
}

/// An upstream that answers every request with its head, over TLS.
pub fn tls_upstream(leaf: &Leaf) -> SocketAddr {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(builder.with_no_client_auth().with_single_cert(vec![leaf.der.clone()], leaf.private_key()).unwrap());
    upstream(move |stream| {
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        echo(&mut stream);
    })
}

/// The same, but the answer is the name that the client has asked for and how many connections there were before.
pub fn naming_upstream(leaf: &Leaf) -> SocketAddr {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(builder.with_no_client_auth().with_single_cert(vec![leaf.der.clone()], leaf.private_key()).unwrap());
    let connections = std::sync::atomic::AtomicUsize::new(0);
    upstream(move |stream| {
        let number = connections.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        let mut byte = [0];
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read(&mut byte) {
                    Ok(1) => head.push(byte[0]),
                    _ => return,
                }
            }
            let body = format!("{} {number}", stream.conn.server_name().unwrap_or("-"));
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_err() {
                return;
            }
        }
    })
}

/// An upstream that answers every request with its head.
pub fn echo_upstream() -> SocketAddr {
    upstream(|mut stream| echo(&mut stream))
}

fn echo(stream: &mut (impl Read + Write)) {
    loop {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
        }
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", head.len());
        if stream.write_all(&[answer.as_bytes(), &head].concat()).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}
