//! `encoding.*` for base64 and URLs. JSON and YAML have files of their own.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

use super::Arguments;
use super::arguments::bad_argument;
use crate::eval::text;
use crate::value::{CallError, Value};

/// Go's decoder does not look at the bits that padding leaves over.
const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);

/// `from_base64(text)`: bytes, which become a string when assigned to one.
pub(super) fn from_base64(arguments: Arguments<'_>) -> Result<Value, CallError> {
    decoded(&STANDARD, arguments)
}

/// `from_URLbase64(text)`
pub(super) fn from_url_base64(arguments: Arguments<'_>) -> Result<Value, CallError> {
    decoded(&URL_SAFE, arguments)
}

fn decoded(engine: &GeneralPurpose, arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [encoded] = arguments.texts()?;
    // Line feeds are not part of the text, as in Go.
    let encoded: String = encoded.chars().filter(|character| !matches!(character, '\r' | '\n')).collect();
    match engine.decode(encoded) {
        Ok(bytes) => Ok(Value::Bytes(bytes.into())),
        Err(error) => Err(bad_argument(0, format!("is not valid base64: {error}"))),
    }
}

/// `to_base64(text)`
pub(super) fn to_base64(arguments: Arguments<'_>) -> Result<Value, CallError> {
    encoded(&STANDARD, arguments)
}

/// `to_URLbase64(text)`
pub(super) fn to_url_base64(arguments: Arguments<'_>) -> Result<Value, CallError> {
    encoded(&URL_SAFE, arguments)
}

fn encoded(engine: &GeneralPurpose, arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [value] = arguments.values()?;
    let encoded = match value {
        Value::Bytes(bytes) => engine.encode(bytes),
        _ => engine.encode(arguments.get::<String>(0)?),
    };
    Ok(Value::String(encoded.into()))
}

/// `url_encode(text)`: form encoding, a space becomes `+`.
pub(super) fn url_encode(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [plain] = arguments.texts()?;
    let mut encoded = String::with_capacity(plain.len());
    for byte in plain.bytes() {
        match byte {
            b' ' => encoded.push('+'),
            b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(Value::String(encoded.into()))
}

/// `url_decode(text)`: form encoding, `+` becomes a space.
pub(super) fn url_decode(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [encoded] = arguments.texts()?;
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_str();
    while let Some((plain, escape)) = rest.split_once('%') {
        bytes.extend(plain.bytes().map(unplus));
        let digits = escape.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let Some(byte) = byte else {
            let shown: String = escape.chars().take(2).collect();
            return Err(bad_argument(0, format!("invalid URL escape \"%{shown}\"")));
        };
        bytes.push(byte);
        rest = escape.get(2..).unwrap_or_default();
    }
    bytes.extend(rest.bytes().map(unplus));
    Ok(text(bytes))
}

const fn unplus(byte: u8) -> u8 {
    if byte == b'+' { b' ' } else { byte }
}
