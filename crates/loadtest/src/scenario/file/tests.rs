//! Scenarios as people write them, rightly and wrongly.

use super::*;
use crate::scenario::Limit;

const S: fn(u64) -> Duration = Duration::from_secs;

const EVERYTHING: &str = "
name: everything
fleet:
  nodes: 5
  arguments: [--log.level=debug]
  environment: {RUST_BACKTRACE: \"1\"}
  config: my.alloy
targets:
  count: 40
  mix: 90%:50,10%:500
  interval: 1s
  churn: 5%
  churn_every: 1m
  shuffle: true
  label_bytes: 100
  latency: 20ms
  failure_rate: 0.01
  seed: 7
detection: 4s
for: 10m
steps:
- at: 10s
  join: 4
- at: 20s
  leave: {node: newest, count: 2, apart: 5s}
- at: 40s
  kill: 2
  detection: 3s
  allow: {gaps: 2, duplicates: any}
- at: 50s
  pause: {node: any, for: 4s}
- at: 1m30s
  cut: {node: oldest, count: 2, for: 20s, mode: reset}
- at: 3m
  restart: {apart: 3s}
- {at: 4m, restart: {node: node-1}}
- {at: 5m, receiver: {fault: down, for: 1m}}
- {at: 6m, receiver: {fault: error, status: 429, for: 10s}}
- {at: 6m, receiver: {fault: slow, delay: 2s, for: 10s}}
- {at: 7m, targets: {add: 10}}
- {at: 7m, targets: {remove: 5}}
- {at: 8m, targets: {churn: true}}
- {at: 9m, configure: {template: other.alloy, apart: 10s}}
- {at: 9m, configure: {append: 'logging {}'}}
";

#[test]
fn everything_that_can_be_said_is_read() {
    let scenario = parse("x.yaml", EVERYTHING).unwrap();
    assert_eq!((scenario.name.as_str(), scenario.nodes(), scenario.interval(), scenario.length()), ("everything", 5, S(1), S(600)));
    assert_eq!(scenario.fleet.environment, [("RUST_BACKTRACE".to_owned(), "1".to_owned())]);
    assert_eq!((scenario.load.failure_rate.unwrap().0, scenario.load.mix.as_ref().unwrap().0.len()), (0.01, 2));
    assert_eq!((scenario.most_targets(), scenario.cuts(), scenario.detection), (50, true, Some(S(4))));
    let actions: Vec<Action> = scenario.steps.iter().map(|s| s.action.clone()).collect();
    let picked = |node, count, apart| Picked { node, count, apart: S(apart) };
    let expected = [
        Action::Join(4),
        Action::Leave(picked(Choice::Newest, 2, 5)),
        Action::Kill(picked(Choice::Node(2), 1, 0)),
        Action::Pause(picked(Choice::Any, 1, 0), S(4)),
        Action::Cut(picked(Choice::Oldest, 2, 0), S(20), CutMode::Reset),
        Action::Restart(None, S(3)),
        Action::Restart(Some(Choice::Node(1)), S(0)),
        Action::Receiver(ReceiverFault::Down, S(60)),
        Action::Receiver(ReceiverFault::Fails(429), S(10)),
        Action::Receiver(ReceiverFault::Slow(S(2)), S(10)),
        Action::Targets(TargetChange::Add(10)),
        Action::Targets(TargetChange::Remove(5)),
        Action::Targets(TargetChange::Churn),
        Action::Configure(Change::Template("other.alloy".into()), S(10)),
        Action::Configure(Change::Append("logging {}".to_owned()), S(0)),
    ];
    assert_eq!(actions, expected);
    let kill = &scenario.steps[2];
    assert_eq!((kill.line, kill.at, kill.detection), (26, S(40), Some(S(3))));
    assert_eq!((kill.allow.gaps, kill.allow.duplicates, kill.allow.refused), (Some(Limit::AtMost(2)), Some(Limit::Any), None));
}

#[test]
fn a_file_may_say_next_to_nothing() {
    let scenario = parse("x.yaml", "steps: []\n").unwrap();
    assert_eq!((scenario.nodes(), scenario.interval(), scenario.length(), scenario.most_targets()), (3, S(2), S(60), 60));
    let one = parse("x.yaml", "steps:\n- {at: 10s, join: 1}\n").unwrap();
    assert_eq!(one.length(), S(10 + 15 + 8), "long enough to see it");
}

/// The message for a file; one line for each problem.
fn refused(text: &str) -> String {
    parse("x.yaml", text).unwrap_err().to_string()
}

#[test]
fn what_can_t_be_read_is_told_with_line_cause_and_remedy() {
    for (text, expected) in [
        ("stepps: []\n", "x.yaml:1: unknown key `stepps`; did you mean `steps`?"),
        ("steps:\n- at: 5s\n  kil: any\n", "x.yaml:3: unknown key `kil`; did you mean `kill`?"),
        ("fleet:\n  size: 3\n", "x.yaml:2: unknown key `size`; known here: nodes, arguments, environment, config"),
        ("targets:\n  count: 5\n  seris: 3\n", "x.yaml:3: unknown key `seris`; did you mean `series`?"),
        ("steps:\n- at: 5s\n  kill: nayone\n", "x.yaml:3: \"nayone\" is no node: write its number from 1 on, oldest, newest or any"),
        ("steps:\n- at: 5s\n  kill: {nod: 1}\n", "x.yaml:3: unknown key `nod`; did you mean `node`?"),
        ("steps:\n- at: 5s\n  allow: {gaps: few}\n", "x.yaml:3: \"few\" is no limit: write a whole number from 0 on, or any"),
        ("targets:\n  mix: 90%:5\n", "x.yaml:2: the shares of the mix add up to 90.0 %, not to 100 %"),
        ("steps:\n- at: 5\n  join: 1\n", "x.yaml:2: \"5\" is not a duration: write numbers with units, such as 500ms, 10s, 2m or 1h30m"),
        ("steps:\n- at: 5s\n  cut: {node: any, for: 5s, mode: drop}\n", "x.yaml:3: unknown word `drop`; known here: stall, reset"),
        ("steps:\n- at: 5s\n  pause: {node: any}\n", "x.yaml:3: `for` is missing"),
        ("", "x.yaml:1: the file ends too soon; a scenario has at least `steps`"),
    ] {
        assert_eq!(refused(text), expected);
    }
    assert!(refused("steps: [\n").starts_with("x.yaml:"), "{}", refused("steps: [\n"));
}

#[test]
fn what_makes_no_sense_is_told_all_at_once() {
    let steps = |steps: &str| refused(&format!("for: 5m\nsteps:\n{steps}"));
    for (text, expected) in [
        ("- join: 1\n", "the step has no `at`"),
        ("- at: 5s\n", "the step does nothing: give it one of join, leave"),
        ("- {at: 5s, join: 1, kill: any}\n", "the step does several things, join and kill: make a step of each"),
        ("- {at: 9s, join: 1}\n- {at: 5s, kill: any}\n", "x.yaml:4: at: 5s: the step before is at 9s; put steps in order"),
        ("- {at: 5s, join: 0}\n", "at least 1"),
        ("- {at: 5s, kill: {node: any, count: 3}}\n", "kill: 3 of 3 nodes: one must stay, to take over"),
        ("- {at: 5s, leave: any}\n- {at: 6s, leave: any}\n- {at: 7s, leave: any}\n", "x.yaml:5: leave: 1 of 1 nodes"),
        ("- {at: 5s, kill: 7}\n", "kill: there is no node-7 yet: 3 were started until then"),
        ("- {at: 5s, kill: 2}\n- {at: 6s, pause: {node: 2, for: 3s}}\n", "x.yaml:4: pause: node-2 is gone by then"),
        ("- {at: 5s, pause: {node: any, for: 0s}}\n", "`for` must be longer than 0s"),
        ("- {at: 5s, receiver: {fault: slow, for: 5s}}\n", "`fault: slow` needs `delay`"),
        ("- {at: 5s, receiver: {fault: error, status: 200, for: 5s}}\n", "a status from 400 to 599"),
        ("- {at: 5s, targets: {churn: true}}\n", "no series churn; say which share does"),
        ("- {at: 5s, targets: {remove: 60}}\n", "there are 60, and one must stay"),
        ("- {at: 5s, targets: {add: 1, remove: 1}}\n", "give one of `add: 10`"),
        ("- {at: 5s, configure: {}}\n", "give one of `template: FILE` and `append: BLOCKS`"),
        ("- {at: 298s, kill: any}\n", "x.yaml:3: kill at 298s: its effects may last until 307s, but the whole ends after 300s"),
    ] {
        assert!(steps(text).contains(expected), "{}\n{expected}", steps(text));
    }
    let all =
        refused("fleet: {nodes: 0}\ntargets: {interval: 10ms}\nfor: 5m\nsteps:\n- {at: 5s, join: 0}\n- {at: 6s, targets: {add: 0}}\n");
    assert_eq!(all.lines().count(), 4, "{all}");
    assert!(all.lines().next().unwrap().starts_with("x.yaml: nodes: 0: "), "{all}");
}

#[test]
fn a_file_that_is_not_there_is_named_and_paths_are_meant_from_the_file() {
    assert!(read(Path::new("/does/not/exist.yaml")).unwrap_err().to_string().starts_with("/does/not/exist.yaml: can't read it: "));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("small.yaml");
    std::fs::write(&path, "fleet: {config: my.alloy}\nsteps:\n- {at: 5s, configure: {template: other.alloy}}\n").unwrap();
    let scenario = read(&path).unwrap();
    assert_eq!((scenario.name.as_str(), scenario.fleet.config), ("small", Some(dir.path().join("my.alloy"))));
    assert_eq!(scenario.steps[0].action, Action::Configure(Change::Template(dir.path().join("other.alloy")), S(0)));
}

#[test]
fn the_default_story_makes_sense_and_a_short_one_does_not() {
    let story = |nodes, length| check(&Scenario::story(nodes, Some(S(length))));
    assert_eq!(story(3, 60), []);
    assert!(story(3, 20)[0].text.starts_with("--for must be at least 36s with this interval"), "{:?}", story(3, 20));
    assert_eq!(story(3, 36), []);
    assert!(story(1, 60)[0].text.contains("one must stay"));
}
