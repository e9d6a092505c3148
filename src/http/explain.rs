//! `/api/v1/cluster/explain?target=…`: everything that the fleet knows of a target, from any node: where it comes from, who scrapes it,
//! why, and who would be next.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cluster::ownership::Holder;
use cluster::{Cluster, Insight};
use scrape::Target;
use serde_json::{Value, json};

use super::{Api, bad_request, holding, on_data, origin, targets};

/// The question to other nodes: how do these keys stand with you?
const KIND: &str = "views";
/// Targets that are explained at most; of the others the number is told.
const MAX_MATCHES: usize = 10;

/// The query of a request.
#[derive(serde::Deserialize)]
pub(super) struct Question {
    /// A URL, address or `instance`, or a part of a URL.
    target: String,
}

/// A target that fits the question.
struct Match {
    pool: String,
    target: std::sync::Arc<Target>,
}

/// What is asked of other nodes and answered: component ID and key.
type Asked = Vec<(String, u64)>;

/// Lets other nodes ask how keys stand here.
pub fn answer_peers(cluster: &Cluster) {
    let insight = cluster.insight();
    let me = cluster.peers().iter().find(|peer| peer.is_self).map(|peer| peer.name.clone()).unwrap_or_default();
    cluster.on_request(KIND, move |asked: Bytes| {
        let (insight, me) = (insight.clone(), me.clone());
        async move {
            let asked: Asked = serde_json::from_slice(&asked).map_err(|error| error.to_string())?;
            let views = views(&insight, &me, &asked).await;
            serde_json::to_vec(&views).map(Bytes::from).map_err(|error| error.to_string())
        }
    });
}

/// How keys stand on this node, each `null` if it does not know it.
async fn views(insight: &Insight, me: &str, asked: &Asked) -> Vec<Value> {
    let holders: BTreeMap<(String, u64), Holder> =
        insight.holders().await.into_iter().map(|holder| ((holder.domain.to_string(), holder.key), holder)).collect();
    asked.iter().map(|key| holders.get(key).map_or(Value::Null, |holder| holding::view(me, holder))).collect()
}

/// Answers `/api/v1/cluster/explain`.
pub(super) async fn explain(State(api): State<Api>, Query(question): Query<Question>) -> Response {
    let data = api.data.clone();
    let answer = on_data(&data, async move { answer(&api, question.target.trim()).await }).await;
    answer.unwrap_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

async fn answer(api: &Api, wanted: &str) -> Response {
    if wanted.is_empty() {
        return bad_request("name a target: ?target= a URL, an address, an instance, or a part of a URL");
    }
    let mut matches = find(api, wanted);
    let found = matches.len();
    if found == 0 {
        let error = format!("this node knows no target like {wanted:?}; /api/v1/targets?scope=cluster lists all");
        return (StatusCode::NOT_FOUND, Json(json!({ "status": "error", "errorType": "not_found", "error": error }))).into_response();
    }
    matches.truncate(MAX_MATCHES);
    let asked: Asked = matches.iter().map(|found| (found.pool.clone(), found.target.key)).collect();
    let (views, warnings) = ask(api, &asked).await;
    let mut explained = Vec::with_capacity(matches.len());
    for (index, found) in matches.iter().enumerate() {
        let views = views.iter().filter_map(|views| views.get(index)).filter(|view| !view.is_null()).cloned().collect();
        explained.push(one(api, found, views).await);
    }
    let mut answer = json!({ "status": "success", "data": { "targets": explained, "found": found } });
    if !warnings.is_empty() {
        answer["warnings"] = warnings.into();
    }
    Json(answer).into_response()
}

/// Targets whose URL, address or instance is what was asked for; if there are none, those whose URL contains it.
fn find(api: &Api, wanted: &str) -> Vec<Match> {
    let all = || {
        let pools = api.targets.pools();
        pools.into_iter().flat_map(|pool| {
            let name = pool.pool.clone();
            pool.targets.iter().cloned().map(|target| Match { pool: name.clone(), target }).collect::<Vec<_>>()
        })
    };
    let is_it = |target: &Target| {
        &*target.url == wanted || target.labels.get("instance") == Some(wanted) || target.discovered.get("__address__") == Some(wanted)
    };
    let exact: Vec<Match> = all().filter(|found| is_it(&found.target)).collect();
    if exact.is_empty() { all().filter(|found| found.target.url.contains(wanted)).collect() } else { exact }
}

/// How all members, this node included, see the keys.
async fn ask(api: &Api, asked: &Asked) -> (Vec<Vec<Value>>, Vec<String>) {
    let Some(cluster) = &api.cluster else { return (Vec::new(), Vec::new()) };
    let (mut views, mut warnings) = (Vec::new(), Vec::new());
    let Ok(question) = serde_json::to_vec(asked) else { return (views, warnings) };
    for (peer, answer) in targets::ask_members(cluster, KIND, &question.into(), true).await {
        match answer.and_then(|answer| serde_json::from_slice(&answer).map_err(|error| error.to_string())) {
            Ok(theirs) => views.push(theirs),
            Err(error) => warnings.push(format!("partial answer: {peer} did not tell how it sees the target: {error}")),
        }
    }
    (views, warnings)
}

async fn one(api: &Api, found: &Match, views: Vec<Value>) -> Value {
    let Match { pool, target } = found;
    let mut explained = targets::known(pool, target);
    let holders: Vec<&Value> = views.iter().filter(|view| view["stands"] == "held").collect();
    explained["owner"] = holders.first().map(|view| view["node"].clone()).unwrap_or_default();
    if holders.len() > 1 {
        // After a partition, or while a change spreads.
        explained["owners"] = holders.iter().map(|view| view["node"].clone()).collect();
    }
    explained["way"] = origin::way(&api.controller, pool, &target.discovered).iter().map(origin::Hop::to_json).collect();
    explained["slots"] = slots(api, target);
    if let Some(cluster) = &api.cluster {
        let candidates = cluster.candidates(pool, target.key).await;
        explained["candidates"] = candidates.iter().map(holding::candidate).collect();
    }
    explained["views"] = views.into();
    explained
}

/// When the target is scraped: the same on every node.
fn slots(api: &Api, target: &Target) -> Value {
    let interval_ms = u64::try_from(target.interval.as_millis()).unwrap_or(u64::MAX).max(1);
    let name = api.cluster.as_ref().map_or("", |cluster| cluster.name());
    let phase_ms = cluster::slots::phase(name, target.key, interval_ms);
    json!({ "intervalMs": interval_ms, "phaseMs": phase_ms })
}
