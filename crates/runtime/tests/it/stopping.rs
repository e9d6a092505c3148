//! The order in which components stop.

use std::time::Duration;

use runtime::LoadError;
use syntax::ToValue as _;

use crate::support::{Cue, LONG, World};

/// discovery → scrape → relabel → write, and another pair.
const PIPELINE: &str = r#"
    fake.node "discovery" { }
    fake.node "scrape" {
        inputs     = [fake.node.discovery.out]
        forward_to = [fake.node.relabel.receiver]
    }
    fake.node "relabel" { forward_to = [fake.node.write.receiver] }
    fake.node "write" { }
    fake.node "other_scrape" { forward_to = [fake.node.other_write.receiver] }
    fake.node "other_write" { }"#;

async fn running() -> World {
    let world = World::running(PIPELINE).await;
    for label in ["discovery", "scrape", "relabel", "write", "other_scrape", "other_write"] {
        world.stage.see(&format!("run fake.node.{label}")).await;
    }
    world.stage.forget();
    world
}

/// Asserts that the lines occur in this order, among others.
fn in_order(script: &[String], lines: &[&str]) {
    let mut rest = script.iter();
    for line in lines {
        assert!(rest.any(|other| other == line), "{line:?} is missing or too early in\n{}", script.join("\n"));
    }
}

#[tokio::test]
async fn shutdown_stops_each_component_after_those_that_send_to_it() {
    let world = running().await;
    assert_eq!(world.controller.shutdown(LONG).await, [""; 0]);
    let script = world.stage.script();
    in_order(
        &script,
        &[
            "stop fake.node.scrape Exit",
            "end fake.node.scrape",
            "stop fake.node.relabel Exit",
            "end fake.node.relabel",
            "stop fake.node.write Exit",
        ],
    );
    in_order(&script, &["end fake.node.other_scrape", "stop fake.node.other_write Exit", "end fake.node.other_write"]);
    in_order(&script, &["end fake.node.scrape", "stop fake.node.discovery Exit"]);
    assert_eq!(script.len(), 12);
    assert_eq!(world.health("fake.node.write"), ("exited", "component shut down cleanly".to_owned()));
}

#[tokio::test]
async fn one_that_takes_long_delays_only_those_below_it() {
    let world = running().await;
    world.stage.hold("fake.node.relabel");
    let controller = world.controller.clone();
    let shutdown = tokio::spawn(async move { controller.shutdown(LONG).await });
    world.stage.see("end fake.node.other_write").await;
    world.stage.see("stop fake.node.relabel Exit").await;
    assert!(!world.stage.script().iter().any(|line| line.starts_with("stop fake.node.write")));
    world.stage.release("fake.node.relabel");
    assert_eq!(shutdown.await.unwrap(), [""; 0]);
    world.stage.see("end fake.node.write").await;
}

#[tokio::test(start_paused = true)]
async fn those_below_a_stuck_one_get_their_last_call_before_the_deadline() {
    let world = running().await;
    world.stage.hold("fake.node.relabel");
    let begin = tokio::time::Instant::now();
    assert_eq!(world.controller.shutdown(Duration::from_secs(10)).await, ["fake.node.relabel"]);
    assert!(begin.elapsed() < Duration::from_secs(12), "{:?}", begin.elapsed());
    world.stage.see("end fake.node.write").await;
    let (state, message) = world.health("fake.node.relabel");
    assert_eq!((state, message.as_str()), ("exited", "component shut down with error: did not finish before its deadline and was aborted"));
}

#[tokio::test]
async fn what_exited_by_itself_is_not_waited_for() {
    let world = running().await;
    world.stage.cue("fake.node.relabel", Cue::Return(Err("broke")));
    world.health_becomes("fake.node.relabel", "exited").await;
    assert_eq!(world.controller.shutdown(LONG).await, [""; 0]);
    in_order(&world.stage.script(), &["end fake.node.scrape", "stop fake.node.write Exit"]);
    assert_eq!(world.health("fake.node.relabel").1, "component shut down with error: broke");
}

#[tokio::test]
async fn after_a_shutdown_nothing_can_be_loaded_and_a_second_one_returns_at_once() {
    let world = running().await;
    world.controller.shutdown(LONG).await;
    assert!(matches!(world.load("").await, Err(LoadError::Stopped)));
    assert_eq!(world.controller.shutdown(LONG).await, [""; 0]);
    world.controller.stopped().await;
}

#[tokio::test]
async fn dropping_the_last_handle_stops_everything() {
    let World { controller, stage, .. } = running().await;
    drop(controller);
    stage.see("end fake.node.write").await;
    stage.see("end fake.node.discovery").await;
}

#[tokio::test]
async fn removed_components_stop_from_sources_to_sinks() {
    let world = running().await;
    world.reload("fake.node \"discovery\" { }").await.unwrap();
    world.stage.see("end fake.node.write").await;
    in_order(
        &world.stage.script(),
        &[
            "stop fake.node.scrape Removed",
            "end fake.node.scrape",
            "end fake.node.relabel",
            "stop fake.node.write Removed",
            "end fake.node.write",
        ],
    );
    assert!(!world.stage.script().iter().any(|line| line.contains("fake.node.discovery")));
}

