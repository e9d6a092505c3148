//! Inflates a short body in one step, which costs half of what it costs piece by piece. Whatever is unusual about a body (several
//! members, damage, a wrong length) is left to [`super::Gunzip`], which says what is wrong.

use libdeflater::Decompressor;

use super::gzip::{FLAG_COMMENT, FLAG_EXTRA, FLAG_HEADER_CRC, FLAG_NAME, MAGIC};

/// Bodies of more compressed bytes are not waited for.
pub(super) const MAX_COMPRESSED: usize = 64 * 1024;

const FIXED: usize = 10;
const TRAILER: usize = 8;

/// The state of the inflater: about 12 KiB, for any number of bodies.
pub(crate) struct Whole(Decompressor);

impl Whole {
    pub(crate) fn new() -> Self {
        Self(Decompressor::new())
    }

    /// The content of a body that is one gzip member and fits into `output`. Where the member ends is not told, so there must be nothing
    /// in it that looks like the beginning of another, which by chance is so in one body of a thousand.
    pub(super) fn inflate<'a>(&mut self, body: &[u8], output: &'a mut [u8]) -> Option<&'a [u8]> {
        let (rest, trailer) = body.split_last_chunk::<TRAILER>()?;
        let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
        let len = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).ok()?;
        let output = output.get_mut(..len).filter(|output| !output.is_empty())?;
        let data = &rest[header_len(rest)?..];
        if memchr::memmem::find(data, &MAGIC).is_some() {
            return None;
        }
        let written = self.0.deflate_decompress(data, output).ok()?;
        let is_right = written == len && libdeflater::crc32(output) == u32::from_le_bytes([c0, c1, c2, c3]);
        is_right.then_some(&*output)
    }
}

/// Where the data of a member begins (RFC 1952, 2.3).
fn header_len(body: &[u8]) -> Option<usize> {
    let flags = *body.strip_prefix(&MAGIC)?.first()?;
    let mut at = FIXED;
    if flags & FLAG_EXTRA != 0 {
        let len = body.get(at..)?.first_chunk::<2>()?;
        at += 2 + usize::from(u16::from_le_bytes(*len));
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            at += 1 + memchr::memchr(0, body.get(at..)?)?;
        }
    }
    at += if flags & FLAG_HEADER_CRC != 0 { 2 } else { 0 };
    (at <= body.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;

    use super::super::{Gunzip, GzipError, OUTPUT};
    use super::*;

    fn gzip(builder: GzBuilder, text: &[u8]) -> Vec<u8> {
        let mut encoder = builder.write(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn plain(text: &[u8]) -> Vec<u8> {
        gzip(GzBuilder::new(), text)
    }

    fn inflate(body: &[u8]) -> Option<Vec<u8>> {
        Whole::new().inflate(body, &mut vec![0; OUTPUT]).map(<[u8]>::to_vec)
    }

    #[test]
    fn a_member_with_any_header_is_inflated() {
        let text = b"node_cpu_seconds_total 1\n".repeat(100);
        let full = GzBuilder::new().extra("some").filename("metrics").comment("of a node").mtime(7);
        for body in [plain(&text), gzip(full, &text), gzip(GzBuilder::new().comment("c"), &text)] {
            assert_eq!(inflate(&body).as_deref(), Some(&*text));
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_the_other_way() {
        let (a, b) = (plain(b"a 1\n"), plain(b"b 2\n"));
        let damaged = |at: usize| {
            let mut body = a.clone();
            body[at] ^= 1;
            body
        };
        let checksum = a.len() - TRAILER;
        let cases = [
            [a.clone(), b.clone()].concat(),
            [a.clone(), a.clone()].concat(),
            [a.clone(), b.clone(), a.clone()].concat(),
            [plain(b""), a.clone(), plain(b"")].concat(),
            [a.clone(), plain(b"longer 1\n")].concat(),
            [a.clone(), b"x".to_vec()].concat(),
            damaged(0),
            damaged(checksum),
            damaged(checksum + 4),
            a[..a.len() - 1].to_vec(),
            a[..5].to_vec(),
            plain(b""),
            Vec::new(),
        ];
        for (nth, body) in cases.iter().enumerate() {
            assert_eq!(inflate(body), None, "case {nth}");
        }
    }

    #[test]
    fn what_does_not_fit_is_left_alone() {
        let mut output = [0; 3];
        assert_eq!(Whole::new().inflate(&plain(b"a 1\n"), &mut output), None);
    }

    /// What the other way makes of a body.
    fn streamed(body: &[u8]) -> Result<Vec<u8>, GzipError> {
        let (mut gunzip, mut output, mut all) = (Gunzip::new(), vec![0; 4096], Vec::new());
        gunzip.feed(body, &mut output, |bytes| {
            all.extend_from_slice(bytes);
            Ok::<_, GzipError>(())
        })?;
        gunzip.finish()?;
        Ok(all)
    }

    proptest! {
        #[test]
        fn both_ways_agree(text in proptest::collection::vec(0_u8..4, 1..3000), change in any::<(prop::sample::Index, u8)>()) {
            let mut body = plain(&text);
            prop_assert_eq!(inflate(&body), Some(text));
            let at = change.0.index(body.len());
            body[at] ^= change.1;
            if let Some(taken) = inflate(&body) {
                prop_assert_eq!(streamed(&body), Ok(taken));
            }
        }
    }
}
