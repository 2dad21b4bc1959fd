//! `state.json`: what a later command must know of a container without reading its bundle again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

use super::Dir;
use super::root_mount::RootMount;
use crate::cgroup::Cgroup;
use crate::plan::Plan;
use crate::plan::cgroup::Place;
use crate::plan::exec::Base;
use crate::plan::hooks::{Hook, Hooks, Output};
use crate::plan::namespaces::Kind;
use crate::rdt::Group;

pub const FILE: &str = "state.json";

/// Written twice in a container's making: before anything of it exists on the host (`init` is empty), so that what a
/// killed `create` leaves can be found; and once it is made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub oci_version: String,
    pub id: String,
    pub init: Option<InitProcess>,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    /// RFC 3339, UTC, nanoseconds.
    pub created: String,
    pub annotations: BTreeMap<String, String>,
    pub cgroup: Place,
    /// The limits in force: the document's, as changed by `update`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<LinuxResources>,
    /// Its groups in resctrl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<Group>,
    /// Its root, where that is mounted in the host's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_mount: Option<RootMount>,
    /// False when the container shares a pid namespace: then its processes do not end with init.
    pub own_pid_namespace: bool,
    /// Those that later commands run.
    pub hooks: LateHooks,
    /// What `exec` needs.
    pub exec: Base,
}

/// Init, so that a reused pid is never taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitProcess {
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks since boot.
    pub start_time: u64,
    /// The pidfd's inode number, unique while the host is up (pidfs, Linux 6.9); 0 before that.
    pub pidfd_inode: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LateHooks {
    pub poststart: Vec<Hook>,
    pub poststop: Vec<Hook>,
    #[serde(default)]
    pub output: Output,
}

impl From<&Hooks> for LateHooks {
    fn from(hooks: &Hooks) -> Self {
        Self { poststart: hooks.poststart.clone(), poststop: hooks.poststop.clone(), output: hooks.output.clone() }
    }
}

impl Record {
    /// The record of a container that is about to be made.
    pub fn new(plan: &Plan, created: String) -> Self {
        Self {
            oci_version: plan.oci_version.clone(),
            id: plan.id.clone(),
            init: None,
            bundle: plan.bundle.clone(),
            rootfs: plan.rootfs.path.clone(),
            created,
            annotations: plan.annotations.clone(),
            cgroup: plan.cgroup.place.clone(),
            resources: plan.resources.clone(),
            intel_rdt: None,
            root_mount: None,
            own_pid_namespace: plan.namespaces.is_new(Kind::Pid),
            hooks: LateHooks::from(&plan.hooks),
            exec: Base::of(plan),
        }
    }

    /// `None` where there is no record (yet).
    pub fn read(dir: &Dir) -> Result<Option<Self>> {
        let Some(content) = dir.read(FILE)? else { return Ok(None) };
        let path = dir.path.join(FILE);
        serde_json::from_slice(&content)
            .with_context(|| {
                format!(
                    "{} is damaged (hint: end its processes, then remove this directory and its cgroups)",
                    path.display()
                )
            })
            .map(Some)
    }

    pub fn write(&self, dir: &Dir) -> Result<()> {
        dir.write(FILE, &serde_json::to_vec(self).context("state.json")?)
    }

    pub fn cgroup(&self) -> Cgroup {
        Cgroup::from(self.cgroup.clone())
    }
}
