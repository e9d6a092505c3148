//! SOCKS 5 (RFC 1928) with user and password (RFC 1929). Names are looked up by the proxy, with `socks5` as with `socks5h`, as Go's client
//! has it.

use std::net::IpAddr;

use syntax::Secret;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const LOGIN_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IP_V4: u8 = 1;
const NAME: u8 = 3;
const IP_V6: u8 = 4;

/// User and password for a proxy.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: Secret,
}

/// Makes `io`, which is connected to the proxy, a connection to the host.
///
/// # Errors
/// The proxy refuses, or does not answer as such a proxy does.
pub(crate) async fn connect<I>(io: &mut I, login: Option<&Login>, host: &str, port: u16) -> Result<(), String>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let methods: &[u8] = if login.is_some() { &[NO_AUTHENTICATION, USER_AND_PASSWORD] } else { &[NO_AUTHENTICATION] };
    send(io, &[&[VERSION, methods.len() as u8], methods].concat()).await?;
    let [version, method] = read(io).await?;
    is_version(version)?;
    match (method, login) {
        (NO_AUTHENTICATION, _) => {}
        (USER_AND_PASSWORD, Some(login)) => authenticate(io, login).await?,
        (0xff, _) => return Err("the SOCKS proxy accepts none of our authentication methods".to_owned()),
        (other, _) => return Err(format!("the SOCKS proxy wants the authentication method {other}")),
    }
    let mut request = vec![VERSION, CONNECT, 0];
    address(&mut request, host)?;
    request.extend_from_slice(&port.to_be_bytes());
    send(io, &request).await?;
    let [version, reply, _, kind] = read(io).await?;
    is_version(version)?;
    if reply != 0 {
        return Err(format!("the SOCKS proxy refuses: {}", meaning(reply)));
    }
    // The address that it connects from, which nobody needs.
    match kind {
        IP_V4 => drop(read::<I, 6>(io).await?),
        IP_V6 => drop(read::<I, 18>(io).await?),
        NAME => {
            let [len] = read(io).await?;
            let mut rest = vec![0; usize::from(len) + 2];
            io.read_exact(&mut rest).await.map_err(broken)?;
        }
        other => return Err(format!("the SOCKS proxy answers with an unknown address type {other}")),
    }
    Ok(())
}

async fn authenticate<I: AsyncRead + AsyncWrite + Unpin>(io: &mut I, login: &Login) -> Result<(), String> {
    let (user, password) = (login.user.as_bytes(), login.password.expose().as_bytes());
    let (Ok(user_len), Ok(password_len)) = (u8::try_from(user.len()), u8::try_from(password.len())) else {
        return Err("user or password of the SOCKS proxy are longer than 255 bytes".to_owned());
    };
    if user_len == 0 || password_len == 0 {
        return Err("the SOCKS proxy wants user and password, and one of them is empty".to_owned());
    }
    send(io, &[&[LOGIN_VERSION, user_len], user, &[password_len], password].concat()).await?;
    match read(io).await? {
        [LOGIN_VERSION, 0] => Ok(()),
        [LOGIN_VERSION, _] => Err("the SOCKS proxy refuses user and password".to_owned()),
        [version, _] => Err(format!("the SOCKS proxy answers in version {version} of the login protocol")),
    }
}

fn address(request: &mut Vec<u8>, host: &str) -> Result<(), String> {
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IP_V4);
            request.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IP_V6);
            request.extend_from_slice(&address.octets());
        }
        Err(_) => {
            let len = u8::try_from(host.len()).map_err(|_| "the host's name is longer than 255 bytes".to_owned())?;
            request.extend_from_slice(&[NAME, len]);
            request.extend_from_slice(host.as_bytes());
        }
    }
    Ok(())
}

fn is_version(version: u8) -> Result<(), String> {
    if version == VERSION { Ok(()) } else { Err(format!("the proxy does not speak SOCKS 5: its answer begins with {version}")) }
}

/// RFC 1928 §6.
fn meaning(reply: u8) -> String {
    let known = match reply {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        other => return format!("unknown code {other}"),
    };
    known.to_owned()
}

async fn send<I: AsyncWrite + Unpin>(io: &mut I, data: &[u8]) -> Result<(), String> {
    io.write_all(data).await.map_err(broken)?;
    io.flush().await.map_err(broken)
}

