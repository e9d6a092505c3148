//! What an endpoint has not delivered when its node leaves the fleet, between nodes: whom it goes to, and taking it. What goes in which
//! order is `delivery`'s, how nodes reach each other the cluster's.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Weak};

use bytes::{BufMut, Bytes};
use cluster::{Cluster, RequestError, State, Succession};
use delivery::{NotTaken, Successors, Taken};
use tokio::runtime::Handle;

use super::Entrance;

/// Answers to a frame.
const TAKEN: &[u8] = &[0];
const LATER: &[u8] = &[1];

/// A component's part in it.
pub(super) struct Takeover {
    cluster: Cluster,
    /// The message: `Parcel`.
    kind: String,
}

impl Takeover {
    /// The part of the component `id`, which takes what others give from now on.
    pub(super) fn new(cluster: Cluster, id: &str, entrance: &Arc<Entrance>) -> Self {
        let kind = format!("remote_write.backlog {id}");
        let (entrance, data, component): (_, _, Arc<str>) = (Arc::downgrade(entrance), Handle::current(), id.into());
        cluster.on_request(&kind, move |parcel: Bytes| {
            let taking = data.spawn(take(entrance.clone(), component.clone(), parcel));
            async move { taking.await.map_err(|_| "this node stops".to_owned())? }
        });
        Self { cluster, kind }
    }

    /// Those who take over as this node leaves; `None` if nobody is there.
    pub(super) fn heirs(&self) -> Option<Heirs> {
        let peers = self.cluster.peers();
        let others = peers.iter().filter(|peer| !peer.is_self && peer.state == State::Participant);
        let nodes: BTreeSet<Arc<str>> = others.map(|peer| peer.name.as_str().into()).collect();
        if nodes.is_empty() {
            return None;
        }
        Some(Heirs { cluster: self.cluster.clone(), kind: self.kind.clone(), nodes, successions: self.cluster.successions() })
    }
}

/// The nodes that stay.
pub(super) struct Heirs {
    cluster: Cluster,
    kind: String,
    nodes: BTreeSet<Arc<str>>,
    successions: Arc<HashMap<u64, Succession>>,
}

/// The same for one endpoint.
pub(super) struct OfEndpoint<'a> {
    heirs: &'a Heirs,
    endpoint: &'a str,
}

impl Heirs {
    pub(super) fn of_endpoint<'a>(&'a self, endpoint: &'a str) -> OfEndpoint<'a> {
        OfEndpoint { heirs: self, endpoint }
    }
}

impl Successors for OfEndpoint<'_> {
    fn of(&self, source: u64, failed: &BTreeSet<Arc<str>>) -> Option<Arc<str>> {
        heir(&self.heirs.nodes, self.heirs.successions.get(&source), source, failed)
    }

    async fn ship(&self, node: &str, frame: Bytes) -> Result<(), NotTaken> {
        let Heirs { cluster, kind, .. } = self.heirs;
        match cluster.request(node, kind, wrap(self.endpoint, &frame)).await {
            Ok(answer) if answer == TAKEN => Ok(()),
            Ok(answer) if answer == LATER => Err(NotTaken::Later("it has no room at the moment".to_owned())),
            Ok(_) => Err(NotTaken::Refused("it gave an answer that can't be read".to_owned())),
            Err(error @ (RequestError::NotConnected(_) | RequestError::TimedOut | RequestError::Busy)) => {
                Err(NotTaken::Later(error.to_string()))
            }
            Err(error) => Err(NotTaken::Refused(error.to_string())),
        }
    }
}

/// Who gets what came from `source`: the node that took the target, or else the one that should have it now; what is nobody's in
/// particular goes to any.
fn heir(nodes: &BTreeSet<Arc<str>>, succession: Option<&Succession>, source: u64, failed: &BTreeSet<Arc<str>>) -> Option<Arc<str>> {
    let fits = |node: &&Arc<str>| nodes.contains(&**node) && !failed.contains(&**node);
    let known = succession.and_then(|known| known.taker.iter().chain(&known.proposed).find(fits));
    let rank = |node: &&Arc<str>| {
        let mut hasher = DefaultHasher::new();
        (source, node).hash(&mut hasher);
        hasher.finish()
    };
    known.or_else(|| nodes.iter().filter(fits).max_by_key(rank)).cloned()
}

