//! The choice, criterion by criterion in Envoy's order: at each the chains that fit best stay, and there is no way
//! back. (`api-v3/config/listener/v3/listener_components.proto`, `FilterChainMatch`.)

use super::{Arrival, ChainMatch, Cidr, SourceType};
use crate::plant::{Plant, is_planted};
use std::net::IpAddr;

/// The place of the chain that fits best; `None` if none does, and the default chain has to serve.
pub fn choose<'c>(chains: impl Iterator<Item = (usize, &'c ChainMatch)>, arrival: &Arrival<'_>) -> Option<usize> {
    let mut left: Vec<(usize, &ChainMatch)> = chains.collect();
    let (local, remote) = (arrival.addresses.local, arrival.addresses.remote);
    by_exact(&mut left, |on| on.port.as_slice(), &[local.port()]);
    by_network(&mut left, |on| &on.networks, local.ip());
    by_name(&mut left, arrival.hello.server_name.unwrap_or_default());
    let transport = if arrival.hello.tls { "tls" } else { "raw_buffer" };
    keep_best(&mut left, |on| match on.transport.as_deref() {
        Some(wanted) => (wanted == transport).then_some(1),
        None => Some(0),
    });
    let offered = arrival.hello.alpn;
    keep_best(&mut left, |on| {
        // What the client likes best counts most.
        let place = offered.iter().position(|offer| on.protocols.iter().any(|wanted| wanted.as_bytes() == *offer));
        if on.protocols.is_empty() { Some(0) } else { place.map(|place| offered.len() - place) }
    });
    by_network(&mut left, |on| &on.direct_sources, remote.ip());
    let is_local = remote.ip().is_loopback() || remote.ip() == local.ip();
    keep_best(&mut left, |on| match on.source {
        SourceType::Any => Some(0),
        SourceType::Local => is_local.then_some(1),
        SourceType::External => (!is_local).then_some(1),
    });
    by_network(&mut left, |on| &on.sources, remote.ip());
    by_exact(&mut left, |on| &on.source_ports, &[remote.port()]);
    left.first().map(|(place, _)| *place)
}

/// Keeps the chains with the highest rank; those without one do not fit.
fn keep_best(left: &mut Vec<(usize, &ChainMatch)>, rank: impl Fn(&ChainMatch) -> Option<usize>) {
    let best = left.iter().filter_map(|(_, on)| rank(on)).max();
    left.retain(|(_, on)| best.is_some() && rank(on) == best);
}

fn by_exact<T: PartialEq>(left: &mut Vec<(usize, &ChainMatch)>, keys: impl Fn(&ChainMatch) -> &[T], value: &[T]) {
    keep_best(left, |on| match keys(on) {
        [] => Some(0),
        keys => keys.iter().any(|key| value.contains(key)).then_some(1),
    });
}

/// The longest prefix; a chain that names no network comes last.
fn by_network(left: &mut Vec<(usize, &ChainMatch)>, keys: impl Fn(&ChainMatch) -> &[Cidr], address: IpAddr) {
    keep_best(left, |on| match keys(on) {
        [] => Some(0),
        networks => networks.iter().filter(|network| network.contains(address)).map(|network| usize::from(network.bits()) + 1).max(),
    });
}

/// The name itself, then the longest suffix that begins with a dot, then no name.
fn by_name(left: &mut Vec<(usize, &ChainMatch)>, name: &str) {
    keep_best(left, |on| {
        let rank = |wanted: &str| match wanted.starts_with('.') {
            true => (name.len() > wanted.len() && name.ends_with(wanted)).then_some(wanted.len()),
            false => (wanted == name || (is_planted(Plant::SniWrongChain) && are_neighbours(wanted, name))).then_some(usize::MAX),
        };
        if on.server_names.is_empty() { Some(0) } else { on.server_names.iter().filter_map(|wanted| rank(wanted)).max() }
    });
}

/// Whether two names are of the same domain.
fn are_neighbours(one: &str, other: &str) -> bool {
    one.split_once('.').zip(other.split_once('.')).is_some_and(|((_, one), (_, other))| one == other)
}

#[cfg(test)]
mod tests {
    use super::super::Hello;
    use super::*;
    use crate::record::Addresses;

    fn cidr(text: &str) -> Cidr {
        let (address, bits) = text.split_once('/').unwrap();
        Cidr::new(address.parse().unwrap(), bits.parse().unwrap())
    }

    /// `port=`, `net=`, `sni=`, `transport=`, `alpn=`, `direct=`, `type=`, `src=`, `sport=`, separated by blanks.
    fn chain(text: &str) -> ChainMatch {
        let mut on = ChainMatch::default();
        for (key, value) in text.split_whitespace().map(|word| word.split_once('=').unwrap()) {
            let words = || value.split(',').map(Into::into).collect();
            let nets = || value.split(',').map(cidr).collect();
            match key {
                "port" => on.port = value.parse().ok(),
                "net" => on.networks = nets(),
                "sni" => on.server_names = words(),
                "transport" => on.transport = Some(value.into()),
                "alpn" => on.protocols = words(),
                "direct" => on.direct_sources = nets(),
                "type" => on.source = if value == "local" { SourceType::Local } else { SourceType::External },
                "src" => on.sources = nets(),
                "sport" => on.source_ports = vec![value.parse().unwrap()],
                _ => unreachable!("{key}"),
            }
        }
        on
    }

