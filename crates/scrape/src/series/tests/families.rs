//! What targets say about families: learnt with the series, kept in their chunks, replaced when it changes.

use std::collections::BTreeMap;

use model::MetricType;
use proptest::prelude::*;

use super::*;

fn honouring() -> Target {
    Target::new(Rules { honor_metadata: true, ..Rules::default() })
}

/// What is known of each series: `name: family type unit "help"`, or only the name.
fn told(target: &Target) -> Vec<String> {
    let of = |series: model::SeriesRef<'_>| match series.metadata() {
        None => series.metric_name().to_owned(),
        Some(said) => format!("{}: {} {:?} {:?}", series.metric_name(), said.family, said.kind, said.help),
    };
    target.series.layout().iter().map(of).collect()
}

#[test]
fn series_know_their_families() {
    let mut target = honouring();
    target.scrape(
        "x 1\n# HELP a Help \\\\ a.\n# TYPE a counter\na_total 1\na_created 2\n# TYPE h histogram\nh_bucket{le=\"1\"} 0\nh_sum 0\n",
    );
    let known = ["x", "a_total: a Counter \"Help \\\\ a.\"", "a_created", "h_bucket: h Histogram \"\"", "h_sum: h Histogram \"\""];
    assert_eq!(told(&target), known);
}

#[test]
fn nothing_is_kept_unless_metadata_are_honoured() {
    let mut target = Target::new(Rules::default());
    for _ in 0..2 {
        target.scrape("# HELP a Help.\n# TYPE a gauge\na 1\n");
        assert_eq!(told(&target), ["a"]);
    }
}

const BODY: &str = "# HELP a Help a.\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 2\n# HELP b Help b.\n# TYPE b counter\nb 3\n";

#[test]
fn what_is_told_again_makes_no_new_layout() {
    let mut target = honouring();
    let first = target.scrape(BODY);
    for _ in 0..4 {
        assert!(Arc::ptr_eq(&first.batches[0].layout, &target.scrape(BODY).batches[0].layout));
    }
    assert!(target.series.heap_bytes() > 0 && target.scratch.columns.families.changed.is_empty());
}

#[test]
fn what_changes_replaces_the_chunks_concerned_and_no_series() {
    let mut target = honouring();
    let body = |help: &str| {
        let series: String = (0..1000).map(|n| format!("a{{x=\"{n}\"}} {n}\n")).collect();
        format!("# HELP a Help a.\n# TYPE a gauge\n{series}# HELP b {help}\n# TYPE b gauge\nb 3\n")
    };
    let first = target.scrape(&body("Old.")).batches.remove(0);
    // Whether the old text was recognised or read.
    for (rounds, help) in [(0, "New."), (3, "Newer."), (3, "New.")] {
        (0..rounds).for_each(|_| drop(target.scrape(&body(told(&target)[1000].rsplit('"').nth(1).unwrap()))));
        let scraped = target.scrape(&body(help));
        assert_eq!((scraped.counts.added, scraped.batches.len()), (0, 1), "no series is new, and none ends");
        let layout = &scraped.batches[0].layout;
        assert!(Arc::ptr_eq(&layout.chunks()[0], &first.layout.chunks()[0]));
        assert!(!Arc::ptr_eq(&layout.chunks()[1], &first.layout.chunks()[1]));
        assert_eq!(told(&target)[999..], ["a: a Gauge \"Help a.\"".to_owned(), format!("b: b Gauge {help:?}")]);
        assert_eq!(scraped.batches[0].values[..], first.values[..]);
    }
}

#[test]
fn a_text_that_comes_back_is_not_taken_for_the_one_between() {
    let mut target = honouring();
    (0..3).for_each(|_| drop(target.scrape(BODY)));
    target.scrape(&BODY.replace("Help b.", "Other."));
    assert_eq!(told(&target)[2], "b: b Counter \"Other.\"");
    target.scrape(BODY);
    assert_eq!(told(&target)[2], "b: b Counter \"Help b.\"");
}

#[test]
fn comments_that_come_in_pieces_are_one_story() {
    let mut target = honouring();
    (0..3).for_each(|_| drop(target.scrape("# TYPE a counter\na 1\n")));
    // In two pieces: the first ends in the HELP line, and the second begins with a line that is known.
    target.scrape("# HELP a 12345678901234567890123456789.\n# TYPE a counter\na 1\n");
    assert_eq!(told(&target), ["a: a Counter \"12345678901234567890123456789.\""]);
}

#[test]
fn a_failed_scrape_changes_nothing() {
    let mut target = honouring();
    (0..3).for_each(|_| drop(target.scrape(BODY)));
    let before = told(&target);
    target.fail(&(BODY.replace("Help a.", "Other.") + "!\n"));
    assert_eq!(told(&target), before);
}

#[test]
fn new_series_behind_comments_that_were_recognised_know_their_family() {
    let mut target = honouring();
    (0..3).for_each(|_| drop(target.scrape(BODY)));
    target.scrape(&BODY.replace("a{x=\"1\"} 1\n", "a{x=\"0\"} 0\na{x=\"1\"} 1\nother 1\n"));
    let a = "a: a Gauge \"Help a.\"";
    assert_eq!(told(&target), [a, a, "other", a, "b: b Counter \"Help b.\""]);
}

#[test]
fn families_without_series_are_not_taken_for_those_of_their_neighbours() {
    let mut target = honouring();
    let body = "# TYPE h histogram\nb 1\n# TYPE c gauge\nc 1\n";
    (0..4).for_each(|_| drop(target.scrape(body)));
    assert_eq!(told(&target), ["b", "c: c Gauge \"\""]);
    target.scrape("# TYPE h histogram\nh_sum 1\nb 1\n# TYPE c gauge\nc 1\n");
    assert_eq!(told(&target), ["h_sum: h Histogram \"\"", "b", "c: c Gauge \"\""]);
}

