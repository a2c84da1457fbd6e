//! What happens in worlds with TLS: all that can be drawn, and nothing else than what the seed says.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use weir_sim::check::{Check, Verdict};
use weir_sim::observe::{Observation, Party};
use weir_sim::peer::ConnNo;
use weir_sim::swarm;
use weir_sim::world::World;

/// How handshakes ended, by whom they were with.
type Counts = Rc<RefCell<BTreeMap<String, u64>>>;

/// Counts, and never fails.
#[derive(Debug)]
struct Tally {
    open: BTreeMap<ConnNo, Party>,
    counts: Counts,
}

impl Check for Tally {
    fn name(&self) -> &'static str {
        "tally"
    }

    fn observe(&mut self, what: &Observation, _: &World) -> Verdict {
        match what {
            Observation::Shaking(conn, party) => drop(self.open.insert(*conn, *party)),
            Observation::Shaken(conn, how) => {
                let name = match self.open.remove(conn) {
                    Some(Party::Host { fit, .. }) => format!("host fit {fit}: {how:?}"),
                    Some(Party::Client(misfit)) => format!("client {misfit:?}: {how:?}"),
                    None => "nobody".to_owned(),
                };
                *self.counts.borrow_mut().entry(name).or_default() += 1;
            }
            _ => {}
        }
        Ok(())
    }
}

#[test]
fn worlds_with_tls_reach_every_way_to_shake_hands() {
    let counts = Counts::default();
    let mut secure = 0;
    for seed in 0..400 {
        let mut scene = swarm::draw(seed);
        if !scene.world.speaks_tls() {
            continue;
        }
        secure += 1;
        scene.checks.push(Box::new(Tally { open: BTreeMap::new(), counts: Rc::clone(&counts) }));
        if let Err(why) = scene.judge(|_| {}) {
            panic!("seed {seed}: {why}\nreplay: cargo run --release -p weir-sim -- replay {seed}");
        }
    }
    let counts = counts.borrow();
    let all = format!("{secure} worlds: {counts:#?}");
    for wanted in [
        "host fit true: Done { resumed: false }",
        "host fit true: Done { resumed: true }",
        "host fit false: LetGo",
        "host fit false: Failed(Some(Untrusted))",
        "host fit false: Failed(Some(Name))",
        "client None: Done { resumed: false }",
        "client None: Done { resumed: true }",
        "client Some(UnknownName): Refused",
        "client Some(Hangs): LetGo",
        "client Some(ClearText): Refused",
        "client Some(ClearText): Failed(Some(Protocol))",
        "client Some(NoCertificate): Failed(Some(NoCertificate))",
        "client Some(StrangeCertificate): Failed(Some(Untrusted))",
        "client Some(Distrusts): Failed(Some(Protocol))",
    ] {
        assert!(counts.contains_key(wanted), "{wanted} is missing in {all}");
    }
}
