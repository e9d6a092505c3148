//! The derives, from schema over decoding to rendering.

use std::collections::BTreeMap;
use std::time::Duration;

use syntax::{Block as _, Secret};

/// Fetches things.
#[derive(syntax::Block, Clone, Debug, PartialEq)]
struct Arguments {
    /// Where from.
    #[syntax(required)]
    url: String,
    /// How often.
    #[syntax(default = Duration::from_secs(60))]
    interval: Duration,
    #[syntax(name = "type", default = "plain")]
    kind: String,
    headers: BTreeMap<String, Secret>,
    limit: Option<u64>,
    #[syntax(block)]
    basic_auth: Option<BasicAuth>,
    #[syntax(block)]
    queue: Queue,
    #[syntax(block)]
    rule: Vec<Rule>,
    #[syntax(blocks)]
    stages: Vec<Stage>,
    #[syntax(squash)]
    tls: Tls,
    #[syntax(block)]
    labels: BTreeMap<String, String>,
}

#[derive(syntax::Block, Clone, Debug, PartialEq)]
#[syntax(validate = "check_auth")]
struct BasicAuth {
    #[syntax(required)]
    username: String,
    #[syntax(required)]
    password: Secret,
}

fn check_auth(auth: &BasicAuth) -> Result<(), String> {
    if auth.username.is_empty() { Err("username must not be empty".to_owned()) } else { Ok(()) }
}

#[derive(syntax::Block, Clone, Debug, PartialEq)]
struct Queue {
    #[syntax(default = 10_000)]
    capacity: usize,
}

#[derive(syntax::Block, Clone, Debug, PartialEq)]
struct Rule {
    #[syntax(label)]
    name: String,
    source_labels: Vec<String>,
}

#[derive(syntax::Block, Clone, Debug, PartialEq)]
struct Tls {
    insecure: bool,
}

#[derive(syntax::BlockEnum, Clone, Debug, PartialEq)]
#[syntax(prefix = "stage")]
enum Stage {
    Json(JsonStage),
    Match(Box<MatchStage>),
}

#[derive(syntax::Block, Clone, Debug, PartialEq)]
struct JsonStage {
    expressions: BTreeMap<String, String>,
}

#[derive(syntax::Block, Clone, Debug, PartialEq)]
struct MatchStage {
    #[syntax(required)]
    selector: String,
    #[syntax(blocks)]
    stages: Vec<Stage>,
}

#[test]
fn schema_lists_fields_in_order_with_docs_and_defaults() {
    let schema = Arguments::schema();
    let names: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(
        names,
        ["url", "interval", "type", "headers", "limit", "basic_auth", "queue", "rule", "stage.json", "stage.match", "insecure", "labels"]
    );
    assert_eq!(schema.doc, "Fetches things.");
    let interval = schema.field("interval").unwrap();
    assert_eq!(interval.default.as_deref(), Some("\"1m0s\""));
    assert_eq!(interval.doc, "How often.");
    assert_eq!(schema.field("headers").unwrap().type_name, "map(secret)");
    assert!(schema.field("url").unwrap().required);
    assert!(!schema.field("queue").unwrap().required);
}
