//! Tokens from stand-ins for Google's services.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

use super::*;
use crate::support::{Answer, Asked, Server, ok, status};

/// Made for these tests; it opens nothing.
const KEY: &str = include_str!("test_key.pem");

fn granted(_: &Asked) -> Answer {
    ok(r#"{"access_token":"granted","expires_in":3600,"token_type":"Bearer"}"#)
}

fn tokens(credentials_file: &str, environment: Environment) -> GoogleTokens {
    let options = ClientOptions { environment, ..ClientOptions::default() };
    GoogleTokens::new(&GoogleIamConfig { credentials_file: credentials_file.to_owned() }, &options).unwrap()
}

/// A file with these credentials, as long as the folder lives.
fn file(folder: &tempfile::TempDir, credentials: &Value) -> String {
    let path = folder.path().join("credentials.json");
    std::fs::write(&path, credentials.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn service_account(server: &Server) -> Value {
    let url = server.url("/token");
    json!({ "type": "service_account", "client_email": "me@x.example", "private_key": KEY, "private_key_id": "k1", "token_uri": url })
}

async fn authorized(tokens: &GoogleTokens) -> Result<Parts, String> {
    let mut parts = Request::get("http://h/").body(()).unwrap().into_parts().0;
    tokens.authorize(&mut parts).await.map_err(|error| error.cause)?;
    Ok(parts)
}

fn form(asked: &Asked) -> Vec<(String, String)> {
    url::form_urlencoded::parse(&asked.body).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

#[tokio::test]
async fn a_service_account_signs_a_claim_that_its_key_verifies() {
    let server = Server::plain(granted).await;
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens(&file(&folder, &service_account(&server)), Environment::of([]));
    for _ in 0..3 {
        assert_eq!(authorized(&tokens).await.unwrap().headers["authorization"], "Bearer granted");
    }
    assert_eq!(server.count(), 1);
    let form = form(&server.last());
    assert_eq!(form[0].1, "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let parts: Vec<&str> = form[1].1.split('.').collect();
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let json = |part: &str| serde_json::from_slice::<Value>(&decoded(part)).unwrap();
    assert_eq!(json(parts[0]), json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
    let claims = json(parts[1]);
    assert_eq!((claims["iss"].as_str(), claims["scope"].as_str()), (Some("me@x.example"), Some(SCOPE)));
    assert_eq!(claims["aud"], server.url("/token"));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
    let key = RsaKeyPair::from_pkcs8(PrivatePkcs8KeyDer::from_pem_slice(KEY.as_bytes()).unwrap().secret_pkcs8_der()).unwrap();
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
    let signed = format!("{}.{}", parts[0], parts[1]);
    public.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &decoded(parts[2])).unwrap();
}

#[tokio::test]
async fn default_credentials_are_a_named_file_then_gclouds_then_the_metadata_server() {
    let server = Server::plain(granted).await;
    let user = json!({ "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
        "quota_project_id": "of-file", "token_uri": server.url("/user") });
    let home = tempfile::tempdir().unwrap();
    let host = server.address.to_string();
    let at = |named: &str| {
        Environment::of([
            ("HOME", home.path().to_str().unwrap()),
            ("GCE_METADATA_HOST", host.as_str()),
            ("GOOGLE_APPLICATION_CREDENTIALS", named),
        ])
    };
    let parts = authorized(&tokens("", at(""))).await.unwrap();
    assert_eq!(parts.headers["authorization"], "Bearer granted");
    let asked = server.last();
    assert_eq!(asked.uri.path(), "/computeMetadata/v1/instance/service-accounts/default/token");
    assert_eq!(asked.uri.query(), Some("scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fmonitoring.write"));
    assert_eq!(asked.header("metadata-flavor"), Some("Google"));
    assert!(!parts.headers.contains_key(QUOTA_PROJECT));

    let gcloud = home.path().join(".config/gcloud");
    std::fs::create_dir_all(&gcloud).unwrap();
    std::fs::write(gcloud.join("application_default_credentials.json"), user.to_string()).unwrap();
    let parts = authorized(&tokens("", at(""))).await.unwrap();
    assert_eq!(parts.headers[QUOTA_PROJECT], "of-file");
    let asked = server.last();
    assert_eq!(
        (asked.uri.path(), &asked.body[..]),
        ("/user", &b"grant_type=refresh_token&client_id=c&client_secret=s&refresh_token=r"[..])
    );

    let folder = tempfile::tempdir().unwrap();
    authorized(&tokens("", at(&file(&folder, &service_account(&server))))).await.unwrap();
    assert_eq!(server.last().uri.path(), "/token");
}

#[tokio::test]
async fn a_variable_names_the_project_that_pays() {
    let server = Server::plain(granted).await;
    let variables = [("GCE_METADATA_HOST", server.address.to_string()), ("GOOGLE_CLOUD_QUOTA_PROJECT", "mine".to_owned())];
    let environment = Environment::of([(variables[0].0, &variables[0].1), (variables[1].0, &variables[1].1)]);
    assert_eq!(authorized(&tokens("", environment)).await.unwrap().headers[QUOTA_PROJECT], "mine");
}

#[tokio::test]
async fn unusable_files_are_named_and_their_keys_not_told() {
    let server = Server::plain(|_| status(400)).await;
    let folder = tempfile::tempdir().unwrap();
    for (change, error) in [
        (json!({ "type": "external_account" }), "credentials of the type \"external_account\" are not supported"),
        (json!({ "type": "authorized_user" }), "credentials of the type \"authorized_user\" are not supported"),
        (json!({ "client_email": "" }), "has no client_email"),
        (json!({ "private_key": "hunter2" }), "the private_key can't be used: it is no PEM private key"),
        (
            json!({ "private_key": "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n" }),
            "the private_key can't be used",
        ),
        (json!({}), "cannot fetch token: 400 Bad Request"),
    ] {
        let mut credentials = service_account(&server);
        credentials.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let message = authorized(&tokens(&file(&folder, &credentials), Environment::of([]))).await.unwrap_err();
        assert!(message.starts_with("google_iam: ") && message.contains(error), "{message}");
        assert!(!message.contains("hunter2") && !message.contains("aHVu"), "{message}");
    }
    let message = authorized(&tokens("/nowhere/key.json", Environment::of([]))).await.unwrap_err();
    assert!(message.starts_with("google_iam: credentials_file: cannot read /nowhere/key.json"), "{message}");
    let path = folder.path().join("text");
    std::fs::write(&path, "hunter2").unwrap();
    let message = authorized(&tokens(path.to_str().unwrap(), Environment::of([]))).await.unwrap_err();
    assert!(message.contains("is not JSON") && !message.contains("hunter2"), "{message}");
}
