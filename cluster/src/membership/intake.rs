//! What of gossip is let in at all. This chitchat unpacks whatever it is sent: here the parts of a message are counted by their
//! declared lengths before it sees them. What a message says is chitchat's business, what it leads to `gossip` watches.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use super::MAX_NAME_BYTES;

/// Longest message, bytes: chitchat keeps to what fits into a UDP datagram.
const MAX_BYTES: usize = 65_507 + 64;

/// Most blocks of a delta. Each unpacks to 64 KiB at most, so all to 8 MiB. An honest delta fills its blocks to 16 KiB and is short
/// when packed: text that packs by a factor of 20 makes 80.
const MAX_BLOCKS: usize = 128;

/// A block unpacks to as much at most.
const MAX_BLOCK_BYTES: usize = 65_536;

/// Most processes in a digest: what a fleet's may take, with the shortest names.
const MAX_PROCESSES: usize = 1024;

/// Magic number, version and type.
const HEADER_BYTES: usize = 4;
/// Heartbeat, version and version of the last collection, 8 bytes each.
const STATE_BYTES: usize = 24;
const SYN: u8 = 0;
const SYN_ACK: u8 = 1;
const ACK: u8 = 2;
const NO_MORE_BLOCKS: u8 = 0;

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Longer than chitchat's longest, bytes.
    Long(usize),
    /// More processes than a fleet has.
    Processes(usize),
    /// A name that is none.
    Name(usize),
    /// It would unpack to more than any delta.
    Blocks,
    /// It ends within a part.
    Short,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long(bytes) => write!(f, "{bytes} bytes of gossip exceed the limit of {MAX_BYTES}"),
            Self::Processes(count) => write!(f, "gossip about {count} processes exceeds the limit of {MAX_PROCESSES}"),
            Self::Name(bytes) => write!(f, "gossip about a node name of {bytes} bytes exceeds the limit of {MAX_NAME_BYTES}"),
            Self::Blocks => write!(f, "gossip in more than {MAX_BLOCKS} packed blocks"),
            Self::Short => f.write_str("gossip that ends too early"),
        }
    }
}

/// A process as gossip names it: its name, its generation, its address.
pub(crate) type Process<'a> = (&'a str, u64, SocketAddr);

/// Looks at the bounds of a message.
///
/// # Errors
/// The first one that it breaks.
pub(crate) fn check(message: &[u8]) -> Result<(), Unfit> {
    if message.len() > MAX_BYTES {
        return Err(Unfit::Long(message.len()));
    }
    let (kind, mut input) = open(message)?;
    match kind {
        SYN => input.digest().map(drop),
        SYN_ACK => input.digest().and_then(|_| input.blocks()).map(drop),
        ACK => input.blocks().map(drop),
        // Without parts, or unknown to chitchat too.
        _ => Ok(()),
    }
}

/// To how many bytes of keys and values a message may unpack at most.
///
/// # Errors
/// As [`check`].
pub(crate) fn most_values(message: &[u8]) -> Result<usize, Unfit> {
    let blocks = match open(message)? {
        (SYN_ACK, mut input) => input.digest().and_then(|_| input.blocks())?,
        (ACK, mut input) => input.blocks()?,
        _ => 0,
    };
    Ok(blocks * MAX_BLOCK_BYTES)
}

/// The processes that a message's digest names.
///
/// # Errors
/// As [`check`] has it for the digest.
pub(crate) fn processes(message: &[u8]) -> Result<Vec<Process<'_>>, Unfit> {
    match open(message)? {
        (SYN | SYN_ACK, mut input) => input.digest(),
        _ => Ok(Vec::new()),
    }
}

