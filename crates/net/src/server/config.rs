//! The arguments of every HTTP server, as Alloy names them.

use std::time::Duration;

use syntax::{Block, Secret};

/// The server that a component listens with. Squash it into the component's arguments.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// Configures the HTTP server that receives requests.
    #[syntax(block)]
    pub http: HttpServerConfig,
    /// How long running requests may take when the server stops.
    #[syntax(default = Duration::from_secs(30))]
    pub graceful_shutdown_timeout: Duration,
}

/// Where and how the server listens.
#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "HttpServerConfig::validate")]
pub struct HttpServerConfig {
    /// Network address on which the server listens for new connections. By default, all addresses of this machine.
    pub listen_address: String,
    /// Port number on which the server listens for new connections; 0 for one that the system chooses.
    #[syntax(default = 8080_u16)]
    pub listen_port: u16,
    /// Maximum number of simultaneous HTTP connections; further ones are answered with 503. At 0, 16384.
    pub conn_limit: usize,
    /// Within which time a request must have come in, head and body.
    #[syntax(default = Duration::from_secs(30))]
    pub server_read_timeout: Duration,
    /// Within which time the client must take its answer.
    #[syntax(default = Duration::from_secs(30))]
    pub server_write_timeout: Duration,
    /// How long a connection may be without a request.
    #[syntax(default = Duration::from_secs(120))]
    pub server_idle_timeout: Duration,
    /// Configures TLS for the HTTP server.
    #[syntax(block)]
    pub tls: Option<ServerTlsConfig>,
}

impl HttpServerConfig {
    /// Host and port as they are bound; all addresses if none is configured.
    #[must_use]
    pub fn address(&self) -> String {
        match self.listen_address.as_str() {
            "" => format!("[::]:{}", self.listen_port),
            host if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{}", self.listen_port),
            host => format!("{host}:{}", self.listen_port),
        }
    }

    fn validate(&self) -> Result<(), String> {
        for (name, timeout) in [
            ("server_read_timeout", self.server_read_timeout),
            ("server_write_timeout", self.server_write_timeout),
            ("server_idle_timeout", self.server_idle_timeout),
        ] {
            if timeout.is_zero() {
                return Err(format!(
                    "{name} must be greater than 0: without it, clients that stop half-way would hold their places for ever"
                ));
            }
        }
        Ok(())
    }
}

syntax::text_enum! {
    /// What clients must show.
    pub enum ClientAuth {
        /// Nothing.
        None = "NoClientCert",
        /// They are asked for a certificate, but need none, and it may be anybody's.
        Request = "RequestClientCert",
        /// They must have a certificate; it may be anybody's.
        RequireAny = "RequireAnyClientCert",
        /// The same, in its old spelling.
        Require = "RequireClientCert",
        /// They need no certificate, but one that they show must be of the client CA.
        VerifyIfGiven = "VerifyClientCertIfGiven",
        /// They must have a certificate of the client CA.
        RequireAndVerify = "RequireAndVerifyClientCert",
    }
}

/// Who the server is, and who may talk to it.
#[derive(Block, Clone, Debug, Default, PartialEq)]
#[syntax(validate = "ServerTlsConfig::validate")]
pub struct ServerTlsConfig {
    /// PEM data of the server TLS certificate.
    pub cert_pem: String,
    /// Path to the server TLS certificate on disk. It is read again when it changes.
    pub cert_file: String,
    /// PEM data of the server TLS key.
    pub key_pem: Secret,
    /// Path to the server TLS key on disk. It is read again when it changes.
    pub key_file: String,
    /// Client authentication to use: `NoClientCert` (the default), `RequestClientCert`, `RequireAnyClientCert`,
    /// `VerifyClientCertIfGiven` or `RequireAndVerifyClientCert`.
    pub client_auth_type: Option<ClientAuth>,
    /// PEM data of the client CA to validate requests against.
    pub client_ca_pem: String,
    /// The same, as Alloy's program calls it (its documentation says `client_ca_pem`).
    pub client_ca: String,
    /// Path to the client CA file on disk to validate requests against. It is read again when it changes.
    pub client_ca_file: String,
}

impl ServerTlsConfig {
    /// The client CA's PEM data, under whichever name it was given.
    pub(super) fn client_ca_text(&self) -> &str {
        if self.client_ca_pem.is_empty() { &self.client_ca } else { &self.client_ca_pem }
    }

