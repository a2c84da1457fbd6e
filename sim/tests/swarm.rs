//! A bounded run of the swarm, and the promise that a seed is all there is to a world.

use std::process::Command;
use weir_sim::swarm;

#[test]
fn the_checks_hold_in_256_worlds() {
    for seed in 0..256 {
        if let Err(why) = swarm::draw(seed).judge(|_| {}) {
            panic!("seed {seed}: {why}\nreplay: cargo run --release -p weir-sim -- replay {seed}");
        }
    }
}

#[test]
fn two_processes_see_the_same_world() {
    let run = || {
        let out = Command::new(env!("CARGO_BIN_EXE_weir-sim")).args(["run", "--seeds", "40"]).output().expect("weir-sim runs");
        String::from_utf8(out.stdout).expect("text")
    };
    let (one, other) = (run(), run());
    assert!(one.contains("all checks hold") && one == other, "{one}{other}");
}
