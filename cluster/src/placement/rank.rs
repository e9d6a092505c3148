//! Copies of a domain: the same keys, held by other nodes. Which copy a domain is shows in its name, so that every node knows it of
//! every domain.

use std::borrow::Cow;

/// Between a domain's name and the number of its copy. No component ID has it.
const SEPARATOR: char = '#';

/// Most copies of a domain, the first included.
pub const MAX_RANKS: u32 = 5;

/// Which copy of a domain, from 0 for the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rank<'a> {
    base: &'a str,
    pub(crate) number: u32,
}

impl<'a> Rank<'a> {
    /// The rank of a domain. A name that does not end in a number that a copy has is a first copy.
    pub(crate) fn of(domain: &'a str) -> Self {
        let copy = domain.rsplit_once(SEPARATOR).and_then(|(base, number)| Some((base, number.parse().ok()?)));
        match copy.filter(|(_, number)| (1..MAX_RANKS).contains(number)) {
            Some((base, number)) => Self { base, number },
            None => Self { base: domain, number: 0 },
        }
    }

    /// The domain of another copy.
    pub(crate) fn sibling(&self, number: u32) -> Cow<'a, str> {
        match number {
            0 => Cow::Borrowed(self.base),
            number => Cow::Owned(domain_of_rank(self.base, number)),
        }
    }

    /// The name that all copies share.
    pub(crate) fn base(&self) -> &'a str {
        self.base
    }
}

/// The name of a copy of a domain, to claim it by: the keys of copies with other numbers are held by other nodes, in other zones if there are
/// some. `rank` is less than [`MAX_RANKS`]; 0 is the domain itself.
#[must_use]
pub fn domain_of_rank(domain: &str, rank: u32) -> String {
    if rank == 0 { domain.to_owned() } else { format!("{domain}{SEPARATOR}{rank}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_shows_in_the_name() {
        assert_eq!(Rank::of("prometheus.scrape.a"), Rank { base: "prometheus.scrape.a", number: 0 });
        let copy = domain_of_rank("prometheus.scrape.a", 2);
        assert_eq!(Rank::of(&copy), Rank { base: "prometheus.scrape.a", number: 2 });
        assert_eq!(Rank::of(&copy).sibling(0), "prometheus.scrape.a");
        assert_eq!(Rank::of(&copy).sibling(1), "prometheus.scrape.a#1");
    }

    #[test]
    fn names_of_no_copy_are_whole() {
        for name in ["a#", "a#x", "a#0", "a#5", "a#99999999999"] {
            assert_eq!(Rank::of(name), Rank { base: name, number: 0 });
        }
    }
}
