//! `oarlock spec`: write a starter `config.json`, which the person then edits. The document is runc's example; where and
//! why it differs stands in docs/differences-from-runc.md.

#[cfg(test)]
mod tests;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::unistd::{getegid, geteuid};

use super::ExitCode;
use crate::bundle::{CONFIG, io_text};
use crate::cli::Global;
use crate::error::InputError;

/// The document for root. No inheritable and no ambient capabilities: CVE-2022-29162.
const EXAMPLE: &str = include_str!("spec/config.json");

/// The document for everyone else: one id mapped, no network namespace, `/sys` bound from the host, no limits.
const ROOTLESS: &str = include_str!("spec/config-rootless.json.in");

/// Write a starter config.json
#[derive(Debug, clap::Args)]
pub struct Spec {
    /// Directory to write config.json to
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Write it to this file in place of the bundle's config.json
    #[arg(short = 'f', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write a configuration that works without root
    #[arg(long)]
    rootless: bool,
}

pub fn run(args: Spec, _global: &Global) -> Result<ExitCode> {
    let document = match args.rootless {
        true => rootless(geteuid().as_raw(), getegid().as_raw()),
        false => EXAMPLE.to_owned(),
    };
    match args.config {
        Some(path) => write_new(&path, "--config", &document)?,
        None => write_new(&args.bundle.join(CONFIG), "--bundle", &document)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The document for a caller with these ids.
fn rootless(euid: u32, egid: u32) -> String {
    ROOTLESS.replace("@EUID@", &euid.to_string()).replace("@EGID@", &egid.to_string())
}

/// Writes `document` to `path`, as the flag `at` says, whole or not at all.
fn write_new(path: &Path, at: &str, document: &str) -> Result<(), InputError> {
    let refused = |e: std::io::Error| InputError::new(at, format!("{}: {}", path.display(), io_text(&e)));
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        // runc's words, byte for byte.
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            let name = path.file_name().unwrap_or(path.as_os_str()).display();
            return Err(InputError::new(at, format!("File {name} exists. Remove it first")));
        }
        file => file.map_err(refused)?,
    };
    file.write_all(document.trim_end().as_bytes()).map_err(|e| {
        // A disk that is full must not leave half a document that the next attempt then refuses to replace.
        let _ = fs::remove_file(path);
        refused(e)
    })
}
