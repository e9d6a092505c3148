//! TLS: who is trusted, who we are, which protocol is spoken.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Version;
use net::{Client, ClientOptions, Step};
use support::{Authority, Server, Signed, client, config, fetch, ok, quoted};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

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

/// Passes connections on to a server. The first one is cut off without a word when it is told to.
async fn passing_on(server: &Server) -> (SocketAddr, Arc<AtomicUsize>, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, target) = (listener.local_addr().unwrap(), server.address);
    let (cut, is_cut) = watch::channel(false);
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (is_first, mut is_cut) = (seen.fetch_add(1, Ordering::SeqCst) == 0, is_cut.clone());
            tokio::spawn(async move {
                let mut upstream = TcpStream::connect(target).await.unwrap();
                let cut = async { is_cut.wait_for(|is_cut| *is_cut && is_first).await.map(drop) };
                tokio::select! {
                    _ = copy_bidirectional(&mut socket, &mut upstream) => return,
                    _ = cut => {}
                }
                std::future::pending::<()>().await; // both stay open
            });
        }
    });
    (address, count, cut)
}

#[tokio::test]
async fn a_silent_http2_connection_is_asked_whether_it_lives_and_replaced_if_it_does_not() {
    let ca = Authority::new();
    let server = Server::tls(ca.acceptor("127.0.0.1", None), |_| ok("")).await;
    let (address, connections, cut) = passing_on(&server).await;
    let (client, url) = (client(&trusting(&ca, "")), format!("https://{address}/"));
    let idle_for = async |seconds: u64| {
        tokio::time::pause();
        for _ in 0..seconds {
            tokio::time::advance(Duration::from_secs(1)).await;
            // Sockets need real time.
            std::thread::sleep(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
        tokio::time::resume();
    };
    fetch(&client, &url).await.unwrap();
    idle_for(200).await;
    fetch(&client, &url).await.unwrap();
    assert_eq!(connections.load(Ordering::SeqCst), 1, "one that answers is kept");
    cut.send(true).unwrap();
    idle_for(80).await;
    fetch(&client, &url).await.unwrap();
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    assert_eq!(server.last().version, Version::HTTP_2);
}

#[tokio::test]
async fn one_http2_connection_serves_all_requests_unless_none_is_to_be_kept() {
    let ca = Authority::new();
    for (keep_alive, connections) in [(true, 1), (false, 3)] {
        let server = Server::tls(ca.acceptor("127.0.0.1", None), |_| ok("")).await;
        let options = ClientOptions { keep_alive, ..ClientOptions::default() };
        let client = Client::new(&config(&trusting(&ca, "")), options).unwrap();
        for _ in 0..3 {
            fetch(&client, &server.url("/")).await.unwrap();
        }
        assert_eq!((server.connections.load(Ordering::SeqCst), server.last().version), (connections, Version::HTTP_2));
    }
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
async fn a_changed_client_certificate_is_shown_at_the_next_request_on_a_new_connection() {
    let (ca, clients) = (Authority::new(), Authority::new());
    let server = Server::tls(ca.acceptor("127.0.0.1", Some(&clients)), |_| ok("")).await;
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let place = |signed: &Signed| {
        for (path, text) in [(&cert, &signed.cert), (&key, &signed.key)] {
            std::fs::write(folder.path().join("next"), text).unwrap();
            std::fs::rename(folder.path().join("next"), path).unwrap();
        }
    };
    let own = format!("cert_file = \"{}\"\n key_file = \"{}\"", cert.display(), key.display());
    let client = client(&trusting(&ca, &own));
    let connections = || server.connections.load(Ordering::SeqCst);
    for expected in [1, 2] {
        place(&clients.sign("me"));
        for _ in 0..3 {
            fetch(&client, &server.url("/")).await.unwrap();
        }
        assert_eq!(connections(), expected);
    }
    place(&Authority::new().sign("me"));
    assert!(fetch(&client, &server.url("/")).await.is_err(), "a stranger is refused even though an old connection was good");
}

#[tokio::test]
async fn a_certificate_that_signs_itself_is_trusted_if_it_is_configured() {
    let alone = Signed::by_itself("127.0.0.1", 4000);
    let server = Server::tls(alone.acceptor(None, rustls::ALL_VERSIONS), |_| ok("alone")).await;
    let with = |cert: &str| client(&format!("tls_config {{\n ca_pem = {}\n}}", quoted(cert)));
    assert_eq!(fetch(&with(&alone.cert), &server.url("/")).await.unwrap().1, "alone");
    let error = fetch(&with(&Signed::by_itself("127.0.0.1", 4000).cert), &server.url("/")).await.unwrap_err();
    assert!(error.cause.contains("invalid peer certificate"), "{error}");
    for (wrong, part) in
        [(Signed::by_itself("other.example", 4000), "not valid for name"), (Signed::by_itself("127.0.0.1", 2020), "expired")]
    {
        let server = Server::tls(wrong.acceptor(None, rustls::ALL_VERSIONS), |_| ok("")).await;
        let error = fetch(&with(&wrong.cert), &server.url("/")).await.unwrap_err();
        assert!(error.cause.contains(part), "{error}");
    }
}

#[tokio::test]
async fn versions_before_the_least_that_is_wanted_are_not_spoken() {
    let ca = Authority::new();
    let old = Server::tls(ca.sign("127.0.0.1").acceptor(None, &[&rustls::version::TLS12]), |_| ok("")).await;
    for version in ["TLS10", "TLS11", "TLS12"] {
        assert!(fetch(&client(&trusting(&ca, &format!("min_version = \"{version}\""))), &old.url("/")).await.is_ok(), "{version}");
    }
    let error = fetch(&client(&trusting(&ca, "min_version = \"TLS13\"")), &old.url("/")).await.unwrap_err();
    assert_eq!(error.step, Step::Tls);
}

#[tokio::test]
async fn broken_files_are_named_with_their_path() {
    let server = Server::tls(Authority::new().acceptor("127.0.0.1", None), |_| ok("")).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let (me, other) = (Authority::new().sign("me"), Authority::new().sign("me"));
    let (rubbish, cert, key) = (path("rubbish", "hunter2"), path("cert", &me.cert), path("key", &other.key));
    let encrypted = path("encrypted", "-----BEGIN ENCRYPTED PRIVATE KEY-----\naHVudGVyMg==\n-----END ENCRYPTED PRIVATE KEY-----\n");
    for (arguments, message) in [
        (format!("ca_file = \"{rubbish}\""), format!("tls_config.ca_file: {rubbish}: holds no PEM certificate")),
        (format!("cert_file = \"{cert}\"\nkey_file = \"{rubbish}\""), format!("tls_config.key_file: {rubbish}: holds no PEM private key")),
        (format!("cert_file = \"{cert}\"\nkey_file = \"{encrypted}\""), format!("tls_config.key_file: {encrypted}: holds an encrypted")),
        (format!("cert_file = \"{cert}\"\nkey_file = \"{key}\""), format!("tls_config.cert_file: {cert}: keys may not be consistent")),
        (format!("cert_file = \"{cert}\"\nkey_file = \"/gone\""), "tls_config.key_file: cannot read /gone: No such file".to_owned()),
    ] {
        let error = fetch(
            &client(&format!("tls_config {{\n insecure_skip_verify = {}\n {arguments}\n}}", !arguments.contains("ca_"))),
            &server.url("/"),
        )
        .await
        .unwrap_err();
        assert_eq!(error.step, Step::Tls);
        assert!(error.cause.starts_with(&message), "{error}");
        assert!(!error.to_string().contains("hunter2"));
    }
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
