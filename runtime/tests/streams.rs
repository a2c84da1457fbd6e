//! Bodies, tunnels and slow peers on real sockets.

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;
use support::{Proxy, bootstrap, ok_upstream, read_answer, read_head, upstream};

const GIB: usize = 1 << 30;

#[test]
fn a_gibibyte_streams_down_without_growing_memory() {
    let source = upstream(|mut stream| {
        let block = vec![b'x'; 1 << 20];
        while read_head(&mut stream).is_some() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n");
            let sent = stream.write_all(head.as_bytes()).is_ok() && (0..GIB / block.len()).all(|_| stream.write_all(&block).is_ok());
            assert!(sent, "the proxy takes it all");
        }
    });
    let proxy = Proxy::start(&bootstrap(source, "", ", timeout: 0s"));
    let before = proxy.resident_kib();
    let mut client = proxy.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let (mut seen, mut block, mut peak) = (0usize, vec![0; 1 << 20], 0);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    while seen < GIB {
        let count = client.read(&mut block).unwrap();
        assert!(count > 0 && block[..count].iter().all(|byte| *byte == b'x'));
        seen += count;
        if seen % (64 << 20) < count {
            peak = peak.max(proxy.resident_kib());
        }
    }
    assert_eq!(seen, GIB);
    assert!(peak < before + 16 * 1024, "grew from {before} KiB to {peak} KiB");
}

#[test]
fn a_gibibyte_streams_up_without_growing_memory() {
    let sink = upstream(|mut stream| {
        let Some(_) = read_head(&mut stream) else { return };
        let (mut seen, mut block) = (0, vec![0; 1 << 20]);
        while seen < GIB {
            seen += stream.read(&mut block).unwrap();
        }
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{seen}", seen.to_string().len()).as_bytes()).unwrap();
    });
    let proxy = Proxy::start(&bootstrap(sink, "", ", timeout: 0s"));
    let before = proxy.resident_kib();
    let mut client = proxy.connect();
    client.write_all(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {GIB}\r\n\r\n").as_bytes()).unwrap();
    let (block, mut peak) = (vec![b'y'; 1 << 20], 0);
    for n in 0..GIB / block.len() {
        client.write_all(&block).unwrap();
        if n % 64 == 0 {
            peak = peak.max(proxy.resident_kib());
        }
    }
    let (_, body) = read_answer(&mut client).unwrap();
    assert_eq!(String::from_utf8_lossy(&body), GIB.to_string());
    assert!(peak < before + 16 * 1024, "grew from {before} KiB to {peak} KiB");
}

#[test]
fn a_client_that_does_not_read_holds_back_its_upstream() {
    let source = upstream(|mut stream| {
        let Some(_) = read_head(&mut stream) else { return };
        let block = vec![b'z'; 1 << 20];
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 209715200\r\n\r\n");
        for _ in 0..200 {
            if stream.write_all(&block).is_err() {
                return;
            }
        }
    });
    let proxy = Proxy::start(&bootstrap(source, "", ", timeout: 0s"));
    let before = proxy.resident_kib();
    let mut slow = proxy.connect();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    while proxy.stat("cluster.u.upstream_flow_control_paused_reading_total") == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(proxy.resident_kib() < before + 16 * 1024);
    let (head, body) = read_answer(&mut slow).unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && body.len() == 209_715_200 && body.iter().all(|byte| *byte == b'z'));
}

