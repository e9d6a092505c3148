//! The standard library (`spec/language.md` §2).

use std::fmt;
use std::str::FromStr;

use crate::references::Reference;
use crate::scope::Scope;

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

    /// Why something of this level may not run below `minimum`; `what` is like `component "x.y"`.
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

/// What the standard library depends on.
#[derive(Clone, Debug, Default)]
pub struct StdlibOptions {
    /// Functions below this level are refused.
    pub stability: Stability,
    /// `constants.version`, with or without the leading `v`; empty becomes `v0.0.0`.
    pub version: String,
}

/// The scope that holds the standard library.
#[must_use]
pub fn root(_options: &StdlibOptions) -> Scope {
    Scope::new()
}

/// Whether a name is one of the standard library at top level, deprecated ones included.
#[must_use]
pub fn is_name(_name: &str) -> bool {
    false
}

/// Why a reference to the standard library may not be used at the given minimum level.
#[must_use]
pub fn gate(_reference: &Reference, _minimum: Stability) -> Option<String> {
    None
}
