//! Tests of members: what the code beside it promises, case by case.

use std::net::SocketAddr;

use super::*;
use crate::membership::Phase;

struct Fixture {
    table: Table,
    now: Instant,
}

impl Fixture {
    /// This node is "me"; `names` are met.
    fn with(names: &[&str]) -> Self {
        let now = Instant::now();
        let mut fixture = Self { table: Table::new(identity("me", 1), now), now };
        for name in names {
            fixture.table.met(record(name, 1, 1), now);
            fixture.table.linked(&identity(name, 1));
        }
        fixture.table.take_changes();
        fixture
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now = (self.now + Duration::from_millis(100)).min(end);
            self.table.tick(self.now);
        }
    }

    fn hear(&mut self, names: &[&str]) {
        for name in names {
            self.table.beat(&identity(name, 1), self.now);
        }
    }

    fn alive(&self) -> Vec<String> {
        self.table.alive().map(|record| record.identity.name.to_string()).collect()
    }
}

#[test]
fn a_peer_that_invents_members_fills_a_bounded_table() {
    let mut fixture = Fixture::with(&["b"]);
    for index in 0..3 * MAX_MEMBERS {
        fixture.table.told(record(&format!("ghost-{index}"), 1, 1), fixture.now);
    }
    assert_eq!(fixture.table.entries.len(), MAX_MEMBERS);
    assert!(fixture.alive().contains(&"b".to_owned()));
    fixture.pass(MEMORY + SILENCE_MAX * 2);
    assert!(fixture.table.entries.len() <= 1, "none of them was ever heard");
}

fn identity(name: &str, generation: u64) -> Identity {
    let last = name.bytes().fold(0, u8::wrapping_add);
    Identity { name: name.into(), generation, addr: SocketAddr::from(([10, 0, 0, last], 1)) }
}

fn record(name: &str, generation: u64, counter: u64) -> Record {
    Record {
        identity: identity(name, generation),
        state: State::Participant,
        phase: Phase::Formed,
        ready: true,
        left: false,
        counter,
        version: String::new(),
        config_hash: String::new(),
        placement: crate::placement::Version::default(),
        load: 0,
        zone: String::new(),
        targets: None,
        policy: crate::quorum::PartitionPolicy::Majority,
    }
}

#[test]
fn a_broken_stream_alone_makes_nobody_lost() {
    let mut fixture = Fixture::with(&["a", "b"]);
    assert!(!fixture.table.unlinked(&identity("a", 1), false, fixture.now));
    fixture.hear(&["a", "b"]);
    fixture.pass(Duration::from_secs(5));
    assert_eq!(fixture.alive(), ["a", "b"]);
}

#[test]
fn a_refusing_address_seen_by_two_makes_a_member_lost_at_once() {
    let mut fixture = Fixture::with(&["a", "b"]);
    assert!(fixture.table.unlinked(&identity("a", 1), true, fixture.now), "others should hear of it");
    assert_eq!(fixture.alive(), ["a", "b"], "one sight is not enough while b could see it too");
    fixture.table.reported(&"b".into(), &identity("a", 1), fixture.now);
    assert_eq!(fixture.alive(), ["b"]);
    let changes = fixture.table.take_changes();
    assert!(matches!(&changes[..], [Change::Lost { who, .. }] if *who == identity("a", 1)), "{changes:?}");
}

#[test]
fn a_report_before_the_own_sight_counts_as_well() {
    let mut fixture = Fixture::with(&["a", "b"]);
    fixture.table.reported(&"b".into(), &identity("a", 1), fixture.now);
    assert_eq!(fixture.alive(), ["a", "b"], "hearsay alone is not enough");
    fixture.table.unlinked(&identity("a", 1), true, fixture.now);
    assert_eq!(fixture.alive(), ["b"]);
}

#[test]
fn with_two_nodes_the_own_sight_suffices() {
    let mut fixture = Fixture::with(&["a"]);
    fixture.table.unlinked(&identity("a", 1), true, fixture.now);
    assert_eq!(fixture.alive(), [""; 0]);
}

