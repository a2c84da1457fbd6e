//! `weir-sim`: runs simulated worlds.

/// Prints a line.
macro_rules! say {
    ($($line:tt)*) => { $crate::say_line(&format!($($line)*)) };
}

mod own_worlds;
mod plants;
mod progress;
mod prove;
mod swarm_worlds;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use weir_sim::own::Plan;
use weir_sim::recipe::Recipe;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "weir-sim", version, about = "Runs Weir's engine in simulated worlds")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the worlds of many seeds and stops at the first that fails; or your own config in a world of yours.
    Run {
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// How many.
        #[arg(long, default_value_t = 1)]
        seeds: u64,
        #[command(flatten)]
        own: Own,
        /// Prints a line for each request.
        #[arg(long, requires = "config")]
        requests: bool,
    },
    /// Runs one world again and prints everything that happens in it.
    Replay {
        /// A seed, or a file that `shrink` wrote.
        world: String,
    },
    /// Finds the smallest part of a failing world that still fails, and writes it to a file that replays.
    Shrink {
        /// A seed, or a file.
        world: String,
        /// Where to write it; `weir-sim-SEED.txt` unless it is given.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Proves a promise by trying every moment at which it could be broken.
    Prove {
        #[command(subcommand)]
        promise: Promise,
    },
    /// Plants each of the known faults and tells which check notices it. Needs a build with `--cfg weir_plants`.
    Plants {
        /// How many seeds to try for each.
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        /// Tells how small the failing worlds can be made, too.
        #[arg(long)]
        shrink: bool,
    },
}

/// A world around a config of the user's own.
#[derive(Args, Clone)]
struct Own {
    /// An Envoy v3 bootstrap, YAML or JSON.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is around it: who asks, how hosts behave, what goes wrong (TOML; see sim/README.md).
    #[arg(long, value_name = "FILE", requires = "config")]
    world: Option<PathBuf>,
}

impl Own {
    /// What the files say; `None` if none are named.
    fn plan(&self) -> Result<Option<Plan>, String> {
        self.config.as_ref().map(|config| Plan::read(config, self.world.as_deref())).transpose()
    }
}

#[derive(Subcommand)]
enum Promise {
    /// A drain, and a config update, lose nothing: cuts a world at every event with SIGTERM, then at every event with an
    /// update, and runs each to its end.
    Drain {
        /// The seed of the world.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        #[command(flatten)]
        own: Own,
        /// The config that the update brings; without one the same config takes effect again.
        #[arg(long, value_name = "FILE", requires = "config")]
        update: Option<PathBuf>,
        /// Cuts at every so manieth event only.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        step: u64,
        /// Milliseconds that clients of a config's world ask, at most: every event of them is tried.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
        millis: u64,
    },
}

/// Whoever reads may have enough before we have said all: that is no fault.
fn say_line(line: &str) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(141);
    }
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run { seed, seeds, own, requests } => with_plan(&own, |plan| match plan {
            Some(plan) => own_worlds::run(&plan, seed, seeds, requests),
            None => swarm_worlds::run(seed, seeds),
        }),
        Command::Replay { world } => with_world(&world, |recipe| swarm_worlds::replay(&recipe)),
        Command::Shrink { world, out } => with_world(&world, |recipe| swarm_worlds::shrink_to_file(&recipe, out)),
        Command::Prove { promise: Promise::Drain { seed, own, update, step, millis } } => with_plan(&own, |plan| match plan {
            Some(plan) => prove::own(&plan, update.as_deref(), seed, step, millis),
            None => prove::swarm(seed, step),
        }),
        Command::Plants { seeds, shrink } => plants::run(seeds, shrink),
    }
}

#[allow(clippy::print_stderr)]
fn fault(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(2)
}

fn with_plan(own: &Own, then: impl FnOnce(Option<Plan>) -> ExitCode) -> ExitCode {
    match own.plan() {
        Ok(plan) => then(plan),
        Err(why) => fault(&why),
    }
}

/// A world by its seed or its file.
fn with_world(world: &str, then: impl FnOnce(Recipe) -> ExitCode) -> ExitCode {
    if let Ok(seed) = world.parse() {
        return then(Recipe::of(seed));
    }
    let recipe = match std::fs::read_to_string(world) {
        Ok(text) => text.parse::<Recipe>().map_err(|mistake| format!("{world}:{mistake}")),
        Err(error) => Err(format!("{world} is neither a seed nor a file that can be read: {error}")),
    };
    match recipe {
        Ok(recipe) => then(recipe),
        Err(error) => fault(&error),
    }
}
