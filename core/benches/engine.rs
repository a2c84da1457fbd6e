//! What core costs: parsing a head, finding a route among one and among ten thousand, a whole exchange.
#![allow(missing_docs)]

#[path = "../tests/world/mod.rs"]
mod world;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use weir_core::http::{RequestHead, ResponseHead};
use weir_core::http1::{framing, parse};
use weir_core::rng::{Rng, Seed};
use weir_core::router;
use world::{REQUEST, RESPONSE, World, config};

fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    let (limits, mut request, mut response) = (parse::HeadLimits::default(), RequestHead::default(), ResponseHead::default());
    group.throughput(Throughput::Bytes(REQUEST.len() as u64));
    group.bench_function("request head", |b| {
        b.iter(|| {
            parse::request(black_box(REQUEST), limits, &mut request).expect("a request");
            framing::request(&mut request, false)
        });
    });
    let head = &RESPONSE[..RESPONSE.len() - 13];
    group.throughput(Throughput::Bytes(head.len() as u64));
    group.bench_function("response head", |b| {
        b.iter(|| {
            parse::response(black_box(head), limits, &mut response).expect("a response");
            framing::response(&mut response, false)
        });
    });
}

fn routes(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    let (mut head, mut rng) = (RequestHead::default(), Rng::new(Seed(1)));
    parse::request(REQUEST, parse::HeadLimits::default(), &mut head).expect("a request");
    for count in [1, 100, 10_000] {
        let config = config(count);
        let table = Arc::clone(&config.listeners[0].chains[0].http.routes);
        group.bench_function(format!("of {count}"), |b| b.iter(|| router::find(&table, black_box(&head), &mut rng)));
    }
}

fn exchange(c: &mut Criterion) {
    let mut world = World::new();
    c.bench_function("whole exchange", |b| b.iter(|| world.exchange(black_box(REQUEST))));
    let mut recorded = World::new();
    c.bench_function("whole exchange, recorded", |b| {
        b.iter(|| {
            recorded.record();
            recorded.exchange(black_box(REQUEST));
        });
    });
}

criterion_group!(benches, codec, routes, exchange);
criterion_main!(benches);
