//! Collects what one input of the machine brings about, and packs what goes to the same peer into frames that keep their
//! bounds.

use std::collections::BTreeMap;

use super::action::Action;
use super::entry::Trail;
use super::message::{Answer, Envelope, Grant, MAX_KEYS, MAX_POINTERS, Message, Pointer};
use super::peers::{PeerId, Peers};
use super::view::Name;

/// A frame of grants is closed when its states exceed this many bytes, so that a large handover does not delay other frames.
const GRANT_FRAME_BYTES: usize = 1 << 20;

/// The results of one input.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    actions: Vec<Action>,
    mail: BTreeMap<(PeerId, Name), Mail>,
}

/// What goes to one peer about one domain.
#[derive(Debug, Default)]
pub(super) struct Mail {
    pub(super) wants: Vec<u64>,
    pub(super) answer: Option<Answer>,
    pub(super) grants: Vec<Grant>,
    pub(super) taken: Vec<(u64, u64)>,
    pub(super) declined: Vec<(u64, u64)>,
    pub(super) queries: Vec<u64>,
    pub(super) status: Option<Message>,
    pub(super) forgot: Vec<u64>,
}

impl Outbox {
    /// Adds an action for the driver.
    pub(super) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// The mail to a peer about a domain.
    pub(super) fn to(&mut self, peer: PeerId, domain: &Name) -> &mut Mail {
        self.mail.entry((peer, domain.clone())).or_default()
    }

    /// All actions: first those that are local, then the mail. `sequence` numbers wants and queries.
    pub(super) fn finish(self, peers: &Peers, incarnation: u64, sequence: u64) -> Vec<Action> {
        let mut actions = self.actions;
        for ((peer, domain), mail) in self.mail {
            let Some(peer) = peers.get(peer) else { continue };
            actions.extend(mail.messages(sequence).into_iter().map(|message| Action::Send {
                to: peer.name.clone(),
                envelope: Envelope { from_incarnation: incarnation, to_incarnation: peer.incarnation, domain: domain.clone(), message },
            }));
        }
        actions
    }
}

impl Mail {
    /// Acknowledgements and answers come first: they may free the receiver for what follows.
    fn messages(self, sequence: u64) -> Vec<Message> {
        let mut messages = Vec::new();
        if !self.taken.is_empty() || !self.declined.is_empty() {
            messages.push(Message::Ack { taken: self.taken, declined: self.declined });
        }
        messages.extend(self.answer.map(Message::Answer));
        messages.extend(self.status);
        messages.extend(chunks(&self.forgot).map(|keys| Message::Forgot { keys }));
        messages.extend(chunks(&self.wants).map(|keys| Message::Want { claim: sequence, keys }));
        messages.extend(chunks(&self.queries).map(|keys| Message::Query { round: sequence, keys }));
        messages.extend(grant_frames(self.grants).into_iter().map(Message::Grant));
        messages
    }
}

fn chunks(keys: &[u64]) -> impl Iterator<Item = Vec<u64>> {
    keys.chunks(MAX_KEYS).map(<[u64]>::to_vec)
}

fn grant_frames(grants: Vec<Grant>) -> Vec<Vec<Grant>> {
    let mut frames: Vec<Vec<Grant>> = Vec::new();
    let mut bytes = 0;
    for grant in grants {
        let size = grant.state.as_ref().map_or(0, bytes::Bytes::len);
        match frames.last_mut() {
            Some(frame) if frame.len() < MAX_KEYS && bytes + size <= GRANT_FRAME_BYTES => frame.push(grant),
            _ => {
                frames.push(vec![grant]);
                bytes = 0;
            }
        }
        bytes += size;
    }
    frames
}

impl Answer {
    /// Adds a free key with the nodes that may hold it after all. If there is no room for another node the key counts as
    /// busy, which is always safe.
    pub(super) fn add_free(&mut self, key: u64, last_ms: Option<u64>, trail: &[Trail], peers: &Peers) {
        let named: Vec<_> = trail.iter().filter_map(|trail| Some((peers.get(trail.peer)?, trail.taken))).collect();
        if self.pointers.len() + named.len() > MAX_POINTERS {
            self.busy.push(key);
            return;
        }
        self.free.push(key);
        self.last.extend(last_ms.map(|last_ms| (key, last_ms)));
        for (peer, taken) in named {
            self.point(key, &peer.name, peer.incarnation, taken);
        }
    }

    fn point(&mut self, key: u64, name: &Name, incarnation: u64, taken: bool) {
        let same = |pointer: &&mut Pointer| pointer.name == *name && pointer.incarnation == incarnation && pointer.taken == taken;
        match self.pointers.iter_mut().find(same) {
            Some(pointer) => pointer.keys.push(key),
            None => self.pointers.push(Pointer { name: name.clone(), incarnation, taken, keys: vec![key] }),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn grant(key: u64, bytes: usize) -> Grant {
        Grant { key, claim: 1, last_ms: 0, state: Some(Bytes::from(vec![0; bytes])) }
    }

    #[test]
    fn grants_are_split_by_bytes_and_by_count() {
        let frames = grant_frames(vec![grant(1, 700_000), grant(2, 400_000), grant(3, 4 << 20), grant(4, 0), grant(5, 0)]);
        let keys: Vec<Vec<u64>> = frames.iter().map(|frame| frame.iter().map(|grant| grant.key).collect()).collect();
        assert_eq!(keys, [vec![1], vec![2], vec![3], vec![4, 5]]);
        let many = grant_frames((0..MAX_KEYS as u64 + 1).map(|key| grant(key, 0)).collect());
        assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [MAX_KEYS, 1]);
    }

    #[test]
    fn keys_are_split_into_frames_of_bounded_length() {
        let mail = Mail { wants: (0..MAX_KEYS as u64 * 2 + 1).collect(), ..Mail::default() };
        let lengths: Vec<usize> = mail
            .messages(9)
            .into_iter()
            .map(|message| match message {
                Message::Want { claim: 9, keys } => keys.len(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lengths, [MAX_KEYS, MAX_KEYS, 1]);
    }
}
