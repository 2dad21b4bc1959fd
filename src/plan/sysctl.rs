//! `linux.sysctl`, each key mapped to its file and checked against the namespaces that make it the container's own.

use std::collections::BTreeMap;

use oci_spec::runtime::Spec;
use serde::Serialize;

use super::namespaces::{Kind, Namespaces};
use super::{Result, no_nul};
use crate::error::InputError;

/// Paths below `/proc/sys` that an ipc namespace keeps for itself; so is all of `fs/mqueue` (ipc_namespaces(7)).
const IPC: &[&str] = &[
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shm_rmid_forced",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
];

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sysctl {
    /// The JSON path, for errors: `linux.sysctl["net.ipv4.ip_forward"]`.
    pub at: String,
    /// Below `/proc/sys`: `net/ipv4/ip_forward`.
    pub path: String,
    pub value: String,
}

/// `linux.sysctl`, sorted by key so that one document always gives one plan.
///
/// # Errors
/// A key that is not one of the container's own namespaces', or that is no path below `/proc/sys`.
pub fn compile(spec: &Spec, namespaces: &Namespaces) -> Result<Vec<Sysctl>> {
    let Some(given) = spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref()) else {
        return Ok(Vec::new());
    };
    let given: BTreeMap<_, _> = given.iter().collect();
    let mut sysctls = Vec::with_capacity(given.len());
    for (key, value) in given {
        let at = format!("linux.sysctl[{key:?}]");
        let path = path(key);
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(InputError::new(at, "is no name of a kernel parameter"));
        }
        no_nul(&at, &path)?;
        no_nul(&at, value)?;
        check(&at, &path, spec, namespaces)?;
        sysctls.push(Sysctl { at, path, value: value.clone() });
    }
    Ok(sysctls)
}

/// The file below `/proc/sys`. The separator that comes first decides, as in sysctl.d(5): `net.ipv4.conf.eth0/1.rp_filter`
/// and `net/ipv4/conf/eth0.1/rp_filter` are the same file.
fn path(key: &str) -> String {
    if key.find(['.', '/']).is_some_and(|at| key.as_bytes()[at] == b'.') {
        let swap = |c| match c {
            '.' => '/',
            '/' => '.',
            other => other,
        };
        key.chars().map(swap).collect()
    } else {
        key.to_owned()
    }
}

fn check(at: &str, path: &str, spec: &Spec, namespaces: &Namespaces) -> Result<()> {
    let kind = if path.starts_with("net/") {
        Kind::Network
    } else if IPC.contains(&path) || path.starts_with("fs/mqueue/") {
        Kind::Ipc
    } else if path.starts_with("user/") {
        Kind::User
    } else if path == "kernel/hostname" || path == "kernel/domainname" {
        let (field, set) = match path {
            "kernel/hostname" => ("hostname", true),
            _ => ("domainname", spec.domainname().as_ref().is_some_and(|name| !name.is_empty())),
        };
        if set {
            return Err(
                InputError::new(at, format!("conflicts with the field {field:?}")).hint(format!("set {field} alone"))
            );
        }
        Kind::Uts
    } else {
        return Err(InputError::new(at, "is not in a separate kernel namespace")
            .hint("it would change the host; allowed are net.*, fs.mqueue.*, kernel.sem, .msg* and .shm*, kernel.domainname and user.*"));
    };
    if !namespaces.has(kind) {
        let name = kind.name();
        return Err(InputError::new(at, format!("is not allowed in the host's {name} namespace"))
            .hint(format!("add {{\"type\": \"{name}\"}} to linux.namespaces")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error, namespaces, spec};
    use super::*;
    use serde_json::json;

    fn compile_json(sysctl: serde_json::Value, kinds: &[&str]) -> Result<Vec<Sysctl>> {
        let spec = spec(json!({ "linux": { "sysctl": sysctl, "namespaces": namespaces(kinds) } }));
        compile(&spec, &super::super::namespaces::compile(&spec).unwrap())
    }

    #[test]
    fn keys_become_paths_by_the_separator_that_comes_first() {
        for (key, expected) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            ("net.ipv4.conf.eno2/100.rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
            ("net/ipv4/conf/eno2.100/rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
        ] {
            assert_eq!(path(key), expected);
        }
    }

    #[test]
    fn each_namespace_allows_its_own_keys() {
        for (key, kind) in [
            ("net.core.somaxconn", "network"),
            ("kernel.shm_rmid_forced", "ipc"),
            ("fs.mqueue.msg_max", "ipc"),
            ("kernel.domainname", "uts"),
            ("user.max_user_namespaces", "user"),
        ] {
            assert_eq!(compile_json(json!({ key: "1" }), &[kind]).unwrap().len(), 1, "{key}");
            let at = error(compile_json(json!({ key: "1" }), &["mount"]));
            assert!(at.starts_with(&format!("linux.sysctl[{key:?}]: is not allowed")), "{at}");
        }
    }

    #[test]
    fn keys_of_the_host_are_refused() {
        let all = ["network", "ipc", "uts", "user"];
        for key in ["vm.swappiness", "kernel.hostname", "kernel.core_pattern", "net/../kernel/core_pattern", "", "net."]
        {
            assert!(compile_json(json!({ key: "1" }), &all).is_err(), "{key}");
        }
        assert!(compile_json(json!({ "net.x": "a\0b" }), &all).is_err());
    }
}
