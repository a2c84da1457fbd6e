//! The command line.

use crate::logging::Level;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// An L7 proxy that runs Envoy's v3 configuration and loses nothing in a drain.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about, long_about = None)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the proxy.
    Run(RunArgs),
    /// Check a config and print everything that is wrong with it. Exit code 0: it is right; 1: it is not.
    Validate(ValidateArgs),
    /// Run an input log again that `run --record` wrote, and see whether it decides the same.
    Replay(ReplayArgs),
    /// Run a small example: a proxy with upstreams of its own.
    Demo(DemoArgs),
}

/// What to do about fields that Weir knows but does not honour.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default, ValueEnum)]
pub enum OnUnsupported {
    /// Refuse the config.
    #[default]
    Error,
    /// Warn, and do without.
    Warn,
}

/// Arguments of `weir run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Envoy v3 bootstrap, YAML or JSON.
    #[arg(short = 'c', long = "config", visible_alias = "config-path", value_name = "FILE")]
    pub config: PathBuf,
    /// Worker threads; as many as the hardware runs at once, if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: Option<u16>,
    /// Seconds that a drain may take before what is left is cut.
    #[arg(long, visible_alias = "drain-time-s", value_name = "S", default_value_t = 600)]
    pub drain_time: u64,
    /// How much to log.
    #[arg(short = 'l', long, value_name = "L", default_value = "info")]
    pub log_level: Level,
    /// What to do about fields that Weir knows but does not honour.
    #[arg(long, value_name = "WHAT", default_value = "error")]
    pub on_unsupported: OnUnsupported,
    /// Record what decides everything. The last of it is written to files in this folder on SIGUSR2, on POST
    /// /write_input_logs of the admin page, and when a worker panics. Heads are in it as they came, credentials too.
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// MiB of the past that each worker keeps for `--record`.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub record_mib: u32,
    /// Record the bytes of bodies too, not only their lengths and digests.
    #[arg(long, requires = "record")]
    pub record_bodies: bool,
}

impl RunArgs {
    /// What the command line gives if it names nothing but the config.
    pub fn of(config: PathBuf) -> RunArgs {
        RunArgs {
            config,
            concurrency: None,
            drain_time: 600,
            log_level: Level::Info,
            on_unsupported: OnUnsupported::Error,
            record: None,
            record_mib: 64,
            record_bodies: false,
        }
    }
}

/// Arguments of `weir replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The log.
    pub file: PathBuf,
    /// Stop after this time since the log began: `2.5s`, `300ms`, or seconds.
    #[arg(long, value_name = "T", value_parser = crate::replay::time)]
    pub until: Option<std::time::Duration>,
    /// Say step by step why this exchange went where it did: a number from `--list`, or an x-request-id.
    #[arg(long, value_name = "EXCHANGE")]
    pub explain: Option<String>,
    /// List the exchanges: number, when, request, how it ended.
    #[arg(long)]
    pub list: bool,
}

/// Arguments of `weir validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Envoy v3 bootstrap, YAML or JSON.
    #[arg(short = 'c', long = "config", visible_alias = "config-path", value_name = "FILE")]
    pub config: PathBuf,
    /// How to print what is found.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// What to do about fields that Weir knows but does not honour.
    #[arg(long, value_name = "WHAT", default_value = "error")]
    pub on_unsupported: OnUnsupported,
}

/// How diagnostics are printed.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line each.
    Text,
    /// One JSON array.
    Json,
}

/// Arguments of `weir demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Port of the proxy; 0 takes any.
    #[arg(long, value_name = "PORT", default_value_t = 10000)]
    pub port: u16,
    /// Port of the admin page; 0 takes any.
    #[arg(long, value_name = "PORT", default_value_t = 9901)]
    pub admin_port: u16,
    /// Send one request through the proxy, print the answer, and end.
    #[arg(long)]
    pub once: bool,
}
