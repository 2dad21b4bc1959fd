//! `linux.cgroupsPath` and `linux.resources`, compiled into directories and an ordered list of file writes. Pure: what
//! is decided here is printed by `plan` and carried out by [`crate::cgroup`]; nothing here touches the host.

mod cpu;
mod devices;
mod disabled;
mod io;
mod memory;
mod other;
mod path;
mod systemd;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use oci_spec::runtime::{LinuxResources, Spec};
use serde::{Deserialize, Serialize};

use super::{Options, annotations};
use crate::cgroup::layout::{Kind, Layout};
use crate::error::InputError;
use crate::host::Facts;

pub use devices::{ALL as ALL_ACCESS, DeviceRule, DeviceType};
pub use systemd::{PROPERTY, Property, Unit, UnitId, gvariant, of_limits};

type Result<T> = std::result::Result<T, InputError>;

/// Who makes a container's cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Manager {
    Cgroupfs,
    Systemd,
    /// Nobody: the container stays in the runtime's own.
    Disabled,
}

/// Everything about the container's cgroup, decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CgroupPlan {
    pub place: Place,
    /// With the systemd driver: the unit that systemd makes, with `place` as its cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    pub limits: Limits,
    /// The uid that gets a delegated v2 cgroup (the container has its own cgroup namespace and a writable mount of it).
    pub owner: Option<u32>,
    /// Below the container's v2 cgroup, where its processes are put instead, and which is given to its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegate: Option<Delegate>,
    /// Failing for want of permission is no error where `explicit` is false and no limit needs the cgroup.
    pub rootless: bool,
    /// Whether `linux.cgroupsPath` was given.
    pub explicit: bool,
}

/// The directories, one for each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub v1: Vec<Dir>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v2: Option<Dir>,
    /// The unit of systemd that it belongs to, once that exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitId>,
}

/// A cgroup for the container to manage (crun's `run.oci.delegate-cgroup`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delegate {
    pub below: PathBuf,
    /// The host's uid of the container's root.
    pub uid: u32,
}

impl Place {
    /// The container has no cgroup of its own.
    pub fn is_none(&self) -> bool {
        self.v1.is_empty() && self.v2.is_none()
    }
}

/// One directory of one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dir {
    /// v1: what is mounted there (`["cpu", "cpuacct"]`, `["name=systemd"]`). v2: what the root offers.
    pub controllers: Vec<String>,
    /// Where the hierarchy is mounted.
    pub mount: PathBuf,
    /// Below `mount`: at least one ordinary component, and no `.` or `..`.
    pub below: PathBuf,
}

impl Dir {
    pub fn path(&self) -> PathBuf {
        self.mount.join(&self.below)
    }

    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
}

/// `linux.resources`, ready to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// v2 controllers to enable on the way down.
    pub enable: Vec<String>,
    /// Numbers that must exceed what is in use now (`checkBeforeUpdate`), looked at before the first write.
    pub checks: Vec<Check>,
    /// In this order, before a process joins.
    pub writes: Vec<Write>,
    /// After init has joined: what would keep clone3 from placing it there.
    pub late: Vec<Write>,
    /// v2: the device rules, in order, the last match deciding. `None`: no program. On v1 they are among `writes`.
    pub devices: Option<Vec<DeviceRule>>,
}

/// One value for one file of one controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// `memory`, `cpu`, …; `cgroup` for v2's core files.
    pub controller: String,
    pub file: String,
    pub value: String,
    /// Where the value stands in the input: `linux.resources.memory.limit`.
    pub json: String,
    pub on_error: OnError,
}

/// What a failing write means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnError {
    /// It is reported.
    Fail,
    /// The file may be missing (ENOENT): the value is what holds without it.
    IgnoreMissing,
    /// The kernel may find it invalid (EINVAL): another write of the plan overrules it.
    IgnoreInvalid,
    /// EINVAL now may be due to a value written further down: tried again after the controller's other writes.
    RetryLast,
    /// Where the file is missing, this one takes the value in its own form.
    Or { file: String, value: String },
}

/// A number refused unless it exceeds the one in `file` (bytes).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    pub controller: String,
    pub file: String,
    pub value: u64,
    pub json: String,
}

