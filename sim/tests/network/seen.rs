//! What clients and upstreams have seen, and what nobody may ever see.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

/// What clients and upstreams have seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// Requests that reached upstreams, by id: how often.
    pub(crate) arrived: RefCell<BTreeMap<u64, u32>>,
    /// How each request ended: a status, or why there is none.
    pub(crate) ended: RefCell<BTreeMap<u64, Result<u16, String>>>,
    /// What the proxy said of requests that it could not have answered.
    pub(crate) reasons: RefCell<BTreeSet<String>>,
    /// What nobody may ever see.
    pub(crate) faults: RefCell<Vec<String>>,
    /// TLS sessions that clients have resumed.
    pub(crate) resumed: Cell<usize>,
    /// Clients that have asked all they wanted.
    pub(crate) finished: Cell<usize>,
    /// What the drain has cut, once it has ended.
    pub(crate) drained: Cell<Option<u32>>,
    next: Cell<u64>,
}

impl Seen {
    /// The id of a new request. Odd ones are POSTs.
    pub(crate) fn next_id(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    /// Something that nobody may ever see was seen.
    pub(crate) fn fault(&self, what: String) {
        self.faults.borrow_mut().push(what);
    }

    /// A request has ended.
    pub(crate) fn end(&self, id: u64, ended: Result<u16, String>) {
        if self.ended.borrow_mut().insert(id, ended).is_some() {
            self.fault(format!("request {id} ended twice"));
        }
    }

    /// How many requests ended so.
    pub(crate) fn count(&self, suits: impl Fn(&Result<u16, String>) -> bool) -> usize {
        self.ended.borrow().values().filter(|ended| suits(ended)).count()
    }

    /// How many requests were answered with 200.
    pub(crate) fn good(&self) -> usize {
        self.count(|ended| *ended == Ok(200))
    }

    /// All the ways in which requests ended.
    pub(crate) fn ways(&self) -> BTreeSet<String> {
        self.ended.borrow().values().map(|ended| format!("{ended:?}")).collect()
    }
}
