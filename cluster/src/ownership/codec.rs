//! The bytes of an envelope: little-endian, lengths checked against bounds and against what is left before anything is
//! allocated. Knows nothing of what messages mean.
//!
//! Layout: version `u8`, kind `u8`, two incarnations `u64`, domain (`u16` length, UTF-8), then the kind's fields. Lists carry a
//! `u32` count. Within a version fields are only ever appended: a decoder ignores bytes behind those that it knows.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::message::{Answer, Envelope, Grant, MAX_FRAME_BYTES, MAX_KEYS, MAX_NAME_BYTES, MAX_POINTERS, MAX_STATE_BYTES, Message, Pointer};
use super::view::Name;

/// Version of the layout.
const VERSION: u8 = 1;

/// Why bytes are no envelope. None of them is fatal: count and drop the frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A newer node speaks a layout that this one does not know.
    #[error("ownership message of version {0}, this node knows version {VERSION}: upgrade it")]
    Version(u8),
    /// A newer node sends a kind of message that this one does not know.
    #[error("ownership message of unknown kind {0}: a peer is newer than this node")]
    Kind(u8),
    /// The frame ends within a field.
    #[error("ownership message is cut short: {field} needs {needed} more bytes, {left} are left")]
    Short {
        /// The field.
        field: &'static str,
        /// Bytes that it needs.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A length is over its bound.
    #[error("ownership message: {field} has length {length}, at most {limit} are accepted")]
    TooLong {
        /// The field.
        field: &'static str,
        /// The declared length.
        length: usize,
        /// The bound.
        limit: usize,
    },
    /// A name is not UTF-8.
    #[error("ownership message: {0} is not UTF-8")]
    NotUtf8(&'static str),
}

impl Envelope {
    /// The envelope's bytes, at most [`MAX_FRAME_BYTES`] if the message keeps its bounds. Names are cut at 65,535 bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + self.domain.len());
        out.put_u8(VERSION);
        out.put_u8(self.message.kind());
        out.put_u64_le(self.from_incarnation);
        out.put_u64_le(self.to_incarnation);
        put_name(&mut out, &self.domain);
        put_message(&mut out, &self.message);
        out.freeze()
    }

    /// Reads an envelope. Allocates no more than the frame is long.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        within("frame", frame.len(), MAX_FRAME_BYTES)?;
        let mut input = Input { rest: frame };
        let version = input.u8("version")?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let kind = input.u8("kind")?;
        Ok(Self {
            from_incarnation: input.u64("sender's incarnation")?,
            to_incarnation: input.u64("receiver's incarnation")?,
            domain: input.name("domain")?,
            message: take_message(&mut input, kind)?,
        })
    }
}

impl Message {
    /// The number of its kind on the wire.
    fn kind(&self) -> u8 {
        match self {
            Self::Want { .. } => 1,
            Self::Answer(_) => 2,
            Self::Grant(_) => 3,
            Self::Ack { .. } => 4,
            Self::Query { .. } => 5,
            Self::Status { .. } => 6,
            Self::Forgot { .. } => 7,
        }
    }
}

fn put_message(out: &mut BytesMut, message: &Message) {
    match message {
        Message::Want { claim, keys } => {
            out.put_u64_le(*claim);
            put_keys(out, keys);
        }
        Message::Answer(answer) => put_answer(out, answer),
        Message::Grant(grants) => {
            put_count(out, grants.len());
            grants.iter().for_each(|grant| put_grant(out, grant));
        }
        Message::Ack { taken, declined } => {
            put_pairs(out, taken);
            put_pairs(out, declined);
        }
        Message::Query { round, keys } => {
            out.put_u64_le(*round);
            put_keys(out, keys);
        }
        Message::Status { round, held, known, unknown } => {
            out.put_u64_le(*round);
            put_keys(out, held);
            put_keys(out, known);
            put_keys(out, unknown);
        }
        Message::Forgot { keys } => put_keys(out, keys),
    }
}

