//! Blocks as components declare them, for the tests of the derives.

#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::time::Duration;

use syntax::{Block as _, Diagnostics, Scope, Secret, Value, ast};

/// Fetches things.
/// From far away.
#[derive(syntax::Block, Clone, Debug, PartialEq)]
pub struct Arguments {
    /// Where from.
    #[syntax(required)]
    pub url: String,
    /// How often.
    #[syntax(default = Duration::from_secs(60))]
    pub interval: Duration,
    #[syntax(name = "type", default = "plain")]
    pub kind: String,
    pub headers: BTreeMap<String, Secret>,
    pub limit: Option<u64>,
    #[syntax(block)]
    pub basic_auth: Option<BasicAuth>,
    #[syntax(block)]
    pub queue: Queue,
    #[syntax(block)]
    pub rule: Vec<Rule>,
    #[syntax(blocks)]
    pub stages: Vec<Stage>,
    #[syntax(squash)]
    pub tls: Tls,
    #[syntax(block)]
    pub labels: BTreeMap<String, String>,
}

#[derive(syntax::Block, Clone, Debug, PartialEq)]
#[syntax(validate = "check_auth")]
pub struct BasicAuth {
    #[syntax(required)]
    pub username: String,
    #[syntax(required)]
    pub password: Secret,
}

pub fn check_auth(auth: &BasicAuth) -> Result<(), String> {
    if auth.username.is_empty() { Err("username must not be empty".to_owned()) } else { Ok(()) }
}

#[derive(syntax::Block, Clone, Debug, PartialEq)]
pub struct Queue {
    #[syntax(default = 10_000)]
    pub capacity: usize,
}

#[derive(syntax::Block, Clone, Debug, PartialEq)]
pub struct Rule {
    #[syntax(label)]
    pub name: String,
    pub source_labels: Vec<String>,
}

#[derive(syntax::Block, Clone, Debug, PartialEq)]
#[syntax(validate = "Tls::check")]
pub struct Tls {
    pub insecure: bool,
    pub ca_file: String,
}

impl Tls {
    fn check(&self) -> Result<(), String> {
        if self.insecure && !self.ca_file.is_empty() { Err("insecure excludes ca_file".to_owned()) } else { Ok(()) }
    }
}

#[derive(syntax::BlockEnum, Clone, Debug, PartialEq)]
#[syntax(prefix = "stage")]
pub enum Stage {
    /// Parses JSON.
    Json(JsonStage),
    #[syntax(name = "match")]
    Matching(Box<MatchStage>),
}

#[derive(syntax::Block, Clone, Debug, PartialEq)]
pub struct JsonStage {
    pub expressions: BTreeMap<String, String>,
}

#[derive(syntax::Block, Clone, Debug, PartialEq)]
pub struct MatchStage {
    #[syntax(required)]
    pub selector: String,
    #[syntax(blocks)]
    pub stages: Vec<Stage>,
}

pub const FULL: &str = r#"
url = "http://" + host
interval = "1m30s"
headers = {"X-Token" = "hunter2"}
basic_auth {
	username = "u"
	password = "hunter2"
}
rule "one" {
	source_labels = ["a"]
}
stage.json {
	expressions = {"a" = "b"}
}
insecure = true
rule "two" { }
stage.match {
	selector = "x"
	stage.json { }
}
stage.json { }
labels {
	job = "x"
	n   = 1
}
"#;

pub fn scope() -> Scope {
    Scope::new().with("host", Value::String("localhost".into()))
}

pub fn parsed(source: &str) -> ast::File {
    let (file, diagnostics) = syntax::parse("f", source);
    assert!(diagnostics.is_empty(), "{diagnostics}");
    file
}

pub fn decode(source: &str) -> Result<Arguments, Diagnostics> {
    Arguments::decode(&parsed(source).body, &scope())
}

pub fn messages(diagnostics: &Diagnostics) -> Vec<String> {
    diagnostics.iter().map(ToString::to_string).collect()
}
