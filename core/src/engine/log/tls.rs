//! How TLS is written: client hellos, and what handshakes came to.

use super::format::{Input, Put};
use super::reading::{Fault, Read, Reader};
use crate::listener::Hello;
use crate::time::Wall;
use crate::tls_info::{Certificate, TlsFault, TlsInfo};
use std::sync::Arc;

/// Appends a client hello.
pub(super) fn put_hello(out: &mut Vec<u8>, hello: &Hello<'_>) {
    out.number(u64::from(hello.tls) | u64::from(hello.server_name.is_some()) << 1);
    out.text(hello.server_name.unwrap_or_default().as_bytes());
    out.number(hello.alpn.len() as u64);
    hello.alpn.iter().for_each(|protocol| out.text(protocol));
}

/// Appends what a handshake came to.
pub(super) fn put_info(out: &mut Vec<u8>, tls: &TlsInfo) {
    for text in [&tls.version[..], &tls.cipher, &tls.curve, &tls.server_name, &tls.session_id] {
        out.text(text.as_bytes());
    }
    out.text(&tls.alpn);
    out.number(u64::from(tls.resumed));
    out.number(tls.peer_chain.len() as u64);
    tls.peer_chain.iter().for_each(|der| out.text(der));
    for certificate in [&tls.peer, &tls.local] {
        out.number(u64::from(certificate.is_some()));
        if let Some(certificate) = certificate {
            put_certificate(out, certificate);
        }
    }
}

fn put_certificate(out: &mut Vec<u8>, certificate: &Certificate) {
    let Certificate { subject, issuer, serial, sha256, sha1, uris, dns, emails, ips, not_before, not_after } = certificate;
    for text in [subject, issuer, serial, sha256, sha1] {
        out.text(text.as_bytes());
    }
    for list in [uris, dns, emails, ips] {
        out.number(list.len() as u64);
        list.iter().for_each(|text| out.text(text.as_bytes()));
    }
    out.number(not_before.as_nanos());
    out.number(not_after.as_nanos());
}

/// A fault's number.
pub(super) fn fault_number(fault: TlsFault) -> u64 {
    TlsFault::ALL.iter().position(|other| *other == fault).unwrap_or_default() as u64
}

impl<B: AsRef<[u8]>> Reader<B> {
    pub(super) fn client_hello(&mut self) -> Read<Input> {
        let (conn, flags, name) = (self.conn()?, self.number()?, self.text()?);
        let mut alpn = Vec::new();
        for _ in 0..self.count(1)? {
            alpn.push(self.bytes()?);
        }
        Ok(Input::ClientHello { conn, tls: flags & 1 == 1, server_name: (flags & 2 == 2).then_some(name), alpn })
    }

    pub(super) fn tls_fault(&mut self) -> Read<TlsFault> {
        let number = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        TlsFault::ALL.get(number).copied().ok_or(Fault::Damaged("a TLS fault of a kind that there is not"))
    }

    pub(super) fn tls_info(&mut self) -> Read<TlsInfo> {
        let (version, cipher, curve) = (self.text()?.into(), self.text()?.into(), self.text()?.into());
        let (server_name, session_id) = (self.text()?, self.text()?);
        let (alpn, resumed) = (self.bytes()?.into(), self.number()? != 0);
        let mut peer_chain = Vec::new();
        for _ in 0..self.count(1)? {
            peer_chain.push(self.bytes()?.into());
        }
        let (peer, local) = (self.certificate()?, self.certificate()?);
        Ok(TlsInfo { version, cipher, curve, alpn, server_name, session_id, resumed, peer, peer_chain, local })
    }

    fn certificate(&mut self) -> Read<Option<Arc<Certificate>>> {
        if self.number()? == 0 {
            return Ok(None);
        }
        Ok(Some(Arc::new(Certificate {
            subject: self.text()?,
            issuer: self.text()?,
            serial: self.text()?,
            sha256: self.text()?,
            sha1: self.text()?,
            uris: self.texts()?,
            dns: self.texts()?,
            emails: self.texts()?,
            ips: self.texts()?,
            not_before: Wall::from_nanos(self.number()?),
            not_after: Wall::from_nanos(self.number()?),
        })))
    }

    pub(super) fn bytes(&mut self) -> Read<Vec<u8>> {
        let len = self.count(1)?;
        Ok(self.take(len)?.to_vec())
    }

    fn texts(&mut self) -> Read<Vec<Box<str>>> {
        let mut list = Vec::new();
        for _ in 0..self.count(1)? {
            list.push(self.text()?);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::Tag;
    use super::super::recorder::{RecordOptions, Recorder};
    use super::*;
    use crate::config::Config;
    use crate::digest::Digest;
    use crate::engine::{ConnectError, Transport};
    use crate::id::ConnId;
    use crate::record::Addresses;
    use crate::rng::Seed;
    use crate::time::Instant;

    fn info() -> TlsInfo {
        let certificate = Certificate {
            subject: "CN=a".into(),
            uris: vec!["spiffe://a".into()],
            ips: vec!["10.0.0.1".into(), "::1".into()],
            not_after: Wall::from_nanos(7),
            ..Certificate::default()
        };
        TlsInfo {
            version: "TLSv1.3".into(),
            curve: "X25519".into(),
            alpn: b"h2"[..].into(),
            resumed: true,
            peer: Some(certificate.into()),
            peer_chain: vec![b"der"[..].into()],
            ..TlsInfo::default()
        }
    }

    #[test]
    fn what_is_written_of_tls_is_read_again() {
        let (conn, now) = (ConnId::from_u64(1 << 32 | 1), Instant::from_nanos(9));
        let addresses = Addresses { local: "10.0.0.1:1".parse().unwrap(), remote: "10.0.0.2:2".parse().unwrap() };
        let mut recorder = Recorder::new(&RecordOptions::default(), &Config::default(), Seed(1), now, Wall::from_nanos(6));
        let end = |recorder: &mut Recorder| recorder.end(&mut Vec::new(), Digest::default());
        recorder.client_hello(conn, &Hello { tls: true, server_name: Some("a"), alpn: &[b"h2", b"x"] }, now);
        end(&mut recorder);
        recorder.secured(conn, &info(), now);
        end(&mut recorder);
        recorder.handshake_failed(conn, TlsFault::Pin, now);
        end(&mut recorder);
        let there = Ok(Transport { addresses, tls: Some(info().into()) });
        let failed = Err(ConnectError { text: "TLS error".into(), tls: Some(TlsFault::Name) });
        for result in [&there, &failed] {
            recorder.connected(conn, result, now);
            end(&mut recorder);
        }
        let mut reader = Reader::new(recorder.snapshot(&mut Vec::new(), Digest::default()).to_bytes());
        reader.header().expect("a head");
        let inputs: Vec<Input> =
            std::iter::from_fn(|| reader.entry().ok()).filter(|entry| entry.tag != Tag::End).map(|e| e.input).collect();
        let hello = Input::ClientHello { conn, tls: true, server_name: Some("a".into()), alpn: vec![b"h2".to_vec(), b"x".to_vec()] };
        let rest = [there, failed].map(|result| Input::Connected { conn, result });
        let [first, second] = rest;
        assert_eq!(inputs, [hello, Input::Secured { conn, tls: info() }, Input::HandshakeFailed(conn, TlsFault::Pin), first, second]);
    }
}
