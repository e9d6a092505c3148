//! From the bytes of a remote-write request to batches. Pure: no I/O, no clock, no HTTP. Everything is bounded before memory is taken for it.
//!
//! Two steps: the request is read in place into rows (`v1`, `v2` → `parsed`), then rows become batches (`assemble`). Labels are looked at
//! only where a run of series is not known from an earlier request (`chunks`).

mod assemble;
mod chunks;
mod histogram;
mod identity;
mod labels;
mod parsed;
#[cfg(test)]
mod tests;
mod v1;
mod v2;
mod wire;

pub use assemble::Taken;
use assemble::{Assembly, Scratch};
pub use chunks::ChunkStats;
use chunks::KnownChunks;
use identity::Identity;
use labels::Texts;
use model::InvalidHistogram;
use net::{DecodeError, Decoder, Encoding, OUTPUT_BUFFER};
use parking_lot::Mutex;
use parsed::Parsed;
use wire::Malformed;

/// Most bytes of a request, packed or unpacked (Prometheus: client_golang `exp/api/remote`, `maxDecodedSize`).
pub const MAX_REQUEST: usize = 32 << 20;
/// Samples further ahead of our clock than this are refused (Prometheus: `storage/remote`, `maxAheadTime`).
pub const MAX_AHEAD_MS: i64 = 10 * 60 * 1000;
/// What is said of them.
const TOO_FAR: &str = "out of bounds: timestamp is too far in the future";

/// Memory of requests is kept for so many at a time, one per worker of the runtime that may be at it.
const MAX_IDLE: usize = 8;
/// An unpacking buffer of more than this is given back.
const MAX_KEPT_BYTES: usize = 4 << 20;
/// Refused series that are named in the answer.
const MAX_NAMED: usize = 10;

/// Which message a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

/// How a request is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Snappy's block format: what the specifications demand.
    Snappy,
    /// As VictoriaMetrics' receivers take it, and our own: less than half of the bytes.
    Zstd,
}

/// What is made of a request's metadata; only remote write 2.0 has any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether it goes on with the series.
    pub append_metadata: bool,
    /// Whether type and unit become labels.
    pub type_and_unit_labels: bool,
}

/// Why a whole request is refused, with status 400: sending it again is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Rejected(pub String);

impl From<Malformed> for Rejected {
    fn from(malformed: Malformed) -> Self {
        Self(format!("not a remote write request: {malformed}"))
    }
}

impl From<DecodeError> for Rejected {
    fn from(error: DecodeError) -> Self {
        Self(format!("the body can't be unpacked: {error}"))
    }
}

impl From<InvalidHistogram> for Rejected {
    fn from(flaw: InvalidHistogram) -> Self {
        Self(flaw.to_string())
    }
}

/// What was left out of a request that was taken otherwise.
#[derive(Debug, Default)]
pub struct Refusals {
    /// How often something was left out.
    pub count: u64,
    /// Samples and histograms that were left out because their series' labels can't be.
    pub invalid_samples: u64,
    named: Vec<String>,
}

impl Refusals {
    /// Notes that something was left out.
    fn add(&mut self, reason: impl FnOnce() -> String) {
        self.count += 1;
        if self.named.len() < MAX_NAMED {
            self.named.push(reason());
        }
    }

    /// Notes that a series' `samples` were left out because of its labels.
    fn invalid(&mut self, samples: usize, reason: impl FnOnce() -> String) {
        self.invalid_samples += samples as u64;
        self.add(reason);
    }

    /// What was left out, a line each, and how much more.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.named.join("\n");
        let more = self.count - self.named.len() as u64;
        if more > 0 {
            text.push_str(&format!("\nand {more} more"));
        }
        text
    }
}

/// Turns requests into batches.
pub struct Intake {
    identity: Identity,
    known: KnownChunks,
    options: Options,
    idle: Mutex<Vec<Memory>>,
}

/// What one request at a time needs.
#[derive(Default)]
struct Memory {
    unpacked: Vec<u8>,
    parsed: Parsed,
    scratch: Scratch,
}

