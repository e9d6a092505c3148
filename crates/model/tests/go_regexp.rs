//! The translator against a corpus: patterns with what Go 1.26's `regexp` says of them, wrapped as relabel rules wrap them
//! (`^(?s:` … `)$`). `data/go_regexp.json` holds per pattern either the error code or, per input, the groups of the match
//! (null: no match; a null group took no part).
#![allow(clippy::unwrap_used)]

use model::re2::translate_anchored;
use serde_json::Value;

fn corpus() -> Vec<Value> {
    serde_json::from_str(include_str!("data/go_regexp.json")).unwrap()
}

#[test]
fn every_pattern_that_go_takes_matches_the_same_with_the_same_groups() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for entry in corpus().iter().filter(|entry| entry["error"].is_null()) {
        let pattern = entry["pattern"].as_str().unwrap();
        let compiled = match translate_anchored(pattern).and_then(|t| t.compile()) {
            Ok(compiled) => compiled,
            Err(error) => {
                wrong.push(format!("{pattern}: refused: {error}"));
                continue;
            }
        };
        for case in entry["cases"].as_array().unwrap() {
            let input = case["input"].as_str().unwrap();
            let got: Value = compiled.captures(input).map_or(Value::Null, |groups| {
                groups.iter().map(|group| group.map_or(Value::Null, |g| g.as_str().into())).collect::<Vec<Value>>().into()
            });
            checked += 1;
            if got != case["groups"] {
                wrong.push(format!("{pattern} on {input:?}: {got}, Go: {}", case["groups"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 1500, "only {checked} cases");
}

#[test]
fn every_pattern_that_go_refuses_is_refused_with_the_same_words() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for entry in corpus().iter() {
        let (Some(pattern), Some(code)) = (entry["pattern"].as_str(), entry["error"].as_str()) else { continue };
        checked += 1;
        match translate_anchored(pattern) {
            Err(error) if error.fault.to_string() == code => {}
            other => wrong.push(format!("{pattern}: {other:?}, Go: {code}")),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 90, "only {checked} patterns");
}

#[test]
fn group_names_keep_their_numbers() {
    let translation = translate_anchored("(a)(?P<x>b)(?:c)(?<1y>d)").unwrap();
    let names: Vec<_> = translation.group_names.iter().map(|name| name.as_deref()).collect();
    assert_eq!(names, [None, None, Some("x"), Some("1y")]);
}

#[test]
fn an_error_names_the_part() {
    let error = translate_anchored("a(b[z-a]").unwrap_err();
    assert_eq!(error.to_string(), "error parsing regexp: invalid character class range: `z-a`");
}

#[test]
fn size_and_depth_are_bounded() {
    let deep = "(".repeat(10_000);
    assert_eq!(
        translate_anchored(&deep).unwrap_err().to_string().split('`').next(),
        Some("error parsing regexp: expression nests too deeply: ")
    );
    let nested = format!("{}a{}", "(".repeat(290), ")".repeat(290));
    assert!(translate_anchored(&nested).unwrap().compile().unwrap().is_match("a"));
    let large = translate_anchored(r"((\pL{1000}){1000}){1000}").unwrap();
    assert!(large.compile().unwrap_err().to_string().contains("expression too large"));
}
