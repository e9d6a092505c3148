//! Bodies: decoding, and bounds that hold whatever comes.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::Response;
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use net::{BodyError, DecodeError, Encoding, read_body};

/// A body that comes in pieces of `piece` bytes.
fn response(encoding: &str, body: &[u8], piece: usize) -> Response<impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin> {
    let frames: Vec<_> = body.chunks(piece.max(1)).map(|part| Ok(Frame::data(Bytes::copy_from_slice(part)))).collect();
    let mut builder = Response::builder();
    if !encoding.is_empty() {
        builder = builder.header("content-encoding", encoding);
    }
    builder.body(StreamBody::new(futures_util::stream::iter(frames))).unwrap()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn raw(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A frame as a server streams it, without the content's length; with a checksum.
fn zstd(data: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.window_log(window_log).unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn text() -> Vec<u8> {
    (0..500_u32).flat_map(|number| format!("metric_{number} {}\n", number * 7).into_bytes()).collect()
}

#[tokio::test]
async fn every_encoding_is_decoded_however_it_is_cut() {
    let text = text();
    for (encoding, body) in [
        ("", text.clone()),
        ("identity", text.clone()),
        ("gzip", gzip(&text)),
        ("GZIP", gzip(&text)),
        ("deflate", zlib(&text)),
        ("deflate", raw(&text)),
        ("zstd", zstd(&text, 23)),
    ] {
        for piece in [1, 7, 4096, 1 << 20] {
            let read = read_body(response(encoding, &body, piece), text.len()).await.unwrap();
            assert!(read == text, "{encoding} in pieces of {piece}");
        }
    }
    let two = [gzip(b"one "), gzip(b"two")].concat();
    assert_eq!(&read_body(response("gzip", &two, 5), 100).await.unwrap()[..], b"one two");
    let two = [zstd(b"one ", 20), zstd(b"", 20), zstd(b"two", 20)].concat();
    assert_eq!(&read_body(response("zstd", &two, 1), 100).await.unwrap()[..], b"one two");
    for encoding in ["", "deflate"] {
        assert!(read_body(response(encoding, b"", 1), 0).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn one_byte_more_than_the_limit_is_refused() {
    let text = text();
    let limit = text.len() - 1;
    let bodies = [("", text.clone()), ("gzip", gzip(&text)), ("deflate", zlib(&text)), ("deflate", raw(&text)), ("zstd", zstd(&text, 20))];
    for (encoding, body) in bodies {
        assert_eq!(read_body(response(encoding, &body, 1000), limit).await, Err(BodyError::TooLarge { limit }), "{encoding}");
    }
    let declared = Response::builder().header("content-length", "999").body(Full::new(Bytes::from_static(b"short"))).unwrap();
    assert_eq!(read_body(declared, 998).await, Err(BodyError::TooLarge { limit: 998 }), "before anything is read");
}

#[tokio::test]
async fn a_bomb_ends_at_the_limit() {
    let bomb = gzip(&vec![0; 2 << 20]);
    assert!(bomb.len() < 100_000);
    let limit = 64 << 10;
    assert_eq!(read_body(response("gzip", &bomb, 4096), limit).await, Err(BodyError::TooLarge { limit }));
    let bomb = zstd(&vec![0; 20 << 20], 23);
    assert!(bomb.len() < 10_000);
    assert_eq!(read_body(response("zstd", &bomb, 4096), limit).await, Err(BodyError::TooLarge { limit }));
    let nested_empty: Vec<u8> = std::iter::repeat_n(gzip(b""), 4_000).flatten().collect();
    assert_eq!(
        read_body(response("gzip", &nested_empty, 4096), 10).await,
        Err(BodyError::TooLarge { limit: 10 }),
        "no output, endless input"
    );
    // Frames that are to be skipped (RFC 8878 §3.1.2).
    let skipped: Vec<u8> = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4].repeat(8_000);
    assert_eq!(read_body(response("zstd", &skipped, 4096), 10).await, Err(BodyError::TooLarge { limit: 10 }));
}

#[tokio::test]
async fn a_window_beyond_8_mib_is_refused_before_it_is_allocated() {
    let read = async |window_log| read_body(response("zstd", &zstd(b"short", window_log), 100), 100).await;
    assert_eq!(&read(23).await.unwrap()[..], b"short");
    assert_eq!(read(24).await, Err(DecodeError::Memory(Encoding::Zstd).into()));
    assert_eq!(read(27).await.unwrap_err().to_string(), "zstd: decoding it would take more memory than it may");
}

#[tokio::test]
async fn corrupt_and_cut_off_bodies_are_errors() {
    use DecodeError::{Checksum, Data, Header, Truncated};
    use Encoding::{Deflate, Gzip, Zstd};
    let text = text();
    let read = async |encoding: Encoding, body: &[u8]| read_body(response(encoding.as_str(), body, 100), 1 << 20).await;
    for (encoding, whole) in [(Gzip, gzip(&text)), (Deflate, zlib(&text)), (Deflate, raw(&text)), (Zstd, zstd(&text, 20))] {
        for cut in [1, 9, whole.len() - 1] {
            assert_eq!(read(encoding, &whole[..whole.len() - cut]).await, Err(Truncated(encoding).into()), "{encoding} less {cut}");
        }
    }
    for (encoding, body, error) in [
        (Gzip, &b"certainly not compressed"[..], Header(Gzip)),
        (Zstd, b"certainly not compressed", Header(Zstd)),
        (Deflate, b"\x78\x9c\xff\xff\xff\xff", Data(Deflate)),
    ] {
        assert_eq!(read(encoding, body).await, Err(error.into()));
    }
    for encoding in [Gzip, Zstd] {
        assert_eq!(read(encoding, b"").await, Err(Truncated(encoding).into()));
    }
    for (encoding, mut wrong_sum, from_end) in [(Gzip, gzip(&text), 6), (Zstd, zstd(&text, 20), 2)] {
        let at = wrong_sum.len() - from_end;
        wrong_sum[at] ^= 1;
        assert_eq!(read(encoding, &wrong_sum).await, Err(Checksum(encoding).into()));
    }
}

#[tokio::test]
async fn a_decoder_is_good_for_one_body_after_the_other() {
    let text = text();
    for (encoding, body) in [(Encoding::Gzip, gzip(&text)), (Encoding::Deflate, zlib(&text)), (Encoding::Zstd, zstd(&text, 20))] {
        let mut decoder = net::Decoder::new(encoding);
        let mut decode = |body: &[u8], room: usize| {
            let mut decoded = Vec::new();
            decoder.reset();
            decoder.feed::<DecodeError>(body, &mut vec![0; room], |piece| {
                assert!(piece.len() <= room);
                decoded.extend_from_slice(piece);
                Ok(())
            })?;
            decoder.finish().map(|()| decoded)
        };
        assert_eq!(decode(&body, 100).as_ref(), Ok(&text), "{encoding}");
        assert_eq!(decode(&body[..body.len() / 2], 1000), Err(DecodeError::Truncated(encoding)));
        assert!(decode(b"rubbish that is none", 1000).is_err());
        assert_eq!(decode(&body, net::OUTPUT_BUFFER).as_ref(), Ok(&text), "{encoding}");
    }
}

#[tokio::test]
async fn who_takes_the_pieces_may_stop_it() {
    #[derive(Debug, PartialEq)]
    struct Stop;
    impl From<DecodeError> for Stop {
        fn from(error: DecodeError) -> Self {
            panic!("{error}")
        }
    }
    for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
        let body = match encoding {
            Encoding::Identity => b"plain".to_vec(),
            Encoding::Gzip => gzip(b"x"),
            Encoding::Deflate => zlib(b"x"),
            Encoding::Zstd => zstd(b"x", 20),
        };
        assert_eq!(net::Decoder::new(encoding).feed(&body, &mut [0; 10], |_| Err(Stop)), Err(Stop), "{encoding}");
    }
}

#[tokio::test]
async fn unknown_encodings_are_named() {
    let error = read_body(response("br", b"x", 1), 10).await.unwrap_err();
    assert_eq!(error.to_string(), "unsupported content encoding \"br\"");
    let twice = Response::builder().header("content-encoding", "gzip").header("content-encoding", "zstd");
    let error = read_body(twice.body(Full::new(Bytes::from_static(b"x"))).unwrap(), 10).await.unwrap_err();
    assert_eq!(error.to_string(), "unsupported content encoding \"gzip, zstd\"");
}
