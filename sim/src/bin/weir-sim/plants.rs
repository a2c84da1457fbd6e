//! `weir-sim plants`: what the checks are worth.

#[cfg(weir_plants)]
use crate::swarm_worlds::sent;
#[cfg(weir_plants)]
use std::panic::catch_unwind;
use std::process::ExitCode;
#[cfg(weir_plants)]
use weir_sim::chains;
#[cfg(weir_plants)]
use weir_sim::recipe::Recipe;
#[cfg(weir_plants)]
use weir_sim::shrink::{failing, shrink};
#[cfg(weir_plants)]
use weir_sim::swarm;

/// Plants each fault and tells which check notices it, and after how many seeds.
#[cfg(weir_plants)]
pub(crate) fn run(seeds: u64, smaller: bool) -> ExitCode {
    use weir_core::plant::{Plant, plant};
    say!("| planted | what it does | caught by | seeds |{}", if smaller { " shrunk to |" } else { "" });
    say!("| --- | --- | --- | --- |{}", if smaller { " --- |" } else { "" });
    let mut missed = 0;
    for fault in Plant::ALL {
        plant(Some(*fault));
        // A planted fault may also break what the engine asserts about itself.
        let fails = |recipe: &Recipe| catch_unwind(|| failing(recipe)).unwrap_or(Some("an assertion"));
        let chains = |seed| catch_unwind(|| chains::run(seed)).map_or(Some("an assertion"), |ran| ran.err().map(|_| chains::NAME));
        let found = (0..seeds).find_map(|seed| chains(seed).or_else(|| fails(&Recipe::of(seed))).map(|check| (check, seed)));
        missed += u32::from(found.is_none());
        let (check, count) = found.map_or(("nothing", format!("none of {seeds}")), |(check, seed)| (check, (seed + 1).to_string()));
        let mut row = format!("| `{fault:?}` | {} | `{check}` | {count} |", fault.about());
        if smaller && found.is_some_and(|(check, _)| check == chains::NAME) {
            row.push_str(" a client hello |");
        } else if let (Some((check, seed)), true) = (found, smaller) {
            let small = shrink(&Recipe::of(seed), |less| fails(less) == Some(check));
            row.push_str(&format!(" {} requests |", sent(&small, swarm::size(&small).requests)));
        }
        say!("{row}");
    }
    plant(None);
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(weir_plants))]
pub(crate) fn run(_: u64, _: bool) -> ExitCode {
    say!(
        "this build has no faults to plant; RUSTFLAGS=\"--cfg weir_plants\" cargo run --release --target-dir target/plants -p weir-sim -- plants"
    );
    ExitCode::FAILURE
}
