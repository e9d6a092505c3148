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
