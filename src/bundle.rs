//! From a bundle directory to the OCI document: finds, reads and parses `config.json`, and names every mistake in it by
//! its JSON path. Not for judging what the document asks for: that is `plan`.

mod explain;
mod repair;
mod strict;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use oci_spec::runtime::{LinuxResources, Mount, Process, Spec};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::InputError;
use crate::sys::again::open;
use strict::Strict;

/// The runtime-spec version that this program implements, and the newest that `features` names.
pub const OCI_VERSION: &str = "1.3.0";

/// The file name that the runtime-spec gives the configuration (bundle.md).
pub const CONFIG: &str = "config.json";

/// Largest configuration that is read, in bytes. Real ones with a seccomp profile are about 100 KB; the bound only keeps
/// a wrong file (a disk image, a sparse file) from filling the memory.
const MAX_BYTES: u64 = 16 << 20;

/// A bundle whose configuration has been read.
#[derive(Debug)]
pub struct Bundle {
    /// The bundle directory: absolute, without symbolic links (what runc's chdir + getcwd gives, and what clients find in
    /// `state`).
    pub dir: PathBuf,
    /// The configuration file that was read.
    pub config_path: PathBuf,
    pub spec: Spec,
}

/// The directory's path without symlinks, asked of the kernel: realpath(3) looks at one component after the other.
fn resolve(dir: &Path) -> std::io::Result<PathBuf> {
    let fd = open(dir, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Reads the bundle in `dir`, with its configuration from `config` (relative to the working directory) or from
/// `config.json` in it. What the specification wants reported but not refused is appended to `warn`.
///
/// # Errors
/// [`InputError`] with the flag (`--bundle`, `--config`) or the JSON path that is wrong.
pub fn load(dir: &Path, config: Option<&Path>, warn: &mut Vec<String>) -> Result<Bundle> {
    let dir = resolve(dir).map_err(|e| InputError::new("--bundle", format!("{}: {}", dir.display(), io_text(&e))))?;
    let (config_path, flag) = match config {
        Some(file) => (std::path::absolute(file)?, "--config"),
        None => (dir.join(CONFIG), "--bundle"),
    };
    let bytes = read(&config_path, config.unwrap_or(Path::new(CONFIG)), flag)?;
    let spec = parse(&bytes, warn)?;
    Ok(Bundle { dir, config_path, spec })
}

/// The bytes of `path`; `shown` is its name in messages and `flag` the option that led to it.
fn read(path: &Path, shown: &Path, flag: &str) -> Result<Vec<u8>> {
    let refused = |what: String| InputError::new(flag, what);
    // O_NONBLOCK: a fifo without a writer must be refused, not waited for. O_NOCTTY: nor may a terminal become ours.
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).map_err(|e| {
            match e.kind() {
                // runc's words, byte for byte.
                std::io::ErrorKind::NotFound if !matches!(flag, "--process" | "FILE") => {
                    refused(format!("JSON specification file {} not found", shown.display()))
                        .hint("`oarlock spec` writes a starter file")
                }
                _ => refused(format!("{}: {}", path.display(), io_text(&e))),
            }
        })?;
    let meta = file.metadata().with_context(|| path.display().to_string())?;
    if !meta.is_file() {
        return Err(refused(format!("{}: not a regular file", path.display())).into());
    }
    if meta.len() > MAX_BYTES {
        return Err(refused(format!("{}: larger than {} MiB", path.display(), MAX_BYTES >> 20)).into());
    }
    read_all(&file, meta.len()).map_err(|e| refused(format!("{}: {}", path.display(), io_text(&e))).into())
}

/// `len` bytes or whatever is there by now, bounded: the file may grow while it is read.
fn read_all(file: &File, len: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len as usize + 1);
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Parses a configuration. Only a document that the model of the `oci-spec` crate refuses, or that has a section the
/// model lacks, pays for the second, slower way through [`repair`].
pub fn parse(bytes: &[u8], warn: &mut Vec<String>) -> Result<Spec> {
    let text = std::str::from_utf8(bytes).map_err(|e| explain::not_utf8(bytes, e.valid_up_to()))?;
    let mut spec = match fast::<Spec>(text) {
        Ok(spec) if !text.contains("\"freebsd\"") => spec,
        _ => {
            let mut document = parse_value(text)?;
            repair::refuse_foreign(&document)?;
            repair::config(&mut document, warn);
            typed(&document)?
        }
    };
    drop_absent_pids_limit(&mut spec, text);
    check_version(spec.version(), warn)?;
    Ok(spec)
}

/// The crate reads `"pids": {}` as a limit of 0, which would be a real one. Only a 0 is worth a second look.
fn drop_absent_pids_limit(spec: &mut Spec, text: &str) {
    let Some(resources) = spec.linux_mut().as_mut().and_then(|linux| linux.resources_mut().as_mut()) else { return };
    if resources.pids().is_none_or(|pids| pids.limit() != 0) {
        return;
    }
    let document: Value = serde_json::from_str(text).unwrap_or_default();
    if document.pointer("/linux/resources/pids/limit").is_none_or(Value::is_null) {
        resources.set_pids(None);
    }
}

/// Reads the document of `exec --process`: what `process` is in a configuration.
///
/// # Errors
/// As for a configuration; JSON paths begin with `process`.
pub fn load_process(path: &Path, warn: &mut Vec<String>) -> Result<Process> {
    parse_process(&read(path, path, "--process")?, warn)
}

/// The same, of its bytes.
pub fn parse_process(bytes: &[u8], warn: &mut Vec<String>) -> Result<Process> {
    let text = std::str::from_utf8(bytes).map_err(|e| explain::not_utf8(bytes, e.valid_up_to()))?;
    if let Ok(process) = fast(text) {
        return Ok(process);
    }
    #[derive(Deserialize)]
    struct Document {
        process: Process,
    }
    let mut document = serde_json::json!({ "process": parse_value(text)? });
    repair::config(&mut document, warn);
    Ok(typed::<Document>(&document)?.process)
}

/// Reads the document of `mounts add` and `mounts remove`: what `mounts` is in a configuration.
///
/// # Errors
/// As for a configuration; JSON paths begin with `mounts`.
pub fn load_mounts(path: &Path) -> Result<Vec<Mount>> {
    parse_mounts(&read(path, path, "FILE")?)
}

/// The same, of its bytes.
pub fn parse_mounts(bytes: &[u8]) -> Result<Vec<Mount>> {
    #[derive(Deserialize)]
    struct Document {
        mounts: Vec<Mount>,
    }
    let text = std::str::from_utf8(bytes).map_err(|e| explain::not_utf8(bytes, e.valid_up_to()))?;
    let mounts: Value = serde_json::from_str(text).map_err(|e| explain::syntax(&e))?;
    Ok(typed::<Document>(&serde_json::json!({ "mounts": mounts }))?.mounts)
}

/// Reads the document of `update --resources`: what `linux.resources` is in a configuration.
pub fn parse_resources(bytes: &[u8]) -> Result<LinuxResources, InputError> {
    let text = std::str::from_utf8(bytes).map_err(|e| explain::not_utf8(bytes, e.valid_up_to()))?;
    resources(parse_value(text)?)
}

/// The same, of JSON that has been read.
pub fn resources(mut document: Value) -> Result<LinuxResources, InputError> {
    repair::change(&mut document);
    typed(&document)
}

/// The one way that a sound document takes.
fn fast<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    let mut document = serde_json::Deserializer::from_str(text);
    let spec = T::deserialize(Strict(&mut document))?;
    document.end()?;
    Ok(spec)
}

