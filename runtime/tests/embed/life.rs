//! Start, update, stats, drain, stop, and what breaks.

use super::support::{Load, bootstrap, connect, file, ok_upstream, read_answer, read_head, request, upstream};
use super::{address, has, options, start};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use weir::embed::{FailureKind, Level, Options, Proxy, Record, Refusal, Severity, Sink, State, Waited};

const LONG: Option<Duration> = Some(Duration::from_secs(30));

fn get(at: SocketAddr) -> String {
    let mut client = connect(at);
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    read_answer(&mut client).unwrap().0
}

fn stuck_upstream() -> SocketAddr {
    upstream(|mut stream| {
        let _ = read_head(&mut stream);
        std::thread::sleep(Duration::from_secs(60));
    })
}

#[test]
fn two_proxies_have_nothing_in_common() {
    let (one, lines_one) = start(&bootstrap(ok_upstream(), "via: one", ""));
    let (two, lines_two) = start(&bootstrap(ok_upstream(), "via: two", ""));
    assert!(get(address(&one)).contains("via: one") && get(address(&two)).contains("via: two"));
    assert!(get(address(&two)).starts_with("HTTP/1.1 200"));
    assert_eq!((one.stat("cluster.u.upstream_rq_total"), two.stat("cluster.u.upstream_rq_total")), (Some(1), Some(2)));
    assert_eq!(one.stat("cluster.u.upstream_rq"), None);
    assert!(one.stats_text().unwrap().contains("\ncluster.u.upstream_rq_total: 1\n"));
    assert!(two.config_dump().unwrap().contains("BootstrapConfigDump"));
    assert!(one.admin().is_some() && one.admin() != two.admin());
    assert_eq!(one.stop(), Waited::Drained { cut: 0 });
    assert!(has(&lines_one, "drained; nothing was cut") && !has(&lines_two, "drained"));
    assert!(get(address(&two)).starts_with("HTTP/1.1 200") && TcpStream::connect(address(&one)).is_err());
}

#[test]
fn updates_are_whole_or_not_at_all() {
    let to = ok_upstream();
    let (proxy, lines) = start(&bootstrap(to, "", ""));
    let load = Load::on(address(&proxy), 4);
    for n in 0..5 {
        load.wait_for(20);
        assert_eq!(
            proxy.update_config(&bootstrap(to, &format!("via: v{n}"), ""), "v.yaml").map_err(|failure| failure.to_string()),
            Ok(vec![])
        );
        assert!(get(address(&proxy)).contains(&format!("via: v{n}")));
    }
    let failure = proxy.update_config("static_resources: { listenerz: [] }", "bad.yaml").unwrap_err();
    assert_eq!(failure.kind, FailureKind::Config);
    let finding = &failure.diagnostics[0];
    assert_eq!((finding.severity, &*finding.file, finding.pos.line, finding.pos.column), (Severity::Error, "bad.yaml", 1, 21));
    assert!(failure.to_string().contains("did you mean `listeners`?"), "{failure}");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let moved = bootstrap(to, "via: moved", "")
        .replace("port_value: 0 } }\n      filter", &format!("port_value: {} }} }}\n      filter", taken.local_addr().unwrap().port()));
    assert_eq!(proxy.update_config(&moved, "moved.yaml").unwrap_err().kind, FailureKind::Listen);
    assert!(get(address(&proxy)).contains("via: v4") && has(&lines, "the update failed, the old config goes on"));
    load.wait_for(20);
    load.finish();
}

#[test]
fn a_bad_start_says_what_to_do() {
    let yaml = bootstrap(ok_upstream(), "stat_prefixx: 1\nidle: 5", "");
    let failure = Proxy::start(Options::default(), &yaml, "bad.yaml").unwrap_err();
    assert_eq!((failure.kind, failure.diagnostics.len()), (FailureKind::Config, 2));
    assert!(failure.diagnostics.iter().all(|finding| finding.pos.line > 1 && finding.path.starts_with("static_resources.listeners[0]")));

    let (first, _) = start(&bootstrap(ok_upstream(), "", ""));
    let port = address(&first).port();
    let same =
        bootstrap(ok_upstream(), "", "").replace("port_value: 0 } }\n      filter", &format!("port_value: {port} }} }}\n      filter"));
    let failure = Proxy::start(Options::default(), &same, "same.yaml").unwrap_err();
    assert_eq!(failure.kind, FailureKind::Listen);
    assert!(failure.to_string().contains(&format!("something listens on port {port} already")), "{failure}");
    first.stop();
    let second = Proxy::start(Options::default(), &same, "same.yaml").unwrap();
    assert!(get(address(&second)).starts_with("HTTP/1.1 200"));
    let failure = Proxy::start(Options { workers: Some(0), ..Options::default() }, &same, "same.yaml").unwrap_err();
    assert_eq!(failure.kind, FailureKind::Options);
}

