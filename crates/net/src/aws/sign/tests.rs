//! Signatures against values that were computed apart from this code, from AWS' description of the algorithm; the first one is AWS' own
//! example.

use http::Request;
use syntax::Secret;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn signed(request: http::request::Builder, body: &[u8], token: Option<&str>, region: &str, service: &str) -> Parts {
    let mut parts = request.body(()).unwrap().into_parts().0;
    let keys = Keys { id: "AKIDEXAMPLE".to_owned(), secret: Secret::new(SECRET), session_token: token.map(Secret::new) };
    sign(&mut parts, body, &keys, &Scope { region, service, at: "2015-08-30T12:36:00Z".parse().unwrap() }).unwrap();
    parts
}

fn header<'a>(parts: &'a Parts, name: &str) -> &'a str {
    parts.headers[name].to_str().unwrap()
}

#[test]
fn awss_own_example_has_awss_own_signature() {
    let request = Request::get("https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08")
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    let parts = signed(request, b"", None, "us-east-1", "iam");
    assert_eq!(header(&parts, "x-amz-date"), "20150830T123600Z");
    assert_eq!(
        header(&parts, "authorization"),
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, \
         Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    );
    assert!(parts.headers["authorization"].is_sensitive());
}

#[test]
fn a_remote_write_request_is_signed_with_its_body_and_token() {
    let request = Request::post("http://aps.example:8080/workspaces/ws-1/api/v1/remote_write")
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "snappy")
        .header("x-prometheus-remote-write-version", "0.1.0")
        .header("x-amz-security-token", "of an earlier attempt")
        .header("user-agent", "not signed")
        .header("uber-trace-id", "not signed");
    let parts = signed(request, b"body", Some("TOKEN=="), "eu-central-1", "aps");
    assert!(header(&parts, "authorization").ends_with(
        "SignedHeaders=content-encoding;content-type;host;x-amz-date;x-amz-security-token;x-prometheus-remote-write-version, \
         Signature=a154e3f0656227216efd6331101eba267800fad7165cdb73277dec54111fd6cc"
    ));
    assert_eq!(header(&parts, "x-amz-security-token"), "TOKEN==");
    assert!(parts.headers["x-amz-security-token"].is_sensitive());
}

#[test]
fn odd_paths_parameters_and_values_have_one_form() {
    let request = Request::get("http://h.example:80//x/../a%20b/./%C3%A9?b=2&a=x%20y%2Bz&a=A&e")
        .header("x-many", "  a   b ")
        .header("x-many", "c")
        .header("host", "h.example");
    let parts = signed(request, b"", None, "r", "s");
    assert_eq!(parts.uri, "http://h.example:80/a%20b/%C3%A9?b=2&a=x%20y%2Bz&a=A&e");
    assert!(
        header(&parts, "authorization")
            .ends_with("SignedHeaders=host;x-amz-date;x-many, Signature=d2fc59770585c34ac1dca9fde441269b78f24e73ca442f58c1f542f0b478f19e")
    );
}

#[test]
fn paths_are_cleaned_and_keep_their_last_slash() {
    for (path, cleaned) in
        [("/", "/"), ("/a/b", "/a/b"), ("/a//b/", "/a/b/"), ("/../..", "/"), ("/a/..", "/"), ("/./", "/"), ("/a/%2e%2e/b", "/a/%2e%2e/b")]
    {
        assert_eq!(clean(&format!("http://h{path}").parse().unwrap()).unwrap().path(), cleaned, "{path}");
    }
}

#[test]
fn keys_that_no_header_can_hold_are_refused_without_telling_them() {
    let mut parts = Request::get("http://h/").body(()).unwrap().into_parts().0;
    let keys = Keys { id: "A".to_owned(), secret: Secret::new("s"), session_token: Some(Secret::new("hunter2\n")) };
    let error = sign(&mut parts, b"", &keys, &Scope { region: "r", service: "s", at: Timestamp::UNIX_EPOCH }).unwrap_err();
    assert!(!error.contains("hunter2") && !parts.headers.contains_key("authorization"), "{error}");
}
