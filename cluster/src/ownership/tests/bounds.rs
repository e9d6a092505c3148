//! Sizes: what a fleet of 150 nodes and 50,000 keys costs, and that peers can't make a machine grow without end.

use std::collections::BTreeSet;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::rig::{DOMAIN, Rig, keys_of, view};
use crate::ownership::{
    Action, Answer, Envelope, Grant, KeySpec, MAX_KEYS, MAX_STATE_BYTES, Member, MemberState, Message, Name, Now, Ownership, Phase,
    Pointer, Settings, StartReason, StopReason, Stopped, View,
};

fn large_view(nodes: usize) -> View {
    let member = |index: usize| Member { name: Name::from(format!("node-{index:03}")), incarnation: 1, state: MemberState::Participant };
    View { members: (0..nodes).map(member).collect(), zones: Default::default(), synced: true, ready: true }
}

fn sends(actions: &[Action]) -> impl Iterator<Item = (&Name, &Message)> {
    actions.iter().filter_map(|action| match action {
        Action::Send { to, envelope } => Some((to, &envelope.message)),
        _ => None,
    })
}

#[test]
fn a_change_in_a_large_fleet_costs_one_small_frame_per_peer_and_kind() {
    let now = Now { mono_ms: 1, wall_ms: 1_700_000_000_000 };
    let mut machine = Ownership::new(Settings::new("test", "node-007", 1), now);
    let specs: Vec<KeySpec> = (0..20_000).map(|key| KeySpec { key, interval_ms: 15_000 }).collect();
    assert!(machine.set_keys(now, DOMAIN, &specs).is_empty());
    let opening = machine.set_view(now, large_view(150));
    let (mut wants, mut queries) = (0, 0);
    for (_, message) in sends(&opening) {
        match message {
            Message::Want { keys, .. } => wants += keys.len(),
            Message::Query { keys, .. } => queries += keys.len(),
            other => panic!("{other:?}"),
        }
    }
    let own = 20_000 - queries;
    assert_eq!(wants, own * 149, "each own key is asked for at each peer");
    assert!((70..=220).contains(&own), "a share is 133 keys, this one {own}");
    assert_eq!(sends(&opening).count(), 2 * 149);
    assert!(machine.set_view(now, large_view(150)).is_empty(), "an equal view costs nothing");
}

#[test]
fn many_keys_for_one_peer_are_split_into_bounded_frames() {
    let mut rig = Rig::fleet(&["a", "b"]);
    rig.deaf.insert("b".into(), Vec::new());
    rig.keys("a", 0..50_000);
    let mut total = 0;
    for (_, message) in rig.sent("a") {
        let (Message::Want { keys, .. } | Message::Query { keys, .. }) = message else { panic!("{message:?}") };
        assert!(keys.len() <= MAX_KEYS);
        total += keys.len();
    }
    assert_eq!(total, 50_000);
}

#[test]
fn keys_and_domains_that_only_peers_speak_of_are_bounded_and_forgotten() {
    let mut rig = Rig::fleet(&["a", "b"]);
    rig.deaf.insert("b".into(), Vec::new());
    let want = |domain: String, keys: Vec<u64>| Envelope {
        from_incarnation: 1,
        to_incarnation: 1,
        domain: domain.into(),
        message: Message::Want { claim: 1, keys },
    };
    for frame in 0..9 {
        let keys = (0..MAX_KEYS as u64).map(|key| frame * MAX_KEYS as u64 + key).collect();
        rig.input("a", |machine, now| machine.receive(now, "b", want(DOMAIN.into(), keys)));
    }
    for domain in 0..9 {
        let keys = (0..MAX_KEYS as u64).collect();
        rig.input("a", |machine, now| machine.receive(now, "b", want(format!("e{domain}"), keys)));
    }
    for domain in 0..5_000 {
        rig.input("a", |machine, now| machine.receive(now, "b", want(format!("d{domain}"), vec![1])));
    }
    let machine = &rig.machines["a"];
    assert_eq!(machine.domains.len(), 4_096);
    assert_eq!(machine.domains.values().map(|domain| domain.keys.len()).sum::<usize>(), 1 << 17);
    let answered = rig.sent("a").iter().filter(|(_, message)| matches!(message, Message::Answer(_))).count();
    assert_eq!(answered, 5_018, "what is not remembered is answered all the same");
    for _ in 0..38 {
        rig.at += 2_000;
        rig.input("a", Ownership::tick);
    }
    assert!(rig.machines["a"].domains.is_empty());
}

#[test]
fn a_state_that_is_too_large_stays_behind_and_is_counted() {
    let mut rig = Rig::new(&["a", "b"]);
    let key = keys_of("b", &["a", "b"], 1)[0];
    rig.keys("a", [key]);
    rig.keys("b", [key]);
    rig.view("a", &["a"]);
    rig.slow.insert("a".into());
    rig.view("a", &["a", "b"]);
    rig.view("b", &["a", "b"]);
    let state = Some(Bytes::from(vec![0; MAX_STATE_BYTES + 1]));
    rig.input("a", |machine, now| machine.stopped(now, DOMAIN, vec![Stopped { key, last_slot: None, state }]));
    assert_eq!(rig.holders(key), ["b"]);
    assert_eq!(rig.last_start("b").state, None);
    assert_eq!(rig.machines["a"].counters().states_dropped, 1);
}

