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
fn a_resume_that_comes_twice_ends_one_wait() {
    World::each(&filter("a", "bodies: true, request_head: \"pause\", request_body: \"pause\""), |world| {
        world.post();
        world.piece("a");
        let first = world.id(0, Request);
        world.resume_at(first, go_on(""));
        world.resume_at(first, go_on(""));
        world.resume_at(first, deny());
        assert_eq!(world.request().body, b"", "the piece waits for a resume of its own");
        world.resume(0, Request, go_on(""));
        assert_eq!(world.request().body, b"a");
        world.end();
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
fn a_client_that_keeps_its_body_is_asked_for_it() {
    let mut world = World::new((false, false), "", &filter("a", "bodies: true, request_head: gather"));
    let client = world.client_conn();
    world.pair.send(client, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(world.pair.take_received(client), "HTTP/1.1 100 Continue\r\n\r\n");
    world.pair.send(client, "one");
    world.turn();
    let request = world.request();
    assert!(request.body == b"one" && !request.head.contains("expect:"), "{request:?}");
}

#[test]
fn a_log_without_its_filters_is_refused() {
    let mut world = World::new((false, false), "", &filter("a", "request_head: pause"));
    let log = world.pair.engine.recorded().expect("a log");
    let error = Replay::open(log.to_bytes()).expect_err("a filter is missing").to_string();
    assert!(error.contains("there is no type `test.Script`"), "{error}");
}
