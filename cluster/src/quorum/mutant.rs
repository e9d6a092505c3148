//! Deliberate faults for the simulation, which must notice each of them. Outside tests they can't be switched on.

/// A rule of the majority that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A node goes on scraping when no majority hears it.
    NoLease,
    /// A node frees the keys of whom it holds for lost without asking others.
    LossOfOneSuffices,
    /// Crashes shrink the electorate.
    CrashShrinks,
    /// A change of the electorate takes effect at a node without anybody else's word.
    ChangesAskNobody,
}