/// A frame with the endpoint that it is for: length u16 │ name │ frame.
fn wrap(endpoint: &str, frame: &[u8]) -> Bytes {
    let mut parcel = Vec::with_capacity(2 + endpoint.len() + frame.len());
    // An endpoint with a longer name is not found on the other side.
    parcel.put_u16_le(u16::try_from(endpoint.len()).unwrap_or(0));
    parcel.extend_from_slice(endpoint.as_bytes());
    parcel.extend_from_slice(frame);
    parcel.into()
}

/// The endpoint and the frame.
fn unwrap(mut parcel: Bytes) -> Option<(String, Bytes)> {
    let (len, _) = parcel.split_first_chunk()?;
    let end = 2 + usize::from(u16::from_le_bytes(*len));
    let name = String::from_utf8(parcel.get(2..end)?.to_vec()).ok()?;
    Some((name, parcel.split_off(end)))
}

async fn take(entrance: Weak<Entrance>, component: Arc<str>, parcel: Bytes) -> Result<Bytes, String> {
    let Some((endpoint, frame)) = unwrap(parcel) else { return Err("the message makes no sense".to_owned()) };
    let entrance = entrance.upgrade().ok_or("the component is gone")?;
    let adopter = entrance.adopters.load().iter().find(|(name, _)| *name == endpoint).map(|(_, adopter)| adopter.clone());
    let adopter = adopter.ok_or_else(|| format!("{component} has no endpoint {endpoint:?} here"))?;
    match adopter.take(frame).await {
        Ok(Taken::All) => Ok(Bytes::from_static(TAKEN)),
        Ok(Taken::Later) => Ok(Bytes::from_static(LATER)),
        Err(error) => {
            tracing::warn!(component_id = &*component, endpoint, %error, "did not take over what a node that leaves has not sent");
            Err(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<Arc<str>> {
        names.iter().map(|name| (*name).into()).collect()
    }

    #[test]
    fn whoever_took_the_target_gets_its_samples_then_whoever_should_have_it_then_anybody() {
        let nodes = names(&["a", "b", "c", "d"]);
        let succession = Succession { taker: Some("b".into()), proposed: Some("c".into()) };
        let heir_without = |failed: &[&str]| heir(&nodes, Some(&succession), 7, &names(failed));
        assert_eq!(heir_without(&[]).as_deref(), Some("b"));
        assert_eq!(heir_without(&["b"]).as_deref(), Some("c"));
        assert!(["a", "d"].contains(&heir_without(&["b", "c"]).as_deref().unwrap()));
        assert_eq!(heir_without(&["a", "b", "c", "d"]), None);
        let gone = Succession { taker: Some("gone".into()), proposed: None };
        assert_eq!(heir(&nodes, Some(&gone), 7, &names(&[])), heir(&nodes, None, 7, &names(&[])));
    }

    #[test]
    fn what_is_nobodys_is_spread_and_stays_where_it_is_if_another_node_fails() {
        let nodes = names(&["a", "b", "c"]);
        let all: Vec<_> = (0..100).map(|source| heir(&nodes, None, source, &names(&[])).unwrap()).collect();
        let counts = nodes.iter().map(|node| all.iter().filter(|heir| *heir == node).count());
        assert!(counts.clone().all(|count| count > 10), "{:?}", counts.collect::<Vec<_>>());
        for (source, before) in (0..).zip(&all).filter(|(_, heir)| &***heir != "c") {
            assert_eq!(heir(&nodes, None, source, &names(&["c"])).as_ref(), Some(before));
        }
    }

    #[test]
    fn a_parcel_is_opened_as_it_was_wrapped_and_one_that_is_cut_is_none() {
        let parcel = wrap("endpoint", b"frame");
        assert_eq!(unwrap(parcel.clone()), Some(("endpoint".to_owned(), Bytes::from_static(b"frame"))));
        assert!((0..10).all(|len| unwrap(parcel.slice(..len)).is_none()));
    }
}