#[tokio::test]
async fn a_removed_source_ends_before_a_new_component_starts() {
    let world = World::running("fake.node \"old\" { }").await;
    world.stage.see("run fake.node.old").await;
    world.reload("fake.node \"new\" { }").await.unwrap();
    world.stage.see("run fake.node.new").await;
    in_order(&world.stage.script(), &["build fake.node.new", "end fake.node.old", "run fake.node.new"]);
}

#[tokio::test(start_paused = true)]
async fn a_removed_source_that_holds_nothing_any_more_holds_up_nobody() {
    let world = World::running("fake.node \"old\" { lets_go = true }").await;
    world.stage.see("run fake.node.old").await;
    world.stage.hold("fake.node.old");
    let begin = tokio::time::Instant::now();
    world.load("fake.node \"new\" { }").await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    world.stage.see("run fake.node.new").await;
    assert!(world.stage.only(&["end"]).is_empty());
    world.stage.release("fake.node.old");
    world.stage.see("end fake.node.old").await;
}

#[tokio::test]
async fn a_removed_sink_is_stopped_only_when_nobody_sends_to_it_any_more() {
    let config = |sink: &str| format!("fake.node \"{sink}\" {{ }}\n fake.node \"scrape\" {{ forward_to = [fake.node.{sink}.receiver] }}");
    let world = World::running(&config("old")).await;
    world.stage.see("run fake.node.scrape").await;
    world.stage.hold("fake.node.old");
    world.reload(&config("new")).await.unwrap();
    world.stage.see("stop fake.node.old Removed").await;
    world.stage.see("update fake.node.scrape null 0").await;
    in_order(&world.stage.script(), &["build fake.node.new", "run fake.node.new", "update fake.node.scrape null 0"]);
    // Loading did not wait for it.
    world.stage.release("fake.node.old");
    world.stage.see("end fake.node.old").await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_sink_takes_data_until_its_senders_send_elsewhere() {
    let config = |sink: &str| format!("fake.node \"{sink}\" {{ }}\n fake.node \"scrape\" {{ forward_to = [fake.node.{sink}.receiver] }}");
    let world = World::running(&format!("{}\n fake.node \"stubborn\" {{ }}", config("old"))).await;
    world.stage.see("run fake.node.scrape").await;
    // Another removed component keeps what is new waiting; meanwhile `scrape` still sends to the old sink.
    world.stage.hold("fake.node.stubborn");
    world.reload(&config("new")).await.unwrap();
    world.stage.see("stop fake.node.old Removed").await;
    in_order(
        &world.stage.script(),
        &["stop fake.node.stubborn Removed", "run fake.node.new", "update fake.node.scrape null 0", "stop fake.node.old Removed"],
    );
}

#[tokio::test(start_paused = true)]
async fn a_removed_component_that_does_not_finish_is_aborted_at_its_deadline() {
    let world = World::with(|options| options.removal_deadline = Duration::from_secs(60));
    world.load("fake.node \"a\" { }").await.unwrap();
    world.stage.see("run fake.node.a").await;
    world.stage.hold("fake.node.a");
    let begin = tokio::time::Instant::now();
    world.load("").await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(10), "loading waited for the deadline: {:?}", begin.elapsed());
    tokio::time::sleep(Duration::from_secs(61)).await;
    world.stage.release("fake.node.a");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.stage.only(&["end"]).is_empty(), "it went on after its deadline");
}

#[tokio::test(start_paused = true)]
async fn shutdown_aborts_what_a_reload_removed_and_what_still_hangs() {
    let world = World::running("fake.node \"a\" { }").await;
    world.stage.see("run fake.node.a").await;
    world.stage.hold("fake.node.a");
    world.load("").await.unwrap();
    assert_eq!(world.controller.shutdown(Duration::from_secs(3)).await, [""; 0]);
    world.stage.release("fake.node.a");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.stage.only(&["end"]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_evaluation_does_not_keep_components_from_stopping() {
    let world = World::running("fake.node \"a\" { value = \"no\" }").await;
    let config = "fake.node \"a\" { value = \"no\" }\n fake.node \"b\" {\n build_error = fake.node.a.out\n build_blocks = fake.node.a.out == \"\"\n}";
    world.load(config).await.unwrap_err();
    world.stage.see("run fake.node.a").await;
    world.stage.cue("fake.node.a", Cue::Export("".to_value()));
    world.stage.see("building fake.node.b").await;
    let controller = world.controller.clone();
    let shutdown = tokio::spawn(async move { controller.shutdown(Duration::from_secs(10)).await });
    shutdown.await.unwrap();
    world.stage.see("stop fake.node.a Exit").await;
    world.stage.let_builds_go_on();
}
