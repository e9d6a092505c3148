//! Who is let in. A process that is known is; a newcomer is checked first: that it can be reached where it says, since all
//! answers go there, and that no other live process has its name. The check dials both addresses while the newcomer's handshake
//! waits; a refusal says what was found.

use std::time::Duration;

use tokio::{sync::oneshot, time::timeout};

use super::driver::{Driver, Report};
use crate::{
    membership::{Identity, Record, gossip, table::Presence},
    transport::{
        DialError, Local, Reason, Step,
        frame::Kind,
        handshake::PeerHello,
        link::connect,
        wire::{Intent, MAX_RECORDS, Member, Members, Reject},
    },
};

/// Longest check of a newcomer; its handshake waits 5 s.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

type Verdict = oneshot::Sender<Result<Members, Reject>>;

/// A newcomer and what was found out about it.
pub(crate) struct Checked {
    hello: PeerHello,
    verdict: Verdict,
    /// The older process of its name at another address, and what was seen of it.
    namesake: Option<(Identity, Sight)>,
    /// Who answers at the newcomer's address.
    dialled_back: Result<Identity, (Reason, String)>,
}

/// What was seen of the older process of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Alive,
    /// It gave no answer.
    Silent,
    /// Nothing, or another process, is at its address.
    Gone,
}

impl Driver {
    pub(super) fn admit(&mut self, hello: PeerHello, verdict: Verdict) {
        let me = self.local.identity();
        let peer = &hello.peer.identity;
        if hello.intent == Intent::Check || *peer == me {
            // Only who answers is of interest.
            return answer(verdict, Ok(self.own_record()));
        }
        if peer.name == me.name {
            let detail = format!("the node name \"{}\" belongs to the live process at {}", me.name, me.addr);
            self.local.metrics.gossip_event("node_conflict");
            return answer(verdict, Err(Reject { generation: me.generation, ..Reason::Conflict.reject(detail) }));
        }
        let namesake = match self.table.get(&peer.name) {
            Some((known, Presence::Alive | Presence::Lost)) if known.identity == *peer => return self.let_in(hello, verdict),
            // It said goodbye under this generation; what it says now must be newer than that.
            Some((known, Presence::Left)) if known.identity == *peer => {
                let generation = known.identity.generation;
                let reject = Reason::Generation.reject("this process has said goodbye");
                return answer(verdict, Err(Reject { generation, ..reject }));
            }
            Some((known, Presence::Alive | Presence::Lost)) => Some(known.identity.clone()),
            Some((_, Presence::Left)) => None,
            None if !gossip::has_room(self.digest_bytes(), &peer.name) => {
                let detail = "gossip has no room for another member of this name's length";
                return answer(verdict, Err(Reason::Full.reject(detail)));
            }
            None => None,
        };
        self.check(hello, verdict, namesake);
    }

    /// What gossip's digest takes: all processes that it remembers, and those that it will hear of.
    fn digest_bytes(&self) -> usize {
        self.state.digest_bytes.max(gossip::digest_bytes(self.table.remembered_names()))
    }

    fn check(&self, hello: PeerHello, verdict: Verdict, namesake: Option<Identity>) {
        let (local, connector, reports) = (self.local.clone(), self.connector.clone(), self.reports.clone());
        tokio::spawn(async move {
            let peer = hello.peer.identity.clone();
            let ask = async |addr| timeout(CHECK_TIMEOUT, connect(&*connector, &local, addr, Intent::Check)).await;
            let dial_back = async {
                match ask(peer.addr).await {
                    Ok(Ok(session)) => Ok(session.peer.identity),
                    Ok(Err(error)) if error.step() == Step::Tls => Err((Reason::Tls, format!("{error}; {}", error.remedy()))),
                    Ok(Err(error)) => Err((Reason::Advertise, error.to_string())),
                    Err(_) => Err((Reason::Advertise, format!("no answer within {} s", CHECK_TIMEOUT.as_secs()))),
                }
            };
            let look = async {
                let old = namesake.clone().filter(|old| old.addr != peer.addr)?;
                let sight = match ask(old.addr).await {
                    Ok(Ok(session)) if session.peer.identity == old => Sight::Alive,
                    Ok(Ok(_)) => Sight::Gone,
                    Ok(Err(error)) if error.nobody_there() => Sight::Gone,
                    Ok(Err(_)) | Err(_) => Sight::Silent,
                };
                Some((old, sight))
            };
            let (dialled_back, namesake) = tokio::join!(dial_back, look);
            // The node may have shut down meanwhile.
            drop(reports.send(Report::Checked(Checked { hello, verdict, namesake, dialled_back })));
        });
    }

