//! The bytes of what members tell each other under the policy `majority`: standings, and ownership messages with a number in front.
//! What they mean is `quorum`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use crate::{
    membership::MAX_NAME_BYTES,
    quorum::{self, Ballot, Lineage, Members, Name, State},
};

/// Most names in one list: far above the largest fleet that gossip carries.
const MAX_NAMES: usize = 4_096;

/// A standing on the wire.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Standing {
    #[prost(uint64, tag = "1")]
    to: u64,
    #[prost(uint64, tag = "2")]
    number: u64,
    #[prost(uint64, tag = "3")]
    heard: u64,
    #[prost(uint64, tag = "4")]
    version: u64,
    #[prost(message, optional, tag = "5")]
    state: Option<Electorate>,
    #[prost(message, repeated, tag = "6")]
    lost: Vec<Named>,
    #[prost(uint64, tag = "7")]
    known: u64,
}

/// A name with a number: a generation, or a round by somebody.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    number: u64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Electorate {
    #[prost(message, optional, tag = "1")]
    founded: Option<Named>,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(message, repeated, tag = "3")]
    members: Vec<Named>,
    #[prost(message, repeated, tag = "4")]
    previous: Vec<Named>,
    #[prost(bool, tag = "5")]
    amnesic: bool,
    #[prost(message, optional, tag = "6")]
    promised: Option<Named>,
    #[prost(message, optional, tag = "7")]
    accepted_in: Option<Named>,
    #[prost(message, repeated, tag = "8")]
    accepted: Vec<Named>,
}

impl Standing {
    /// The bytes of a standing.
    pub(crate) fn write(standing: &quorum::Standing) -> Bytes {
        let lost = standing.lost.iter().map(|(name, number)| named(name, *number)).collect();
        let state = standing.state.as_ref().map(electorate);
        let quorum::Standing { to, number, heard, version, known, .. } = *standing;
        Self { to, number, heard, version, state, lost, known }.encode_to_vec().into()
    }

    /// The standing, if the bytes make sense.
    pub(crate) fn read(payload: &[u8]) -> Option<quorum::Standing> {
        let Self { to, number, heard, version, state, lost, known } = Self::decode(payload).ok()?;
        let state = match state {
            Some(state) => Some(state.read()?),
            None => None,
        };
        let lost = pairs(lost)?;
        Some(quorum::Standing { to, number, heard, version, state, known, lost })
    }
}

impl Electorate {
    fn read(self) -> Option<State> {
        let (founder, founded_ms) = self.founded?.read()?;
        let promised = match self.promised {
            Some(promised) => Some(ballot(promised)?),
            None => None,
        };
        let accepted = match self.accepted_in {
            Some(accepted_in) => Some((ballot(accepted_in)?, members(self.accepted)?)),
            None => None,
        };
        Some(State {
            lineage: Lineage { founded_ms, by: founder },
            epoch: self.epoch,
            members: members(self.members).filter(|members| !members.is_empty())?,
            previous: members(self.previous)?,
            amnesic: self.amnesic,
            promised,
            accepted,
        })
    }
}

impl Named {
    fn read(self) -> Option<(Name, u64)> {
        let fits = !self.name.is_empty() && self.name.len() <= MAX_NAME_BYTES && !self.name.contains(char::is_control);
        fits.then(|| (Name::from(self.name), self.number))
    }
}

fn electorate(state: &State) -> Electorate {
    let list = |members: &Members| members.iter().map(|(name, generation)| named(name, *generation)).collect();
    let by = |ballot: &Ballot| named(&ballot.by, ballot.round);
    Electorate {
        founded: Some(named(&state.lineage.by, state.lineage.founded_ms)),
        epoch: state.epoch,
        members: list(&state.members),
        previous: list(&state.previous),
        amnesic: state.amnesic,
        promised: state.promised.as_ref().map(by),
        accepted_in: state.accepted.as_ref().map(|(ballot, _)| by(ballot)),
        accepted: state.accepted.as_ref().map(|(_, members)| list(members)).unwrap_or_default(),
    }
}

fn named(name: &Name, number: u64) -> Named {
    Named { name: name.to_string(), number }
}

fn ballot(named: Named) -> Option<Ballot> {
    named.read().map(|(by, round)| Ballot { round, by })
}

fn members(list: Vec<Named>) -> Option<Members> {
    pairs(list).map(Members::from_iter)
}

fn pairs(list: Vec<Named>) -> Option<Vec<(Name, u64)>> {
    if list.len() > MAX_NAMES {
        return None;
    }
    list.into_iter().map(Named::read).collect()
}

/// An ownership message behind the receiver's number that its sender has heard last.
pub(crate) fn date(number: u64, message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(size_of::<u64>() + message.len());
    bytes.put_u64(number);
    bytes.put_slice(message);
    bytes.freeze()
}

/// Both parts again.
pub(crate) fn dated(mut payload: Bytes) -> Option<(u64, Bytes)> {
    (payload.len() >= size_of::<u64>()).then(|| (payload.get_u64(), payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> quorum::Standing {
        let members = |names: &[&str]| names.iter().map(|name| (Name::from(*name), 7)).collect::<Members>();
        let ballot = Ballot { round: 3, by: Name::from("b") };
        let state = State {
            lineage: Lineage { founded_ms: 5, by: Name::from("a") },
            epoch: 9,
            members: members(&["a", "b"]),
            previous: members(&["a"]),
            amnesic: true,
            promised: Some(ballot.clone()),
            accepted: Some((ballot, members(&["a", "b", "c"]))),
        };
        quorum::Standing { to: 1, number: 2, heard: 3, version: 4, state: Some(state), known: 6, lost: vec![(Name::from("d"), 8)] }
    }

    #[test]
    fn a_standing_survives_the_wire() {
        assert_eq!(Standing::read(&Standing::write(&standing())), Some(standing()));
        let short = quorum::Standing { state: None, lost: Vec::new(), ..standing() };
        assert_eq!(Standing::read(&Standing::write(&short)), Some(short));
    }

    #[test]
    fn standings_that_make_no_sense_are_not_taken() {
        assert_eq!(Standing::read(b"\xff\xff"), None);
        let spoil: [fn(&mut quorum::Standing); 3] = [
            |standing| standing.lost.push((Name::from("a\nb"), 1)),
            |standing| standing.lost = (0..=MAX_NAMES).map(|index| (Name::from(index.to_string()), 1)).collect(),
            |standing| standing.state.as_mut().unwrap().members.clear(),
        ];
        for (index, spoil) in spoil.into_iter().enumerate() {
            let mut standing = standing();
            spoil(&mut standing);
            assert_eq!(Standing::read(&Standing::write(&standing)), None, "case {index}");
        }
    }

    #[test]
    fn a_date_comes_off_again() {
        assert_eq!(dated(date(300, b"message")), Some((300, Bytes::from_static(b"message"))));
        assert_eq!(dated(Bytes::from_static(b"short")), None);
    }
}
