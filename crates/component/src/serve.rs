//! HTTP that a component answers under `/api/v0/component/<id>/`. The product owns the listener and routes to it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// A request below the component's path, body already read within the listener's limit.
pub type HttpRequest = http::Request<Bytes>;
/// A whole answer.
pub type HttpReply = http::Response<Bytes>;

/// Answers a component's HTTP requests. The path of the request is what follows `/api/v0/component/<id>`.
pub trait ComponentHttp: Send + Sync {
    /// The answer to `request`.
    fn call(&self, request: HttpRequest) -> BoxFuture<'static, HttpReply>;
}

/// Where a component leaves its handler for the product.
pub(crate) type HttpCell = Arc<parking_lot::Mutex<Option<Arc<dyn ComponentHttp>>>>;
