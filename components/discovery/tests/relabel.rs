//! `discovery.relabel`.
#![allow(clippy::unwrap_used)]

mod support;

use component::RelabelRules;
use support::Running;
use syntax::FromValue;

const RULES: &str = r#"
    rule {
        source_labels = ["env"]
        regex = "prod|stage"
        action = "keep"
    }
    rule {
        source_labels = ["__address__"]
        regex = "(.+):\\d+"
        target_label = "instance"
    }
"#;

fn body(targets: &str, rules: &str) -> String {
    format!("targets = [{targets}]\n{rules}")
}

#[tokio::test]
async fn targets_are_relabelled_at_once_and_when_they_or_the_rules_change() {
    let targets = r#"{ __address__ = "a:1", env = "prod" }, { __address__ = "b:1", env = "dev" }"#;
    let mut running = Running::start("discovery.relabel", &body(targets, RULES)).unwrap();
    assert_eq!(running.targets("output"), [r#"{__address__="a:1", env="prod", instance="a"}"#], "with the first exports");
    running.until("healthy", "1 of 2 targets kept").await;
    running.update(&body(&format!("{targets}, {{ __address__ = \"c:1\", env = \"stage\" }}"), RULES));
    running.next().await;
    assert_eq!(running.targets("output").len(), 2);
    assert!(running.debug_info().await.contains("dropped"));
    running.update(&body(targets, ""));
    running.next().await;
    assert_eq!(running.targets("output").len(), 2, "without rules all stay as they are");
    running.stop().await;
}

#[tokio::test]
async fn what_is_known_of_a_target_ends_with_the_rules_and_equal_targets_stay_two() {
    let rules = |env: &str| format!("rule {{\ntarget_label = \"env\"\nreplacement = \"{env}\"\n}}");
    let target = r#"{ __address__ = "a:1" }"#;
    let mut running = Running::start("discovery.relabel", &body(&format!("{target}, {target}"), &rules("one"))).unwrap();
    let expected = |env: &str| format!(r#"{{__address__="a:1", env="{env}"}}"#);
    assert_eq!(running.targets("output"), [expected("one"), expected("one")]);
    running.update(&body(target, &rules("two")));
    running.next().await;
    assert_eq!(running.targets("output"), [expected("two")]);
    running.update(&body("", &rules("two")));
    running.next().await;
    assert!(running.targets("output").is_empty());
    running.update(&body(target, &rules("two")));
    running.next().await;
    assert_eq!(running.targets("output"), [expected("two")]);
    running.stop().await;
}

#[tokio::test]
async fn the_rules_are_lent_to_others() {
    let running = Running::start("discovery.relabel", &body("", RULES)).unwrap();
    let value = running.exports.to_object().unwrap().get("rules").unwrap().clone();
    let rules = RelabelRules::from_value(&value).unwrap();
    assert_eq!(rules.0.len(), 2);
    let mut labels = [("env", "stage"), ("__address__", "x:9")].into_iter().collect();
    assert!(rules.0.apply(&mut labels));
    assert_eq!(labels.get("instance"), Some("x"));
    running.stop().await;
}

#[tokio::test]
async fn wrong_rules_are_refused_in_alloys_words() {
    for (rule, message) in [
        ("action = \"keepp\"", "unrecognized action type \"keepp\""),
        ("action = \"hashmod\"\ntarget_label = \"x\"", "relabel configuration for hashmod requires non-zero modulus"),
        ("regex = \"(\"\ntarget_label = \"x\"", "error parsing regexp: missing closing )"),
    ] {
        let error = Running::start("discovery.relabel", &body("", &format!("rule {{\n{rule}\n}}"))).err().unwrap();
        assert!(error.contains(message), "{error}");
    }
}
