//! Tests of frames: what the code beside it promises, case by case.

use futures_util::stream;

use super::*;
use crate::auth::{Key, transcript};

fn reader_of(bytes: Vec<u8>, chunk: usize) -> FrameReader {
    let chunks: Vec<_> = bytes.chunks(chunk).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
    FrameReader::new(Box::pin(stream::iter(chunks)), 1024)
}

async fn written(seal: Option<Seal>, messages: &[(Kind, Vec<u8>)]) -> Vec<u8> {
    let (sender, mut receiver) = mpsc::channel(1024);
    let mut writer = FrameWriter::new(sender);
    writer.established(seal);
    for (kind, payload) in messages {
        writer.send(*kind, payload.clone()).await.unwrap();
    }
    drop(writer);
    let mut bytes = Vec::new();
    while let Some(chunk) = receiver.recv().await {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

fn seals() -> (Seal, Seal) {
    let key = Key::new(b"0123456789abcdef").unwrap();
    (key.seals(&transcript(b"", b"")).0, key.seals(&transcript(b"", b"")).0)
}

#[tokio::test]
async fn frames_arrive_whole_however_the_bytes_are_cut() {
    let messages = [(Kind::Ping, vec![]), (Kind::Gossip, vec![7; 300]), (Kind::Ownership, b"x".to_vec())];
    let bytes = written(None, &messages).await;
    for chunk in [1, 2, 3, 5, 64, 4096] {
        let mut reader = reader_of(bytes.clone(), chunk);
        for (kind, payload) in &messages {
            let frame = reader.next().await.unwrap().unwrap();
            assert_eq!((frame.kind, frame.payload.to_vec()), (*kind, payload.clone()));
        }
        assert_eq!(reader.next().await, Ok(None));
    }
}

#[tokio::test]
async fn a_message_longer_than_a_frame_is_put_together_again() {
    let message: Vec<u8> = (0..MAX_PAYLOAD * 2 + 17).map(|index| index as u8).collect();
    let (sealing, checking) = seals();
    let bytes = written(Some(sealing), &[(Kind::Response, message.clone())]).await;
    let mut reader = reader_of(bytes, 100_000);
    reader.established(Some(checking));
    let frame = reader.next().await.unwrap().unwrap();
    assert_eq!(frame.kind, Kind::Response);
    assert_eq!(frame.payload, message);
}

#[tokio::test]
async fn other_frames_pass_between_the_pieces_of_a_long_message() {
    let (sender, mut receiver) = mpsc::channel(1024);
    let mut writer = FrameWriter::new(sender);
    let mut long = Bytes::from(vec![1; MAX_PAYLOAD + 1]);
    assert!(writer.send_piece(Kind::Ownership, &mut long).await.unwrap());
    writer.send(Kind::Gossip, Bytes::from_static(b"now")).await.unwrap();
    assert!(!writer.send_piece(Kind::Ownership, &mut long).await.unwrap());
    drop(writer);
    let mut bytes = Vec::new();
    while let Some(chunk) = receiver.recv().await {
        bytes.extend_from_slice(&chunk);
    }
    let mut reader = reader_of(bytes, 4096);
    reader.established(None);
    assert_eq!(reader.next().await.unwrap().unwrap().kind, Kind::Gossip);
    assert_eq!(reader.next().await.unwrap().unwrap().payload.len(), MAX_PAYLOAD + 1);
}

#[tokio::test]
async fn a_declared_length_beyond_the_limit_ends_the_stream_before_the_bytes_come() {
    let mut reader = reader_of(u32::MAX.to_be_bytes().to_vec(), 4);
    let error = reader.next().await.unwrap_err();
    assert!(matches!(error, FrameError::Oversize { length, .. } if length == u32::MAX as usize), "{error}");
    assert!(error.is_violation());
    assert!(reader.buffer.capacity() < 64 * 1024);
}

#[tokio::test]
async fn fragments_beyond_the_longest_message_end_the_stream() {
    let mut reader = reader_of(Vec::new(), 1);
    reader.established(None);
    let piece = Bytes::from(vec![0; MAX_PAYLOAD]);
    for _ in 0..MAX_MESSAGE / MAX_PAYLOAD {
        assert_eq!(reader.assemble(Kind::Request, true, piece.clone()), Ok(None));
    }
    let error = reader.assemble(Kind::Request, true, piece).unwrap_err();
    assert!(matches!(error, FrameError::Oversize { limit: MAX_MESSAGE, .. }));
}

#[tokio::test]
async fn garbage_is_a_violation_and_a_cut_connection_is_not() {
    let mut unknown = reader_of(vec![0, 0, 0, 2, 99, 0], 6);
    assert_eq!(unknown.next().await, Err(FrameError::UnknownKind(99)));
    let mut short = reader_of(vec![0, 0, 0, 1, 5], 5);
    assert_eq!(short.next().await, Err(FrameError::Undersize(1)));
    let mut pieces = reader_of(vec![0, 0, 0, 2, 5, 1], 6);
    assert_eq!(pieces.next().await, Err(FrameError::UnexpectedFragment));
    let mut cut = reader_of(vec![0, 0, 0, 9, 5], 5);
    let error = cut.next().await.unwrap_err();
    assert_eq!(error, FrameError::Truncated);
    assert!(!error.is_violation());
}

#[tokio::test]
async fn with_a_key_a_frame_that_was_changed_or_repeated_ends_the_stream() {
    let messages = [(Kind::Ownership, b"move a".to_vec()), (Kind::Ownership, b"move b".to_vec())];
    let (sealing, _) = seals();
    let bytes = written(Some(sealing), &messages).await;

    let mut changed = bytes.clone();
    changed[7] ^= 1;
    let mut reader = reader_of(changed, 4096);
    reader.established(Some(seals().1));
    assert_eq!(reader.next().await, Err(FrameError::BadMac));

    let first = bytes.len() / 2;
    let repeated = [&bytes[..first], &bytes[..first]].concat();
    let mut reader = reader_of(repeated, 4096);
    reader.established(Some(seals().1));
    assert!(reader.next().await.is_ok());
    assert_eq!(reader.next().await, Err(FrameError::BadMac));
}

#[tokio::test]
async fn without_a_mac_nothing_passes_once_a_key_is_agreed_on() {
    let bytes = written(None, &[(Kind::Ping, vec![])]).await;
    let mut reader = reader_of(bytes, 4096);
    reader.established(Some(seals().1));
    assert_eq!(reader.next().await, Err(FrameError::Undersize(2)));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_given_up_after_the_write_timeout() {
    let (sender, _receiver) = mpsc::channel(1);
    let mut writer = FrameWriter::new(sender);
    writer.send(Kind::Ping, Bytes::new()).await.unwrap();
    let start = tokio::time::Instant::now();
    assert_eq!(writer.send(Kind::Ping, Bytes::new()).await, Err(FrameError::Stuck));
    assert!(start.elapsed() >= WRITE_TIMEOUT);
}

/// Frames of a writer that has agreed on compression and a key.
async fn squeezed(messages: &[(Kind, Vec<u8>)]) -> Vec<u8> {
    let (sender, mut receiver) = mpsc::channel(1024);
    let mut writer = FrameWriter::new(sender);
    writer.established(Some(seals().0));
    writer.squeezed();
    for (kind, payload) in messages {
        writer.send(*kind, payload.clone()).await.unwrap();
    }
    drop(writer);
    let mut bytes = Vec::new();
    while let Some(chunk) = receiver.recv().await {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

#[tokio::test]
async fn of_compressed_streams_only_gossip_is_compressed_and_all_arrives() {
    let messages =
        [(Kind::Gossip, vec![7; 5000]), (Kind::Ownership, vec![7; 5000]), (Kind::Gossip, vec![7; 10]), (Kind::Gossip, vec![7; 5000])];
    let bytes = squeezed(&messages).await;
    assert!((5000..5300).contains(&bytes.len()), "{}", bytes.len());
    let mut reader = reader_of(bytes, 100);
    reader.established(Some(seals().1));
    reader.squeezed();
    for (kind, payload) in messages {
        assert_eq!(reader.next().await.unwrap().unwrap(), Frame { kind, payload: payload.into() });
    }
}

#[tokio::test]
async fn the_mac_covers_the_compressed_bytes() {
    let mut bytes = squeezed(&[(Kind::Gossip, vec![7; 5000])]).await;
    bytes[12] ^= 1;
    let mut reader = reader_of(bytes, 4096);
    reader.established(Some(seals().1));
    reader.squeezed();
    assert_eq!(reader.next().await, Err(FrameError::BadMac));
}

#[tokio::test]
async fn compression_where_none_was_agreed_on_and_what_does_not_come_out_are_violations() {
    let squeezed = |kind: u8, payload: &[u8]| [&(payload.len() as u32 + 2).to_be_bytes()[..], &[kind, SQUEEZED], payload].concat();
    let good = zstd::bulk::compress(&[7; 500], 1).unwrap();
    let mut unasked = reader_of(squeezed(Kind::Gossip as u8, &good), 4096);
    assert_eq!(unasked.next().await, Err(FrameError::BadCompression));
    let mut other_kind = reader_of(squeezed(Kind::Ownership as u8, &good), 4096);
    other_kind.squeezed();
    assert_eq!(other_kind.next().await, Err(FrameError::BadCompression));
    let mut bomb = reader_of(squeezed(Kind::Gossip as u8, &zstd::bulk::compress(&[0; 1 << 20], 1).unwrap()), 4096);
    bomb.squeezed();
    let error = bomb.next().await.unwrap_err();
    assert!(matches!(error, FrameError::Oversize { length, .. } if length == 1 << 20), "{error}");
    assert!(error.is_violation() && FrameError::BadCompression.is_violation());
}