#[test]
fn a_drain_under_load_loses_nothing() {
    for _ in 0..3 {
        let (proxy, _) = start(&bootstrap(ok_upstream(), "", ""));
        let load = Load::on(address(&proxy), 16);
        load.wait_for(200);
        let (told, wait) = mpsc::channel();
        proxy.on_drained(move |how| told.send(how.clone()).unwrap());
        assert_eq!(proxy.state(), State::Serving);
        proxy.drain().unwrap();
        proxy.drain().unwrap();
        assert_eq!(proxy.state(), State::Draining);
        assert_eq!(proxy.wait(LONG), Waited::Drained { cut: 0 });
        assert_eq!(wait.recv(), Ok(Waited::Drained { cut: 0 }));
        load.finish();
        assert_eq!(proxy.state(), State::Drained { cut: 0 });
    }
}

#[test]
fn what_is_stuck_is_cut_at_the_deadline_or_by_stop() {
    for stop in [false, true] {
        let (options, _) = options();
        let options = Options { drain_time: Duration::from_millis(300), ..options };
        let proxy = Proxy::start(options, &bootstrap(stuck_upstream(), "", ""), "host.yaml").unwrap();
        let mut client = connect(address(&proxy));
        client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        while proxy.stat("cluster.u.upstream_rq_active") == Some(0) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(proxy.wait(Some(Duration::from_millis(20))), Waited::TimedOut);
        let how = if stop {
            proxy.stop()
        } else {
            proxy.drain().unwrap();
            proxy.wait(LONG)
        };
        assert_eq!(how, Waited::Drained { cut: 1 });
        assert_eq!(proxy.stop(), how);
    }
}

