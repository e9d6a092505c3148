//! The `tls_config` block.

use syntax::{Block, Secret};

syntax::text_enum! {
    /// The oldest TLS version that is accepted. Versions before 1.2 are never spoken; naming one allows 1.2 and later.
    pub enum TlsVersion {
        /// TLS 1.0, meaning 1.2 and later here.
        Tls10 = "TLS10",
        /// TLS 1.1, meaning 1.2 and later here.
        Tls11 = "TLS11",
        /// TLS 1.2 and later.
        Tls12 = "TLS12",
        /// TLS 1.3.
        Tls13 = "TLS13",
    }
}

/// How a server is recognised, and who we are to it.
#[derive(Block, Clone, Debug, Default, PartialEq)]
#[syntax(validate = "TlsConfig::validate")]
pub struct TlsConfig {
    /// CA PEM-encoded text to validate the server with. Without one, the system's roots are used.
    pub ca_pem: String,
    /// CA certificate to validate the server with. It is read again when it changes.
    pub ca_file: String,
    /// Certificate PEM-encoded text for client authentication.
    pub cert_pem: String,
    /// Certificate file for client authentication. It is read again when it changes.
    pub cert_file: String,
    /// Key PEM-encoded text for client authentication.
    pub key_pem: Secret,
    /// Key file for client authentication. It is read again when it changes.
    pub key_file: String,
    /// ServerName extension to indicate the name of the server, and the name that its certificate must bear.
    pub server_name: String,
    /// Disables validation of the server certificate.
    pub insecure_skip_verify: bool,
    /// Minimum acceptable TLS version: `TLS10`, `TLS11`, `TLS12` (the default) or `TLS13`.
    pub min_version: Option<TlsVersion>,
}

impl TlsConfig {
    fn validate(&self) -> Result<(), String> {
        let (has_ca, has_cert, has_key) = (!self.ca_pem.is_empty(), !self.cert_pem.is_empty(), !self.key_pem.is_empty());
        let (has_ca_file, has_cert_file, has_key_file) = (!self.ca_file.is_empty(), !self.cert_file.is_empty(), !self.key_file.is_empty());
        for (both, names) in [
            (has_ca && has_ca_file, "ca_pem and ca_file"),
            (has_cert && has_cert_file, "cert_pem and cert_file"),
            (has_key && has_key_file, "key_pem and key_file"),
        ] {
            if both {
                return Err(format!("at most one of {names} must be configured"));
            }
        }
        match (has_cert || has_cert_file, has_key || has_key_file) {
            (true, false) => {
                Err("exactly one of key_pem or key_file must be configured when a client certificate is configured".to_owned())
            }
            (false, true) => Err("exactly one of cert_pem or cert_file must be configured when a client key is configured".to_owned()),
            _ => Ok(()),
        }
    }
}
