//! How series are recognised without looking at their labels' texts, and which way they go through the collector.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_secret};

/// Ways through the collector. A request is taken apart into at most so many batches, and progress with one is noted in 64 bits; there are
/// enough of them for the 50 shards that a `prometheus.remote_write` has at most by default.
pub(super) const SOURCES: usize = 64;

/// The first routing key ("receive"): ours are apart from targets' hashes, so that nobody's handover waits for them.
const FIRST_KEY: u64 = 0x7265_6365_6976_6500;

/// The routing key of batches of a source.
pub(super) fn routing_key(source: u8) -> u64 {
    FIRST_KEY + u64::from(source)
}

/// Hashes that nobody outside can foresee: whoever pushes must not be able to make two label sets that pass for each other.
pub(super) struct Identity {
    secret: [u8; 192],
    multiplier: u128,
}

impl Identity {
    pub fn random() -> Self {
        let mut secret = [0; 192];
        rand::fill(&mut secret);
        Self { secret, multiplier: rand::random::<u128>() | 1 }
    }

    /// The hash of bytes.
    #[inline]
    pub fn of(&self, bytes: &[u8]) -> u128 {
        xxh3_128_with_secret(bytes, &self.secret)
    }

    /// The hash of a sequence that ends with `next`, of which `hash` is that of what was before.
    #[inline]
    pub fn then(&self, hash: u128, next: u128) -> u128 {
        hash.wrapping_mul(self.multiplier).wrapping_add(next)
    }
}

/// Which of [`SOURCES`] ways a series goes: always the same one, whoever sends it in whichever connection and encoding, so that its samples
/// stay in order (see `model::Batch::source`). Series of one target go together, as they come together and are cached together; where
/// labels name no target, those of one metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub job: &'a [u8],
    pub instance: &'a [u8],
    pub name: &'a [u8],
}

impl Place<'_> {
    pub fn source(&self) -> u8 {
        let within = if self.instance.is_empty() { xxh3_64(self.name) } else { !xxh3_64(self.instance) };
        let hash = xxh3_64(self.job).rotate_left(32) ^ within;
        (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as u8
    }
}

/// Remembers the source of the last series: the next one is mostly of the same target.
#[derive(Default)]
pub(super) struct LastPlace<'a> {
    place: Place<'a>,
    source: Option<u8>,
}

impl<'a> LastPlace<'a> {
    #[inline]
    pub fn source(&mut self, place: Place<'a>) -> u8 {
        let same = place.instance == self.place.instance
            && place.job == self.place.job
            && (!place.instance.is_empty() || place.name == self.place.name);
        match self.source {
            Some(source) if same => source,
            _ => {
                self.place = place;
                *self.source.insert(place.source())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(job: &'static str, instance: &'static str, name: &'static str) -> Place<'static> {
        Place { job: job.as_bytes(), instance: instance.as_bytes(), name: name.as_bytes() }
    }

    #[test]
    fn series_of_a_target_go_one_way_and_others_by_their_metric() {
        assert_eq!(place("j", "i:1", "a").source(), place("j", "i:1", "b").source());
        let targets: Vec<String> = (0..1000).map(|n| format!("10.0.{}.{}:9100", n / 256, n % 256)).collect();
        let ways = targets.iter().map(|target| Place { job: b"node", instance: target.as_bytes(), name: b"up" }.source());
        let mut counts = [0; SOURCES];
        ways.for_each(|way| counts[usize::from(way)] += 1);
        assert!(counts.iter().all(|count| (1..=48).contains(count)), "{counts:?}");
        let metrics: std::collections::HashSet<u8> = ["a", "b", "c", "d", "e", "f"].map(|name| place("", "", name).source()).into();
        assert!(metrics.len() > 1);
    }

    #[test]
    fn the_last_place_is_recognised_and_no_other_taken_for_it() {
        let mut last = LastPlace::default();
        for next in
            [place("j", "i", "a"), place("j", "i", "b"), place("k", "i", "b"), place("k", "", "b"), place("k", "", "c"), place("", "", "")]
        {
            assert_eq!(last.source(next), next.source(), "{next:?}");
        }
    }

    #[test]
    fn the_way_is_the_same_in_every_version() {
        // A fixed vector: what waits on disk after an upgrade must go the way of what comes then.
        assert_eq!([place("node", "10.0.0.1:9100", "up").source(), place("", "", "up").source()], [60, 1]);
    }

    #[test]
    fn sequences_differ_by_order_and_by_parts() {
        let identity = Identity::random();
        let (a, b) = (identity.of(b"a"), identity.of(b"b"));
        let sequence = |parts: &[u128]| parts.iter().fold(0, |hash, part| identity.then(hash, *part));
        assert_ne!(sequence(&[a, b]), sequence(&[b, a]));
        assert_ne!(sequence(&[a]), sequence(&[a, b]));
        assert_eq!(identity.of(b"a"), a);
        assert_ne!(Identity::random().of(b"a"), a, "nobody can foresee it");
    }
}
