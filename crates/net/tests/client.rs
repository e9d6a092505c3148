//! The client against servers on loopback: credentials, headers, redirects, reuse, errors.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use net::{Client, ClientOptions, Step};
use parking_lot::Mutex;
use support::{Server, client, client_with, config, fetch, get, ok, redirect, status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

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
async fn on_the_same_host_redirects_keep_credentials_whatever_the_port() {
    let other = Server::plain(|_| ok("there")).await;
    let target = other.url("/c");
    let server = Server::plain(move |asked| redirect(if asked.uri.path() == "/a" { "/b" } else { &target })).await;
    let client = client("bearer_token = \"t\"\nhttp_headers = { \"X-Key\" = [\"k\"] }");
    assert_eq!(fetch(&client, &server.url("/a")).await.unwrap().1, "there");
    for asked in [server.last(), other.last()] {
        assert_eq!((asked.header("authorization"), asked.header("x-key")), (Some("Bearer t"), Some("k")), "{}", asked.uri);
    }
    assert_eq!(server.last().uri.path(), "/b");
}

#[tokio::test]
async fn on_another_host_redirects_lose_credentials_for_good() {
    let back = Arc::new(Mutex::new(String::new()));
    let to = back.clone();
    let other = Server::plain(move |_| redirect(&to.lock())).await;
    let target = format!("http://localhost:{}/elsewhere", other.address.port());
    let server = Server::plain(move |asked| if asked.uri.path() == "/a" { redirect(&target) } else { ok("back") }).await;
    *back.lock() = server.url("/b");
    let client = client("bearer_token = \"t\"\nhttp_headers = { \"X-Key\" = [\"k\"] }");
    let mut request = get(&server.url("/a"));
    let mut own_key: http::HeaderValue = "own".parse().unwrap();
    own_key.set_sensitive(true);
    request.headers_mut().insert("x-own-key", own_key);
    request.headers_mut().insert("cookie", "c=1".parse().unwrap());
    request.headers_mut().insert("accept", "text/plain".parse().unwrap());
    assert_eq!(client.send(request).await.unwrap().status(), 200);
    for asked in [other.last(), server.last()] {
        for secret in ["authorization", "x-key", "x-own-key", "cookie"] {
            assert_eq!(asked.header(secret), None, "{secret} at {}", asked.uri);
        }
        assert_eq!(asked.header("accept"), Some("text/plain"));
    }
    let first = server.asked.lock()[0].clone();
    assert_eq!((first.header("authorization"), first.header("x-own-key")), (Some("Bearer t"), Some("own")));
    assert_eq!(server.last().uri.path(), "/b");
}

#[tokio::test]
async fn a_place_may_bring_credentials_of_its_own() {
    let other = Server::plain(|_| ok("")).await;
    let target = format!("http://me:p@localhost:{}/", other.address.port());
    let server = Server::plain(move |_| redirect(&target)).await;
    fetch(&client("bearer_token = \"t\""), &server.url("/")).await.unwrap();
    assert_eq!(other.last().header("authorization"), Some("Basic bWU6cA=="));
}

#[tokio::test]
async fn redirects_are_not_followed_if_so_configured_and_never_for_ever() {
    let server = Server::plain(|_| redirect("/again")).await;
    assert_eq!(fetch(&client("follow_redirects = false"), &server.url("/")).await.unwrap().0, 302);
    assert_eq!(server.count(), 1);
    let error = fetch(&client(""), &server.url("/")).await.unwrap_err();
    assert_eq!((error.step, &*error.cause), (Step::Redirect, "stopped after 10 redirects, which lead in a circle"));
    assert_eq!(server.count(), 11, "ten requests, as Go makes");
    let endless = Server::plain(|asked| redirect(&format!("{}x", asked.uri.path()))).await;
    let error = fetch(&client(""), &endless.url("/?token=hunter2")).await.unwrap_err();
    assert_eq!(&*error.cause, "stopped after 10 redirects");
    assert!(!error.to_string().contains("hunter2"));
}

#[tokio::test]
async fn redirects_use_the_open_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        for (head_of_answer, body) in [("302 Found\r\nlocation: /there", "moved"), ("200 OK", "there")] {
            assert!(socket.read(&mut head).await.unwrap() > 0);
            socket.write_all(format!("HTTP/1.1 {head_of_answer}\r\ncontent-length: 5\r\n\r\n").as_bytes()).await.unwrap();
            // The body comes later than the head, and well before nobody waits for it any more.
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            socket.write_all(body.as_bytes()).await.unwrap();
        }
    });
    assert_eq!(fetch(&client(""), &url).await.unwrap().1, "there", "nobody would take a second connection");
}

