//! A service account's claim to be itself: a JSON Web Token (RFC 7519), signed with RS256.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

/// How long a claim holds, in seconds: the most that Google takes.
const LIFETIME: u64 = 3600;
/// Clocks differ; Go's library dates its claims back by as much.
const BACKDATED: u64 = 10;

/// A service account, as its file has it.
pub(super) struct Account<'a> {
    pub(super) email: &'a str,
    /// PEM.
    pub(super) key: &'a str,
    pub(super) key_id: Option<&'a str>,
}

impl Account<'_> {
    /// A signed claim to `scope` for the server at `audience`.
    ///
    /// # Errors
    /// The key can't be used. It is not repeated.
    pub(super) fn assertion(&self, audience: &str, scope: &str, now: SystemTime) -> Result<String, String> {
        let issued = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()).saturating_sub(BACKDATED);
        let mut header = json!({ "alg": "RS256", "typ": "JWT" });
        if let Some(id) = self.key_id {
            header["kid"] = id.into();
        }
        let claims = json!({ "iss": self.email, "scope": scope, "aud": audience, "iat": issued, "exp": issued + LIFETIME });
        let encoded = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encoded(&header), encoded(&claims));
        let key = self.key()?;
        let mut signature = vec![0; key.public().modulus_len()];
        let result = key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature);
        result.map_err(|_| "nothing can be signed with the private_key".to_owned())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn key(&self) -> Result<RsaKeyPair, String> {
        let unusable = |cause: &dyn std::fmt::Display| format!("the private_key can't be used: {cause}");
        // That error may hold parts of the key.
        let der = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|_| unusable(&"it is no PEM private key"))?;
        match &der {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|error| unusable(&error)),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|error| unusable(&error)),
            _ => Err(unusable(&"it is no RSA key")),
        }
    }
}
