//! Input logs of the real binary: recorded under load, written on a signal, by the admin page and after a panic, and
//! replayed by `weir replay` to the same digest.

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::{Load, Proxy, bootstrap, file, ok_upstream, read_answer, read_head, upstream, weir};
use weir::access_log::LogWriter;
use weir::cli::RunArgs;
use weir::clock::Clock;
use weir::command::{Command, inbox};
use weir::net::TokioNet;
use weir::recording::Recording;
use weir::thread::{self, ThreadParts};
use weir_core::Engine;
use weir_core::config::v3;
use weir_core::rng::Seed;
use weir_core::shared::Shared;

fn folder() -> PathBuf {
    file("logs", "").parent().expect("a folder").join("input-logs")
}

/// Runs `weir replay`; answers whether it succeeded, and what it printed on both streams.
fn replay(log: &Path, arguments: &[&str]) -> (bool, String) {
    let out = weir().arg("replay").arg(log).args(arguments).output().expect("the binary runs");
    (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

/// The files and digests that `/write_input_logs` names.
fn written(answer: &str) -> Vec<(PathBuf, String)> {
    let line = |line: &str| Some((line.split_once(": ")?.0.into(), line.split_once("digest ")?.1.trim().to_owned()));
    answer.lines().filter(|line| line.contains(".weirlog: ")).filter_map(line).collect()
}

#[test]
fn what_was_recorded_replays_to_the_same_digest() {
    let upstream = upstream(|mut stream| {
        while let Some(head) = read_head(&mut stream) {
            let status = if head.contains("/missing") { "404 Not Found" } else { "200 OK" };
            let body = "x".repeat(5000);
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    for bodies in [false, true] {
        let folder = folder();
        let mut arguments = vec!["--record", folder.to_str().unwrap(), "--concurrency", "1"];
        if bodies {
            arguments.push("--record-bodies");
        }
        let proxy = Proxy::start_with(
            &bootstrap(
                upstream,
                "access_log: [{ name: x, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog } }]",
                "",
            ),
            &arguments,
        );
        let mut stream = proxy.connect();
        for path in ["/one", "/missing"] {
            write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\nX-Request-Id: id-of-{}\r\n\r\n", &path[1..]).unwrap();
            read_answer(&mut stream).expect("an answer");
        }
        write!(stream, "POST /three HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nsecret body").unwrap();
        read_answer(&mut stream).expect("an answer");

        let logs = written(&proxy.admin_post("/write_input_logs"));
        let [(log, digest)] = &logs[..] else { panic!("one log of one worker: {logs:?}") };
        let (good, text) = replay(log, &[]);
        assert!(good && text.contains(&format!("digest {digest}: the same as recorded")), "{text}");

        let (_, text) = replay(log, &["--list"]);
        assert!(text.contains("GET h/missing from 127.0.0.1") && text.contains("ends: status 404"), "{text}");
        let (good, text) = replay(log, &["--explain", "id-of-missing"]);
        assert!(good, "{text}");
        for line in ["route 0: forwards to cluster u", "on a connection of its pool", "answers 404 (via_upstream)"] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        let (good, text) = replay(log, &["--explain", "nobody"]);
        assert!(!good && text.contains("no exchange `nobody`; --list lists them"), "{text}");
        let (good, text) = replay(log, &["--until", "0s"]);
        assert!(good && text.contains("so far"), "{text}");

        let bytes = std::fs::read(log).unwrap();
        assert_eq!(bytes.windows(11).any(|window| window == b"secret body"), bodies, "bodies are there if they were asked for");

        proxy.signal("USR2");
        proxy.wait_for_line("-signal-");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    }
}

#[test]
fn the_past_is_bounded_and_replays_whatever_is_left_of_it() {
    let folder = folder();
    let proxy = Proxy::start_with(&bootstrap(ok_upstream(), "", ""), &["--record", folder.to_str().unwrap(), "--record-mib", "1"]);
    let load = Load::start(&proxy, 8);
    load.wait_for(20_000);
    let logs = written(&proxy.admin_post("/write_input_logs"));
    // Nobody has lost a request to the engines that came and went.
    assert!(load.finish() >= 20_000);
    let size: u64 = logs.iter().map(|(log, _)| std::fs::metadata(log).unwrap().len()).sum();
    assert!(size <= 2 * (1 << 20) + 2 * 300_000, "{size} bytes for two workers of 1 MiB each");
    let later = logs.iter().filter(|(log, _)| !log.to_str().unwrap().ends_with("-0.weirlog")).count();
    assert!(later > 0, "another engine has begun: {logs:?}");
    for (log, digest) in &logs {
        let (good, text) = replay(log, &[]);
        assert!(good && text.contains(&format!("digest {digest}: the same as recorded")), "{text}");
    }
    proxy.signal("TERM");
    let (status, stderr) = proxy.wait();
    assert!(status.success() && stderr.contains("nothing was cut"), "{stderr}");
}

#[test]
fn a_log_that_is_none_or_not_whole_is_refused_with_what_was_read() {
    let folder = folder();
    let proxy = Proxy::start_with(&bootstrap(ok_upstream(), "", ""), &["--record", folder.to_str().unwrap(), "--concurrency", "1"]);
    let mut stream = proxy.connect();
    write!(stream, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    read_answer(&mut stream).expect("an answer");
    let logs = written(&proxy.admin_post("/write_input_logs"));
    let whole = std::fs::read(&logs[0].0).unwrap();
    let refused = |bytes: &[u8]| {
        let path = file("bad.weirlog", "");
        std::fs::write(&path, bytes).unwrap();
        let (good, text) = replay(&path, &[]);
        assert!(!good, "{text}");
        text
    };
    assert!(refused(b"GET / HTTP/1.1").contains("this is not an input log of Weir"));
    let cut = refused(&whole[..whole.len() - 20]);
    assert!(cut.contains("the log is cut off at byte") && cut.contains("entries over"), "{cut}");
    let mut newer = whole.clone();
    newer[8] = 9;
    assert!(refused(&newer).contains("this input log has version 9"));
    let mut other = whole.clone();
    let at = other.windows(9).rposition(|window| window == b"GET / HTT").expect("the request");
    other[at] = b'P';
    assert!(refused(&other).contains("goes another way than it was recorded"));
    assert!(proxy.admin_get("/help").contains("/write_input_logs"));
}

#[test]
fn a_panic_leaves_a_log_of_what_led_to_it() {
    let folder = folder();
    let args = RunArgs { record: Some(folder.clone()), ..RunArgs::of("weir.yaml".into()) };
    let recording = Recording::of(&args).unwrap().expect("recording");
    let text = bootstrap("127.0.0.1:9".parse().unwrap(), "", "");
    let config = Arc::new(v3::load(&text, "weir.yaml").config.expect("a config"));
    let clock = Clock::start();
    let mut engine = Engine::new(config, Arc::new(Shared::default()), Seed(7), clock.now(), clock.wall());
    engine.start_recording(&recording.options(0, 0), clock.now());
    let (upcalls, _upcalls) = tokio::sync::mpsc::unbounded_channel();
    let (commands, inbox) = inbox::<TokioNet>();
    let log = LogWriter::start(Vec::new()).unwrap();
    let parts = ThreadParts { net: TokioNet, index: 0, clock, engine, upcalls, log, tls: Arc::default(), recording: Some(recording) };
    assert!(commands.send(Command::Nudge).is_ok());
    assert!(commands.send(Command::Inspect(Box::new(|_| panic!("on purpose")))).is_ok());
    let crash = std::thread::spawn(|| thread::run(parts, inbox)).join().expect("the panic is caught");
    let files = crash.expect_err("a crash").0.expect("files");
    assert!(files[0].path.to_str().unwrap().contains("-panic-"), "{files:?}");
    let (good, text) = replay(&files[0].path, &[]);
    assert!(good && text.contains(&format!("digest {:016x}", files[0].digest)), "{text}");
}

#[test]
fn a_folder_that_cannot_be_is_said_before_anything_starts() {
    let config = file("weir.yaml", &bootstrap(ok_upstream(), "", ""));
    let out = weir().args(["run", "-c"]).arg(&config).args(["--record", "/proc/none"]).output().expect("the binary runs");
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && text.contains("cannot record to the folder /proc/none"), "{text}");
}
