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
use net::{BodyError, read_body};

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
    ] {
        for piece in [1, 7, 4096, 1 << 20] {
            let read = read_body(response(encoding, &body, piece), text.len()).await.unwrap();
            assert!(read == text, "{encoding} in pieces of {piece}");
        }
    }
    let two = [gzip(b"one "), gzip(b"two")].concat();
    assert_eq!(&read_body(response("gzip", &two, 5), 100).await.unwrap()[..], b"one two");
    for encoding in ["", "deflate"] {
        assert!(read_body(response(encoding, b"", 1), 0).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn one_byte_more_than_the_limit_is_refused() {
    let text = text();
    let limit = text.len() - 1;
    for (encoding, body) in [("", text.clone()), ("gzip", gzip(&text)), ("deflate", zlib(&text)), ("deflate", raw(&text))] {
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
    let nested_empty: Vec<u8> = std::iter::repeat_n(gzip(b""), 4_000).flatten().collect();
    assert_eq!(
        read_body(response("gzip", &nested_empty, 4096), 10).await,
        Err(BodyError::TooLarge { limit: 10 }),
        "no output, endless input"
    );
}

#[tokio::test]
async fn corrupt_and_cut_off_bodies_are_errors() {
    let text = text();
    for (encoding, mut broken) in [("gzip", gzip(&text)), ("deflate", zlib(&text)), ("deflate", raw(&text))] {
        broken.truncate(broken.len() - 9);
        let error = read_body(response(encoding, &broken, 100), 1 << 20).await.unwrap_err();
        assert!(matches!(error, BodyError::Corrupt { .. }), "{encoding}: {error}");
    }
    for encoding in ["gzip", "deflate"] {
        let error = read_body(response(encoding, b"certainly not compressed", 100), 1 << 20).await.unwrap_err();
        assert!(matches!(error, BodyError::Corrupt { .. }), "{encoding}: {error}");
    }
    let mut wrong_sum = gzip(&text);
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    assert!(matches!(read_body(response("gzip", &wrong_sum, 100), 1 << 20).await, Err(BodyError::Corrupt { .. })));
}

#[tokio::test]
async fn unknown_encodings_are_named() {
    let error = read_body(response("br", b"x", 1), 10).await.unwrap_err();
    assert_eq!(error.to_string(), "unsupported content encoding \"br\"");
}
