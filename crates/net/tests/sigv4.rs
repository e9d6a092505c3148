//! Requests signed for AWS, with keys from everywhere that AWS' tools find them, against stand-ins for AWS' services.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::time::Duration;

use net::{Client, ClientOptions, CloudAuthConfig, Environment, Error, HttpClientConfig, Step};
use support::{Answer, Asked, Server, config, fetch, ok, redirect, status};

/// A client that signs by the arguments of this `sigv4` block.
fn signing(block: &str, variables: &[(&str, &str)]) -> Client {
    let cloud: CloudAuthConfig = syntax::decode_str(&format!("sigv4 {{\n{block}\n}}"), &syntax::Scope::new()).unwrap();
    let mut all = [("", ""); 8];
    all[..variables.len()].copy_from_slice(variables);
    let options = ClientOptions { environment: Environment::of(all), ..ClientOptions::default() };
    Client::with_cloud_auth(&HttpClientConfig::default(), &cloud, options).unwrap()
}

/// A server that takes everything.
async fn receiver() -> Server {
    Server::plain(|_| ok("")).await
}

/// The key that the last request was signed with, and for which region and service.
fn signed(asked: &Asked) -> (String, String) {
    let header = asked.header("authorization").unwrap_or("none at all");
    let credential = header.strip_prefix("AWS4-HMAC-SHA256 Credential=").and_then(|rest| rest.split(',').next()).unwrap_or("none///");
    let parts: Vec<&str> = credential.split('/').collect();
    (parts[0].to_owned(), format!("{} {}", parts[2], parts[3]))
}

async fn key_of(client: &Client, server: &Server) -> Result<String, Error> {
    fetch(client, &server.url("/")).await?;
    Ok(signed(&server.last()).0)
}