    fn chosen(chains: &[&str], local: &str, remote: &str, hello: Hello<'_>) -> Option<usize> {
        let chains: Vec<ChainMatch> = chains.iter().map(|text| chain(text)).collect();
        let addresses = Addresses { local: local.parse().unwrap(), remote: remote.parse().unwrap() };
        choose(chains.iter().enumerate(), &Arrival { addresses, hello })
    }

    #[test]
    fn names_are_matched_from_the_most_to_the_least_specific() {
        let chains = ["sni=a.b.example", "sni=.b.example", "sni=.example", "", "sni=.other,x.other"];
        for (name, place) in [
            (Some("a.b.example"), Some(0)),
            (Some("c.b.example"), Some(1)),
            (Some("c.c.b.example"), Some(1)),
            (Some("b.example"), Some(2)),
            (Some("example"), Some(3)),
            (Some("x.other"), Some(4)),
            (None, Some(3)),
        ] {
            let hello = Hello { tls: true, server_name: name, alpn: &[] };
            assert_eq!(chosen(&chains, "10.0.0.1:443", "10.0.0.9:1", hello), place, "{name:?}");
        }
    }

    #[test]
    fn there_is_no_way_back_from_a_more_specific_criterion() {
        let hello = Hello { tls: true, server_name: Some("a.example"), alpn: &[] };
        // The first names the port and then asks for another server; the second would have served.
        assert_eq!(chosen(&["port=443 sni=b.example", ""], "10.0.0.1:443", "10.0.0.9:1", hello), None);
        assert_eq!(chosen(&["port=444 sni=b.example", ""], "10.0.0.1:443", "10.0.0.9:1", hello), Some(1));
    }

    #[test]
    fn each_criterion_has_its_place() {
        let plain = Hello::default();
        let h2 = Hello { tls: true, server_name: None, alpn: &[b"h2", b"http/1.1"] };
        type Case<'a> = (&'a [&'a str], &'a str, &'a str, Hello<'a>, Option<usize>);
        let cases: [Case<'_>; 12] = [
            (&["net=10.0.0.0/8", "net=10.1.0.0/16", ""], "10.1.2.3:80", "9.9.9.9:1", plain, Some(1)),
            (&["net=10.0.0.0/8", "net=10.1.0.0/16", ""], "11.1.2.3:80", "9.9.9.9:1", plain, Some(2)),
            (&["net=10.0.0.0/8"], "[::1]:80", "[::2]:1", plain, None),
            (&["transport=tls", "transport=raw_buffer"], "10.1.2.3:80", "9.9.9.9:1", plain, Some(1)),
            (&["transport=tls", ""], "10.1.2.3:80", "9.9.9.9:1", h2, Some(0)),
            (&["alpn=http/1.1", "alpn=h2", ""], "10.1.2.3:80", "9.9.9.9:1", h2, Some(1)),
            (&["alpn=h3", ""], "10.1.2.3:80", "9.9.9.9:1", h2, Some(1)),
            (&["type=local", "type=external", ""], "10.1.2.3:80", "127.0.0.1:1", plain, Some(0)),
            (&["type=local", "type=external", ""], "10.1.2.3:80", "10.1.2.3:1", plain, Some(0)),
            (&["type=local", "type=external", ""], "10.1.2.3:80", "9.9.9.9:1", plain, Some(1)),
            (&["src=9.0.0.0/8 sport=1", "src=9.0.0.0/8", "direct=9.9.9.9/32"], "10.1.2.3:80", "9.9.9.9:1", plain, Some(2)),
            (&["src=9.0.0.0/8 sport=1", "src=9.0.0.0/8"], "10.1.2.3:80", "9.9.9.9:2", plain, Some(1)),
        ];
        for (chains, local, remote, hello, place) in cases {
            assert_eq!(chosen(chains, local, remote, hello), place, "{chains:?} {local} {remote}");
        }
    }

    #[test]
    fn chains_that_nothing_tells_apart_overlap() {
        for (one, other, overlaps) in [
            ("", "", true),
            ("sni=a", "sni=b", false),
            ("sni=a,b", "sni=b,c", true),
            ("sni=a,b", "sni=b,c transport=tls", false),
            ("sni=a", "", false),
            ("net=10.0.0.0/8", "net=10.1.0.0/8", true),
        ] {
            assert_eq!(chain(one).overlaps(&chain(other)), overlaps, "{one} {other}");
        }
    }
}
