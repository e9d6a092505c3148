//! What is known of targets, for whoever shows them (`/api/v1/targets`): each scraping component puts itself on the board, the product
//! reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use scrape::{Dropped, Target};

/// The targets of one scraping component.
#[derive(Clone, Debug, Default)]
pub struct PoolTargets {
    /// The component's ID.
    pub pool: String,
    /// Targets that this node knows, its own and others'.
    pub targets: Arc<[Arc<Target>]>,
    /// Discovered targets that are not scraped by anybody, with the reason.
    pub dropped: Arc<[Dropped]>,
}

/// Tells what a component knows of its targets.
pub trait TargetSource: Send + Sync {
    /// All targets.
    fn targets(&self) -> PoolTargets;
    /// How many targets this node scrapes, and how many it knows.
    fn counts(&self) -> (usize, usize);
}

/// All scraping components of the process. Cloning shares the board.
#[derive(Clone, Default)]
pub struct TargetBoard(Arc<RwLock<BTreeMap<String, Arc<dyn TargetSource>>>>);

impl TargetBoard {
    /// Puts a component on the board until the returned place is dropped.
    pub(crate) fn put(&self, id: &str, source: Arc<dyn TargetSource>) -> Place {
        self.0.write().insert(id.to_owned(), source.clone());
        Place { board: self.clone(), id: id.to_owned(), source }
    }

    /// The targets of every component, by its ID.
    #[must_use]
    pub fn pools(&self) -> Vec<PoolTargets> {
        let sources: Vec<_> = self.0.read().values().cloned().collect();
        sources.iter().map(|source| source.targets()).collect()
    }

    /// How many targets this node scrapes, and how many it knows.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let sources: Vec<_> = self.0.read().values().cloned().collect();
        sources.iter().map(|source| source.counts()).fold((0, 0), |(a, b), (owned, known)| (a + owned, b + known))
    }
}

/// A component's place on the board.
pub(crate) struct Place {
    board: TargetBoard,
    id: String,
    source: Arc<dyn TargetSource>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sources = self.board.0.write();
        // A successor of the same ID may have taken the place already.
        if sources.get(&self.id).is_some_and(|present| Arc::ptr_eq(present, &self.source)) {
            sources.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known(usize);

    impl TargetSource for Known {
        fn targets(&self) -> PoolTargets {
            PoolTargets::default()
        }

        fn counts(&self) -> (usize, usize) {
            (1, self.0)
        }
    }

    #[test]
    fn a_successor_keeps_its_place_when_the_predecessor_goes() {
        let board = TargetBoard::default();
        let old = board.put("a", Arc::new(Known(2)));
        let _new = board.put("a", Arc::new(Known(3)));
        let _other = board.put("b", Arc::new(Known(4)));
        drop(old);
        assert_eq!(board.counts(), (2, 7));
        assert_eq!(board.pools().len(), 2);
    }
}
