//! Which records the receiver has judged: all below a number, and ranges above it, as shards finish in any order. Kept in a small file
//! that is replaced as a whole, so that a restart sends again only what may not have arrived.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"ack\0\0\0\0\x01";

/// A set of record numbers that grows from below.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Acknowledged {
    /// All records below are in the set.
    below: u64,
    /// Ranges above, start to end (exclusive); neither touching each other nor `below`.
    ranges: BTreeMap<u64, u64>,
}

impl Acknowledged {
    /// All records below this are in the set, this one is not.
    pub fn below(&self) -> u64 {
        self.below
    }

    /// Above the highest record of the set.
    pub fn end(&self) -> u64 {
        self.ranges.last_key_value().map_or(self.below, |(_, &end)| end)
    }

    /// Whether `record` is in the set.
    pub fn contains(&self, record: u64) -> bool {
        record < self.below || self.ranges.range(..=record).next_back().is_some_and(|(_, &end)| record < end)
    }

    /// Adds the records from `start` to `end` (exclusive).
    pub fn insert(&mut self, start: u64, end: u64) {
        let (mut start, mut end) = (start.max(self.below), end);
        if start >= end {
            return;
        }
        while let Some((&other, &other_end)) = self.ranges.range(..=end).next_back().filter(|(_, other_end)| **other_end >= start) {
            self.ranges.remove(&other);
            (start, end) = (start.min(other), end.max(other_end));
        }
        if start == self.below {
            self.below = end;
        } else {
            self.ranges.insert(start, end);
        }
    }

    /// Reads the file; an empty set if there is none.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the file is damaged, else what reading gave.
    pub fn load(directory: &Path) -> io::Result<Self> {
        let bytes = match fs::read(path(directory)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        Self::decode(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Replaces the file.
    pub fn save(&self, directory: &Path) -> io::Result<()> {
        let new = directory.join("acknowledged.new");
        fs::write(&new, self.encode())?;
        fs::rename(new, path(directory))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let numbers = self.ranges.iter().flat_map(|(start, end)| [*start, *end]);
        std::iter::once(self.below).chain(numbers).for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, checksum) = bytes.split_last_chunk::<4>()?;
        let (numbers, rest) = content.strip_prefix(MAGIC)?.as_chunks::<8>();
        if crc32fast::hash(content) != u32::from_le_bytes(*checksum) || !rest.is_empty() || numbers.len() % 2 == 0 {
            return None;
        }
        let number = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        let (below, ranges) = numbers.split_first()?;
        let mut set = Self { below: number(below), ranges: BTreeMap::new() };
        ranges.as_chunks::<2>().0.iter().for_each(|[start, end]| set.insert(number(start), number(end)));
        Some(set)
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("acknowledged")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_set_grows_from_below_as_gaps_close() {
        let mut set = Acknowledged::default();
        set.insert(2, 4);
        set.insert(6, 7);
        assert_eq!((set.below(), set.contains(2), set.contains(4), set.contains(6)), (0, true, false, true));
        set.insert(0, 2);
        assert_eq!((set.below(), set.ranges.len()), (4, 1));
        set.insert(4, 6);
        assert_eq!((set.below(), set.ranges.len()), (7, 0));
    }

    #[test]
    fn a_damaged_file_is_an_error_and_a_missing_one_an_empty_set() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Acknowledged::load(directory.path()).unwrap(), Acknowledged::default());
        let mut set = Acknowledged::default();
        set.insert(0, 5);
        set.insert(9, 11);
        set.save(directory.path()).unwrap();
        assert_eq!(Acknowledged::load(directory.path()).unwrap(), set);
        let good = fs::read(path(directory.path())).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            fs::write(path(directory.path()), bytes).unwrap();
            assert_eq!(Acknowledged::load(directory.path()).unwrap_err().kind(), io::ErrorKind::InvalidData, "byte {at}");
        }
        fs::write(path(directory.path()), b"").unwrap();
        assert!(Acknowledged::load(directory.path()).is_err());
    }

    proptest! {
        #[test]
        fn it_holds_what_was_inserted(ranges in prop::collection::vec((0_u64..100, 0_u64..10), 0..40)) {
            let (mut set, mut model) = (Acknowledged::default(), BTreeSet::new());
            for (start, len) in ranges {
                set.insert(start, start + len);
                model.extend(start..start + len);
            }
            (0..120).for_each(|record| assert_eq!(set.contains(record), model.contains(&record)));
            prop_assert_eq!(set.below(), (0..).find(|record| !model.contains(record)).unwrap());
            prop_assert_eq!(Acknowledged::decode(&set.encode()), Some(set));
        }
    }
}
