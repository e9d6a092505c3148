//! `/api/v1/targets` in Prometheus' format: what this node scrapes, or with `?scope=cluster` what the whole fleet scrapes, answered by any
//! node, with the owner of each target.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cluster::ownership::{Holder, Name};
use cluster::{Cluster, Insight};
use futures_util::StreamExt as _;
use model::Labels;
use prometheus_components::TargetBoard;
use scrape::Target;
use serde_json::{Map, Value, json};

use super::{Api, bad_request, holding, on_data};

/// The question to other nodes.
const KIND: &str = "targets";
/// Members that are asked at a time.
const ASKED_AT_ONCE: usize = 16;
/// What other nodes may take to answer; then the answer is partial.
const PATIENCE: Duration = Duration::from_secs(2);

/// The query of a request.
#[derive(serde::Deserialize, Default)]
#[serde(default)]
pub(super) struct Question {
    scope: String,
    state: String,
    #[serde(rename = "scrapePool")]
    scrape_pool: String,
}

impl Question {
    fn wants(&self, state: &str) -> bool {
        self.state.is_empty() || self.state == "any" || self.state == state
    }

    fn wants_pool(&self, pool: &str) -> bool {
        self.scrape_pool.is_empty() || self.scrape_pool == pool
    }
}

/// What one node says.
#[derive(Default)]
struct NodeTargets {
    active: Vec<Value>,
    dropped: Vec<Value>,
    /// Targets that the node knows and others scrape.
    known: Vec<Value>,
}

/// Lets other nodes ask what this one scrapes.
pub(super) fn answer_peers(api: &Api, cluster: &Cluster) {
    let (board, data, insight) = (api.targets.clone(), api.data.clone(), cluster.insight());
    cluster.on_request(KIND, move |_| {
        let (board, data, insight) = (board.clone(), data.clone(), insight.clone());
        async move {
            let holders = Holders::of(&insight).await;
            // Who asks adds the owner, and knows what is known and dropped itself.
            let encode = move || {
                let NodeTargets { active, .. } = own(&board, &holders, "");
                serde_json::to_vec(&active).map(Bytes::from).map_err(|error| error.to_string())
            };
            data.spawn_blocking(encode).await.map_err(|error| error.to_string())?
        }
    });
}