fn open(message: &[u8]) -> Result<(u8, Input<'_>), Unfit> {
    let (header, rest) = message.split_at_checked(HEADER_BYTES).ok_or(Unfit::Short)?;
    Ok((header[HEADER_BYTES - 1], Input(rest)))
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Unfit> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Unfit::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Unfit> {
        Ok(self.take(1)?[0])
    }

    fn length(&mut self) -> Result<usize, Unfit> {
        Ok(usize::from(u16::from_le_bytes(self.array()?)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unfit> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn digest(&mut self) -> Result<Vec<Process<'a>>, Unfit> {
        let count = self.length()?;
        if count > MAX_PROCESSES {
            return Err(Unfit::Processes(count));
        }
        (0..count).map(|_| self.process()).collect()
    }

    fn process(&mut self) -> Result<Process<'a>, Unfit> {
        let length = self.length()?;
        if length > MAX_NAME_BYTES {
            return Err(Unfit::Name(length));
        }
        let name = std::str::from_utf8(self.take(length)?).map_err(|_| Unfit::Name(length))?;
        let generation = u64::from_le_bytes(self.array()?);
        let ip = if self.byte()? == 4 { IpAddr::from(self.array::<4>()?) } else { IpAddr::from(self.array::<16>()?) };
        let port = u16::from_le_bytes(self.array()?);
        self.take(STATE_BYTES)?;
        Ok((name, generation, SocketAddr::new(ip, port)))
    }

    /// How many there are.
    fn blocks(&mut self) -> Result<usize, Unfit> {
        for count in 0..=MAX_BLOCKS {
            if self.byte()? == NO_MORE_BLOCKS {
                return Ok(count);
            }
            let length = self.length()?;
            self.take(length)?;
        }
        Err(Unfit::Blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(name: &str, processes: u16) -> Vec<u8> {
        let mut message = vec![0x53, 0xb0, 0, SYN];
        message.extend(processes.to_le_bytes());
        for _ in 0..processes {
            message.extend((name.len() as u16).to_le_bytes());
            message.extend(name.as_bytes());
            message.extend([0; 8]);
            message.extend([4, 127, 0, 0, 1, 0, 0]);
            message.extend([0; STATE_BYTES]);
        }
        message
    }

    fn delta(blocks: usize) -> Vec<u8> {
        let mut message = vec![0x53, 0xb0, 0, ACK];
        message.extend([1, 3, 0, 7, 7, 7].repeat(blocks));
        message.push(NO_MORE_BLOCKS);
        message
    }

    #[test]
    fn what_a_fleet_gossips_passes() {
        assert_eq!(check(&[digest("collector-17", 500), vec![0, 0]].concat()), Ok(()));
        assert_eq!(check(&delta(MAX_BLOCKS)), Ok(()));
        let mut both = digest("a", 2);
        both[3] = SYN_ACK;
        assert_eq!(check(&[&both[..], &delta(1)[4..]].concat()), Ok(()));
    }

    #[test]
    fn only_what_brings_values_counts() {
        assert_eq!(most_values(&digest("a", 7)), Ok(0));
        assert_eq!(most_values(&delta(0)), Ok(0));
        assert_eq!(most_values(&delta(3)), Ok(3 * 65_536));
    }

    #[test]
    fn what_unpacks_beyond_bounds_does_not() {
        assert_eq!(check(&vec![0; MAX_BYTES + 1]), Err(Unfit::Long(MAX_BYTES + 1)));
        assert_eq!(check(&digest("", MAX_PROCESSES as u16 + 1)), Err(Unfit::Processes(MAX_PROCESSES + 1)));
        assert_eq!(check(&digest(&"x".repeat(MAX_NAME_BYTES + 1), 1)), Err(Unfit::Name(MAX_NAME_BYTES + 1)));
        assert_eq!(check(&delta(MAX_BLOCKS + 1)), Err(Unfit::Blocks));
    }

    #[test]
    fn a_message_that_is_cut_anywhere_is_too_short() {
        for message in [digest("node", 3), delta(3)] {
            for end in 0..message.len() {
                assert_eq!(check(&message[..end]), Err(Unfit::Short), "{end}");
            }
        }
    }
}
