//! From a world that fails to a small one that fails in the same way: clients, requests, faults and updates are taken
//! out as long as the same check goes on failing (delta debugging).

use crate::recipe::Recipe;
use crate::swarm;
use std::collections::BTreeSet;

/// Which check fails in this world, if one does.
pub fn failing(recipe: &Recipe) -> Option<&'static str> {
    swarm::of(recipe).run().failure.map(|(_, check, _)| check)
}

/// The smallest world that `fails` and that can be found by leaving things out of `recipe`.
pub fn shrink(recipe: &Recipe, mut fails: impl FnMut(&Recipe) -> bool) -> Recipe {
    let mut best = recipe.clone();
    let size = swarm::size(recipe);
    // Clients first: each takes all its requests along. Twice, since what could not go may go once others have gone.
    for _ in 0..2 {
        leave_out(&mut best, size.clients, |recipe| &mut recipe.without_clients, &mut fails);
        leave_out(&mut best, size.planned, |recipe| &mut recipe.without_planned, &mut fails);
        leave_out(&mut best, size.requests, |recipe| &mut recipe.without_requests, &mut fails);
    }
    best
}

/// Leaves out as many of `count` things as can be left out, in halves, quarters and so on.
fn leave_out(best: &mut Recipe, count: u64, set: fn(&mut Recipe) -> &mut BTreeSet<u64>, fails: &mut impl FnMut(&Recipe) -> bool) {
    let mut chunk = count;
    while chunk > 0 {
        let mut from = 0;
        while from < count {
            let mut less = best.clone();
            set(&mut less).extend(from..(from + chunk).min(count));
            if less != *best && fails(&less) {
                *best = less;
            }
            from += chunk;
        }
        chunk /= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_left() {
        let recipe = Recipe::of(3);
        let size = swarm::size(&recipe);
        let needed = size.requests / 2;
        let small = shrink(&recipe, |less| !less.without_requests.contains(&needed));
        assert_eq!(small.without_clients.len() as u64, size.clients);
        assert_eq!(small.without_requests.len() as u64, size.requests - 1);
    }
}
