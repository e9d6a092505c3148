//! `cargo xtask …`: the project's chores. Each subcommand is a file; this one only chooses.

mod arrows;
mod debian;
mod dependencies;
#[cfg(feature = "proto")]
mod proto;
mod reference;
mod run;
mod style;
mod tests;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask COMMAND

  test [ARGS]   bring what the tests need (Debian packages, unpacked under target/debian) and run `cargo test --workspace ARGS`
  debian [PKG]  only bring the packages that tests need, or those named
  check         the checks that no compiler makes: arrows between crates, dependencies, style of files, generated reference
  reference     write docs/reference from the components' schemas
  proto         write the Rust types of proto/*.proto
";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = arguments.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    match command {
        "test" => tests::run(rest),
        "debian" if rest.is_empty() => debian::fetch(&debian::TEST_PACKAGES).map(|_| ()),
        "debian" => debian::fetch(&rest.iter().map(String::as_str).collect::<Vec<_>>()).map(|_| ()),
        "check" => arrows::check().and_then(|()| dependencies::check()).and_then(|()| style::check()).and_then(|()| reference::check()),
        "reference" => reference::write(),
        #[cfg(feature = "proto")]
        "proto" => proto::write(),
        #[cfg(not(feature = "proto"))]
        "proto" => run::succeed(run::cargo().args(["run", "--quiet", "--package", "xtask", "--features", "proto", "--", "proto"])),
        "" | "help" | "-h" | "--help" => {
            print!("{HELP}");
            Ok(())
        }
        unknown => bail!("unknown command `{unknown}`\n\n{HELP}"),
    }
}
