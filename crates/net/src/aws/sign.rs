//! AWS Signature Version 4 in the `Authorization` header, after AWS' description of it ("Create a signed AWS API request"): a canonical
//! form of the request is hashed, and the hash is signed with a key that is derived for day, region and service.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use super::Keys;
use crate::headers::sensitive;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Headers that are not signed, as they are changed on the way or belong to one connection.
const UNSIGNED: [&str; 9] = [
    "authorization",
    "connection",
    "expect",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "uber-trace-id",
    "user-agent",
    "x-amzn-trace-id",
];

/// What a signature holds for.
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) at: Timestamp,
}

/// Adds `X-Amz-Date`, for temporary keys `X-Amz-Security-Token`, and the signature.
///
/// # Errors
/// The path is none that can be sent, or the keys hold characters that no header can hold.
pub(super) fn sign(request: &mut Parts, body: &[u8], keys: &Keys, scope: &Scope<'_>) -> Result<(), String> {
    request.uri = clean(&request.uri)?;
    let time = scope.at.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    let unusable = || "the keys hold characters that no header can hold".to_owned();
    request.headers.insert("x-amz-date", HeaderValue::try_from(&time).map_err(|_| unusable())?);
    request.headers.remove("x-amz-security-token");
    if let Some(token) = &keys.session_token {
        request.headers.insert("x-amz-security-token", sensitive(token.expose()).ok_or_else(unusable)?);
    }
    let (canonical, signed_headers) = canonical(request, body);
    let day = &time[..8];
    let place = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let text = format!("{ALGORITHM}\n{time}\n{place}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let first = format!("AWS4{}", keys.secret.expose()).into_bytes();
    let key = [day, scope.region, scope.service, "aws4_request"].into_iter().fold(first, |key, part| mac(&key, part));
    let signature = hex(&mac(&key, &text));
    let header = format!("{ALGORITHM} Credential={}/{place}, SignedHeaders={signed_headers}, Signature={signature}", keys.id);
    request.headers.insert(AUTHORIZATION, sensitive(&header).ok_or_else(unusable)?);
    Ok(())
}

/// The request in its canonical form, and the names of the headers in it.
fn canonical(request: &Parts, body: &[u8]) -> (String, String) {
    let mut headers: Vec<(&str, String)> = Vec::with_capacity(request.headers.len() + 1);
    headers.push((HOST.as_str(), host(&request.uri)));
    for name in request.headers.keys().map(http::HeaderName::as_str).filter(|name| *name != "host" && !UNSIGNED.contains(name)) {
        let values = request.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let values: Vec<String> = values.map(|value| value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")).collect();
        headers.push((name, values.join(",")));
    }
    headers.sort_unstable();
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let mut text = format!("{}\n{}\n{}\n", request.method, encoded(request.uri.path(), true), query(&request.uri));
    for (name, value) in &headers {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{name}:{value}");
    }
    let _ = write!(text, "\n{names}\n{}", hex(&Sha256::digest(body)));
    (text, names)
}

/// As the client sends it: a scheme's own port is left out.
fn host(uri: &Uri) -> String {
    let name = uri.host().unwrap_or_default();
    match (uri.scheme_str(), uri.port_u16()) {
        (_, None) | (Some("http"), Some(80)) | (Some("https"), Some(443)) => name.to_owned(),
        (_, Some(port)) => format!("{name}:{port}"),
    }
}

/// Parameters in order of name and value.
fn query(uri: &Uri) -> String {
    let mut parameters: Vec<(String, String)> = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .map(|(name, value)| (encoded(&name, false), encoded(&value, false)))
        .collect();
    parameters.sort_unstable();
    parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Percent-encoded but for what RFC 3986 calls unreserved. A path that is encoded already is encoded again, as AWS wants it (but for S3).
fn encoded(text: &str, is_path: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            b'/' if is_path => encoded.push('/'),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// The URL with a path without empty parts, `.` and `..`.
fn clean(uri: &Uri) -> Result<Uri, String> {
    let path = uri.path();
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    let mut clean = format!("/{}", parts.join("/"));
    if path.ends_with('/') && clean != "/" {
        clean.push('/');
    }
    if clean == path {
        return Ok(uri.clone());
    }
    if let Some(query) = uri.query() {
        let _ = write!(clean, "?{query}");
    }
    let mut uri = uri.clone().into_parts();
    uri.path_and_query = Some(clean.parse::<PathAndQuery>().map_err(|error| error.to_string())?);
    Uri::from_parts(uri).map_err(|error| error.to_string())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // Any length of key will do (RFC 2104).
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