    pub(super) fn checked(&mut self, checked: Checked) {
        let Checked { hello, verdict, namesake, dialled_back } = checked;
        let peer = hello.peer.identity.clone();
        if let Some((old, sight)) = namesake.filter(|(old, sight)| self.bars(old, *sight)) {
            self.local.metrics.gossip_event("node_conflict");
            let how = if sight == Sight::Alive { "live process" } else { "process, lost to no majority so far," };
            let detail = format!("the node name \"{}\" belongs to the {how} at {}", old.name, old.addr);
            let reject = Reject { generation: old.generation, ..Reason::Conflict.reject(detail) };
            return answer(verdict, Err(reject));
        }
        let found = match dialled_back {
            Ok(found) if found == peer => Ok(()),
            Ok(found) if found.name == peer.name && found.addr == peer.addr => {
                // The newcomer has started anew meanwhile, or answers under the generation that it is about to leave.
                return answer(verdict, Err(Reason::Unavailable.reject("the process has changed meanwhile; try again")));
            }
            Ok(found) => {
                let detail = format!("the advertised address {} leads to the node \"{}\" at {}", peer.addr, found.name, found.addr);
                Err((Reason::Advertise, detail))
            }
            Err((reason, error)) => Err((reason, format!("this peer can't reach the advertised address {}: {error}", peer.addr))),
        };
        if let Err((reason, detail)) = found {
            return answer(verdict, Err(reason.reject(detail)));
        }
        match self.table.get(&peer.name) {
            Some((known, _)) if known.identity.generation > peer.generation => {
                let generation = known.identity.generation;
                let reject = Reason::Generation.reject("a later process of this name is remembered");
                answer(verdict, Err(Reject { generation, ..reject }));
            }
            _ => self.let_in(hello, verdict),
        }
    }

    /// Whether an older process keeps its name from a newcomer: one that gave no answer does until its loss is certain.
    fn bars(&self, old: &Identity, sight: Sight) -> bool {
        match sight {
            Sight::Alive => true,
            Sight::Silent => !self.is_given_up(old),
            Sight::Gone => false,
        }
    }

    fn let_in(&mut self, hello: PeerHello, verdict: Verdict) {
        let peer = hello.peer.identity.clone();
        let known = matches!(self.table.get(&peer.name), Some((known, Presence::Alive)) if known.identity == peer);
        let newcomer = Member::from(&hello.peer);
        let members = if self.has_nobody_to_introduce(&hello) { self.own_record() } else { self.introduction(&peer) };
        self.table.met(hello.peer, tokio::time::Instant::now());
        answer(verdict, Ok(members));
        if !known {
            // All others hear of it at once.
            let news = self.news(vec![newcomer], Vec::new());
            self.links.broadcast(Kind::Members, &news);
            self.local.metrics.broadcast("node_join");
        }
    }

    /// Whether the opener of a stream knows the same processes: then all lists of a fleet that starts, each on one of N² streams, need
    /// not be sent.
    fn has_nobody_to_introduce(&self, hello: &PeerHello) -> bool {
        hello.intent == Intent::Link && hello.company != 0 && hello.company == self.local.company.get() && !self.table.has_changes()
    }

    fn own_record(&self) -> Members {
        Members { sender: Some(Member::from(&self.local.record())), lamport: self.state.lamport, ..Members::default() }
    }

    /// This node's record and those of the members that it holds for alive, for `whom`.
    fn introduction(&self, whom: &Identity) -> Members {
        let others = self.table.alive().chain(self.suspects()).filter(|record| record.identity.name != whom.name);
        Members {
            sender: Some(Member::from(&self.local.record())),
            others: others.take(MAX_RECORDS).map(Member::from).collect(),
            refused: Vec::new(),
            lamport: self.state.lamport,
        }
    }
}

/// A handshake that has given up needs no verdict.
fn answer(verdict: Verdict, result: Result<Members, Reject>) {
    drop(verdict.send(result));
}

/// Asks the member at an address who it is and whom it knows.
pub(super) async fn ask_members(
    connector: &dyn crate::transport::Connector,
    local: &Local,
    addr: std::net::SocketAddr,
) -> Result<(Record, Members), DialError> {
    let session = connect(connector, local, addr, Intent::Join).await?;
    Ok((session.peer, session.members))
}