/// Answers `/api/v1/targets`.
pub(super) async fn list(State(api): State<Api>, Query(question): Query<Question>) -> Response {
    if !["", "node", "cluster"].contains(&question.scope.as_str()) {
        return bad_request(&format!("unknown scope {:?}; use \"node\" or \"cluster\"", question.scope));
    }
    if !["", "any", "active", "dropped"].contains(&question.state.as_str()) {
        return bad_request(&format!("unknown state {:?}; use \"any\", \"active\" or \"dropped\"", question.state));
    }
    let data = api.data.clone();
    // Rendered there too: an answer may be tens of megabytes.
    let answer = on_data(&data, async move { Json(answer(&api, &question).await).into_response() }).await;
    answer.unwrap_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

async fn answer(api: &Api, question: &Question) -> Value {
    let whole = api.cluster.as_ref().filter(|_| question.scope == "cluster");
    let me = api.cluster.as_ref().and_then(own_name).unwrap_or_default();
    let holders = match &api.cluster {
        Some(cluster) => Holders::of(&cluster.insight()).await,
        None => Holders::default(),
    };
    let mut all = own(&api.targets, &holders, &me);
    let mut warnings = Vec::new();
    if let Some(cluster) = whole {
        for (peer, theirs) in ask(cluster).await {
            match theirs {
                Ok(theirs) => all.active.extend(theirs.into_iter().map(|target| with_owner(target, &peer))),
                Err(error) => warnings.push(format!("partial answer: {peer} did not tell its targets: {error}")),
            }
        }
        all.active.extend(unowned(&all, warnings.is_empty()));
    }
    all.active.retain(|target| question.wants_pool(target["scrapePool"].as_str().unwrap_or_default()));
    all.dropped.retain(|target| question.wants_pool(target["scrapePool"].as_str().unwrap_or_default()));
    let mut data = Map::new();
    data.insert("activeTargets".to_owned(), if question.wants("active") { all.active.into() } else { json!([]) });
    data.insert("droppedTargets".to_owned(), if question.wants("dropped") { all.dropped.into() } else { json!([]) });
    let mut answer = json!({ "status": "success", "data": data });
    if !warnings.is_empty() {
        answer["warnings"] = warnings.into();
    }
    answer
}

fn own_name(cluster: &Cluster) -> Option<String> {
    cluster.peers().iter().find(|peer| peer.is_self).map(|peer| peer.name.clone())
}

/// Asks every other member.
async fn ask(cluster: &Cluster) -> Vec<(String, Result<Vec<Value>, String>)> {
    let answers = ask_members(cluster, KIND, &Bytes::new(), false).await.into_iter();
    let read = |answer: Bytes| serde_json::from_slice(&answer).map_err(|error| error.to_string());
    answers.map(|(peer, answer)| (peer, answer.and_then(read))).collect()
}

/// Asks every member, this node included or not, a few at a time: each may answer with megabytes.
pub(super) async fn ask_members(
    cluster: &Cluster,
    kind: &'static str,
    question: &Bytes,
    self_too: bool,
) -> Vec<(String, Result<Bytes, String>)> {
    let asked: Vec<String> = cluster.peers().iter().filter(|peer| self_too || !peer.is_self).map(|peer| peer.name.clone()).collect();
    let asking = asked.into_iter().map(|peer| ask_one(cluster.clone(), peer, kind, question.clone()));
    futures_util::stream::iter(asking).buffer_unordered(ASKED_AT_ONCE).collect().await
}

async fn ask_one(cluster: Cluster, peer: String, kind: &'static str, question: Bytes) -> (String, Result<Bytes, String>) {
    let answer = match tokio::time::timeout(PATIENCE, cluster.request(&peer, kind, question)).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    };
    (peer, answer)
}

/// Where keys stand on this node, by component and key.
#[derive(Default)]
struct Holders(HashMap<(Name, u64), Holder>);

impl Holders {
    async fn of(insight: &Insight) -> Self {
        Self(insight.holders().await.into_iter().map(|holder| ((holder.domain.clone(), holder.key), holder)).collect())
    }
}

/// Targets that this node knows and nobody says to scrape. Of a partial answer, that can't be told.
///
/// Several targets may have one key, and nodes may know the same target under different labels: as many of this node's as the holder of
/// their key scrapes under other labels are scraped.
fn unowned(all: &NodeTargets, complete: bool) -> Vec<Value> {
    if !complete {
        return Vec::new();
    }
    let mut scraped: HashMap<Key, HashMap<String, usize>> = HashMap::new();
    for target in &all.active {
        *scraped.entry(key(target)).or_default().entry(identity(target)).or_default() += 1;
    }
    let is_scraped = |target: &&Value| {
        let same = scraped.get_mut(&key(target)).and_then(|targets| targets.get_mut(&identity(target)));
        same.filter(|same| **same > 0).map(|same| *same -= 1).is_some()
    };
    let (_, mut rest): (Vec<&Value>, Vec<&Value>) = all.known.iter().partition(is_scraped);
    let mut strangers: HashMap<Key, usize> = scraped.into_iter().map(|(key, targets)| (key, targets.values().sum())).collect();
    rest.retain(|target| match strangers.get_mut(&key(target)) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        _ => true,
    });
    rest.into_iter().cloned().collect()
}

/// A key within its pool.
type Key = (String, String);

fn key(target: &Value) -> Key {
    let text = |field: &str| target[field].as_str().unwrap_or_default().to_owned();
    (text("scrapePool"), text("key"))
}

