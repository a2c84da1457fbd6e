//! Simulated worlds through C: what the engines of a world recorded is fed, in the same order, to engines behind the C
//! functions, which must decide the same, entry by entry, and count the same.

#[path = "simulated/wait.rs"]
mod wait;

use std::collections::BTreeMap;
use std::ptr;
use weir_core::drain::DrainScope;
use weir_core::engine::IoFault;
use weir_core::engine::log::{Entries, Entry, Input, Piece, RecordOptions};
use weir_core::filter::{Resume, Side};
use weir_core::stats::Totals;
use weir_core::tls_info::{TlsFault, TlsInfo};
use weir_ffi::address::weir_address;
use weir_ffi::config::{weir_config, weir_config_free, weir_config_load_with};
use weir_ffi::engine::*;
use weir_ffi::filter::{weir_engine_resume, weir_filter_id, weir_filters, weir_filters_free};
use weir_ffi::memory::{weir_bytes_free, weir_bytes_get, weir_iovec, weir_str};
use weir_ffi::result::weir_result::{self, *};
use weir_sim::recipe::Recipe;
use weir_sim::swarm;

/// Worlds that are tried.
const WORLDS: u64 = 160;

/// A struct with its size and nothing else in it.
macro_rules! fresh {
    ($type:ident) => {
        // SAFETY: zero is a value of every struct of the C ABI.
        $type { size: size_of::<$type>(), ..unsafe { std::mem::zeroed() } }
    };
}

fn text(text: &str) -> weir_str {
    weir_str { data: text.as_ptr().cast(), len: text.len() }
}

fn address(of: std::net::SocketAddr) -> weir_address {
    let mut made = weir_address { family: 6, port: of.port(), ip: [0; 16] };
    match of.ip() {
        std::net::IpAddr::V4(ip) => {
            made.family = 4;
            made.ip[..4].copy_from_slice(&ip.octets());
        }
        std::net::IpAddr::V6(ip) => made.ip = ip.octets(),
    }
    made
}

/// What of a handshake C can tell.
fn tls_info(tls: &TlsInfo) -> weir_tls_info {
    weir_tls_info {
        version: text(&tls.version),
        cipher: text(&tls.cipher),
        alpn: text(std::str::from_utf8(&tls.alpn).expect("protocols of the simulator are ASCII")),
        server_name: text(&tls.server_name),
        resumed: u32::from(tls.resumed),
        ..fresh!(weir_tls_info)
    }
}

fn fault(of: TlsFault) -> u32 {
    TlsFault::ALL.iter().position(|fault| *fault == of).map_or(0, |at| at as u32 + 1)
}

/// News about what is gone is none: Rust takes it in silence.
fn fed(result: weir_result) {
    assert!(matches!(result, WEIR_OK | WEIR_UNKNOWN_ID), "{result:?}: {}", words());
}

fn words() -> String {
    let mut buffer = [0; 1024];
    // SAFETY: the buffer is as long as it is said to be.
    let length = unsafe { weir_ffi::result::weir_last_error(buffer.as_mut_ptr().cast(), buffer.len()) };
    String::from_utf8_lossy(&buffer[..length.min(buffer.len() - 1)]).into_owned()
}

fn config(source: &weir_core::config::Source, filters: *const weir_filters) -> *mut weir_config {
    let mut config = ptr::null_mut();
    // SAFETY: the texts live, and there is room for the handle.
    let result = unsafe { weir_config_load_with(filters, text(&source.text), text(&source.file), 0, &raw mut config, ptr::null_mut()) };
    assert_eq!(result, WEIR_OK, "{}", words());
    config
}

/// An engine behind C, and what is to be fed to it.
struct Host {
    engine: *mut weir_engine,
    entries: Entries,
    /// For its configs.
    filters: *const weir_filters,
}

impl Host {
    fn new(log: Vec<u8>, shared_with: *const weir_engine, filters: *const weir_filters) -> Host {
        let entries = Entries::open(log.into()).expect("a log");
        let (now, wall) = entries.began();
        let options = weir_engine_options {
            seed: entries.seed().0,
            now: now.as_nanos(),
            wall: wall.as_nanos(),
            shared_with,
            record: 1,
            ..fresh!(weir_engine_options)
        };
        let (config, mut engine) = (config(entries.source(), filters), ptr::null_mut());
        // SAFETY: the options are what they say, and there is room for the handle.
        assert_eq!(unsafe { weir_engine_new(config, &raw const options, &raw mut engine) }, WEIR_OK);
        assert_eq!(weir_config_free(config), WEIR_OK);
        Host { engine, entries, filters }
    }

    fn digest(&self) -> u64 {
        let mut state = fresh!(weir_engine_state);
        // SAFETY: the struct is of its size.
        assert_eq!(unsafe { weir_engine_get_state(self.engine, &raw mut state) }, WEIR_OK);
        state.digest
    }

