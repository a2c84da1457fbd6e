//! `weir demo`: a proxy with an embedded config, and upstreams of its own, to try with curl.

use crate::cli::{DemoArgs, RunArgs};
use crate::environment::Environment;
use crate::logging::Level;
use crate::run;
use crate::start::{Ready, StartError};
use crate::tls::Table;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;
use weir_core::config::v3;

const CONFIG: &str = include_str!("demo.yaml");

/// Runs the demo until a signal, or for one request.
pub fn run(args: &DemoArgs) -> Result<(), StartError> {
    let mut text = CONFIG.replace("{port}", &args.port.to_string()).replace("{admin}", &args.admin_port.to_string());
    for name in ["blue", "green"] {
        let upstream = start_upstream(name)?;
        text = text.replace(&format!("{{{name}}}"), &upstream.port().to_string());
    }
    let loaded = v3::load(&text, "demo.yaml");
    for finding in &loaded.diagnostics {
        tracing::error!("{finding}");
    }
    let path = PathBuf::from("demo.yaml");
    let (errors, findings) = (loaded.diagnostics.len(), loaded.diagnostics);
    let config = loaded.config.ok_or_else(|| StartError::Config { path: path.clone(), errors, findings })?;
    let run_args = RunArgs { concurrency: Some(1), drain_time: 10, log_level: Level::Warn, ..RunArgs::of(path) };
    let once = args.once;
    let cut = run::run_config(
        run_args,
        Ready { config, text, tls: Table::default(), findings: Vec::new() },
        Environment::system(),
        move |bound| {
            let Some((_, proxy)) = bound.listeners.first() else { return };
            let admin = bound.admin;
            if once {
                let proxy = *proxy;
                std::thread::spawn(move || ask_once(proxy));
            } else {
                print_help(*proxy, admin);
            }
        },
    )?;
    debug_assert_eq!(cut, 0, "a demo that is not used cuts nothing");
    Ok(())
}

#[allow(clippy::print_stdout)]
fn print_help(proxy: SocketAddr, admin: Option<SocketAddr>) {
    println!("Weir's demo proxy listens on {proxy}. Try:\n");
    println!("  curl -i http://{proxy}/            # round robin over two upstreams: blue, green, blue, ...");
    println!("  curl -i http://{proxy}/green/      # a route of its own, with its prefix rewritten");
    println!("  curl -i http://{proxy}/hello       # a direct response");
    println!("  curl -i http://{proxy}/old/page    # a redirect");
    println!("  curl -i http://{proxy}/slow        # a route timeout: 504 after a second");
    if let Some(admin) = admin {
        println!("  curl http://{admin}/clusters       # what the admin page knows");
    }
    println!("\nThe config is core Envoy v3; stop with Ctrl-C: the proxy drains before it ends.");
}

/// Sends one request through the proxy, prints the answer, and ends the process as a signal would.
#[allow(clippy::print_stdout)]
fn ask_once(proxy: SocketAddr) {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(proxy)?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    match ask() {
        Ok(answer) => println!("{answer}"),
        Err(error) => println!("the demo request failed: {error}"),
    }
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM);
}

/// A tiny server that says who it is and what it was asked.
fn start_upstream(name: &'static str) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::Builder::new().name(format!("upstream-{name}")).spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(name, stream));
        }
    })?;
    Ok(address)
}

/// Requests without a body only: enough for a demo.
fn serve(name: &str, mut stream: TcpStream) {
    let (mut input, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        while let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&input[..end + 2]).into_owned();
            input.drain(..end + 4);
            if head.contains(" /slow ") {
                std::thread::sleep(Duration::from_secs(5));
            }
            let body = format!("This is {name}. You asked:\n\n{head}");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
        match stream.read(&mut piece) {
            Ok(count @ 1..) => input.extend_from_slice(&piece[..count]),
            _ => return,
        }
    }
}