fn form(asked: &Asked) -> Vec<(String, String)> {
    url::form_urlencoded::parse(&asked.body).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

fn has(form: &[(String, String)], name: &str, value: &str) -> bool {
    form.iter().any(|(field, of)| field == name && of == value)
}

fn in_an_hour() -> String {
    (jiff::Timestamp::now() + Duration::from_secs(3600)).to_string()
}

/// STS, which gives keys that are called after the role.
fn roles(asked: &Asked) -> Answer {
    let form = form(asked);
    let role = &form.iter().find(|(name, _)| name == "RoleArn").unwrap().1;
    ok(&format!(
        "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>OF-{role}</AccessKeyId>\
         <SecretAccessKey>secret</SecretAccessKey><SessionToken>session+&amp;</SessionToken><Expiration>{}</Expiration>\
         </Credentials></AssumeRoleResult></AssumeRoleResponse>",
        in_an_hour()
    ))
}

/// What containers and machines answer.
fn keys(id: &str) -> Answer {
    let expiry = in_an_hour();
    ok(&format!(r#"{{"Code":"Success","AccessKeyId":"{id}","SecretAccessKey":"secret","Token":"session","Expiration":"{expiry}"}}"#))
}

const STATIC: &str = "region = \"eu-central-1\"\naccess_key = \"AKIDCONFIGURED\"\nsecret_key = \"hunter2\"";

#[tokio::test]
async fn configured_keys_sign_each_request_for_region_and_service() {
    let server = receiver().await;
    fetch(&signing(STATIC, &[]), &server.url("//api/../write")).await.unwrap();
    let asked = server.last();
    assert_eq!(signed(&asked), ("AKIDCONFIGURED".to_owned(), "eu-central-1 aps".to_owned()));
    assert_eq!(asked.uri.path(), "/write", "the path is as clean as the one that was signed");
    assert!(asked.header("x-amz-date").unwrap().ends_with('Z') && asked.header("x-amz-security-token").is_none());
    assert!(!format!("{:?}", asked.headers).contains("hunter2"));
    fetch(&signing(&format!("{STATIC}\nservice_name = \"es\""), &[]), &server.url("/")).await.unwrap();
    assert_eq!(signed(&server.last()).1, "eu-central-1 es");
}

#[tokio::test]
async fn a_signature_is_for_one_host() {
    let other = receiver().await;
    let target = format!("http://localhost:{}/", other.address.port());
    let server = Server::plain(move |_| redirect(&target)).await;
    fetch(&signing(STATIC, &[]), &server.url("/")).await.unwrap();
    assert!(server.last().header("authorization").is_some());
    assert_eq!((other.last().header("authorization"), other.last().header("x-amz-date")), (None, None));
}

#[tokio::test]
async fn the_environment_gives_keys_and_region() {
    let server = receiver().await;
    let client = signing(
        "",
        &[("AWS_ACCESS_KEY_ID", "ENV"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "session"), ("AWS_DEFAULT_REGION", "r-1")],
    );
    fetch(&client, &server.url("/")).await.unwrap();
    let asked = server.last();
    assert_eq!(signed(&asked), ("ENV".to_owned(), "r-1 aps".to_owned()));
    assert_eq!(asked.header("x-amz-security-token"), Some("session"));
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let server = receiver().await;
    let keys = [("AWS_ACCESS_KEY_ID", "ENV"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let nowhere = [("HOME", "/nowhere"), ("AWS_EC2_METADATA_DISABLED", "true")];
    for (block, variables, part) in [
        ("", &keys[..], "region not configured in sigv4 or in default credentials chain"),
        ("region = \"r\"", &nowhere[..], "no credentials in environment variables, /nowhere/.aws/credentials or /nowhere/.aws/config"),
        ("region = \"r\"\nprofile = \"gone\"", &nowhere[..], "there is no profile \"gone\" in /nowhere/.aws/credentials"),
        ("region = \"r\"", &[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")], "AWS_ROLE_ARN is not"),
    ] {
        let error = fetch(&signing(block, variables), &server.url("/")).await.unwrap_err();
        assert_eq!(error.step, Step::Credentials);
        assert!(error.cause.starts_with("sigv4: ") && error.cause.contains(part), "{error}");
    }
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn a_role_is_assumed_with_the_keys_and_kept() {
    let (server, sts) = (receiver().await, Server::plain(roles).await);
    let client = signing(
        &format!("{STATIC}\nrole_arn = \"arn:aws:iam::1:role/r\"\nexternal_id = \"ext\""),
        &[("AWS_ENDPOINT_URL_STS", &sts.url("/"))],
    );
    for _ in 0..3 {
        fetch(&client, &server.url("/")).await.unwrap();
    }
    assert_eq!(sts.count(), 1);
    let asked = sts.last();
    assert_eq!(signed(&asked), ("AKIDCONFIGURED".to_owned(), "eu-central-1 sts".to_owned()));
    let form = form(&asked);
    for (name, value) in [
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("ExternalId", "ext"),
        ("DurationSeconds", "900"),
        ("RoleArn", "arn:aws:iam::1:role/r"),
    ] {
        assert!(has(&form, name, value), "{name}: {form:?}");
    }
    assert!(server.last().header("authorization").unwrap().contains("Credential=OF-arn:aws:iam::1:role/r/"));
    assert_eq!(server.last().header("x-amz-security-token"), Some("session+&"));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3550)).await;
    tokio::time::resume();
    fetch(&client, &server.url("/")).await.unwrap();
    assert_eq!(sts.count(), 2, "renewed before the keys expire");
}

#[tokio::test]
async fn a_refused_role_is_told_without_what_aws_repeats_of_the_request() {
    let server = receiver().await;
    for (code, shown) in [("AccessDenied", "AccessDenied: told"), ("SignatureDoesNotMatch", "SignatureDoesNotMatch")] {
        let sts = Server::plain(move |_| {
            let body = format!("<ErrorResponse><Error><Code>{code}</Code><Message>told</Message></Error></ErrorResponse>");
            http::Response::builder().status(403).body(body.into()).unwrap()
        })
        .await;
        let client = signing(&format!("{STATIC}\nrole_arn = \"arn\""), &[("AWS_ENDPOINT_URL", &sts.url("/"))]);
        let error = fetch(&client, &server.url("/")).await.unwrap_err();
        assert_eq!(&*error.cause, format!("sigv4: cannot assume role arn: 403 Forbidden: {shown}"));
    }
}

#[tokio::test]
async fn a_web_identity_is_exchanged_without_keys() {
    let (server, sts) = (receiver().await, Server::plain(roles).await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "jwt\n").unwrap();
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
        ("AWS_ROLE_ARN", "web"),
        ("AWS_ROLE_SESSION_NAME", "me"),
        ("AWS_REGION", "r"),
        ("AWS_ENDPOINT_URL_STS", &sts.url("/")),
    ];
    assert_eq!(key_of(&signing("", &variables), &server).await.unwrap(), "OF-web");
    let form = form(&sts.last());
    for (name, value) in [("Action", "AssumeRoleWithWebIdentity"), ("WebIdentityToken", "jwt"), ("RoleSessionName", "me")] {
        assert!(has(&form, name, value), "{name}: {form:?}");
    }
    assert_eq!(sts.last().header("authorization"), None);
}

/// A home directory with AWS' files.
fn home(config: &str, credentials: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    std::fs::write(home.path().join(".aws/config"), config).unwrap();
    std::fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
    home
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn profiles_hold_keys_or_refer_to_others() {
    let (server, sts) = (receiver().await, Server::plain(roles).await);
    let home = home(
        "[default]\nregion = of-default\n[profile chained]\nregion = of-chained\nrole_arn = second\nsource_profile = middle\n\
         external_id = e\nduration_seconds = 1200\n[profile middle]\nregion = x\nrole_arn = first\nsource_profile = base\n\
         [profile own]\nregion = x\nrole_arn = own\nsource_profile = own\n[profile circle]\nregion = x\nrole_arn = a\nsource_profile = ring\n\
         [profile ring]\nregion = x\nrole_arn = b\nsource_profile = circle\n[profile sso]\nregion = x\nsso_session = s\n\
         [profile mfa]\nregion = x\nrole_arn = m\nmfa_serial = 1\nsource_profile = base\n\
         [profile env]\nregion = x\nrole_arn = of-env\ncredential_source = Environment\n",
        "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = s\n[base]\naws_access_key_id = BASE\naws_secret_access_key = s\n\
         [own]\naws_access_key_id = OWN\naws_secret_access_key = s\n",
    );
    let sts_url = sts.url("/");
    let variables = [("HOME", path(home.path())), ("AWS_ENDPOINT_URL_STS", &sts_url)];
    fetch(&signing("", &variables), &server.url("/")).await.unwrap();
    assert_eq!(signed(&server.last()), ("DEFAULT".to_owned(), "of-default aps".to_owned()));

    fetch(&signing("profile = \"chained\"", &variables), &server.url("/")).await.unwrap();
    assert_eq!(signed(&server.last()), ("OF-second".to_owned(), "of-chained aps".to_owned()));
    let asked = sts.asked.lock().clone();
    assert_eq!((signed(&asked[0]).0.as_str(), signed(&asked[1]).0.as_str()), ("BASE", "OF-first"));
    assert!(has(&form(&asked[1]), "ExternalId", "e") && has(&form(&asked[1]), "DurationSeconds", "1200"));

    let with_keys = [variables[0], variables[1], ("AWS_ACCESS_KEY_ID", "ENV"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_PROFILE", "own")];
    assert_eq!(key_of(&signing("", &[variables[0], variables[1], ("AWS_PROFILE", "own")]), &server).await.unwrap(), "OF-own");
    assert_eq!(signed(&sts.last()).0, "OWN");
    assert_eq!(key_of(&signing("region = \"r\"", &with_keys), &server).await.unwrap(), "ENV", "keys go before a variable's profile");
    assert_eq!(key_of(&signing("profile = \"env\"", &with_keys), &server).await.unwrap(), "OF-of-env");
    for (profile, part) in
        [("circle", "profiles refer to each other"), ("sso", "sso_session of profile \"sso\" is not supported"), ("mfa", "second factor")]
    {
        let error = key_of(&signing(&format!("profile = \"{profile}\""), &variables), &server).await.unwrap_err();
        assert!(error.cause.contains(part), "{error}");
    }
}

#[tokio::test]
async fn rotated_keys_of_a_file_are_noticed() {
    let server = receiver().await;
    let keys = |id: &str| format!("[default]\nregion = r\naws_access_key_id = {id}\naws_secret_access_key = s\n");
    let home = home("", &keys("FIRST"));
    let client = signing("", &[("HOME", path(home.path()))]);
    assert_eq!(key_of(&client, &server).await.unwrap(), "FIRST");
    std::fs::write(home.path().join(".aws/credentials"), keys("SECOND")).unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    assert_eq!(key_of(&client, &server).await.unwrap(), "SECOND");
}

#[tokio::test]
async fn containers_give_keys_to_those_who_hold_their_token() {
    let server = receiver().await;
    let agent = Server::plain(|asked| if asked.header("authorization") == Some("token") { keys("CONTAINER") } else { status(401) }).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "token\n").unwrap();
    let url = agent.url("/v1/credentials");
    let full = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str());
    for token in [("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token"), ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path(&file))] {
        let client = signing("region = \"r\"", &[full, token]);
        for _ in 0..2 {
            assert_eq!(key_of(&client, &server).await.unwrap(), "CONTAINER");
        }
    }
    assert_eq!((agent.count(), agent.last().uri.path()), (2, "/v1/credentials"));
    let error = key_of(&signing("region = \"r\"", &[full]), &server).await.unwrap_err();
    assert_eq!(&*error.cause, "sigv4: /v1/credentials answers 401 Unauthorized");
    let far = signing("region = \"r\"", &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://evil.example/")]);
    assert!(key_of(&far, &server).await.unwrap_err().cause.contains("not fetched without TLS"));
}

#[tokio::test]
async fn machines_give_the_keys_of_their_role() {
    let server = receiver().await;
    let metadata = Server::plain(|asked| {
        let has_token = asked.header("x-aws-ec2-metadata-token") == Some("once");
        match (asked.method.as_str(), asked.uri.path(), has_token) {
            ("PUT", "/latest/api/token", _) if asked.header("x-aws-ec2-metadata-token-ttl-seconds").is_some() => ok("once"),
            ("GET", "/latest/meta-data/iam/security-credentials/", true) => ok("my-role\n"),
            ("GET", "/latest/meta-data/iam/security-credentials/my-role", true) => keys("MACHINE"),
            _ => status(401),
        }
    })
    .await;
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url("/")), ("HOME", "/nowhere".to_owned())];
    let client = signing("region = \"r\"", &[(variables[0].0, &variables[0].1), (variables[1].0, &variables[1].1)]);
    assert_eq!(key_of(&client, &server).await.unwrap(), "MACHINE");
    assert_eq!(key_of(&client, &server).await.unwrap(), "MACHINE");
    assert_eq!(metadata.count(), 3);
    assert_eq!(server.last().header("x-amz-security-token"), Some("session"));
}

#[tokio::test]
async fn expired_and_broken_answers_are_refused() {
    let server = receiver().await;
    for (body, part) in [
        (r#"{"AccessKeyId":"A","SecretAccessKey":"hunter2","Expiration":"2020-01-01T00:00:00Z"}"#, "have expired at 2020-01-01"),
        (r#"{"AccessKeyId":"A","SecretAccessKey":"hunter2","Expiration":"soon"}"#, "expiry is no time"),
        (r#"{"AccessKeyId":"A"}"#, "has no SecretAccessKey"),
        ("hunter2", "has no AccessKeyId"),
        (r#"{"Code":"AssumeRoleUnauthorizedAccess"}"#, "AssumeRoleUnauthorizedAccess"),
    ] {
        let agent = Server::plain(move |_| ok(body)).await;
        let error =
            key_of(&signing("region = \"r\"", &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &agent.url("/"))]), &server).await.unwrap_err();
        assert!(error.cause.contains(part) && !error.cause.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn other_headers_of_the_configuration_are_signed_too() {
    let server = receiver().await;
    let cloud: CloudAuthConfig = syntax::decode_str(&format!("sigv4 {{\n{STATIC}\n}}"), &syntax::Scope::new()).unwrap();
    let http = config("http_headers = { \"X-Scope-OrgID\" = [\"tenant\"] }");
    let client = Client::with_cloud_auth(&http, &cloud, ClientOptions::default()).unwrap();
    fetch(&client, &server.url("/")).await.unwrap();
    assert!(server.last().header("authorization").unwrap().contains("SignedHeaders=host;x-amz-date;x-scope-orgid,"));
}
