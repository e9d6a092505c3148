//! Machines whose messages arrive at once, unless a test holds them back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::ownership::{
    Action, Envelope, Holder, KeySpec, Member, MemberState, Message, Name, Now, Ownership, Phase, Settings, Start, StopReason, Stopped,
    View,
};
use crate::slots::SlotClock;

pub(super) const DOMAIN: &str = "prometheus.scrape.pods";
pub(super) const INTERVAL_MS: u64 = 10_000;
const EPOCH_MS: u64 = 1_700_000_000_000;

/// The nodes a, b, c, …
pub(super) struct Rig {
    pub(super) machines: BTreeMap<String, Ownership>,
    /// Milliseconds since the beginning.
    pub(super) at: u64,
    /// By node, in order.
    pub(super) log: Vec<(String, Action)>,
    /// Nodes whose driver keeps a stopped key to itself until the test says otherwise.
    pub(super) slow: BTreeSet<String>,
    /// Nodes that hear nothing: what is sent to them is kept here.
    pub(super) deaf: BTreeMap<String, Vec<(String, Envelope)>>,
    /// Offset of a node's clock.
    pub(super) skew: BTreeMap<String, i64>,
    wire: VecDeque<(String, String, Envelope)>,
}

impl Rig {
    /// Machines with these names, which know nobody yet.
    pub(super) fn new(names: &[&str]) -> Self {
        let mut rig = Self {
            machines: BTreeMap::new(),
            at: 0,
            log: Vec::new(),
            slow: BTreeSet::new(),
            deaf: BTreeMap::new(),
            skew: BTreeMap::new(),
            wire: VecDeque::new(),
        };
        for name in names {
            rig.machines.insert((*name).to_owned(), Ownership::new(Settings::new("test", *name, 1), rig.now(name)));
        }
        rig
    }

    /// Machines that all see each other as participants.
    pub(super) fn fleet(names: &[&str]) -> Self {
        let mut rig = Self::new(names);
        for name in names {
            rig.view(name, names);
        }
        rig
    }

    pub(super) fn now(&self, name: &str) -> Now {
        let skew = self.skew.get(name).copied().unwrap_or(0);
        Now { mono_ms: 1_000_000 + self.at, wall_ms: (EPOCH_MS + self.at).saturating_add_signed(skew) }
    }

    /// Gives a machine an input and carries on until nothing is on its way.
    pub(super) fn input(&mut self, name: &str, input: impl FnOnce(&mut Ownership, Now) -> Vec<Action>) {
        let now = self.now(name);
        let actions = input(self.machines.get_mut(name).unwrap(), now);
        self.carry_out(name, actions);
        while let Some((from, to, envelope)) = self.wire.pop_front() {
            if let Some(kept) = self.deaf.get_mut(&to) {
                kept.push((from, envelope));
                continue;
            }
            let now = self.now(&to);
            let envelope = Envelope::decode(&envelope.encode()).unwrap();
            let Some(machine) = self.machines.get_mut(&to) else { continue };
            let actions = machine.receive(now, &from, envelope);
            self.carry_out(&to, actions);
        }
    }

    fn carry_out(&mut self, name: &str, actions: Vec<Action>) {
        for action in actions {
            match &action {
                Action::Send { to, envelope } => self.wire.push_back((name.to_owned(), to.to_string(), envelope.clone())),
                Action::Stop { key, reason: StopReason::Handover { .. }, .. } if !self.slow.contains(name) => {
                    let stopped = vec![self.stopped(name, *key)];
                    let now = self.now(name);
                    let more = self.machines.get_mut(name).unwrap().stopped(now, DOMAIN, stopped);
                    self.log.push((name.to_owned(), action));
                    self.carry_out(name, more);
                    continue;
                }
                _ => {}
            }
            self.log.push((name.to_owned(), action));
        }
    }

    /// The answer of a driver that has scraped up to now.
    pub(super) fn stopped(&self, name: &str, key: u64) -> Stopped {
        let last_slot = Some(clock(key).slot_at(self.now(name).wall_ms));
        Stopped { key, last_slot, state: Some(Bytes::from_static(b"layout")) }
    }

    /// Shows a machine a view in which all these are participants.
    pub(super) fn view(&mut self, name: &str, names: &[&str]) {
        let members: Vec<_> = names.iter().map(|name| (*name, MemberState::Participant)).collect();
        self.view_of(name, &members);
    }

