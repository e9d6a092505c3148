//! Fleets on the in-memory network whose keys differ in weight: the table evens them out, stands without its author, and changes
//! lose and double nothing. What the planner decides is tested where it is.

#![allow(clippy::unwrap_used, reason = "clippy lets only functions marked as tests unwrap; these serve nothing else")]

mod fleet;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cluster::{Basis, Clock, domain_of_rank, memory::Network};
use fleet::{Component, MemoryNode, clock, each_held_once, memory_addr, participants, within};

const DOMAIN: &str = "prometheus.scrape.pods";
const KEYS: u64 = 200;

/// In which a table must have been written and followed: members settle, are asked, and keys move.
const BALANCED: Duration = Duration::from_secs(90);

/// Every tenth key is as heavy as all light ones of a node together.
fn weight(key: u64) -> u64 {
    if key.is_multiple_of(10) { 5_000 } else { 100 }
}

fn keys() -> Vec<u64> {
    (0..KEYS).collect()
}

struct Member {
    node: MemoryNode,
    component: Component,
}

fn member(network: &Network, clock: &Clock, index: u8, peers: &[std::net::SocketAddr]) -> Member {
    let node = MemoryNode::start(network, clock, &format!("node-{index}"), memory_addr(index + 1), peers);
    let claims = node.cluster.claims(DOMAIN);
    let component = Component::default();
    let weighed = component.clone();
    claims.weigh_with(move || weighed.keys().into_iter().map(|key| (key, weight(key))).collect());
    let component = Component::run_as(component, claims, &keys(), 10_000);
    Member { node, component }
}

async fn fleet(network: &Network, clock: &Clock, size: u8) -> Vec<Member> {
    let peers: Vec<_> = (1..=size).map(memory_addr).collect();
    let members: Vec<_> = (0..size).map(|index| member(network, clock, index, &peers)).collect();
    within(Duration::from_secs(20), "all see all", || members.iter().all(|member| participants(&member.node.cluster).len() == size.into()))
        .await;
    members
}

fn holders(members: &[Member]) -> BTreeMap<u64, String> {
    let named = |member: &Member| {
        let name = member.node.cluster.peers().iter().find(|peer| peer.is_self).unwrap().name.clone();
        member.component.keys().into_iter().map(move |key| (key, name.clone())).collect::<Vec<_>>()
    };
    members.iter().flat_map(named).collect()
}

/// The largest load over the mean.
fn ratio(members: &[Member]) -> f64 {
    let load = |member: &Member| member.component.keys().into_iter().map(weight).sum::<u64>();
    let loads: Vec<_> = members.iter().map(load).collect();
    *loads.iter().max().unwrap() as f64 * loads.len() as f64 / loads.iter().sum::<u64>() as f64
}

fn settled(members: &[Member]) -> bool {
    each_held_once(&members.iter().map(|member| &member.component).collect::<Vec<_>>(), &keys())
}

