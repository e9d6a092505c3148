//! A URL as an argument: it keeps its spelling (labels are made of it) and hides its password.

use std::fmt;
use std::str::FromStr;

use ::url::Url;

/// An absolute `http` or `https` URL. `Display` shows it as it was written, but for the password.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    text: String,
    parsed: Url,
}

impl HttpUrl {
    /// The URL as it was written, password and all: for labels that must equal it, and for requests.
    #[must_use]
    pub fn as_written(&self) -> &str {
        &self.text
    }

    /// The parsed URL.
    #[must_use]
    pub fn parsed(&self) -> &Url {
        &self.parsed
    }

    /// The URL for a request.
    ///
    /// # Errors
    /// It has characters that no request line can hold, which parsing has already escaped in all known cases.
    pub fn to_uri(&self) -> Result<http::Uri, http::uri::InvalidUri> {
        self.parsed.as_str().parse()
    }
}

impl FromStr for HttpUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The text is not repeated in messages: it may hold a password.
        let parsed = Url::parse(text).map_err(|error| format!("is not a URL: {error}; write http://host:port/path"))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(format!("has the scheme {:?}; only http and https are supported", parsed.scheme()));
        }
        if !parsed.has_host() {
            return Err("has no host".to_owned());
        }
        Ok(Self { text: text.to_owned(), parsed })
    }
}

impl fmt::Display for HttpUrl {
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

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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
    }

    #[test]
    fn other_schemes_and_relative_urls_are_refused_without_repeating_them() {
        for (text, part) in [("ftp://u:hunter2@h", "scheme \"ftp\""), ("hunter2", "is not a URL"), ("unix:///hunter2", "scheme \"unix\"")] {
            let error = text.parse::<HttpUrl>().unwrap_err();
            assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        }
    }
}