    fn stats(&self) -> String {
        let (mut bytes, mut data, mut len) = (ptr::null_mut(), ptr::null(), 0);
        // SAFETY: there is room for what is written, and the bytes live until they are freed.
        unsafe {
            assert_eq!(weir_engine_stats(self.engine, &raw mut bytes), WEIR_OK);
            assert_eq!(weir_bytes_get(bytes, &raw mut data, &raw mut len), WEIR_OK);
            let text = String::from_utf8(std::slice::from_raw_parts(data, len).to_vec()).expect("UTF-8");
            assert_eq!(weir_bytes_free(bytes), WEIR_OK);
            text
        }
    }

    fn drain_outputs(&self) {
        let (mut action, mut event) = (fresh!(weir_action), fresh!(weir_event));
        // SAFETY: the structs are of their size.
        unsafe {
            while weir_engine_next_action(self.engine, &raw mut action) == WEIR_OK {}
            while weir_engine_next_event(self.engine, &raw mut event) == WEIR_OK {}
        }
    }

    /// Feeds an entry; answers whether C can say it.
    fn feed(&self, entry: &Entry) -> bool {
        let (engine, now) = (self.engine, entry.at.as_nanos());
        // SAFETY: everything that is pointed to lives, and has what is said of it.
        unsafe {
            match &entry.input {
                Input::Accept { on, addresses } => {
                    let (local, remote, mut conn) = (address(addresses.local), address(addresses.remote), 0);
                    let result = weir_engine_accept(engine, on.to_u64(), &raw const local, &raw const remote, now, &raw mut conn);
                    let refusals = [WEIR_NO_LISTENER, WEIR_LISTENER_LIMIT, WEIR_GLOBAL_LIMIT, WEIR_NO_FILTER_CHAIN];
                    assert!(result == WEIR_OK || refusals.contains(&result), "{result:?}");
                }
                Input::Connected { conn, result: Ok(there) } => {
                    let (local, remote) = (address(there.addresses.local), address(there.addresses.remote));
                    let tls = there.tls.as_deref().map(tls_info);
                    let tls = tls.as_ref().map_or(ptr::null(), ptr::from_ref);
                    fed(weir_engine_connected(engine, conn.to_u64(), &raw const local, &raw const remote, tls, now));
                }
                Input::Connected { conn, result: Err(error) } => {
                    fed(weir_engine_connect_failed(engine, conn.to_u64(), text(&error.text), error.tls.map_or(0, fault), now));
                }
                Input::Recv { conn, offered, taken } => {
                    let mut bytes: Vec<u8> = Vec::with_capacity(*offered);
                    for piece in taken {
                        match piece {
                            Piece::Bytes(piece) => bytes.extend(piece),
                            Piece::Elided(_) => panic!("bodies are recorded"),
                        }
                    }
                    let (wanted, mut count) = (bytes.len(), 0);
                    bytes.resize(*offered, 0);
                    let result = weir_engine_recv(engine, conn.to_u64(), bytes.as_ptr(), bytes.len(), &raw mut count, now);
                    fed(result);
                    assert!(result != WEIR_OK || count == wanted, "{count} bytes were taken, not {wanted}");
                }
                Input::Eof(conn) => fed(weir_engine_eof(engine, conn.to_u64(), now)),
                Input::Closed(conn, why) => fed(weir_engine_closed(engine, conn.to_u64(), u32::from(*why == IoFault::Reset), now)),
                Input::Resolved { query, result: Ok(found) } => {
                    let addresses: Vec<_> = found.addresses.iter().map(|ip| address((*ip, 0).into())).collect();
                    let ttl = found.ttl.map_or(0, |ttl| ttl.as_nanos() as u64);
                    fed(weir_engine_resolved(engine, query.to_u64(), addresses.as_ptr(), addresses.len(), ttl, now));
                }
                Input::Resolved { query, result: Err(why) } => fed(weir_engine_resolve_failed(engine, query.to_u64(), text(why), now)),
                Input::Config(source) => {
                    let config = config(source, self.filters);
                    fed(weir_engine_set_config(engine, config, now));
                    assert_eq!(weir_config_free(config), WEIR_OK);
                }
                Input::Drain(DrainScope::Process { deadline }) => fed(weir_engine_drain(engine, deadline.as_nanos(), now)),
                Input::Drain(DrainScope::Listener(id)) => fed(weir_engine_drain_listener(engine, id.to_u64(), now)),
                Input::Nudge => fed(weir_engine_nudge(engine, now)),
                Input::Timeout => fed(weir_engine_timeout(engine, now)),
                Input::Transmit(conn) => self.transmit(conn.to_u64(), now),
                Input::Wall(wall) => fed(weir_engine_set_wall(engine, wall.as_nanos(), now)),
                Input::ClientHello { conn, tls, server_name, alpn } => {
                    let name = text(server_name.as_deref().unwrap_or_default());
                    let alpn: Vec<_> = alpn.iter().map(|protocol| text(std::str::from_utf8(protocol).expect("ASCII"))).collect();
                    let mut opening = 0;
                    let (first, count) = (alpn.as_ptr(), alpn.len());
                    fed(weir_engine_client_hello(engine, conn.to_u64(), u32::from(*tls), name, first, count, now, &raw mut opening));
                }
                Input::Secured { conn, tls } => fed(weir_engine_secured(engine, conn.to_u64(), &tls_info(tls), now)),
                Input::HandshakeFailed(conn, why) => fed(weir_engine_handshake_failed(engine, conn.to_u64(), fault(*why), now)),
                Input::Filter(id, Resume::Continue(learned)) => {
                    let side = u32::from(id.side == Side::Response);
                    let id =
                        weir_filter_id { engine: 0, exchange: id.exchange.to_u64(), index: id.index, side, turn: id.turn, reserved: 0 };
                    fed(weir_engine_resume(engine, &raw const id, learned.as_ptr(), learned.len(), now));
                }
                // The simulator's filters only wait.
                Input::Filter(_, Resume::Respond(_)) => return false,
                Input::Drain(DrainScope::Discourage | DrainScope::Encourage) => return false,
                Input::End { .. } => {}
            }
        }
        true
    }

