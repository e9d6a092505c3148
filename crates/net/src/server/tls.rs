//! TLS of servers: rustls with ring. Certificate, key and client CA are read again when their files change; open connections keep what
//! they were opened with.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use super::config::{ClientAuth, ServerTlsConfig};
use crate::error::ConfigError;
use crate::file::{self, Stamp};

/// Makes TLS configurations as the files change.
pub(super) struct TlsSource {
    config: ServerTlsConfig,
    known: Mutex<(Vec<Stamp>, Arc<rustls::ServerConfig>)>,
}

impl TlsSource {
    /// Reads everything once: a server without usable material would only seem to work.
    pub fn new(config: &ServerTlsConfig) -> Result<Self, ConfigError> {
        let stamps = stamps(config)?;
        let known = Mutex::new((stamps, Arc::new(build(config)?)));
        Ok(Self { config: config.clone(), known })
    }

    /// The configuration for a connection that is opened now. Files that can't be read or used, as while they are being replaced, leave
    /// the last good one in force; the error says why.
    pub fn current(&self) -> (Arc<rustls::ServerConfig>, Option<ConfigError>) {
        let mut known = self.known.lock();
        let renewed = stamps(&self.config).and_then(|stamps| {
            if stamps == known.0 {
                return Ok(());
            }
            *known = (stamps, Arc::new(build(&self.config)?));
            Ok(())
        });
        (known.1.clone(), renewed.err())
    }
}

fn stamps(config: &ServerTlsConfig) -> Result<Vec<Stamp>, ConfigError> {
    let files = [("tls.cert_file", &config.cert_file), ("tls.key_file", &config.key_file), ("tls.client_ca_file", &config.client_ca_file)];
    let given = files.into_iter().filter(|(_, path)| !path.is_empty());
    given.map(|(argument, path)| Stamp::of(Path::new(path)).map_err(|error| ConfigError::new(argument, error))).collect()
}

fn build(config: &ServerTlsConfig) -> Result<rustls::ServerConfig, ConfigError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (cert_argument, cert) = pem("tls.cert_pem", &config.cert_pem, "tls.cert_file", &config.cert_file)?;
    let (key_argument, key) = pem("tls.key_pem", config.key_pem.expose(), "tls.key_file", &config.key_file)?;
    let chain = certificates(cert_argument, &cert)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| ConfigError::new(key_argument, "holds no PEM private key"))?;
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::new("tls", error))?;
    let builder = match client_verifier(config, provider)? {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let mut tls = builder.with_single_cert(chain, key).map_err(|error| ConfigError::new(cert_argument, error))?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

fn client_verifier(config: &ServerTlsConfig, provider: Arc<CryptoProvider>) -> Result<Option<Arc<dyn ClientCertVerifier>>, ConfigError> {
    let wants = config.client_auth_type.unwrap_or(ClientAuth::None);
    match wants {
        ClientAuth::None => return Ok(None),
        ClientAuth::Request | ClientAuth::RequireAny | ClientAuth::Require => {
            return Ok(Some(Arc::new(AnyCertificate { mandatory: wants != ClientAuth::Request, provider })));
        }
        ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify => {}
    }
    let (argument, ca) = pem("tls.client_ca_pem", config.client_ca_text(), "tls.client_ca_file", &config.client_ca_file)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(argument, &ca)? {
        roots.add(certificate).map_err(|error| ConfigError::new(argument, error))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if wants == ClientAuth::VerifyIfGiven { builder.allow_unauthenticated() } else { builder };
    builder.build().map(Some).map_err(|error| ConfigError::new(argument, error))
}

fn pem(inline: &'static str, text: &str, from_file: &'static str, path: &str) -> Result<(&'static str, Vec<u8>), ConfigError> {
    if !text.is_empty() {
        return Ok((inline, text.as_bytes().to_vec()));
    }
    let (_, text) = file::read(Path::new(path)).map_err(|error| ConfigError::new(from_file, error))?;
    Ok((from_file, text))
}

fn certificates(argument: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| ConfigError::new(argument, format!("is not valid PEM: {error}")))?;
    if found.is_empty() { Err(ConfigError::new(argument, "holds no PEM certificate")) } else { Ok(found) }
}

/// `RequestClientCert` and `RequireAnyClientCert`: any certificate will do, whoever signed it. The client must still own its key.
#[derive(Debug)]
struct AnyCertificate {
    mandatory: bool,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
