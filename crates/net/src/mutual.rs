//! TLS between equals, such as the nodes of a fleet: each side shows a certificate and checks the other's against one authority, whichever
//! of them dials. The files are read again when asked to; a set that can't work leaves the last good one in force. Sessions are never
//! resumed, so that every connection is checked against what holds then.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::error::ConfigError;
use crate::file::Stamp;
use crate::tls::Pem;
use crate::tls::verify::is_authority_shown;

/// A file, and the flag or argument that names it in errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// As the user wrote it: `--cluster.tls-ca-path`.
    pub argument: &'static str,
    /// Where it is.
    pub path: String,
}

/// What both directions are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutualTlsFiles {
    /// Certificates of the authorities that are trusted; several while one follows another.
    pub ca: NamedFile,
    /// The own certificate, and what leads from it to an authority.
    pub cert: NamedFile,
    /// Its private key.
    pub key: NamedFile,
}

/// TLS for connections in both directions.
pub struct MutualTls {
    files: MutualTlsFiles,
    /// The files as they were when the material was made of them.
    stamps: Mutex<[Stamp; 3]>,
    material: ArcSwap<Material>,
}

struct Material {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl std::fmt::Debug for MutualTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MutualTls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl MutualTls {
    /// Reads the files.
    ///
    /// # Errors
    /// A file can't be read or used, or others would not accept the certificate: it is expired, of another authority, or not for both
    /// directions. Names the argument and the file.
    pub fn new(files: MutualTlsFiles) -> Result<Self, ConfigError> {
        let stamps = files.stamps()?;
        let material = ArcSwap::from_pointee(Material::read(&files)?);
        Ok(Self { files, stamps: Mutex::new(stamps), material })
    }

    /// Reads the files again if one has changed; whether it has. Reads from disk: not for a thread that must not wait.
    ///
    /// # Errors
    /// As for [`Self::new`], as also happens while files are being replaced one after the other. The last good material stays in force, and
    /// the next call tries again.
    pub fn refresh(&self) -> Result<bool, ConfigError> {
        let mut known = self.stamps.lock();
        let stamps = self.files.stamps()?;
        if stamps == *known {
            return Ok(false);
        }
        self.material.store(Arc::new(Material::read(&self.files)?));
        *known = stamps;
        Ok(true)
    }

    /// For connections that are opened now. Offers HTTP/2 and nothing else.
    #[must_use]
    pub fn client(&self) -> Arc<ClientConfig> {
        self.material.load().client.clone()
    }

    /// For connections that are accepted now. Clients may come without a certificate; one that is shown must be good, so whoever needs to
    /// know the client looks whether there is one.
    #[must_use]
    pub fn server(&self) -> Arc<ServerConfig> {
        self.material.load().server.clone()
    }
}

impl MutualTlsFiles {
    fn stamps(&self) -> Result<[Stamp; 3], ConfigError> {
        let stamp = |file: &NamedFile| Stamp::of(Path::new(&file.path)).map_err(|error| ConfigError::new(file.argument, error));
        Ok([stamp(&self.ca)?, stamp(&self.cert)?, stamp(&self.key)?])
    }
}

impl Material {
    fn read(files: &MutualTlsFiles) -> Result<Self, ConfigError> {
        let [ca, cert, key] = [&files.ca, &files.cert, &files.key].map(|file| Pem::read(file.argument, &file.path));
        let (ca, cert, provider) = (ca?, cert?, Arc::new(rustls::crypto::ring::default_provider()));
        let mut roots = RootCertStore::empty();
        for certificate in ca.certificates()? {
            roots.add(certificate).map_err(|error| ca.wrong(error))?;
        }
        let (roots, chain, key) = (Arc::new(roots), cert.certificates()?, key?.key()?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).allow_unauthenticated();
        let verifier = verifier.build().map_err(|error| ca.wrong(error))?;
        check_own(&chain, &roots, &*verifier, &provider).map_err(|error| cert.wrong(refusal(&error)))?;
        let client = client(provider.clone(), roots, chain.clone(), key.clone_key()).map_err(|error| cert.wrong(error))?;
        let server = server(provider, verifier, chain, key).map_err(|error| cert.wrong(error))?;
        Ok(Self { client: Arc::new(client), server: Arc::new(server) })
    }
}

type Chain = Vec<CertificateDer<'static>>;

fn client(
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Chain,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn server(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    chain: Chain,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_client_cert_verifier(verifier).with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Whether others that trust the same authorities accept this certificate, as a server's and as a client's. Their names for this node are
/// their matter.
fn check_own(
    chain: &[CertificateDer<'static>],
    roots: &RootCertStore,
    verifier: &dyn ClientCertVerifier,
    provider: &CryptoProvider,
) -> Result<(), rustls::Error> {
    let Some((own, intermediates)) = chain.split_first() else { return Err(rustls::Error::NoCertificatesPresented) };
    let (now, algorithms) = (UnixTime::now(), provider.signature_verification_algorithms.all);
    verify_server_cert_signed_by_trust_anchor(&ParsedCertificate::try_from(own)?, roots, intermediates, now, algorithms)?;
    verifier.verify_client_cert(own, intermediates, now).map(drop)
}

fn refusal(error: &rustls::Error) -> String {
    if is_authority_shown(error) {
        return "is the certificate of an authority; sign one for the node with it".to_owned();
    }
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "is of another authority than those of the CA file, so that others would refuse it".to_owned()
        }
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            let at = jiff::Timestamp::from_second(not_after.as_secs().try_into().unwrap_or_default()).unwrap_or_default();
            format!("expired at {at}, so that others would refuse it")
        }
        rustls::Error::InvalidCertificate(problem) => format!("would be refused by others: {problem}"),
        error => error.to_string(),
    }
}
