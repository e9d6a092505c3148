//! TLS for connections to servers: rustls with ring, checked against the system's roots or the CA that is configured. Certificate files
//! are read again when they change; open connections keep what they were opened with.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::config::{TlsConfig, TlsVersion};
use crate::error::ConfigError;
use crate::file::{self, Stamp};

/// Makes TLS configurations as the files change.
pub(crate) struct TlsSource {
    config: TlsConfig,
    http2: bool,
    server_name: Option<ServerName<'static>>,
    known: Mutex<Option<(Vec<Stamp>, Arc<ClientConfig>)>>,
}

impl TlsSource {
    /// Checks what can be checked now. Files are read when the first connection is opened, as they may still be missing; so are the
    /// system's roots, as a client that never speaks TLS needs none.
    pub(crate) fn new(config: &TlsConfig, http2: bool) -> Result<Self, ConfigError> {
        let server_name = match config.server_name.as_str() {
            "" => None,
            name => Some(ServerName::try_from(name.to_owned()).map_err(|error| ConfigError::new("tls_config.server_name", error))?),
        };
        let source = Self { config: config.clone(), http2, server_name, known: Mutex::new(None) };
        if source.files().next().is_none() && !(config.ca_pem.is_empty() && config.cert_pem.is_empty()) {
            source.current()?;
        }
        Ok(source)
    }

    /// The name that the server's certificate must bear, if it is not the host's.
    pub(crate) fn server_name(&self) -> Option<&ServerName<'static>> {
        self.server_name.as_ref()
    }

    /// The configuration for a connection that is opened now.
    pub(crate) fn current(&self) -> Result<Arc<ClientConfig>, ConfigError> {
        let stamps: Vec<Stamp> = self
            .files()
            .map(|(argument, path)| Stamp::of(Path::new(path)).map_err(|error| ConfigError::new(argument, error)))
            .collect::<Result<_, _>>()?;
        let mut known = self.known.lock();
        if let Some((_, config)) = known.as_ref().filter(|(at, _)| *at == stamps) {
            return Ok(config.clone());
        }
        let config = Arc::new(self.build()?);
        *known = Some((stamps, config.clone()));
        Ok(config)
    }

    fn files(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let config = &self.config;
        [("tls_config.ca_file", &config.ca_file), ("tls_config.cert_file", &config.cert_file), ("tls_config.key_file", &config.key_file)]
            .into_iter()
            .filter(|(_, path)| !path.is_empty())
    }

    fn build(&self) -> Result<ClientConfig, ConfigError> {
        let config = &self.config;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions(config.min_version))
            .map_err(|error| ConfigError::new("tls_config.min_version", error))?;
        let builder = if config.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(NoVerification(provider)))
        } else {
            let verifier = WebPkiServerVerifier::builder_with_provider(self.roots()?, provider);
            builder.with_webpki_verifier(verifier.build().map_err(|error| ConfigError::new("tls_config.ca_file", error))?)
        };
        let mut tls = self.with_client_certificate(builder)?;
        tls.alpn_protocols = if self.http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        Ok(tls)
    }

    fn with_client_certificate(&self, builder: ConfigBuilder<ClientConfig, WantsClientCert>) -> Result<ClientConfig, ConfigError> {
        let config = &self.config;
        let Some(chain) = pem("tls_config.cert_pem", &config.cert_pem, "tls_config.cert_file", &config.cert_file)? else {
            return Ok(builder.with_no_client_auth());
        };
        let key = pem("tls_config.key_pem", config.key_pem.expose(), "tls_config.key_file", &config.key_file)?;
        let Some(key) = key else { return Err(ConfigError::new("tls_config.key_pem", "is missing though there is a certificate")) };
        let certificates = chain.certificates()?;
        let key = PrivateKeyDer::from_pem_slice(&key.text).map_err(|_| ConfigError::new(key.argument, "holds no PEM private key"))?;
        builder.with_client_auth_cert(certificates, key).map_err(|error| ConfigError::new(chain.argument, error))
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, ConfigError> {
        let Some(ca) = pem("tls_config.ca_pem", &self.config.ca_pem, "tls_config.ca_file", &self.config.ca_file)? else {
            return system_roots();
        };
        let mut roots = RootCertStore::empty();
        for certificate in ca.certificates()? {
            roots.add(certificate).map_err(|error| ConfigError::new(ca.argument, error))?;
        }
        Ok(Arc::new(roots))
    }
}

/// PEM text and the argument that it comes from.
struct Pem {
    argument: &'static str,
    text: Vec<u8>,
}

impl Pem {
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let found: Vec<_> = CertificateDer::pem_slice_iter(&self.text)
            .collect::<Result<_, _>>()
            .map_err(|error| ConfigError::new(self.argument, format!("is not valid PEM: {error}")))?;
        if found.is_empty() { Err(ConfigError::new(self.argument, "holds no PEM certificate")) } else { Ok(found) }
    }
}

fn pem(inline: &'static str, text: &str, from_file: &'static str, path: &str) -> Result<Option<Pem>, ConfigError> {
    if !text.is_empty() {
        return Ok(Some(Pem { argument: inline, text: text.as_bytes().to_vec() }));
    }
    if path.is_empty() {
        return Ok(None);
    }
    let (_, text) = file::read(Path::new(path)).map_err(|error| ConfigError::new(from_file, error))?;
    Ok(Some(Pem { argument: from_file, text }))
}

/// The system's roots, read once: they are a few hundred certificates.
fn system_roots() -> Result<Arc<RootCertStore>, ConfigError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(store)
    });
    if roots.is_empty() {
        let cause = "this system has no root certificates: install them (ca-certificates) or set tls_config.ca_file";
        return Err(ConfigError::new("tls_config.ca_file", cause));
    }
    Ok(roots.clone())
}

fn versions(min: Option<TlsVersion>) -> &'static [&'static SupportedProtocolVersion] {
    static ONLY_13: [&SupportedProtocolVersion; 1] = [&version::TLS13];
    match min {
        Some(TlsVersion::Tls13) => &ONLY_13,
        _ => rustls::ALL_VERSIONS,
    }
}

/// `insecure_skip_verify`: any certificate will do. Signatures are still checked, as a handshake without them is none.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
