//! Servers that do to their clients what no server should: each connection of a kind is treated alike until the server is dropped.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A small body that inflates to a gigabyte.
    Bomb,
    /// A body without end, as fast as it is read.
    Endless,
    /// A byte at a time.
    SlowLoris,
    /// Takes the request and says nothing.
    Silent,
    /// Bytes that are no HTTP.
    Garbage,
    /// Sends on to itself.
    Circle,
    /// 400, whatever comes.
    Refusing,
    /// A label value of a megabyte, and a good line.
    WideLabel,
}

/// A running server.
pub struct Hostile {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hostile {
    pub async fn start(kind: Kind) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let bomb = Arc::new(if kind == Kind::Bomb { bomb() } else { Vec::new() });
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let bomb = bomb.clone();
                tokio::spawn(async move {
                    // The client gives up at some time: that is what is wanted.
                    let _ = answer(stream, kind, &bomb).await;
                });
            }
        });
        Self { address, task }
    }
}

/// A gigabyte of comments, packed: a member of a megabyte a thousand times.
fn bomb() -> Vec<u8> {
    let mut member = GzEncoder::new(Vec::new(), Compression::fast());
    member.write_all("# nothing to see here\n".repeat(50_000).as_bytes()).unwrap();
    member.finish().unwrap().repeat(1000)
}

const TEXT: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n";

async fn answer(mut stream: TcpStream, kind: Kind, bomb: &[u8]) -> std::io::Result<()> {
    loop {
        read_request(&mut stream).await?;
        match kind {
            Kind::Bomb => {
                let head = format!("{TEXT}Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len());
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(bomb).await?;
            }
            Kind::Endless => {
                stream.write_all(format!("{TEXT}Connection: close\r\n\r\n").as_bytes()).await?;
                for number in 0_u64.. {
                    stream.write_all(format!("endless{{line=\"{number}\"}} 1\n").as_bytes()).await?;
                }
            }
            Kind::SlowLoris => {
                for byte in format!("{TEXT}Content-Length: 10000\r\n\r\nslow 1\n").bytes().chain(std::iter::repeat(b'#')) {
                    stream.write_all(&[byte]).await?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Kind::Silent => tokio::time::sleep(Duration::from_secs(3600)).await,
            Kind::Garbage => {
                stream.write_all(&[0xff, 0x00, 0x17, b'\n', b'\n', 0x80]).await?;
                return Ok(());
            }
            Kind::Circle => stream.write_all(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n").await?,
            Kind::Refusing => stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n\r\nunwanted\n").await?,
            Kind::WideLabel => {
                let body = format!("wide{{label=\"{}\"}} 1\nnarrow 2\n", "x".repeat(1_000_000));
                stream.write_all(format!("{TEXT}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
            }
        }
    }
}

/// Reads a request with its body, if that has a length.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0_u64);
    tokio::io::copy(&mut stream.take(length), &mut tokio::io::sink()).await?;
    Ok(())
}