/// What tells a target from others of its key.
fn identity(target: &Value) -> String {
    format!("{} {}", target["scrapeUrl"], target["labels"])
}

fn with_owner(mut target: Value, owner: &str) -> Value {
    target["owner"] = owner.into();
    target
}

/// What this node scrapes and knows.
fn own(board: &TargetBoard, holders: &Holders, owner: &str) -> NodeTargets {
    let mut node = NodeTargets::default();
    for pool in board.pools() {
        let domain = Name::from(pool.pool.as_str());
        for target in pool.targets.iter() {
            let status = target.status();
            let mut shown = shown(&pool.pool, target, &status, owner);
            holding::add_to(&mut shown, holders.0.get(&(domain.clone(), target.key)));
            if status.owned {
                node.active.push(shown);
            } else {
                node.known.push(with_owner(shown, ""));
            }
        }
        let dropped = pool.dropped.iter();
        node.dropped.extend(dropped.map(|dropped| {
            let reason = dropped.reason.to_string();
            json!({ "discoveredLabels": object(&dropped.discovered), "scrapePool": pool.pool, "reason": reason })
        }));
    }
    node
}

/// A target as this node knows it, whoever scrapes it.
pub(super) fn known(pool: &str, target: &Target) -> Value {
    shown(pool, target, &target.status(), "")
}

fn shown(pool: &str, target: &Target, status: &scrape::Status, owner: &str) -> Value {
    let at = jiff::Timestamp::from_millisecond(status.last_scrape).unwrap_or_default();
    // Prometheus shows a target that was never scraped with Go's zero time.
    let last_scrape = if status.last_scrape == 0 { "0001-01-01T00:00:00Z".to_owned() } else { at.to_string() };
    json!({
        "discoveredLabels": object(&target.discovered),
        "labels": object(&target.labels),
        "scrapePool": pool,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": status.last_error,
        "lastScrape": last_scrape,
        "lastScrapeDuration": status.last_duration.as_secs_f64(),
        "health": status.health.as_str(),
        "scrapeInterval": syntax::format_duration(target.interval),
        "scrapeTimeout": syntax::format_duration(target.timeout),
        "owner": owner,
        "key": format!("{:016x}", target.key),
        "samples": status.samples,
        "bodyBytes": status.body_size,
        "load": status.work_per_minute(target.interval),
    })
}

fn object(labels: &Labels) -> Value {
    labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(key: &str, shard: &str, owner: &str) -> Value {
        json!({ "scrapePool": "p", "key": key, "labels": { "shard": shard }, "scrapeUrl": "http://h/metrics", "owner": owner })
    }

    fn unowned_of(active: &[Value], known: &[Value]) -> Vec<Value> {
        let all = NodeTargets { active: active.to_vec(), known: known.to_vec(), dropped: Vec::new() };
        assert!(unowned(&all, false).is_empty(), "who did not answer may have them");
        unowned(&all, true)
    }

    #[test]
    fn a_key_that_nobody_has_leaves_all_its_targets_unowned() {
        let known = [target("1", "a", ""), target("1", "b", ""), target("2", "a", "")];
        assert_eq!(unowned_of(&[target("2", "a", "n2")], &known), known[..2]);
    }

    #[test]
    fn of_a_key_with_several_targets_only_those_are_unowned_that_its_holder_does_not_have() {
        let known = [target("1", "a", ""), target("1", "b", "")];
        assert_eq!(unowned_of(&[target("1", "b", "n2"), target("1", "a", "n2")], &known), [Value::Null; 0]);
        assert_eq!(unowned_of(&[target("1", "b", "n2")], &known), [target("1", "a", "")]);
    }

    #[test]
    fn a_target_that_its_holder_knows_under_other_labels_is_owned() {
        let known = [target("1", "mine", ""), target("1", "same", "")];
        assert_eq!(unowned_of(&[target("1", "theirs", "n2"), target("1", "same", "n2")], &known), [Value::Null; 0]);
    }
}
