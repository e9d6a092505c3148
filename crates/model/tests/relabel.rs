//! Relabelling case by case: what Prometheus' rules do to a label set, and which rules Alloy refuses.
#![allow(clippy::unwrap_used)]

use model::relabel::{Action, Config, NameScheme, Rules};
use model::{Labels, LabelsBuilder};

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A rule from `key = value` pairs; several source labels are separated by commas.
fn rule(fields: Pairs) -> Config {
    let mut config = Config::default();
    for (key, value) in fields {
        match *key {
            "source" => config.source_labels = value.split(',').map(str::to_owned).collect(),
            "separator" => config.separator = (*value).into(),
            "regex" => config.regex = (*value).into(),
            "modulus" => config.modulus = value.parse().unwrap(),
            "target" => config.target_label = (*value).into(),
            "replacement" => config.replacement = (*value).into(),
            "action" => config.action = value.parse().unwrap(),
            other => panic!("{other}"),
        }
    }
    config
}

fn relabelled(labels: Pairs, rules: &[Pairs], names: NameScheme) -> Option<Labels> {
    let rules = Rules::with_names(rules.iter().map(|fields| rule(fields)).collect(), names).unwrap();
    let mut builder: LabelsBuilder = labels.iter().copied().collect();
    rules.apply(&mut builder).then(|| builder.build())
}

struct Case {
    guarantee: &'static str,
    labels: Pairs<'static>,
    rules: &'static [Pairs<'static>],
    /// What is there besides `labels` afterwards (an empty value: gone); `None` if the set is dropped.
    changes: Option<Pairs<'static>>,
}

