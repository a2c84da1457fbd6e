//! Filters of the host's own, in Rust: resumed from another thread while many wait, kept over updates, and late.

use crate::support::{Load, bootstrap, ok_upstream, upstream};
use crate::{address, options};
use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use weir::embed::{self, Proxy};
use weir_core::filter::{Answer, FilterContext, FilterFactory, FilterId, FilterKind, Held, HttpFilter, Registry, Resume, Verdict};
use weir_core::http::RequestHead;

type Question = (u64, FilterId);

/// Lets each request wait for whoever reads the questions.
#[derive(Clone, Debug)]
struct Ask(Arc<Mutex<Sender<Question>>>);

impl FilterKind for Ask {
    fn configure(&self, _: &str, _: &str) -> Result<Arc<dyn FilterFactory>, String> {
        Ok(Arc::new(self.clone()))
    }
}

impl FilterFactory for Ask {
    fn name(&self) -> &str {
        "ask"
    }

    fn make(&self) -> Box<dyn HttpFilter> {
        Box::new(self.clone())
    }
}

impl HttpFilter for Ask {
    fn request_head(&mut self, _: &mut RequestHead, context: &mut FilterContext<'_>) -> Verdict {
        let _ = self.0.lock().unwrap().send((context.engine, context.id));
        Verdict::Pause
    }

    fn resumed(&mut self, held: Held<'_>, learned: &[u8], _: &mut FilterContext<'_>) -> Verdict {
        if let Held::RequestHead(head) = held {
            head.fields.set_named(b"x-learned", learned);
        }
        Verdict::Continue
    }
}

fn start(upstream: std::net::SocketAddr) -> (Proxy, String, Receiver<Question>) {
    let (questions, asked) = channel();
    let (mut options, _) = options();
    let mut registry = Registry::default();
    registry.register("test.Ask", Arc::new(Ask(Arc::new(Mutex::new(questions)))));
    options.filters = registry;
    let entry = "http_filters:\n                  - { name: ask, typed_config: { \"@type\": test.Ask } }";
    let text = bootstrap(upstream, "", "").replace("http_filters:", entry);
    let proxy = Proxy::start(options, &text, "host.yaml").unwrap_or_else(|failure| panic!("{failure}"));
    (proxy, text, asked)
}

#[test]
fn many_wait_for_another_thread_and_updates_go_on() {
    let (proxy, text, asked) = start(ok_upstream());
    let answering = std::thread::spawn(move || {
        let (mut last, mut count) = (None, 0u32);
        while let Ok((engine, id)) = asked.recv() {
            count += 1;
            assert!(embed::resume(engine, id, Resume::Continue("you".into())));
            if count % 3 == 0 {
                // Twice, and late: nobody is let go by them.
                assert!(embed::resume(engine, id, Resume::Continue("again".into())));
                if let Some((engine, id)) = last.replace((engine, id)) {
                    embed::resume(engine, id, Resume::Continue("late".into()));
                }
            }
        }
        (last.expect("many"), count)
    });
    let load = Load::on(address(&proxy), 8);
    for route in ["a", "b", "c"] {
        load.wait_for(1_000);
        proxy
            .update_config(&text.replace("name: r,", &format!("name: {route},")), "host.yaml")
            .unwrap_or_else(|failure| panic!("{failure}"));
    }
    load.wait_for(1_000);
    let answered = load.finish();
    proxy.stop();
    drop(proxy);
    let ((engine, id), count) = answering.join().expect("it ends with the proxy's filters");
    assert!(answered >= 4_000 && count as usize >= answered, "{answered} of {count}");
    assert!(!embed::resume(engine, id, Resume::Continue("to nobody".into())), "its engine is gone");
}

#[test]
fn a_host_answers_for_a_filter() {
    let (proxy, _, asked) = start(upstream(|mut stream| drop(stream.write_all(b"nobody asks"))));
    let client = std::thread::spawn({
        let address = address(&proxy);
        move || crate::support::request(address, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    });
    let (engine, id) = asked.recv().expect("a question");
    assert!(embed::resume(engine, id, Resume::Respond(Box::new(Answer::new(401, "who?", "asked")))));
    let answer = client.join().expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.ends_with("who?"), "{answer}");
}
