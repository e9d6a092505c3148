//! The client against servers on loopback: credentials, headers, redirects, reuse, errors.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use net::{Client, ClientOptions, Step};
use parking_lot::Mutex;
use support::{Server, client, config, fetch, get, ok, redirect, status};

#[tokio::test]
async fn credentials_of_every_kind_reach_the_server() {
    let server = Server::plain(|_| ok("fine")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "from-file\n").unwrap();
    let file = file.to_str().unwrap();
    for (source, expected) in [
        ("bearer_token = \"t\"".to_owned(), "Bearer t"),
        (format!("bearer_token_file = \"{file}\""), "Bearer from-file"),
        ("basic_auth {\n username = \"u\"\n password = \"p\"\n}".to_owned(), "Basic dTpw"),
        (format!("basic_auth {{\n username = \"u\"\n password_file = \"{file}\"\n}}"), "Basic dTpmcm9tLWZpbGU="),
        ("authorization {\n type = \" Token \"\n credentials = \"c\"\n}".to_owned(), "Token c"),
        (format!("authorization {{\n credentials_file = \"{file}\"\n}}"), "Bearer from-file"),
    ] {
        assert_eq!(fetch(&client(&source), &server.url("/")).await.unwrap(), (200, "fine".to_owned()));
        assert_eq!(server.last().header("authorization"), Some(expected), "{source}");
    }
    fetch(&client(""), &server.url("/")).await.unwrap();
    assert_eq!(server.last().header("authorization"), None);
    assert_eq!(server.last().header("user-agent"), Some(net::USER_AGENT));
}

