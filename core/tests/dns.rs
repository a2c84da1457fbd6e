//! Clusters whose hosts come from DNS.

mod pair;

use pair::{Pair, bootstrap};
use std::net::IpAddr;
use std::time::Duration;
use weir_core::cluster::{DnsError, Resolved};
use weir_core::config::DnsFamily;

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn dns(kind: &str, more: &str) -> String {
    let cluster = format!(
        "[{{ name: u, type: {kind}, connect_timeout: 1s, dns_lookup_family: V4_ONLY{more}, load_assignment: {{ cluster_name: u, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: svc.example, port_value: 80 }} }} }} }}] }}] }} }}]"
    );
    bootstrap("", "[{ match: { prefix: / }, route: { cluster: u, auto_host_rewrite: true } }]", &cluster)
}

fn resolve(pair: &mut Pair, addresses: &[&str], ttl: u64) {
    let (query, question) = pair.questions.pop().expect("a question");
    assert_eq!((&*question.name.host, question.name.port, question.family), ("svc.example", 80, DnsFamily::V4Only));
    let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    pair.engine.handle_resolved(query, Ok(Resolved { addresses, ttl: Some(Duration::from_secs(ttl)) }), pair.now);
    pair.pump();
}

fn hosts(pair: &Pair) -> Vec<String> {
    pair.engine
        .clusters()
        .flat_map(|cluster| cluster.hosts.members().map(|(_, host)| host.address.to_string()).collect::<Vec<_>>())
        .collect()
}

#[test]
fn strict_dns_makes_a_host_of_every_address_and_asks_again() {
    let mut pair = Pair::new(&dns("STRICT_DNS", ", dns_refresh_rate: 7s"));
    assert_eq!(pair.questions.len(), 1);
    resolve(&mut pair, &["10.9.0.2", "10.9.0.1", "10.9.0.2"], 1);
    assert_eq!(hosts(&pair), ["10.9.0.1:80", "10.9.0.2:80"]);
    pair.advance(Duration::from_secs(7) - Duration::from_nanos(1));
    assert!(pair.questions.is_empty());
    pair.advance(Duration::from_nanos(1));
    resolve(&mut pair, &["10.9.0.2", "10.9.0.3"], 1);
    assert_eq!(hosts(&pair), ["10.9.0.2:80", "10.9.0.3:80"]);
}

#[test]
fn a_ttl_is_respected_if_the_config_says_so() {
    let mut pair = Pair::new(&dns("STRICT_DNS", ", respect_dns_ttl: true"));
    resolve(&mut pair, &["10.9.0.1"], 60);
    pair.advance(Duration::from_secs(59));
    assert!(pair.questions.is_empty());
    pair.advance(Duration::from_secs(1));
    assert_eq!(pair.questions.len(), 1);
}

#[test]
fn a_failed_query_keeps_what_is_known() {
    let mut pair = Pair::new(&dns("STRICT_DNS", ""));
    resolve(&mut pair, &["10.9.0.1"], 1);
    pair.advance(Duration::from_secs(5));
    let (query, _) = pair.questions.pop().expect("a question");
    pair.engine.handle_resolved(query, Err(DnsError("no answer".into())), pair.now);
    pair.pump();
    assert_eq!(hosts(&pair), ["10.9.0.1:80"]);
    pair.advance(Duration::from_secs(5));
    assert_eq!(pair.questions.len(), 1, "it is asked again");
}

#[test]
fn logical_dns_takes_the_first_address_and_lets_connections_be() {
    let mut pair = Pair::new(&dns("LOGICAL_DNS", ""));
    resolve(&mut pair, &["10.9.0.5", "10.9.0.6"], 1);
    let client = pair.connect();
    pair.send(client, GET);
    let first = pair.upstream();
    assert!(pair.received(first).contains("Host: svc.example\r\n"), "auto_host_rewrite uses the name");
    pair.advance(Duration::from_secs(5));
    resolve(&mut pair, &["10.9.0.6"], 1);
    pair.send(first, OK);
    assert!(pair.take_received(client).ends_with("ok"), "the exchange under way ends on its old host");
    pair.send(client, GET);
    let second = pair.upstream();
    assert_eq!(pair.peer(second).address.map(|address| address.to_string()).as_deref(), Some("10.9.0.6:80"));
    pair.answer(OK);
    pair.assert_quiet();
}

#[test]
fn a_reload_keeps_the_hosts_of_names_that_stay() {
    let mut pair = Pair::new(&dns("STRICT_DNS", ""));
    resolve(&mut pair, &["10.9.0.1"], 1);
    pair.engine.handle_config(pair::config(&dns("STRICT_DNS", ", dns_refresh_rate: 9s")), pair.now);
    pair.pump();
    assert_eq!(hosts(&pair), ["10.9.0.1:80"]);
}