impl Intake {
    /// An intake that knows no series yet. Other options need another intake, as they make other series.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { identity: Identity::random(), known: KnownChunks::new(), options, idle: Mutex::default() }
    }

    /// With what it was made.
    #[must_use]
    pub fn options(&self) -> Options {
        self.options
    }

    /// Takes a request. `now_ms` is the time, in milliseconds since the epoch.
    ///
    /// # Errors
    /// [`Rejected`] if nothing of it can be taken. Without an error, `refusals` names what was left out.
    pub fn take(&self, body: &[u8], packing: Packing, version: Version, now_ms: i64, refusals: &mut Refusals) -> Result<Taken, Rejected> {
        let mut memory = self.idle.lock().pop().unwrap_or_default();
        let unpacked = match packing {
            Packing::Snappy => unpack_snappy(body, &mut memory.unpacked),
            Packing::Zstd => unpack_zstd(body, &mut memory.unpacked),
        };
        let taken = unpacked.and_then(|len| {
            let Memory { unpacked, parsed, scratch } = &mut memory;
            self.read(&unpacked[..len], version, now_ms, parsed, scratch, refusals)
        });
        self.put_back(memory);
        taken
    }

    /// Takes a request as it is. As [`Intake::take`] otherwise.
    ///
    /// # Errors
    /// As [`Intake::take`].
    pub fn take_plain(&self, request: &[u8], version: Version, now_ms: i64, refusals: &mut Refusals) -> Result<Taken, Rejected> {
        let mut memory = self.idle.lock().pop().unwrap_or_default();
        let Memory { parsed, scratch, .. } = &mut memory;
        let taken = self.read(request, version, now_ms, parsed, scratch, refusals);
        self.put_back(memory);
        taken
    }

    /// How series are recognised.
    #[must_use]
    pub fn stats(&self) -> ChunkStats {
        self.known.stats()
    }

    /// A minute has passed: forgets series that did not come for ten of them.
    pub fn tick(&self) {
        self.known.tick();
    }

    fn read(
        &self,
        request: &[u8],
        version: Version,
        now_ms: i64,
        parsed: &mut Parsed,
        scratch: &mut Scratch,
        refusals: &mut Refusals,
    ) -> Result<Taken, Rejected> {
        parsed.clear();
        let newest = now_ms.saturating_add(MAX_AHEAD_MS);
        match version {
            Version::V1 => v1::parse(request, &self.identity, newest, parsed)?,
            Version::V2 => {
                let uses_metadata = self.options != Options::default();
                let reading = v2::Reading { identity: &self.identity, newest, uses_metadata };
                v2::parse(request, &reading, parsed, refusals)?;
            }
        }
        let texts = Texts { request, symbols: &parsed.symbols, version };
        let assembly = Assembly { texts, parsed, identity: &self.identity, known: &self.known, options: &self.options, newest };
        assembly.run(scratch, refusals)
    }

    fn put_back(&self, mut memory: Memory) {
        if memory.unpacked.capacity() > MAX_KEPT_BYTES {
            memory.unpacked = Vec::new();
        }
        memory.parsed.clear();
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push(memory);
        }
    }
}

/// Unpacks snappy's block format; the length that it declares is compared with the limit before memory is taken. Says how long it is.
fn unpack_snappy(body: &[u8], buffer: &mut Vec<u8>) -> Result<usize, Rejected> {
    let corrupt = |error: snap::Error| Rejected(format!("the body is no snappy block: {error}"));
    let declared = snap::raw::decompress_len(body).map_err(corrupt)?;
    if declared > MAX_REQUEST {
        return Err(Rejected(format!("decoded size exceeds the {MAX_REQUEST} bytes limit: the snappy block declares {declared}")));
    }
    if buffer.len() < declared {
        buffer.resize(declared, 0);
    }
    snap::raw::Decoder::new().decompress(body, buffer).map_err(corrupt)
}

/// Unpacks zstd; says how long the request is. The window that a body asks for is bounded as well, to 8 MiB.
fn unpack_zstd(body: &[u8], buffer: &mut Vec<u8>) -> Result<usize, Rejected> {
    let (mut decoder, mut output) = (Decoder::new(Encoding::Zstd), vec![0; OUTPUT_BUFFER]);
    buffer.clear();
    decoder.feed(body, &mut output, |piece| {
        if buffer.len() + piece.len() > MAX_REQUEST {
            return Err(Rejected(format!("decoded size exceeds the {MAX_REQUEST} bytes limit")));
        }
        buffer.extend_from_slice(piece);
        Ok(())
    })?;
    decoder.finish()?;
    Ok(buffer.len())
}
