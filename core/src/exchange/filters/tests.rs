//! The queue by itself: who is shown what, and in which order it comes out.

use super::*;
use Side::{Request, Response};

/// Looks at bodies or not, by its name.
#[derive(Debug)]
struct Nobody(&'static str);

impl HttpFilter for Nobody {}

impl FilterFactory for Nobody {
    fn name(&self) -> &str {
        self.0
    }

    fn make(&self) -> Box<dyn HttpFilter> {
        Box::new(Nobody(self.0))
    }

    fn wants_bodies(&self) -> bool {
        self.0 == "bodies"
    }
}

fn filters(names: &[&'static str]) -> Filters {
    let factories: Vec<Arc<dyn FilterFactory>> = names.iter().map(|name| Arc::new(Nobody(name)) as Arc<dyn FilterFactory>).collect();
    Filters::new(&factories)
}

fn head(alone: bool) -> Item {
    Item::Head { framing: Framing::Empty, switches: false, alone }
}

fn piece(text: &'static str) -> Item {
    Item::Piece(Bytes::from_static(text.as_bytes()))
}

fn letter(item: &Item) -> String {
    match item {
        Item::Head { .. } => "H".to_owned(),
        Item::Piece(piece) => String::from_utf8_lossy(piece).into_owned(),
        Item::End => "E".to_owned(),
    }
}

/// Shows what is held, with the verdicts of who is shown `0H`, `1x`, ...; answers what was shown, and what has passed.
fn run(filters: &mut Filters, side: Side, verdicts: &[(&str, Verdict)]) -> (String, String) {
    let mut shown = Vec::new();
    let came_to = filters.show(side, |index, _, _, item| {
        let what = format!("{index}{}", letter(item));
        let verdict = verdicts.iter().find(|(at, _)| *at == what).map_or(Verdict::Continue, |(_, verdict)| verdict.clone());
        shown.push(what);
        verdict
    });
    if let Shown::Answered(index, _) = came_to {
        shown.push(format!("answer {index}"));
    }
    let passed: Vec<String> = std::iter::from_fn(|| filters.pop_passed(side)).map(|item| letter(&item)).collect();
    (shown.join(" "), passed.join(" "))
}

fn went(shown: &str, passed: &str) -> (String, String) {
    (shown.to_owned(), passed.to_owned())
}

#[test]
fn requests_pass_in_order_and_responses_in_reverse() {
    for (side, shown) in [(Request, "0H 1H 2H 0x 2x 0E 2E"), (Response, "2H 1H 0H 2x 0x 2E 0E")] {
        let mut filters = filters(&["bodies", "heads", "bodies"]);
        [head(false), piece("x"), Item::End].into_iter().for_each(|item| filters.push(side, item));
        assert_eq!(run(&mut filters, side, &[]), went(shown, "H x E"));
        assert_eq!((filters.held_bytes(side), filters.holds(side)), (0, false));
    }
}

#[test]
fn a_head_alone_passes_with_its_end() {
    let mut filters = filters(&["bodies"]);
    filters.push(Request, head(true));
    assert_eq!(run(&mut filters, Request, &[]), went("0H", ""));
    filters.push(Request, Item::End);
    assert_eq!(run(&mut filters, Request, &[("0E", Verdict::Pause)]), went("0E", ""));
    filters.release(Request, 0);
    assert_eq!(run(&mut filters, Request, &[]), went("", "H E"));
}

#[test]
fn nothing_moves_behind_a_pause() {
    let mut filters = filters(&["bodies", "bodies"]);
    [head(false), piece("x"), piece("y")].into_iter().for_each(|item| filters.push(Request, item));
    assert_eq!(run(&mut filters, Request, &[("1x", Verdict::Pause)]), went("0H 1H 0x 1x", "H"));
    assert!(filters.resume(Request, 0, 0).is_none() && filters.resume(Response, 1, 0).is_none());
    assert!(filters.resume(Request, 1, 1).is_none() && filters.resume(Request, 1, 0).is_some());
    assert!(filters.resume(Request, 1, 0).is_none(), "that turn is over");
    assert_eq!(filters.held_bytes(Request), 2 * (1 + PIECE_COST));
    filters.release(Request, 1);
    assert_eq!(run(&mut filters, Request, &[]), went("0y 1y", "x y"));
}

#[test]
fn what_is_gathered_is_seen_and_goes_on_with_the_end() {
    let mut filters = filters(&["bodies", "bodies", "bodies"]);
    [head(false), piece("x")].into_iter().for_each(|item| filters.push(Request, item));
    assert_eq!(run(&mut filters, Request, &[("1H", Verdict::Gather)]), went("0H 1H 0x 1x", ""));
    assert!(filters.is_gathering(Request));
    filters.push(Request, Item::End);
    assert_eq!(run(&mut filters, Request, &[("1E", Verdict::Pause)]), went("0E 1E", ""));
    filters.release(Request, 1);
    assert_eq!(run(&mut filters, Request, &[]), went("2H 2x 2E", "H x E"));

    let mut filters = self::filters(&["bodies", "bodies", "bodies"]);
    [head(false), piece("x"), Item::End].into_iter().for_each(|item| filters.push(Response, item));
    assert_eq!(run(&mut filters, Response, &[("1H", Verdict::Gather)]), went("2H 1H 2x 1x 2E 1E 0H 0x 0E", "H x E"));
}

#[test]
fn who_wants_no_bodies_gathers_none() {
    let mut filters = filters(&["heads"]);
    [head(false), piece("x")].into_iter().for_each(|item| filters.push(Request, item));
    assert_eq!(run(&mut filters, Request, &[("0H", Verdict::Gather)]), went("0H", ""));
    assert!(!filters.is_gathering(Request));
    filters.release(Request, 0);
    assert_eq!(run(&mut filters, Request, &[]), went("", "H x"));
    assert!(!filters.is_concerned(Request), "bodies pass it by");
}

#[test]
fn a_second_answer_is_not_for_who_has_seen_the_first() {
    let mut filters = filters(&["bodies", "bodies", "bodies"]);
    filters.push(Response, head(false));
    let answer = Verdict::Respond(Box::default());
    assert_eq!(run(&mut filters, Response, &[("1H", answer)]), went("2H 1H answer 1", ""));
    filters.begin_replacing(1);
    filters.begin_reply();
    [head(false), piece("x"), Item::End].into_iter().for_each(|item| filters.push(Response, item));
    assert_eq!(run(&mut filters, Response, &[("0H", Verdict::Pause)]), went("0H", ""));
    // A timeout comes first.
    filters.begin_reply();
    [head(true), Item::End].into_iter().for_each(|item| filters.push(Response, item));
    assert_eq!(run(&mut filters, Response, &[]), went("", "H E"));
    filters.push(Request, piece("late"));
    assert!(!filters.holds(Request), "the rest of the request is of no interest");
}