#[test]
fn a_large_move_goes_in_parts_and_loses_nothing() {
    let mut rig = Rig::new(&["a", "b"]);
    let keys = keys_of("b", &["a", "b"], 5_000);
    rig.keys("a", keys.clone());
    rig.keys("b", keys.clone());
    rig.view("a", &["a"]);
    rig.slow.insert("a".into());
    rig.view("a", &["a", "b"]);
    rig.view("b", &["a", "b"]);
    rig.pass(2_000);
    let releasing = |rig: &Rig| rig.machines["a"].holders().filter(|holder| holder.phase == Phase::Releasing).count();
    assert_eq!(releasing(&rig), 4_096);
    let stopped = rig.machines["a"].holders().filter(|holder| holder.phase == Phase::Releasing);
    let stopped: Vec<_> = stopped.map(|holder| rig.stopped("a", holder.key)).collect();
    rig.slow.clear();
    rig.input("a", |machine, now| machine.stopped(now, DOMAIN, stopped));
    rig.pass(2_000);
    assert!(keys.iter().all(|key| rig.holders(*key) == ["b"]));
}

#[test]
fn a_peer_that_says_anything_does_not_confuse_a_machine() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut rig = Rig::fleet(&["a", "b", "c"]);
    rig.deaf.insert("b".into(), Vec::new());
    rig.deaf.insert("c".into(), Vec::new());
    let mut running = BTreeSet::new();
    for step in 0..20_000 {
        let from = ["b", "c", "stranger"][rng.random_range(0..3)];
        let message = anything(&mut rng);
        let envelope = Envelope { from_incarnation: 1, to_incarnation: 1, domain: Name::from(DOMAIN), message };
        rig.log.clear();
        rig.input("a", |machine, now| machine.receive(now, from, envelope));
        if step % 10 == 0 {
            rig.keys("a", (0..8).filter(|key| (step >> key) & 1 == 0));
            rig.pass(100);
        }
        for (_, action) in rig.log.iter().filter(|(name, _)| name == "a") {
            match action {
                Action::Start(start) => {
                    let runs = !running.insert(start.key);
                    assert_eq!(runs, start.reason == StartReason::Rescheduled, "{start:?}");
                }
                Action::Stop { key, .. } => assert!(running.remove(key), "{key} does not run"),
                _ => {}
            }
        }
    }
    let holders = rig.machines["a"].holders();
    let held = holders.filter(|holder| matches!(holder.phase, Phase::Held | Phase::Left)).map(|holder| holder.key);
    assert_eq!(held.collect::<BTreeSet<_>>(), running);
}

/// Any message about few keys.
fn anything(rng: &mut StdRng) -> Message {
    let keys = |rng: &mut StdRng| (0..rng.random_range(0..4)).map(|_| rng.random_range(0..10)).collect::<Vec<u64>>();
    let pairs = |rng: &mut StdRng| (0..rng.random_range(0..4)).map(|_| (rng.random_range(0..10), rng.random())).collect::<Vec<_>>();
    let number = if rng.random_bool(0.5) { rng.random_range(0..50_000) } else { rng.random() };
    match rng.random_range(0..7) {
        0 => Message::Want { claim: number, keys: keys(rng) },
        1 => {
            let name = ["a", "b", "c", "x", "y"][rng.random_range(0..5)].into();
            let pointers = vec![Pointer { name, incarnation: rng.random_range(0..3), taken: rng.random(), keys: keys(rng) }];
            let (free, busy, granting, last) = (keys(rng), keys(rng), keys(rng), pairs(rng));
            Message::Answer(Answer { claim: number, free, busy, granting, last, pointers })
        }
        2 => Message::Grant(keys(rng).into_iter().map(|key| Grant { key, claim: number, last_ms: rng.random(), state: None }).collect()),
        3 => Message::Ack { taken: pairs(rng), declined: pairs(rng) },
        4 => Message::Query { round: number, keys: keys(rng) },
        5 => Message::Status { round: number, held: keys(rng), known: keys(rng), unknown: keys(rng) },
        _ => Message::Forgot { keys: keys(rng) },
    }
}

#[test]
fn duplicates_in_views_and_key_sets_do_no_harm() {
    let mut rig = Rig::new(&["a"]);
    let twice = [("a", MemberState::Participant), ("a", MemberState::Participant), ("b", MemberState::Viewer)];
    rig.input("a", |machine, now| {
        let mut view = view(&twice);
        view.members[1].incarnation = 9;
        machine.set_view(now, view)
    });
    rig.view_of("a", &twice[..2]);
    rig.keys("a", [1, 1, 1]);
    assert_eq!(rig.starts("a").len(), 1);
}

#[test]
fn keys_that_were_left_wait_for_a_taker_that_can_not_have_all_at_once() {
    let mut rig = Rig::new(&["a", "b"]);
    let keys: Vec<u64> = (1..=5_000).collect();
    rig.keys("a", keys.clone());
    rig.view("a", &["a"]);
    rig.pass(10_000);
    rig.slow.insert("a".into());
    rig.view("a", &["a", "b"]);
    rig.view("b", &["a", "b"]);
    rig.keys("b", keys.clone());
    rig.keys("a", []);
    rig.pass(20_000);
    let phase = |rig: &Rig, phase| rig.machines["a"].holders().filter(|holder| holder.phase == phase).count();
    assert_eq!((phase(&rig, Phase::Releasing), phase(&rig, Phase::Left)), (4_096, 904));
    assert!(!rig.stops("a").contains(&StopReason::Undiscovered), "b still asks for them");
}
