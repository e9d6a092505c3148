//! Finds what a text repeats: earlier places with the same symbols, by hash chains over four of them.

use super::{MIN_MATCH, Match, NUMBER_BYTES, Symbol, WINDOW};

/// How many earlier places with the same four bytes are compared. Series repeat each other in runs, so the best one is near; more steps
/// gain less than 1 % on node_exporter's output.
const MAX_STEPS: usize = 12;
/// A match that long is taken without looking further.
const GOOD_MATCH: usize = 48;
/// A copy must save this much, for it cuts a literal in two, which costs a byte.
const MIN_GAIN: isize = 2;
const HASH_BITS: u32 = 14;

/// See the module.
pub(super) struct Matcher<'a> {
    text: &'a [Symbol],
    /// Last place of each hash plus one; zero is none.
    heads: Vec<u32>,
    /// The place before with the same hash plus one, per place.
    chain: Vec<u32>,
}

impl<'a> Matcher<'a> {
    pub fn new(text: &'a [Symbol]) -> Self {
        Self { text, heads: vec![0; 1 << HASH_BITS], chain: vec![0; text.len()] }
    }

    /// The slot of the four symbols at `at`; none at the end, where a hole is among them, and within a number.
    fn slot(&self, at: usize) -> Option<usize> {
        let four: &[Symbol; MIN_MATCH] = self.text.get(at..)?.first_chunk()?;
        if four.contains(&Symbol::HOLE) || four[0].number_byte().is_some_and(|(_, byte)| byte > 0) {
            return None;
        }
        let key = four.iter().fold(0_u64, |key, symbol| key.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(symbol.0)));
        Some((key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - HASH_BITS)) as usize) // Fibonacci hashing
    }

    /// Notes the place, so that it is found later.
    pub fn insert(&mut self, at: usize) {
        if let Some(slot) = self.slot(at) {
            self.chain[at] = self.heads[slot];
            self.heads[slot] = at as u32 + 1;
        }
    }

    /// The earlier place that saves most, if any saves enough.
    pub fn find(&self, at: usize) -> Option<Match> {
        let mut next = self.heads[self.slot(at)?];
        let mut best = Match { offset: WINDOW, len: 0 };
        for _ in 0..MAX_STEPS {
            let Some(place) = (next as usize).checked_sub(1).filter(|place| at - place <= WINDOW) else { break };
            let found = Match { offset: at - place, len: self.common(place, at, best.len) };
            if found.len > 0 && found.gain() > best.gain() {
                best = found;
            }
            if best.len >= GOOD_MATCH {
                break;
            }
            next = self.chain[place];
        }
        (best.len >= MIN_MATCH && best.gain() >= MIN_GAIN).then_some(best)
    }

    /// How many symbols are the same at both places, up to the first hole and not cutting a number; zero if not more than `beat`.
    fn common(&self, earlier: usize, later: usize, beat: usize) -> usize {
        if self.text.get(later + beat) != self.text.get(earlier + beat) {
            return 0;
        }
        let pairs = self.text[earlier..].iter().zip(&self.text[later..]);
        let len = pairs.take_while(|(a, b)| a == b && **b != Symbol::HOLE).count();
        let cut = len.checked_sub(1).and_then(|last| self.text[later + last].number_byte());
        len - cut.map_or(0, |(_, byte)| NUMBER_BYTES - 1 - usize::from(byte)).min(len)
    }
}
