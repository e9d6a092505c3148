//! Proxies of every kind: plain requests are forwarded whole, TLS goes through a tunnel, and through SOCKS everything does.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use net::{ClientOptions, Environment, Step};
use parking_lot::Mutex;
use support::{Authority, Server, client, client_with, fetch, ok, quoted};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

type Heads = Arc<Mutex<Vec<String>>>;

/// A proxy that answers CONNECT with `status` and, if that is 200, tunnels to `target`. Gives its address and the heads it was sent.
async fn tunnelling(status: &'static str, target: SocketAddr, tls: Option<TlsAcceptor>) -> (String, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heads = Heads::default();
    let seen = heads.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (seen, tls) = (seen.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => tunnel(socket, status, target, &seen).await,
                    Some(tls) => {
                        if let Ok(socket) = tls.accept(socket).await {
                            assert_eq!(socket.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
                            tunnel(socket, status, target, &seen).await;
                        }
                    }
                }
            });
        }
    });
    (address, heads)
}

async fn tunnel<I: AsyncRead + AsyncWrite + Unpin>(io: I, status: &str, target: SocketAddr, seen: &Heads) {
    let mut io = BufReader::new(io);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if io.read_line(&mut head).await.unwrap() == 0 {
            return;
        }
    }
    seen.lock().push(head);
    io.write_all(format!("HTTP/1.1 {status}\r\nVia: test\r\n\r\n").as_bytes()).await.unwrap();
    io.flush().await.unwrap();
    if status.starts_with("200") {
        drop(copy_bidirectional(&mut io, &mut TcpStream::connect(target).await.unwrap()).await);
    }
}

/// A SOCKS proxy that wants `login`, if given, and connects to `target` whatever it is asked for. Gives its address and what it was asked
/// for.
async fn socks(target: SocketAddr, login: Option<(&'static str, &'static str)>) -> (String, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Heads::default();
    let seen = asked.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move { socks_session(socket, target, login, &seen).await });
        }
    });
    (address, asked)
}

async fn socks_session(mut io: TcpStream, target: SocketAddr, login: Option<(&str, &str)>, seen: &Heads) -> Option<()> {
    let methods = counted(&mut io, 1).await?;
    let method = if login.is_some() { 2 } else { 0 };
    io.write_all(&[5, if methods.contains(&method) { method } else { 0xff }]).await.ok()?;
    if let Some((user, password)) = login {
        let given = (counted(&mut io, 1).await?, counted(&mut io, 0).await?);
        let is_good = given == (user.as_bytes().to_vec(), password.as_bytes().to_vec());
        io.write_all(&[1, u8::from(!is_good)]).await.ok()?;
        if !is_good {
            return None;
        }
    }
    let name = counted(&mut io, 4).await?;
    let port = io.read_u16().await.ok()?;
    seen.lock().push(format!("{}:{port}", String::from_utf8(name).unwrap()));
    io.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
    drop(copy_bidirectional(&mut io, &mut TcpStream::connect(target).await.ok()?).await);
    None
}

/// Skips some bytes, reads a length and so many bytes.
async fn counted(io: &mut TcpStream, skipped: usize) -> Option<Vec<u8>> {
    io.read_exact(&mut vec![0; skipped]).await.ok()?;
    let mut data = vec![0; usize::from(io.read_u8().await.ok()?)];
    io.read_exact(&mut data).await.ok()?;
    Some(data)
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
    let (proxy, heads) = tunnelling("200 OK", server.address, None).await;
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
    assert_eq!(asked.version, http::Version::HTTP_2, "what is inside of the tunnel is agreed on with the server");
}