#[tokio::test]
async fn a_redirected_post_becomes_a_get_without_body_unless_the_status_forbids_it() {
    for (code, method, body, content_type) in [(302, "GET", "", None), (307, "POST", "payload", Some("text/plain"))] {
        let server = Server::plain(move |asked| {
            let mut answer = redirect("/b");
            *answer.status_mut() = http::StatusCode::from_u16(code).unwrap();
            if asked.uri.path() == "/a" { answer } else { ok("") }
        })
        .await;
        let request = http::Request::post(server.url("/a")).header("content-type", "text/plain").body("payload".into()).unwrap();
        client("").send(request).await.unwrap();
        let asked = server.asked.lock().clone();
        assert_eq!((asked[0].method.as_str(), &asked[0].body[..]), ("POST", &b"payload"[..]));
        assert_eq!((asked[1].method.as_str(), &asked[1].body[..]), (method, body.as_bytes()), "{code}");
        assert_eq!(asked[1].header("content-type"), content_type, "{code}");
    }
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

/// Sends requests one after the other. Gives how many connections the server has seen.
async fn connections(client: &Client, server: &Server, requests: usize) -> usize {
    for _ in 0..requests {
        fetch(client, &server.url("/")).await.unwrap();
    }
    server.connections.load(Ordering::SeqCst)
}

#[tokio::test]
async fn connections_are_not_kept_if_so_decided_and_the_server_is_told() {
    let server = Server::plain(|_| ok("x")).await;
    let client = client_with("", ClientOptions { keep_alive: false, ..ClientOptions::default() });
    assert_eq!(connections(&client, &server, 3).await, 3);
    assert_eq!(server.last().header("connection"), Some("close"));
}

#[tokio::test]
async fn beyond_the_bound_on_open_connections_none_is_kept() {
    let server = Server::plain(|_| ok("x")).await;
    let bounded = |max_kept| client_with("", ClientOptions { max_kept, ..ClientOptions::default() });
    assert_eq!(connections(&bounded(0), &server, 3).await, 3);
    assert_eq!(connections(&bounded(1), &server, 3).await, 4);
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_five_minutes() {
    let server = Server::plain(|_| ok("x")).await;
    let client = client("");
    assert_eq!(connections(&client, &server, 1).await, 1);
    for (idle, expected) in [(240, 1), (305, 2)] {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(idle)).await;
        tokio::time::resume();
        assert_eq!(connections(&client, &server, 1).await, expected, "{idle} s");
    }
}

/// A server whose connections answer one request and are closed when the next one comes. Counts them.
async fn forgetful() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            seen.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(answer_once(socket));
        }
    });
    (url, count)
}

async fn answer_once(mut socket: TcpStream) {
    let mut head = [0; 4096];
    if socket.read(&mut head).await.is_ok_and(|read| read > 0) {
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let _ = socket.read(&mut head).await;
    }
}

#[tokio::test]
async fn a_request_that_only_reads_survives_that_its_idle_connection_is_closed() {
    let (url, count) = forgetful().await;
    let client = client("");
    for number in 1..=3 {
        assert_eq!(fetch(&client, &url).await.unwrap().1, "ok");
        assert_eq!(count.load(Ordering::SeqCst), number);
    }
    let post = http::Request::post(&url).body("payload".into()).unwrap();
    let error = client.send(post).await.unwrap_err();
    assert_eq!(error.step, Step::Exchange, "whoever writes decides himself whether to write twice: {error}");
}

#[tokio::test]
async fn a_connection_that_was_closed_or_written_to_while_idle_is_not_used() {
    for after in ["", "HTTP/1.1 408 Request Timeout\r\n\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let client = client("");
        let (answer_read, connection_spoilt) = (Notify::new(), Notify::new());
        let server = async {
            let mut kept = Vec::new();
            for _ in 0..2 {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = [0; 4096];
                assert!(socket.read(&mut head).await.unwrap() > 0);
                socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                // What came with the answer would be seen at once.
                answer_read.notified().await;
                socket.write_all(after.as_bytes()).await.unwrap();
                if !after.is_empty() {
                    kept.push(socket);
                }
                connection_spoilt.notify_one();
            }
        };
        let posts = async {
            for _ in 0..2 {
                let answer = client.send(http::Request::post(&url).body("payload".into()).unwrap()).await.unwrap();
                assert_eq!(net::read_body(answer, 10).await.unwrap(), "ok");
                // The connection goes back among the idle ones.
                tokio::time::sleep(Duration::from_millis(20)).await;
                answer_read.notify_one();
                connection_spoilt.notified().await;
                // Loopback takes its time, too.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::join!(server, posts);
    }
}

#[tokio::test]
async fn an_answer_may_be_read_after_its_client_is_gone() {
    let server = Server::plain(|_| ok("still here")).await;
    let client = client("");
    let answer = client.send(get(&server.url("/"))).await.unwrap();
    drop(client);
    assert_eq!(net::read_body(answer, 100).await.unwrap(), "still here");
}

#[tokio::test]
async fn any_status_is_an_answer() {
    let server = Server::plain(|_| status(503)).await;
    assert_eq!(fetch(&client(""), &server.url("/")).await.unwrap().0, 503);
}

#[tokio::test]
async fn errors_name_the_step_and_hide_secrets() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let options = ClientOptions { timeout: Some(Duration::from_millis(30)), ..ClientOptions::default() };
    let error = fetch(&Client::new(&config(""), options).unwrap(), &url).await.unwrap_err();
    assert_eq!(error.step, Step::Timeout, "{error}");
}

#[tokio::test]
async fn a_server_that_hangs_up_is_an_error_of_the_exchange() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = [0; 16];
            let _ = socket.read(&mut head).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_several_pieces_leave_their_connection_free() {
    let body = "x".repeat(13_000);
    let server = Server::plain(move |_| ok(&body)).await;
    let client = client("");
    assert_eq!(connections(&client, &server, 300).await, 1);
}
