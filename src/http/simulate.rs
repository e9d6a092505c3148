//! `/api/v1/cluster/simulate?add=…&remove=…`: where targets would go if nodes came or went, and what each node would have to do.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cluster::{Forecast, ForecastError};
use serde_json::{Value, json};

use super::{Api, bad_request, on_data};

/// Nodes that may be added at a time.
const MAX_ADDED: usize = 1_000;

/// The query of a request.
#[derive(serde::Deserialize, Default)]
#[serde(default)]
pub(super) struct Question {
    /// How many nodes come, or their names, separated by commas.
    add: String,
    /// Names of nodes that go, separated by commas.
    remove: String,
}

/// Answers `/api/v1/cluster/simulate`.
pub(super) async fn simulate(State(api): State<Api>, Query(question): Query<Question>) -> Response {
    let data = api.data.clone();
    let answer = on_data(&data, async move { answer(&api, &question).await }).await;
    answer.unwrap_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

async fn answer(api: &Api, question: &Question) -> Response {
    let Some(cluster) = &api.cluster else {
        return bad_request("this collector runs alone: start it with --cluster.enabled to simulate a fleet");
    };
    let members: Vec<String> = cluster.peers().iter().map(|peer| peer.name.clone()).collect();
    let remove = list(&question.remove);
    let add = match added(&question.add, &members) {
        Ok(add) => add,
        Err(error) => return bad_request(&error),
    };
    if add.is_empty() && remove.is_empty() {
        return bad_request("say what changes: ?add= a number of nodes or their names, ?remove= names of nodes");
    }
    match cluster.forecast(&add, &remove).await {
        Ok(forecast) => Json(json!({ "status": "success", "data": shown(api, &forecast) })).into_response(),
        Err(error @ ForecastError::Members(_)) => bad_request(&error.to_string()),
        Err(error) => {
            let error = json!({ "status": "error", "errorType": "unavailable", "error": error.to_string() });
            (StatusCode::SERVICE_UNAVAILABLE, Json(error)).into_response()
        }
    }
}

fn list(names: &str) -> Vec<String> {
    names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The names of nodes to come: as given, or for a number those that a StatefulSet would give.
fn added(text: &str, members: &[String]) -> Result<Vec<String>, String> {
    let Ok(count) = text.trim().parse::<usize>() else { return Ok(list(text)) };
    if count > MAX_ADDED {
        return Err(format!("{count} nodes are too many to add at a time: at most {MAX_ADDED}"));
    }
    Ok(next_names(members, count))
}

/// `collector-3`, `collector-4`, … after `collector-2`; of several prefixes that of the first member counts.
fn next_names(members: &[String], count: usize) -> Vec<String> {
    let split = |name: &str| name.rsplit_once('-').and_then(|(prefix, ordinal)| Some((prefix.to_owned(), ordinal.parse::<u64>().ok()?)));
    let numbered: Vec<(String, u64)> = members.iter().filter_map(|name| split(name)).collect();
    let prefix = numbered.first().map_or_else(|| "new".to_owned(), |(prefix, _)| prefix.clone());
    let next = numbered.iter().filter(|(other, _)| *other == prefix).map(|(_, ordinal)| ordinal + 1).max().unwrap_or(0);
    (next..).take(count).map(|ordinal| format!("{prefix}-{ordinal}")).collect()
}

fn shown(api: &Api, forecast: &Forecast) -> Value {
    let urls: BTreeMap<(String, u64), String> = api
        .targets
        .pools()
        .iter()
        .flat_map(|pool| pool.targets.iter().map(|target| ((pool.pool.clone(), target.key), target.url.to_string())).collect::<Vec<_>>())
        .collect();
    let moves: Vec<Value> = forecast
        .moves
        .iter()
        .map(|step| {
            let url = urls.get(&(step.domain.to_string(), step.key)).map(String::as_str).unwrap_or_default();
            json!({
                "scrapePool": &*step.domain,
                "key": format!("{:016x}", step.key),
                "scrapeUrl": url,
                "from": &*step.from,
                "to": &*step.to,
                "load": step.weight,
            })
        })
        .collect();
    json!({ "nodes": nodes(forecast), "moves": moves, "movedLoad": forecast.moves.iter().filter_map(|step| step.weight).sum::<u64>() })
}

/// Targets and load of every node before and after.
fn nodes(forecast: &Forecast) -> Vec<Value> {
    let mut names: Vec<_> = forecast.before.keys().chain(forecast.after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let side = |fleet: &BTreeMap<_, (usize, u64)>, name| fleet.get(name).map(|(keys, load)| json!({ "targets": keys, "load": load }));
    names
        .into_iter()
        .map(|name| json!({ "name": &**name, "before": side(&forecast.before, name), "after": side(&forecast.after, name) }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_number_of_nodes_gets_the_names_that_come_next() {
        assert_eq!(added("2", &owned(&["web-9", "web-10", "other"])).unwrap(), owned(&["web-11", "web-12"]));
        assert_eq!(added("1", &owned(&["a", "b"])).unwrap(), owned(&["new-0"]));
        assert_eq!(added("x, y", &[]).unwrap(), owned(&["x", "y"]));
        assert_eq!(added("", &[]).unwrap(), owned(&[]));
        assert!(added("100000", &[]).unwrap_err().contains("at most"));
    }
}
