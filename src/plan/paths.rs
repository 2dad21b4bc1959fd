//! `linux.maskedPaths` and `linux.readonlyPaths`.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Linux;

use super::namespaces::{Kind, Namespaces};
use super::{Result, no_nul, normalise};
use crate::error::InputError;

/// The paths to hide.
///
/// # Errors
/// A relative path, or no mount namespace to hide them in.
pub fn masked(linux: Option<&Linux>, namespaces: &Namespaces) -> Result<Vec<PathBuf>> {
    list("linux.maskedPaths", linux.and_then(|linux| linux.masked_paths().as_deref()), namespaces)
}

/// The paths to make read-only.
///
/// # Errors
/// A relative path, or no mount namespace to do it in.
pub fn readonly(linux: Option<&Linux>, namespaces: &Namespaces) -> Result<Vec<PathBuf>> {
    list("linux.readonlyPaths", linux.and_then(|linux| linux.readonly_paths().as_deref()), namespaces)
}

fn list(at: &str, given: Option<&[String]>, namespaces: &Namespaces) -> Result<Vec<PathBuf>> {
    let given = given.unwrap_or_default();
    if !given.is_empty() && !namespaces.has(Kind::Mount) {
        return Err(InputError::new(at, "unable to restrict sys entries without a private MNT namespace")
            .hint("add {\"type\": \"mount\"} to linux.namespaces"));
    }
    let one = |(i, path): (usize, &String)| {
        let at = format!("{at}[{i}]");
        no_nul(&at, path)?;
        normalise(Path::new(path)).ok_or_else(|| InputError::new(at, format!("{path:?} is not absolute")))
    };
    given.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error, namespaces, spec};
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_are_normalised_and_need_a_mount_namespace() {
        let kinds = |kinds: &[&str]| {
            let paths = json!(["/proc/./kcore", "/proc/../proc/keys"]);
            spec(
                json!({ "linux": { "maskedPaths": paths, "readonlyPaths": ["/proc/sys", "sys"], "namespaces": namespaces(kinds) } }),
            )
        };
        let with = kinds(&["mount"]);
        let ns = super::super::namespaces::compile(&with).unwrap();
        let linux = with.linux().as_ref();
        assert_eq!(masked(linux, &ns).unwrap(), [Path::new("/proc/kcore"), Path::new("/proc/keys")]);
        assert_eq!(error(readonly(linux, &ns)), "linux.readonlyPaths[1]: \"sys\" is not absolute");
        let without = kinds(&[]);
        let ns = super::super::namespaces::compile(&without).unwrap();
        assert!(error(masked(without.linux().as_ref(), &ns)).starts_with("linux.maskedPaths: unable to restrict"));
        assert!(masked(None, &ns).unwrap().is_empty());
    }
}
