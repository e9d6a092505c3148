//! Redirects: where to go next, with which method, and whether credentials may come along.

use http::{Method, Response, StatusCode, Uri, header};
use url::Url;

use crate::error::{Step, StepError};

/// As many as Go's client follows.
pub(crate) const MAX_REDIRECTS: usize = 10;

/// The next request.
pub(crate) struct Redirect {
    pub(crate) uri: Uri,
    pub(crate) method: Method,
    /// Whether the body is sent again.
    pub(crate) keeps_body: bool,
    /// Whether it goes to the same scheme, host and port. Only there credentials may be sent.
    pub(crate) same_origin: bool,
}

/// Where `response` to a request for `uri` leads, if it is a redirect. One without a `Location` is none, as in Go.
pub(crate) fn of<B>(response: &Response<B>, uri: &Uri, method: &Method) -> Result<Option<Redirect>, StepError> {
    let changes_method = match response.status() {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => !matches!(*method, Method::GET | Method::HEAD),
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => false,
        _ => return Ok(None),
    };
    let Some(location) = response.headers().get(header::LOCATION) else { return Ok(None) };
    let broken = |cause: &str| StepError::new(Step::Redirect, format!("the server redirects to a place that {cause}"));
    let location = location.to_str().map_err(|_| broken("is not text"))?;
    let from = Url::parse(&uri.to_string()).map_err(|_| broken("cannot be resolved"))?;
    let mut to = from.join(location).map_err(|_| broken("is not a URL"))?;
    if !matches!(to.scheme(), "http" | "https") || !to.has_host() {
        return Err(broken("is neither http nor https"));
    }
    let same_origin = from.origin() == to.origin();
    to.set_fragment(None);
    let uri = to.as_str().parse().map_err(|_| broken("is not a URL"))?;
    let method = if changes_method { Method::GET } else { method.clone() };
    Ok(Some(Redirect { uri, method, keeps_body: !changes_method, same_origin }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(status: u16, location: &str, method: Method) -> Option<Redirect> {
        let response = Response::builder().status(status).header("location", location).body(()).unwrap();
        of(&response, &"http://a:1/x/y?q".parse().unwrap(), &method).unwrap()
    }

    #[test]
    fn relative_places_stay_on_the_origin_and_others_leave_it() {
        for (location, uri, same) in [
            ("/z", "http://a:1/z", true),
            ("z?p#f", "http://a:1/x/z?p", true),
            ("http://a:1/", "http://a:1/", true),
            ("http://a:2/", "http://a:2/", false),
            ("https://a:1/", "https://a:1/", false),
            ("//b/", "http://b/", false),
        ] {
            let found = redirect(302, location, Method::GET).unwrap();
            assert_eq!((found.uri.to_string().as_str(), found.same_origin), (uri, same), "{location}");
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
        let response = Response::builder().status(302).header("location", "file:///etc/passwd").body(()).unwrap();
        assert!(of(&response, &uri, &Method::GET).is_err());
        assert!(of(&Response::builder().status(302).body(()).unwrap(), &uri, &Method::GET).unwrap().is_none());
    }
}
