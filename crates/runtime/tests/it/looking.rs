//! What the API and `/metrics` are told.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::support::{Cue, World};

const PIPELINE: &str = r#"
    fake.node "discovery" { value = ["t"] }
    fake.node "scrape" {
        inputs     = [fake.node.discovery.out]
        forward_to = [fake.node.write.receiver]
    }
    fake.node "write" { serve = true }
    logging { write_to = [] }"#;

async fn running() -> World {
    let world = World::running(PIPELINE).await;
    world.stage.see("run fake.node.scrape").await;
    world
}

#[tokio::test]
async fn lists_have_alloys_shape_without_bodies() {
    let world = running().await;
    let mut list: Vec<Json> = world.controller.components().iter().map(runtime::ComponentInfo::to_json).collect();
    let updated = list[2]["health"]["updatedTime"].take();
    assert!(updated.as_str().unwrap().ends_with('Z'), "{updated}");
    assert_eq!(
        list[2],
        json!({
            "name": "fake.node", "type": "block", "localID": "fake.node.scrape", "moduleID": "", "label": "scrape",
            "referencesTo": ["fake.node.discovery", "fake.node.write"], "referencedBy": [],
            "dataFlowEdgesTo": ["fake.node.write"],
            "health": {"state": "healthy", "message": "started component", "updatedTime": null},
            "original": "", "arguments": [], "exports": [], "debugInfo": [], "liveDebuggingEnabled": false,
        })
    );
    assert_eq!(list.len(), 3);
}

#[tokio::test]
async fn data_flows_against_references_to_receivers_and_along_others() {
    let world = running().await;
    let flows: BTreeMap<String, Vec<String>> =
        world.controller.components().into_iter().map(|info| (info.local_id, info.data_flow_edges_to)).collect();
    assert_eq!(flows["fake.node.discovery"], ["fake.node.scrape"]);
    assert_eq!(flows["fake.node.scrape"], ["fake.node.write"]);
    assert!(flows["fake.node.write"].is_empty());
    let back = world.controller.components().into_iter().find(|info| info.local_id == "fake.node.write").unwrap();
    assert_eq!(back.referenced_by, ["fake.node.scrape"]);
}

#[tokio::test]
async fn one_component_is_shown_with_its_bodies() {
    let world = running().await;
    let shown = world.controller.component_json("fake.node.discovery").await.unwrap();
    let targets = json!({"type": "array", "value": [{"type": "string", "value": "t"}]});
    assert_eq!(shown["arguments"], json!([{"name": "value", "type": "attr", "value": targets}]));
    assert_eq!(shown["exports"][0], json!({"name": "out", "type": "attr", "value": targets}));
    assert_eq!(shown["exports"][1]["value"]["type"], "capsule");
    assert_eq!(shown["debugInfo"], json!([{"name": "value", "type": "attr", "value": targets}]));
    assert!(world.controller.component_json("fake.node.nobody").await.is_none());
    assert!(world.controller.component_json("logging").await.is_none());
}

#[tokio::test]
async fn a_component_that_exited_has_no_debug_info_and_is_shown_all_the_same() {
    let world = running().await;
    world.stage.cue("fake.node.scrape", Cue::Return(Ok(())));
    world.health_becomes("fake.node.scrape", "exited").await;
    let shown = world.controller.component_json("fake.node.scrape").await.unwrap();
    assert_eq!(shown["debugInfo"], json!([]));
    assert_eq!(shown["health"]["state"], "exited");
}

#[tokio::test]
async fn requests_go_to_the_component_with_the_longest_matching_id() {
    let world = World::running("fake.node \"a\" { serve = true }\n fake.node \"ab\" { serve = true }\n fake.node \"mute\" { }").await;
    let ask = async |path: &str| {
        let (handler, rest) = world.controller.http_handler(path)?;
        let reply = handler.call(http::Request::get(rest).body(bytes::Bytes::new()).unwrap()).await;
        Some(String::from_utf8_lossy(reply.body()).into_owned())
    };
    assert_eq!(ask("fake.node.a/metrics/x").await.as_deref(), Some("fake.node.a /metrics/x"));
    assert_eq!(ask("/fake.node.ab").await.as_deref(), Some("fake.node.ab /"));
    assert_eq!(ask("fake.node.abc/x").await, None);
    assert_eq!(ask("fake.node.mute/x").await, None);
    assert_eq!(ask("").await, None);
}