#[tokio::test]
async fn a_proxy_may_be_reached_with_tls_itself() {
    let ca = Authority::new();
    let forwarding = Server::tls(ca.acceptor("127.0.0.1", None), |asked| ok(&asked.uri.to_string())).await;
    let tls = format!("tls_config {{\n ca_pem = {}\n}}", quoted(&ca.pem));
    let plain = client(&format!("proxy_url = \"https://me:hunter2@{}\"\n{tls}", forwarding.address));
    assert_eq!(fetch(&plain, "http://target.invalid/x").await.unwrap().1, "http://target.invalid/x");
    let asked = forwarding.last();
    assert_eq!((asked.header("proxy-authorization"), asked.version), (Some("Basic bWU6aHVudGVyMg=="), http::Version::HTTP_11));

    let server = Server::tls(ca.acceptor("target.invalid", None), |_| ok("inside")).await;
    let (proxy, heads) = tunnelling("200 OK", server.address, Some(ca.acceptor("127.0.0.1", None))).await;
    let tunnelled = client(&format!("proxy_url = \"https://{proxy}\"\n{tls}"));
    assert_eq!(fetch(&tunnelled, "https://target.invalid/").await.unwrap().1, "inside");
    assert!(heads.lock()[0].starts_with("CONNECT target.invalid:443 "));

    let stranger = client(&format!("proxy_url = \"https://{proxy}\"\ntls_config {{\n ca_pem = {}\n}}", quoted(&Authority::new().pem)));
    let error = fetch(&stranger, "https://target.invalid/").await.unwrap_err();
    assert_eq!(error.step, Step::Tls);
    assert!(error.cause.starts_with(&format!("proxy {proxy}: invalid peer certificate")), "{error}");
}

#[tokio::test]
async fn socks_proxies_are_given_names_and_a_login() {
    let ca = Authority::new();
    let plain = Server::plain(|asked| ok(&asked.uri.to_string())).await;
    let tls = Server::tls(ca.acceptor("target.invalid", None), |_| ok("inside")).await;
    let (proxy, asked) = socks(plain.address, Some(("me", "p@ss"))).await;
    let client = client_with(&format!("proxy_url = \"socks5://me:p%40ss@{proxy}\""), ClientOptions::default());
    assert_eq!(fetch(&client, "http://target.invalid/x").await.unwrap().1, "/x", "as if there were no proxy");
    assert_eq!(plain.last().header("proxy-authorization"), None);
    let (proxy, also_asked) = socks(tls.address, None).await;
    let source = format!("proxy_url = \"socks5h://{proxy}\"\ntls_config {{\n ca_pem = {}\n}}", quoted(&ca.pem));
    assert_eq!(fetch(&support::client(&source), "https://target.invalid:8443/").await.unwrap().1, "inside");
    assert_eq!((asked.lock()[0].as_str(), also_asked.lock()[0].as_str()), ("target.invalid:80", "target.invalid:8443"));
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_as_the_step() {
    let nowhere = ([127, 0, 0, 1], 1).into();
    let (proxy, _) = tunnelling("407 Proxy Authentication Required", nowhere, None).await;
    let error = fetch(&client(&format!("proxy_url = \"http://me:hunter2@{proxy}\"")), "https://target.invalid/").await.unwrap_err();
    assert_eq!(error.step, Step::Proxy);
    assert_eq!(&*error.cause, "no tunnel: HTTP/1.1 407 Proxy Authentication Required");
    let (proxy, _) = socks(nowhere, Some(("me", "other"))).await;
    let error = fetch(&client(&format!("proxy_url = \"socks5://me:hunter2@{proxy}\"")), "http://target.invalid/").await.unwrap_err();
    assert_eq!((error.step, &*error.cause), (Step::Proxy, "the SOCKS proxy refuses user and password"));
    let error = fetch(&client("proxy_url = \"http://me:hunter2@proxy.invalid\""), "http://target.invalid/").await.unwrap_err();
    assert_eq!(error.step, Step::Dns);
    assert!(error.cause.starts_with("proxy proxy.invalid:80: ") && !error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn spared_hosts_are_reached_straight() {
    let server = Server::plain(|_| ok("straight")).await;
    let client = client("proxy_url = \"http://proxy.invalid\"\nno_proxy = \"10.0.0.0/8\"");
    assert_eq!(fetch(&client, &server.url("/")).await.unwrap().1, "straight");
}

#[tokio::test]
async fn the_environments_proxy_is_used_only_if_the_arguments_say_so() {
    let proxy = Server::plain(|_| ok("by proxy")).await;
    let address = proxy.address.to_string();
    let environment = Environment::of([("http_proxy", &address), ("NO_PROXY", "spared.invalid")]);
    let with = |source: &str| client_with(source, ClientOptions { environment: environment.clone(), ..ClientOptions::default() });
    let client = with("proxy_from_environment = true");
    assert_eq!(fetch(&client, "http://target.invalid/").await.unwrap().1, "by proxy");
    assert_eq!(fetch(&client, "http://spared.invalid/").await.unwrap_err().step, Step::Dns);
    assert_eq!(fetch(&with(""), "http://target.invalid/").await.unwrap_err().step, Step::Dns);
}