const ABC: Pairs = &[("a", "foo"), ("b", "bar"), ("c", "baz")];
const PORTS: Pairs = &[("__tmp_port", "1234"), ("__port1", "1234"), ("__port2", "5678")];
const THREE_PARTS: &str = "some-([^-]+)-([^,]+)";

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { guarantee: "replace inserts a group twice", labels: ABC,
        rules: &[&[("source", "a"), ("regex", "f(.*)"), ("target", "d"), ("replacement", "ch${1}-ch${1}")]],
        changes: Some(&[("d", "choo-choo")]) },
    Case { guarantee: "sources are joined, and a later rule sees what an earlier one wrote", labels: ABC,
        rules: &[&[("source", "a,b"), ("regex", "f(.*);(.*)r"), ("target", "a"), ("replacement", "b${1}${2}m")],
                 &[("source", "c,a"), ("regex", "(b).*b(.*)ba(.*)"), ("target", "d"), ("replacement", "$1$2$2$3")]],
        changes: Some(&[("a", "boobam"), ("d", "boooom")]) },
    Case { guarantee: "a drop ends the chain", labels: &[("a", "foo")],
        rules: &[&[("source", "a"), ("regex", ".*o.*"), ("action", "drop")], &[("source", "a"), ("target", "d"), ("replacement", "x")]],
        changes: None },
    Case { guarantee: "drop drops what matches", labels: ABC, rules: &[&[("source", "a"), ("regex", ".*o.*"), ("action", "drop")]], changes: None },
    Case { guarantee: "a group in the middle is taken", labels: &[("a", "abc")],
        rules: &[&[("source", "a"), ("regex", ".*(b).*"), ("target", "d")]], changes: Some(&[("d", "b")]) },
    Case { guarantee: "drop keeps what does not match", labels: &[("a", "foo")],
        rules: &[&[("source", "a"), ("regex", "no-match"), ("action", "drop")]], changes: Some(&[]) },
    Case { guarantee: "the pattern has to match all of it", labels: &[("a", "foo")],
        rules: &[&[("source", "a"), ("regex", "f|o"), ("action", "drop")]], changes: Some(&[]) },
    Case { guarantee: "keep drops what does not match", labels: &[("a", "foo")],
        rules: &[&[("source", "a"), ("regex", "no-match"), ("action", "keep")]], changes: None },
    Case { guarantee: "keep keeps what matches", labels: &[("a", "foo")],
        rules: &[&[("source", "a"), ("regex", "f.*"), ("action", "keep")]], changes: Some(&[]) },
    Case { guarantee: "without a match nothing is replaced", labels: &[("a", "boo")],
        rules: &[&[("source", "a"), ("regex", "f"), ("target", "b"), ("replacement", "bar")]], changes: Some(&[]) },
    Case { guarantee: "hashmod is the MD5 sum's last eight bytes", labels: ABC,
        rules: &[&[("source", "c"), ("target", "d"), ("action", "hashmod"), ("modulus", "1000")]], changes: Some(&[("d", "976")]) },
    Case { guarantee: "hashmod hashes newlines too", labels: &[("a", "foo\nbar")],
        rules: &[&[("source", "a"), ("target", "b"), ("action", "hashmod"), ("modulus", "1000")]], changes: Some(&[("b", "734")]) },
    Case { guarantee: "labelmap copies to new names", labels: &[("a", "foo"), ("b1", "bar"), ("b2", "baz")],
        rules: &[&[("regex", "(b.*)"), ("replacement", "bar_${1}"), ("action", "labelmap")]],
        changes: Some(&[("bar_b1", "bar"), ("bar_b2", "baz")]) },
    Case { guarantee: "labelmap cuts prefixes off",
        labels: &[("a", "foo"), ("__meta_my_bar", "aaa"), ("__meta_my_baz", "bbb"), ("__meta_other", "ccc")],
        rules: &[&[("regex", "__meta_(my.*)"), ("replacement", "${1}"), ("action", "labelmap")]],
        changes: Some(&[("my_bar", "aaa"), ("my_baz", "bbb")]) },
    Case { guarantee: "the target's name may come from a group", labels: &[("a", "some-name-value")],
        rules: &[&[("source", "a"), ("regex", THREE_PARTS), ("replacement", "${2}"), ("target", "${1}")]],
        changes: Some(&[("name", "value")]) },
    Case { guarantee: "a value from a group that is not there is empty and removes", labels: &[("a", "some-name-value"), ("name", "old")],
        rules: &[&[("source", "a"), ("regex", THREE_PARTS), ("replacement", "${3}"), ("target", "${1}")]],
        changes: Some(&[("name", "")]) },
    Case { guarantee: "an empty target name does nothing", labels: &[("a", "some-name-0")],
        rules: &[&[("source", "a"), ("regex", THREE_PARTS), ("replacement", "${1}"), ("target", "${3}")],
                 &[("source", "a"), ("regex", "some-([^-]+)(-[^,]+)"), ("replacement", "${1}"), ("target", "${3}")]],
        changes: Some(&[]) },
    Case { guarantee: "tags in one label become labels", labels: &[("__meta_sd_tags", "path:/secret,job:some-job,label:foo=bar")],
        rules: &[&[("source", "__meta_sd_tags"), ("regex", "(?:.+,|^)path:(/[^,]+).*"), ("replacement", "${1}"), ("target", "__metrics_path__")],
                 &[("source", "__meta_sd_tags"), ("regex", "(?:.+,|^)job:([^,]+).*"), ("replacement", "${1}"), ("target", "job")],
                 &[("source", "__meta_sd_tags"), ("regex", "(?:.+,|^)label:([^=]+)=([^,]+).*"), ("replacement", "${2}"), ("target", "${1}")]],
        changes: Some(&[("__metrics_path__", "/secret"), ("job", "some-job"), ("foo", "bar")]) },
    Case { guarantee: "a label that was dropped can be set again, and anchors of one's own are harmless",
        labels: &[("__meta_port_name", "foo"), ("__meta_metrics_port", "9091")],
        rules: &[&[("regex", "^__meta_port_name$"), ("action", "labeldrop")],
                 &[("source", "__meta_metrics_port"), ("regex", "(.+)"), ("replacement", "metrics"), ("target", "__meta_port_name")],
                 &[("source", "__meta_port_name"), ("regex", "^metrics$"), ("action", "keep")]],
        changes: Some(&[("__meta_port_name", "metrics")]) },
    Case { guarantee: "labelkeep keeps only matching names", labels: &[("a", "foo"), ("b1", "bar"), ("b2", "baz")],
        rules: &[&[("regex", "(b.*)"), ("action", "labelkeep")]], changes: Some(&[("a", "")]) },
    Case { guarantee: "labeldrop removes matching names", labels: &[("a", "foo"), ("b1", "bar"), ("b2", "baz")],
        rules: &[&[("regex", "(b.*)"), ("action", "labeldrop")]], changes: Some(&[("b1", ""), ("b2", "")]) },
    Case { guarantee: "upper and lower case", labels: &[("foo", "bAr123Foo")],
        rules: &[&[("source", "foo"), ("action", "uppercase"), ("target", "up")], &[("source", "foo"), ("action", "lowercase"), ("target", "low")]],
        changes: Some(&[("up", "BAR123FOO"), ("low", "bar123foo")]) },
    Case { guarantee: "keepequal keeps equals", labels: PORTS,
        rules: &[&[("source", "__tmp_port"), ("action", "keepequal"), ("target", "__port1")]], changes: Some(&[]) },
    Case { guarantee: "dropequal drops equals", labels: PORTS,
        rules: &[&[("source", "__tmp_port"), ("action", "dropequal"), ("target", "__port1")]], changes: None },
    Case { guarantee: "dropequal keeps others", labels: PORTS,
        rules: &[&[("source", "__tmp_port"), ("action", "dropequal"), ("target", "__port2")]], changes: Some(&[]) },
    Case { guarantee: "keepequal drops others", labels: PORTS,
        rules: &[&[("source", "__tmp_port"), ("action", "keepequal"), ("target", "__port2")]], changes: None },
    Case { guarantee: "a dot matches newlines, and an unknown group is empty", labels: &[("a", "line1\nline2")],
        rules: &[&[("source", "a"), ("regex", "line1.*line2"), ("target", "d"), ("replacement", "match${1}")]], changes: Some(&[("d", "match")]) },
    Case { guarantee: "sources may have UTF-8 names", labels: &[("utf-8.label", "line1\nline2")],
        rules: &[&[("source", "utf-8.label"), ("regex", "line1.*line2"), ("target", "d"), ("replacement", "match${1}")]],
        changes: Some(&[("d", "match")]) },
    Case { guarantee: "targets may have UTF-8 names", labels: &[("a", "x")],
        rules: &[&[("source", "a"), ("target", "utf-8.label"), ("replacement", "match")]], changes: Some(&[("utf-8.label", "match")]) },
    Case { guarantee: "groups may make UTF-8 target names", labels: &[("a", "utf-8.label")],
        rules: &[&[("source", "a"), ("target", "${1}"), ("replacement", "match")]], changes: Some(&[("utf-8.label", "match")]) },
    Case { guarantee: "groups are found by number and by name, in target and value", labels: &[("a", "line1\nline2")],
        rules: &[&[("source", "a"), ("regex", "(line1).*(?<second>line2)"), ("target", "l1_${1}"), ("replacement", "v_${second}")],
                 &[("source", "a"), ("regex", "(line1).*(?P<second>line2)"), ("target", "l2_$1"), ("replacement", "v_$second")]],
        changes: Some(&[("l1_line1", "v_line2"), ("l2_line1", "v_line2")]) },
    Case { guarantee: "a suffix matches", labels: &[("__name__", "http_requests_total")],
        rules: &[&[("source", "__name__"), ("regex", ".*_total$"), ("target", "__type__"), ("replacement", "counter")]],
        changes: Some(&[("__type__", "counter")]) },
    Case { guarantee: "without sources a constant is set", labels: ABC, rules: &[&[("target", "cluster"), ("replacement", "dev")]],
        changes: Some(&[("cluster", "dev")]) },
    Case { guarantee: "an empty replacement removes", labels: ABC, rules: &[&[("target", "b"), ("replacement", "")]], changes: Some(&[("b", "")]) },
    // Besides those that Prometheus tests:
    Case { guarantee: "missing sources count as empty", labels: &[("a", "x")],
        rules: &[&[("source", "nope,a,nope"), ("target", "j"), ("separator", "/")]], changes: Some(&[("j", "/x/")]) },
    Case { guarantee: "an empty pattern matches what is not there", labels: ABC, rules: &[&[("source", "nope"), ("regex", ""), ("action", "drop")]],
        changes: None },
    Case { guarantee: "an empty pattern does not match what is there", labels: ABC, rules: &[&[("source", "a"), ("regex", ""), ("action", "drop")]],
        changes: Some(&[]) },
    Case { guarantee: "an address gets another port", labels: &[("__address__", "10.0.0.1:80"), ("port", "9100")],
        rules: &[&[("source", "__address__,port"), ("regex", r"([^:]+)(?::\d+)?;(\d+)"), ("target", "__address__"), ("replacement", "$1:$2")]],
        changes: Some(&[("__address__", "10.0.0.1:9100")]) },
    Case { guarantee: "labelmap does not copy its copies", labels: &[("a", "1"), ("aa", "2")],
        rules: &[&[("regex", "(a+)"), ("replacement", "a$1"), ("action", "labelmap")]], changes: Some(&[("aa", "1"), ("aaa", "2")]) },
    Case { guarantee: "of two labels that labelmap gives one name the later in name order stays", labels: &[("a_x", "1"), ("b_x", "2")],
        rules: &[&[("regex", "._(x)"), ("action", "labelmap")]], changes: Some(&[("x", "2")]) },
    Case { guarantee: "labelmap passes over empty names", labels: &[("a", "1")],
        rules: &[&[("regex", "(a)"), ("replacement", "$2"), ("action", "labelmap")]], changes: Some(&[]) },
    Case { guarantee: "keepequal compares the joined sources", labels: &[("a", "x"), ("b", "y"), ("ab", "x;y")],
        rules: &[&[("source", "a,b"), ("target", "ab"), ("action", "keepequal")]], changes: Some(&[]) },
    Case { guarantee: "what is missing equals what is empty", labels: &[("a", "x")],
        rules: &[&[("source", "b"), ("target", "c"), ("action", "dropequal")]], changes: None },
    Case { guarantee: "lower case of nothing removes", labels: &[("a", "x")],
        rules: &[&[("source", "b"), ("target", "a"), ("action", "lowercase")]], changes: Some(&[("a", "")]) },
    Case { guarantee: "case is changed character by character", labels: &[("a", "Straße İ")],
        rules: &[&[("source", "a"), ("target", "up"), ("action", "uppercase")], &[("source", "a"), ("target", "low"), ("action", "lowercase")]],
        changes: Some(&[("up", "STRAßE İ"), ("low", "straße i")]) },
    Case { guarantee: "a modulus of the full range works", labels: &[("a", "foo")],
        rules: &[&[("source", "a"), ("target", "h"), ("action", "hashmod"), ("modulus", "18446744073709551615")]],
        changes: Some(&[("h", "17145033699835028696")]) },
];

