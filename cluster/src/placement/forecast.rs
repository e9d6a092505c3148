//! What would become of a fleet of other members: the same steps that it would take, on paper.

use std::collections::BTreeMap;

use super::{HEAVIEST, Proposal, Refusals, Report, Table, Weighed, plan};
use crate::ownership::Name;
use crate::ring::Ring;

/// A key that would go from one node to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    /// Its domain.
    pub domain: Name,
    /// The key.
    pub key: u64,
    /// Its work in a minute, in units of its component, if it was measured.
    pub weight: Option<u64>,
    /// Who holds it.
    pub from: Name,
    /// Who would.
    pub to: Name,
}

/// A fleet after a change of members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Keys and load (work in a minute) of each node before.
    pub before: BTreeMap<Name, (usize, u64)>,
    /// And after.
    pub after: BTreeMap<Name, (usize, u64)>,
    /// What would move.
    pub moves: Vec<Move>,
}

/// Predicts where keys would be if `add` came and `remove` went. Reports are those of all present members, with every key.
pub(crate) fn forecast(current: &Proposal, table: &Table, reports: &[(Name, Report)], add: &[Name], remove: &[Name]) -> Forecast {
    let present = current.ring().members().iter().filter(|name| !remove.contains(name));
    let members: Vec<Name> = present.chain(add).cloned().collect();
    // First the others take over by ring and backups, at once; then the author evens out.
    let at_once = Proposal::new(Ring::new(members.clone()), &current.zones(), table);
    let keys: Vec<(&Name, &Weighed)> =
        reports.iter().flat_map(|(holder, report)| report.keys.iter().map(move |key| (holder, key))).collect();
    let first = |(holder, key): &(&Name, &Weighed)| taker(current, &at_once, holder, key);
    let taken: Vec<Option<Name>> = keys.iter().map(first).collect();
    let then = planned(&at_once, table, &keys, &taken);
    let mut forecast = Forecast::default();
    forecast.after.extend(members.iter().map(|name| (name.clone(), (0, 0))));
    forecast.before.extend(reports.iter().map(|(name, _)| (name.clone(), (0, 0))));
    for ((holder, key), taker) in keys.iter().zip(taken) {
        let Some(first) = taker else { continue };
        let strays = at_once.owner_name(&key.domain, key.key) != Some(&first);
        let last = then.as_ref().filter(|_| !strays).and_then(|then| then.owner_name(&key.domain, key.key)).cloned().unwrap_or(first);
        forecast.count(holder, last, key);
    }
    forecast.moves.sort_unstable();
    forecast
}

impl Forecast {
    fn count(&mut self, holder: &Name, to: Name, key: &Weighed) {
        let weight = key.weight.unwrap_or(0);
        for (fleet, node) in [(&mut self.before, holder), (&mut self.after, &to)] {
            let (keys, load) = fleet.entry(node.clone()).or_default();
            *keys += 1;
            *load += weight;
        }
        if *holder != to {
            self.moves.push(Move { domain: key.domain.clone(), key: key.key, weight: key.weight, from: holder.clone(), to });
        }
    }
}

/// Who takes a key at once. One that only its holder knows stays there.
fn taker(current: &Proposal, at_once: &Proposal, holder: &Name, key: &Weighed) -> Option<Name> {
    let stray = key.settled && current.owner_name(&key.domain, key.key) != Some(holder);
    if stray && at_once.ring().members().binary_search(holder).is_ok() {
        return Some(holder.clone());
    }
    at_once.owner_name(&key.domain, key.key).cloned()
}

/// The proposal by the table that the author would write next, if it would.
fn planned(at_once: &Proposal, table: &Table, keys: &[(&Name, &Weighed)], taken: &[Option<Name>]) -> Option<Proposal> {
    let members = at_once.ring().members();
    let mut held: Vec<Vec<Weighed>> = vec![Vec::new(); members.len()];
    for ((_, key), taker) in keys.iter().zip(taken) {
        let Some(index) = taker.as_ref().and_then(|taker| members.binary_search(taker).ok()) else { continue };
        held[index].push(Weighed { settled: true, ..Weighed::clone(key) });
    }
    let reports: Vec<Report> = held.into_iter().map(|keys| Report::new(table.version(), 0, keys, HEAVIEST)).collect();
    let plan = plan(at_once, table, &reports, "", &mut Refusals::default())?;
    (plan.moved > 0).then(|| Proposal::new(at_once.ring().clone(), &at_once.zones(), &plan.table))
}
