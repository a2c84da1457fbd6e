//! A simulated filter of the host's: it lets heads, pieces and ends wait, and the world resumes it later, in random order.
//! What it does is drawn from the engine's own randomness, so that it is the same in a replay.

use crate::event::{MS, Time};
use std::sync::{Arc, Mutex, PoisonError};
use weir_core::filter::{FilterContext, FilterFactory, FilterId, FilterKind, Held, HttpFilter, Registry, Verdict};
use weir_core::http::{Fields, RequestHead, ResponseHead};
use weir_core::rng::Rng;

/// The type of its config.
const TYPE: &str = "type.googleapis.com/weir.sim.Wait";
/// What a resume brings to learn.
const LEARNED: &[u8] = b"go on";

/// The filters of one world: how often they pause, and who waits.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// How many there are in a chain; 0 is a world without.
    pub count: u64,
    /// Of a thousand heads, pieces and ends, so many wait.
    pub pauses: u64,
    /// Whether they look at bodies.
    pub bodies: bool,
    /// A wait is no longer than this.
    pub longest: Time,
    /// Who has begun to wait since the world looked.
    waiting: Arc<Mutex<Vec<FilterId>>>,
}

/// Who waits is no part of a config.
impl PartialEq for Filters {
    fn eq(&self, other: &Self) -> bool {
        (self.count, self.pauses, self.bodies, self.longest) == (other.count, other.pauses, other.bodies, other.longest)
    }
}

impl Eq for Filters {}

impl Filters {
    /// Any, or none in most worlds.
    pub fn draw(rng: &mut Rng) -> Filters {
        let count = if rng.below(3) == 0 { 1 + rng.below(3) } else { 0 };
        Filters {
            count,
            pauses: [0, 20, 200, 1000][rng.below(4) as usize],
            bodies: rng.below(3) > 0,
            longest: [MS / 100, 3 * MS, 30 * MS][rng.below(3) as usize],
            waiting: Arc::default(),
        }
    }

    /// For the loader.
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        registry.register(TYPE, Arc::new(Kind(self.clone())));
        registry
    }

    /// Their entries of `http_filters`, as YAML.
    pub fn yaml(&self) -> String {
        (0..self.count)
            .map(|n| format!("                  - {{ name: wait-{n}, typed_config: {{ \"@type\": {TYPE}, pauses: {} }} }}\n", self.pauses))
            .collect()
    }

    /// Who has begun to wait since this was asked.
    pub fn take_waiting(&self) -> Vec<FilterId> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a resume brings.
    pub fn learned() -> &'static [u8] {
        LEARNED
    }
}

#[derive(Debug)]
struct Kind(Filters);

impl FilterKind for Kind {
    fn configure(&self, name: &str, config_json: &str) -> Result<Arc<dyn FilterFactory>, String> {
        let expected = format!("{{\"pauses\":{}}}", self.0.pauses);
        match config_json == expected {
            true => Ok(Arc::new(Factory { name: name.into(), filters: self.0.clone() })),
            false => Err(format!("{config_json} is not {expected}")),
        }
    }
}

#[derive(Clone, Debug)]
struct Factory {
    name: Arc<str>,
    filters: Filters,
}

impl FilterFactory for Factory {
    fn name(&self) -> &str {
        &self.name
    }

    fn make(&self) -> Box<dyn HttpFilter> {
        Box::new(Wait { filters: self.filters.clone(), paused: [false; 2] })
    }

    fn wants_bodies(&self) -> bool {
        self.filters.bodies
    }
}

#[derive(Debug)]
struct Wait {
    filters: Filters,
    /// By side.
    paused: [bool; 2],
}

impl Wait {
    fn decide(&mut self, context: &mut FilterContext<'_>) -> Verdict {
        let side = context.id.side as usize;
        assert!(!self.paused[side], "something overtakes what waits");
        if context.rng.below(1000) >= self.filters.pauses {
            return Verdict::Continue;
        }
        self.wait(context)
    }

    fn wait(&mut self, context: &FilterContext<'_>) -> Verdict {
        self.paused[context.id.side as usize] = true;
        self.filters.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(context.id);
        Verdict::Pause
    }
}

impl HttpFilter for Wait {
    fn request_head(&mut self, _: &mut RequestHead, context: &mut FilterContext<'_>) -> Verdict {
        self.decide(context)
    }

    fn request_body(&mut self, piece: &[u8], context: &mut FilterContext<'_>) -> Verdict {
        assert!(!piece.is_empty());
        self.decide(context)
    }

    fn request_end(&mut self, _: &mut Fields, context: &mut FilterContext<'_>) -> Verdict {
        self.decide(context)
    }

    fn response_head(&mut self, _: &RequestHead, _: &mut ResponseHead, context: &mut FilterContext<'_>) -> Verdict {
        self.decide(context)
    }

    fn response_body(&mut self, piece: &[u8], context: &mut FilterContext<'_>) -> Verdict {
        assert!(!piece.is_empty());
        self.decide(context)
    }

    fn response_end(&mut self, _: &mut Fields, context: &mut FilterContext<'_>) -> Verdict {
        self.decide(context)
    }

    fn resumed(&mut self, _: Held<'_>, learned: &[u8], context: &mut FilterContext<'_>) -> Verdict {
        assert!(self.paused[context.id.side as usize] && learned == LEARNED);
        // One in ten finds that it must ask again.
        if context.rng.below(10) == 0 {
            return self.wait(context);
        }
        self.paused[context.id.side as usize] = false;
        Verdict::Continue
    }
}
