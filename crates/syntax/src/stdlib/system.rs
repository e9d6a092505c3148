//! What comes from the surrounding system: `constants`, `sys.env`, `file.path_join`.

use std::env::consts;

use super::Arguments;
use crate::eval::text;
use crate::value::{CallError, Object, Value};

/// `constants.{hostname, os, arch, version}`
pub(super) fn constants(version: &str) -> Object {
    let text = |text: &str| Value::String(text.into());
    Object::from_iter([
        ("arch", text(go_arch(consts::ARCH))),
        ("hostname", text(&hostname())),
        ("os", text(go_os(consts::OS))),
        ("version", text(&normalised(version))),
    ])
}

/// `1.2.3` and `v1.2.3` become `v1.2.3`, nothing becomes `v0.0.0`.
fn normalised(version: &str) -> String {
    match version.strip_prefix('v').unwrap_or(version) {
        "" => "v0.0.0".to_owned(),
        number => format!("v{number}"),
    }
}

fn go_os(os: &str) -> &str {
    match os {
        "macos" => "darwin",
        other => other,
    }
}

fn go_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// Without a system call of our own: Linux shows the name in `/proc`, shells and Windows in the environment.
fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}

/// An environment variable; empty if it is not set.
pub(super) fn env(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [name] = arguments.texts()?;
    // Such names cannot be set, and asking for them may panic.
    let possible = !name.is_empty() && !name.contains(['=', '\0']);
    let value = possible.then(|| std::env::var_os(&name)).flatten().unwrap_or_default();
    Ok(text(value.into_encoded_bytes()))
}

/// The parts joined with `/`, empty ones left out, `.` and `..` resolved where the text allows.
pub(super) fn path_join(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let parts = arguments.all_texts()?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    let path = if parts.is_empty() { String::new() } else { cleaned(&parts.join("/")) };
    Ok(Value::String(path.into()))
}

fn cleaned(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if kept.last().is_some_and(|last| *last != "..") => {
                kept.pop();
            }
            ".." if rooted => {}
            other => kept.push(other),
        }
    }
    match (rooted, kept.is_empty()) {
        (true, _) => format!("/{}", kept.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => kept.join("/"),
    }
}