#[test]
fn members_that_crash_together_need_no_witness_of_each_other() {
    let mut fixture = Fixture::with(&["a", "b"]);
    fixture.table.unlinked(&identity("a", 1), true, fixture.now);
    fixture.table.unlinked(&identity("b", 1), true, fixture.now);
    assert_eq!(fixture.alive(), [""; 0]);
}

#[test]
fn sights_too_far_apart_do_not_support_each_other() {
    let mut fixture = Fixture::with(&["a", "b"]);
    fixture.table.reported(&"b".into(), &identity("a", 1), fixture.now);
    fixture.hear(&["a", "b"]);
    for _ in 0..3 {
        fixture.pass(WITNESS_WINDOW / 2);
        fixture.hear(&["a", "b"]);
    }
    fixture.table.unlinked(&identity("a", 1), true, fixture.now);
    assert_eq!(fixture.alive(), ["a", "b"]);
}

#[test]
fn a_member_that_reports_itself_is_not_believed() {
    let mut fixture = Fixture::with(&["a", "b"]);
    fixture.table.unlinked(&identity("a", 1), true, fixture.now);
    fixture.table.reported(&"a".into(), &identity("a", 1), fixture.now);
    assert_eq!(fixture.alive(), ["a", "b"]);
}

#[test]
fn a_peer_that_is_silent_for_five_seconds_stays_and_one_for_ten_goes() {
    let mut fixture = Fixture::with(&["a"]);
    fixture.pass(Duration::from_millis(5_900));
    assert_eq!(fixture.alive(), ["a"]);
    fixture.pass(Duration::from_millis(200));
    assert_eq!(fixture.alive(), [""; 0], "gossip holds it for dead too");

    let mut fixture = Fixture::with(&["a"]);
    fixture.table.gossiped(&identity("a", 1), 5, true, fixture.now);
    fixture.pass(Duration::from_millis(8_900));
    assert_eq!(fixture.alive(), ["a"], "the failure detector still holds it for alive");
    fixture.pass(Duration::from_millis(200));
    assert_eq!(fixture.alive(), [""; 0]);
}

#[test]
fn gossip_through_others_is_a_sign_of_life_only_if_it_moves_on() {
    let mut fixture = Fixture::with(&["a"]);
    for heartbeat in 1..20 {
        fixture.pass(Duration::from_secs(1));
        fixture.table.gossiped(&identity("a", 1), heartbeat, false, fixture.now);
    }
    assert_eq!(fixture.alive(), ["a"]);
    for _ in 0..7 {
        fixture.pass(Duration::from_secs(1));
        fixture.table.gossiped(&identity("a", 1), 19, false, fixture.now);
    }
    assert_eq!(fixture.alive(), [""; 0]);
}

#[test]
fn the_own_pause_is_not_the_peers_silence() {
    let mut fixture = Fixture::with(&["a"]);
    fixture.pass(Duration::from_secs(2));
    fixture.now += Duration::from_secs(60);
    fixture.table.tick(fixture.now);
    assert_eq!(fixture.alive(), ["a"]);
    fixture.pass(Duration::from_secs(5));
    assert_eq!(fixture.alive(), [""; 0], "from then on its silence counts, on top of the 2 s before");
}

#[test]
fn a_lost_member_comes_back_by_handshake_and_not_by_hearsay() {
    let mut fixture = Fixture::with(&["a"]);
    fixture.table.unlinked(&identity("a", 1), true, fixture.now);
    fixture.table.take_changes();
    fixture.table.told(record("a", 1, 9), fixture.now);
    fixture.table.gossiped(&identity("a", 1), 99, true, fixture.now);
    assert_eq!(fixture.alive(), [""; 0]);
    fixture.table.met(record("a", 1, 9), fixture.now);
    assert_eq!(fixture.alive(), ["a"]);
    assert_eq!(fixture.table.take_changes(), [Change::Joined(identity("a", 1))]);
}

