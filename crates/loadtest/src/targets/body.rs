//! A scrape's body out of ready parts: a short head that differs from scrape to scrape and a shared rest that was rendered and compressed
//! once. Serving costs a checksum over the head, not a compression, so that benchmarks measure agents and not this server.

use std::sync::OnceLock;

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress};

/// Fixed gzip header: deflate, no flags, no time, unknown system (RFC 1952 §2.3).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// The shared rest of many bodies.
#[derive(Debug)]
pub(crate) struct Rest {
    plain: Bytes,
    compressed: OnceLock<Compressed>,
}

#[derive(Debug)]
struct Compressed {
    /// A raw deflate stream that ends with a final block.
    deflate: Bytes,
    crc: Crc,
}

impl Rest {
    pub(crate) fn new(text: String) -> Self {
        Self { plain: Bytes::from(text), compressed: OnceLock::new() }
    }

    /// The body as it is.
    pub(crate) fn plain(&self, head: Bytes) -> Vec<Bytes> {
        vec![head, self.plain.clone()]
    }

    /// The body as one gzip member: the head in a stored block (RFC 1951 §3.2.4), the rest's ready deflate stream, and the checksum of
    /// both, combined without reading the rest again. A head beyond a stored block's 65,535 bytes is cut off; heads are about 150.
    pub(crate) fn gzip(&self, mut head: Bytes) -> Vec<Bytes> {
        let rest = self.compressed.get_or_init(|| compress(&self.plain));
        head.truncate(usize::from(u16::MAX));
        let len = head.len() as u16;
        let mut start = Vec::with_capacity(GZIP_HEADER.len() + 5 + head.len());
        start.extend_from_slice(&GZIP_HEADER);
        start.push(0);
        start.extend_from_slice(&len.to_le_bytes());
        start.extend_from_slice(&(!len).to_le_bytes());
        start.extend_from_slice(&head);
        let mut crc = Crc::new();
        crc.update(&head);
        crc.combine(&rest.crc);
        let mut end = Vec::with_capacity(8);
        end.extend_from_slice(&crc.sum().to_le_bytes());
        end.extend_from_slice(&crc.amount().to_le_bytes());
        vec![Bytes::from(start), rest.deflate.clone(), Bytes::from(end)]
    }
}

/// Compresses at level 1, as Go's exporters do by default in effect: fast, and about 11 bytes a sample.
fn compress(plain: &[u8]) -> Compressed {
    let mut crc = Crc::new();
    crc.update(plain);
    let mut compressor = Compress::new(Compression::fast(), false);
    let mut deflate = Vec::with_capacity(plain.len() / 4 + 1024);
    loop {
        let read = compressor.total_in() as usize;
        let status = compressor.compress_vec(&plain[read..], &mut deflate, FlushCompress::Finish);
        if !matches!(status, Ok(flate2::Status::Ok | flate2::Status::BufError)) {
            break;
        }
        deflate.reserve(deflate.capacity().max(1024));
    }
    Compressed { deflate: Bytes::from(deflate), crc }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn gunzip(pieces: &[Bytes]) -> String {
        let mut text = String::new();
        // `GzDecoder` reads one member only: what it returns shows that there is no second.
        flate2::read::GzDecoder::new(pieces.concat().as_slice()).read_to_string(&mut text).expect("valid gzip");
        text
    }

    #[test]
    fn the_spliced_member_inflates_to_head_and_rest() {
        for rest in ["", "rest 1\n", &"a_long_series{with=\"labels\"} 17\n".repeat(20_000)] {
            let body = Rest::new(rest.to_owned());
            for head in ["probe_seq 1\n", "probe_seq 18446744073709551615\n", ""] {
                assert_eq!(gunzip(&body.gzip(Bytes::from(head))), format!("{head}{rest}"));
            }
        }
    }

    #[test]
    fn a_wrong_checksum_would_be_noticed() {
        let body = Rest::new("rest 1\n".to_owned());
        let mut pieces = body.gzip(Bytes::from_static(b"head 1\n"));
        let last = pieces.len() - 1;
        pieces[last] = Bytes::from_static(&[0; 8]);
        let mut text = String::new();
        flate2::read::GzDecoder::new(pieces.concat().as_slice()).read_to_string(&mut text).expect_err("checksum is checked");
    }

    #[test]
    fn incompressible_text_grows_the_buffer_instead_of_losing_its_end() {
        let noise: String = (0..200_000_u64).map(|i| char::from(b'!' + (super::super::render::mix(7, i) % 94) as u8)).collect();
        let body = Rest::new(noise.clone());
        assert_eq!(gunzip(&body.gzip(Bytes::new())), noise);
    }
}
