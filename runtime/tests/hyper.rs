//! hyper on both sides: many clients, many requests, every body comes back as it was sent.

mod support;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use support::{Proxy, bootstrap};
use tokio::net::{TcpListener, TcpStream};

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Ok(Response::builder().header("x-path", path).body(Full::new(body)).expect("a response"))
}

#[tokio::test]
async fn every_body_comes_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(echo)));
        }
    });
    let proxy = Proxy::start(&bootstrap(upstream, "", ""));
    let address = proxy.address;
    let clients: Vec<_> = (0..20usize)
        .map(|client| {
            tokio::spawn(async move {
                let stream = TcpStream::connect(address).await.unwrap();
                let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                for n in 0..50usize {
                    let size = (client * 7919 + n * 104_729) % 200_000;
                    let body = Bytes::from((0..size).map(|at| (at * (n + 1)) as u8).collect::<Vec<u8>>());
                    let request = Request::post(format!("/{client}/{n}")).header("host", "h").body(Full::new(body.clone())).unwrap();
                    let response = sender.send_request(request).await.unwrap();
                    assert_eq!(response.status(), 200);
                    assert_eq!(response.headers()["x-path"], format!("/{client}/{n}"));
                    let got = response.into_body().collect().await.unwrap().to_bytes();
                    assert!(got == body, "client {client}, request {n}: {} bytes for {}", got.len(), body.len());
                    sender.ready().await.unwrap();
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(proxy.stat("cluster.u.upstream_rq_200"), 1000);
    assert_eq!(proxy.stat("cluster.u.upstream_rq_active"), 0);
}
