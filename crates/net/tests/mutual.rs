//! TLS between equals: what is accepted from files, what is not, and what happens while they change.

#![allow(clippy::unwrap_used)] // tests

mod support;

use std::path::Path;

use net::{ConfigError, MutualTls, MutualTlsFiles, NamedFile};
use rustls_pki_types::ServerName;
use support::{Authority, Signed};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn files(folder: &Path) -> MutualTlsFiles {
    let file = |argument, name: &str| NamedFile { argument, path: folder.join(name).display().to_string() };
    MutualTlsFiles { ca: file("--ca", "ca.pem"), cert: file("--cert", "cert.pem"), key: file("--key", "key.pem") }
}

/// Replaces a file as careful programs do.
fn place(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join("next"), text).unwrap();
    std::fs::rename(folder.join("next"), folder.join(name)).unwrap();
}

fn place_all(folder: &Path, ca: &str, own: &Signed) {
    place(folder, "ca.pem", ca);
    place(folder, "cert.pem", &own.cert);
    place(folder, "key.pem", &own.key);
}

fn papers(ca: &str, own: &Signed) -> (tempfile::TempDir, Result<MutualTls, ConfigError>) {
    let folder = tempfile::tempdir().unwrap();
    place_all(folder.path(), ca, own);
    let tls = MutualTls::new(files(folder.path()));
    (folder, tls)
}

/// Whether `from` reaches `to`, and with a certificate.
async fn reaches(from: &MutualTls, to: &MutualTls) -> Result<bool, String> {
    let (client, server) = tokio::io::duplex(64 << 10);
    let dial = async {
        let name = ServerName::try_from("node.example").unwrap();
        let mut stream = TlsConnector::from(from.client()).connect(name, client).await?;
        stream.read_u8().await
    };
    let accept = async {
        let mut stream = TlsAcceptor::from(to.server()).accept(server).await?;
        stream.write_all(b"x").await?;
        Ok::<_, std::io::Error>(stream.get_ref().1.peer_certificates().is_some())
    };
    let (dialled, accepted) = tokio::join!(dial, accept);
    dialled.map_err(|error| format!("dialling: {error}"))?;
    accepted.map_err(|error| format!("accepting: {error}"))
}

#[tokio::test]
async fn each_side_checks_the_other() {
    let ca = Authority::new();
    let ((_a, one), (_b, other)) = (papers(&ca.pem, &ca.sign("node.example")), papers(&ca.pem, &ca.sign("node.example")));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(reaches(&one, &other).await, Ok(true));
    assert_eq!(reaches(&other, &one).await, Ok(true));
    assert_eq!(reaches(&one, &other).await, Ok(true), "and again, as nothing is resumed");
    let stranger = Authority::new();
    let (_c, stranger) = papers(&stranger.pem, &stranger.sign("node.example"));
    assert!(reaches(&one, &stranger.unwrap()).await.unwrap_err().starts_with("dialling"));
}

#[test]
fn what_others_would_refuse_is_refused_at_once_with_file_and_reason() {
    let (ca, stranger) = (Authority::new(), Authority::new());
    for (trusted, own, part) in [
        (&ca.pem, stranger.sign("node.example"), "another authority"),
        (&ca.pem, Signed { cert: ca.pem.clone(), key: ca.sign("x").key }, "certificate of an authority"),
    ] {
        let (folder, tls) = papers(trusted, &own);
        let error = tls.unwrap_err().to_string();
        let place = format!("--cert: {}: ", folder.path().join("cert.pem").display());
        assert!(error.starts_with(&place) && error.contains(part), "{error}");
    }
    let (_folder, tls) = papers(&ca.pem, &ca.sign_until("node.example", 2020));
    assert!(tls.unwrap_err().to_string().contains("expired at 2020-01-01T00:00:00Z, so that others would refuse it"));
    let other_key = Signed { cert: ca.sign("node.example").cert, key: ca.sign("node.example").key };
    let (_folder, tls) = papers(&ca.pem, &other_key);
    assert!(tls.unwrap_err().to_string().contains("keys may not be consistent"));
    let (folder, _) = papers(&ca.pem, &ca.sign("node.example"));
    std::fs::remove_file(folder.path().join("key.pem")).unwrap();
    let error = MutualTls::new(files(folder.path())).unwrap_err().to_string();
    assert!(error.starts_with("--key: cannot read ") && error.contains("key.pem"), "{error}");
}

#[tokio::test]
async fn changed_files_are_used_once_they_fit_together_and_the_last_good_ones_until_then() {
    let (old, new) = (Authority::new(), Authority::new());
    let (folder, tls) = papers(&old.pem, &old.sign("node.example"));
    let (tls, folder) = (tls.unwrap(), folder.path());
    let (_b, before) = papers(&old.pem, &old.sign("node.example"));
    let before = before.unwrap();
    assert!(!tls.refresh().unwrap(), "nothing has changed");
    let own = new.sign("node.example");
    place(folder, "ca.pem", &new.pem);
    assert!(tls.refresh().is_err(), "the certificate is of another authority now");
    place(folder, "cert.pem", &own.cert);
    assert!(tls.refresh().is_err(), "the key is another one now");
    assert_eq!(reaches(&before, &tls).await, Ok(true), "the last good set stays in force");
    place(folder, "key.pem", &own.key);
    assert!(tls.refresh().unwrap());
    let (_c, after) = papers(&new.pem, &new.sign("node.example"));
    assert_eq!(reaches(&after.unwrap(), &tls).await, Ok(true));
    assert!(reaches(&before, &tls).await.is_err());
    place(folder, "cert.pem", "rubbish");
    assert!(tls.refresh().unwrap_err().to_string().contains("holds no PEM certificate"));
    std::fs::remove_file(folder.join("ca.pem")).unwrap();
    assert!(tls.refresh().unwrap_err().to_string().contains("--ca: cannot read"));
    place_all(folder, &new.pem, &own);
    assert!(tls.refresh().unwrap());
}
