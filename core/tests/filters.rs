//! Filters of the host's that pause, go on and answer, between clients and hosts of either version.

mod filtered;
mod pair;

use filtered::script::{deny, go_on};
use filtered::{World, filter};
use weir_core::engine::log::Replay;
use weir_core::filter::Side::{Request, Response};
use weir_core::stats::Scope;

#[test]
fn a_paused_head_goes_on_with_what_was_learned() {
    World::each(&filter("a", "request_head: pause"), |world| {
        world.post();
        world.piece("one");
        world.piece("two");
        world.end();
        assert_eq!((world.request().head.as_str(), world.pair.upstreams.len()), ("", 0));
        world.resume(0, Request, go_on("user"));
        let request = world.request();
        assert!(request.head.contains("x-learned") && request.ended, "{request:?}");
        assert_eq!(request.body, b"onetwo");
        world.answer();
        world.assert_answered("ok");
        assert_eq!(world.saw(), "a.request_head, a.resumed user, a.response_head 200, a.finished 200");
    });
}

#[test]
fn a_head_without_a_body_waits_for_its_end() {
    World::each(&filter("a", "bodies: true, request_end: pause"), |world| {
        world.get();
        assert_eq!(world.pair.upstreams.len(), 0);
        world.resume(0, Request, go_on(""));
        assert!(world.request().ended);
        world.answer();
        world.assert_answered("ok");
        assert_eq!(
            world.saw(),
            "a.request_head, a.request_end, a.resumed , a.response_head 200, a.response_body ok, a.response_end, a.finished 200"
        );
    });
}

#[test]
fn pieces_keep_their_order_through_pauses() {
    let filters = [filter("a", "bodies: true, request_body: \"pause:b\""), filter("b", "bodies: true, request_body: \"pause:c\"")].concat();
    World::each(&filters, |world| {
        world.post();
        for piece in ["a", "b", "c", "d"] {
            world.piece(piece);
        }
        world.end();
        assert_eq!(world.request().body, b"a");
        // Nothing behind a pause was shown to anybody.
        assert_eq!(world.saw(), "a.request_head, b.request_head, a.request_body a, b.request_body a, a.request_body b");
        // Nobody waits for the other filter, nor on the other side.
        world.resume(1, Request, go_on(""));
        world.resume(0, Response, go_on(""));
        assert_eq!(world.request().body, b"a");
        world.resume(0, Request, go_on(""));
        assert_eq!(world.request().body, b"ab");
        world.resume(0, Request, go_on(""));
        assert_eq!(world.request().body, b"ab", "the second resume is for nobody");
        world.resume(1, Request, go_on("wait"));
        assert_eq!((world.request().body, world.request().ended), (b"ab".to_vec(), false), "it may go on waiting");
        world.resume(1, Request, go_on(""));
        assert_eq!((world.request().body, world.request().ended), (b"abcd".to_vec(), true));
        world.answer();
        world.assert_answered("ok");
    });
}

#[test]
fn a_filter_can_see_all_before_any_of_it_goes_on() {
    World::each(&filter("a", "bodies: true, request_head: gather, response_head: gather"), |world| {
        world.post();
        world.piece("one");
        world.piece("two");
        assert_eq!((world.pair.upstreams.len(), world.saw().as_str()), (0, "a.request_head, a.request_body one, a.request_body two"));
        world.end();
        assert_eq!(world.request().body, b"onetwo");
        world.answer_head();
        world.answer_piece("1");
        world.answer_piece("2");
        assert_eq!(world.status(), 0);
        world.answer_end();
        world.assert_answered("12");
    });
}

#[test]
fn what_is_gathered_is_bounded() {
    let piece = "x".repeat(4000);
    World::each(&filter("a", "bodies: true, request_head: gather"), |world| {
        world.post();
        for _ in 0..3 {
            world.piece(&piece);
        }
        assert_eq!(world.status(), 413);
        assert!(world.pair.log[0].ends_with("request_payload_too_large"), "{:?}", world.pair.log);
        world.pair.assert_quiet();
    });
    World::each(&filter("a", "bodies: true, response_head: gather"), |world| {
        world.get();
        world.answer_head();
        for _ in 0..3 {
            world.answer_piece(&piece);
        }
        assert_eq!(world.status(), 500);
        world.pair.assert_quiet();
    });
}

