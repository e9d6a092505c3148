//! The cluster key: who may join. A mutual challenge when a stream opens and a MAC on every frame after it; the key itself
//! never crosses the wire. This authenticates peers and protects what they say from change, it does not hide it: use TLS or a
//! private network where the traffic must not be read. Reading the key file and deciding when a key is required belong to
//! the caller; where the proofs travel is `transport::handshake`.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Shortest key that is accepted, bytes. A peer that has recorded one handshake can try keys offline at full speed, so a
/// password-like key would not last; 16 random bytes do.
pub const MIN_KEY_BYTES: usize = 16;

/// Longest key that is accepted, bytes: more is surely the wrong file.
pub const MAX_KEY_BYTES: usize = 4096;

/// Keys in one file: the one in use, and the next or the last one.
pub const MAX_KEYS: usize = 2;

/// Length of a MAC on the wire, bytes (HMAC-SHA256, not truncated).
pub(crate) const MAC_BYTES: usize = 32;

/// A MAC or a proof.
pub(crate) type Tag = [u8; MAC_BYTES];

/// What makes a key unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Fewer bytes than [`MIN_KEY_BYTES`].
    #[error("the cluster key has {0} bytes, at least {MIN_KEY_BYTES} are needed: generate one with `openssl rand -hex 32`")]
    TooShort(usize),
    /// More bytes than [`MAX_KEY_BYTES`].
    #[error("the cluster key has {0} bytes, more than {MAX_KEY_BYTES}: is this the right file?")]
    TooLong(usize),
    /// More than [`MAX_KEYS`].
    #[error(
        "the file holds {0} keys, one a line; at most {MAX_KEYS} are allowed, the one in use first: generate one with `openssl rand -hex 32`"
    )]
    TooMany(usize),
}

/// The secret that all members of a fleet share. Only a keyed hash state is kept, never the bytes; `Debug` prints a
/// placeholder.
///
/// There may be two, so that a fleet can go from one to the next without a break: a node proves itself with the first, and
/// accepts both. First the new key is added as the second everywhere, then the two change places everywhere, then the old one
/// is removed.
#[derive(Clone)]
pub struct Key {
    mac: Hmac<Sha256>,
    other: Option<Hmac<Sha256>>,
}

impl Key {
    /// Takes the content of a key file: a key a line, white space around it and empty lines ignored.
    ///
    /// # Errors
    /// A length outside [`MIN_KEY_BYTES`]..=[`MAX_KEY_BYTES`], or more than [`MAX_KEYS`] keys.
    pub fn new(content: &[u8]) -> Result<Self, KeyError> {
        let mut secrets = content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|secret| !secret.is_empty());
        let mac = secret(secrets.next().unwrap_or_default())?;
        let other = secrets.next().map(secret).transpose()?;
        match secrets.count() {
            0 => Ok(Self { mac, other }),
            more => Err(KeyError::TooMany(MAX_KEYS + more)),
        }
    }

    /// The one of this node's keys with which an opener has made `proof`.
    pub(crate) fn proven(&self, transcript: &Tag, proof: &[u8]) -> Option<Self> {
        let keys = std::iter::once(&self.mac).chain(&self.other).map(|mac| Self { mac: mac.clone(), other: None });
        keys.into_iter().find(|key| same(&key.opener_proof(transcript), proof))
    }

    /// A value that only holders of the key can compute, bound to what it is for (`label`) and to `parts`, each with its
    /// length so that no two lists of parts collide.
    fn derive(&self, label: &str, parts: &[&[u8]]) -> Tag {
        let mut mac = self.mac.clone();
        for part in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// What the side that opened the stream sends to show that it has the key. It proves first, so that a stranger who
    /// connects learns nothing that a guessed key could be checked against.
    pub(crate) fn opener_proof(&self, transcript: &Tag) -> Tag {
        self.derive("collector cluster opener", &[transcript])
    }

    /// What the accepting side answers; it also covers what the answer says (`accept`).
    pub(crate) fn accepter_proof(&self, transcript: &Tag, accept: &[u8]) -> Tag {
        self.derive("collector cluster accepter", &[transcript, accept])
    }

    /// The seals of this stream's two directions: opener to accepter, accepter to opener. Both nonces are in the
    /// transcript, so frames of another stream don't verify here, and neither do those of the other direction.
    pub(crate) fn seals(&self, transcript: &Tag) -> (Seal, Seal) {
        let seal = |label| Seal::new(&self.derive(label, &[transcript]));
        (seal("collector cluster frames of the opener"), seal("collector cluster frames of the accepter"))
    }
}

fn secret(secret: &[u8]) -> Result<Hmac<Sha256>, KeyError> {
    if secret.len() < MIN_KEY_BYTES {
        return Err(KeyError::TooShort(secret.len()));
    }
    if secret.len() > MAX_KEY_BYTES {
        return Err(KeyError::TooLong(secret.len()));
    }
    // HMAC takes a key of any length: this can't fail, and an all-zero fallback would be worse than an error.
    Hmac::new_from_slice(secret).map_err(|_| KeyError::TooLong(secret.len()))
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(<secret>)")
    }
}

