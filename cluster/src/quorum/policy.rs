//! What a fleet does while it is split: the choice.

use std::{fmt, str::FromStr};

/// What the sides of a split fleet do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PartitionPolicy {
    /// Each side works: every key has a holder on each side.
    #[default]
    Both,
    /// Only the side with a majority of the electorate works: no key ever has two holders.
    Majority,
}

impl PartitionPolicy {
    /// Both policies.
    pub const ALL: [Self; 2] = [Self::Both, Self::Majority];

    /// The name in flags, messages and gossip.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Majority => "majority",
        }
    }

    /// What peers tell: a release without policies says nothing, which is 0.
    pub(crate) fn number(self) -> u32 {
        self as u32
    }

    pub(crate) fn from_number(number: u32) -> Self {
        if number == Self::Majority.number() { Self::Majority } else { Self::Both }
    }
}

impl fmt::Display for PartitionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PartitionPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|policy| policy.as_str() == text);
        found.ok_or_else(|| format!("\"{text}\" is no partition policy; there are both and majority"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back() {
        for policy in PartitionPolicy::ALL {
            assert_eq!(policy.as_str().parse(), Ok(policy));
            assert_eq!(PartitionPolicy::from_number(policy.number()), policy);
        }
        assert!("none".parse::<PartitionPolicy>().unwrap_err().contains("both and majority"));
        assert_eq!(PartitionPolicy::from_number(99), PartitionPolicy::Both);
    }
}
