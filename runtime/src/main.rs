//! The `weir` binary.

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;
use weir::cli::{Cli, Command, Format, OnUnsupported, ReplayArgs, ValidateArgs};
use weir::environment::Environment;
use weir::logging::{self, Level};
use weir::start::check;
use weir::tls::Table;
use weir_core::config::v3;

/// HTTP/2 makes and drops two dozen small pieces for a request.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A panic is a broken invariant of our own: better no process than one that goes on without a worker.
    std::panic::set_hook(Box::new(|panic| {
        report(&format!("panic: {panic}\n{}", std::backtrace::Backtrace::force_capture()));
        // Who records, or replays, has something to say before the end.
        if !weir::recording::outlives_panics() {
            std::process::abort();
        }
    }));
    match Cli::parse().command {
        Command::Replay(args) => replay(&args),
        Command::Run(args) => {
            logging::start(args.log_level);
            end(weir::run::run(args).map(drop))
        }
        Command::Validate(args) => validate(&args),
        Command::Demo(args) => {
            logging::start(Level::Warn);
            end(weir::demo::run(&args))
        }
    }
}

fn replay(args: &ReplayArgs) -> ExitCode {
    weir::recording::outlive_panics();
    // Whoever reads may have enough before we have said all: that is no fault.
    let say = |line: String| {
        if writeln!(std::io::stdout(), "{line}").is_err() {
            std::process::exit(141);
        }
    };
    match weir::replay::run(args, say) {
        Ok(summary) if summary.whole => say(format!("{summary}: the same as recorded")),
        Ok(summary) => say(format!("{summary}: the same as recorded so far")),
        Err(error) => {
            report(&error.to_string());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn end(result: Result<(), weir::start::StartError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr)]
fn report(error: &str) {
    eprintln!("weir: {error}");
}

#[allow(clippy::print_stdout)]
fn validate(args: &ValidateArgs) -> ExitCode {
    let text = match std::fs::read_to_string(&args.config) {
        Ok(text) => text,
        Err(error) => {
            report(&format!("cannot read the config {}: {error}", args.config.display()));
            return ExitCode::FAILURE;
        }
    };
    let (file, before) = (args.config.display().to_string(), Table::default());
    let (loaded, _) = check(&text, &file, &[], &before, &Environment::process());
    let refused = loaded.config.is_none() || (args.on_unsupported == OnUnsupported::Error && loaded.has_unsupported());
    match args.format {
        Format::Json => println!("{}", v3::diagnostics_to_json(&loaded.diagnostics)),
        Format::Text => {
            for finding in &loaded.diagnostics {
                println!("{finding}");
            }
            if !refused {
                println!("{}: OK", args.config.display());
            }
        }
    }
    if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
