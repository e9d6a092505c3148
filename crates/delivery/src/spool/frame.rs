//! A frame: batches on their way from a node that leaves to one that stays, read without anything else. The records are those of the disk.
//!
//! ```text
//! version u8 │ shipment u64 │ number u32 │ ( length u32 │ content of a record )…
//! ```
//! A shipment is what one endpoint of one node gives to one other; its frames are numbered from zero, so that one that is sent again is
//! known.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use model::{Batch, Chunk};

pub(crate) use super::codec::Malformed;
use super::codec::input::Input;
use super::codec::{self, Budget, Content};

/// The first byte; another form gets another one.
const VERSION: u8 = 1;
/// What a frame's batches and series may take unpacked. Those who write frames stay far below, but for a batch that is larger alone.
pub(crate) const MAX_PLAIN: usize = 64 << 20;

/// Which frame of which shipment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub shipment: u64,
    pub number: u32,
}

/// Writes a frame.
pub(crate) struct FrameWriter {
    out: Vec<u8>,
    /// Numbers of the chunks that the frame has, by [`Chunk::id`].
    chunks: HashMap<u64, u32>,
    plain: usize,
}

impl FrameWriter {
    pub fn new(head: Head) -> Self {
        let mut out = vec![VERSION];
        out.extend_from_slice(&head.shipment.to_le_bytes());
        out.extend_from_slice(&head.number.to_le_bytes());
        Self { out, chunks: HashMap::new(), plain: 0 }
    }

    /// Appends a batch and those of its chunks that the frame does not have.
    pub fn add(&mut self, batch: &Batch) {
        let numbers: Vec<u32> = batch.layout.chunks().iter().map(|chunk| self.number(chunk)).collect();
        let record = 0; // means nothing elsewhere
        let columns = size_of::<f64>() * batch.len() * if batch.timestamps.is_some() { 2 } else { 1 };
        self.plain += columns + batch.details.as_ref().map_or(0, |details| details.heap_bytes());
        put(&mut self.out, |out| codec::put_batch(out, record, batch, &numbers));
    }

    fn number(&mut self, chunk: &Arc<Chunk>) -> u32 {
        let next = self.chunks.len() as u32; // a frame has fewer bytes
        *self.chunks.entry(chunk.id()).or_insert_with(|| {
            self.plain += chunk.heap_bytes();
            put(&mut self.out, |out| codec::put_chunk(out, next, chunk));
            next
        })
    }

    /// How long it is, bytes.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// About what it takes unpacked, bytes.
    pub fn plain(&self) -> usize {
        self.plain
    }

    pub fn finish(self) -> Bytes {
        self.out.into()
    }
}

/// Reads the beginning of a frame.
pub(crate) fn head(frame: &[u8]) -> Result<Head, Malformed> {
    read_head(&mut Input(frame))
}

/// Reads a frame's batches.
pub(crate) fn read(frame: &[u8]) -> Result<Vec<Batch>, Malformed> {
    let mut input = Input(frame);
    read_head(&mut input)?;
    let (mut chunks, mut batches, mut budget) = (HashMap::new(), Vec::new(), Budget(MAX_PLAIN));
    while !input.0.is_empty() {
        let len = input.u32()? as usize;
        match codec::read(input.take(len)?, &mut budget)? {
            Content::Chunk(number, chunk) if is_proper(&chunk) => drop(chunks.insert(number, Arc::new(chunk))),
            Content::Chunk(..) => return Err(Malformed),
            Content::Batch(packed) => {
                let used = packed.chunks().iter().map(|number| chunks.get(number).cloned());
                batches.push(packed.unpack(used.collect::<Option<_>>().ok_or(Malformed)?, &mut budget)?);
            }
        }
    }
    Ok(batches)
}

fn read_head(input: &mut Input<'_>) -> Result<Head, Malformed> {
    if input.u8()? != VERSION {
        return Err(Malformed);
    }
    Ok(Head { shipment: input.u64()?, number: input.u32()? })
}

