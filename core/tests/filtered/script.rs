//! A filter of the host's that does what its config says, and tells what it was shown.

use std::sync::{Arc, Mutex};
use weir_core::filter::{Answer, FilterContext, FilterFactory, FilterId, FilterKind, Held, HttpFilter, Registry, Resume, Side, Verdict};
use weir_core::http::{Fields, RequestHead, ResponseHead};
use weir_core::record::Record;

/// What all filters of a test have seen, and the ids that they have.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub lines: Arc<Mutex<Vec<String>>>,
    ids: Arc<Mutex<Vec<FilterId>>>,
}

impl Seen {
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        assert!(registry.register("type.googleapis.com/test.Script", Arc::new(Kind(self.clone()))).is_none());
        registry
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }

    /// The filter of this index in the exchange that came last, on a side that it may not have been shown yet.
    pub fn id(&self, index: u32, side: Side) -> FilterId {
        let ids = self.ids.lock().unwrap();
        let last = *ids.iter().rev().find(|id| id.index == index).expect("such a filter");
        let same = ids.iter().rev().find(|id| id.exchange == last.exchange && id.index == index && id.side == side);
        same.copied().unwrap_or(FilterId { side, turn: 0, ..last })
    }
}

#[derive(Debug)]
struct Kind(Seen);

impl FilterKind for Kind {
    fn configure(&self, name: &str, config_json: &str) -> Result<Arc<dyn FilterFactory>, String> {
        match config_json.contains("\"refused\"") {
            true => Err(format!("{name} does not like {config_json}")),
            false => Ok(Arc::new(Factory { name: name.to_owned(), script: config_json.to_owned(), seen: self.0.clone() })),
        }
    }
}

#[derive(Clone, Debug)]
struct Factory {
    name: String,
    script: String,
    seen: Seen,
}

impl FilterFactory for Factory {
    fn name(&self) -> &str {
        &self.name
    }

    fn make(&self) -> Box<dyn HttpFilter> {
        Box::new(Script(self.clone()))
    }

    fn wants_bodies(&self) -> bool {
        self.script.contains("\"bodies\":true")
    }
}

#[derive(Debug)]
struct Script(Factory);

impl Script {
    /// `"hook": "verdict"` or, of a piece that has the needle, `"hook": "verdict:needle"`.
    fn at(&self, hook: &str, piece: &str, context: &FilterContext<'_>) -> Verdict {
        let Factory { name, script, seen } = &self.0;
        seen.ids.lock().unwrap().push(context.id);
        seen.lines.lock().unwrap().push(format!("{name}.{hook}{}{piece}", if piece.is_empty() { "" } else { " " }));
        let Some((_, rest)) = script.split_once(&format!("\"{hook}\":\"")) else { return Verdict::Continue };
        let wanted = rest.split_once('"').expect("an end").0;
        let (verdict, needle) = wanted.split_once(':').unwrap_or((wanted, ""));
        if !piece.contains(needle) {
            return Verdict::Continue;
        }
        match verdict {
            "pause" => Verdict::Pause,
            "gather" => Verdict::Gather,
            "answer" => Verdict::Respond(Box::new(Answer::new(403, "denied", "script denies").header("x-why", hook.to_owned()))),
            "wrong" => Verdict::Respond(Box::new(Answer::new(200, "", "").header("x y", "z"))),
            other => panic!("{other}"),
        }
    }
}

impl HttpFilter for Script {
    fn request_head(&mut self, _: &mut RequestHead, context: &mut FilterContext<'_>) -> Verdict {
        self.at("request_head", "", context)
    }

    fn request_body(&mut self, piece: &[u8], context: &mut FilterContext<'_>) -> Verdict {
        self.at("request_body", &String::from_utf8_lossy(&piece[..piece.len().min(20)]), context)
    }

    fn request_end(&mut self, trailers: &mut Fields, context: &mut FilterContext<'_>) -> Verdict {
        let _ = trailers;
        self.at("request_end", "", context)
    }

    fn response_head(&mut self, _: &RequestHead, head: &mut ResponseHead, context: &mut FilterContext<'_>) -> Verdict {
        self.at("response_head", &head.status.to_string(), context)
    }

    fn response_body(&mut self, piece: &[u8], context: &mut FilterContext<'_>) -> Verdict {
        self.at("response_body", &String::from_utf8_lossy(&piece[..piece.len().min(20)]), context)
    }

    fn response_end(&mut self, _: &mut Fields, context: &mut FilterContext<'_>) -> Verdict {
        self.at("response_end", "", context)
    }

    fn resumed(&mut self, held: Held<'_>, learned: &[u8], context: &mut FilterContext<'_>) -> Verdict {
        self.0.seen.ids.lock().unwrap().push(context.id);
        let text = String::from_utf8_lossy(learned).into_owned();
        self.0.seen.lines.lock().unwrap().push(format!("{}.resumed {text}", self.0.name));
        match held {
            Held::RequestHead(head) if !learned.is_empty() => head.fields.set_named(b"x-learned", learned),
            Held::ResponseHead(_, head) if !learned.is_empty() => head.fields.set_named(b"x-learned", learned),
            _ => {}
        }
        if text == "wait" { Verdict::Pause } else { Verdict::Continue }
    }

    fn finished(&mut self, record: &Record) {
        self.0.seen.lines.lock().unwrap().push(format!("{}.finished {}", self.0.name, record.status));
    }
}

pub fn go_on(learned: &'static str) -> Resume {
    Resume::Continue(learned.into())
}

pub fn deny() -> Resume {
    Resume::Respond(Box::new(Answer::new(401, "who?", "script asks").header("www-authenticate", "Basic")))
}