/// `name{labels} value` of every sample that is a gauge or counter.
fn samples(world: &World) -> Vec<String> {
    let mut samples = Vec::new();
    for family in world.controller.gather() {
        for metric in family.get_metric() {
            let mut labels: Vec<String> = metric.get_label().iter().map(|pair| format!("{}={}", pair.name(), pair.value())).collect();
            labels.sort();
            let value = metric.get_gauge().get_value() + metric.get_counter().get_value();
            samples.push(format!("{}{{{}}} {value}", family.name(), labels.join(",")));
        }
    }
    samples
}

#[track_caller]
fn has(world: &World, sample: &str) {
    let samples = samples(world);
    assert!(samples.iter().any(|other| other == sample), "{sample} is not among\n{}", samples.join("\n"));
}

#[tokio::test]
async fn metrics_of_all_components_are_one_family_and_go_with_their_component() {
    let world = running().await;
    for label in ["discovery", "scrape", "write"] {
        has(&world, &format!("fake_built{{component_id=fake.node.{label},component_path=/}} 1"));
    }
    assert_eq!(world.controller.gather().iter().filter(|family| family.name() == "fake_built").count(), 1);
    world.load("fake.node \"write\" { serve = true }").await.unwrap();
    assert_eq!(samples(&world).iter().filter(|sample| sample.starts_with("fake_built")).count(), 1);
}

#[tokio::test]
async fn the_graph_is_counted() {
    let world = running().await;
    world.stage.cue("fake.node.write", Cue::Unhealthy("refused"));
    world.health_becomes("fake.node.write", "unhealthy").await;
    has(&world, "alloy_component_controller_running_components{controller_id=,controller_path=/,health_type=healthy} 2");
    has(&world, "alloy_component_controller_running_components{controller_id=,controller_path=/,health_type=unhealthy} 1");
    has(&world, "alloy_component_controller_running_components{controller_id=,controller_path=/,health_type=exited} 0");
    has(&world, "alloy_component_graph_connection{controller_id=,controller_path=/,from=fake.node.scrape,to=fake.node.write} 1");
    has(&world, "alloy_component_controller_evaluating{controller_id=,controller_path=/} 0");
    has(&world, "alloy_component_evaluation_queue_size{controller_id=,controller_path=/} 0");
}

#[tokio::test]
async fn loads_are_counted_and_the_running_configuration_is_named() {
    let world = running().await;
    let hash = world.controller.config_hash().unwrap();
    assert_eq!(hash.len(), 64);
    has(&world, "alloy_config_last_load_successful{} 1");
    has(&world, "alloy_config_load_failures_total{} 0");
    world.load("nonsense { }").await.unwrap_err();
    has(&world, "alloy_config_last_load_successful{} 0");
    has(&world, "alloy_config_load_failures_total{} 1");
    has(&world, &format!("alloy_config_hash{{cluster_name=fleet,sha256={hash}}} 1"));
    assert!(samples(&world).iter().any(|sample| sample.starts_with("alloy_config_last_load_success_timestamp_seconds{} 1")));
}

#[tokio::test]
async fn evaluations_are_timed() {
    let world = running().await;
    let count = |name: &str| {
        let families = world.controller.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        family.get_metric()[0].get_histogram().get_sample_count()
    };
    // Three components and the log.
    assert_eq!(count("alloy_component_evaluation_seconds"), 4);
    assert_eq!(count("alloy_component_dependencies_wait_seconds"), 0);
    world.stage.cue("fake.node.discovery", Cue::Export(syntax::Value::array(vec![])));
    world.stage.see("update fake.node.scrape null 0").await;
    assert_eq!(count("alloy_component_evaluation_seconds"), 5);
    assert_eq!(count("alloy_component_dependencies_wait_seconds"), 1);
}