#[test]
fn a_lost_member_comes_back_when_it_speaks_on_its_stream_but_not_by_its_last_words() {
    let mut fixture = Fixture::with(&["a"]);
    fixture.pass(SILENCE_MIN);
    assert_eq!(fixture.alive(), [""; 0]);
    fixture.pass(Duration::from_millis(900));
    fixture.table.beat(&identity("a", 1), fixture.now - Duration::from_millis(500));
    assert_eq!(fixture.alive(), [""; 0], "that was under way when it was lost");
    fixture.pass(Duration::from_secs(4));
    fixture.hear(&["a"]);
    assert_eq!(fixture.alive(), ["a"]);
}

#[test]
fn a_new_process_of_the_same_name_takes_the_place_of_the_old() {
    let mut fixture = Fixture::with(&["a"]);
    let mut new = record("a", 2, 1);
    new.identity.addr = SocketAddr::from(([10, 9, 9, 9], 1));
    fixture.table.told(new.clone(), fixture.now);
    assert_eq!(fixture.table.get("a"), Some((&new, Presence::Alive)));
    assert_eq!(fixture.table.take_changes(), [Change::Replaced { old: identity("a", 1), new: new.identity.clone() }]);
    fixture.table.met(record("a", 1, 50), fixture.now);
    assert_eq!(fixture.table.get("a").unwrap().0, &new, "the old one is never believed again");
    fixture.table.unlinked(&identity("a", 1), true, fixture.now);
    assert_eq!(fixture.alive(), ["a"], "that the old one is gone says nothing of the new one");
}

#[test]
fn who_said_goodbye_stays_away_until_a_new_process_comes() {
    let mut fixture = Fixture::with(&["a"]);
    let mut goodbye = record("a", 1, 2);
    goodbye.left = true;
    fixture.table.met(goodbye, fixture.now);
    assert_eq!(fixture.table.take_changes(), [Change::Left(identity("a", 1))]);
    fixture.table.met(record("a", 1, 1), fixture.now);
    fixture.table.told(record("a", 1, 1), fixture.now);
    assert_eq!(fixture.alive(), [""; 0]);
    fixture.table.told(record("a", 2, 1), fixture.now);
    assert_eq!(fixture.alive(), ["a"]);
}

#[test]
fn older_records_change_nothing_and_newer_ones_are_changes() {
    let mut fixture = Fixture::with(&["a"]);
    let mut newer = record("a", 1, 3);
    newer.state = State::Terminating;
    fixture.table.told(newer, fixture.now);
    assert_eq!(fixture.table.take_changes(), [Change::Updated(identity("a", 1))]);
    fixture.table.told(record("a", 1, 2), fixture.now);
    assert_eq!(fixture.table.take_changes(), []);
    assert_eq!(fixture.table.count(State::Terminating), 1);
}

#[test]
fn a_newer_process_with_the_own_name_is_told_and_an_older_one_ignored() {
    let mut fixture = Fixture::with(&[]);
    fixture.table.told(record("me", 0, 9), fixture.now);
    assert_eq!(fixture.table.take_changes(), []);
    fixture.table.told(record("me", 2, 1), fixture.now);
    assert_eq!(fixture.table.take_changes(), [Change::Superseded(identity("me", 2))]);
    assert_eq!(fixture.alive(), [""; 0]);
}

#[test]
fn who_is_gone_is_forgotten_after_a_while() {
    let mut fixture = Fixture::with(&["a", "b"]);
    fixture.table.unlinked(&identity("a", 1), true, fixture.now);
    fixture.table.unlinked(&identity("b", 1), true, fixture.now);
    assert_eq!(fixture.table.lost().count(), 2);
    fixture.pass(MEMORY + Duration::from_secs(1));
    assert_eq!(fixture.table.lost().count(), 0);
    assert_eq!(fixture.table.remembered_names().collect::<Vec<_>>(), ["me"]);
}