#[test]
fn what_waits_behind_a_pause_is_bounded_by_its_source() {
    let piece = "x".repeat(4000);
    World::each(&filter("a", "request_head: pause, response_head: pause"), |world| {
        world.post();
        for _ in 0..10 {
            world.piece(&piece);
        }
        let paused = world.pair.stat(Scope::Http, "downstream_flow_control_paused_reading_total");
        assert_eq!(paused, 1, "the client waits");
        world.resume(0, Request, go_on(""));
        world.end();
        assert_eq!((world.request().body.len(), world.request().ended), (40_000, true));
        world.answer_head();
        for _ in 0..10 {
            world.answer_piece(&piece);
        }
        world.answer_end();
        assert_eq!(world.pair.stat(Scope::Cluster, "upstream_flow_control_paused_reading_total"), 1, "the host waits");
        world.resume(0, Response, go_on(""));
        world.assert_answered(&piece.repeat(10));
    });
}

#[test]
fn a_filter_answers_in_place_of_the_host() {
    World::each(&filter("a", "request_head: answer"), |world| {
        world.get();
        assert_eq!((world.status(), world.client().body.as_slice()), (403, &b"denied"[..]));
        assert!(world.client().head.contains("x-why"));
        assert_eq!(world.pair.log, ["403 - script_denies"]);
        assert_eq!(world.saw(), "a.request_head, a.response_head 403, a.finished 403");
        world.pair.assert_quiet();
    });
    World::each(&filter("a", "bodies: true, request_body: \"answer:bad\""), |world| {
        world.post();
        world.piece("good");
        assert_eq!(world.request().body, b"good");
        world.piece("bad");
        assert_eq!((world.status(), world.request().body.as_slice()), (403, &b"good"[..]));
        world.pair.assert_quiet();
    });
}

#[test]
fn a_resume_answers() {
    for script in ["request_head: pause", "bodies: true, request_body: pause"] {
        World::each(&filter("a", script), |world| {
            world.post();
            world.piece("one");
            world.resume(0, Request, deny());
            assert_eq!((world.status(), world.client().body.as_slice()), (401, &b"who?"[..]));
            assert!(world.client().head.contains("www-authenticate"));
            world.resume(0, Request, deny());
            world.pair.assert_quiet();
        });
    }
}

#[test]
fn a_grpc_client_is_answered_as_such() {
    let mut world = World::new((false, false), "", &filter("a", "request_head: answer"));
    let client = world.client_conn();
    world.pair.send(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n");
    let head = world.client().head;
    assert!(
        head.contains("200 ok") && head.contains("grpc-status: 7") && head.contains("grpc-message: denied") && head.contains("x-why"),
        "{head}"
    );
}

#[test]
fn a_response_is_replaced_before_it_is_sent() {
    let filters = [filter("a", "bodies: true"), filter("b", "bodies: true, response_head: \"answer:200\""), filter("c", "")].concat();
    World::each(&filters, |world| {
        world.get();
        world.answer_head();
        assert_eq!((world.status(), world.client().body.as_slice()), (403, &b"denied"[..]));
        // Who has passed the one on does not see the other.
        let saw = world.saw();
        assert!(saw.ends_with("c.response_head 200, b.response_head 200, a.response_head 403, a.response_body denied, a.response_end, a.finished 403, b.finished 403, c.finished 403"), "{saw}");
        world.pair.assert_quiet();
    });
    World::each(&filter("a", "response_head: pause"), |world| {
        world.get();
        world.answer();
        assert_eq!(world.status(), 0);
        world.resume(0, Response, deny());
        assert_eq!((world.status(), world.client().ended), (401, true));
        world.pair.assert_quiet();
    });
}

#[test]
fn an_answer_that_comes_too_late_cuts_the_response() {
    for script in ["bodies: true, response_body: \"answer:bad\"", "bodies: true, response_end: answer"] {
        World::each(&filter("a", script), |world| {
            world.get();
            world.answer_head();
            world.answer_piece("good");
            assert_eq!(world.client().body, b"good");
            world.answer_piece("bad");
            world.answer_end();
            assert!(world.client().cut && !world.client().ended, "{:?}", world.client());
            assert_eq!(world.pair.log, ["200 LR filter_answers_too_late{a}"]);
            world.pair.assert_quiet();
        });
    }
}

#[test]
fn an_answer_that_cannot_be_sent_is_an_error_of_ours() {
    for script in ["request_head: wrong", "response_head: \"wrong:200\""] {
        World::each(&filter("a", script), |world| {
            world.get();
            if !world.pair.upstreams.is_empty() {
                world.answer();
            }
            assert_eq!(world.status(), 500);
            assert_eq!(world.pair.log, ["500 - filter_answer_invalid{a}"]);
            world.pair.assert_quiet();
        });
    }
}

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
fn a_log_without_its_filters_is_refused() {
    let mut world = World::new((false, false), "", &filter("a", "request_head: pause"));
    let log = world.pair.engine.recorded().expect("a log");
    let error = Replay::open(log.to_bytes()).expect_err("a filter is missing").to_string();
    assert!(error.contains("there is no type `test.Script`"), "{error}");
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