fn put_answer(out: &mut BytesMut, answer: &Answer) {
    out.put_u64_le(answer.claim);
    put_keys(out, &answer.free);
    put_keys(out, &answer.busy);
    put_keys(out, &answer.granting);
    put_pairs(out, &answer.last);
    put_count(out, answer.pointers.len());
    for pointer in &answer.pointers {
        put_name(out, &pointer.name);
        out.put_u64_le(pointer.incarnation);
        out.put_u8(u8::from(pointer.taken));
        put_keys(out, &pointer.keys);
    }
}

fn put_grant(out: &mut BytesMut, grant: &Grant) {
    out.put_u64_le(grant.key);
    out.put_u64_le(grant.claim);
    out.put_u64_le(grant.last_ms);
    match &grant.state {
        None => out.put_u8(0),
        Some(state) => {
            out.put_u8(1);
            put_count(out, state.len());
            out.put_slice(state);
        }
    }
}

fn put_keys(out: &mut BytesMut, keys: &[u64]) {
    put_count(out, keys.len());
    keys.iter().for_each(|key| out.put_u64_le(*key));
}

fn put_pairs(out: &mut BytesMut, pairs: &[(u64, u64)]) {
    put_count(out, pairs.len());
    for (first, second) in pairs {
        out.put_u64_le(*first);
        out.put_u64_le(*second);
    }
}

/// Counts are bounded far below `u32::MAX` by whoever makes a message.
fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u32_le(u32::try_from(count).unwrap_or(u32::MAX));
}

fn put_name(out: &mut BytesMut, name: &str) {
    let end = name.floor_char_boundary(MAX_NAME_BYTES);
    out.put_u16_le(u16::try_from(end).unwrap_or(u16::MAX));
    out.put_slice(&name.as_bytes()[..end]);
}

fn take_message(input: &mut Input<'_>, kind: u8) -> Result<Message, DecodeError> {
    Ok(match kind {
        1 => Message::Want { claim: input.u64("claim")?, keys: input.keys("keys")? },
        2 => Message::Answer(take_answer(input)?),
        3 => Message::Grant(take_grants(input)?),
        4 => Message::Ack { taken: input.pairs("taken")?, declined: input.pairs("declined")? },
        5 => Message::Query { round: input.u64("round")?, keys: input.keys("keys")? },
        6 => Message::Status {
            round: input.u64("round")?,
            held: input.keys("held")?,
            known: input.keys("known")?,
            unknown: input.keys("unknown")?,
        },
        7 => Message::Forgot { keys: input.keys("keys")? },
        unknown => return Err(DecodeError::Kind(unknown)),
    })
}

fn take_answer(input: &mut Input<'_>) -> Result<Answer, DecodeError> {
    let mut answer = Answer {
        claim: input.u64("claim")?,
        free: input.keys("free")?,
        busy: input.keys("busy")?,
        granting: input.keys("granting")?,
        last: input.pairs("last")?,
        pointers: Vec::new(),
    };
    // A pointer takes at least 15 bytes: two lengths, incarnation, flag.
    for _ in 0..input.count("pointers", MAX_POINTERS, 15)? {
        answer.pointers.push(Pointer {
            name: input.name("pointer's name")?,
            incarnation: input.u64("pointer's incarnation")?,
            taken: input.u8("pointer's flag")? != 0,
            keys: input.keys("pointer's keys")?,
        });
    }
    Ok(answer)
}

fn take_grants(input: &mut Input<'_>) -> Result<Vec<Grant>, DecodeError> {
    let count = input.count("grants", MAX_KEYS, 25)?;
    let mut grants = Vec::with_capacity(count);
    for _ in 0..count {
        grants.push(Grant {
            key: input.u64("key")?,
            claim: input.u64("claim")?,
            last_ms: input.u64("last instant")?,
            state: match input.u8("state's flag")? {
                0 => None,
                _ => {
                    let length = input.count("state", MAX_STATE_BYTES, 1)?;
                    Some(Bytes::copy_from_slice(input.take("state", length)?))
                }
            },
        });
    }
    Ok(grants)
}

