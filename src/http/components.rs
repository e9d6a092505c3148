//! `/api/v0/web/…`: components and peers as Alloy's UI reads them, and requests to components.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Api, on_data};

/// Largest request body that a component is given.
const MAX_REQUEST: usize = 32 << 20;

/// All components of the root module, without bodies.
pub async fn list(State(api): State<Api>) -> Response {
    let data = api.data.clone();
    let list =
        async move { Json(api.controller.components().iter().map(runtime::ComponentInfo::to_json).collect::<Value>()).into_response() };
    on_data(&data, list).await.unwrap_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// One component with arguments, exports and debug info.
pub async fn one(State(api): State<Api>, Path(id): Path<String>) -> Response {
    let data = api.data.clone();
    // Rendered there too: a component may have ten thousand targets.
    let found = async move { api.controller.component_json(&id).await.map(|component| Json(component).into_response()) };
    let found = on_data(&data, found).await.flatten();
    found.unwrap_or_else(|| (StatusCode::NOT_FOUND, "no such component\n").into_response())
}

/// The members of the fleet; none if clustering is off. Beyond what Alloy tells: how many keys of targets each has discovered and whether
/// they differ from this node's, its version, zone and load (samples in a minute), and by how much its clock is ahead of this node's.
pub async fn peers(State(api): State<Api>) -> Json<Value> {
    let peers = api.cluster.map(|cluster| cluster.peers().to_vec()).unwrap_or_default();
    let shown = peers.iter().map(|peer| {
        json!({
            "name": peer.name,
            "addr": peer.addr.to_string(),
            "isSelf": peer.is_self,
            "state": peer.state.to_string(),
            "targetKeys": peer.keys,
            "targetsDiffer": peer.keys_differ,
            "version": peer.version,
            "zone": peer.zone,
            "load": peer.load,
            "clockSkewSeconds": peer.clock_ahead_ms.map(|ahead_ms| ahead_ms as f64 / 1000.0),
        })
    });
    Json(shown.collect())
}

/// A request below a component's path, answered by the component.
pub async fn proxy(State(api): State<Api>, Path(rest): Path<String>, request: Request) -> Response {
    let Some((handler, below)) = api.controller.http_handler(&rest) else {
        return (StatusCode::NOT_FOUND, "no such component, or it answers no requests\n").into_response();
    };
    let (mut parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_REQUEST).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, format!("the request's body is larger than {MAX_REQUEST} bytes\n")).into_response();
    };
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    match format!("{below}{query}").parse() {
        Ok(uri) => parts.uri = uri,
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    }
    let request: http::Request<Bytes> = Request::from_parts(parts, body);
    match on_data(&api.data, async move { handler.call(request).await }).await {
        Some(reply) => reply.map(Body::from),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
