//! Whom this node's fleet trusts: certificates and key from the files that the command line names, read again as they change, so that
//! neither a new certificate nor a new key needs a restart. What they are checked against is the cluster's part and that of `net`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use cluster::{Cluster, Key, MAX_KEY_BYTES, MAX_KEYS, PeerTls};
use net::{MutualTls, MutualTlsFiles, NamedFile};
use prometheus::{IntGaugeVec, Opts, Registry};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::cli::ClusterFlags;

/// How often the files are looked at; a new certificate is due weeks before the old one expires.
const LOOK: Duration = Duration::from_secs(5);

/// The trusted, as the files say.
#[derive(Clone)]
pub struct Trust {
    tls: Option<Arc<Tls>>,
    key: Option<KeyFile>,
}

/// TLS towards peers.
#[derive(Debug)]
struct Tls {
    files: Arc<MutualTls>,
    server_name: Option<ServerName<'static>>,
}

#[derive(Clone)]
struct KeyFile {
    path: PathBuf,
    seen: Option<(SystemTime, u64)>,
}

impl PeerTls for Tls {
    fn config(&self) -> Arc<ClientConfig> {
        self.files.client()
    }

    fn server_name(&self) -> Option<ServerName<'static>> {
        self.server_name.clone()
    }
}

impl Trust {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// One of them is of no use; names the flag and the file.
    pub fn new(flags: &ClusterFlags) -> Result<Self> {
        let tls = if flags.tls() { Some(Arc::new(Tls::new(flags)?)) } else { None };
        Ok(Self { tls, key: flags.key_file.clone().map(|path| KeyFile { path, seen: None }) })
    }

    /// For connections to peers.
    pub fn peers(&self) -> Option<Arc<dyn PeerTls>> {
        self.tls.clone().map(|tls| tls as Arc<dyn PeerTls>)
    }

    /// For connections that are accepted.
    pub fn listener(&self) -> Option<Arc<MutualTls>> {
        self.tls.as_ref().map(|tls| tls.files.clone())
    }

    /// The key, read for the first time.
    ///
    /// # Errors
    /// The file can't be read or holds no key.
    pub fn key(&mut self) -> Result<Option<Key>> {
        self.key.as_mut().map(KeyFile::read).transpose()
    }

    /// Looks after the files from now on: what they hold anew is used, and what is of no use is told, while the last good content stays in
    /// force. Ends with the process.
    ///
    /// # Errors
    /// The metric's name is taken.
    pub fn watch(self, cluster: Cluster, registry: &Registry) -> Result<()> {
        let help =
            "1 while a file with certificates or the key has changed and is of no use, so that the last good content stays in force.";
        let stale = IntGaugeVec::new(Opts::new("collector_cluster_credentials_stale", help), &["kind"])?;
        registry.register(Box::new(stale.clone()))?;
        if let Some(tls) = self.tls {
            let refresh = move || tls.files.refresh().map(|renewed| renewed.then_some(())).map_err(anyhow::Error::from);
            tokio::spawn(look_after("certificates", stale.clone(), refresh, |()| {}));
        }
        if let Some(mut key) = self.key {
            tokio::spawn(look_after("key", stale, move || key.changed(), move |key| cluster.renew_key(key)));
        }
        Ok(())
    }
}

/// Reads again and again, off the control thread, and hands on what is new. Files are replaced one after the other, so a failure is told
/// when it is there the second time.
async fn look_after<T, R, U>(kind: &'static str, stale: IntGaugeVec, read: R, mut renew: U)
where
    T: Send + 'static,
    R: FnMut() -> Result<Option<T>> + Send + 'static,
    U: FnMut(T),
{
    let (stale, mut failures) = (stale.with_label_values(&[kind]), 0_u64);
    stale.set(0);
    let mut read = Some(read);
    while let Some(mut reading) = read.take() {
        tokio::time::sleep(LOOK).await;
        let looked = tokio::task::spawn_blocking(move || (reading(), reading)).await;
        let Ok((outcome, reading)) = looked else { return };
        read = Some(reading);
        match outcome {
            Ok(renewed) => {
                if let Some(renewed) = renewed {
                    renew(renewed);
                    tracing::info!(kind, "credentials of the cluster have changed and are in use for new connections");
                }
                failures = 0;
            }
            Err(error) => {
                failures += 1;
                if failures == 2 {
                    tracing::warn!(
                        kind,
                        error = format!("{error:#}"),
                        "credentials of the cluster are of no use; the last good ones stay in force"
                    );
                }
            }
        }
        stale.set(i64::from(failures > 1));
    }
}

impl Tls {
    fn new(flags: &ClusterFlags) -> Result<Self> {
        let file = |argument, path: &Option<String>| NamedFile { argument, path: path.clone().unwrap_or_default() };
        let files = MutualTlsFiles {
            ca: file("--cluster.tls-ca-path", &flags.tls_ca_path),
            cert: file("--cluster.tls-cert-path", &flags.tls_cert_path),
            key: file("--cluster.tls-key-path", &flags.tls_key_path),
        };
        let server_name = flags.tls_server_name.clone().filter(|name| !name.is_empty()).map(|name| {
            let flag = format!("--cluster.tls-server-name={name} is neither a DNS name nor an IP address");
            ServerName::try_from(name).context(flag)
        });
        Ok(Self { files: Arc::new(MutualTls::new(files)?), server_name: server_name.transpose()? })
    }
}

impl KeyFile {
    fn read(&mut self) -> Result<Key> {
        let shown = self.path.display();
        let found = std::fs::metadata(&self.path).with_context(|| format!("can't read --cluster.key-file {shown}"))?;
        // Line breaks come on top, of whatever kind.
        let limit = MAX_KEYS * (MAX_KEY_BYTES + 2);
        if found.len() > limit as u64 {
            bail!("--cluster.key-file {shown} has {} bytes; a key has at most {MAX_KEY_BYTES}", found.len());
        }
        let content = std::fs::read(&self.path).with_context(|| format!("can't read --cluster.key-file {shown}"))?;
        let key = Key::new(&content).with_context(|| format!("--cluster.key-file {shown}"))?;
        self.seen = stamp(&found);
        Ok(key)
    }

    /// The key if the file has changed since it was read.
    fn changed(&mut self) -> Result<Option<Key>> {
        let found = std::fs::metadata(&self.path).with_context(|| format!("can't read --cluster.key-file {}", self.path.display()))?;
        if stamp(&found) == self.seen { Ok(None) } else { self.read().map(Some) }
    }
}

fn stamp(found: &std::fs::Metadata) -> Option<(SystemTime, u64)> {
    found.modified().ok().map(|modified| (modified, found.len()))
}
