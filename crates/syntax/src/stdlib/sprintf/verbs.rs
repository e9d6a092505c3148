//! One argument in one verb.

use std::fmt::Write;

use super::directive::Directive;
use super::float;
use crate::value::{Number, Value};

/// The name of the Go type that a value has there.
pub(super) const fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Number(Number::Int(_)) => "int",
        Value::Number(Number::Uint(_)) => "uint64",
        Value::Number(Number::Float(_)) => "float64",
        Value::String(_) | Value::Bytes(_) => "string",
        Value::Bool(_) => "bool",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
        Value::Function(_) => "func",
        Value::Capsule(_) => "capsule",
        Value::Secret(_) => "alloytypes.Secret",
        Value::OptionalSecret(_) => "alloytypes.OptionalSecret",
    }
}

/// Writes one argument.
pub(super) struct Printer<'a> {
    out: &'a mut String,
    directive: &'a Directive,
    /// `v` while a value is shown that the directive's verb does not fit.
    verb: char,
    /// With `v`, `#` asks for Go syntax and `+` for field names, which there are none of.
    sharp: bool,
    plus: bool,
}

impl<'a> Printer<'a> {
    pub const fn new(out: &'a mut String, directive: &'a Directive) -> Self {
        let verb = directive.verb;
        Self { out, directive, verb, sharp: directive.sharp && verb != 'v', plus: directive.plus && verb != 'v' }
    }

    pub fn argument(&mut self, value: &Value) {
        match (self.verb, value) {
            ('T', Value::Null) => self.padded("<nil>"),
            ('T', _) => self.padded(&self.cut(go_type(value))),
            ('v', Value::Null) => self.padded("<nil>"),
            _ => self.value(value, 0),
        }
    }

