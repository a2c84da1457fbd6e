//! What things take: `cargo test --release -p weir --test embed -- --ignored --nocapture numbers`. Nothing is asserted.

use super::calls::{LONG, get, rest};
use super::support::{bootstrap, connect, ok_upstream, read_answer};
use super::{address, start};
use std::io::Write;
use std::time::Instant;
use weir::embed::{Options, Proxy};

#[ignore = "prints times"]
#[test]
#[allow(clippy::print_stdout)]
fn numbers() {
    let yaml = bootstrap(ok_upstream(), "", "");
    for _ in 0..5 {
        let began = Instant::now();
        let proxy = Proxy::start(Options::default(), &yaml, "host.yaml").unwrap();
        let started = began.elapsed();
        proxy.stop();
        println!("start {started:?}, stop {:?}", began.elapsed() - started);
    }
    let direct = bootstrap(ok_upstream(), "", "").replace("route: { cluster: u }", "direct_response: { status: 200 }");
    for (what, yaml) in [("direct response", direct), ("upstream", yaml)] {
        for codec in ["AUTO", "HTTP1"] {
            let yaml = yaml.replace("stat_prefix: ingress", &format!("stat_prefix: ingress\n                codec_type: {codec}"));
            let (proxy, _) = start(&yaml);
            let call = |_| {
                let call = proxy.call("main", &get("/")).unwrap();
                assert_eq!(call.response(LONG).unwrap().status, 200);
                rest(&call).unwrap();
            };
            (0..2000).for_each(call);
            let began = Instant::now();
            (0..10_000).for_each(call);
            println!("{what}, {codec}: {:?} a call, one after the other", began.elapsed() / 10_000);
            let began = Instant::now();
            std::thread::scope(|scope| (0..16).for_each(|_| drop(scope.spawn(|| (0..2000).for_each(call)))));
            println!("{what}, {codec}: {:?} a call, of 16 threads", began.elapsed() / 32_000);
            let mut client = connect(address(&proxy));
            let began = Instant::now();
            for _ in 0..10_000 {
                client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
                read_answer(&mut client).unwrap();
            }
            println!("{what}, {codec}: {:?} a request on a kept connection, read byte by byte", began.elapsed() / 10_000);
        }
    }
}