async fn read<I: AsyncRead + Unpin, const N: usize>(io: &mut I) -> Result<[u8; N], String> {
    let mut data = [0; N];
    io.read_exact(&mut data).await.map_err(broken)?;
    Ok(data)
}

fn broken(error: std::io::Error) -> String {
    format!("talking to the SOCKS proxy: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks a proxy that answers so. Gives the verdict and what it was sent.
    async fn asked(answer: &[u8], login: Option<(&str, &str)>, host: &str) -> (Result<(), String>, Vec<u8>) {
        let (mut io, mut proxy) = tokio::io::duplex(64 << 10);
        proxy.write_all(answer).await.unwrap();
        proxy.shutdown().await.unwrap();
        let login = login.map(|(user, password)| Login { user: user.to_owned(), password: Secret::new(password) });
        let result = connect(&mut io, login.as_ref(), host, 0x1234).await;
        drop(io);
        let mut seen = Vec::new();
        proxy.read_to_end(&mut seen).await.unwrap();
        (result, seen)
    }

    const GRANTED: [u8; 10] = [5, 0, 0, IP_V4, 0, 0, 0, 0, 0, 0];

    #[tokio::test]
    async fn hosts_are_named_by_name_or_address() {
        for (host, named) in [
            ("a.example", [&[NAME, 9][..], b"a.example"].concat()),
            ("10.0.0.1", vec![IP_V4, 10, 0, 0, 1]),
            ("fd00::1", [&[IP_V6, 0xfd][..], &[0; 14], &[1]].concat()),
        ] {
            let (result, seen) = asked(&[&[5, 0][..], &GRANTED].concat(), None, host).await;
            assert_eq!(result, Ok(()));
            assert_eq!(seen, [&[5, 1, 0, 5, 1, 0][..], &named, &[0x12, 0x34]].concat(), "{host}");
        }
        assert!(asked(&[5, 0], None, &"x".repeat(256)).await.0.unwrap_err().contains("255"));
    }

    #[tokio::test]
    async fn a_login_is_given_when_it_is_wanted() {
        let (result, seen) = asked(&[&[5, 2, 1, 0][..], &GRANTED].concat(), Some(("me", "hunter2")), "h").await;
        assert_eq!(result, Ok(()));
        assert_eq!(seen[..4], [5, 2, 0, 2]);
        assert_eq!(&seen[4..16], b"\x01\x02me\x07hunter2");
        let (result, seen) = asked(&[&[5, 0][..], &GRANTED].concat(), Some(("me", "hunter2")), "h").await;
        assert_eq!(result, Ok(()));
        assert!(!seen.windows(7).any(|part| part == b"hunter2"));
    }

    #[tokio::test]
    async fn every_kind_of_bound_address_is_skipped() {
        for bound in [&[IP_V6][..], &[NAME, 3, b'a', b'b', b'c']] {
            let rest = if bound[0] == IP_V6 { 18 } else { 2 };
            let answer = [&[5, 0, 5, 0, 0][..], bound, &vec![0; rest]].concat();
            assert_eq!(asked(&answer, None, "h").await.0, Ok(()));
            assert!(asked(&answer[..answer.len() - 1], None, "h").await.0.unwrap_err().contains("talking to the SOCKS proxy"));
        }
    }

    #[tokio::test]
    async fn refusals_are_told_without_secrets() {
        for (answer, part) in [
            (&[5, 0xff][..], "none of our authentication methods"),
            (&[5, 1], "authentication method 1"),
            (&[5, 2, 1, 1], "refuses user and password"),
            (&[5, 2, 9, 0], "version 9"),
            (&[5, 0, 5, 5, 0, 1], "refuses: connection refused"),
            (&[5, 0, 5, 99, 0, 1], "unknown code 99"),
            (&[5, 0, 5, 0, 0, 9], "unknown address type 9"),
            (b"HTTP/1.1 400", "does not speak SOCKS 5"),
        ] {
            let error = asked(answer, Some(("me", "hunter2")), "h").await.0.unwrap_err();
            assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        }
        assert!(asked(&[5, 2], Some(("me", "")), "h").await.0.unwrap_err().contains("empty"));
        assert!(asked(&[5, 2], None, "h").await.0.unwrap_err().contains("method 2"));
    }
}
