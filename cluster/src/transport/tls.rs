//! TLS on the way to peers: the handshake of a connection that this node opens, and what its failures mean. Both sides show a
//! certificate; each is checked at every connection, so nothing is resumed. Reading files, and accepting, are the caller's part.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use rustls::{AlertDescription, CertificateError, ClientConfig, Error as TlsError};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::ConnectError;

/// What connections to peers are opened with, as of now: certificates may have been renewed since the last one.
pub trait PeerTls: fmt::Debug + Send + Sync + 'static {
    /// Shows this node's certificate and offers HTTP/2. Should resume no sessions, since those are not checked again.
    fn config(&self) -> Arc<ClientConfig>;

    /// The name that peers' certificates must bear (`--cluster.tls-server-name`); `None` for the address that is dialled.
    fn server_name(&self) -> Option<ServerName<'static>>;
}

pub(super) const SAME_EVERYWHERE: &str =
    "start all nodes with --cluster.enable-tls and with certificates of the authority in --cluster.tls-ca-path";
const ANOTHER_NAME: &str = "give all nodes one --cluster.tls-server-name that their certificates bear, or certificates with the node's address \
                            among the subject alternative names";
const RENEW: &str = "renew the peer's --cluster.tls-cert-path, or set the clocks right";
const BOTH_PURPOSES: &str = "let the certificate's extended key usage allow both serverAuth and clientAuth";
const LOOK_THERE: &str = "check this node's --cluster.tls-cert-path against the peer's --cluster.tls-ca-path, its dates and its extended key usage \
                          (serverAuth and clientAuth); the peer's log names the cause";

/// A TLS stream that remembers why reading from it failed: a peer tells that it does not accept this node's certificate only
/// after the handshake, and HTTP/2 loses that word.
pub(super) struct Encrypted {
    stream: TlsStream<TcpStream>,
    verdict: Verdict,
}

/// What the peer said of the connection in TLS, if it said anything.
pub(super) type Verdict = Arc<OnceLock<TlsError>>;

/// Shakes hands over `socket`.
pub(super) async fn encrypt(tls: &dyn PeerTls, addr: SocketAddr, socket: TcpStream) -> Result<(Encrypted, Verdict), ConnectError> {
    let name = tls.server_name().unwrap_or_else(|| ServerName::IpAddress(addr.ip().into()));
    let stream = TlsConnector::from(tls.config()).connect(name, socket).await.map_err(|error| match inner(&error) {
        Some(error) => explained(error),
        None => failure(format!("the peer does not speak TLS: {error}"), SAME_EVERYWHERE),
    })?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(ConnectError::NotOurs("the port does not answer in HTTP/2 over TLS".to_owned()));
    }
    let verdict = Verdict::default();
    Ok((Encrypted { stream, verdict: verdict.clone() }, verdict))
}

/// What it means that a connection broke right after its handshake.
pub(super) fn broken(verdict: &Verdict) -> ConnectError {
    match verdict.get() {
        Some(error) => explained(error),
        None => failure("the peer ended the connection right after the TLS handshake", LOOK_THERE),
    }
}

/// The peer answered that it takes streams over TLS only, or only with a certificate.
pub(super) fn required(is_tls: bool) -> ConnectError {
    let cause = if is_tls { "the peer has not seen a certificate of this node" } else { "the peer takes cluster streams over TLS only" };
    failure(cause, SAME_EVERYWHERE)
}

fn explained(error: &TlsError) -> ConnectError {
    match error {
        TlsError::InvalidCertificate(problem) => invalid(problem),
        TlsError::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            ConnectError::NotOurs("the port does not speak HTTP/2 over TLS".to_owned())
        }
        TlsError::AlertReceived(alert) => failure(format!("the peer does not accept this node's certificate: {alert:?}"), LOOK_THERE),
        error => failure(format!("the peer does not speak TLS as this node does: {error}"), SAME_EVERYWHERE),
    }
}

fn invalid(problem: &CertificateError) -> ConnectError {
    let remedy = match problem {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => ANOTHER_NAME,
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => RENEW,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => BOTH_PURPOSES,
        // An authority that was made anew under its old name is another one too.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            return failure("the peer's certificate is of another authority than --cluster.tls-ca-path", SAME_EVERYWHERE);
        }
        _ => SAME_EVERYWHERE,
    };
    failure(format!("the peer's certificate is refused: {problem}"), remedy)
}

fn failure(cause: impl Into<String>, remedy: &'static str) -> ConnectError {
    ConnectError::Tls { cause: cause.into(), remedy }
}

fn inner(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

impl AsyncRead for Encrypted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Poll::Ready(Err(error)) = &read
            && let Some(error) = inner(error)
        {
            // The first word is the one that counts.
            drop(self.verdict.set(error.clone()));
        }
        read
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: &TlsError) -> (String, &'static str) {
        match explained(error) {
            ConnectError::Tls { cause, remedy } => (cause, remedy),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn each_failure_names_what_to_change() {
        let name = || ServerName::try_from("10.0.0.1").unwrap();
        let wrong_name = CertificateError::NotValidForNameContext { expected: name(), presented: vec!["DnsName(\"a\")".into()] };
        for (error, cause, remedy) in [
            (TlsError::InvalidCertificate(wrong_name), "10.0.0.1", "--cluster.tls-server-name"),
            (TlsError::InvalidCertificate(CertificateError::Expired), "Expired", "renew"),
            (TlsError::InvalidCertificate(CertificateError::InvalidPurpose), "Purpose", "clientAuth"),
            (TlsError::InvalidCertificate(CertificateError::UnknownIssuer), "another authority", "--cluster.tls-ca-path"),
            (TlsError::AlertReceived(AlertDescription::UnknownCA), "this node's certificate", "the peer's log"),
            (TlsError::InvalidMessage(rustls::InvalidMessage::InvalidContentType), "does not speak TLS", "--cluster.enable-tls"),
        ] {
            let (told_cause, told_remedy) = told(&error);
            assert!(told_cause.contains(cause) && told_remedy.contains(remedy), "{told_cause}; {told_remedy}");
        }
    }
}
