//! A user's own config in a world of their own: `weir-sim run` and `prove drain`, as a user calls them.

use std::process::Command;

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/example/envoy.yaml");
const WORLD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/example/world.toml");

/// Runs `weir-sim`: exit code, standard output, standard error.
fn weir_sim(arguments: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_weir-sim")).args(arguments).output().expect("weir-sim runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (out.status.code().unwrap_or(-1), text(out.stdout), text(out.stderr))
}

#[test]
fn a_world_of_ones_own_is_the_same_byte_for_byte() {
    let run = || weir_sim(&["run", "--config", CONFIG, "--world", WORLD, "--seed", "3", "--requests"]);
    let (code, out, err) = run();
    assert_eq!((code, err.as_str()), (0, ""), "{}", &out[out.len().saturating_sub(2000)..]);
    assert!(out == run().1, "two processes saw two worlds");
    for part in ["GET /health  200 - direct_response", "cluster api: ", "flags: ", "p99.9", "seed 3: ", "all checks hold"] {
        assert!(out.contains(part), "{part} is missing");
    }
    let requests: usize = out.lines().find_map(|line| line.strip_suffix(" requests")).expect("a total").parse().expect("a number");
    assert!(requests > 5_000, "{requests}");
    assert_eq!(out.lines().filter(|line| line.contains(" ms  worker ")).count(), requests, "a line for each");
}

#[test]
fn a_drain_and_an_update_are_proved_at_every_event() {
    let (code, out, err) = weir_sim(&["prove", "drain", "--config", CONFIG, "--millis", "20"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("with a drain: all clean") && out.contains("with a config update: all clean"), "{out}");
}

#[test]
fn mistakes_say_where_they_are() {
    let world = std::env::temp_dir().join(format!("weir-sim-test-{}.toml", std::process::id()));
    std::fs::write(&world, "duration = \"1s\"\n[upstreams.nobody]\nlatency = \"1ms\"\n").expect("a file");
    let (code, _, err) = weir_sim(&["run", "--config", CONFIG, "--world", world.to_str().expect("a path")]);
    let _ = std::fs::remove_file(&world);
    assert_eq!(code, 2);
    assert!(err.contains(".toml:2:12: there is no cluster `nobody`; the config has api, web"), "{err}");
    let (code, _, err) = weir_sim(&["run", "--config", "/none.yaml"]);
    assert!(code == 2 && err.contains("cannot read /none.yaml"), "{err}");
}
