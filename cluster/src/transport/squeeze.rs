//! Compression of what repeats itself on a stream: a digest of gossip differs from the one before it in little more than the heartbeats, so
//! each is compressed against its predecessor in the same direction of the same stream. Both sides keep that one message and no
//! compressor: at 150 members a hundred times less memory than zstd's own streams take. What is compressed is a zstd frame of its
//! own that declares its length, which is looked at before anything is allocated.

use std::io;

use bytes::Bytes;
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx};

use super::frame::{FrameError, Kind};

/// Longest message that is compressed, and longest that comes out, bytes: gossip's are at most 65,507.
pub(crate) const MAX_SQUEEZED: usize = 64 * 1024;

/// Shorter messages are left as they are: the frame's own header would eat the gain.
const MIN_SQUEEZED: usize = 64;

/// Higher levels make digests no shorter.
const LEVEL: i32 = 1;

/// Whether messages of a kind are compressed. News are short and seldom; what components hand over, they compress if it is worth it.
pub(crate) fn repeats(kind: Kind) -> bool {
    kind == Kind::Gossip
}

/// The message that the next one is compressed against. Both sides of a direction go by the same messages.
#[derive(Default)]
pub(crate) struct Context {
    last: Vec<u8>,
}

impl Context {
    /// A message has passed. One that is much shorter has little in common with the long ones, which come again.
    fn passed(&mut self, message: &[u8]) {
        if message.len() <= MAX_SQUEEZED && message.len() >= self.last.len() / 2 {
            self.last.clear();
            self.last.extend_from_slice(message);
        }
    }

    /// The message as it is to be sent, if that is shorter.
    pub(crate) fn squeeze(&mut self, message: &[u8]) -> Option<Bytes> {
        let worth_it = (MIN_SQUEEZED..=MAX_SQUEEZED).contains(&message.len());
        let squeezed = worth_it.then(|| compressed(&self.last, message)).and_then(|squeezed| {
            squeezed.inspect_err(|error| tracing::debug!(%error, "a message could not be compressed and is sent as it is")).ok()
        });
        self.passed(message);
        squeezed.filter(|squeezed| squeezed.len() < message.len()).map(Bytes::from)
    }

    /// A message that was sent as it is.
    pub(crate) fn plain(&mut self, message: &[u8]) {
        self.passed(message);
    }

    /// What was squeezed on the other side.
    ///
    /// # Errors
    /// No declared length, one beyond [`MAX_SQUEEZED`], or bytes that don't make up a message of that length.
    pub(crate) fn expand(&mut self, squeezed: &[u8]) -> Result<Bytes, FrameError> {
        let declared = zstd_safe::get_frame_content_size(squeezed).ok().flatten().ok_or(FrameError::BadCompression)?;
        let length = usize::try_from(declared).unwrap_or(usize::MAX);
        if length > MAX_SQUEEZED {
            return Err(FrameError::Oversize { length, limit: MAX_SQUEEZED });
        }
        let message = expanded(&self.last, squeezed, length).map_err(|_| FrameError::BadCompression)?;
        self.passed(&message);
        Ok(message.into())
    }
}

fn compressed(context: &[u8], message: &[u8]) -> io::Result<Vec<u8>> {
    let mut output = Vec::with_capacity(zstd_safe::compress_bound(message.len()));
    let mut compressor = CCtx::create();
    compressor.set_parameter(CParameter::CompressionLevel(LEVEL)).map_err(named)?;
    compressor.ref_prefix(context).map_err(named)?;
    compressor.compress2(&mut output, message).map_err(named)?;
    Ok(output)
}

fn expanded(context: &[u8], squeezed: &[u8], length: usize) -> io::Result<Vec<u8>> {
    let mut message = Vec::with_capacity(length);
    let mut decompressor = DCtx::create();
    decompressor.ref_prefix(context).map_err(named)?;
    // It writes at most as much as there is room for.
    decompressor.decompress(&mut message, squeezed).map_err(named)?;
    if message.len() == length { Ok(message) } else { Err(io::Error::other("another length than declared")) }
}

fn named(code: usize) -> io::Error {
    io::Error::other(zstd_safe::get_error_name(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something like a digest: names, addresses, heartbeats.
    fn digest(members: u32, beat: u64) -> Vec<u8> {
        let entry = |member: u32| {
            let scattered = member.wrapping_mul(2_654_435_761);
            [format!("collector-{member}").as_bytes(), &scattered.to_le_bytes(), &(beat + u64::from(member % 3)).to_le_bytes(), &[0; 8]]
                .concat()
        };
        (0..members).flat_map(entry).collect()
    }

    #[test]
    fn a_digest_that_resembles_the_last_one_takes_a_tenth_and_comes_out_as_it_was() {
        let (mut sender, mut receiver) = (Context::default(), Context::default());
        for round in 0..4 {
            let message = digest(150, 100 + 7 * round);
            let squeezed = sender.squeeze(&message).unwrap();
            assert!(round == 0 || squeezed.len() < message.len() / 10, "{} of {} bytes", squeezed.len(), message.len());
            assert_eq!(receiver.expand(&squeezed).unwrap(), message);
        }
    }

    #[test]
    fn short_messages_pass_as_they_are_and_do_not_wipe_out_the_long_ones() {
        let (mut sender, mut receiver) = (Context::default(), Context::default());
        let first = sender.squeeze(&digest(150, 1)).unwrap();
        receiver.expand(&first).unwrap();
        assert_eq!(sender.squeeze(b"short"), None);
        receiver.plain(b"short");
        let again = sender.squeeze(&digest(150, 2)).unwrap();
        assert!(again.len() < first.len() / 2);
        assert_eq!(receiver.expand(&again).unwrap(), digest(150, 2));
    }

    #[test]
    fn a_message_beyond_the_bound_is_sent_as_it_is() {
        let mut sender = Context::default();
        assert_eq!(sender.squeeze(&vec![0; MAX_SQUEEZED + 1]), None);
        assert!(sender.last.is_empty(), "and takes no memory");
    }

    #[test]
    fn a_bomb_is_refused_by_its_declared_length_and_a_liar_by_its_room() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
        assert!(bomb.len() < 16 << 10);
        let refused = Context::default().expand(&bomb).unwrap_err();
        assert_eq!(refused, FrameError::Oversize { length: 64 << 20, limit: MAX_SQUEEZED });
        // A frame header with one byte of length: what is declared is less than what comes.
        let mut liar = zstd::bulk::compress(&[7; 200], 1).unwrap();
        assert_eq!(liar[5], 200, "where zstd puts the length of a short frame");
        liar[5] = 100;
        assert_eq!(Context::default().expand(&liar), Err(FrameError::BadCompression));
        // A stream does not declare its length.
        let endless = zstd::stream::encode_all(&vec![0; 1 << 20][..], 1).unwrap();
        assert_eq!(Context::default().expand(&endless), Err(FrameError::BadCompression));
    }

    #[test]
    fn bytes_that_make_no_sense_and_another_context_are_refused() {
        assert_eq!(Context::default().expand(b"no zstd at all"), Err(FrameError::BadCompression));
        let mut sender = Context::default();
        sender.squeeze(&digest(150, 1));
        let squeezed = sender.squeeze(&digest(150, 2)).unwrap();
        assert!(Context::default().expand(&squeezed).is_err(), "the receiver never saw the first");
    }
}
