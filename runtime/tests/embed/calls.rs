//! Requests of the host's own, without a socket.

use super::support::{bootstrap, ok_upstream, read_head, upstream};
use super::{options, start};
use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use weir::embed::{Call, CallError, CallRequest, Headers, Options, Proxy, Read, Refusal, Waited};

pub(crate) const LONG: Option<Duration> = Some(Duration::from_secs(30));
pub(crate) const CODECS: [&str; 3] = ["codec_type: AUTO", "codec_type: HTTP1", "codec_type: HTTP2"];

pub(crate) fn get(path: &str) -> CallRequest {
    CallRequest::new("GET", "host.example", path)
}

fn post() -> CallRequest {
    CallRequest::new("POST", "host.example", "/echo").header("trailer", "x-end").header("te", "trailers").streaming()
}

/// The rest of a response: bytes and trailers.
pub(crate) fn rest(call: &Call) -> Result<(Vec<u8>, Headers), CallError> {
    let mut all = Vec::new();
    loop {
        match call.read(LONG)? {
            Read::Data(bytes) => all.extend_from_slice(&bytes),
            Read::End(trailers) => return Ok((all, trailers)),
        }
    }
}

/// Sends every chunk back as it comes, and the trailers at the end.
fn echo_upstream() -> SocketAddr {
    upstream(|stream: TcpStream| {
        let (mut input, mut out) = (BufReader::new(stream.try_clone().unwrap()), stream);
        let mut echo = || -> std::io::Result<()> {
            let line = |input: &mut BufReader<TcpStream>| {
                let mut text = String::new();
                input.read_line(&mut text).map(|_| text)
            };
            loop {
                let mut head = line(&mut input)?;
                while !head.ends_with("\r\n\r\n") && !head.is_empty() {
                    head.push_str(&line(&mut input)?);
                }
                if head.is_empty() {
                    return Ok(());
                }
                out.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-end\r\n\r\n")?;
                loop {
                    let size = line(&mut input)?;
                    let length = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
                    out.write_all(size.as_bytes())?;
                    if length == 0 {
                        break;
                    }
                    let mut chunk = vec![0; length + 2];
                    input.read_exact(&mut chunk)?;
                    out.write_all(&chunk)?;
                }
                loop {
                    let trailer = line(&mut input)?;
                    out.write_all(trailer.as_bytes())?;
                    if trailer == "\r\n" {
                        break;
                    }
                }
            }
        };
        let _ = echo();
    })
}

fn stuck_upstream() -> SocketAddr {
    upstream(|mut stream| {
        let _ = read_head(&mut stream);
        // Until the proxy gives up.
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

fn wait_for(proxy: &Proxy, stat: &str, value: u64) {
    for _ in 0..2000 {
        if proxy.stat(stat) == Some(value) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{stat} is {:?}, not {value}", proxy.stat(stat));
}

#[test]
fn a_call_is_a_request_like_any_other() {
    for codec in CODECS {
        let (proxy, _) = start(&bootstrap(ok_upstream(), &format!("{codec}\nvia: weir"), ""));
        for _ in 0..3 {
            let call = proxy.call("main", &get("/").header("x-a", "1")).unwrap();
            let head = call.response(LONG).unwrap();
            assert_eq!((head.status, call.response(LONG).unwrap().status), (200, 200));
            assert!(head.headers.contains(&("via".to_owned(), b"weir".to_vec())), "{head:?}");
            assert_eq!(rest(&call).unwrap(), (b"ok".to_vec(), vec![]));
            assert_eq!(call.read(LONG), Ok(Read::End(vec![])));
            assert_eq!(call.send(b"x"), Err(CallError::Finished));
        }
        assert_eq!(proxy.stat("http.ingress.downstream_rq_2xx"), Some(3));
        wait_for(&proxy, "http.ingress.downstream_cx_active", 0);
    }
}

#[test]
fn bodies_and_trailers_go_both_ways() {
    for codec in CODECS {
        let (proxy, _) = start(&bootstrap(echo_upstream(), &format!("{codec}\nhttp_protocol_options: {{ enable_trailers: true }}"), ""));
        let call = proxy.call("main", &post()).unwrap();
        let body: Vec<u8> = (0..1u32 << 20).map(|n| (n % 251) as u8).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                body.chunks(100_000).for_each(|piece| call.send(piece).unwrap());
                call.finish(&[("x-end".to_owned(), b"yes".to_vec())]).unwrap();
            });
            assert_eq!(call.response(LONG).unwrap().status, 200);
            let (echoed, trailers) = rest(&call).unwrap();
            assert!(echoed == body, "{codec}: {} bytes", echoed.len());
            assert_eq!(trailers, [("x-end".to_owned(), b"yes".to_vec())], "{codec}");
        });
        assert_eq!(call.finish(&[]), Err(CallError::Finished));
    }
}

