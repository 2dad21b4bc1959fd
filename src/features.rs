//! What this binary can do, in the form of the runtime-spec's features document (features.md, features-linux.md). Every
//! list comes from the table that the code itself works with. Not for what the running kernel can do.

use std::collections::BTreeMap;

use oci_spec::runtime::{Arch, LinuxSeccompAction};
use serde::Serialize;

use crate::bundle::OCI_VERSION;
use crate::plan::annotations::PREFIX;
use crate::plan::namespaces::Kind;
use crate::plan::{cgroup, memory_policy, mounts};
use crate::seccomp::names;

/// The oldest document that is understood (0.x ones are read as this version).
const OCI_VERSION_MIN: &str = "1.0.0";

/// The kinds of hooks, in the order in which they run.
const HOOKS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// The document. Its keys are in the order of the specification's example, as runc prints them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: [&'static str; 6],
    mount_options: Vec<&'static str>,
    linux: Linux,
    annotations: BTreeMap<&'static str, String>,
    potentially_unsafe_config_annotations: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: Vec<&'static str>,
    capabilities: Vec<String>,
    cgroup: Cgroup,
    seccomp: Seccomp,
    apparmor: Feature,
    selinux: Feature,
    intel_rdt: IntelRdt,
    memory_policy: MemoryPolicy,
    mount_extensions: MountExtensions,
    net_devices: Feature,
}

#[derive(Debug, Serialize)]
struct Feature {
    enabled: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: Vec<LinuxSeccompAction>,
    operators: Vec<String>,
    archs: Vec<Arch>,
    known_flags: Vec<String>,
    supported_flags: Vec<String>,
}

#[derive(Debug, Serialize)]
struct IntelRdt {
    enabled: bool,
    schemata: bool,
    monitoring: bool,
}

#[derive(Debug, Serialize)]
struct MemoryPolicy {
    modes: Vec<String>,
    flags: Vec<String>,
}

#[derive(Debug, Serialize)]
struct MountExtensions {
    idmap: Feature,
}

impl Features {
    /// The features of this binary.
    pub fn of_this_binary() -> Self {
        Self {
            oci_version_min: OCI_VERSION_MIN,
            oci_version_max: OCI_VERSION,
            hooks: HOOKS,
            mount_options: mounts::option_names(),
            linux: Linux {
                namespaces: Kind::names(),
                capabilities: capabilities(),
                cgroup: Cgroup { v1: true, v2: true, systemd: true, systemd_user: true, rdma: true },
                seccomp: Seccomp {
                    enabled: true,
                    actions: names::supported_actions(),
                    operators: names::supported_operators(),
                    archs: names::supported_archs(),
                    known_flags: names::known_flags(),
                    supported_flags: names::supported_flags(),
                },
                apparmor: Feature { enabled: true },
                selinux: Feature { enabled: true },
                intel_rdt: IntelRdt { enabled: true, schemata: true, monitoring: true },
                memory_policy: MemoryPolicy { modes: memory_policy::mode_names(), flags: memory_policy::flag_names() },
                mount_extensions: MountExtensions { idmap: Feature { enabled: true } },
                net_devices: Feature { enabled: true },
            },
            annotations: annotations(),
            // A name that ends with a dot stands for all that begin with it (features.md).
            potentially_unsafe_config_annotations: vec![PREFIX, cgroup::PROPERTY],
        }
    }
}

/// The capabilities that a document may name, by their number in the kernel.
fn capabilities() -> Vec<String> {
    let mut known: Vec<caps::Capability> = caps::all().into_iter().collect();
    known.sort_by_key(caps::Capability::index);
    known.iter().map(ToString::to_string).collect()
}

/// No client decides anything by an annotation: Docker, containerd and Podman pass them through to people and scripts.
/// `org.opencontainers.runc.version` stays unset, because what reads it compares it with runc's own list of holes.
fn annotations() -> BTreeMap<&'static str, String> {
    let (major, minor, micro) = names::library_version();
    BTreeMap::from([
        ("io.github.seccomp.libseccomp.version", format!("{major}.{minor}.{micro}")),
        ("io.oarlock.version", env!("CARGO_PKG_VERSION").to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        serde_json::to_value(Features::of_this_binary()).unwrap()
    }

    fn sorted(list: &Value) -> bool {
        list.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).is_sorted()
    }

    #[test]
    fn the_lists_are_sorted_and_complete() {
        let document = document();
        assert!(sorted(&document["mountOptions"]) && sorted(&document["linux"]["namespaces"]));
        for option in ["rro", "rbind", "tmpcopyup", "nosymfollow"] {
            assert!(document["mountOptions"].as_array().unwrap().contains(&option.into()), "{option}");
        }
        let capabilities = document["linux"]["capabilities"].as_array().unwrap();
        assert_eq!((capabilities.len(), &capabilities[0]), (41, &Value::from("CAP_CHOWN")));
    }

    #[test]
    fn every_capability_listed_is_one_that_a_document_may_name() {
        for name in capabilities() {
            serde_json::from_value::<oci_spec::runtime::Capability>(Value::from(name)).unwrap();
        }
    }

    #[test]
    fn the_document_is_one_that_the_specifications_model_reads() {
        serde_json::from_value::<oci_spec::runtime::Features>(document()).unwrap();
    }
}
