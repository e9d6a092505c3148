//! Who has what a leaving node handed over: for whoever has more to give to the next holder of a key.

use std::collections::HashMap;

use crate::ownership::{Holder, Move, Name};

/// Where a key went that this node let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succession {
    /// The member that took it.
    pub taker: Option<Name>,
    /// The member that should hold it by this node's view, for when the taker is gone.
    pub proposed: Option<Name>,
}

/// The successions of keys that stand like this. Of a key that is in several domains, the one that left last.
pub(super) fn of(holders: Vec<Holder>) -> HashMap<u64, Succession> {
    let left = |holder: Holder| match holder.last_move {
        Some(Move { arrived: false, at_ms, peer }) => Some((at_ms, holder.key, Succession { taker: peer, proposed: holder.proposed })),
        _ => None,
    };
    let mut left: Vec<_> = holders.into_iter().filter_map(left).collect();
    left.sort_unstable_by_key(|(at_ms, key, _)| (*at_ms, *key));
    left.into_iter().map(|(_, key, succession)| (key, succession)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::Phase;
    use crate::placement::Basis;

    #[test]
    fn only_keys_that_left_have_successions_and_the_last_one_counts() {
        let holder = |key, last_move| Holder {
            domain: "scrape".into(),
            key,
            phase: Phase::Idle,
            proposed: Some("b".into()),
            basis: Basis::Fallback,
            since_ms: None,
            reason: None,
            last_move,
        };
        let moved = |arrived, at_ms, peer: &str| Some(Move { at_ms, arrived, peer: Some(peer.into()) });
        let gone = [holder(3, moved(false, 2, "a")), holder(3, moved(false, 1, "c"))];
        let found = of([holder(1, None), holder(2, moved(true, 9, "a"))].into_iter().chain(gone).collect());
        let expected = Succession { taker: Some("a".into()), proposed: Some("b".into()) };
        assert_eq!(found, HashMap::from([(3, expected)]));
    }
}
