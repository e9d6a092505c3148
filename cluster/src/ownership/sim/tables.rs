//! Tables of placement: somebody writes one, and it reaches everybody sooner or later. What they say is drawn, so that keys move for
//! no reason and to nodes that may not be there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::fleet::{Fleet, NodeEvent};
use super::gossip::SPREAD_MS;
use super::node::{domain_of, name_of};
use crate::ownership::{Name, Ownership};
use crate::placement::{Place, Table};

impl Fleet {
    /// Half of the keys get a place among the nodes that ever exist.
    pub(super) fn write_table(&mut self, number: u64) {
        let mut rng = StdRng::seed_from_u64(number);
        let nodes = u32::try_from(self.script.nodes).unwrap();
        let mut places: BTreeMap<Name, HashMap<u64, Place>> = BTreeMap::new();
        for plan in self.script.keys.iter().filter(|_| rng.random_bool(0.5)).collect::<Vec<_>>() {
            let place = Place { node: rng.random_range(0..nodes), backup: rng.random_range(0..nodes), weight: 1 };
            places.entry(domain_of(plan.domain)).or_default().insert(plan.key, place);
        }
        let names = (0..self.script.nodes).map(name_of).collect();
        self.table = Arc::new(Table::following(self.table.version(), "author", names, places));
        for node in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.send_table(node);
        }
    }

    /// The newest table reaches a node within the time that news take.
    pub(super) fn send_table(&mut self, node: usize) {
        let delay = self.rng.random_range(0..SPREAD_MS);
        self.after(delay, node, NodeEvent::Table);
    }

    pub(super) fn take_table(&mut self, node: usize) {
        let table = self.table.clone();
        self.input(node, |machine: &mut Ownership, now| match machine.table().version() < table.version() {
            true => machine.set_table(now, table),
            false => Vec::new(),
        });
    }
}