    fn value(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Null if depth > 0 && self.is_go_syntax() => self.out.push_str("interface {}(nil)"),
            Value::Null if depth > 0 => self.out.push_str("<nil>"),
            Value::Null => self.bad_verb(value),
            Value::Bool(flag) if matches!(self.verb, 't' | 'v') => self.padded(if *flag { "true" } else { "false" }),
            Value::Number(Number::Int(number)) => self.integer(value, number.unsigned_abs(), *number < 0),
            Value::Number(Number::Uint(number)) => self.integer(value, *number, false),
            Value::Number(Number::Float(number)) => self.float(value, *number),
            Value::String(text) => self.text(value, text),
            Value::Bytes(bytes) => self.text(value, &String::from_utf8_lossy(bytes)),
            Value::Secret(secret) => self.text(value, secret.expose()),
            Value::OptionalSecret(optional) => self.text(value, optional.expose()),
            Value::Array(items) => self.array(items, depth),
            Value::Object(object) => {
                let fields = object.iter().map(|(name, field)| (&**name, field));
                self.object(fields, depth);
            }
            Value::Function(_) | Value::Capsule(_) if matches!(self.verb, 'v' | 's') => self.padded(&value.to_string()),
            Value::Bool(_) | Value::Function(_) | Value::Capsule(_) => self.bad_verb(value),
        }
    }

    /// `%!d(string=x)`, with the directive's flags for the value.
    fn bad_verb(&mut self, value: &Value) {
        let _ = write!(self.out, "%!{}(", self.verb);
        if value.is_null() {
            self.out.push_str("<nil>");
        } else {
            let _ = write!(self.out, "{}=", go_type(value));
            let verb = std::mem::replace(&mut self.verb, 'v');
            self.value(value, 0);
            self.verb = verb;
        }
        self.out.push(')');
    }

    fn array(&mut self, items: &[Value], depth: usize) {
        let sharp = self.is_go_syntax();
        self.out.push_str(if sharp { "[]interface {}{" } else { "[" });
        for (index, item) in items.iter().enumerate() {
            self.out.push_str(if index == 0 { "" } else { self.separator() });
            self.value(item, depth + 1);
        }
        self.out.push(if sharp { '}' } else { ']' });
    }

    fn object<'v>(&mut self, fields: impl Iterator<Item = (&'v str, &'v Value)>, depth: usize) {
        let sharp = self.is_go_syntax();
        self.out.push_str(if sharp { "map[string]interface {}{" } else { "map[" });
        for (index, (name, field)) in fields.enumerate() {
            self.out.push_str(if index == 0 { "" } else { self.separator() });
            self.text(&Value::String(name.into()), name);
            self.out.push(':');
            self.value(field, depth + 1);
        }
        self.out.push(if sharp { '}' } else { ']' });
    }

    const fn is_go_syntax(&self) -> bool {
        self.directive.verb == 'v' && self.directive.sharp
    }

    const fn separator(&self) -> &'static str {
        if self.is_go_syntax() { ", " } else { " " }
    }

    fn integer(&mut self, value: &Value, magnitude: u64, negative: bool) {
        let character = u32::try_from(magnitude).ok().filter(|_| !negative).and_then(char::from_u32);
        let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
        let (prefix, digits) = match self.verb {
            'v' if self.is_go_syntax() && matches!(value, Value::Number(Number::Uint(_))) => ("0x", format!("{magnitude:x}")),
            'v' | 'd' => ("", magnitude.to_string()),
            'b' => ("0b", format!("{magnitude:b}")),
            'o' => ("0", format!("{magnitude:o}")),
            'O' if self.sharp => ("0o0", format!("{magnitude:o}")),
            'O' => ("0o", format!("{magnitude:o}")),
            'x' => ("0x", format!("{magnitude:x}")),
            'X' => ("0X", format!("{magnitude:X}")),
            'c' => return self.padded(character.encode_utf8(&mut [0; 4])),
            'q' => return self.padded(&quoted_character(character, self.plus)),
            'U' => return self.padded_with(&unicode(magnitude, negative, self.sharp), ' '),
            _ => return self.bad_verb(value),
        };
        if magnitude == 0 && self.directive.precision == Some(0) {
            return self.padded_with("", ' ');
        }
        let sign = self.sign(negative, self.plus);
        let digits = self.filled(digits, sign);
        let shown = matches!(self.verb, 'O' | 'v') || self.sharp && !(prefix == "0" && digits.starts_with('0'));
        self.padded_with(&format!("{sign}{}{digits}", if shown { prefix } else { "" }), ' ');
    }

    /// As many digits as the precision asks for; without one, as many as the width does if zeros are to fill it.
    fn filled(&self, digits: String, sign: &str) -> String {
        let wanted = match (self.directive.precision, self.directive.width) {
            (Some(precision), _) => precision,
            (None, Some(width)) if self.fills_with_zeros() => width.saturating_sub(sign.len()),
            _ => return digits,
        };
        format!("{digits:0>wanted$}")
    }

    const fn fills_with_zeros(&self) -> bool {
        self.directive.zero && !self.directive.minus
    }

    const fn sign(&self, negative: bool, plus: bool) -> &'static str {
        match (negative, plus, self.directive.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        }
    }

    fn float(&mut self, value: &Value, number: f64) {
        let precision = match (self.verb, self.directive.precision) {
            ('v' | 'g' | 'G' | 'x' | 'X' | 'b', precision) => precision,
            ('e' | 'E' | 'f' | 'F', precision) => Some(precision.unwrap_or(6)),
            _ => return self.bad_verb(value),
        };
        if !number.is_finite() {
            let text = if number.is_nan() { "NaN" } else { "Inf" };
            let sign = self.sign(number < 0.0, self.plus || number == f64::INFINITY);
            return self.padded_with(&format!("{sign}{text}"), ' ');
        }
        let digits = float::digits(number, self.verb, precision, self.sharp);
        let sign = self.sign(number.is_sign_negative(), self.plus);
        match self.directive.width {
            Some(width) if self.fills_with_zeros() => {
                let width = width.saturating_sub(sign.len());
                self.out.push_str(&format!("{sign}{digits:0>width$}"));
            }
            _ => self.padded_with(&format!("{sign}{digits}"), ' '),
        }
    }

    /// As many characters as the precision allows.
    fn cut(&self, text: &str) -> String {
        match self.directive.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text.to_owned(),
        }
    }

    fn text(&mut self, value: &Value, text: &str) {
        let cut = self.cut(text);
        match self.verb {
            'v' if self.is_go_syntax() => self.padded(&go_quoted(&cut, false)),
            'v' | 's' => self.padded(&cut),
            'q' if self.sharp && !cut.contains(|character: char| character == '`' || character.is_control() && character != '\t') => {
                self.padded(&format!("`{cut}`"))
            }
            'q' => self.padded(&go_quoted(&cut, self.plus)),
            'x' => self.padded(&hexadecimal(text, self.directive, |byte| format!("{byte:02x}"), "0x")),
            'X' => self.padded(&hexadecimal(text, self.directive, |byte| format!("{byte:02X}"), "0X")),
            _ => self.bad_verb(value),
        }
    }

    /// Text padded to the width, with zeros on the left if the flag asks for them.
    fn padded(&mut self, text: &str) {
        let fill = if self.fills_with_zeros() { '0' } else { ' ' };
        self.padded_with(text, fill);
    }

    fn padded_with(&mut self, text: &str, fill: char) {
        let missing = self.directive.width.unwrap_or(0).saturating_sub(text.chars().count());
        let padding = std::iter::repeat_n(fill, missing);
        if self.directive.minus {
            self.out.push_str(text);
            self.out.extend(padding);
        } else {
            self.out.extend(padding);
            self.out.push_str(text);
        }
    }
}

