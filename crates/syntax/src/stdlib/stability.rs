//! How settled features are, and the gate that keeps unsettled ones out.

use std::fmt;
use std::str::FromStr;

/// How settled a feature is. A process runs features of its minimum level and above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stability {
    /// May change or vanish at any time.
    Experimental,
    /// Mostly settled.
    PublicPreview,
    /// Settled.
    #[default]
    GenerallyAvailable,
}

impl Stability {
    /// As the command line spells it: `generally-available`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Experimental => "experimental",
            Self::PublicPreview => "public-preview",
            Self::GenerallyAvailable => "generally-available",
        }
    }

    /// Why something of this level may not run below `minimum`, in Alloy's words; `what` is like `component "x.y"`.
    #[must_use]
    pub fn gate(self, what: &str, minimum: Self) -> Option<String> {
        (self < minimum).then(|| {
            format!(
                "{what} is at stability level \"{self}\", which is below the minimum allowed stability level \
                 \"{minimum}\". Use --stability.level command-line flag to enable \"{self}\" features"
            )
        })
    }
}

impl fmt::Display for Stability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Stability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Experimental, Self::PublicPreview, Self::GenerallyAvailable]
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| format!("{text:?} is none of \"experimental\", \"public-preview\", \"generally-available\""))
    }
}