#[test]
fn the_admin_page_drains_too_and_the_host_cuts_nothing_then() {
    let slow = upstream(|mut stream| {
        let _ = read_head(&mut stream);
        std::thread::sleep(Duration::from_millis(700));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let (proxy, _) = start(&bootstrap(slow, "", ""));
    let mut client = connect(address(&proxy));
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let quit = "POST /quitquitquit HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert!(request(proxy.admin().unwrap(), quit).ends_with("OK\n"));
    while proxy.state() == State::Serving {
        std::thread::sleep(Duration::from_millis(1));
    }
    proxy.drain().unwrap();
    assert!(read_answer(&mut client).unwrap().0.starts_with("HTTP/1.1 200"));
    assert_eq!(proxy.wait(LONG), Waited::Drained { cut: 0 });
}

#[test]
fn everybody_may_end_it_at_once() {
    let (proxy, _) = start(&bootstrap(ok_upstream(), "", ""));
    let (proxy, called) = (Arc::new(proxy), Arc::new(AtomicUsize::new(0)));
    let threads: Vec<_> = (0..12)
        .map(|n| {
            let (proxy, called) = (Arc::clone(&proxy), Arc::clone(&called));
            std::thread::spawn(move || {
                let (own, count) = (Arc::clone(&proxy), Arc::clone(&called));
                // From the proxy's own thread nothing waits for itself.
                proxy.on_drained(move |_| {
                    own.stop();
                    own.wait(None);
                    count.fetch_add(1, Ordering::SeqCst);
                });
                match n % 4 {
                    0 => drop(proxy.drain()),
                    1 => drop(proxy.stop()),
                    2 => drop(proxy.update_config("{}", "empty.yaml")),
                    _ => drop(proxy.stats_text()),
                }
                assert_eq!(proxy.wait(LONG), Waited::Drained { cut: 0 });
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    proxy.stop();
    assert_eq!(called.load(Ordering::SeqCst), 12);
    assert_eq!((proxy.drain(), proxy.stats_text(), proxy.stat("server.live")), (Err(Refusal::Ended), Err(Refusal::Ended), None));
    assert_eq!(proxy.update_config("{}", "empty.yaml").unwrap_err().kind, FailureKind::Over);
    assert!(proxy.write_input_logs().is_err());
}

#[test]
fn a_panic_ends_the_proxy_and_nothing_else() {
    let (broken, lines) = start(&bootstrap(ok_upstream(), "", ""));
    let (whole, _) = start(&bootstrap(ok_upstream(), "", ""));
    let (told, wait) = mpsc::channel();
    broken.on_drained(move |how| told.send(how.clone()).unwrap());
    broken.plant_panic(1);
    let Waited::Failed(why) = broken.wait(LONG) else { panic!("it has not failed") };
    assert!(why.contains("worker 1 has panicked"), "{why}");
    assert_eq!((wait.recv().unwrap(), broken.state()), (Waited::Failed(why.clone()), State::Failed(why.clone())));
    assert!(has(&lines, "worker 1 has panicked") && TcpStream::connect(address(&broken)).is_err());
    assert_eq!((broken.drain(), broken.stop()), (Err(Refusal::Ended), Waited::Failed(why)));
    assert!(get(address(&whole)).starts_with("HTTP/1.1 200"));
}

#[cfg(target_os = "linux")]
#[test]
fn the_hosts_signals_are_not_for_the_proxys_threads() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let log = move |_, line: &str| {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        sink.lock().unwrap().push((line.to_owned(), u64::from_str_radix(blocked.trim(), 16).unwrap()));
    };
    let options = Options { log: Some(Arc::new(log)), ..Options::default() };
    let proxy = Proxy::start(options, &bootstrap(ok_upstream(), "", ""), "host.yaml").unwrap();
    proxy.drain().unwrap();
    proxy.wait(LONG);
    let seen = seen.lock().unwrap();
    for line in ["listener main listens on", "worker 0: listener main is drained"] {
        let (_, blocked) = seen.iter().find(|(seen, _)| seen.starts_with(line)).unwrap_or_else(|| panic!("{line} in {seen:?}"));
        let bit = |signal: u64| blocked >> (signal - 1) & 1;
        // SIGTERM and SIGPIPE are; SIGSEGV never is.
        assert_eq!((bit(15), bit(13), bit(11)), (1, 1, 0), "{line}");
    }
}

#[test]
fn the_hosts_own_subscriber_hears_nothing() {
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
    struct Count(Arc<AtomicUsize>);
    impl<S: tracing::Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let heard = Arc::new(AtomicUsize::new(0));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Count(Arc::clone(&heard)))).unwrap();
    fn failing(_: Level, _: &str) {
        panic!("the sink's own");
    }
    // No sink, and one that panics, which is nobody's business but its own.
    for log in [None, Some(Arc::new(failing) as Sink)] {
        let options = Options { log, log_level: Level::Trace, ..Options::default() };
        let proxy = Proxy::start(options, &bootstrap(ok_upstream(), "", ""), "host.yaml").unwrap();
        assert!(get(address(&proxy)).starts_with("HTTP/1.1 200"));
        proxy.drain().unwrap();
        assert_eq!(proxy.wait(LONG), Waited::Drained { cut: 0 });
    }
    assert_eq!(heard.load(Ordering::SeqCst), 0);
    tracing::info!("this is the host's");
    assert_eq!(heard.load(Ordering::SeqCst), 1);
}

#[test]
fn what_led_to_a_panic_is_kept() {
    let folder = file("x", "").with_file_name("logs");
    let record = Record { folder: folder.clone(), mib: 1, bodies: false };
    let options = Options { record: Some(record), ..Options::default() };
    let proxy = Proxy::start(options, &bootstrap(ok_upstream(), "", ""), "host.yaml").unwrap();
    assert!(get(address(&proxy)).starts_with("HTTP/1.1 200"));
    let written = proxy.write_input_logs().unwrap();
    assert!(written.len() == 1 && written[0].entries > 0 && written[0].path.starts_with(&folder));
    proxy.plant_panic(0);
    let Waited::Failed(why) = proxy.wait(LONG) else { panic!("it has not failed") };
    assert!(why.contains(&*folder.to_string_lossy()), "{why}");
}
