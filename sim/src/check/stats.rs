//! Stats add up: gauges are zero when all is over, and counters agree with each other.

use super::{Check, Verdict};
use crate::world::World;
use weir_core::stats::{Scope, Totals};

/// The check.
#[derive(Debug, Default)]
pub struct Stats;

/// What all of a scope count under a name.
pub(super) fn sum(totals: &Totals, scope: Scope, name: &str) -> u64 {
    let index = scope.stats().iter().position(|(stat, _)| *stat == name);
    let blocks = totals.0.iter().filter(|((of, _), _)| *of == scope);
    index.map_or(0, |index| blocks.fold(0, |sum, (_, total)| sum.wrapping_add(total.values[index])))
}

impl Check for Stats {
    fn name(&self) -> &'static str {
        "stats"
    }

    fn finish(&mut self, world: &World) -> Verdict {
        let mut totals = Totals::default();
        world.engines().for_each(|engine| engine.stats().add_to(&mut totals));
        let gauges = [
            (Scope::Http, "downstream_cx_active"),
            (Scope::Http, "downstream_cx_http1_active"),
            (Scope::Http, "downstream_cx_http2_active"),
            (Scope::Http, "downstream_rq_active"),
            (Scope::Http, "downstream_cx_upgrades_active"),
            (Scope::Listener, "downstream_cx_active"),
            (Scope::Cluster, "upstream_rq_active"),
            (Scope::Cluster, "upstream_rq_pending_active"),
        ];
        for (scope, name) in gauges {
            let value = sum(&totals, scope, name) as i64;
            if value != 0 {
                return Err(format!("{name} is {value} when all is over"));
            }
        }
        for scope in [Scope::Http, Scope::Listener] {
            let (opened, closed) = (sum(&totals, scope, "downstream_cx_total"), sum(&totals, scope, "downstream_cx_destroy"));
            if opened != closed {
                return Err(format!("{opened} connections of clients were counted when they opened, {closed} when they closed"));
            }
        }
        let open: usize = (0..world.clusters()).map(|cluster| world.open_connections(cluster)).sum();
        let active = sum(&totals, Scope::Cluster, "upstream_cx_active");
        if active != open as u64 {
            return Err(format!("upstream_cx_active is {active}, {open} are open"));
        }
        Ok(())
    }
}
