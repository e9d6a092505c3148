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

/// The successions of keys that stand like this.
pub(super) fn of(holders: Vec<Holder>) -> HashMap<u64, Succession> {
    let gone = |last: &Option<Move>| matches!(last, Some(Move { arrived: false, .. }));
    let left = holders.into_iter().filter(|holder| gone(&holder.last_move));
    left.map(|holder| (holder.key, Succession { taker: holder.last_move.and_then(|last| last.peer), proposed: holder.proposed })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::Phase;
    use crate::placement::Basis;

    #[test]
    fn only_keys_that_left_have_successions() {
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
        let moved = |arrived| Some(Move { at_ms: 1, arrived, peer: Some("a".into()) });
        let found = of(vec![holder(1, None), holder(2, moved(true)), holder(3, moved(false))]);
        let expected = Succession { taker: Some("a".into()), proposed: Some("b".into()) };
        assert_eq!(found, HashMap::from([(3, expected)]));
    }
}