#[test]
fn label_sets_are_relabelled_as_prometheus_does() {
    for case in CASES {
        let expected = case.changes.map(|changes| case.labels.iter().chain(changes).copied().collect::<Labels>());
        assert_eq!(relabelled(case.labels, case.rules, NameScheme::Utf8), expected, "{}", case.guarantee);
    }
}

#[test]
fn under_the_legacy_scheme_replace_writes_no_other_names() {
    let rules: &[Pairs] = &[
        &[("target", "utf-8.label"), ("replacement", "x")],
        &[("source", "a"), ("target", "$1"), ("replacement", "y")],
        &[("target", "plain"), ("replacement", "z")],
    ];
    let expected: Labels = [("a", "not.legacy"), ("plain", "z")].into_iter().collect();
    assert_eq!(relabelled(&[("a", "not.legacy")], rules, NameScheme::Legacy), Some(expected));
}

#[test]
fn rules_that_alloy_refuses_are_refused_in_its_words() {
    #[rustfmt::skip]
    let refused: &[(Pairs, &str)] = &[
        (&[], "relabel configuration for replace action requires 'target_label' value"),
        (&[("action", "lowercase")], "relabel configuration for lowercase action requires 'target_label' value"),
        (&[("action", "hashmod"), ("modulus", "1")], "relabel configuration for hashmod action requires 'target_label' value"),
        (&[("action", "hashmod"), ("target", "a")], "relabel configuration for hashmod requires non-zero modulus"),
        (&[("source", "a"), ("target", "0${3}")], "\"0${3}\" is invalid 'target_label' for replace action"),
        (&[("source", "a"), ("target", "-${3}")], "\"-${3}\" is invalid 'target_label' for replace action"),
        (&[("source", "a"), ("target", "utf-8.label${1}")], "\"utf-8.label${1}\" is invalid 'target_label' for replace action"),
        (&[("action", "labelmap"), ("replacement", "-$1")], "\"-$1\" is invalid 'replacement' for labelmap action"),
        (&[("action", "labelmap"), ("replacement", "")], "\"\" is invalid 'replacement' for labelmap action"),
        (&[("action", "uppercase"), ("target", "a"), ("replacement", "x")], "'replacement' can not be set for uppercase action"),
        (&[("action", "keepequal"), ("target", "a"), ("replacement", "x")], "'replacement' can not be set for keepequal action"),
        (&[("action", "keepequal"), ("target", "a"), ("regex", "x")], "keepequal action requires only 'source_labels' and 'target_label', and no other fields"),
        (&[("action", "dropequal"), ("target", "a"), ("separator", ",")], "dropequal action requires only 'source_labels' and 'target_label', and no other fields"),
        (&[("action", "labeldrop"), ("source", "a")], "labeldrop action requires only 'regex', and no other fields"),
        (&[("action", "labelkeep"), ("target", "a")], "labelkeep action requires only 'regex', and no other fields"),
        (&[("action", "keep"), ("regex", "a(")], "error parsing regexp: missing closing ): `^(?s:a()$`"),
    ];
    for (fields, message) in refused {
        let error = Rules::new(vec![Config { target_label: "x".into(), ..Config::default() }, rule(fields)]).unwrap_err();
        assert_eq!(error.to_string(), format!("rule 2: {message}"));
    }
}

