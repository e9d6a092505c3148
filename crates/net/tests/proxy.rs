//! Proxies: plain requests are forwarded whole, TLS goes through a tunnel.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use net::Step;
use parking_lot::Mutex;
use support::{Authority, Server, client, fetch, ok, quoted};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// A proxy that answers CONNECT with `status` and, if that is 200, tunnels to `target`. Gives its address and the heads it was sent.
async fn tunnelling(status: &'static str, target: std::net::SocketAddr) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let mut socket = BufReader::new(socket);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                socket.read_line(&mut head).await.unwrap();
            }
            seen.lock().push(head);
            socket.write_all(format!("HTTP/1.1 {status}\r\nVia: test\r\n\r\n").as_bytes()).await.unwrap();
            if status.starts_with("200") {
                let mut upstream = TcpStream::connect(target).await.unwrap();
                tokio::spawn(async move { drop(copy_bidirectional(&mut socket, &mut upstream).await) });
            }
        }
    });
    (address, heads)
}

#[tokio::test]
async fn plain_requests_are_forwarded_with_the_whole_url_and_the_proxys_credentials() {
    let proxy = Server::plain(|asked| ok(&asked.uri.to_string())).await;
    let client = client(&format!("proxy_url = \"http://me:hunter2@{}\"\nbearer_token = \"t\"", proxy.address));
    let (_, seen) = fetch(&client, "http://target.invalid:9100/metrics?a=b").await.unwrap();
    assert_eq!(seen, "http://target.invalid:9100/metrics?a=b");
    let asked = proxy.last();
    assert_eq!(asked.header("proxy-authorization"), Some("Basic bWU6aHVudGVyMg=="));
    assert_eq!(asked.header("host"), Some("target.invalid:9100"));
    assert_eq!(asked.header("authorization"), Some("Bearer t"));
}

#[tokio::test]
async fn tls_goes_through_a_tunnel_that_only_the_proxy_is_told_the_credentials_of() {
    let ca = Authority::new();
    let server = Server::tls(ca.acceptor("target.invalid", None), |_| ok("inside")).await;
    let (proxy, heads) = tunnelling("200 OK", server.address).await;
    let source = format!(
        "proxy_url = \"http://me:hunter2@{proxy}\"\nproxy_connect_header = {{ \"X-Via\" = [\"us\"] }}\ntls_config {{\n ca_pem = {}\n}}",
        quoted(&ca.pem)
    );
    assert_eq!(fetch(&client(&source), "https://target.invalid:9100/").await.unwrap().1, "inside");
    let head = heads.lock()[0].clone();
    assert!(head.starts_with("CONNECT target.invalid:9100 HTTP/1.1\r\nHost: target.invalid:9100\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: Basic bWU6aHVudGVyMg==\r\n") && head.contains("x-via: us\r\n"), "{head}");
    let asked = server.last();
    assert_eq!((asked.header("proxy-authorization"), asked.header("x-via")), (None, None));
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_as_the_step() {
    let (proxy, _) = tunnelling("407 Proxy Authentication Required", ([127, 0, 0, 1], 1).into()).await;
    let error = fetch(&client(&format!("proxy_url = \"http://me:hunter2@{proxy}\"")), "https://target.invalid/").await.unwrap_err();
    assert_eq!(error.step, Step::Proxy);
    assert_eq!(&*error.cause, "no tunnel: HTTP/1.1 407 Proxy Authentication Required");
}

#[tokio::test]
async fn spared_hosts_are_reached_straight() {
    let server = Server::plain(|_| ok("straight")).await;
    let client = client("proxy_url = \"http://proxy.invalid\"\nno_proxy = \"10.0.0.0/8\"");
    assert_eq!(fetch(&client, &server.url("/")).await.unwrap().1, "straight");
}
