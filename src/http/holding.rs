//! What the cluster says of a key, in the API's words: who holds it, how it came there, who is next in line.

use cluster::Basis;
use cluster::ownership::{Candidacy, Holder, Phase, StartReason};
use serde_json::{Value, json};

/// Adds to a target what the cluster knows of its key. Without clustering there is nothing to add.
pub fn add_to(target: &mut Value, holder: Option<&Holder>) {
    let Some(holder) = holder else { return };
    target["ownerReason"] = reason(holder).into();
    target["ownerSince"] = holder.since_ms.map(time).into();
    target["placedBy"] = basis(holder.basis).into();
    if let Some(last) = &holder.last_move {
        let direction = if last.arrived { "from" } else { "to" };
        target["lastMove"] = json!({ "at": time(last.at_ms), direction: last.peer.as_deref().unwrap_or_default() });
    }
}

/// How a key stands on the node that tells.
pub fn view(node: &str, holder: &Holder) -> Value {
    json!({
        "node": node,
        "stands": phase(holder.phase),
        "proposes": holder.proposed.as_deref().unwrap_or_default(),
        "because": basis(holder.basis),
        "since": holder.since_ms.map(time),
        "reason": reason(holder),
    })
}

/// A node in line for a key.
pub fn candidate(candidacy: &Candidacy) -> Value {
    json!({ "node": &*candidacy.name, "because": basis(candidacy.basis), "knowsTarget": candidacy.knows })
}

/// Milliseconds since the epoch as RFC 3339.
pub fn time(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.unwrap_or_default().to_string()
}

/// The rule that proposes a node, as the API names it.
pub fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Ring => "ring",
        Basis::Table => "table",
        Basis::Backup => "backup",
        Basis::Fallback => "fallback",
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Idle => "left to others",
        Phase::Wanting => "being claimed",
        Phase::Held => "held",
        Phase::Left => "no longer discovered here",
        Phase::Releasing => "being stopped for another node",
        Phase::Granted => "on its way to another node",
    }
}

/// How it came to its holder, in words; empty where it is not held.
fn reason(holder: &Holder) -> String {
    match &holder.reason {
        None => String::new(),
        Some(StartReason::Free { left: None }) => "nobody held it".to_owned(),
        Some(StartReason::Free { left: Some(left) }) => format!("{left} was to hold it and is gone"),
        Some(StartReason::Handover { from }) => format!("taken over from {from}"),
        Some(StartReason::Returned { by }) => format!("{by} did not take it"),
        Some(StartReason::Rescheduled) => "its interval has changed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use cluster::ownership::Move;

    use super::*;

    fn holder(reason: Option<StartReason>) -> Holder {
        let last_move = Some(Move { at_ms: 1_700_000_000_000, arrived: true, peer: Some("b".into()) });
        let since_ms = reason.as_ref().map(|_| 1_700_000_000_500);
        Holder {
            domain: "d".into(),
            key: 1,
            phase: Phase::Held,
            proposed: Some("a".into()),
            basis: Basis::Table,
            since_ms,
            reason,
            last_move,
        }
    }

    #[test]
    fn a_target_gets_since_when_and_why_it_is_where_it_is() {
        let mut target = json!({});
        add_to(&mut target, Some(&holder(Some(StartReason::Handover { from: "b".into() }))));
        let expected = json!({
            "ownerReason": "taken over from b",
            "ownerSince": "2023-11-14T22:13:20.5Z",
            "placedBy": "table",
            "lastMove": { "at": "2023-11-14T22:13:20Z", "from": "b" },
        });
        assert_eq!(target, expected);
    }

    #[test]
    fn a_node_that_does_not_hold_a_key_says_whom_it_proposes() {
        let view = view("c", &Holder { phase: Phase::Idle, ..holder(None) });
        assert_eq!((&view["stands"], &view["proposes"], &view["reason"]), (&json!("left to others"), &json!("a"), &json!("")));
    }
}