#[test]
fn rules_that_alloy_takes_are_taken() {
    let taken: &[Pairs] = &[
        &[("action", "lowercase"), ("target", "${3}")],
        &[("source", "a"), ("regex", THREE_PARTS), ("target", "${3}")],
        &[("action", "labelmap"), ("regex", "__meta_(strimzi_io_.+)")],
        &[("action", "labelmap"), ("regex", "__meta_(.+)"), ("replacement", "${1}")],
        &[("action", "keep"), ("modulus", "7"), ("target", "unused")],
    ];
    for fields in taken {
        assert!(Rules::new(vec![rule(fields)]).is_ok(), "{fields:?}");
    }
}

#[test]
fn action_names_go_both_ways_and_others_are_refused() {
    for name in
        ["replace", "keep", "drop", "keepequal", "dropequal", "hashmod", "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase"]
    {
        assert_eq!(name.parse::<Action>().unwrap().to_string(), name);
    }
    assert_eq!("Keep".parse::<Action>().unwrap_err().to_string(), "unrecognized action type \"Keep\"");
    assert_eq!("".parse::<Action>().unwrap_err().to_string(), "relabel action cannot be empty");
}

#[test]
fn equal_configurations_are_equal_rules() {
    let rules = |regex| Rules::new(vec![rule(&[("source", "a"), ("action", "keep"), ("regex", regex)])]).unwrap();
    assert_eq!(rules("x"), rules("x"));
    assert_ne!(rules("x"), rules("y"));
    assert_eq!(rules("x").configs().next().unwrap().regex, "x");
}