#[tokio::test]
async fn a_rotated_secret_is_used_at_once_and_a_missing_one_is_named() {
    let server = Server::plain(|_| ok("")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let client = client(&format!("bearer_token_file = \"{}\"", file.display()));
    let error = fetch(&client, &server.url("/")).await.unwrap_err();
    assert_eq!(error.step, Step::Credentials);
    assert!(error.cause.contains("bearer_token_file: cannot read"), "{error}");
    for token in ["one", "second"] {
        std::fs::write(&file, token).unwrap();
        fetch(&client, &server.url("/")).await.unwrap();
        assert_eq!(server.last().header("authorization"), Some(format!("Bearer {token}").as_str()));
    }
}

#[tokio::test]
async fn a_request_and_its_url_may_bring_their_own_credentials() {
    let server = Server::plain(|_| ok("")).await;
    let client = client("bearer_token = \"configured\"");
    let mut own = get(&server.url("/"));
    own.headers_mut().insert("authorization", "Own".parse().unwrap());
    client.send(own).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Own"));
    fetch(&client, &format!("http://me:p%40ss+@{}/x?y=1", server.address)).await.unwrap();
    let asked = server.last();
    assert_eq!(asked.header("authorization"), Some("Basic bWU6cEBzcys="));
    assert_eq!((asked.uri.to_string().as_str(), asked.header("host")), ("/x?y=1", Some(server.address.to_string().as_str())));
}

#[tokio::test]
async fn configured_headers_are_added_to_each_request() {
    let server = Server::plain(|_| ok("")).await;
    let client = client("http_headers = { \"X-Scope-OrgID\" = [\"tenant\"], \"X-Two\" = [\"a\", \"b\"] }");
    fetch(&client, &server.url("/")).await.unwrap();
    let asked = server.last();
    assert_eq!(asked.header("x-scope-orgid"), Some("tenant"));
    assert_eq!(asked.headers.get_all("x-two").iter().collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn on_the_same_host_redirects_keep_credentials() {
    let server = Server::plain(|asked| if asked.uri.path() == "/a" { redirect("/b") } else { ok("there") }).await;
    let client = client("bearer_token = \"t\"\nhttp_headers = { \"X-Key\" = [\"k\"] }");
    assert_eq!(fetch(&client, &server.url("/a")).await.unwrap().1, "there");
    let asked = server.last();
    assert_eq!((asked.uri.path(), asked.header("authorization"), asked.header("x-key")), ("/b", Some("Bearer t"), Some("k")));
}

#[tokio::test]
async fn on_another_host_redirects_lose_credentials_for_good() {
    let back = Arc::new(Mutex::new(String::new()));
    let to = back.clone();
    let other = Server::plain(move |_| redirect(&to.lock())).await;
    let target = other.url("/elsewhere");
    let server = Server::plain(move |asked| if asked.uri.path() == "/a" { redirect(&target) } else { ok("back") }).await;
    *back.lock() = server.url("/b");
    let client = client("bearer_token = \"t\"\nhttp_headers = { \"X-Key\" = [\"k\"] }");
    let mut request = get(&server.url("/a"));
    request.headers_mut().insert("cookie", "c=1".parse().unwrap());
    request.headers_mut().insert("accept", "text/plain".parse().unwrap());
    assert_eq!(client.send(request).await.unwrap().status(), 200);
    for asked in [other.last(), server.last()] {
        for secret in ["authorization", "x-key", "cookie"] {
            assert_eq!(asked.header(secret), None, "{secret} at {}", asked.uri);
        }
        assert_eq!(asked.header("accept"), Some("text/plain"));
    }
    assert_eq!(server.asked.lock()[0].header("authorization"), Some("Bearer t"));
    assert_eq!(server.last().uri.path(), "/b");
}

#[tokio::test]
async fn redirects_are_not_followed_if_so_configured_and_never_for_ever() {
    let server = Server::plain(|_| redirect("/again")).await;
    assert_eq!(fetch(&client("follow_redirects = false"), &server.url("/")).await.unwrap().0, 302);
    assert_eq!(server.count(), 1);
    let error = fetch(&client(""), &server.url("/")).await.unwrap_err();
    assert_eq!((error.step, &*error.cause), (Step::Redirect, "stopped after 10 redirects"));
    assert_eq!(server.count(), 12);
}

#[tokio::test]
async fn a_redirected_post_becomes_a_get_without_body() {
    let server = Server::plain(|asked| if asked.uri.path() == "/a" { redirect("/b") } else { ok("") }).await;
    let request = http::Request::post(server.url("/a")).header("content-type", "text/plain").body("payload".into()).unwrap();
    client("").send(request).await.unwrap();
    let asked = server.asked.lock().clone();
    assert_eq!((asked[0].method.as_str(), &asked[0].body[..]), ("POST", &b"payload"[..]));
    assert_eq!((asked[1].method.as_str(), asked[1].body.len(), asked[1].header("content-type")), ("GET", 0, None));
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = Server::plain(|_| ok("x")).await;
    let client = client("");
    for _ in 0..5 {
        fetch(&client, &server.url("/")).await.unwrap();
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn any_status_is_an_answer() {
    let server = Server::plain(|_| status(503)).await;
    assert_eq!(fetch(&client(""), &server.url("/")).await.unwrap().0, 503);
}

#[tokio::test]
async fn errors_name_the_step_and_hide_secrets() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = client("");
    let error = fetch(&client, &format!("http://me:hunter2@{address}/x?token=hunter2")).await.unwrap_err();
    assert_eq!(error.step, Step::Connect);
    let text = error.to_string();
    assert!(text.starts_with(&format!("http://{address}/x?…: connect: ")) && text.contains("refused"), "{text}");
    let error = fetch(&client, "http://no-such-host.invalid/").await.unwrap_err();
    assert_eq!(error.step, Step::Dns, "{error}");
    assert!(error.cause.contains("no-such-host.invalid"), "{error}");
}

#[tokio::test]
async fn a_server_that_never_answers_meets_the_timeout() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let options = ClientOptions { timeout: Some(Duration::from_millis(30)), ..ClientOptions::default() };
    let error = fetch(&Client::new(&config(""), options).unwrap(), &url).await.unwrap_err();
    assert_eq!(error.step, Step::Timeout, "{error}");
}

#[tokio::test]
async fn a_server_that_hangs_up_is_an_error_of_the_exchange() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = [0; 16];
            let _ = tokio::io::AsyncReadExt::read(&mut socket, &mut head).await;
        }
    });
    let error = fetch(&client(""), &url).await.unwrap_err();
    assert_eq!(error.step, Step::Exchange, "{error}");
}

#[tokio::test]
async fn an_oversized_head_is_refused() {
    let server = Server::plain(|_| http::Response::builder().header("x", "y".repeat(60_000)).body("".into()).unwrap()).await;
    let options = ClientOptions { max_buffer: 8 << 10, ..ClientOptions::default() };
    assert!(fetch(&Client::new(&config(""), options).unwrap(), &server.url("/")).await.is_err());
    assert!(fetch(&client(""), &server.url("/")).await.is_ok());
}