/// What is left of a frame.
struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], DecodeError> {
        let Some((head, rest)) = self.rest.split_at_checked(length) else {
            return Err(DecodeError::Short { field, needed: length, left: self.rest.len() });
        };
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(field, N)?);
        Ok(array)
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A declared count, checked against its bound and against the bytes that so many items need at least.
    fn count(&mut self, field: &'static str, limit: usize, item_bytes: usize) -> Result<usize, DecodeError> {
        let count = self.array(field).map(u32::from_le_bytes)? as usize;
        within(field, count, limit)?;
        let needed = count.saturating_mul(item_bytes);
        if needed > self.rest.len() {
            return Err(DecodeError::Short { field, needed, left: self.rest.len() });
        }
        Ok(count)
    }

    fn keys(&mut self, field: &'static str) -> Result<Vec<u64>, DecodeError> {
        let count = self.count(field, MAX_KEYS, 8)?;
        (0..count).map(|_| self.u64(field)).collect()
    }

    fn pairs(&mut self, field: &'static str) -> Result<Vec<(u64, u64)>, DecodeError> {
        let count = self.count(field, MAX_KEYS, 16)?;
        (0..count).map(|_| Ok((self.u64(field)?, self.u64(field)?))).collect()
    }

    fn name(&mut self, field: &'static str) -> Result<Name, DecodeError> {
        let length = usize::from(self.array(field).map(u16::from_le_bytes)?);
        let bytes = self.take(field, length)?;
        std::str::from_utf8(bytes).map(Name::from).map_err(|_| DecodeError::NotUtf8(field))
    }
}

