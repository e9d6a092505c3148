//! Go's `fmt.Sprintf` for the values of the language. It never fails: what is wrong with a format is told in its
//! result, as in `%!d(string=x)`.

mod directive;
mod float;
mod verbs;

use crate::value::Value;
use directive::{Directive, Operand, Reader};
use verbs::Printer;

/// Whether any part of a value is a secret.
pub(super) fn holds_secret(value: &Value) -> bool {
    match value {
        Value::Secret(_) => true,
        Value::OptionalSecret(optional) => optional.is_secret(),
        Value::Array(items) => items.iter().any(holds_secret),
        Value::Object(object) => object.iter().any(|(_, field)| holds_secret(field)),
        _ => false,
    }
}

/// The format with its directives replaced by the arguments.
pub(super) fn sprintf(format: &str, arguments: &[Value]) -> String {
    let mut out = String::new();
    let mut reader = Reader::new(format, arguments);
    while let Some((text, directive)) = reader.next_directive() {
        out.push_str(text);
        if let Some(directive) = directive {
            write_directive(&mut out, &directive, arguments);
        }
    }
    write_surplus(&mut out, reader.surplus());
    out
}

fn write_directive(out: &mut String, directive: &Directive, arguments: &[Value]) {
    if directive.bad_width {
        out.push_str("%!(BADWIDTH)");
    }
    if directive.bad_precision {
        out.push_str("%!(BADPREC)");
    }
    match directive.operand {
        Operand::NoVerb => out.push_str("%!(NOVERB)"),
        Operand::Percent => out.push('%'),
        Operand::BadIndex => out.push_str(&format!("%!{}(BADINDEX)", directive.verb)),
        Operand::Missing => out.push_str(&format!("%!{}(MISSING)", directive.verb)),
        Operand::Argument(index) => {
            let argument = arguments.get(index).unwrap_or(&Value::Null);
            Printer::new(out, directive).argument(argument);
        }
    }
}

/// Arguments that no directive asked for.
fn write_surplus(out: &mut String, surplus: &[Value]) {
    if surplus.is_empty() {
        return;
    }
    out.push_str("%!(EXTRA ");
    let plain = Directive::plain('v');
    for (index, argument) in surplus.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        match argument {
            Value::Null => out.push_str("<nil>"),
            other => {
                out.push_str(verbs::go_type(other));
                out.push('=');
                Printer::new(out, &plain).argument(other);
            }
        }
    }
    out.push(')');
}
