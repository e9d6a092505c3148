//! The URL of a target, put together as Prometheus does it (Go's `net/url`): what is special in a path or a query is escaped.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// `scheme://address/path?params`, parameters in name order.
pub(crate) fn url(scheme: &str, address: &str, path: &str, params: &BTreeMap<&str, Vec<&str>>) -> String {
    let mut url = format!("{scheme}://{address}");
    if !path.is_empty() && !path.starts_with('/') {
        url.push('/');
    }
    escape(path, |byte| b"$&+,/:;=@".contains(&byte), &mut url);
    let pairs = params.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    for (number, (name, value)) in pairs.enumerate() {
        url.push(if number == 0 { '?' } else { '&' });
        escape_query(name, &mut url);
        url.push('=');
        escape_query(value, &mut url);
    }
    url
}

fn escape_query(text: &str, into: &mut String) {
    for (number, part) in text.split(' ').enumerate() {
        if number > 0 {
            into.push('+');
        }
        escape(part, |_| false, into);
    }
}

fn escape(text: &str, allowed: impl Fn(u8) -> bool, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || allowed(byte) {
            into.push(byte as char);
        } else {
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_escaped_as_go_escapes_them() {
        let none = BTreeMap::new();
        assert_eq!(url("http", "h:80", "/metrics", &none), "http://h:80/metrics");
        assert_eq!(url("https", "[::1]:9", "a b?c%/$&+,:;=@~", &none), "https://[::1]:9/a%20b%3Fc%25/$&+,:;=@~");
        assert_eq!(url("http", "h", "", &none), "http://h");
        let params = BTreeMap::from([("match[]", vec!["{a=\"b c\"}", "x"]), ("b", vec!["ü&"])]);
        assert_eq!(url("http", "h", "/", &params), "http://h/?b=%C3%BC%26&match%5B%5D=%7Ba%3D%22b+c%22%7D&match%5B%5D=x");
    }
}
