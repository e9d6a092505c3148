//! `collector cluster simulate`: what a fleet of more or fewer nodes would look like.

use anyhow::{Result, bail};
use clap::Args;
use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use super::{Asked, table};

/// Moves that the table lists; JSON has all.
const MAX_LISTED: usize = 20;

/// Where targets would go if nodes came or went
#[derive(Args)]
pub(super) struct Simulate {
    /// Nodes that come: how many, or their names separated by commas
    #[arg(long, value_name = "N|NAMES")]
    add: Option<String>,
    /// Nodes that go, separated by commas
    #[arg(long, value_name = "NAMES")]
    remove: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

impl Simulate {
    pub(super) async fn answer(&self) -> Result<String> {
        if self.add.is_none() && self.remove.is_none() {
            bail!("say what changes: --add N, --add NAMES or --remove NAMES");
        }
        let part = |text: &Option<String>| byte_serialize(text.as_deref().unwrap_or_default().as_bytes()).collect::<String>();
        let data = self.asked.data(&format!("/api/v1/cluster/simulate?add={}&remove={}", part(&self.add), part(&self.remove))).await?;
        self.asked.print(&data, told)
    }
}

fn told(data: &Value) -> String {
    let list = |name: &str| data[name].as_array().map_or(&[][..], Vec::as_slice);
    let nodes = list("nodes").iter().map(|node| {
        let [before, after] = ["before", "after"].map(|side| &node[side]);
        [word(&node["name"]), number(&before["targets"]), number(&after["targets"]), load(&before["load"]), load(&after["load"])]
    });
    let mut text = table(["NODE", "TARGETS NOW", "THEN", "SAMPLES/S NOW", "THEN"], nodes.collect());
    let moves = list("moves");
    let total: u64 = list("nodes").iter().filter_map(|node| node["before"]["load"].as_u64()).sum();
    let moved = data["movedLoad"].as_u64().unwrap_or_default();
    let percent = (moved * 100).checked_div(total).unwrap_or_default();
    text.push_str(&format!("\n{} targets with {percent} % of the load would move\n", moves.len()));
    if !moves.is_empty() {
        let rows = moves.iter().take(MAX_LISTED).map(|step| {
            let target = if word(&step["scrapeUrl"]).is_empty() { &step["key"] } else { &step["scrapeUrl"] };
            [word(target), word(&step["from"]), word(&step["to"]), load(&step["load"])]
        });
        text.push('\n');
        text.push_str(&table(["TARGET", "FROM", "TO", "SAMPLES/S"], rows.collect()));
    }
    if moves.len() > MAX_LISTED {
        text.push_str(&format!("… and {} more; --output json has all\n", moves.len() - MAX_LISTED));
    }
    text
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// Work in a minute as samples in a second.
fn load(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), |per_minute| format!("{:.1}", per_minute as f64 / 60.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_fleet_is_told_before_and_after_with_what_moves() {
        let data = json!({
            "nodes": [
                { "name": "n0", "before": { "targets": 3, "load": 6_000 }, "after": { "targets": 2, "load": 3_600 } },
                { "name": "n1", "before": null, "after": { "targets": 1, "load": 2_400 } },
            ],
            "moves": [{ "scrapePool": "p", "key": "ab", "scrapeUrl": "http://a", "from": "n0", "to": "n1", "load": 2_400 }],
            "movedLoad": 2_400,
        });
        let expected = "\
NODE  TARGETS NOW  THEN  SAMPLES/S NOW  THEN
n0    3            2     100.0          60.0
n1    -            1     -              40.0

1 targets with 40 % of the load would move

TARGET    FROM  TO  SAMPLES/S
http://a  n0    n1  40.0
";
        assert_eq!(told(&data), expected);
    }
}