/// Clients that leave in the middle of a download: what was meant for them reaches nobody else, and nothing
/// is held for them.
#[test]
fn clients_that_leave_in_a_download_leave_nothing_behind() {
    let source = upstream(|mut stream| {
        let block = vec![b'!'; 1 << 20];
        while let Some(head) = read_head(&mut stream) {
            assert!(head.starts_with("GET /"), "{head:?}");
            let big = head.starts_with("GET /big");
            let length = if big { 20 << 20 } else { 2 };
            let sent = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes());
            let body = |stream: &mut std::net::TcpStream| match big {
                true => (0..20).try_for_each(|_| stream.write_all(&block)),
                false => stream.write_all(b"ok"),
            };
            if sent.and_then(|()| body(&mut stream)).is_err() {
                return;
            }
        }
    });
    let proxy = Proxy::start_with(&bootstrap(source, "", ", timeout: 0s"), &["--concurrency", "1"]);
    for round in 0..6 {
        let paused = proxy.stat("cluster.u.upstream_flow_control_paused_reading_total");
        let mut leaving: Vec<_> = (0..3).map(|_| proxy.connect()).collect();
        for client in &mut leaving {
            client.write_all(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            if round % 3 == 0 {
                // One more that waits its turn: nobody may wait for it to be taken.
                client.write_all(b"GET /small HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            }
        }
        while proxy.stat("cluster.u.upstream_flow_control_paused_reading_total") < paused + 3 {
            std::thread::sleep(Duration::from_millis(5));
        }
        if round % 2 == 0 {
            // Closing with unread data sends RST; shutting down first sends FIN.
            leaving.iter().for_each(|client| client.shutdown(Shutdown::Write).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(leaving);
        for _ in 0..5 {
            let mut client = proxy.connect();
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            client.write_all(b"GET /small HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            assert!(
                answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(b"\r\n\r\nok"),
                "{:?}",
                String::from_utf8_lossy(&answer)
            );
        }
    }
    let mut tries = 0;
    while proxy.stat("http.ingress.downstream_rq_active") + proxy.stat("cluster.u.upstream_rq_active") > 0 {
        tries += 1;
        assert!(tries < 500, "exchanges of clients that left are still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn slow_heads_do_not_keep_others_out() {
    let proxy = Proxy::start(&bootstrap(ok_upstream(), "request_headers_timeout: 1s", ""));
    let mut slow: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = proxy.connect();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ").unwrap();
            stream
        })
        .collect();
    let mut good = proxy.connect();
    for _ in 0..100 {
        good.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        assert_eq!(read_answer(&mut good).unwrap().1, b"ok");
    }
    for stream in &mut slow {
        let (head, body) = read_answer(stream).unwrap();
        assert!(head.starts_with("HTTP/1.1 408") && body == b"request header timeout");
    }
    assert_eq!(proxy.stat("http.ingress.downstream_rq_header_timeout"), 200);
}

#[test]
fn a_websocket_echoes_and_half_closes() {
    let echo = upstream(|mut stream| {
        let Some(head) = read_head(&mut stream) else { return };
        assert!(head.to_ascii_lowercase().contains("upgrade: websocket"));
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").unwrap();
        let mut block = [0; 65536];
        loop {
            match stream.read(&mut block) {
                Ok(0) | Err(_) => break,
                Ok(count) => stream.write_all(&block[..count]).unwrap(),
            }
        }
        stream.write_all(b"goodbye").unwrap();
    });
    let proxy = Proxy::start(&bootstrap(echo, "upgrade_configs: [{ upgrade_type: websocket }]", ""));
    let mut client = proxy.connect();
    client.write_all(b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").unwrap();
    let head = read_head(&mut client).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    let sent: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
    let mut writer = client.try_clone().unwrap();
    let copy = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    assert!(received.len() == sent.len() + 7 && received.starts_with(&sent) && received.ends_with(b"goodbye"));
}

#[test]
fn the_upstream_decides_about_100_continue() {
    let strict = upstream(|mut stream| {
        while let Some(head) = read_head(&mut stream) {
            assert!(head.contains("Expect: 100-continue"));
            if head.starts_with("POST /no ") {
                stream.write_all(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n").unwrap();
                continue;
            }
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
            let mut body = [0; 3];
            stream.read_exact(&mut body).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n").and_then(|()| stream.write_all(&body)).unwrap();
        }
    });
    let proxy = Proxy::start(&bootstrap(strict, "", ""));
    let mut client = proxy.connect();
    client.write_all(b"POST /yes HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n").unwrap();
    assert_eq!(read_head(&mut client).unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"abc").unwrap();
    assert_eq!(read_answer(&mut client).unwrap().1, b"abc");
    let mut client = proxy.connect();
    client.write_all(b"POST /no HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n").unwrap();
    assert!(read_answer(&mut client).unwrap().0.starts_with("HTTP/1.1 417"));
}
