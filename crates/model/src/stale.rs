//! The staleness marker: a NaN with fixed bits that ends a series (Prometheus `model/value`, remote write specification "Stale Markers").

/// The bits of the staleness marker; an ordinary NaN has others.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;
/// The bits that Prometheus gives to every NaN that was scraped, so that none is taken for a staleness marker.
pub const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// The staleness marker.
pub const STALE_NAN: f64 = f64::from_bits(STALE_NAN_BITS);

/// Whether `value` is the staleness marker (compares bits: NaN never equals itself).
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_marker_is_stale() {
        assert!(is_stale(STALE_NAN));
        assert!(!is_stale(f64::NAN));
        assert!(!is_stale(f64::from_bits(NORMAL_NAN_BITS)));
        assert!(!is_stale(0.0));
    }
}