    fn validate(&self) -> Result<(), String> {
        let (has_ca, has_ca_file) = (!self.client_ca_text().is_empty(), !self.client_ca_file.is_empty());
        for (both, names) in [
            (!self.cert_pem.is_empty() && !self.cert_file.is_empty(), "cert_pem and cert_file"),
            (!self.key_pem.is_empty() && !self.key_file.is_empty(), "key_pem and key_file"),
            (!self.client_ca_pem.is_empty() && !self.client_ca.is_empty(), "client_ca_pem and client_ca"),
            (has_ca && has_ca_file, "client_ca_pem and client_ca_file"),
        ] {
            if both {
                return Err(format!("at most one of {names} must be configured"));
            }
        }
        if self.cert_pem.is_empty() && self.cert_file.is_empty() {
            return Err("one of cert_pem or cert_file must be configured".to_owned());
        }
        if self.key_pem.is_empty() && self.key_file.is_empty() {
            return Err("one of key_pem or key_file must be configured".to_owned());
        }
        match self.client_auth_type.unwrap_or(ClientAuth::None) {
            ClientAuth::None if has_ca || has_ca_file => {
                Err("a client CA is configured though client_auth_type asks for no certificates; set it to \"RequireAndVerifyClientCert\""
                    .to_owned())
            }
            ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify if !has_ca && !has_ca_file => {
                Err("client_auth_type needs a client CA to check certificates against: set client_ca_pem or client_ca_file".to_owned())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syntax::Scope;

    fn decode(source: &str) -> Result<ServerConfig, String> {
        syntax::decode_str(source, &Scope::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_alloys() {
        let config = decode("").unwrap();
        assert_eq!(config.http.address(), "[::]:8080");
        assert_eq!(config.http.conn_limit, 0);
        assert_eq!(config.http.server_read_timeout, Duration::from_secs(30));
        assert_eq!(config.http.server_write_timeout, Duration::from_secs(30));
        assert_eq!(config.http.server_idle_timeout, Duration::from_secs(120));
        assert_eq!(config.graceful_shutdown_timeout, Duration::from_secs(30));
        assert!(config.http.tls.is_none());
    }

    #[test]
    fn addresses_are_written_as_the_system_wants_them() {
        let address = |host: &str| decode(&format!("http {{\nlisten_address = {host:?}\nlisten_port = 9\n}}")).unwrap().http.address();
        assert_eq!(address("10.0.0.1"), "10.0.0.1:9");
        assert_eq!(address("::1"), "[::1]:9");
        assert_eq!(address("[::1]"), "[::1]:9");
        assert_eq!(address("localhost"), "localhost:9");
    }

    #[test]
    fn material_that_cannot_serve_is_refused_with_the_remedy() {
        let pair = "cert_file = \"c\"\nkey_file = \"k\"\n";
        for (tls, part) in [
            ("key_file = \"k\"".to_owned(), "cert_pem or cert_file"),
            ("cert_file = \"c\"".to_owned(), "key_pem or key_file"),
            (format!("{pair}cert_pem = \"x\""), "cert_pem and cert_file"),
            (format!("{pair}key_pem = \"x\""), "key_pem and key_file"),
            (format!("{pair}client_ca_pem = \"x\"\nclient_ca_file = \"y\""), "client_ca_pem and client_ca_file"),
            (format!("{pair}client_ca = \"x\""), "RequireAndVerifyClientCert"),
            (format!("{pair}client_auth_type = \"RequireAndVerifyClientCert\""), "needs a client CA"),
            (format!("{pair}client_auth_type = \"Whatever\""), "Whatever"),
        ] {
            let error = decode(&format!("http {{\ntls {{\n{tls}\n}}\n}}")).unwrap_err();
            assert!(error.contains(part), "{tls}: {error}");
        }
        assert!(decode(&format!("http {{\ntls {{\n{pair}client_auth_type = \"RequireAnyClientCert\"\n}}\n}}")).is_ok());
    }

    #[test]
    fn a_timeout_of_nothing_is_refused() {
        assert!(decode("http {\nserver_read_timeout = \"0s\"\n}").unwrap_err().contains("server_read_timeout"));
    }
}