/// Whether every series has its labels in name order, each once and with a value: what is built on relies on it.
fn is_proper(chunk: &Chunk) -> bool {
    let proper = |labels: &[(&str, &str)]| labels.is_sorted_by(|a, b| a.0 < b.0) && labels.iter().all(|(_, value)| !value.is_empty());
    chunk.iter().all(|series| proper(&series.iter().collect::<Vec<_>>()))
}

fn put(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    content(out);
    let len = (out.len() - start - 4) as u32; // batches are far below 4 GiB
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use model::LayoutBuilder;
    use proptest::prelude::*;

    use super::*;

    const HEAD: Head = Head { shipment: 7, number: 3 };

    fn batches() -> Vec<Batch> {
        let mut builder = LayoutBuilder::default();
        for i in 0..700 {
            builder.push([("__name__", format!("m{i}").as_str()), ("job", "test")].into_iter()).unwrap();
        }
        let layout = Arc::new(builder.finish());
        (0..5).map(|at| Batch::new(at as u64 % 2, layout.clone(), at, vec![at as f64; 700])).collect()
    }

    fn frame() -> Bytes {
        let mut writer = FrameWriter::new(HEAD);
        batches().iter().for_each(|batch| writer.add(batch));
        writer.finish()
    }

    #[test]
    fn batches_come_back_as_they_were_and_chunks_go_once() {
        let frame = frame();
        assert_eq!(head(&frame).unwrap(), HEAD);
        let back = read(&frame).unwrap();
        let rows = |batch: &Batch| -> Vec<_> { batch.iter().map(|(labels, at, value)| (labels.to_labels(), at, value)).collect() };
        assert_eq!(back.len(), 5);
        assert!(back.iter().zip(batches()).all(|(a, b)| (a.source, rows(a)) == (b.source, rows(&b))));
        assert!(Arc::ptr_eq(&back[0].layout.chunks()[1], &back[4].layout.chunks()[1]));
    }

    #[test]
    fn a_frame_that_is_cut_or_of_another_form_is_refused() {
        let good = frame();
        for len in [0, 1, 12, 14, 20, good.len() / 2, good.len() - 1] {
            assert!(read(&good[..len]).is_err(), "{len} bytes");
        }
        assert!(read(&good[..13]).is_ok_and(|batches| batches.is_empty()));
        let mut other = good.to_vec();
        other[0] = VERSION + 1;
        assert!(read(&other).is_err() && head(&other).is_err());
    }

    #[test]
    fn labels_in_another_order_are_refused() {
        let mut builder = LayoutBuilder::default();
        builder.push([("job", "test"), ("__name__", "m")].into_iter()).unwrap();
        let mut writer = FrameWriter::new(HEAD);
        writer.add(&Batch::new(1, Arc::new(builder.finish()), 1, vec![1.0]));
        assert!(read(&writer.finish()).is_err());
    }

    #[test]
    fn what_unpacks_to_more_than_the_limit_is_refused() {
        // Zeros pack to a twentieth: each batch says that it has 8 MiB.
        let mut builder = LayoutBuilder::default();
        (0..512).for_each(|i| builder.push([("__name__", format!("m{i}").as_str())].into_iter()).unwrap());
        let chunk = builder.finish().chunks()[0].clone();
        let layout = Arc::new(model::Layout::new(vec![chunk; 2048]));
        let batch = Batch::new(1, layout.clone(), 1, vec![0.0; layout.len()]);
        let of = |count| {
            let mut writer = FrameWriter::new(HEAD);
            (0..count).for_each(|_| writer.add(&batch));
            read(&writer.finish())
        };
        assert!(of(7).is_ok() && of(8).is_err());
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0_usize..400) {
            let mut frame = frame()[..500].to_vec();
            drop(read(&[&frame[..13], &bytes].concat()));
            frame.splice(at..at + 20, bytes.into_iter().take(20));
            drop(read(&frame));
        }
    }
}