fn within(field: &'static str, length: usize, limit: usize) -> Result<(), DecodeError> {
    if length > limit {
        return Err(DecodeError::TooLong { field, length, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn pointer() -> impl Strategy<Value = Pointer> {
        (".{0,20}", any::<u64>(), any::<bool>(), vec(any::<u64>(), 0..5)).prop_map(|(name, incarnation, taken, keys)| Pointer {
            name: name.into(),
            incarnation,
            taken,
            keys,
        })
    }

    fn answer() -> impl Strategy<Value = Message> {
        let keys = || vec(any::<u64>(), 0..9);
        (any::<u64>(), keys(), keys(), keys(), vec(any::<(u64, u64)>(), 0..5), vec(pointer(), 0..4)).prop_map(
            |(claim, free, busy, granting, last, pointers)| Message::Answer(Answer { claim, free, busy, granting, last, pointers }),
        )
    }

    fn grant() -> impl Strategy<Value = Grant> {
        let state = prop::option::of(vec(any::<u8>(), 0..40).prop_map(Bytes::from));
        (any::<(u64, u64, u64)>(), state).prop_map(|((key, claim, last_ms), state)| Grant { key, claim, last_ms, state })
    }

    fn message() -> impl Strategy<Value = Message> {
        let keys = || vec(any::<u64>(), 0..9);
        let pairs = || vec(any::<(u64, u64)>(), 0..5);
        prop_oneof![
            (any::<u64>(), keys()).prop_map(|(claim, keys)| Message::Want { claim, keys }),
            answer(),
            vec(grant(), 0..4).prop_map(Message::Grant),
            (pairs(), pairs()).prop_map(|(taken, declined)| Message::Ack { taken, declined }),
            (any::<u64>(), keys()).prop_map(|(round, keys)| Message::Query { round, keys }),
            (any::<u64>(), keys(), keys(), keys()).prop_map(|(round, held, known, unknown)| Message::Status {
                round,
                held,
                known,
                unknown
            }),
            keys().prop_map(|keys| Message::Forgot { keys }),
        ]
    }

    fn envelope() -> impl Strategy<Value = Envelope> {
        (any::<u64>(), any::<u64>(), ".{0,40}", message()).prop_map(|(from_incarnation, to_incarnation, domain, message)| Envelope {
            from_incarnation,
            to_incarnation,
            domain: domain.into(),
            message,
        })
    }

    fn want(keys: Vec<u64>) -> Envelope {
        Envelope { from_incarnation: 1, to_incarnation: 2, domain: "d".into(), message: Message::Want { claim: 3, keys } }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(envelope in envelope()) {
            prop_assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
        }

        #[test]
        fn a_frame_that_is_cut_anywhere_is_an_error(envelope in envelope(), share in 0.0..1.0) {
            let frame = envelope.encode();
            let cut = (frame.len() as f64 * share) as usize;
            let outcome = Envelope::decode(&frame[..cut]);
            let is_short = matches!(outcome, Err(DecodeError::Short { .. } | DecodeError::NotUtf8(_)));
            prop_assert!(is_short, "{:?}", outcome);
        }

        #[test]
        fn any_bytes_give_an_envelope_or_an_error(mut bytes in vec(any::<u8>(), 0..200), kind in 0..9_u8) {
            let _ = Envelope::decode(&bytes);
            if bytes.len() > 20 {
                bytes[..2].copy_from_slice(&[VERSION, kind]);
                bytes[18..20].copy_from_slice(&[0, 0]);
                let _ = Envelope::decode(&bytes);
            }
        }

        #[test]
        fn a_later_field_behind_the_known_ones_is_ignored(envelope in envelope(), more in vec(any::<u8>(), 0..20)) {
            let mut frame = envelope.encode().to_vec();
            frame.extend(more);
            prop_assert_eq!(Envelope::decode(&frame), Ok(envelope));
        }
    }

    #[test]
    fn bytes_are_fixed_for_all_time() {
        let frame = want(vec![5]).encode();
        let expected = [
            &[1, 1][..],
            &[1, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, b'd'],
            &[3, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0],
            &[5, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(frame, expected.concat());
    }

    #[test]
    fn newer_versions_and_kinds_are_named_in_the_error() {
        let mut frame = want(vec![]).encode().to_vec();
        frame[1] = 99;
        assert_eq!(Envelope::decode(&frame), Err(DecodeError::Kind(99)));
        frame[0] = 2;
        assert_eq!(Envelope::decode(&frame), Err(DecodeError::Version(2)));
    }

    #[test]
    fn declared_lengths_are_checked_before_anything_is_allocated() {
        let mut frame = want(vec![]).encode().to_vec();
        let count = frame.len() - 4;
        frame[count..].copy_from_slice(&u32::MAX.to_le_bytes());
        let too_long = DecodeError::TooLong { field: "keys", length: u32::MAX as usize, limit: MAX_KEYS };
        assert_eq!(Envelope::decode(&frame), Err(too_long));
        frame[count..].copy_from_slice(&16_000_u32.to_le_bytes());
        assert_eq!(Envelope::decode(&frame), Err(DecodeError::Short { field: "keys", needed: 128_000, left: 0 }));
        let huge = vec![0; MAX_FRAME_BYTES + 1];
        let limit = MAX_FRAME_BYTES;
        assert_eq!(Envelope::decode(&huge), Err(DecodeError::TooLong { field: "frame", length: limit + 1, limit }));
    }

    #[test]
    fn a_name_longer_than_its_length_field_is_cut_at_a_character() {
        let mut envelope = want(vec![]);
        envelope.domain = "é".repeat(40_000).into();
        let decoded = Envelope::decode(&envelope.encode()).unwrap();
        assert_eq!(decoded.domain.len(), MAX_NAME_BYTES - 1);
    }

    #[test]
    fn the_largest_frames_keep_the_bound() {
        let state = Some(Bytes::from(vec![0; MAX_STATE_BYTES]));
        let mut grants = vec![Grant { key: 1, claim: 1, last_ms: 1, state }];
        grants.resize(MAX_KEYS, Grant { key: 1, claim: 1, last_ms: 1, state: None });
        let keys: Vec<u64> = (0..MAX_KEYS as u64).collect();
        let pointer = Pointer { name: "n".repeat(1_000).into(), incarnation: 1, taken: true, keys: keys.clone() };
        let last = keys.iter().map(|key| (*key, 0)).collect();
        let answer = Answer { claim: 1, free: keys, last, pointers: vec![pointer; 4], ..Answer::default() };
        for message in [Message::Grant(grants), Message::Answer(answer)] {
            let envelope = Envelope { from_incarnation: 1, to_incarnation: 1, domain: "d".into(), message };
            assert!(envelope.encode().len() <= MAX_FRAME_BYTES);
        }
    }
}