/// What both sides have said so far, in one hash.
pub(crate) fn transcript(hello: &[u8], challenge: &[u8]) -> Tag {
    let mut hash = Sha256::new();
    for part in [hello, challenge] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Compares two tags in a time that does not depend on where they differ.
pub(crate) fn same(expected: &Tag, got: &[u8]) -> bool {
    if got.len() != expected.len() {
        return false;
    }
    let difference = expected.iter().zip(got).fold(0u8, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}

/// MACs the frames of one direction of one stream. The sequence number is part of what is signed and never sent: a frame that
/// is dropped, repeated or reordered does not verify.
pub(crate) struct Seal {
    mac: Hmac<Sha256>,
    sequence: u64,
}

impl Seal {
    fn new(key: &Tag) -> Self {
        // `Hmac::new` takes a whole block; the derived key is shorter, and zero padding is what HMAC itself does.
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block[..MAC_BYTES].copy_from_slice(key);
        Self { mac: Hmac::new(&block), sequence: 0 }
    }

    /// The MAC of the next frame.
    pub(crate) fn next(&mut self, header: &[u8], payload: &[u8]) -> Tag {
        let mut mac = self.mac.clone();
        mac.update(&self.sequence.to_be_bytes());
        mac.update(header);
        mac.update(payload);
        self.sequence += 1;
        mac.finalize().into_bytes().into()
    }

    /// Whether `tag` is the MAC of the next frame. After a `false` the stream is to be closed.
    pub(crate) fn check(&mut self, header: &[u8], payload: &[u8], tag: &[u8]) -> bool {
        let expected = self.next(header, payload);
        same(&expected, tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_key_of_a_bad_length_is_refused_with_the_length_and_a_remedy() {
        assert_eq!(Key::new(b"short\n").unwrap_err(), KeyError::TooShort(5));
        assert_eq!(Key::new(&[b'x'; 5000]).unwrap_err(), KeyError::TooLong(5000));
        assert!(KeyError::TooShort(5).to_string().contains("openssl rand"));
    }

    #[test]
    fn a_second_key_is_accepted_and_never_proven_with() {
        let transcript = transcript(b"a", b"b");
        let (old, new) = (key("0123456789abcdef"), key("fedcba9876543210"));
        let changing = key("0123456789abcdef\r\n\nfedcba9876543210\n");
        assert_eq!(changing.opener_proof(&transcript), old.opener_proof(&transcript));
        for known in [&old, &new] {
            let proven = changing.proven(&transcript, &known.opener_proof(&transcript)).unwrap();
            assert_eq!(proven.accepter_proof(&transcript, b"x"), known.accepter_proof(&transcript, b"x"));
        }
        assert!(changing.proven(&transcript, &key("another key, long enough").opener_proof(&transcript)).is_none());
        assert!(old.proven(&transcript, &new.opener_proof(&transcript)).is_none());
        let three = Key::new(b"0123456789abcdef\nfedcba9876543210\n0000000000000000");
        assert_eq!(three.unwrap_err(), KeyError::TooMany(3));
        assert_eq!(Key::new(b"0123456789abcdef\nshort").unwrap_err(), KeyError::TooShort(5));
    }

    #[test]
    fn white_space_around_a_key_makes_no_difference() {
        let transcript = transcript(b"a", b"b");
        assert_eq!(key("0123456789abcdef").opener_proof(&transcript), key(" 0123456789abcdef\r\n").opener_proof(&transcript));
    }

    #[test]
    fn a_key_never_shows_in_debug_output() {
        let shown = format!("{:?}", key("canary-canary-canary"));
        assert_eq!(shown, "Key(<secret>)");
    }

    #[test]
    fn proofs_differ_by_key_side_and_transcript() {
        let one = transcript(b"hello", b"challenge");
        let other = transcript(b"helloc", b"hallenge");
        let first = key("0123456789abcdef");
        let second = key("0123456789abcdeg");
        let proofs = [
            first.opener_proof(&one),
            first.opener_proof(&other),
            first.accepter_proof(&one, b""),
            first.accepter_proof(&one, b"x"),
            second.opener_proof(&one),
        ];
        for (index, proof) in proofs.iter().enumerate() {
            assert!(!proofs[index + 1..].contains(proof), "proof {index} is repeated");
        }
    }

    #[test]
    fn a_frame_verifies_once_in_order_and_unchanged() {
        let transcript = transcript(b"hello", b"challenge");
        let (mut out, mut back) = key("0123456789abcdef").seals(&transcript);
        let (mut expects, _) = key("0123456789abcdef").seals(&transcript);
        let first = out.next(b"h", b"one");
        let second = out.next(b"h", b"two");
        assert!(expects.check(b"h", b"one", &first));
        assert!(!expects.check(b"h", b"one", &first), "a repeated frame must not verify");
        assert!(!back.check(b"h", b"one", &first), "the other direction must not verify it");
        let (_, mut fresh) = (0, key("0123456789abcdef").seals(&transcript).0);
        assert!(!fresh.check(b"h", b"two", &second), "a frame out of order must not verify");
        let (mut fresh, _) = key("0123456789abcdef").seals(&transcript);
        assert!(!fresh.check(b"h", b"onf", &first), "a changed frame must not verify");
        let (mut fresh, _) = key("0123456789abcdef").seals(&transcript);
        assert!(!fresh.check(b"h", b"one", &first[..31]), "a short MAC must not verify");
    }
}
