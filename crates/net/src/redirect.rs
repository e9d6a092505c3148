//! Redirects: where to go next, with which method, and whether credentials may come along.

use http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use url::Url;

use crate::error::{Step, StepError};

/// How many requests are made at most, the first included: Go's client gives up when ten have been.
pub(crate) const MAX_REQUESTS: usize = 10;

/// The next request.
#[derive(Debug)]
pub(crate) struct Redirect {
    pub(crate) uri: Uri,
    pub(crate) method: Method,
    /// Whether the body is sent again.
    pub(crate) keeps_body: bool,
}

/// Where `response` to a request for `uri` leads, if it is a redirect. One without a `Location` is none, as in Go.
pub(crate) fn of<B>(response: &Response<B>, uri: &Uri, method: &Method) -> Result<Option<Redirect>, StepError> {
    let changes_method = match response.status() {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => !matches!(*method, Method::GET | Method::HEAD),
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => false,
        _ => return Ok(None),
    };
    let keeps_body = matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let Some(location) = response.headers().get(header::LOCATION).filter(|location| !location.is_empty()) else { return Ok(None) };
    let broken = |cause: &str| StepError::new(Step::Redirect, format!("the server redirects to a place that {cause}"));
    let location = std::str::from_utf8(location.as_bytes()).map_err(|_| broken("is not text"))?;
    let from = Url::parse(&uri.to_string()).map_err(|_| broken("cannot be resolved"))?;
    let mut to = from.join(location).map_err(|_| broken("is not a URL"))?;
    if !matches!(to.scheme(), "http" | "https") || !to.has_host() {
        return Err(broken("is neither http nor https"));
    }
    to.set_fragment(None);
    let uri = to.as_str().parse().map_err(|_| broken("is not a URL"))?;
    let method = if changes_method { Method::GET } else { method.clone() };
    Ok(Some(Redirect { uri, method, keeps_body }))
}

/// Whether credentials for `original` may be sent to `next`: to the same host and what is below it, whatever the port, as Go and
/// Prometheus (3.13) have it; but other than there, never from TLS to plain text.
pub(crate) fn may_know_secrets(original: &Uri, next: &Uri) -> bool {
    let is_downgrade = original.scheme_str() == Some("https") && next.scheme_str() != Some("https");
    let name = |uri: &Uri| uri.host().unwrap_or_default().to_ascii_lowercase();
    !is_downgrade && is_host_or_below(&name(next), &name(original))
}

fn is_host_or_below(name: &str, host: &str) -> bool {
    if host.is_empty() || name == host {
        return !host.is_empty();
    }
    // Nothing is below an address; a zone (`[fe80::1%25.example.org]`) could look so.
    !name.contains([':', '%']) && name.strip_suffix(host).is_some_and(|above| above.ends_with('.'))
}

/// Takes away what another host must not see: credentials, and every header that is marked as sensitive.
pub(crate) fn remove_secrets(headers: &mut HeaderMap) {
    for name in [header::AUTHORIZATION, header::WWW_AUTHENTICATE, header::COOKIE, header::PROXY_AUTHORIZATION, header::PROXY_AUTHENTICATE] {
        headers.remove(name);
    }
    headers.remove("cookie2");
    let secret: Vec<_> = headers.iter().filter(|(_, value)| value.is_sensitive()).map(|(name, _)| name.clone()).collect();
    for name in secret {
        headers.remove(name);
    }
}

/// Takes away what describes a body that is not sent again.
pub(crate) fn remove_body_headers(headers: &mut HeaderMap) {
    for name in [header::CONTENT_ENCODING, header::CONTENT_LANGUAGE, header::CONTENT_LENGTH, header::CONTENT_LOCATION, header::CONTENT_TYPE]
    {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(status: u16, location: &str, method: Method) -> Option<Redirect> {
        let response = Response::builder().status(status).header("location", location.as_bytes()).body(()).unwrap();
        of(&response, &"http://a:1/x/y?q".parse().unwrap(), &method).unwrap()
    }

    #[test]
    fn places_are_resolved_against_the_request() {
        for (location, uri) in [
            ("/z", "http://a:1/z"),
            ("z?p#f", "http://a:1/x/z?p"),
            ("https://a:1/", "https://a:1/"),
            ("//b/", "http://b/"),
            ("/ü", "http://a:1/%C3%BC"),
            ("http://me:p@c/", "http://me:p@c/"),
        ] {
            assert_eq!(redirect(302, location, Method::GET).unwrap().uri, uri, "{location}");
        }
    }

    #[test]
    fn posts_become_gets_unless_the_status_forbids_it() {
        for (status, method, keeps) in
            [(301, Method::GET, false), (303, Method::GET, false), (307, Method::POST, true), (308, Method::POST, true)]
        {
            let found = redirect(status, "/", Method::POST).unwrap();
            assert_eq!((found.method, found.keeps_body), (method, keeps), "{status}");
        }
        assert_eq!(redirect(302, "/", Method::HEAD).unwrap().method, Method::HEAD);
        assert!(redirect(304, "/", Method::GET).is_none());
    }

    #[test]
    fn other_schemes_are_refused_and_no_location_is_no_redirect() {
        let uri: Uri = "http://a/".parse().unwrap();
        for location in ["file:///etc/passwd", "http://[", "mailto:x"] {
            let response = Response::builder().status(302).header("location", location).body(()).unwrap();
            assert_eq!(of(&response, &uri, &Method::GET).unwrap_err().step, Step::Redirect, "{location}");
        }
        assert!(of(&Response::builder().status(302).body(()).unwrap(), &uri, &Method::GET).unwrap().is_none());
        assert!(redirect(302, "", Method::GET).is_none());
    }

    #[test]
    fn secrets_go_to_the_host_and_what_is_below_it() {
        for (original, next, expected) in [
            ("http://a.example:1/", "http://A.EXAMPLE:2/", true),
            ("http://a.example/", "https://a.example/", true),
            ("http://a.example/", "http://x.a.example/", true),
            ("https://a.example/", "http://a.example/", false),
            ("http://a.example/", "http://ba.example/", false),
            ("http://x.a.example/", "http://a.example/", false),
            ("http://10.0.0.1/", "http://10.0.0.1:81/", true),
            ("http://10.0.0.1/", "http://10.0.0.2/", false),
            ("http://[fd00::1]/", "http://[fd00::1]:81/", true),
            ("http://[fd00::1]/", "http://[fd00::2]/", false),
        ] {
            assert_eq!(may_know_secrets(&original.parse().unwrap(), &next.parse().unwrap()), expected, "{original} {next}");
        }
    }

    #[test]
    fn what_is_secret_is_known_by_its_name_or_its_mark() {
        let mut marked: http::HeaderValue = "k".parse().unwrap();
        marked.set_sensitive(true);
        let mut headers = HeaderMap::new();
        for name in ["authorization", "cookie", "cookie2", "accept"] {
            headers.insert(name, "x".parse().unwrap());
        }
        headers.append("x-key", "plain".parse().unwrap());
        headers.append("x-key", marked);
        remove_secrets(&mut headers);
        assert_eq!(headers.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }
}
