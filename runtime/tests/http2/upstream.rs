//! The HTTP/1.1 server behind the proxy: a thread for each connection, an answer for each path.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What it has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Requests of which the head has come.
    pub begun: AtomicUsize,
    /// Connections that ended while their request waited for an answer.
    pub cancelled: AtomicUsize,
    /// The last request: its head, and its body with trailers as they came.
    pub last: Mutex<(String, Vec<u8>)>,
}

pub struct Upstream {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
}

impl Upstream {
    pub fn start() -> Upstream {
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let address = crate::support::upstream(move |stream| {
            let _ = serve(stream, &shared);
        });
        Upstream { address, seen }
    }

    pub fn begun(&self) -> usize {
        self.seen.begun.load(Ordering::Relaxed)
    }

    pub fn cancelled(&self) -> usize {
        self.seen.cancelled.load(Ordering::Relaxed)
    }

    pub fn last(&self) -> (String, Vec<u8>) {
        self.seen.last.lock().unwrap().clone()
    }
}

/// Waits until something holds.
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < until, "it never came to be that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn serve(mut stream: TcpStream, seen: &Seen) -> std::io::Result<()> {
    while let Some(head) = crate::support::read_head(&mut stream) {
        seen.begun.fetch_add(1, Ordering::Relaxed);
        let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
        let (_, rest) = path.split_once('/').unwrap_or_default();
        let (name, argument) = rest.split_once('/').unwrap_or((rest, ""));
        let number: usize = argument.parse().unwrap_or(0);
        match name {
            "continue" => stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?,
            "hang" => {
                let _ = stream.read(&mut [0]);
                seen.cancelled.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            "early" => {
                stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")?;
                return Ok(());
            }
            _ => {}
        }
        let body = read_body(&mut stream, &head)?;
        *seen.last.lock().unwrap() = (head.clone(), body.clone());
        if head.starts_with("HEAD ") {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n")?;
            continue;
        }
        match name {
            "head" => answer(&mut stream, head.as_bytes())?,
            "echo" => answer(&mut stream, &body)?,
            "bytes" => bytes(&mut stream, number)?,
            "slow" => {
                std::thread::sleep(Duration::from_millis(number as u64));
                answer(&mut stream, b"slow")?;
            }
            "204" => stream.write_all(b"HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n")?,
            "304" => stream.write_all(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\netag: \"e\"\r\n\r\n")?,
            "empty" => answer(&mut stream, b"")?,
            "hints" => {
                stream.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n")?;
                answer(&mut stream, b"hinted")?;
            }
            "chunked" => stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nyou\r\n0\r\n\r\n")?,
            "trailers" => stream.write_all(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 5\r\nx-two: 2\r\n\r\n",
            )?,
            "hop" => stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: x-private\r\nKeep-Alive: timeout=9\r\nX-Private: 1\r\nX-Public: 1\r\ncontent-length: 0\r\n\r\n")?,
            "cut" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello")?;
                return Ok(());
            }
            "cut-chunked" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
                return Ok(());
            }
            "cut-head" => return Ok(()),
            _ => answer(&mut stream, b"hello, world")?,
        }
    }
    Ok(())
}

fn answer(stream: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes())?;
    stream.write_all(body)
}

/// So many `x`, in pieces: a hundred of these at once must cost the proxy more than us.
fn bytes(stream: &mut TcpStream, number: usize) -> std::io::Result<()> {
    stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {number}\r\n\r\n").as_bytes())?;
    let piece = [b'x'; 64 << 10];
    for start in (0..number).step_by(piece.len()) {
        stream.write_all(&piece[..piece.len().min(number - start)])?;
    }
    Ok(())
}

/// The body without its framing; of chunked ones the trailers follow it as they came.
fn read_body(stream: &mut TcpStream, head: &str) -> std::io::Result<Vec<u8>> {
    let head = head.to_ascii_lowercase();
    if let Some(length) = head.lines().find_map(|line| line.strip_prefix("content-length:")) {
        let mut body = vec![0; length.trim().parse().unwrap_or(0)];
        stream.read_exact(&mut body)?;
        return Ok(body);
    }
    let mut body = Vec::new();
    if !head.contains("transfer-encoding: chunked") {
        return Ok(body);
    }
    loop {
        let line = read_line(stream)?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
        if size == 0 {
            break;
        }
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..])?;
        read_line(stream)?;
    }
    loop {
        let line = read_line(stream)?;
        if line == "\r\n" {
            return Ok(body);
        }
        body.extend_from_slice(line.as_bytes());
    }
}

fn read_line(stream: &mut TcpStream) -> std::io::Result<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}
