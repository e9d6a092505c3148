//! TLS: who is trusted, who we are, which protocol is spoken.
#![allow(clippy::unwrap_used)]

mod support;

use http::Version;
use net::{Client, ClientOptions, Step};
use support::{Authority, Server, client, config, fetch, ok, quoted};

fn trusting(ca: &Authority, more: &str) -> String {
    format!("tls_config {{\n ca_pem = {}\n {more}\n}}", quoted(&ca.pem))
}

#[tokio::test]
async fn a_configured_authority_is_trusted_and_http2_is_negotiated() {
    let ca = Authority::new();
    let server = Server::tls(ca.acceptor("127.0.0.1", None), |_| ok("hello")).await;
    assert_eq!(fetch(&client(&trusting(&ca, "")), &server.url("/")).await.unwrap().1, "hello");
    assert_eq!(server.last().version, Version::HTTP_2);
    let source = format!("enable_http2 = false\n{}", trusting(&ca, ""));
    fetch(&client(&source), &server.url("/")).await.unwrap();
    assert_eq!(server.last().version, Version::HTTP_11);
    let options = ClientOptions { http2: false, ..ClientOptions::default() };
    let by_option = Client::new(&config(&trusting(&ca, "")), options.clone()).unwrap();
    fetch(&by_option, &server.url("/")).await.unwrap();
    assert_eq!(server.last().version, Version::HTTP_11, "the component's own default");
    let source = format!("enable_http2 = true\n{}", trusting(&ca, ""));
    fetch(&Client::new(&config(&source), options).unwrap(), &server.url("/")).await.unwrap();
    assert_eq!(server.last().version, Version::HTTP_2, "configuration goes before it");
}

#[tokio::test]
async fn strangers_are_refused_unless_verification_is_off() {
    let (ca, other) = (Authority::new(), Authority::new());
    let server = Server::tls(ca.acceptor("127.0.0.1", None), |_| ok("")).await;
    let error = fetch(&client(&trusting(&other, "")), &server.url("/")).await.unwrap_err();
    assert_eq!(error.step, Step::Tls);
    assert!(error.cause.contains("invalid peer certificate"), "{error}");
    assert_eq!(server.count(), 0);
    assert!(fetch(&client(&trusting(&other, "insecure_skip_verify = true")), &server.url("/")).await.is_ok());
    assert!(fetch(&client("tls_config {\n insecure_skip_verify = true\n}"), &server.url("/")).await.is_ok());
}

#[tokio::test]
async fn the_certificate_must_bear_the_host_or_the_configured_name() {
    let ca = Authority::new();
    let server = Server::tls(ca.acceptor("metrics.example", None), |_| ok("")).await;
    let error = fetch(&client(&trusting(&ca, "")), &server.url("/")).await.unwrap_err();
    assert_eq!(error.step, Step::Tls, "{error}");
    assert!(fetch(&client(&trusting(&ca, "server_name = \"metrics.example\"")), &server.url("/")).await.is_ok());
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_servers_that_want_one() {
    let (ca, clients) = (Authority::new(), Authority::new());
    let server = Server::tls(ca.acceptor("127.0.0.1", Some(&clients)), |_| ok("known")).await;
    assert!(fetch(&client(&trusting(&ca, "")), &server.url("/")).await.is_err());
    let me = clients.sign("me");
    let own = format!("cert_pem = {}\n key_pem = {}\n min_version = \"TLS13\"", quoted(&me.cert), quoted(&me.key));
    assert_eq!(fetch(&client(&trusting(&ca, &own)), &server.url("/")).await.unwrap().1, "known");
}

#[tokio::test]
async fn certificate_files_are_read_when_needed_and_again_when_they_change() {
    let (ca, old) = (Authority::new(), Authority::new());
    let server = Server::tls(ca.acceptor("127.0.0.1", None), |_| ok("")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let client = client(&format!("tls_config {{\n ca_file = \"{}\"\n}}", file.display()));
    let error = fetch(&client, &server.url("/")).await.unwrap_err();
    assert_eq!(error.step, Step::Tls);
    assert!(error.cause.contains("tls_config.ca_file: cannot read"), "{error}");
    std::fs::write(&file, &old.pem).unwrap();
    assert!(fetch(&client, &server.url("/")).await.unwrap_err().cause.contains("invalid peer certificate"));
    std::fs::write(folder.path().join("next"), &ca.pem).unwrap();
    std::fs::rename(folder.path().join("next"), &file).unwrap();
    assert!(fetch(&client, &server.url("/")).await.is_ok());
}

#[tokio::test]
async fn plain_requests_need_no_certificates() {
    let server = Server::plain(|_| ok("")).await;
    let client = client("tls_config {\n ca_file = \"/nowhere/ca.pem\"\n}");
    assert!(fetch(&client, &server.url("/")).await.is_ok());
}

#[test]
fn unusable_material_is_refused_by_name() {
    for (source, argument) in [
        ("tls_config {\n ca_pem = \"nonsense\"\n}".to_owned(), "tls_config.ca_pem"),
        ("tls_config {\n cert_pem = \"nonsense\"\n key_pem = \"hunter2\"\n}".to_owned(), "tls_config.cert_pem"),
        (
            format!("tls_config {{\n cert_pem = {}\n key_pem = \"hunter2\"\n}}", quoted(&Authority::new().sign("x").cert)),
            "tls_config.key_pem",
        ),
        ("tls_config {\n server_name = \"not a name\"\n}".to_owned(), "tls_config.server_name"),
    ] {
        let error = Client::new(&config(&source), ClientOptions::default()).unwrap_err();
        assert_eq!(error.argument, argument, "{error}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
