//! Media types as Go's `mime.ParseMediaType` takes them: Prometheus falls back to another format where that finds an error.

/// The media type in a `Content-Type` header, without its parameters. `None` if it or a parameter is not written as it should be.
///
/// Letters are compared by callers without regard to case.
pub(crate) fn parse(header: &str) -> Option<&str> {
    let (media_type, mut rest) = header.split_at(header.find(';').unwrap_or(header.len()));
    let media_type = media_type.trim();
    check(media_type)?;
    let mut params: Vec<(String, String)> = Vec::new();
    while !rest.trim_start().is_empty() {
        let Some((name, value, after)) = param(rest) else {
            // One semicolon at the end is nothing.
            return (rest.trim() == ";").then_some(media_type);
        };
        if params.iter().any(|known| known.0 == name && known.1 != value) {
            return None;
        }
        params.push((name, value));
        rest = after;
    }
    Some(media_type)
}

fn check(media_type: &str) -> Option<()> {
    let (kind, rest) = token(media_type);
    let subtype = rest.strip_prefix('/');
    let valid = !kind.is_empty() && (rest.is_empty() || subtype.is_some_and(|subtype| !subtype.is_empty() && token(subtype).1.is_empty()));
    valid.then_some(())
}

/// A parameter from its semicolon on: its name in lower case, its value, and what follows.
fn param(text: &str) -> Option<(String, String, &str)> {
    let (name, rest) = token(text.trim_start().strip_prefix(';')?.trim_start());
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let (value, after) = value(rest)?;
    let name = Some(name.to_lowercase()).filter(|name| !name.is_empty())?;
    Some((name, value, after))
}

fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = token(text);
        return Some((value.to_owned(), rest)).filter(|(value, _)| !value.is_empty());
    };
    let (mut value, mut chars) = (String::new(), quoted.char_indices().peekable());
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &quoted[at + 1..])),
            '\r' | '\n' => return None,
            '\\' => value.push(chars.next_if(|(_, next)| is_special(*next)).map_or('\\', |(_, next)| next)),
            _ => value.push(char),
        }
    }
    None
}

/// The token at the beginning, and what follows.
fn token(text: &str) -> (&str, &str) {
    text.split_at(text.find(|char: char| !char.is_ascii_graphic() || is_special(char)).unwrap_or(text.len()))
}

fn is_special(char: char) -> bool {
    r#"()<>@,;:\"/[]?="#.contains(char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_taken_as_go_takes_them() {
        let good = [
            "text/plain",
            " text/plain ",
            "text",
            "text/plain;",
            "text/plain; ",
            "text/plain;version=0.0.4",
            "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8",
            "text/plain; Version = 0.0.4 ;a=\"b;c\\\"\" ",
            "text/plain; a=\"\"",
            "text/plain; a=b; A=b",
            "text/plain; a=b;",
        ];
        for header in good {
            assert_eq!(parse(header), Some(header.split(';').next().unwrap().trim()), "{header:?}");
        }
        let bad = [
            "",
            ";",
            "/plain",
            "text/",
            "text/plain/x",
            "text plain",
            "text/plain, text/html",
            "text/plain; version",
            "text/plain; version=",
            "text/plain; =1",
            "text/plain; ;",
            "text/plain; a=b; a=c",
            "text/plain; a=\"b",
            "text/plain; a=b c",
            "text/plain; ü=1",
        ];
        for header in bad {
            assert_eq!(parse(header), None, "{header:?}");
        }
    }
}