/// Compiles the container's place and limits. What is lawful but has no effect is told in `warn`.
///
/// Errors name the JSON path of a value that the kernel is known to refuse. A limit whose controller the host lacks is an
/// obstacle.
pub fn compile(
    spec: &Spec,
    options: &Options,
    facts: &Facts,
    warn: &mut Vec<String>,
    obstacles: &mut Vec<InputError>,
) -> Result<CgroupPlan> {
    let layout = &facts.cgroup;
    if options.cgroup_manager == Manager::Disabled {
        return disabled::compile(spec, options, layout, warn, obstacles);
    }
    let rootless = options.rootless;
    let linux = spec.linux().as_ref();
    let given = linux.and_then(|l| l.cgroups_path().as_deref()).filter(|p| !p.as_os_str().is_empty());
    let by_systemd = options.cgroup_manager == Manager::Systemd;
    let place = if by_systemd {
        systemd::place(spec, given, options, facts)?
    } else {
        path::place(given, &options.id, layout)?
    };
    if place.is_none() {
        if !rootless {
            let obstacle = InputError::new("linux.cgroupsPath", "no cgroup hierarchy is mounted on this host");
            obstacles.push(obstacle.hint("mount cgroup2 at /sys/fs/cgroup"));
        } else {
            warn.push("no cgroup hierarchy is mounted: the container runs without a cgroup".into());
        }
    }

    let mut out = Out::new("linux.resources", layout, warn);
    if let Some(r) = linux.and_then(|l| l.resources().as_ref()) {
        out.resources(r, false)?;
    }
    devices::compile(spec, rootless, &mut out)?;
    obstacles.append(&mut out.obstacles);
    let mut limits = std::mem::take(&mut out.limits);
    limits.enable = enable(layout, &limits);
    let unit = if by_systemd { Some(systemd::unit(spec, given, options, facts, &limits, &out)?) } else { None };
    Ok(CgroupPlan {
        delegate: delegate(spec, &place, obstacles)?,
        owner: if place.kind == Kind::V2 { path::owner(spec) } else { None },
        place,
        // A unit is never gone without.
        explicit: given.is_some() || unit.is_some(),
        unit,
        limits,
        rootless,
    })
}

/// `run.oci.delegate-cgroup`.
fn delegate(spec: &Spec, place: &Place, obstacles: &mut Vec<InputError>) -> Result<Option<Delegate>> {
    let Some(below) = annotations::read(spec)?.delegate else { return Ok(None) };
    // Whoever manages a v1 cgroup can undo its limits.
    if place.kind != Kind::V2 || place.v2.is_none() {
        let obstacle = InputError::new("annotations[\"run.oci.delegate-cgroup\"]", "needs cgroup v2");
        obstacles.push(obstacle.hint("on v1 it is not safe to let a container manage a cgroup"));
    }
    Ok(Some(Delegate { below, uid: path::host_uid(spec).unwrap_or(0) }))
}

/// Compiles `update`'s resources; `at` is the JSON path of `resources` (empty for a document of its own). Device rules
/// stay as they are.
pub fn compile_update(r: &LinuxResources, at: &str, layout: &Layout, warn: &mut Vec<String>) -> Result<Limits> {
    let mut out = Out::new(at, layout, warn);
    out.resources(r, true)?;
    if let Some(obstacle) = out.obstacles.into_iter().next() {
        return Err(obstacle);
    }
    let mut limits = out.limits;
    limits.enable = enable(layout, &limits);
    Ok(limits)
}

/// Pure v2: all controllers, since `events --stats` reads them too. Hybrid: only those that a limit needs, for the host
/// may keep them for v1.
fn enable(layout: &Layout, limits: &Limits) -> Vec<String> {
    let Some(v2) = &layout.v2 else {
        return Vec::new();
    };
    let wanted = |c: &&String| {
        layout.kind() == Kind::V2
            || limits.writes.iter().chain(&limits.late).any(|w| w.controller == **c && layout.v1(c).is_none())
    };
    v2.controllers.iter().filter(wanted).cloned().collect()
}

