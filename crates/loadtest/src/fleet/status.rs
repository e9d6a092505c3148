//! What a node says of itself over HTTP: targets in Prometheus' format, peers in Alloy's, and its own metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::Node;
use crate::http::Client;
pub use crate::http::FetchError;

/// How long a page may take; a node that stands still must not hold up its watcher.
const PAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// A target that a node scrapes (`/api/v1/targets`, the fields that are used here).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ActiveTarget {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its address.
    pub scrape_url: String,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// Why the last scrape failed; empty if it did not.
    pub last_error: String,
    /// The node that scrapes it, where the answer is for the whole cluster.
    pub owner: Option<String>,
}

/// A member as a node sees it (`/api/v0/web/peers`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// `host:port`.
    pub addr: String,
    /// Whether it is the node that was asked.
    pub is_self: bool,
    /// `viewer`, `participant` or `terminating`.
    pub state: String,
}

#[derive(Deserialize)]
struct Targets {
    data: TargetsData,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TargetsData {
    #[serde(default)]
    active_targets: Vec<ActiveTarget>,
}

/// The connections to one node.
#[derive(Debug)]
pub(crate) struct Pages(Client);

impl Default for Pages {
    fn default() -> Self {
        Self(Client::new(PAGE_TIMEOUT))
    }
}

impl Node {
    /// The targets that it scrapes itself.
    ///
    /// # Errors
    /// No answer within two seconds, or another than expected.
    pub async fn targets(&self) -> Result<Vec<ActiveTarget>, FetchError> {
        let all: Targets = self.pages().0.get_json(&self.url("/api/v1/targets?state=active")).await?;
        Ok(all.data.active_targets)
    }

    /// The targets of the whole fleet, with their owners.
    ///
    /// # Errors
    /// No answer within two seconds, or another than expected.
    pub async fn cluster_targets(&self) -> Result<Vec<ActiveTarget>, FetchError> {
        let all: Targets = self.pages().0.get_json(&self.url("/api/v1/targets?state=active&scope=cluster")).await?;
        Ok(all.data.active_targets)
    }

    /// The members that it sees, itself included.
    ///
    /// # Errors
    /// No answer within two seconds, or another than expected.
    pub async fn peers(&self) -> Result<Vec<Peer>, FetchError> {
        self.pages().0.get_json(&self.url("/api/v0/web/peers")).await
    }

    /// Its metrics as text.
    ///
    /// # Errors
    /// No answer within two seconds, or another than 200.
    pub async fn metrics(&self) -> Result<String, FetchError> {
        let body = self.pages().0.get_ok(&self.url("/metrics")).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Has it read its configuration again.
    ///
    /// # Errors
    /// No answer within two seconds, or the reason why it kept the old one.
    pub async fn reload(&self) -> Result<(), FetchError> {
        self.pages().0.get_ok(&self.url("/-/reload")).await.map(|_| ())
    }

    /// Whether it says that it is ready to work.
    pub async fn is_ready(&self) -> bool {
        self.pages().0.get_ok(&self.url("/-/ready")).await.is_ok()
    }
}

/// The sum over all series of a metric in exposition text; `None` if there is none.
#[must_use]
pub fn metric_sum(text: &str, metric: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(metric)?;
        let value = match rest.as_bytes().first()? {
            b' ' => rest,
            b'{' => rest.rsplit_once('}')?.1,
            _ => return None,
        };
        value.split_ascii_whitespace().next()?.parse::<f64>().ok()
    });
    values.reduce(|a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_series_only() {
        let text = "# TYPE a_total counter\na_total{x=\"}1\"} 2\na_total{x=\"2\"} 3 1700000000000\na_total_more 9\na 4\n";
        assert_eq!(metric_sum(text, "a_total"), Some(5.0));
        assert_eq!(metric_sum(text, "a"), Some(4.0));
        assert_eq!(metric_sum(text, "b"), None);
    }

    #[test]
    fn targets_and_peers_are_read_in_their_formats() {
        let targets: Targets = serde_json::from_str(
            r#"{"status":"success","data":{"activeTargets":[{"discoveredLabels":{"__address__":"h:1"},"labels":{"instance":"a","job":"j"},
                "scrapePool":"p","scrapeUrl":"http://h:1/metrics","health":"up","lastError":"","owner":"node-2","lastScrape":"2026-01-01T00:00:00Z"}],
                "droppedTargets":[]}}"#,
        )
        .unwrap();
        let target = &targets.data.active_targets[0];
        assert_eq!((target.labels["instance"].as_str(), target.health.as_str(), target.owner.as_deref()), ("a", "up", Some("node-2")));
        let peers: Vec<Peer> = serde_json::from_str(r#"[{"name":"n","addr":"h:1","isSelf":true,"state":"participant"}]"#).unwrap();
        assert!(peers[0].is_self && peers[0].state == "participant");
    }
}
