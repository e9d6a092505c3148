//! Tests of `prometheus.remote_write` that need no receiver; delivery over real sockets is tested end to end.

use component::Services;
use syntax::Scope;

use super::*;

fn setup(folder: &Path) -> Setup {
    Setup::detached("prometheus.remote_write.x", folder, Services::default())
}

fn arguments(source: &str) -> Arguments {
    syntax::decode_str(source, &Scope::new()).unwrap()
}

#[test]
fn a_name_is_made_of_the_url_without_its_password() {
    let named = |url: &str| endpoint_name(&arguments(&format!("endpoint {{\nurl = {url:?}\n}}")).endpoint[0]);
    assert_eq!(named("http://a/write"), named("http://u:p@a/write"));
    assert_ne!(named("http://a/write"), named("http://b/write"));
}

#[tokio::test]
async fn headers_of_the_protocol_cannot_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = arguments("endpoint {\nurl = \"http://a\"\nheaders = { \"Content-Encoding\" = \"gzip\" }\n}");
    let error = RemoteWrite::build(arguments, &setup(folder.path())).err().unwrap().to_string();
    assert!(error.contains("Content-Encoding") && error.contains("protocol"), "{error}");
}

#[tokio::test]
async fn two_endpoints_of_one_receiver_have_queues_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = |id: &str| format!("endpoint {{\nurl = \"http://127.0.0.1:1/write\"\nheaders = {{ \"X-Scope-OrgID\" = {id:?} }}\n}}\n");
    let two = arguments(&(tenant("a") + &tenant("b")));
    let (component, _) = RemoteWrite::build(two, &setup(folder.path())).unwrap();
    let names: Vec<&str> = component.endpoints.iter().map(|running| running.name.as_str()).collect();
    assert_eq!(names[1], format!("{}-2", names[0]));
}

#[test]
fn names_that_are_no_folders_stay_apart_and_inside() {
    let folder = |name: &str| disk(Path::new("/data"), name).directory;
    assert_eq!(folder("plain-1"), Path::new("/data/queue/plain-1"));
    assert_ne!(folder("a/b"), folder("a_b"));
    for odd in ["..", ".", "a/../../b"] {
        assert_eq!(folder(odd).parent(), Some(Path::new("/data/queue")), "{odd}");
        assert!(!folder(odd).ends_with(".."));
    }
}

#[tokio::test]
async fn while_an_endpoint_is_replaced_batches_are_refused_and_not_lost_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path());
    let (mut component, exports) = RemoteWrite::build(arguments("endpoint {\nurl = \"http://127.0.0.1:1/write\"\n}"), &setup).unwrap();
    let batch = || Batch::new(1, Arc::new(model::Layout::default()), 0, vec![]);
    assert_eq!(exports.receiver.consume(batch()), Ok(()));
    component.endpoints.clear();
    component.open();
    assert_eq!(exports.receiver.consume(batch()), Err(Refused::Closed));
    component.update(arguments(""), &setup).await;
    assert_eq!(exports.receiver.consume(batch()), Ok(()), "without endpoints nobody wants it");
}

#[tokio::test]
async fn remote_write_2_0_needs_a_process_that_permits_what_is_experimental() {
    let folder = tempfile::tempdir().unwrap();
    let build = |services: Services| {
        let v2 = "endpoint {\nurl = \"http://127.0.0.1:1/write\"\nprotobuf_message = \"io.prometheus.write.v2.Request\"\n}";
        RemoteWrite::build(arguments(v2), &Setup::detached("prometheus.remote_write.x", folder.path(), services))
    };
    let error = build(Services::default().with(Stability::PublicPreview)).err().unwrap().to_string();
    assert!(error.contains("stability.level") && error.contains("experimental"), "{error}");
    assert!(build(Services::default().with(Stability::Experimental)).is_ok());
}