    pub(super) fn view_of(&mut self, name: &str, members: &[(&str, MemberState)]) {
        self.input(name, |machine, now| machine.set_view(now, view(members)));
    }

    pub(super) fn keys(&mut self, name: &str, keys: impl IntoIterator<Item = u64>) {
        let specs: Vec<KeySpec> = keys.into_iter().map(|key| KeySpec { key, interval_ms: INTERVAL_MS }).collect();
        self.input(name, |machine, now| machine.set_keys(now, DOMAIN, &specs));
    }

    /// Lets time pass in steps that a driver would make.
    pub(super) fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.at += 100;
            for name in self.machines.keys().cloned().collect::<Vec<_>>() {
                self.input(&name, Ownership::tick);
            }
        }
    }

    /// Gives a node its hearing, and all that it missed.
    pub(super) fn hear(&mut self, name: &str) {
        for (from, envelope) in self.deaf.remove(name).unwrap_or_default() {
            self.input(name, |machine, now| machine.receive(now, &from, envelope));
        }
    }

    /// The nodes that hold a key.
    pub(super) fn holders(&self, key: u64) -> Vec<String> {
        let held = |machine: &Ownership| machine.holder_of(DOMAIN, key).is_some_and(|holder| holder.phase == Phase::Held);
        self.machines.iter().filter(|(_, machine)| held(machine)).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn holder(&self, name: &str, key: u64) -> Holder {
        self.machines[name].holder_of(DOMAIN, key).unwrap()
    }

    /// The starts at a node so far.
    pub(super) fn starts(&self, name: &str) -> Vec<Start> {
        let of_node = self.log.iter().filter(|(of, _)| of == name);
        of_node.filter_map(|(_, action)| if let Action::Start(start) = action { Some(start.clone()) } else { None }).collect()
    }

    /// The last start at a node.
    pub(super) fn last_start(&self, name: &str) -> Start {
        self.starts(name).pop().unwrap()
    }

    /// The reasons of the stops at a node so far.
    pub(super) fn stops(&self, name: &str) -> Vec<StopReason> {
        let of_node = self.log.iter().filter(|(of, _)| of == name);
        of_node.filter_map(|(_, action)| if let Action::Stop { reason, .. } = action { Some(reason.clone()) } else { None }).collect()
    }

    /// The messages that a node has sent so far.
    pub(super) fn sent(&self, name: &str) -> Vec<(Name, Message)> {
        let of_node = self.log.iter().filter(|(of, _)| of == name);
        of_node
            .filter_map(
                |(_, action)| if let Action::Send { to, envelope } = action { Some((to.clone(), envelope.message.clone())) } else { None },
            )
            .collect()
    }

    /// Whether a node has done something.
    pub(super) fn did(&self, name: &str, action: &Action) -> bool {
        self.log.iter().any(|(of, done)| of == name && done == action)
    }
}

/// A complete view.
pub(super) fn view(members: &[(&str, MemberState)]) -> View {
    let member = |(name, state): &(&str, MemberState)| Member { name: Name::from(*name), incarnation: 1, state: *state };
    View { members: members.iter().map(member).collect(), zones: Default::default(), synced: true, ready: true }
}

/// The slots of a key.
pub(super) fn clock(key: u64) -> SlotClock {
    SlotClock::new("test", key, INTERVAL_MS)
}

/// The first keys that a ring of these nodes gives to one of them.
pub(super) fn keys_of(owner: &str, names: &[&str], count: usize) -> Vec<u64> {
    let ring = crate::ring::Ring::new(names.iter().copied());
    (1..).filter(|key| ring.owner(*key) == Some(owner)).take(count).collect()
}

/// A rig in which `b` is to take `key` from `a`, whose driver has stopped it and not answered yet.
pub(super) fn releasing() -> (Rig, u64) {
    let mut rig = Rig::new(&["a", "b"]);
    let key = keys_of("b", &["a", "b"], 1)[0];
    rig.keys("a", [key]);
    rig.keys("b", [key]);
    rig.view("a", &["a"]);
    rig.pass(10_000);
    rig.slow.insert("a".into());
    rig.view("a", &["a", "b"]);
    rig.view("b", &["a", "b"]);
    assert_eq!(rig.holder("a", key).phase, Phase::Releasing);
    (rig, key)
}

/// A message about the domain from and to the first life.
pub(super) fn envelope(message: Message) -> Envelope {
    Envelope { from_incarnation: 1, to_incarnation: 1, domain: Name::from(DOMAIN), message }
}
