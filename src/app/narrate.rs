//! `collector join` tells on stderr how the joining goes: resolved, reached, ring, owned, admitting; and on failure which peer failed at
//! which step, and what to do about it.

use std::time::Duration;

use cluster::{Cluster, JoinEvent};
use prometheus_components::TargetBoard;

/// After admission, keys arrive within a few rounds of gossip; then it is told how many.
const SETTLED: Duration = Duration::from_secs(2);

/// Tells until the node has been admitted and has its share. What happens later is in the log.
pub async fn tell(cluster: Cluster, targets: TargetBoard) {
    let mut events = cluster.join_events();
    loop {
        match events.recv().await {
            Ok(event) => {
                eprintln!("join: {}", sentence(&event));
                if event == JoinEvent::Admitting {
                    tokio::time::sleep(SETTLED).await;
                    let (owned, known) = targets.counts();
                    eprintln!("join: owns {owned} of {known} targets");
                    return;
                }
            }
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}

fn sentence(event: &JoinEvent) -> String {
    match event {
        JoinEvent::Resolved { address, addrs } => {
            let addrs: Vec<String> = addrs.iter().map(ToString::to_string).collect();
            format!("{address} resolved to {}", if addrs.is_empty() { "nothing".to_owned() } else { addrs.join(", ") })
        }
        JoinEvent::Reached { addr, name } => format!("reached {name} at {addr}"),
        JoinEvent::Failed { peer, step, cause, remedy } => format!("{peer} failed at step {}: {cause}; {remedy}", step.as_str()),
        JoinEvent::Waiting { unaccounted } if unaccounted.is_empty() => "waiting for the others to form a fleet".to_owned(),
        JoinEvent::Waiting { unaccounted } => format!("waiting: nobody was reached at {}; trying again", unaccounted.join(", ")),
        JoinEvent::Ring { nodes, same_config, new_fleet } => {
            let fleet = if *new_fleet { "a new fleet" } else { "the fleet" };
            format!("ring of {nodes} nodes in {fleet}, {same_config} of them with this configuration")
        }
        JoinEvent::BelowSize { participants, wanted } => format!("waiting for the fleet to have {wanted} nodes; there are {participants}"),
        JoinEvent::Admitting => "admitting work".to_owned(),
        JoinEvent::Superseded { cause } => format!("lost the place in the fleet: {cause}"),
        other => format!("{other:?}"),
    }
}