fn epochs(members: &[Member]) -> BTreeSet<u64> {
    members.iter().map(|member| member.node.metric("collector_cluster_placement_epoch").unwrap() as u64).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_node_writes_a_table_that_evens_out_the_load_and_all_go_by_it() {
    let (network, clock) = (Network::new(), clock());
    let members = fleet(&network, &clock, 4).await;
    within(BALANCED, "the load is even", || settled(&members) && ratio(&members) <= 1.15).await;
    within(BALANCED, "all have the same table", || epochs(&members).len() == 1 && !epochs(&members).contains(&0)).await;
    let knows = |member: &Member| (1.0..=1.25).contains(&member.node.metric("collector_cluster_load_ratio").unwrap());
    within(BALANCED, "each node knows how the loads compare", || members.iter().all(knows)).await;
    let bases: BTreeSet<_> = members[3].node.cluster.holders().await.into_iter().map(|holder| format!("{:?}", holder.basis)).collect();
    assert_eq!(bases, ["Ring".to_owned(), "Table".to_owned()].into());
    assert!(members[0].node.metric("collector_cluster_placement_moves_total").unwrap() > 0.0);
    assert!(members[1].node.metric("collector_cluster_placement_moves_total").unwrap() == 0.0, "it only follows");
}

#[tokio::test(start_paused = true)]
async fn without_its_author_the_table_stands_and_the_next_node_writes() {
    let (network, clock) = (Network::new(), clock());
    let mut members = fleet(&network, &clock, 5).await;
    within(BALANCED, "the load is even", || settled(&members) && ratio(&members) <= 1.15).await;
    let before = epochs(&members);
    members.remove(0).node.crash();
    within(Duration::from_secs(20), "the rest holds all", || settled(&members)).await;
    within(BALANCED, "the load is even again", || settled(&members) && ratio(&members) <= 1.15).await;
    within(BALANCED, "by another table", || epochs(&members).len() == 1 && epochs(&members) > before).await;
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_takes_the_table_over_and_a_forecast_says_what_it_will_hold() {
    let (network, clock) = (Network::new(), clock());
    let mut members = fleet(&network, &clock, 4).await;
    within(BALANCED, "the load is even", || settled(&members) && ratio(&members) <= 1.15).await;
    let forecast = members[2].node.cluster.forecast(&["node-4".to_owned()], &[]).await.unwrap();
    let before = holders(&members);
    let peers: Vec<_> = members.iter().map(|member| member.node.addr).collect();
    members.push(member(&network, &clock, 4, &peers));
    let expected: BTreeMap<_, _> = forecast.moves.iter().map(|step| (step.key, step.to.to_string())).collect();
    let moved = |members: &[Member]| -> BTreeMap<u64, String> {
        holders(members).into_iter().filter(|(key, holder)| before[key] != *holder).collect()
    };
    within(BALANCED, "what was told happens", || settled(&members) && moved(&members) == expected).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(moved(&members), expected, "and nothing else afterwards");
    assert_eq!(forecast.after.len(), 5);
    assert!(ratio(&members) <= 1.15);
}

#[tokio::test(start_paused = true)]
async fn a_forecast_of_what_can_not_be_is_refused_with_the_members() {
    let (network, clock) = (Network::new(), clock());
    let members = fleet(&network, &clock, 2).await;
    let cluster = &members[0].node.cluster;
    for (add, remove, part) in [(vec!["node-1"], vec![], "node-1 is a member"), (vec![], vec!["node-7"], "the members are node-0, node-1")]
    {
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let error = cluster.forecast(&owned(add), &owned(remove)).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let both = ["node-0".to_owned(), "node-1".to_owned()];
    assert!(cluster.forecast(&[], &both).await.unwrap_err().to_string().contains("nobody"));
}

#[tokio::test(start_paused = true)]
async fn the_line_of_candidates_begins_with_the_holder_and_says_why() {
    let (network, clock) = (Network::new(), clock());
    let members = fleet(&network, &clock, 4).await;
    within(BALANCED, "the load is even", || settled(&members) && ratio(&members) <= 1.15).await;
    let holders = holders(&members);
    for key in 0..KEYS {
        let line = members[1].node.cluster.candidates(DOMAIN, key).await;
        assert_eq!(*line[0].name, *holders[&key], "key {key}: {line:?}");
        assert!(matches!(line[0].basis, Basis::Ring | Basis::Table) && line[0].knows);
        assert!(line.len() == 4 && line[1..].iter().all(|candidacy| candidacy.basis == Basis::Fallback));
    }
}

#[tokio::test(start_paused = true)]
async fn copies_of_a_key_are_held_in_different_zones_and_each_copy_is_whole() {
    let (network, clock) = (Network::new(), clock());
    let peers: Vec<_> = (1..=4).map(memory_addr).collect();
    let nodes: Vec<_> = (0..4_u8)
        .map(|index| {
            let zone = ["north", "south"][usize::from(index % 2)];
            let zoned = |config: &mut cluster::Config| config.zone = zone.to_owned();
            MemoryNode::start_with(&network, &clock, &format!("node-{index}"), memory_addr(index + 1), &peers, zoned)
        })
        .collect();
    let claim = |rank: u32| -> Vec<Component> {
        nodes.iter().map(|node| Component::claim(&node.cluster, &domain_of_rank(DOMAIN, rank), &keys(), 10_000)).collect()
    };
    let copies = [claim(0), claim(1)];
    let whole = |copies: &[Component]| each_held_once(&copies.iter().collect::<Vec<_>>(), &keys());
    within(BALANCED, "each copy is whole", || whole(&copies[0]) && whole(&copies[1])).await;
    for key in keys() {
        let [first, second] = [0, 1].map(|rank| copies[rank].iter().position(|node| node.keys().contains(&key)).unwrap());
        assert_ne!(first % 2, second % 2, "key {key} is on nodes {first} and {second}, in one zone");
    }
    assert_eq!(nodes[0].cluster.peers()[3].zone, "south");
    nodes[2].crash();
    let left = |copies: &[Component]| whole(&[copies[0].clone(), copies[1].clone(), copies[3].clone()]);
    within(BALANCED, "the others have the dead node's copies", || left(&copies[0]) && left(&copies[1])).await;
}
