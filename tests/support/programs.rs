//! Programs and libraries that tests drive: what there is not is installed below `target/clients`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::server::repository;

/// Runs a program to its end; the reason if it cannot be run or fails.
pub fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(output)
    } else {
        let text = [output.stdout, output.stderr].concat();
        Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&text)))
    }
}

/// Installs what is not there yet. The directory is named by the version, and complete if it is there: it is made
/// under another name first.
pub fn installed(
    what: &str,
    install: impl FnOnce(&Path) -> Result<Output, String>,
) -> Result<PathBuf, String> {
    let parent = repository().join("target/clients");
    let directory = parent.join(what.replace(['@', '='], "-"));
    if directory.exists() {
        return Ok(directory);
    }
    let unfinished = parent.join(format!("unfinished-{what}-{}", std::process::id()));
    std::fs::create_dir_all(&unfinished).map_err(|error| format!("{}: {error}", unfinished.display()))?;
    let outcome = install(&unfinished);
    if outcome.is_ok() {
        // Another test process may have been faster.
        let _ = std::fs::rename(&unfinished, &directory);
    }
    let _ = std::fs::remove_dir_all(&unfinished);
    outcome.map(|_| directory)
}

/// An npm package below `target/clients`; `NODE_PATH` is its `node_modules`.
pub fn npm_package(package: &str) -> Result<PathBuf, String> {
    installed(package, |directory| {
        run(Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--prefix"])
            .arg(directory)
            .arg(package))
    })
}

/// Says that something could not be tried; in CI that is a failure.
pub fn skip(what: &str, reason: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what} is needed in CI: {reason}");
    eprintln!("SKIPPED: {what} cannot be tried here: {reason}");
}
