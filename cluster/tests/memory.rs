//! Fleets on the in-memory network under paused time: real membership, handshakes, gossip and ownership, with faults.

#![allow(clippy::unwrap_used, reason = "clippy lets only functions marked as tests unwrap; these serve nothing else")]

mod fleet;

use std::time::Duration;

use cluster::{Clock, JoinEvent, State, Step, memory::Network, ownership::KeySpec};
use fleet::{Component, MemoryNode, clock, each_held_once, memory_addr as addr, names, participants, within};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

async fn fleet(network: &Network, clock: &Clock, size: u8) -> Vec<MemoryNode> {
    let peers: Vec<_> = (1..=size).map(addr).collect();
    let nodes: Vec<_> =
        (1..=size).map(|last| MemoryNode::start(network, clock, NAMES[usize::from(last) - 1], addr(last), &peers)).collect();
    within(Duration::from_secs(8), "all are participants", || all_see(&nodes, &NAMES[..usize::from(size)])).await;
    nodes
}

fn all_see(nodes: &[MemoryNode], expected: &[&str]) -> bool {
    nodes.iter().all(|node| participants(&node.cluster) == expected)
}

#[tokio::test(start_paused = true)]
async fn nodes_that_start_together_form_one_fleet() {
    let (network, clock) = (Network::new(), clock());
    let nodes = fleet(&network, &clock, 5).await;
    for node in &nodes {
        assert_eq!(node.metric("cluster_node_peers{cluster_name=\"test\",state=\"participant\"}"), Some(5.0));
        assert_eq!(node.metric("cluster_ready_for_traffic"), Some(1.0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_alone_stays_a_viewer_while_somebody_may_be_there() {
    let (network, clock) = (Network::new(), clock());
    network.stall(addr(2));
    let node = MemoryNode::start(&network, &clock, "a", addr(1), &[addr(1), addr(2)]);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(names(&node.cluster, |peer| peer.state == State::Viewer), ["a"]);
    // The silent machine turns out to be off: now the node is free to begin.
    network.crash(addr(2));
    within(Duration::from_secs(10), "it starts a fleet", || participants(&node.cluster) == ["a"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_peers_are_all_off_starts_a_fleet_after_the_grace_and_others_join_it() {
    let (network, clock) = (Network::new(), clock());
    let peers = [addr(1), addr(2), addr(3)];
    let first = MemoryNode::start(&network, &clock, "a", addr(1), &peers);
    let took = within(Duration::from_secs(10), "it starts a fleet", || participants(&first.cluster) == ["a"]).await;
    assert!(took >= Duration::from_secs(5), "others get the time to appear: {took:?}");
    let second = MemoryNode::start(&network, &clock, "b", addr(2), &peers);
    let took = within(Duration::from_secs(2), "it joins", || participants(&second.cluster) == ["a", "b"]).await;
    assert!(took < Duration::from_secs(1), "a running fleet is joined at once: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_dials_nobody_before_its_configuration_runs() {
    let (network, clock) = (Network::new(), clock());
    let seed = MemoryNode::start(&network, &clock, "a", addr(1), &[]);
    let node = MemoryNode::start_idle(&network, &clock, "b", addr(2), &[addr(1)], |_| {});
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(names(&seed.cluster, |_| true), ["a"]);
    node.cluster.participate();
    within(Duration::from_secs(2), "it joins", || participants(&seed.cluster) == ["a", "b"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_found_this_node_before_its_configuration_ran_is_accounted_for() {
    let (network, clock) = (Network::new(), clock());
    let late = MemoryNode::start_idle(&network, &clock, "b", addr(2), &[addr(1), addr(2)], |_| {});
    let early = MemoryNode::start(&network, &clock, "a", addr(1), &[addr(1), addr(2)]);
    within(Duration::from_secs(5), "they have met", || [&early, &late].iter().all(|node| node.cluster.peers().len() == 2)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    late.cluster.participate();
    within(Duration::from_secs(10), "both form a fleet", || participants(&early.cluster) == ["a", "b"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_the_fleet_finds_first_tells_whom_it_reached_too() {
    let (network, clock) = (Network::new(), clock());
    let soon = |config: &mut cluster::Config| config.rejoin_interval = Duration::from_secs(10);
    let finder = MemoryNode::start_with(&network, &clock, "a", addr(1), &[addr(2)], soon);
    within(Duration::from_secs(10), "it starts a fleet", || participants(&finder.cluster) == ["a"]).await;
    network.stall(addr(9));
    let found = MemoryNode::start(&network, &clock, "b", addr(2), &[addr(9)]);
    let mut events = found.cluster.join_events();
    let mut told = Vec::new();
    while told.last() != Some(&JoinEvent::Admitting) {
        told.push(events.recv().await.unwrap());
    }
    let reached = JoinEvent::Reached { addr: addr(1), name: "a".into() };
    let ring = JoinEvent::Ring { nodes: 2, same_config: 2, new_fleet: false };
    let place = |event: &JoinEvent| told.iter().position(|told| told == event).unwrap_or_else(|| panic!("{event:?} is not in {told:?}"));
    assert!(place(&reached) < place(&ring), "{told:?}");
    assert_eq!(told.iter().filter(|event| **event == reached).count(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_seen_by_all_within_a_second() {
    let (network, clock) = (Network::new(), clock());
    let mut nodes = fleet(&network, &clock, 5).await;
    let dead = nodes.remove(2);
    dead.crash();
    let took = within(Duration::from_secs(2), "all miss c", || all_see(&nodes, &["a", "b", "d", "e"])).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(nodes[0].metric("collector_cluster_members_lost_total"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn with_two_nodes_one_witness_is_enough() {
    let (network, clock) = (Network::new(), clock());
    let nodes = fleet(&network, &clock, 2).await;
    nodes[1].crash();
    within(Duration::from_secs(1), "a misses b", || participants(&nodes[0].cluster) == ["a"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stands_still_for_five_seconds_is_never_missed() {
    let (network, clock) = (Network::new(), clock());
    let nodes = fleet(&network, &clock, 3).await;
    network.stall(addr(2));
    let end = tokio::time::Instant::now() + Duration::from_millis(4_900);
    while tokio::time::Instant::now() < end {
        assert_eq!(participants(&nodes[0].cluster), ["a", "b", "c"]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    network.resume(addr(2));
    for _ in 0..200 {
        assert!(all_see(&[&nodes[0], &nodes[2]].map(|node| participants(&node.cluster)), &["a", "b", "c"]));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    fn all_see(seen: &[Vec<String>], expected: &[&str]) -> bool {
        seen.iter().all(|names| names == expected)
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_missed_within_ten_seconds_and_comes_back_when_it_speaks() {
    let (network, clock) = (Network::new(), clock());
    let nodes = fleet(&network, &clock, 3).await;
    network.stall(addr(2));
    within(Duration::from_secs(10), "b is missed", || {
        participants(&nodes[0].cluster) == ["a", "c"] && participants(&nodes[2].cluster) == ["a", "c"]
    })
    .await;
    network.resume(addr(2));
    within(Duration::from_secs(10), "b is back", || all_see(&nodes, &["a", "b", "c"])).await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_stream_is_opened_again_and_nobody_is_missed() {
    let (network, clock) = (Network::new(), clock());
    let nodes = fleet(&network, &clock, 3).await;
    for _ in 0..20 {
        network.reset(addr(1), addr(2));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(all_see(&nodes, &["a", "b", "c"]));
    }
    let answer = || async { nodes[0].cluster.request("b", "none", bytes::Bytes::new()).await };
    let error = answer().await.unwrap_err();
    assert!(error.to_string().contains("no questions of kind"), "the stream works: {error}");
}

#[tokio::test(start_paused = true)]
async fn a_cut_between_two_of_three_is_bridged_by_gossip() {
    let (network, clock) = (Network::new(), clock());
    let nodes = fleet(&network, &clock, 3).await;
    network.cut(addr(1), addr(2));
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(all_see(&nodes, &["a", "b", "c"]), "c tells a and b that the other lives");
    }
}

#[tokio::test(start_paused = true)]
async fn both_sides_of_a_partition_work_on_and_meet_again() {
    let (network, clock) = (Network::new(), clock());
    let nodes = fleet(&network, &clock, 4).await;
    let keys: Vec<u64> = (0..40).collect();
    let components: Vec<_> = nodes.iter().map(|node| Component::claim(&node.cluster, "scrape", &keys, 1_000)).collect();
    let all: Vec<_> = components.iter().collect();
    within(Duration::from_secs(10), "each key has one holder", || each_held_once(&all, &keys)).await;
    let sides = [(1, 3), (1, 4), (2, 3), (2, 4)];
    for (one, other) in sides {
        network.cut(addr(one), addr(other));
    }
    within(Duration::from_secs(12), "the sides lose each other", || all_see(&nodes[..2], &["a", "b"]) && all_see(&nodes[2..], &["c", "d"]))
        .await;
    for (one, other) in sides {
        network.heal(addr(one), addr(other));
    }
    within(Duration::from_secs(10), "they meet and each key has one holder again", || {
        all_see(&nodes, &NAMES[..4]) && each_held_once(&all, &keys)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_is_seen_by_all_at_once_and_is_no_loss() {
    let (network, clock) = (Network::new(), clock());
    let mut nodes = fleet(&network, &clock, 4).await;
    let leaver = nodes.remove(0);
    let report = leaver.cluster.leave(Duration::from_secs(30)).await;
    assert!(report.drained);
    within(Duration::from_millis(200), "all have heard it", || all_see(&nodes, &["b", "c", "d"])).await;
    leaver.crash();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(all_see(&nodes, &["b", "c", "d"]), "gossip does not bring it back");
    assert_eq!(nodes[0].metric("collector_cluster_members_lost_total"), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn the_same_name_from_a_new_address_takes_its_place_at_once() {
    let (network, clock) = (Network::new(), clock());
    let nodes = fleet(&network, &clock, 3).await;
    nodes[2].crash();
    let reborn = MemoryNode::start(&network, &clock, "c", addr(9), &[addr(1), addr(2)]);
    within(Duration::from_secs(3), "the new c is in", || {
        [&nodes[0], &nodes[1], &reborn].iter().all(|node| {
            participants(&node.cluster) == ["a", "b", "c"]
                && node.cluster.peers().iter().any(|peer| peer.name == "c" && peer.addr == addr(9))
        })
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_same_name_is_taken_back_although_the_clock_went_back() {
    let (network, fleet_clock) = (Network::new(), clock());
    let nodes = fleet(&network, &fleet_clock, 2).await;
    nodes[1].crash();
    let yesterday = Clock::virtual_from(Duration::from_secs(1_600_000_000));
    let reborn = MemoryNode::start(&network, &yesterday, "b", addr(2), &[addr(1)]);
    within(Duration::from_secs(5), "b is in again", || {
        participants(&nodes[0].cluster) == ["a", "b"] && participants(&reborn.cluster) == ["a", "b"]
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_second_live_process_of_a_name_stays_a_viewer_and_says_why_until_the_first_goes() {
    let (network, clock) = (Network::new(), clock());
    let nodes = fleet(&network, &clock, 2).await;
    let twin = MemoryNode::start(&network, &clock, "b", addr(7), &[addr(1)]);
    let mut events = twin.cluster.join_events();
    let cause = loop {
        if let JoinEvent::Failed { step: Step::Conflict, cause, remedy, .. } = events.recv().await.unwrap() {
            assert!(remedy.contains("--cluster.node-name"), "{remedy}");
            break cause;
        }
    };
    assert!(cause.contains("\"b\"") && cause.contains("10.0.0.2"), "{cause}");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(names(&twin.cluster, |peer| peer.state == State::Viewer), ["b"]);
    assert_eq!(twin.metric("collector_cluster_name_conflict"), Some(1.0));
    assert!(all_see(&nodes, &["a", "b"]));
    assert!(nodes[0].metric("cluster_node_gossip_received_events_total{cluster_name=\"test\",event=\"node_conflict\"}").unwrap() > 0.0);
    nodes[1].crash();
    within(Duration::from_secs(6), "the twin takes the name", || {
        participants(&twin.cluster) == ["a", "b"] && participants(&nodes[0].cluster) == ["a", "b"]
    })
    .await;
    assert_eq!(twin.metric("collector_cluster_name_conflict"), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn a_new_fleet_waits_for_its_size_and_a_running_one_never_stops() {
    let (network, clock) = (Network::new(), clock());
    let peers = [addr(1), addr(2)];
    let start = |name, last: u8| MemoryNode::start_with(&network, &clock, name, addr(last), &peers, |config| config.wait_for_size = 2);
    let first = start("a", 1);
    let component = Component::claim(&first.cluster, "scrape", &[1, 2, 3], 1_000);
    within(Duration::from_secs(10), "a participates", || participants(&first.cluster) == ["a"]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(first.metric("cluster_ready_for_traffic"), Some(0.0));
    assert_eq!(component.keys(), [0; 0]);
    let second = start("b", 2);
    let other = Component::claim(&second.cluster, "scrape", &[1, 2, 3], 1_000);
    within(Duration::from_secs(10), "both work", || each_held_once(&[&component, &other], &[1, 2, 3])).await;
    second.crash();
    within(Duration::from_secs(10), "a takes all", || component.keys() == [1, 2, 3]).await;
    assert_eq!(first.metric("cluster_ready_for_traffic"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn a_fleet_below_its_size_begins_after_the_wait_timeout() {
    let (network, clock) = (Network::new(), clock());
    let node = MemoryNode::start_with(&network, &clock, "a", addr(1), &[], |config| {
        config.wait_for_size = 3;
        config.wait_timeout = Duration::from_secs(20);
    });
    let component = Component::claim(&node.cluster, "scrape", &[1], 1_000);
    tokio::time::sleep(Duration::from_secs(19)).await;
    assert_eq!(component.keys(), [0; 0]);
    within(Duration::from_secs(3), "it begins", || component.keys() == [1]).await;
}

#[tokio::test(start_paused = true)]
async fn a_viewer_owns_nothing_until_it_participates() {
    let (network, clock) = (Network::new(), clock());
    let config = fleet::config("a", addr(1), &[]);
    let registry = prometheus::Registry::new();
    let handle = tokio::runtime::Handle::current();
    let node = cluster::Cluster::start_in_memory(config, &network, clock, &registry, &handle).unwrap();
    let component = Component::claim(&node, "scrape", &[1], 1_000);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(component.keys(), [0; 0]);
    node.participate();
    within(Duration::from_secs(3), "it begins", || component.keys() == [1]).await;
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_was_late_stops_scraping_synchronises_and_goes_on() {
    let (network, clock) = (Network::new(), clock());
    let nodes = fleet(&network, &clock, 3).await;
    let keys: Vec<u64> = (0..30).collect();
    let components: Vec<_> = nodes.iter().map(|node| Component::claim(&node.cluster, "scrape", &keys, 1_000)).collect();
    let all: Vec<_> = components.iter().collect();
    within(Duration::from_secs(10), "each key has one holder", || each_held_once(&all, &keys)).await;
    let before: Vec<_> = components.iter().flat_map(holds).collect();
    // All processes stand still for 4 s: when they wake up, none knows what the others did meanwhile.
    tokio::time::advance(Duration::from_secs(4)).await;
    assert!(before.iter().all(|hold| !hold.begin(u64::MAX - 1)), "no slot begins before the node has looked around");
    within(Duration::from_secs(10), "each key has one holder again", || each_held_once(&all, &keys)).await;
    assert!(before.iter().all(|hold| !hold.is_held()), "with new holds");
    assert_eq!(nodes[0].metric("collector_cluster_fences_total"), Some(1.0));
    let fenced = components[0].state.lock().stops.iter().filter(|(_, why)| *why == cluster::Stopping::Fenced).count();
    assert!(fenced > 0, "the component was told");

    fn holds(component: &Component) -> Vec<cluster::Hold> {
        component.state.lock().holds.values().map(|(hold, _)| hold.clone()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_alone_leaves_at_once_with_what_it_holds() {
    let (network, clock) = (Network::new(), clock());
    let nodes = fleet(&network, &clock, 1).await;
    let component = Component::claim(&nodes[0].cluster, "scrape", &[1, 2], 1_000);
    within(Duration::from_secs(5), "it holds all", || component.keys() == [1, 2]).await;
    let start = tokio::time::Instant::now();
    let report = nodes[0].cluster.leave(Duration::from_secs(60)).await;
    assert!(start.elapsed() < Duration::from_secs(1), "nobody is there to wait for: {:?}", start.elapsed());
    assert_eq!((report.drained, report.keys_left), (true, 2));
    within(Duration::from_secs(1), "no slot begins any more", || component.keys().is_empty()).await;
    within(Duration::from_secs(1), "the component is told that the node is gone", || component.state.lock().ended).await;
}

#[tokio::test(start_paused = true)]
async fn when_two_fleets_meet_the_later_process_of_a_name_keeps_it_and_the_other_stops_scraping() {
    let (network, clock) = (Network::new(), clock());
    let older = MemoryNode::start(&network, &clock, "b", addr(2), &[]);
    let component = Component::claim(&older.cluster, "scrape", &[1, 2, 3], 1_000);
    within(Duration::from_secs(5), "the older b scrapes", || component.keys() == [1, 2, 3]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let newer = MemoryNode::start(&network, &clock, "b", addr(4), &[]);
    within(Duration::from_secs(5), "another fleet", || participants(&newer.cluster) == ["b"]).await;

    // A node that meets the newer first takes the older for an impostor, and tells it when both are in touch.
    network.cut(addr(2), addr(5));
    let bridge = MemoryNode::start(&network, &clock, "y", addr(5), &[addr(4)]);
    within(Duration::from_secs(5), "y joins the newer", || participants(&bridge.cluster) == ["b", "y"]).await;
    network.heal(addr(2), addr(5));
    let third = MemoryNode::start(&network, &clock, "z", addr(6), &[addr(2), addr(5)]);
    within(Duration::from_secs(20), "the older b gives way", || component.keys().is_empty()).await;
    for node in [&newer, &bridge, &third] {
        within(Duration::from_secs(20), "the newer b is the one", || {
            participants(&node.cluster) == ["b", "y", "z"]
                && node.cluster.peers().iter().any(|peer| peer.name == "b" && peer.addr == addr(4))
        })
        .await;
    }
    within(Duration::from_secs(1), "the older b says so", || {
        older.metric("collector_cluster_name_conflict") == Some(1.0)
            && names(&older.cluster, |peer| peer.is_self && peer.state == State::Viewer) == ["b"]
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn members_that_discover_other_keys_for_two_minutes_are_noticed_by_all_and_nothing_else_happens() {
    const MISMATCH: &str = "collector_cluster_target_set_mismatch";
    let (network, clock) = (Network::new(), clock());
    let nodes = fleet(&network, &clock, 3).await;
    nodes.iter().for_each(|node| node.cluster.set_config_hash("abc"));
    let mut claims: Vec<_> = nodes.iter().map(|node| node.cluster.claims("scrape")).collect();
    let set = |claims: &cluster::Claims, keys: std::ops::Range<u64>| {
        claims.set_keys(keys.map(|key| KeySpec { key, interval_ms: 1_000 }).collect());
    };
    let mismatches = || nodes.iter().map(|node| node.metric(MISMATCH).unwrap()).collect::<Vec<_>>();
    // Each list comes to each node at its own time, as long as a discovery takes.
    for round in 0..10_u64 {
        for claims in &claims {
            set(claims, 0..40 + round);
            tokio::time::sleep(Duration::from_secs(15)).await;
        }
        assert_eq!(mismatches(), [0.0; 3]);
    }
    set(&claims[2], 0..38);
    tokio::time::sleep(Duration::from_secs(115)).await;
    assert_eq!(mismatches(), [0.0; 3], "a discovery may lag");
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(mismatches(), [1.0, 1.0, 2.0]);
    let peer = |node: usize, name: &str| nodes[node].cluster.peers().iter().find(|peer| peer.name == name).unwrap().clone();
    let shown: Vec<_> = NAMES[..3].iter().map(|name| (peer(0, name).keys, peer(0, name).keys_differ)).collect();
    assert_eq!(shown, [(Some(49), false), (Some(49), false), (Some(38), true)]);
    assert!(peer(2, "a").keys_differ && !peer(2, "c").keys_differ, "to c, the others differ");
    nodes[2].cluster.set_config_hash("def");
    within(Duration::from_secs(3), "another configuration may have other targets", || mismatches() == [0.0; 3]).await;
    nodes[2].cluster.set_config_hash("abc");
    tokio::time::sleep(Duration::from_secs(125)).await;
    assert_eq!(mismatches(), [1.0, 1.0, 2.0]);
    set(&claims[2], 0..49);
    within(Duration::from_secs(12), "they agree", || mismatches() == [0.0; 3]).await;
    assert!(!peer(0, "c").keys_differ);
    assert!(tokio::time::timeout(Duration::from_secs(5), claims[0].next_event()).await.is_ok(), "and all the time they shared the keys");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_off_shows_at_both_ends_and_one_that_agrees_does_not() {
    let network = Network::new();
    let ahead = Clock::virtual_from(Duration::from_millis(1_700_000_003_000));
    let peers = [addr(1), addr(2), addr(3)];
    let nodes = [
        MemoryNode::start(&network, &clock(), "a", addr(1), &peers),
        MemoryNode::start(&network, &ahead, "b", addr(2), &peers),
        MemoryNode::start(&network, &clock(), "c", addr(3), &peers),
    ];
    within(Duration::from_secs(8), "all are participants", || all_see(&nodes, &NAMES[..3])).await;
    let skew = |node: &MemoryNode, peer: &str| {
        node.metric(&format!("collector_cluster_clock_skew_seconds{{cluster_name=\"test\",peer=\"{peer}\"}}"))
    };
    within(Duration::from_secs(8), "all skews are known", || {
        [(0, "b"), (0, "c"), (1, "a"), (1, "c"), (2, "a"), (2, "b")].iter().all(|(node, peer)| skew(&nodes[*node], peer).is_some())
    })
    .await;
    let near = |got: Option<f64>, expected: f64| got.is_some_and(|got| (got - expected).abs() < 0.05);
    assert!(near(skew(&nodes[0], "b"), 3.0) && near(skew(&nodes[1], "a"), -3.0), "{:?}", skew(&nodes[0], "b"));
    assert!(near(skew(&nodes[0], "c"), 0.0));
    let told: Vec<_> = nodes[0].cluster.peers().iter().map(|peer| (peer.name.clone(), peer.clock_ahead_ms)).collect();
    assert!(matches!(&told[..], [(_, None), (b, Some(2_950..3_050)), (_, Some(-50..50))] if b == "b"), "{told:?}");

    nodes[1].crash();
    within(Duration::from_secs(20), "a lost member shows no more", || skew(&nodes[0], "b").is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lacks_a_stream_to_a_member_says_that_it_is_not_well() {
    let (network, clock) = (Network::new(), clock());
    let nodes = fleet(&network, &clock, 3).await;
    let score = || nodes[0].metric("cluster_node_gossip_health_score").unwrap();
    within(Duration::from_secs(4), "all streams are open", || score() == 0.0).await;
    network.cut(addr(1), addr(2));
    network.reset(addr(1), addr(2));
    within(Duration::from_secs(5), "the missing stream counts", || score() == 1.0).await;
    network.heal(addr(1), addr(2));
    within(Duration::from_secs(10), "it is open again", || score() == 0.0).await;
}