/// Each byte in hexadecimal; the precision counts bytes.
fn hexadecimal(text: &str, directive: &Directive, byte: fn(u8) -> String, prefix: &str) -> String {
    let bytes = text.bytes().take(directive.precision.unwrap_or(usize::MAX)).map(byte);
    let separator = if directive.space { " " } else { "" };
    match (directive.sharp, directive.space) {
        (true, true) => bytes.map(|byte| format!("{prefix}{byte}")).collect::<Vec<_>>().join(separator),
        (true, false) if !text.is_empty() && directive.precision != Some(0) => format!("{prefix}{}", bytes.collect::<String>()),
        _ => bytes.collect::<Vec<_>>().join(separator),
    }
}

/// A text as Go would write it in source; `ascii` escapes everything else.
fn go_quoted(text: &str, ascii: bool) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            other => quoted.push_str(&go_escaped(other, ascii)),
        }
    }
    quoted.push('"');
    quoted
}

fn quoted_character(character: char, ascii: bool) -> String {
    if character == '\'' { "'\\''".to_owned() } else { format!("'{}'", go_escaped(character, ascii)) }
}

fn go_escaped(character: char, ascii: bool) -> String {
    let code = u32::from(character);
    match character {
        '\\' => "\\\\".to_owned(),
        '\u{7}' => "\\a".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\u{b}' => "\\v".to_owned(),
        other if other.is_ascii_control() => format!("\\x{code:02x}"),
        other if other.is_control() || ascii && code > 0x7f && code <= 0xffff => format!("\\u{code:04x}"),
        _ if ascii && code > 0xffff => format!("\\U{code:08x}"),
        other => other.to_string(),
    }
}

/// `U+0041 'A'`; negative numbers in two's complement.
fn unicode(magnitude: u64, negative: bool, with_character: bool) -> String {
    let code = if negative { magnitude.wrapping_neg() } else { magnitude };
    match u32::try_from(code).ok().and_then(char::from_u32).filter(|character| !character.is_control()) {
        Some(character) if with_character => format!("U+{code:04X} '{character}'"),
        _ => format!("U+{code:04X}"),
    }
}