/// Which kind of hierarchy holds a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// The limits being compiled.
struct Out<'a> {
    at: &'a str,
    layout: &'a Layout,
    warn: &'a mut Vec<String>,
    obstacles: Vec<InputError>,
    limits: Limits,
}

impl<'a> Out<'a> {
    fn new(at: &'a str, layout: &'a Layout, warn: &'a mut Vec<String>) -> Self {
        Self { at, layout, warn, obstacles: Vec::new(), limits: Limits::default() }
    }

    /// The JSON path of `field`.
    fn at(&self, field: &str) -> String {
        if self.at.is_empty() { field.to_owned() } else { format!("{}.{field}", self.at) }
    }

    /// All but the device rules, in the order of writing.
    fn resources(&mut self, r: &LinuxResources, update: bool) -> Result<()> {
        if let Some(cpu) = r.cpu() {
            cpu::cpuset(cpu, self)?;
        }
        if let Some(memory) = r.memory() {
            memory::compile(memory, update, self)?;
        }
        if let Some(cpu) = r.cpu() {
            cpu::compile(cpu, self)?;
        }
        if let Some(pids) = r.pids() {
            other::pids(pids, update, self)?;
        }
        if let Some(block) = r.block_io() {
            io::compile(block, self)?;
        }
        other::hugepages(r.hugepage_limits().as_deref().unwrap_or_default(), self)?;
        if let Some(network) = r.network() {
            other::network(network, self)?;
        }
        if let Some(rdma) = r.rdma() {
            other::rdma(rdma, self)?;
        }
        if let Some(unified) = r.unified() {
            other::unified(unified, self)?;
        }
        Ok(())
    }

    /// Where `controller` lives: v1 first, for a controller mounted there does not exist on v2.
    fn find(&self, controller: &str) -> Option<Version> {
        if self.layout.v1(controller).is_some() {
            return Some(Version::V1);
        }
        let v2 = self.layout.v2.as_ref()?;
        v2.controllers.iter().any(|c| c == controller).then_some(Version::V2)
    }

    /// [`Self::find`] for a limit that must be kept; `v1`, `v2` are the controller's two names. Where the host lacks it, that
    /// is an obstacle, and the limit is compiled as the host's kind of cgroups would have it.
    fn need(&mut self, v1: &str, v2: &str, field: &str) -> Version {
        if let Some(version) = self.find(v1).or_else(|| self.find(v2)) {
            return version;
        }
        let (name, version) = match self.layout.kind() {
            Kind::V2 => (v2, Version::V2),
            Kind::V1 | Kind::Hybrid => (v1, Version::V1),
        };
        self.obstacle(
            field,
            format!("this host has no {name:?} cgroup controller"),
            format!(
                "the kernel must be built with it, booted without cgroup_disable={name}, and the controller be mounted"
            ),
        );
        version
    }

    /// What the host cannot do, though the document is right.
    fn obstacle(&mut self, field: &str, what: impl Into<String>, hint: impl Into<String>) {
        let at = self.at(field);
        self.obstacles.push(InputError::new(at, what).hint(hint));
    }

    /// A limit that v1 has and v2 has not.
    fn only_v1(&mut self, field: &str, what: &str) {
        self.obstacle(field, what, "leave it out on a host with cgroup v2");
    }

    /// As [`Self::need`], but a limit that amounts to none needs no controller.
    fn need_unless(&mut self, unlimited: bool, v1: &str, v2: &str, field: &str) -> Option<Version> {
        if unlimited { self.find(v1).or_else(|| self.find(v2)) } else { Some(self.need(v1, v2, field)) }
    }

    fn refuse<T>(&self, field: &str, what: impl Into<String>) -> Result<T> {
        Err(InputError::new(self.at(field), what))
    }

    fn write(&mut self, controller: &str, file: impl Into<String>, value: impl ToString, field: &str) {
        self.write_or(controller, file, value, field, OnError::Fail);
    }

    fn write_or(
        &mut self,
        controller: &str,
        file: impl Into<String>,
        value: impl ToString,
        field: &str,
        on_error: OnError,
    ) {
        let json = self.at(field);
        self.limits.writes.push(Write {
            controller: controller.into(),
            file: file.into(),
            value: value.to_string(),
            json,
            on_error,
        });
    }
}
