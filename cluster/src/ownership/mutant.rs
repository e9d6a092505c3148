//! Deliberate faults for the simulation, which must notice each of them. Outside tests they can't be switched on.

/// A rule of the protocol that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A claim starts without waiting for any answer.
    NoAnswerAwaited,
    /// A node that was late goes on as if nothing had happened.
    NoFence,
    /// Grants are sent once and never again.
    NoGrantResend,
    /// Of two nodes that want a key both give way to each other and to themselves.
    WrongTieBreak,
    /// Slots begin at a phase that depends on the node.
    PhaseByHost,
    /// Nodes do not tell to whom they gave or promised a key.
    NoTrail,
    /// A free key is scraped in the slot that has begun already.
    CurrentSlotOnClaim,
    /// Owners are not asked whether they know a key.
    NoQuery,
    /// A holder that loses sight of a key ends its series at once.
    NothingLeft,
    /// Copies of a key go where its first one is.
    CopiesTogether,
    /// A holder that hears of another holder goes on.
    DuplicateKept,
    /// Messages to and from earlier incarnations count.
    AnyIncarnation,
}
