//! Target groups as `discovery.http` and `discovery.file` read them: `[{"targets": ["host:port"], "labels": {"name": "value"}}]`.

use std::collections::BTreeMap;

use component::Target;
use model::LabelsBuilder;
use serde::Deserialize;

/// Groups as they are written; Go's decoders take null for each of these.
type Written = Option<Vec<Option<Group>>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[serde(default, alias = "Targets")]
    targets: Option<Vec<String>>,
    #[serde(default, alias = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

/// Reads JSON. Each target gets the label `meta` besides those of its group.
pub(crate) fn from_json(text: &[u8], meta: (&str, &str)) -> Result<Vec<Target>, String> {
    targets(serde_json::from_slice(text).map_err(|error| error.to_string())?, meta)
}

/// Reads YAML. Each target gets the label `meta` besides those of its group.
pub(crate) fn from_yaml(text: &str, meta: (&str, &str)) -> Result<Vec<Target>, String> {
    // An empty document is no list to the decoder, but none is what it means.
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    targets(serde_saphyr::from_str(text).map_err(|error| error.to_string())?, meta)
}

fn targets(groups: Written, (meta_name, meta_value): (&str, &str)) -> Result<Vec<Target>, String> {
    let mut all = Vec::new();
    for group in groups.unwrap_or_default() {
        let Some(Group { targets, labels }) = group else { return Err("nil target group item found".to_owned()) };
        let labels = labels.unwrap_or_default();
        if labels.contains_key("") {
            return Err("\"\" is not a valid label name".to_owned());
        }
        let mut common: LabelsBuilder = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        common.set(meta_name, meta_value);
        all.extend(targets.unwrap_or_default().iter().map(|address| {
            let mut labels = common.clone();
            labels.set("__address__", address);
            Target(labels.build())
        }));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: (&str, &str) = ("__meta_x", "y");

    fn shown(targets: Result<Vec<Target>, String>) -> Vec<String> {
        targets.unwrap().iter().map(|target| target.0.to_string()).collect()
    }

    #[test]
    fn groups_become_targets_in_order_with_their_labels() {
        let expected = [
            r#"{__address__="a:1", __meta_x="y", env="prod"}"#,
            r#"{__address__="b:1", __meta_x="y", env="prod"}"#,
            r#"{__address__="c:1", __meta_x="y"}"#,
        ];
        let json = br#"[{"targets":["a:1","b:1"],"labels":{"env":"prod","__meta_x":"not mine"}},{"targets":["c:1"]}]"#;
        assert_eq!(shown(from_json(json, META)), expected);
        let yaml = "- targets: [a:1, \"b:1\"]\n  labels:\n    env: prod\n- targets: ['c:1']\n";
        assert_eq!(shown(from_yaml(yaml, META)), expected);
    }

    #[test]
    fn the_address_is_the_targets_own_even_if_a_label_says_otherwise() {
        let json = br#"[{"targets":["a:1"],"labels":{"__address__":"label:1"}}]"#;
        assert_eq!(shown(from_json(json, META)), [r#"{__address__="a:1", __meta_x="y"}"#]);
    }

    #[test]
    fn null_and_nothing_are_no_targets() {
        for json in ["null", "[]", "[{}]", r#"[{"targets":null,"labels":null}]"#] {
            assert!(shown(from_json(json.as_bytes(), META)).is_empty(), "{json}");
        }
        for yaml in ["", "\n", "[]", "null", "- targets: []"] {
            assert!(shown(from_yaml(yaml, META)).is_empty(), "{yaml:?}");
        }
    }

    #[test]
    fn yaml_scalars_keep_their_spelling() {
        let yaml = "- targets: [a:1]\n  labels: {shard: 1, ratio: 1.0, on: yes, flag: true, zero: 007}\n";
        assert_eq!(
            shown(from_yaml(yaml, META)),
            [r#"{__address__="a:1", __meta_x="y", flag="true", on="yes", ratio="1.0", shard="1", zero="007"}"#]
        );
    }

    #[test]
    fn what_is_no_list_of_groups_is_refused() {
        for json in [
            "",
            "{}",
            "[null]",
            r#"[{"targets":"a"}]"#,
            r#"[{"target":["a"]}]"#,
            r#"[{"labels":{"a":1}}]"#,
            "[] x",
            r#"[{"labels":{"":"x"}}]"#,
        ] {
            assert!(from_json(json.as_bytes(), META).is_err(), "{json}");
        }
        for yaml in ["a: b", "- null", "- target: [a]", "- targets: a", "\t- x", "- targets: [a]\n  targets: [b]"] {
            assert!(from_yaml(yaml, META).is_err(), "{yaml}");
        }
    }
}
