//! What becomes of exchanges that wait for a filter: clients and hosts that leave, deadlines, drains, tunnels.

mod filtered;
mod pair;

use filtered::script::go_on;
use filtered::{World, filter};
use weir_core::filter::Side::{Request, Response};

#[test]
fn a_client_that_leaves_ends_what_waits_for_a_filter() {
    for (script, side) in
        [("request_head: pause", Request), ("bodies: true, request_body: pause", Request), ("response_head: pause", Response)]
    {
        World::each(&filter("a", script), |world| {
            world.post();
            world.piece("one");
            if side == Response {
                world.end();
                world.answer_head();
            }
            world.leave();
            assert_eq!(world.pair.engine.exchanges(), 0);
            assert!(world.saw().ends_with("a.finished 0") || side == Response);
            // Too late, and for a slot that another exchange may have by then.
            let late = world.seen.id(0, side);
            if world.http2.0 {
                world.post();
                assert_ne!(world.seen.id(0, side), late);
                world.pair.engine.handle_filter(late, go_on(""), world.pair.now);
                world.turn();
                assert_eq!(world.pair.engine.exchanges(), 1);
                world.leave();
            }
            world.pair.engine.handle_filter(late, go_on(""), world.pair.now);
            world.turn();
            world.pair.assert_quiet();
        });
    }
}

#[test]
fn a_host_that_answers_while_the_request_waits_has_answered() {
    World::each(&filter("a", "bodies: true, request_body: \"pause:b\""), |world| {
        world.post();
        world.piece("a");
        world.piece("b");
        world.answer();
        world.assert_answered("ok");
        world.resume(0, Request, go_on(""));
        world.pair.assert_quiet();
    });
}

#[test]
fn a_host_that_breaks_off_while_something_waits_is_told() {
    World::each(&filter("a", "bodies: true, request_body: \"pause:b\""), |world| {
        world.post();
        world.piece("a");
        world.piece("b");
        world.break_off();
        assert_eq!(world.status(), 503);
        world.resume(0, Request, go_on(""));
        world.pair.assert_quiet();
    });
    // Nothing of its answer was sent: the client can be told.
    World::each(&filter("a", "response_head: pause"), |world| {
        world.get();
        world.answer_head();
        world.break_off();
        assert_eq!(world.status(), 503);
        assert_eq!(world.saw(), "a.request_head, a.response_head 200, a.finished 503", "a second answer is not for it");
        world.resume(0, Response, go_on(""));
        world.pair.assert_quiet();
    });
}

#[test]
fn a_drain_waits_for_what_waits_for_filters() {
    World::each(&filter("a", "request_head: pause"), |world| {
        world.get();
        world.pair.drain(std::time::Duration::from_secs(30));
        world.advance(20);
        assert_eq!(world.pair.drained, None);
        world.resume(0, Request, go_on(""));
        world.answer();
        assert_eq!((world.status(), world.client().body), (200, b"ok".to_vec()));
        world.advance(9);
        assert_eq!(world.pair.drained, Some(0));
    });
    World::each(&filter("a", "request_head: pause"), |world| {
        world.get();
        world.pair.drain(std::time::Duration::from_secs(30));
        world.advance(31);
        assert_eq!(world.pair.drained, Some(1));
        world.resume(0, Request, go_on(""));
        world.pair.assert_quiet();
    });
}

#[test]
fn timeouts_end_what_is_never_resumed() {
    let cases = [
        ("request_head: pause", 60, 504, "stream_idle_timeout"),
        ("bodies: true, request_end: pause", 60, 504, "stream_idle_timeout"),
        // The route's timeout counts from the end of the request.
        ("response_head: pause", 10, 504, "response_timeout"),
        ("bodies: true, response_head: gather, response_end: pause", 60, 504, "stream_idle_timeout"),
    ];
    for (script, seconds, status, details) in cases {
        World::each(&filter("a", script), |world| {
            world.get();
            if script.contains("response") {
                world.answer_head();
                if script.contains("gather") {
                    world.answer_end();
                }
            }
            world.advance(seconds - 1);
            assert_eq!(world.status(), 0, "{script}");
            world.advance(2);
            assert_eq!((world.status(), world.client().ended), (status, true), "{script}");
            assert!(world.pair.log[0].ends_with(details), "{:?}", world.pair.log);
            world.pair.assert_quiet();
        });
    }
}

#[test]
fn the_request_timeout_counts_while_a_filter_waits() {
    for http2 in filtered::VERSIONS {
        let mut world = World::new(
            http2,
            "request_timeout: 5s\ncommon_http_protocol_options: { max_stream_duration: 8s }",
            &filter("a", "request_head: pause"),
        );
        world.post();
        world.advance(4);
        world.resume(0, Request, go_on(""));
        world.advance(2);
        assert_eq!(world.status(), 408);
        assert!(world.pair.log[0].ends_with("request_overall_timeout"), "{:?}", world.pair.log);
        world.pair.assert_quiet();
    }
}

#[test]
fn a_tunnel_waits_for_filters_on_both_of_its_ways() {
    let filters = filter("a", "bodies: true, request_head: pause, response_head: pause");
    let mut world = World::new((false, false), "upgrade_configs: [{ upgrade_type: websocket }]", &filters);
    let client = world.client_conn();
    world.pair.send(client, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    world.resume(0, Request, go_on(""));
    let host = world.pair.upstream();
    world.pair.send(host, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello");
    assert_eq!(world.pair.received(client), "");
    world.resume(0, Response, go_on(""));
    assert!(world.pair.received(client).ends_with("\r\n\r\nhello"), "{}", world.pair.received(client));
    world.pair.send(client, "from the client");
    world.pair.send(host, " and on");
    assert!(world.pair.received(host).ends_with("from the client") && world.pair.received(client).ends_with("hello and on"));
    let saw = world.saw();
    assert!(!saw.contains("hello"), "{saw}");
    world.pair.reset(client);
    world.pair.assert_quiet();
    assert_eq!(world.saw(), "a.finished 101");
}

#[test]
fn a_tunnel_whose_host_leaves_before_it_begins_is_none() {
    let filters = filter("a", "response_head: pause");
    for closes in [true, false] {
        let mut world = World::new((false, false), "upgrade_configs: [{ upgrade_type: websocket }]", &filters);
        let client = world.client_conn();
        world.pair.send(client, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        let host = world.pair.upstream();
        world.pair.send(host, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        if closes {
            world.pair.eof(host)
        } else {
            world.pair.reset(host)
        }
        world.resume(0, Response, go_on(""));
        assert_eq!(world.status(), 503);
        world.pair.assert_quiet();
    }
}

#[test]
fn an_answer_of_our_own_can_wait_too() {
    let filters = [filter("a", "request_head: answer"), filter("b", "response_head: pause")].concat();
    World::each(&filters, |world| {
        world.post();
        world.piece("dropped");
        assert_eq!(world.status(), 0);
        world.resume(1, Response, go_on("late"));
        assert_eq!((world.status(), world.client().body.as_slice()), (403, &b"denied"[..]));
        assert!(world.client().head.contains("x-learned"));
        world.pair.assert_quiet();
    });
    // ... but not for ever, nor is it asked again about what replaces it.
    World::each(&filters, |world| {
        world.get();
        world.advance(61);
        assert_eq!(world.status(), 504);
        world.pair.assert_quiet();
    });
}
