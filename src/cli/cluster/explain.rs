//! `collector cluster explain TARGET`: all that the fleet knows of a target, told to a person.

use std::fmt::{self, Write as _};

use anyhow::Result;
use clap::Args;
use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use super::Asked;

/// Everything about a target
#[derive(Args)]
pub(super) struct Explain {
    /// Its URL, address or instance, or a part of its URL
    target: String,
    #[command(flatten)]
    asked: Asked,
}

impl Explain {
    pub(super) async fn answer(&self) -> Result<String> {
        let target: String = byte_serialize(self.target.as_bytes()).collect();
        let data = self.asked.data(&format!("/api/v1/cluster/explain?target={target}")).await?;
        self.asked.print(&data, |data| told(data).unwrap_or_default())
    }
}

fn told(data: &Value) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let targets = data["targets"].as_array().map_or(&[][..], Vec::as_slice);
    for (index, target) in targets.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        tell(&mut text, target)?;
    }
    let rest = data["found"].as_u64().unwrap_or_default().saturating_sub(targets.len() as u64);
    if rest > 0 {
        writeln!(text, "\n{rest} more targets fit; name one of them more closely")?;
    }
    Ok(text)
}

fn tell(text: &mut String, target: &Value) -> fmt::Result {
    writeln!(text, "{}  ({})", word(&target["scrapeUrl"]), word(&target["scrapePool"]))?;
    let views = target["views"].as_array().map_or(&[][..], Vec::as_slice);
    holder(text, views)?;
    let candidates = target["candidates"].as_array().map_or(&[][..], Vec::as_slice);
    if let Some(first) = candidates.first() {
        line(text, "because", because(first))?;
        let next: Vec<&str> = candidates[1..].iter().map(|candidate| word(&candidate["node"])).collect();
        line(text, "next", if next.is_empty() { "nobody: there is no other node".to_owned() } else { next.join(", ") })?;
        for stranger in candidates.iter().filter(|candidate| candidate["knowsTarget"] == false) {
            line(text, "", format!("{} has not discovered it", word(&stranger["node"])))?;
        }
    }
    let (interval, phase) = (target["slots"]["intervalMs"].as_u64().unwrap_or(0), target["slots"]["phaseMs"].as_u64().unwrap_or(0));
    line(text, "scraped", format!("every {}, {} after each full interval, on whichever node", seconds(interval), seconds(phase)))?;
    line(text, "key", word(&target["key"]))?;
    way(text, target)?;
    line(text, "labels", labels(&target["labels"]))?;
    for view in views.iter().filter(|view| view["proposes"] != candidates.first().map_or(&Value::Null, |first| &first["node"]).clone()) {
        line(text, "differs", format!("{} proposes {}", word(&view["node"]), word(&view["proposes"])))?;
    }
    Ok(())
}

/// Who holds it, since when, and how it came there.
fn holder(text: &mut String, views: &[Value]) -> fmt::Result {
    let mut holders = views.iter().filter(|view| view["stands"] == "held").peekable();
    if holders.peek().is_none() {
        let nobody = if views.is_empty() { "this node: it is in no fleet" } else { "nobody at this moment" };
        line(text, "node", nobody)?;
    }
    for holder in holders {
        let since = holder["since"].as_str().map(|since| format!(", since {since}")).unwrap_or_default();
        line(text, "node", format!("{}{since}: {}", word(&holder["node"]), word(&holder["reason"])))?;
    }
    for view in views.iter().filter(|view| !["held", "left to others"].contains(&word(&view["stands"]))) {
        line(text, "", format!("{}: {}", word(&view["node"]), word(&view["stands"])))?;
    }
    Ok(())
}

/// Why the first candidate is the first.
fn because(candidate: &Value) -> String {
    let node = word(&candidate["node"]);
    match word(&candidate["because"]) {
        "ring" => format!("the ring proposes {node}"),
        "table" => format!("the table of placement names {node}, to even out the load"),
        "backup" => format!("the table of placement names {node} in place of a node that is not there"),
        other => format!("{node}: {other}"),
    }
}

/// The components that it has passed, and what their rules did.
fn way(text: &mut String, target: &Value) -> fmt::Result {
    let hops = target["way"].as_array().map_or(&[][..], Vec::as_slice);
    let names = hops.iter().map(|hop| word(&hop["component"])).chain([word(&target["scrapePool"])]);
    line(text, "from", names.collect::<Vec<_>>().join(" > "))?;
    for hop in hops {
        for step in hop["steps"].as_array().into_iter().flatten() {
            for change in step["changes"].as_array().into_iter().flatten() {
                let (rule, action) = (&step["rule"], word(&step["action"]));
                let made = match &change["after"] {
                    Value::String(after) => format!("{}={after:?}", word(&change["label"])),
                    _ => format!("{} removed", word(&change["label"])),
                };
                line(text, "", format!("{} rule {rule} ({action}): {made}", word(&hop["component"])))?;
            }
        }
    }
    Ok(())
}

fn line(text: &mut String, head: &str, rest: impl fmt::Display) -> fmt::Result {
    writeln!(text, "  {head:<8}  {rest}")
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn labels(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={:?}", word(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn seconds(ms: u64) -> String {
    format!("{} s", ms as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_target_is_told_with_its_holder_its_way_and_the_line_behind_it() {
        let target = json!({
            "scrapeUrl": "http://a:1/metrics",
            "scrapePool": "prometheus.scrape.pods",
            "key": "00000000000000ab",
            "labels": { "instance": "a:1", "job": "pods" },
            "slots": { "intervalMs": 15_000, "phaseMs": 11_100 },
            "candidates": [
                { "node": "n1", "because": "table", "knowsTarget": true },
                { "node": "n0", "because": "fallback", "knowsTarget": false },
            ],
            "views": [
                { "node": "n0", "stands": "left to others", "proposes": "n1", "since": null, "reason": "" },
                { "node": "n1", "stands": "held", "proposes": "n1", "since": "2023-11-14T22:13:20Z", "reason": "taken over from n0" },
                { "node": "n2", "stands": "being claimed", "proposes": "n2", "since": null, "reason": "" },
            ],
            "way": [
                { "component": "discovery.file.a", "steps": [] },
                { "component": "discovery.relabel.b", "steps": [
                    { "rule": 2, "action": "replace", "changes": [{ "label": "zone", "before": null, "after": "x" }] },
                    { "rule": 3, "action": "labeldrop", "changes": [{ "label": "tmp", "before": "1", "after": null }] },
                ] },
            ],
        });
        let expected = "\
http://a:1/metrics  (prometheus.scrape.pods)
  node      n1, since 2023-11-14T22:13:20Z: taken over from n0
            n2: being claimed
  because   the table of placement names n1, to even out the load
  next      n0
            n0 has not discovered it
  scraped   every 15 s, 11.1 s after each full interval, on whichever node
  key       00000000000000ab
  from      discovery.file.a > discovery.relabel.b > prometheus.scrape.pods
            discovery.relabel.b rule 2 (replace): zone=\"x\"
            discovery.relabel.b rule 3 (labeldrop): tmp removed
  labels    {instance=\"a:1\", job=\"pods\"}
  differs   n2 proposes n2

4 more targets fit; name one of them more closely
";
        assert_eq!(told(&json!({ "targets": [target], "found": 5 })).unwrap(), expected);
    }
}
