//! Servers on loopback that write down what they are asked.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses its part

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use net::{Client, ClientOptions, Error, HttpClientConfig};
use parking_lot::Mutex;
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What a server was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub uri: Uri,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub type Answer = Response<Full<Bytes>>;

/// A running server; it ends with the test's runtime.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    pub connections: Arc<AtomicUsize>,
    scheme: &'static str,
}

impl Server {
    pub async fn plain(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self::start(None, answer).await
    }

    pub async fn tls(acceptor: TlsAcceptor, answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self::start(Some(acceptor), answer).await
    }

    async fn start(tls: Option<TlsAcceptor>, answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let server = Self { address: listener.local_addr().unwrap(), asked: Arc::default(), connections: Arc::default(), scheme };
        let (this, answer) = (server.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                this.connections.fetch_add(1, Ordering::SeqCst);
                let (this, answer, tls) = (this.clone(), answer.clone(), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (this, answer) = (this.clone(), answer.clone());
                        async move {
                            let (parts, body) = request.into_parts();
                            let asked = Asked {
                                method: parts.method.to_string(),
                                uri: parts.uri,
                                version: parts.version,
                                headers: parts.headers,
                                body: body.collect().await.unwrap().to_bytes(),
                            };
                            this.asked.lock().push(asked.clone());
                            Ok::<_, Infallible>(answer(&asked))
                        }
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    match tls {
                        None => drop(builder.serve_connection(TokioIo::new(socket), service).await),
                        Some(acceptor) => {
                            if let Ok(socket) = acceptor.accept(socket).await {
                                drop(builder.serve_connection(TokioIo::new(socket), service).await);
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub fn last(&self) -> Asked {
        self.asked.lock().last().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.asked.lock().len()
    }
}

pub fn ok(body: &str) -> Answer {
    Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())))
}

pub fn status(status: u16) -> Answer {
    Response::builder().status(status).body(Full::default()).unwrap()
}

pub fn redirect(to: &str) -> Answer {
    Response::builder().status(302).header("location", to).body(Full::default()).unwrap()
}

pub fn config(source: &str) -> HttpClientConfig {
    syntax::decode_str(source, &syntax::Scope::new()).unwrap()
}

pub fn client(source: &str) -> Client {
    client_with(source, ClientOptions::default())
}

pub fn client_with(source: &str, options: ClientOptions) -> Client {
    Client::new(&config(source), options).unwrap()
}

pub fn get(url: &str) -> Request<Full<Bytes>> {
    Request::get(url).body(Full::default()).unwrap()
}

/// Sends a GET and reads the answer as text.
pub async fn fetch(client: &Client, url: &str) -> Result<(u16, String), Error> {
    let response = client.send(get(url)).await?;
    let status = response.status().as_u16();
    let body = net::read_body(response, 1 << 20).await.unwrap();
    Ok((status, String::from_utf8(body.to_vec()).unwrap()))
}

/// A certificate authority and what it signs.
pub struct Authority {
    pub pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

pub struct Signed {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: rcgen::Issuer::new(params, key) }
    }

    pub fn sign(&self, name: &str) -> Signed {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        Signed { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// A certificate that is good until the beginning of a year.
    pub fn sign_until(&self, name: &str, last_year: i32) -> Signed {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        Signed { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// A server for `name`; if `clients` is given, it wants certificates signed by that authority.
    pub fn acceptor(&self, name: &str, clients: Option<&Authority>) -> TlsAcceptor {
        self.sign(name).acceptor(clients, rustls::ALL_VERSIONS)
    }
}

impl Signed {
    /// A certificate that signs itself and is marked as an authority, as `openssl req -x509` makes them.
    pub fn by_itself(name: &str, last_year: i32) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        Self { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    /// A server with this certificate.
    pub fn acceptor(&self, clients: Option<&Authority>, versions: &[&'static rustls::SupportedProtocolVersion]) -> TlsAcceptor {
        use rustls_pki_types::CertificateDer;
        use rustls_pki_types::pem::PemObject;

        let signed = self;
        let chain = vec![CertificateDer::from_pem_slice(signed.cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
                let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A PEM text as a string literal of the configuration language.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\n', "\\n"))
}
