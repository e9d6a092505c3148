//! URLs as arguments: they keep their spelling (labels are made of it) and hide their passwords.

use std::fmt;
use std::str::FromStr;

use ::url::{Url, form_urlencoded};

/// An absolute URL of a known scheme, and how it was written.
#[derive(Clone, PartialEq, Eq)]
struct Written {
    text: String,
    parsed: Url,
}

impl Written {
    fn parse(text: &str, schemes: &[&str], example: &str) -> Result<Self, String> {
        // The text is not repeated in messages: it may hold a password.
        let parsed = Url::parse(text).map_err(|error| format!("is not a URL: {error}; write {example}"))?;
        if !schemes.contains(&parsed.scheme()) {
            let (last, others) = schemes.split_last().unwrap_or((&"", &[]));
            return Err(format!("has the scheme {:?}; only {} and {last} are supported", parsed.scheme(), others.join(", ")));
        }
        if parsed.host_str().is_none_or(str::is_empty) {
            return Err("has no host".to_owned());
        }
        Ok(Self { text: text.to_owned(), parsed })
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.parsed.password().is_none() {
            return f.write_str(&self.text);
        }
        let mut shown = self.parsed.clone();
        // As Go's `Redacted` shows it. Can't fail: there is a host.
        let _ = shown.set_password(Some("xxxxx"));
        f.write_str(shown.as_str())
    }
}

/// An absolute `http` or `https` URL. `Display` shows it as it was written, but for the password.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(Written);

impl HttpUrl {
    /// The URL as it was written, password and all: for labels that must equal it, and for requests.
    #[must_use]
    pub fn as_written(&self) -> &str {
        &self.0.text
    }

    /// The parsed URL.
    #[must_use]
    pub fn parsed(&self) -> &Url {
        &self.0.parsed
    }

    /// The URL for a request.
    ///
    /// # Errors
    /// It has characters that no request line can hold, which parsing has already escaped in all known cases.
    pub fn to_uri(&self) -> Result<http::Uri, http::uri::InvalidUri> {
        self.0.parsed.as_str().parse()
    }
}

impl FromStr for HttpUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Written::parse(text, &["http", "https"], "http://host:port/path").map(Self)
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

syntax::impl_text_value!(HttpUrl);

/// A URL that may be left out or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionalUrl(pub Option<HttpUrl>);

impl FromStr for OptionalUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(Some).map(Self) }
    }
}

impl fmt::Display for OptionalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |url| url.fmt(f))
    }
}

syntax::impl_text_value!(OptionalUrl);

/// The URL of a proxy, which may be left out or empty: `http`, `https`, `socks5` or `socks5h`, as Go's client takes them. `Display` shows
/// it as it was written, but for the password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxyUrl(Option<Written>);

impl ProxyUrl {
    /// The parsed URL, if there is one.
    #[must_use]
    pub fn parsed(&self) -> Option<&Url> {
        self.0.as_ref().map(|url| &url.parsed)
    }
}

impl FromStr for ProxyUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        Written::parse(text, &["http", "https", "socks5", "socks5h"], "http://host:port").map(Some).map(Self)
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |url| url.fmt(f))
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

syntax::impl_text_value!(ProxyUrl);

/// Text of a URL's userinfo without percent-encoding.
pub(crate) fn decoded(text: &str) -> String {
    // A form decoder reads `+` as a space and `&` and `=` as separators, which userinfo does not mean.
    let plain = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(plain.as_bytes()).next().map_or_else(String::new, |(name, _)| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spelling_stays_and_the_password_is_hidden() {
        let plain: HttpUrl = "http://example.org".parse().unwrap();
        assert_eq!((plain.as_written(), plain.to_string().as_str()), ("http://example.org", "http://example.org"));
        let secret: HttpUrl = "https://me:hunter2@example.org/x".parse().unwrap();
        assert_eq!(secret.to_string(), "https://me:xxxxx@example.org/x");
        assert!(!format!("{secret:?}").contains("hunter2"));
        let proxy: ProxyUrl = "socks5://me:hunter2@example.org:1080".parse().unwrap();
        assert_eq!((proxy.to_string(), format!("{proxy:?}")), (format!("{proxy:?}"), "socks5://me:xxxxx@example.org:1080".to_owned()));
    }

    #[test]
    fn other_schemes_and_relative_urls_are_refused_without_repeating_them() {
        for (text, part) in [
            ("ftp://u:hunter2@h", "scheme \"ftp\"; only http and https"),
            ("hunter2", "is not a URL"),
            ("unix:///hunter2", "scheme \"unix\""),
        ] {
            let error = text.parse::<HttpUrl>().unwrap_err();
            assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        }
        for (text, part) in [
            ("proxy:3128", "scheme \"proxy\"; only http, https, socks5 and socks5h"),
            ("10.0.0.1:3128", "write http://host:port"),
            ("socks5://", "has no host"),
        ] {
            let error = text.parse::<ProxyUrl>().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!("".parse::<ProxyUrl>().unwrap().parsed().is_none());
    }

    #[test]
    fn userinfo_is_decoded_as_it_is_meant() {
        for (text, expected) in [("p%40ss+", "p@ss+"), ("a&b=c", "a&b=c"), ("", ""), ("%C3%A9", "é")] {
            assert_eq!(decoded(text), expected);
        }
    }
}