#[test]
fn who_does_not_read_is_waited_for() {
    let (proxy, _) = start(&bootstrap(echo_upstream(), "", ""));
    let call = proxy.call("main", &post()).unwrap();
    let (piece, mut sent) = (vec![7; 30_000], 0);
    // The sockets to the upstream hold some MiB, what is ours much less.
    while sent < 64 << 20 {
        match call.send_within(&piece, Some(Duration::from_millis(300))) {
            Ok(count) => sent += count,
            Err(error) => {
                assert_eq!(error, CallError::TimedOut);
                break;
            }
        }
    }
    assert!(sent < 32 << 20, "{sent} bytes were taken");
    std::thread::scope(|scope| {
        scope.spawn(|| call.finish(&[]).unwrap());
        assert_eq!(rest(&call).unwrap().0.len(), sent);
    });
}

#[test]
fn a_cancelled_call_is_given_up_upstream() {
    for codec in CODECS {
        let (proxy, _) = start(&bootstrap(stuck_upstream(), codec, ""));
        let call = proxy.call("main", &get("/")).unwrap();
        wait_for(&proxy, "cluster.u.upstream_rq_active", 1);
        assert_eq!(call.response(Some(Duration::from_millis(10))), Err(CallError::TimedOut));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                call.cancel();
            });
            assert_eq!(call.response(LONG), Err(CallError::Cancelled));
        });
        assert_eq!(call.read(LONG), Err(CallError::Cancelled));
        wait_for(&proxy, "cluster.u.upstream_rq_active", 0);
        let call = proxy.call("main", &post()).unwrap();
        wait_for(&proxy, "cluster.u.upstream_rq_active", 1);
        drop(call);
        wait_for(&proxy, "cluster.u.upstream_rq_active", 0);
        wait_for(&proxy, "http.ingress.downstream_cx_active", 0);
    }
}

#[test]
fn what_breaks_is_told() {
    let (proxy, _) = start(&bootstrap("127.0.0.1:1".parse().unwrap(), "", ""));
    assert_eq!(proxy.call("main", &get("/")).unwrap().response(LONG).unwrap().status, 503);
    assert_eq!(proxy.call("other", &get("/")).unwrap_err(), Refusal::UnknownListener("other".to_owned()));
    for bad in [CallRequest::new("CONNECT", "h:1", "/"), get("no slash"), get("/").header("a b", ""), get("/").header("host", "h")] {
        assert!(matches!(proxy.call("main", &bad), Err(Refusal::Invalid(_))), "{bad:?}");
    }
    let cut = upstream(|mut stream| {
        let _ = read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhe");
    });
    for codec in CODECS {
        let (proxy, _) = start(&bootstrap(cut, codec, ""));
        let call = proxy.call("main", &get("/")).unwrap();
        assert_eq!(call.response(LONG).unwrap().status, 200);
        assert!(matches!(rest(&call), Err(CallError::Reset(_))));
    }
}

#[test]
fn a_drain_ends_calls_well_and_lets_none_begin() {
    let slow = upstream(|mut stream| {
        while read_head(&mut stream).is_some() {
            std::thread::sleep(Duration::from_millis(5));
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    });
    for round in 0..6 {
        let (proxy, _) = start(&bootstrap(slow, CODECS[round % 3], ""));
        let (proxy, answered) = (Arc::new(proxy), Arc::new(AtomicUsize::new(0)));
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let (proxy, answered) = (Arc::clone(&proxy), Arc::clone(&answered));
                std::thread::spawn(move || {
                    loop {
                        let call = match proxy.call("main", &get("/")) {
                            Ok(call) => call,
                            Err(refusal) => return assert!(matches!(refusal, Refusal::Draining | Refusal::Ended)),
                        };
                        match call.response(LONG) {
                            Ok(head) => assert_eq!((head.status, rest(&call).unwrap().0), (200, b"ok".to_vec())),
                            Err(error) => return assert!(matches!(error, CallError::Draining | CallError::Ended)),
                        }
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        while answered.load(Ordering::Relaxed) < 50 {
            std::thread::sleep(Duration::from_millis(1));
        }
        proxy.drain().unwrap();
        assert_eq!(proxy.call("main", &get("/")).unwrap_err(), Refusal::Draining);
        assert_eq!(proxy.wait(LONG), Waited::Drained { cut: 0 });
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        assert_eq!(proxy.call("main", &get("/")).unwrap_err(), Refusal::Ended);
    }
}

#[test]
fn stop_and_a_panic_end_calls_at_once() {
    for panic in [false, true] {
        let (options, _) = options();
        let proxy = Proxy::start(Options { workers: Some(1), ..options }, &bootstrap(stuck_upstream(), "", ""), "host.yaml").unwrap();
        let call = proxy.call("main", &post()).unwrap();
        wait_for(&proxy, "cluster.u.upstream_rq_active", 1);
        if panic {
            proxy.plant_panic(0);
        } else {
            assert_eq!(proxy.stop(), Waited::Drained { cut: 1 });
        }
        assert!(matches!(call.response(LONG), Err(CallError::Reset(_) | CallError::Ended)));
        assert!(matches!(call.read(LONG), Err(CallError::Reset(_) | CallError::Ended)));
        while call.send(b"more").is_ok() {}
        assert_eq!(call.finish(&[]), Err(CallError::Finished));
    }
}
