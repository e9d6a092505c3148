//! What can go wrong with a client and with a request. Messages name the step and the URL, and never a secret: not the userinfo, not the
//! query, not a header's value.

use std::error::Error as StdError;
use std::fmt;

use http::Uri;

/// A client can't be built from its arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{argument}: {cause}")]
pub struct ConfigError {
    /// The argument, as it is written in the configuration: `tls_config.ca_file`.
    pub argument: &'static str,
    /// What is wrong with it.
    pub cause: String,
}

impl ConfigError {
    pub(crate) fn new(argument: &'static str, cause: impl fmt::Display) -> Self {
        Self { argument, cause: cause.to_string() }
    }
}

/// Where a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The request itself can't be sent.
    Request,
    /// Reading a file with a secret, or fetching a token.
    Credentials,
    /// Looking up the host.
    Dns,
    /// Opening the connection.
    Connect,
    /// Choosing a proxy, or asking it for a tunnel.
    Proxy,
    /// Reading certificates, or the handshake.
    Tls,
    /// Sending the request or waiting for the head of the answer on an open connection.
    Exchange,
    /// Following redirects.
    Redirect,
    /// The client's own timeout has passed.
    Timeout,
}

impl Step {
    /// The step in messages and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Credentials => "credentials",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Exchange => "exchange",
            Self::Redirect => "redirect",
            Self::Timeout => "timeout",
        }
    }
}

/// A request failed: `http://10.0.0.1:9100/metrics: connect: Connection refused (os error 111)`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {}: {cause}", .step.as_str())]
pub struct Error {
    /// Where.
    pub step: Step,
    /// The URL without userinfo and query.
    pub url: Box<str>,
    /// Why.
    pub cause: Box<str>,
}

/// A step failed; the URL is added where it is known.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {cause}", .step.as_str())]
pub(crate) struct StepError {
    pub(crate) step: Step,
    pub(crate) cause: String,
}

impl StepError {
    pub(crate) fn new(step: Step, cause: impl fmt::Display) -> Self {
        Self { step, cause: cause.to_string() }
    }

    pub(crate) fn at(self, uri: &Uri) -> Error {
        Error { step: self.step, url: shown(uri).into(), cause: self.cause.into() }
    }
}

/// An error with its causes, each once.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// A URL without what may be secret.
pub(crate) fn shown(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let query = if uri.query().is_some() { "?…" } else { "" };
    format!("{scheme}://{host}{}{query}", uri.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_userinfo_and_query() {
        let uri: Uri = "https://me:hunter2@h:1/p?token=hunter2".parse().unwrap();
        assert_eq!(shown(&uri), "https://h:1/p?…");
        let error = StepError::new(Step::Connect, "refused").at(&uri);
        assert_eq!(error.to_string(), "https://h:1/p?…: connect: refused");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