    /// Takes what there is to send, as a socket does that takes all.
    fn transmit(&self, conn: u64, now: u64) {
        let (mut slices, mut count) = ([weir_iovec { data: ptr::null(), len: 0 }; 1024], 0);
        // SAFETY: there is room for as many slices as is said.
        let result = unsafe { weir_engine_transmit(self.engine, conn, slices.as_mut_ptr(), slices.len(), &raw mut count, now) };
        match result {
            WEIR_OK => {
                assert!(count < slices.len());
                let bytes = slices[..count].iter().map(|slice| slice.len).sum();
                assert_eq!(weir_engine_sent(self.engine, conn, bytes), WEIR_OK);
            }
            result => assert!(matches!(result, WEIR_NONE | WEIR_UNKNOWN_ID), "{result:?}"),
        }
    }
}

/// How many entries there were of each kind.
type Seen = BTreeMap<&'static str, u64>;

/// Lives through a world again; answers what could not be said in C, if anything.
fn relive(seed: u64, seen: &mut Seen) -> Option<&'static str> {
    let record = RecordOptions { bodies: true, about: "".into() };
    let mut scene = swarm::of(&Recipe { record: Some(record), ..Recipe::of(seed) });
    let filters = wait::filters(scene.world.filters.bodies);
    let report = scene.run();
    assert_eq!(report.failure, None, "seed {seed}");
    let mut hosts: Vec<Host> = Vec::new();
    for log in scene.world.logs() {
        let first = hosts.first().map_or(ptr::null_mut(), |host| host.engine);
        hosts.push(Host::new(log.to_bytes().to_vec(), first, filters));
    }
    hosts.iter().for_each(Host::drain_outputs);
    let turns = scene.world.turns();
    for (at, turn) in turns.iter().enumerate() {
        // Until its next turn begins.
        let until = turns[at + 1..].iter().find(|later| later.node == turn.node).map_or(usize::MAX, |later| later.from);
        let host = &mut hosts[turn.node];
        assert_eq!(host.entries.position(), turn.from, "seed {seed}: turn {at}");
        while host.entries.position() < until {
            let entry = host.entries.read().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            *seen.entry(entry.about()).or_default() += 1;
            if !host.feed(&entry) {
                return Some(entry.about());
            }
            host.drain_outputs();
            assert_eq!(entry.check, host.digest() as u8, "seed {seed}, engine {}: {:?} went another way", turn.node, entry.input);
            if let Input::End { digest, .. } = entry.input {
                assert_eq!(digest, host.digest(), "seed {seed}, engine {}", turn.node);
                break;
            }
        }
    }
    for (host, engine) in hosts.iter().zip(scene.world.engines()) {
        let mut totals = Totals::default();
        engine.stats().add_to(&mut totals);
        let lines: Vec<_> = totals.named().iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let behind_c = host.stats();
        assert_eq!(lines.len(), behind_c.lines().count(), "seed {seed}");
        for (one, other) in lines.iter().zip(behind_c.lines()) {
            // C cannot tell of the peer's certificate.
            assert!(one == other || one.contains("ssl.no_certificate"), "seed {seed}: {one} in Rust, {other} in C");
        }
    }
    // First those who share: the first must live until the others are made, and may go before them.
    for host in hosts {
        assert_eq!(weir_engine_free(host.engine), WEIR_OK);
    }
    assert_eq!(weir_filters_free(filters), WEIR_OK);
    None
}

#[test]
fn engines_behind_c_decide_as_those_of_simulated_worlds() {
    let (mut seen, mut unsaid) = (Seen::new(), Seen::new());
    let mut whole = 0;
    for seed in 0..WORLDS {
        match relive(seed, &mut seen) {
            None => whole += 1,
            Some(what) => *unsaid.entry(what).or_default() += 1,
        }
    }
    for kind in
        ["a config takes effect", "a drain begins", "a TLS handshake is done", "another engine asks for room", "a filter is resumed"]
    {
        assert!(seen.get(kind).is_some_and(|count| *count > 100), "of `{kind}` there is little: {seen:?}");
    }
    assert_eq!(whole, WORLDS, "what cannot be said in C: {unsaid:?}");
}
