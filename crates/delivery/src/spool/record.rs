//! Records in a file: each with its length and a checksum, and with a mark by which the next one is found if one is damaged.
//!
//! ```text
//! mark u32 │ length u32 │ CRC-32 of length and content u32 │ content
//! ```

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Begins every record. Any value would do; this one is no text and has no repeated byte.
const MARK: [u8; 4] = [0xd1, 0x7e, 0xc0, 0x9b];
const HEADER: usize = 12;
/// Read at once when searching for a mark, and ahead otherwise.
const WINDOW: usize = 64 << 10;

/// Appends a record whose content is what `put` appends.
pub(super) fn put(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&[0; HEADER - 4]);
    put(out);
    let length = ((out.len() - start - HEADER) as u32).to_le_bytes(); // batches are far below 4 GiB
    let checksum = checksum(length, &out[start + HEADER..]).to_le_bytes();
    out[start + 4..start + 8].copy_from_slice(&length);
    out[start + 8..start + HEADER].copy_from_slice(&checksum);
}

fn checksum(length: [u8; 4], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(content);
    hasher.finalize()
}

/// Reads the records of a file one after the other.
pub(super) struct Records {
    file: BufReader<File>,
    /// Where the next record should begin.
    at: u64,
}

/// What [`Records::next`] found.
pub(super) enum Next {
    /// The content of a record.
    Record(Vec<u8>),
    /// Something that is no record; reading goes on behind it.
    Damaged,
    /// Nothing more before the end.
    End,
}

impl Records {
    /// Opens a file from its beginning.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufReader::with_capacity(WINDOW, File::open(path)?), at: 0 })
    }

    /// The next record that lies before `end`, the length of the file as far as it is written.
    pub fn next(&mut self, end: u64) -> io::Result<Next> {
        if self.at >= end {
            return Ok(Next::End);
        }
        if let Some(content) = self.read_at(self.at, end)? {
            self.at += (HEADER + content.len()) as u64;
            return Ok(Next::Record(content));
        }
        self.at = self.find(self.at + 1, end)?;
        Ok(Next::Damaged)
    }

    /// The content of the record at `at`, if there is an undamaged one.
    fn read_at(&mut self, at: u64, end: u64) -> io::Result<Option<Vec<u8>>> {
        let room = end.saturating_sub(at);
        if room < HEADER as u64 {
            return Ok(None);
        }
        self.seek(at)?;
        let mut header = [0; HEADER];
        self.file.read_exact(&mut header)?;
        let [m0, m1, m2, m3, l0, l1, l2, l3, c0, c1, c2, c3] = header;
        let length = [l0, l1, l2, l3];
        let len = u32::from_le_bytes(length) as usize;
        if [m0, m1, m2, m3] != MARK || len as u64 > room - HEADER as u64 {
            return Ok(None);
        }
        let mut content = vec![0; len]; // not longer than the file
        self.file.read_exact(&mut content)?;
        Ok((checksum(length, &content) == u32::from_le_bytes([c0, c1, c2, c3])).then_some(content))
    }

    /// Where the next undamaged record from `from` on begins; `end` if there is none.
    fn find(&mut self, from: u64, end: u64) -> io::Result<u64> {
        let mut start = from;
        let mut window = vec![0; WINDOW];
        while start < end {
            let len = (end - start).min(WINDOW as u64) as usize;
            self.seek(start)?;
            self.file.read_exact(&mut window[..len])?;
            for (offset, _) in window[..len].windows(MARK.len()).enumerate().filter(|(_, bytes)| **bytes == MARK) {
                let at = start + offset as u64;
                if self.read_at(at, end)?.is_some() {
                    return Ok(at);
                }
            }
            if len < WINDOW {
                break;
            }
            start += (len - MARK.len() + 1) as u64; // a mark may lie across two windows
        }
        Ok(end)
    }

    fn seek(&mut self, at: u64) -> io::Result<()> {
        let now = self.file.stream_position()?;
        if now != at {
            // Keeps what is buffered if it can.
            match i64::try_from(i128::from(at) - i128::from(now)) {
                Ok(step) => self.file.seek_relative(step)?,
                Err(_) => drop(self.file.seek(SeekFrom::Start(at))?),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(contents: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        contents.iter().for_each(|content| put(&mut out, |out| out.extend_from_slice(content)));
        out
    }

    /// What is read of a file with these bytes: contents, and how often something was damaged.
    fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut records = Records::open(file.path()).unwrap();
        let (mut contents, mut damaged) = (Vec::new(), 0);
        loop {
            match records.next(bytes.len() as u64).unwrap() {
                Next::Record(content) => contents.push(content),
                Next::Damaged => damaged += 1,
                Next::End => return (contents, damaged),
            }
        }
    }

    #[test]
    fn records_come_back_in_order() {
        let large = vec![7; 3 * WINDOW];
        assert_eq!(read(&records(&[b"one", b"", &large, b"two"])), (vec![b"one".to_vec(), vec![], large, b"two".to_vec()], 0));
        assert_eq!(read(&[]), (vec![], 0));
    }

    #[test]
    fn a_damaged_byte_anywhere_costs_its_record_alone() {
        let good = records(&[b"first", b"second", b"third"]);
        let second = 12 + 5..2 * 12 + 5 + 6;
        for at in second {
            let mut bytes = good.clone();
            bytes[at] ^= 0x40;
            assert_eq!(read(&bytes), (vec![b"first".to_vec(), b"third".to_vec()], 1), "byte {at}");
        }
    }

    #[test]
    fn a_file_that_ends_in_the_middle_of_a_record_gives_what_is_whole() {
        let good = records(&[b"first", b"second"]);
        for len in 17..good.len() {
            let expected = if len == 17 { 0 } else { 1 };
            assert_eq!(read(&good[..len]), (vec![b"first".to_vec()], expected), "{len} bytes");
        }
    }

    #[test]
    fn marks_in_damage_and_across_windows_do_not_confuse() {
        let mut bytes = MARK.repeat(50);
        bytes.resize(WINDOW - 1, 0x55); // the next mark lies across the first window's end, as the search begins one byte in
        bytes.extend(records(&[b"found"]));
        assert_eq!(read(&bytes), (vec![b"found".to_vec()], 1));
    }

    #[test]
    fn a_length_beyond_the_end_is_damage_and_allocates_nothing() {
        let mut bytes = records(&[b"x", b"y"]);
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read(&bytes), (vec![b"y".to_vec()], 1));
    }
}