/// `text` as a JSON object; a syntax error is named by line and column.
fn parse_value(text: &str) -> Result<Value, InputError> {
    let value = serde_json::from_str::<Value>(text).map_err(|e| explain::syntax(&e))?;
    match value {
        Value::Object(_) => Ok(value),
        other => Err(InputError::new("(document)", format!("expected an object, found {}", explain::kind(&other)))),
    }
}

/// `value` as a `T`; a wrong type or name is named by its JSON path.
fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, InputError> {
    let mut track = serde_path_to_error::Track::new();
    T::deserialize(Strict(serde_path_to_error::Deserializer::new(value, &mut track)))
        .map_err(|e| explain::mismatch(&track.path().to_string(), &e))
}

/// Lax, as clients need it: every 1.x is accepted, and the 0.x of old documents too. runc and crun do not look at all, so
/// a missing version is no reason to refuse a bundle that runs there.
fn check_version(version: &str, warn: &mut Vec<String>) -> Result<(), InputError> {
    match version.split('.').next() {
        Some("0" | "1") => Ok(()),
        Some("") => {
            warn.push("ociVersion is missing or empty; assuming 1.x".to_owned());
            Ok(())
        }
        _ => Err(InputError::new("ociVersion", format!("version {version:?} is not supported"))
            .hint(format!("1.0.0 to {OCI_VERSION} are"))),
    }
}

/// The kernel's words for an I/O error, in the lower-case form that clients match.
pub(crate) fn io_text(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => crate::sys::errno_text(nix::errno::Errno::from_raw(errno)),
        None => error.to_string(),
    }
}
