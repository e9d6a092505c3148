//! What token servers answer (RFC 6749 §5), made a header.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;
use url::form_urlencoded;

use crate::body::read_body;
use crate::client::Client;
use crate::connection::AnswerBody;
use crate::error::{Step, StepError};
use crate::headers::sensitive;

/// Token answers are a few hundred bytes; Go reads as much.
const MAX_ANSWER: usize = 1 << 20;
/// A server that does not answer must not hold up requests for ever.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// A token.
#[derive(Debug)]
pub(crate) struct Token {
    /// The `Authorization` header.
    pub(crate) header: HeaderValue,
    /// How long it holds from now on; `None` if the server doesn't say.
    pub(crate) lifetime: Option<Duration>,
}

/// An answer that was read whole. Who it is from is said by the errors' first word.
pub(crate) struct Answer {
    who: &'static str,
    pub(crate) status: StatusCode,
    is_form: bool,
    pub(crate) body: Bytes,
}

/// An error that is told as `who: cause`.
pub(crate) fn failed(who: &str, cause: impl std::fmt::Display) -> StepError {
    StepError::new(Step::Credentials, format!("{who}: {cause}"))
}

/// Sends a request and reads the answer, whatever its status.
///
/// # Errors
/// No answer came in time.
pub(crate) async fn ask(client: &Client, who: &'static str, request: Request<Full<Bytes>>) -> Result<Answer, StepError> {
    let exchange = async {
        // Boxed, as the client itself may ask for a token: the type would be infinite. This client needs none.
        let response = Box::pin(client.send(request)).await.map_err(|error| failed(who, error))?;
        Answer::read(who, response).await
    };
    tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or_else(|_| Err(failed(who, format!("no answer within {TIMEOUT:?}"))))
}

/// A request with a form for a body.
///
/// # Errors
/// The URL can't be asked.
pub(crate) fn form(who: &str, url: &str, fields: &[(&str, &str)]) -> Result<Request<Full<Bytes>>, StepError> {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    Request::post(url)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| failed(who, error))
}

impl Answer {
    async fn read(who: &'static str, response: Response<AnswerBody>) -> Result<Self, StepError> {
        let status = response.status();
        let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        // So it is with a few old servers; Go's rule.
        let is_form = ["application/x-www-form-urlencoded", "text/plain"].iter().any(|form| kind.eq_ignore_ascii_case(form));
        let body = read_body(response, MAX_ANSWER).await.map_err(|error| failed(who, error))?;
        Ok(Self { who, status, is_form, body })
    }

    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The token in the answer.
    ///
    /// # Errors
    /// There is none; the error says what the server's code for the reason is, and nothing else of the answer.
    pub(crate) fn token(&self) -> Result<Token, StepError> {
        let answer = match self.is_form {
            true => Value::Object(form_urlencoded::parse(&self.body).map(|(name, value)| (name.into(), value.into())).collect()),
            false => self.json(),
        };
        let error = answer["error"].as_str();
        if !self.status.is_success() || error.is_some_and(|error| !error.is_empty()) {
            // Error codes are public (RFC 6749 §5.2); the rest of the answer is not shown.
            let code: String = error.unwrap_or("no reason given").chars().take(100).collect();
            return Err(failed(self.who, format!("cannot fetch token: {}: {code}", self.status)));
        }
        let Some(text) = answer["access_token"].as_str().filter(|text| !text.is_empty()) else {
            return Err(failed(self.who, "the answer has no access_token"));
        };
        let scheme = match answer["token_type"].as_str() {
            None => "Bearer",
            Some(scheme) if scheme.is_empty() || scheme.eq_ignore_ascii_case("bearer") => "Bearer",
            Some(scheme) => scheme,
        };
        let header = sensitive(&format!("{scheme} {text}"));
        let header = header.ok_or_else(|| failed(self.who, "the token holds characters that no header can hold"))?;
        Ok(Token { header, lifetime: lifetime(&answer) })
    }
}

/// `expires_in`, or Azure's `expires_on`, in seconds; as numbers or as text.
fn lifetime(answer: &Value) -> Option<Duration> {
    let seconds = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok()).filter(|seconds| *seconds > 0);
    let left = || {
        let at = std::time::UNIX_EPOCH + Duration::from_secs(seconds(&answer["expires_on"])?.min(u64::from(u32::MAX)));
        at.duration_since(std::time::SystemTime::now()).ok()
    };
    let given = seconds(&answer["expires_in"]).map(|seconds| Duration::from_secs(seconds.min(u64::from(u32::MAX))));
    given.or_else(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, is_form: bool, body: &str) -> Answer {
        Answer { who: "test", status: StatusCode::from_u16(status).unwrap(), is_form, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    #[test]
    fn tokens_come_as_json_or_as_a_form() {
        for (is_form, body, header, seconds) in [
            (false, r#"{"access_token":"t","token_type":"bearer","expires_in":60}"#, "Bearer t", Some(60)),
            (false, r#"{"access_token":"t","expires_in":"61"}"#, "Bearer t", Some(61)),
            (false, r#"{"access_token":"t","token_type":"MAC","expires_in":0}"#, "MAC t", None),
            (true, "access_token=t%2B&expires_in=62&token_type=Bearer", "Bearer t+", Some(62)),
        ] {
            let token = answer(200, is_form, body).token().unwrap();
            assert_eq!((token.header.to_str().unwrap(), token.lifetime), (header, seconds.map(Duration::from_secs)), "{body}");
            assert!(token.header.is_sensitive());
        }
    }

    #[test]
    fn a_point_in_time_is_a_lifetime_too() {
        let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 1000;
        let token = answer(200, false, &format!(r#"{{"access_token":"t","expires_on":"{at}"}}"#)).token().unwrap();
        assert!((900..=1000).contains(&token.lifetime.unwrap().as_secs()));
    }

    #[test]
    fn refusals_tell_the_code_and_nothing_else() {
        for (status, body, error) in [
            (400, r#"{"error":"invalid_client","hint":"hunter2"}"#, "test: cannot fetch token: 400 Bad Request: invalid_client"),
            (200, r#"{"error":"slow_down"}"#, "test: cannot fetch token: 200 OK: slow_down"),
            (500, "hunter2", "test: cannot fetch token: 500 Internal Server Error: no reason given"),
            (200, r#"{"access_token":""}"#, "test: the answer has no access_token"),
            (200, r#"{"access_token":"a\nhunter2"}"#, "test: the token holds characters that no header can hold"),
        ] {
            assert_eq!(answer(status, false, body).token().unwrap_err().cause, error);
        }
    }
}
