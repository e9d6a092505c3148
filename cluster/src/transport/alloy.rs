//! Grafana Alloy's nodes, told apart from other strangers. Their protocol (ckit, over HTTP/2 on the same port as here) is not
//! spoken: who dials one by mistake, or is dialled by one, should read that name and not a status code.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::SendRequest;

use super::StreamBody;

/// Below this lies what Alloy's nodes send to each other.
pub(super) const ALLOY: &str = "/api/v1/ckit/transport/";

/// The content type without which Alloy takes none of it.
const CONTENT_TYPE: &str = "application/x.ckit";

/// Whether Alloy is at the other end, by what only its transport does: it refuses an empty list of messages of a foreign
/// content type as a bad request, and takes one of its own. Neither has an effect.
pub(super) async fn answers(sender: &mut SendRequest<StreamBody>, scheme: &str, addr: SocketAddr) -> bool {
    post(sender, scheme, addr, "text/plain").await == Some(StatusCode::BAD_REQUEST)
        && post(sender, scheme, addr, CONTENT_TYPE).await == Some(StatusCode::OK)
}

async fn post(sender: &mut SendRequest<StreamBody>, scheme: &str, addr: SocketAddr, content_type: &str) -> Option<StatusCode> {
    let request = Request::post(format!("{scheme}://{addr}{ALLOY}message")).header(header::CONTENT_TYPE, content_type);
    let request = request.body(Empty::<Bytes>::new().boxed()).ok()?;
    sender.ready().await.ok()?;
    sender.send_request(request).await.ok().map(|response| response.status())
}
