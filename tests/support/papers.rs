//! Certificates in files, as the flags of the cluster's TLS take them.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes what a node needs into a folder: a certificate for a name, its key, and the authorities that are trusted.
    pub fn write(&self, folder: &Path, name: &str, trusted: &[&Self]) {
        self.write_until(folder, name, trusted, 4000);
    }

    /// The same, good until the beginning of a year.
    pub fn write_until(&self, folder: &Path, name: &str, trusted: &[&Self], year: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        std::fs::create_dir_all(folder).unwrap();
        let trusted: String = trusted.iter().map(|authority| authority.pem.as_str()).collect();
        for (file, text) in [("ca.pem", trusted), ("cert.pem", cert), ("key.pem", key.serialize_pem())] {
            std::fs::write(folder.join("next"), text).unwrap();
            std::fs::rename(folder.join("next"), folder.join(file)).unwrap();
        }
    }
}

/// The flags for the files in a folder.
pub fn flags(folder: &Path) -> Vec<String> {
    let path = |file: &str| -> PathBuf { folder.join(file) };
    let mut flags = vec!["--cluster.enable-tls".to_owned()];
    for (flag, file) in [("ca", "ca.pem"), ("cert", "cert.pem"), ("key", "key.pem")] {
        flags.push(format!("--cluster.tls-{flag}-path={}", path(file).display()));
    }
    flags
}
