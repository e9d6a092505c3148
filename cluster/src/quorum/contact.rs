//! What is noted about one life of another member: what it heard of this node, and what this node heard of it.

use std::collections::BTreeSet;

use super::{Name, REPLY_PAUSE_MS, Standing};

/// One life of a member.
#[derive(Debug)]
pub(super) struct Contact {
    pub(super) generation: u64,
    /// Its last number that is admitted to have been heard.
    pub(super) heard: u64,
    /// Its last number.
    pub(super) number: u64,
    /// When the last of this node's numbers that it has heard was sent: it was in touch at that moment or later.
    pub(super) echoed_ms: Option<u64>,
    /// The version of its state that this node has; 0 if none.
    pub(super) version: u64,
    lost: BTreeSet<(Name, u64)>,
    /// It waits for a first answer.
    unanswered: bool,
    /// When the last standing was sent to it.
    sent_ms: Option<u64>,
    /// The version of this node's state that was sent to it last, and the one that it has.
    told: u64,
    known: u64,
}

impl Contact {
    pub(super) fn new(generation: u64) -> Self {
        Self {
            generation,
            heard: 0,
            number: 0,
            echoed_ms: None,
            version: 0,
            lost: BTreeSet::new(),
            unanswered: false,
            sent_ms: None,
            told: 0,
            known: 0,
        }
    }

    /// Whether it is to get a standing now: it is time for all, it was never sent one, it waits for an answer, or it does not have the
    /// present version.
    pub(super) fn is_due(&self, all: bool, version: u64, now_ms: u64) -> bool {
        let Some(sent_ms) = self.sent_ms else { return true };
        let news = self.told != version;
        all || self.waits(now_ms) || (news && now_ms.saturating_sub(sent_ms) >= REPLY_PAUSE_MS)
    }

    /// Whether it waits for a first answer, and got nothing just before.
    pub(super) fn waits(&self, now_ms: u64) -> bool {
        self.unanswered && self.sent_ms.is_none_or(|sent_ms| now_ms.saturating_sub(sent_ms) >= REPLY_PAUSE_MS)
    }

    /// A standing goes out. Whether it must carry the state of this version.
    pub(super) fn sending(&mut self, version: u64, now_ms: u64) -> bool {
        self.unanswered = false;
        self.sent_ms = Some(now_ms);
        self.told = version;
        self.known != version
    }

    /// A standing with a new number has come; `echoed_ms` is when the number that it echoes was sent.
    pub(super) fn take(&mut self, standing: &Standing, echoed_ms: Option<u64>, held_for_lost: bool) {
        self.unanswered = self.number == 0 || standing.heard == 0;
        self.number = standing.number;
        self.known = standing.known;
        if !held_for_lost {
            self.heard = standing.number;
        }
        if echoed_ms.is_some() && echoed_ms >= self.echoed_ms {
            self.echoed_ms = echoed_ms;
            self.lost = standing.lost.iter().cloned().collect();
        }
    }

    /// The processes that it held for lost in its last report.
    pub(super) fn lost(&self) -> impl Iterator<Item = &(Name, u64)> {
        self.lost.iter()
    }

    /// Whether it held a process for lost at some moment of the last so many ms.
    pub(super) fn holds_for_lost(&self, process: &(Name, u64), now_ms: u64, bound_ms: u64) -> bool {
        self.echoed_ms.is_some_and(|at| now_ms.saturating_sub(at) <= bound_ms) && self.lost.contains(process)
    }
}
