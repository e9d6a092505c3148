//! Headers that the configuration gives, as `name -> values`.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use syntax::Secret;

/// Headers that nobody may set, as they belong to the connection, the credentials or the protocol (Prometheus' `reservedHeaders`).
const RESERVED: [&str; 18] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

/// The headers of `http_headers`.
///
/// # Errors
/// A name is reserved or no header name, or a value holds control characters. Values are not repeated.
pub(crate) fn parse(headers: &BTreeMap<String, Vec<Secret>>) -> Result<HeaderMap, String> {
    if let Some(name) = headers.keys().find(|name| RESERVED.contains(&name.to_ascii_lowercase().as_str())) {
        return Err(format!("setting header {name:?} is not allowed"));
    }
    parse_any(headers)
}

/// Headers with any names.
///
/// # Errors
/// A name is no header name, or a value holds control characters. Values are not repeated.
pub(crate) fn parse_any(headers: &BTreeMap<String, Vec<Secret>>) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    for (name, values) in headers {
        let key: HeaderName = name.parse().map_err(|_| format!("{name:?} is not a header name"))?;
        for value in values {
            let value = sensitive(value.expose())
                .ok_or_else(|| format!("the value of header {name:?} holds characters that no header can hold"))?;
            map.append(key.clone(), value);
        }
    }
    Ok(map)
}

/// A value that HTTP/2 neither indexes nor anything prints.
pub(crate) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
