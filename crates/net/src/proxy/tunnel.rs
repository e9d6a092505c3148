//! Asks a proxy for a tunnel with CONNECT (RFC 9110 §9.3.6).

use http::HeaderMap;
use http::header::{PROXY_AUTHORIZATION, USER_AGENT};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Route;
use crate::client::USER_AGENT as OWN_NAME;

/// The head of a proxy's answer to CONNECT; what is longer is no such answer.
const MAX_HEAD: usize = 8 << 10;

/// Makes `io`, which is connected to the proxy, a connection to the host. `given` are headers that the configuration adds.
///
/// # Errors
/// The proxy refuses, or does not answer as a proxy does.
pub(crate) async fn connect<I>(io: &mut I, route: &Route, given: &HeaderMap, host: &str, port: u16) -> Result<(), String>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    let mut headers = given.clone();
    if let Some(value) = &route.authorization {
        headers.insert(PROXY_AUTHORIZATION, value.clone());
    }
    headers.entry(USER_AGENT).or_insert(http::HeaderValue::from_static(OWN_NAME));
    for (name, value) in &headers {
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    io.write_all(&request).await.map_err(|error| error.to_string())?;
    io.flush().await.map_err(|error| error.to_string())?;
    let head = head(io).await?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status.starts_with('2') && status.len() == 3 {
        return Ok(());
    }
    Err(format!("no tunnel: {}", head.lines().next().unwrap_or_default().chars().take(100).collect::<String>()))
}

/// Reads the head of the answer byte by byte, lest bytes of the tunnel be taken; it comes once per connection.
async fn head<I: AsyncRead + Unpin>(io: &mut I) -> Result<String, String> {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD {
            return Err(format!("the proxy's answer is longer than {MAX_HEAD} bytes"));
        }
        head.push(io.read_u8().await.map_err(|error| format!("reading the proxy's answer: {error}"))?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Route;

    /// Asks a proxy that answers so. Gives the verdict and what it was sent.
    async fn asked(answer: &[u8], url: &str, given: &HeaderMap) -> (Result<(), String>, String) {
        let (mut io, mut proxy) = tokio::io::duplex(64 << 10);
        let route = Route::parse(&url.parse().unwrap()).unwrap();
        proxy.write_all(answer).await.unwrap();
        let result = connect(&mut io, &route, given, "fd00::1", 443).await;
        drop(io);
        let mut seen = String::new();
        proxy.read_to_string(&mut seen).await.unwrap();
        (result, seen)
    }

    #[tokio::test]
    async fn credentials_of_the_url_go_before_those_of_the_headers() {
        let given = HeaderMap::from_iter([(PROXY_AUTHORIZATION, "given".parse().unwrap()), (USER_AGENT, "me".parse().unwrap())]);
        let ok = b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n";
        let (result, seen) = asked(ok, "http://u:p@proxy", &given).await;
        assert_eq!(result, Ok(()));
        assert!(seen.starts_with("CONNECT [fd00::1]:443 HTTP/1.1\r\nHost: [fd00::1]:443\r\n"), "{seen}");
        assert!(seen.contains("proxy-authorization: Basic dTpw\r\n") && !seen.contains("given"), "{seen}");
        assert!(seen.contains("user-agent: me\r\n") && seen.ends_with("\r\n\r\n"), "{seen}");
        let (_, seen) = asked(ok, "http://proxy", &given).await;
        assert!(seen.contains("proxy-authorization: given\r\n"), "{seen}");
        assert!(asked(ok, "http://proxy", &HeaderMap::new()).await.1.contains("user-agent: collector/"));
    }

    #[tokio::test]
    async fn refusals_and_other_answers_are_told_apart() {
        for (answer, error) in [
            (&b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..], "no tunnel: HTTP/1.1 407 Proxy Authentication Required"),
            (b"SSH-2.0-x\r\n\r\n", "no tunnel: SSH-2.0-x"),
            (&b"x".repeat(MAX_HEAD + 1), "the proxy's answer is longer than 8192 bytes"),
        ] {
            assert_eq!(asked(answer, "http://u:hunter2@proxy", &HeaderMap::new()).await.0, Err(error.to_owned()));
        }
    }
}
