//! OAuth 2.0 client credentials against a token server on loopback.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use net::Step;
use support::{Answer, Asked, Authority, Server, client, fetch, ok, quoted, status};

fn source(tokens: &Server) -> String {
    format!(
        "oauth2 {{\n client_id = \"id\"\n client_secret = \"hunter2 &\"\n token_url = \"{}\"\n scopes = [\"a\", \"b\"]\n \
         endpoint_params = {{ audience = \"us\" }}\n}}",
        tokens.url("/token")
    )
}

fn numbered(expires_in: u32) -> impl Fn(&Asked) -> Answer {
    let count = AtomicUsize::new(0);
    move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        ok(&format!("{{\"access_token\":\"token-{number}\",\"token_type\":\"bearer\",\"expires_in\":{expires_in}}}"))
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_for_many_requests() {
    let tokens = Server::plain(numbered(3600)).await;
    let server = Server::plain(|_| ok("")).await;
    let client = client(&source(&tokens));
    let url = server.url("/");
    let all = futures_util::future::join_all((0..8).map(|_| fetch(&client, &url))).await;
    assert!(all.iter().all(Result::is_ok));
    assert!(server.asked.lock().iter().all(|asked| asked.header("authorization") == Some("Bearer token-0")));
    assert_eq!(tokens.count(), 1);
    let asked = tokens.last();
    assert_eq!(asked.header("authorization"), Some("Basic aWQ6aHVudGVyMislMjY="), "id:hunter2+%26");
    assert_eq!(&asked.body[..], b"grant_type=client_credentials&scope=a+b&audience=us");
}

#[tokio::test]
async fn an_expired_token_is_renewed_shortly_before() {
    let tokens = Server::plain(numbered(3600)).await;
    let server = Server::plain(|_| ok("")).await;
    let client = client(&source(&tokens));
    // Time also passes by itself, so that there is room on both sides.
    for (seconds, expected) in [(0, "Bearer token-0"), (3500, "Bearer token-0"), (95, "Bearer token-1")] {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
        fetch(&client, &server.url("/")).await.unwrap();
        assert_eq!(server.last().header("authorization"), Some(expected));
    }
}

#[tokio::test]
async fn a_rotated_secret_gets_a_new_token_at_once() {
    let tokens = Server::plain(numbered(3600)).await;
    let server = Server::plain(|_| ok("")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let (url, path) = (tokens.url("/"), file.display());
    let client = client(&format!("oauth2 {{\n client_id = \"id\"\n client_secret_file = \"{path}\"\n token_url = \"{url}\"\n}}"));
    let error = fetch(&client, &server.url("/")).await.unwrap_err();
    assert!(error.cause.contains("oauth2.client_secret_file: cannot read"), "{error}");
    for (secret, token, asked) in [("one", "Bearer token-0", "Basic aWQ6b25l"), ("other", "Bearer token-1", "Basic aWQ6b3RoZXI=")] {
        std::fs::write(&file, secret).unwrap();
        for _ in 0..2 {
            fetch(&client, &server.url("/")).await.unwrap();
            assert_eq!(server.last().header("authorization"), Some(token));
        }
        assert_eq!(tokens.last().header("authorization"), Some(asked));
    }
}

#[tokio::test]
async fn tokens_are_fetched_with_tls_and_proxy_of_their_own() {
    let ca = Authority::new();
    let tokens = Server::tls(ca.acceptor("127.0.0.1", None), numbered(60)).await;
    let proxy = Server::plain(numbered(60)).await;
    let server = Server::plain(|_| ok("")).await;
    let with = |url: &str, more: &str| {
        client(&format!("oauth2 {{\n client_id = \"id\"\n client_secret = \"s\"\n token_url = \"{url}\"\n {more}\n}}"))
    };
    assert!(fetch(&with(&tokens.url("/"), ""), &server.url("/")).await.is_err(), "the authority is not known");
    let trusted = with(&tokens.url("/"), &format!("tls_config {{\n ca_pem = {}\n}}", quoted(&ca.pem)));
    fetch(&trusted, &server.url("/")).await.unwrap();
    assert_eq!(tokens.count(), 1);
    fetch(&with("http://tokens.invalid/t", &format!("proxy_url = \"http://{}\"", proxy.address)), &server.url("/")).await.unwrap();
    assert_eq!(proxy.last().uri, "http://tokens.invalid/t");
}

#[tokio::test]
async fn a_server_that_wants_the_credentials_in_the_body_gets_them_there() {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = refused.clone();
    let tokens = Server::plain(move |asked| {
        if asked.body.windows(10).any(|part| part == b"client_id=") {
            return ok("{\"access_token\":\"t\",\"expires_in\":\"11\"}");
        }
        count.fetch_add(1, Ordering::SeqCst);
        status(401)
    })
    .await;
    let server = Server::plain(|_| ok("")).await;
    let client = client(&source(&tokens));
    fetch(&client, &server.url("/")).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    fetch(&client, &server.url("/")).await.unwrap();
    assert_eq!(refused.load(Ordering::SeqCst), 1, "the second time it is known");
    assert!(String::from_utf8_lossy(&tokens.last().body).ends_with("client_id=id&client_secret=hunter2+%26"));
}

#[tokio::test]
async fn a_refusal_is_told_without_secrets() {
    let tokens = Server::plain(|_| {
        http::Response::builder().status(400).body("{\"error\":\"invalid_client\",\"hint\":\"hunter2\"}".into()).unwrap()
    })
    .await;
    let server = Server::plain(|_| ok("")).await;
    let error = fetch(&client(&source(&tokens)), &server.url("/")).await.unwrap_err();
    assert_eq!(error.step, Step::Credentials);
    assert_eq!(&*error.cause, "oauth2: cannot fetch token: 400 Bad Request: invalid_client");
    assert_eq!(server.count(), 0);
}