#[test]
fn series_in_another_order_keep_what_is_said_of_them() {
    let mut target = honouring();
    let family = |n: usize, help: &str| format!("# HELP m{n} {help}\n# TYPE m{n} gauge\nm{n}{{x=\"1\"}} 1\nm{n}{{x=\"2\"}} 2\n");
    let mut families: Vec<String> = (0..50).map(|n| family(n, &format!("Help {n}."))).collect();
    target.scrape(&families.concat());
    let before = told(&target);
    for _ in 0..3 {
        families.rotate_left(17);
        families.reverse();
        target.scrape(&families.concat());
        assert_eq!(told(&target), before);
    }
    let seventh = families.iter().position(|text| text.contains("m7 ")).unwrap();
    families[seventh] = family(7, "New.");
    let layout = target.scrape(&families.concat()).batches[0].layout.clone();
    let changed: Vec<String> = told(&target).into_iter().filter(|line| !before.contains(line)).collect();
    assert_eq!(changed, ["m7: m7 Gauge \"New.\"", "m7: m7 Gauge \"New.\""]);
    assert!(Arc::ptr_eq(&layout, &target.scrape(&families.concat()).batches[0].layout));
}

#[test]
fn type_labels_follow_the_type_and_a_later_type_changes_no_series() {
    let mut target = Target::new(Rules { type_and_unit_labels: true, ..Rules::default() });
    let body = "a 1\n# TYPE b counter\nb 2\n";
    for round in 1..4 {
        let expected = [format!("a @{round}000 1"), format!("b __type__=counter @{round}000 2")];
        assert_eq!(lines(&target.scrape(body).batches), expected);
    }
    assert_eq!(told(&target), ["a", "b"], "and metadata are another matter");
    // As in Prometheus, whose cache goes by the series' text.
    assert_eq!(lines(&target.scrape("a 1\n# TYPE b gauge\nb 2\n").batches)[1], "b __type__=counter @4000 2");
    let labels = lines(&target.scrape("a 1\n# TYPE b gauge\nb 2\nc 3\n").batches);
    assert_eq!(labels[2], "c __type__=gauge @5000 3", "whatever family the type was for");
}

/// One line of a body.
#[derive(Debug, Clone)]
enum Line {
    Help(u8, u8),
    Type(u8, bool),
    Series(u8),
}

/// What is told of a family: its name, its type, its help.
type Said = (u8, MetricType, String);

/// What has to be known of the series after a body.
fn expect(known: &BTreeMap<u8, Option<Said>>, body: &[Line]) -> BTreeMap<u8, Option<Said>> {
    let (mut said, mut after): (Option<Said>, BTreeMap<u8, Option<Said>>) = (None, BTreeMap::new());
    let about =
        |said: Option<Said>, family: u8| said.filter(|said| said.0 == family).unwrap_or((family, MetricType::Unknown, String::new()));
    for line in body {
        match line {
            Line::Help(family, help) => said = Some((*family, about(said, *family).1, format!("Help {help}"))),
            Line::Type(family, counter) => {
                let kind = if *counter { MetricType::Counter } else { MetricType::Gauge };
                said = Some((*family, kind, about(said, *family).2));
            }
            Line::Series(name) => {
                let news = said.clone().filter(|said| said.0 == *name);
                after.insert(*name, news.or_else(|| known.get(name).cloned().flatten()));
            }
        }
    }
    after
}

fn text(body: &[Line]) -> String {
    let line = |line: &Line| match line {
        Line::Help(family, help) => format!("# HELP s{family} Help {help}\n"),
        Line::Type(family, counter) => format!("# TYPE s{family} {}\n", if *counter { "counter" } else { "gauge" }),
        Line::Series(name) => format!("s{name} 1\n"),
    };
    body.iter().map(line).collect()
}

fn body() -> impl Strategy<Value = Vec<Line>> {
    let line = prop_oneof![
        (0_u8..12, 0_u8..3).prop_map(|(family, help)| Line::Help(family, help)),
        (0_u8..12, any::<bool>()).prop_map(|(family, counter)| Line::Type(family, counter)),
    ];
    // Families in order, mostly, each with some lines before its series: much stays recognised from scrape to scrape.
    let family = (0_u8..12, prop::collection::vec(line, 0..2), 0_u8..4);
    prop::collection::vec(family, 0..9).prop_map(|families| {
        let mut names = std::collections::BTreeSet::new();
        let mut lines = Vec::new();
        for (name, before, help) in families {
            if names.insert(name) {
                lines.extend([Line::Help(name, help / 2), Line::Type(name, true)].into_iter().take(usize::from(help)));
                lines.extend(before);
                lines.push(Line::Series(name));
            }
        }
        lines
    })
}

proptest! {
    #[test]
    fn what_is_known_is_what_a_plain_model_says(
        bodies in prop::collection::vec(body(), 1..4),
        order in prop::collection::vec(0_usize..4, 1..12),
    ) {
        let (mut target, mut known) = (honouring(), BTreeMap::new());
        for at in order {
            let body = &bodies[at % bodies.len()];
            known = expect(&known, body);
            target.scrape(&text(body));
            let got: BTreeMap<u8, Option<Said>> = target.series.layout().iter().map(|series| {
                let name = series.metric_name()[1..].parse().unwrap();
                (name, series.metadata().map(|said| (said.family[1..].parse().unwrap(), said.kind, said.help.to_string())))
            }).collect();
            prop_assert_eq!(&got, &known, "{}", text(body));
        }
    }
}
