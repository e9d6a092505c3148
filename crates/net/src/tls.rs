//! TLS for connections to servers: rustls with ring, checked against the system's roots or the CA that is configured. Certificate files
//! are read again when they change; connections that were opened with the old ones serve their requests and no more.

pub(crate) mod verify;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::config::{TlsConfig, TlsVersion};
use crate::error::ConfigError;
use crate::file::{self, Stamp};
use verify::{Anything, PinnedToo};

/// Makes TLS configurations as the files change.
pub(crate) struct TlsSource {
    config: TlsConfig,
    http2: bool,
    server_name: Option<ServerName<'static>>,
    known: Mutex<Option<(Vec<Stamp>, Material)>>,
}

/// What connections are opened with.
#[derive(Clone)]
pub(crate) struct Material {
    /// Another number for another content of the files.
    pub(crate) generation: u64,
    pub(crate) config: Arc<ClientConfig>,
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

    /// What a connection that is opened now is opened with. Costs a `stat` per file if they have not changed.
    pub(crate) fn current(&self) -> Result<Material, ConfigError> {
        let stamps: Vec<Stamp> = self
            .files()
            .map(|(argument, path)| Stamp::of(Path::new(path)).map_err(|error| ConfigError::new(argument, error)))
            .collect::<Result<_, _>>()?;
        let mut known = self.known.lock();
        if let Some((_, material)) = known.as_ref().filter(|(at, _)| *at == stamps) {
            return Ok(material.clone());
        }
        let generation = known.as_ref().map_or(0, |(_, old)| old.generation + 1);
        let material = Material { generation, config: Arc::new(self.build()?) };
        *known = Some((stamps, material.clone()));
        Ok(material)
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
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anything(provider)))
        } else {
            let (roots, pinned) = self.roots()?;
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
            let verifier = verifier.map_err(|error| ConfigError::new("tls_config.ca_file", error))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(PinnedToo { verifier, pinned }))
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
        let (certificates, key) = (chain.certificates()?, key.key()?);
        builder.with_client_auth_cert(certificates, key).map_err(|error| chain.wrong(error))
    }

    /// Who is trusted, and which certificates the configuration itself holds.
    fn roots(&self) -> Result<(Arc<RootCertStore>, Vec<CertificateDer<'static>>), ConfigError> {
        let Some(ca) = pem("tls_config.ca_pem", &self.config.ca_pem, "tls_config.ca_file", &self.config.ca_file)? else {
            return Ok((system_roots()?, Vec::new()));
        };
        let (mut roots, certificates) = (RootCertStore::empty(), ca.certificates()?);
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| ca.wrong(error))?;
        }
        Ok((Arc::new(roots), certificates))
    }
}

/// PEM text and where it comes from.
pub(crate) struct Pem<'a> {
    argument: &'static str,
    /// Empty if the text stands in the configuration.
    path: &'a str,
    text: Vec<u8>,
}

impl<'a> Pem<'a> {
    /// What is in a file.
    pub(crate) fn read(argument: &'static str, path: &'a str) -> Result<Self, ConfigError> {
        let (_, text) = file::read(Path::new(path)).map_err(|error| ConfigError::new(argument, error))?;
        Ok(Self { argument, path, text })
    }

    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let found: Vec<_> = CertificateDer::pem_slice_iter(&self.text)
            .collect::<Result<_, _>>()
            .map_err(|error| self.wrong(format!("is not valid PEM: {error}")))?;
        if found.is_empty() { Err(self.wrong("holds no PEM certificate")) } else { Ok(found) }
    }

    pub(crate) fn key(&self) -> Result<PrivateKeyDer<'static>, ConfigError> {
        // The error may hold parts of the key.
        PrivateKeyDer::from_pem_slice(&self.text).map_err(|_| {
            let is_encrypted = self.text.windows(9).any(|part| part == b"ENCRYPTED");
            self.wrong(if is_encrypted { "holds an encrypted private key, which is not supported" } else { "holds no PEM private key" })
        })
    }

    pub(crate) fn wrong(&self, cause: impl std::fmt::Display) -> ConfigError {
        let cause = if self.path.is_empty() { cause.to_string() } else { format!("{}: {cause}", self.path) };
        ConfigError::new(self.argument, cause)
    }
}

fn pem<'a>(inline: &'static str, text: &str, from_file: &'static str, path: &'a str) -> Result<Option<Pem<'a>>, ConfigError> {
    if !text.is_empty() {
        return Ok(Some(Pem { argument: inline, path: "", text: text.as_bytes().to_vec() }));
    }
    if path.is_empty() {
        return Ok(None);
    }
    Pem::read(from_file, path).map(Some)
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
