//! Certificates for tests: authorities, what they sign, and what nodes make of it for both directions.

use std::sync::Arc;

use cluster::PeerTls;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore, ServerConfig, client::Resumption, crypto::ring, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
}

/// A certificate with its key.
pub struct Signed {
    cert: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), der }
    }

    /// For a DNS name or an IP address.
    pub fn sign(&self, name: &str) -> Signed {
        self.sign_changed(name, |_| {})
    }

    pub fn sign_expired(&self, name: &str) -> Signed {
        self.sign_changed(name, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1))
    }

    pub fn sign_for_servers(&self, name: &str) -> Signed {
        self.sign_changed(name, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])
    }

    fn sign_changed(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let cert = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Signed { cert, key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() }
    }
}

/// What a node shows and whom it trusts; can be renewed.
#[derive(Debug)]
pub struct Papers {
    present: Mutex<(Arc<ClientConfig>, Arc<ServerConfig>)>,
    server_name: Option<ServerName<'static>>,
}

impl Papers {
    pub fn new(own: &Signed, trusted: &[&Authority]) -> Arc<Self> {
        Arc::new(Self { present: Mutex::new(made(own, trusted)), server_name: None })
    }

    /// Expects `name` of its peers, whatever their address.
    pub fn expecting(own: &Signed, trusted: &[&Authority], name: &str) -> Arc<Self> {
        let server_name = Some(ServerName::try_from(name.to_owned()).unwrap());
        Arc::new(Self { present: Mutex::new(made(own, trusted)), server_name })
    }

    pub fn renew(&self, own: &Signed, trusted: &[&Authority]) {
        *self.present.lock() = made(own, trusted);
    }

    pub fn server(&self) -> Arc<ServerConfig> {
        self.present.lock().1.clone()
    }
}

impl PeerTls for Papers {
    fn config(&self) -> Arc<ClientConfig> {
        self.present.lock().0.clone()
    }

    fn server_name(&self) -> Option<ServerName<'static>> {
        self.server_name.clone()
    }
}

/// A client that trusts `trusted` and shows nothing.
pub fn anonymous(trusted: &Authority) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions().unwrap();
    let mut client = builder.with_root_certificates(roots(&[trusted])).with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(client)
}

fn roots(trusted: &[&Authority]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for authority in trusted {
        roots.add(authority.der.clone()).unwrap();
    }
    roots
}

fn made(own: &Signed, trusted: &[&Authority]) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let (provider, roots) = (Arc::new(ring::default_provider()), roots(trusted));
    let chain = vec![own.cert.clone()];
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots.clone());
    let mut client = builder.with_client_auth_cert(chain.clone(), own.key.clone_key()).unwrap();
    client.alpn_protocols = vec![b"h2".to_vec()];
    client.resumption = Resumption::disabled();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).allow_unauthenticated();
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_client_cert_verifier(verifier.build().unwrap());
    let mut server = builder.with_single_cert(chain, own.key.clone_key()).unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (Arc::new(client), Arc::new(server))
}
