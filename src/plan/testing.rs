//! What the tests of this directory share: documents, options and hosts to compile.

use std::fmt::Display;
use std::path::PathBuf;

use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use super::Options;
use crate::cgroup::layout::{Hierarchy, Layout, Unified};
use crate::host::{DeviceName, Facts};

/// A document from JSON, nothing added.
pub fn spec(document: Value) -> Spec {
    serde_json::from_value(document).unwrap()
}

/// `linux.namespaces` that makes one of each kind.
pub fn namespaces(kinds: &[&str]) -> Value {
    kinds.iter().map(|kind| json!({ "type": kind })).collect()
}

pub fn options() -> Options {
    Options {
        id: "test".into(),
        bundle: "/bundle".into(),
        no_pivot: false,
        no_new_keyring: false,
        rootless: false,
        cgroup_manager: super::cgroup::Manager::Cgroupfs,
        listen_fds: 0,
        listen_fd_names: None,
        state_dir: "/run/oarlock/test".into(),
        notify_socket: None,
    }
}

fn hierarchy(name: &str, controllers: &[&str]) -> Hierarchy {
    Hierarchy {
        controllers: controllers.iter().map(ToString::to_string).collect(),
        mount: PathBuf::from("/sys/fs/cgroup").join(name),
        own: Some("/".into()),
    }
}

/// Root on a host with those cgroups.
pub fn on(cgroup: Layout) -> Facts {
    let pts = DeviceName { block: false, major: 136, name: "pts".into() };
    Facts {
        cgroup,
        euid: 0,
        egid: 0,
        outer_uid: 0,
        in_user_namespace: false,
        can_map_ids: true,
        device_names: vec![pts],
    }
}

/// Root on a host with cgroup v1.
pub fn v1() -> Facts {
    let named = hierarchy("systemd", &["name=systemd"]);
    let v1 = vec![hierarchy("cpu,cpuacct", &["cpu", "cpuacct"]), hierarchy("memory", &["memory"]), named];
    on(Layout { v1, v2: None })
}

/// Root on a host with cgroup v1 that lacks no controller.
pub fn v1_with_all() -> Facts {
    let names = ["cpuset", "cpu", "cpuacct", "memory", "blkio", "pids", "hugetlb", "net_cls", "net_prio", "rdma"];
    on(Layout { v1: names.iter().map(|name| hierarchy(name, &[name])).collect(), v2: None })
}

/// Root on a host with cgroup v2.
pub fn v2() -> Facts {
    let controllers = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"];
    let v2 = Unified {
        mount: "/sys/fs/cgroup".into(),
        own: Some("/".into()),
        controllers: controllers.iter().map(ToString::to_string).collect(),
    };
    Facts { cgroup: Layout { v1: Vec::new(), v2: Some(v2) }, ..v1() }
}

/// Somebody without privileges on a host with cgroup v2.
pub fn rootless() -> Facts {
    Facts { euid: 1000, egid: 1000, outer_uid: 1000, can_map_ids: false, ..v2() }
}

/// The error as the user sees it.
pub fn error<T, E: Display>(result: Result<T, E>) -> String {
    match result {
        Ok(_) => panic!("was accepted"),
        Err(error) => error.to_string(),
    }
}
