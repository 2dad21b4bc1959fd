//! The Plan: a container as plain data in which every decision is already made. `compile` is a pure function of the
//! document, the options and the host's facts: it touches nothing, so whatever the user can get wrong is found here,
//! before anything exists on the host. Carrying the Plan out is `launch/` (the parent's half) and `init/` (the child's).

pub mod annotations;
pub mod cgroup;
pub mod devices;
pub mod exec;
pub mod hooks;
pub mod idmap;
pub mod lsm;
pub mod mask;
pub mod memory_policy;
pub mod mounts;
pub mod namespaces;
pub mod netdev;
pub mod paths;
mod pinned;
pub mod process;
pub mod rdt;
pub mod refuse;
pub mod seccomp;
pub mod sysctl;
#[cfg(any(test, fuzzing))]
pub(crate) mod testing;
pub mod update;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxResources, Spec};
use serde::Serialize;

use crate::error::InputError;
use crate::host::Facts;

pub type Result<T> = std::result::Result<T, InputError>;

/// Everything about one container, decided. `oarlock plan` prints it; `launch/` and `init/` walk it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub id: String,
    pub oci_version: String,
    /// The bundle's absolute directory.
    pub bundle: PathBuf,
    pub annotations: BTreeMap<String, String>,
    pub namespaces: namespaces::Namespaces,
    /// The maps of a new user namespace; `None` when none is made.
    pub id_maps: Option<idmap::IdMaps>,
    pub cgroup: cgroup::CgroupPlan,
    pub intel_rdt: Option<rdt::IntelRdt>,
    /// The limits in the document's words, less the device rules, for `update` to change; `cgroup` is what they come to.
    #[serde(skip)]
    pub resources: Option<LinuxResources>,
    pub net_devices: Vec<netdev::NetDevice>,
    pub rootfs: mounts::Rootfs,
    pub mounts: Vec<mounts::Mount>,
    pub dev: devices::Dev,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub sysctl: Vec<sysctl::Sysctl>,
    /// Absolute and normalised; missing ones are skipped when the plan is carried out (runtime-spec, maskedPaths).
    pub masked_paths: Vec<PathBuf>,
    pub readonly_paths: Vec<PathBuf>,
    /// `None` when the document has no `process`: such a container can be created, never started.
    pub process: Option<process::Process>,
    pub seccomp: Option<seccomp::Filter>,
    pub hooks: hooks::Hooks,
    /// A socket that receives init's pidfd, besides `--pidfd-socket`.
    pub pidfd_receiver: Option<PathBuf>,
    /// What stands against making this container on this host: it compiles, but `create` refuses it.
    pub obstacles: Vec<InputError>,
    /// Give init a session keyring of its own (`--no-new-keyring` keeps the caller's).
    pub new_keyring: bool,
}

impl Plan {
    /// The program gets a terminal.
    pub fn wants_terminal(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.terminal)
    }
}

impl Plan {
    /// There is something to mount, and no mount namespace to do it in: it is done below a mount of the rootfs in the host's
    /// (`state/root_mount.rs`).
    pub fn mounts_on_the_host(&self) -> bool {
        !self.namespaces.has(namespaces::Kind::Mount) && (!self.mounts.is_empty() || self.rootfs.readonly)
    }

    /// The cgroup namespace is made by clone3 itself, which on v2 has put init into its cgroup by then. On v1 and hybrid hosts
    /// init joins first, or the v1 paths would not be `/` inside; so it is when systemd moves it; and with a user namespace to
    /// join, that comes first.
    pub fn clones_cgroup_namespace(&self) -> bool {
        use namespaces::Kind;
        let v2 = self.cgroup.place.kind == crate::cgroup::layout::Kind::V2;
        let born_there = v2 && self.cgroup.unit.is_none();
        born_there && self.namespaces.is_new(Kind::Cgroup) && self.namespaces.joined(Kind::User).is_none()
    }
}

/// What the command line adds to the document.
#[derive(Debug, Clone)]
pub struct Options {
    pub id: String,
    /// The bundle's absolute directory.
    pub bundle: PathBuf,
    pub no_pivot: bool,
    pub no_new_keyring: bool,
    /// No privileges over the host (see `--rootless`): failures to reach cgroups are tolerated where nothing was asked.
    pub rootless: bool,
    /// `--cgroup-manager`, or `--systemd-cgroup`.
    pub cgroup_manager: cgroup::Manager,
    /// File descriptors passed by socket activation (`LISTEN_FDS` of our own environment).
    pub listen_fds: u32,
    /// Their names, in `LISTEN_FDNAMES`'s form.
    pub listen_fd_names: Option<String>,
    /// The container's directory below the state root; the directory of the notify socket is in it.
    pub state_dir: PathBuf,
    /// `NOTIFY_SOCKET` was set in our environment: the container gets `/run/notify` and the variable.
    pub notify_socket: Option<PathBuf>,
}

/// Decides everything about the container in `spec`.
///
/// Lines for the log (things the specification wants warned about, never refused) are pushed onto `warn`.
///
/// # Errors
/// The first mistake in the document, named by its JSON path.
pub fn compile(spec: &Spec, options: &Options, facts: &Facts, warn: &mut Vec<String>) -> Result<Plan> {
    refuse::unsupported(spec)?;
    let mut asked = annotations::read(spec)?;
    let namespaces = namespaces::compile(spec)?;
    let id_maps = idmap::compile(spec, &namespaces, facts)?;
    let mut obstacles = Vec::new();
    let cgroup = cgroup::compile(spec, options, facts, warn, &mut obstacles)?;
    let mut process = spec.process().as_ref().map(|process| process::compile(process, options)).transpose()?;
    if let Some(process) = &mut process {
        process.personality = process::personality(spec);
        process.keep_groups = asked.keep_groups;
        process.memory_policy = memory_policy::compile(spec)?;
    }
    let (hostname, domainname) = namespaces::names(spec, &namespaces)?;
    let linux = spec.linux().as_ref();
    Ok(Plan {
        id: options.id.clone(),
        oci_version: no_nul("ociVersion", spec.version())?.to_owned(),
        bundle: options.bundle.clone(),
        annotations: spec.annotations().clone().unwrap_or_default().into_iter().collect(),
        resources: linux.and_then(|linux| linux.resources().clone()).map(|mut resources| {
            resources.set_devices(None);
            resources
        }),
        intel_rdt: rdt::compile(spec, &options.id)?,
        net_devices: netdev::compile(spec, &namespaces, &mut obstacles)?,
        rootfs: mounts::rootfs(spec, options, &namespaces)?,
        mounts: mounts::compile(spec, options, &namespaces, id_maps.as_ref(), &cgroup, warn)?,
        dev: devices::compile(spec, &namespaces, facts)?,
        hostname,
        domainname,
        sysctl: sysctl::compile(spec, &namespaces)?,
        masked_paths: paths::masked(linux, &namespaces)?,
        readonly_paths: paths::readonly(linux, &namespaces)?,
        seccomp: filter(spec, &mut asked, process.as_ref(), &options.bundle, warn)?,
        hooks: hooks::compile(spec, &asked)?,
        pidfd_receiver: asked.pidfd_receiver,
        new_keyring: !options.no_new_keyring,
        obstacles,
        namespaces,
        id_maps,
        cgroup,
        process,
    })
}

fn filter(
    spec: &Spec,
    asked: &mut annotations::Asked,
    process: Option<&process::Process>,
    bundle: &Path,
    warn: &mut Vec<String>,
) -> Result<Option<seccomp::Filter>> {
    let no_new_privs = process.is_some_and(|process| process.no_new_privileges);
    if let Some(bpf) = asked.seccomp_bpf.take() {
        return seccomp::given(bpf, no_new_privs).map(Some);
    }
    let Some(profile) = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref()) else { return Ok(None) };
    if asked.known_syscalls_only {
        seccomp::known_only(profile, "linux.seccomp")?;
    }
    let receiver = spec.annotations().as_ref().and_then(|all| all.get(seccomp::RECEIVER)).map(String::as_str);
    let around = seccomp::Surroundings { no_new_privs, bundle, receiver };
    seccomp::compile(profile, "linux.seccomp", around, warn).map(Some)
}

/// Refuses a string that cannot be handed to the kernel: one with a NUL byte.
pub(crate) fn no_nul<'a>(at: &str, text: &'a str) -> Result<&'a str> {
    if text.contains('\0') {
        return Err(InputError::new(at, "has a NUL byte"));
    }
    Ok(text)
}

/// An absolute path without `.` and `..`, as the kernel would see it were there no symlinks; `None` if it is relative.
/// `..` at the root stays at the root.
pub(crate) fn normalise(path: &Path) -> Option<PathBuf> {
    use std::path::Component;
    if !path.is_absolute() {
        return None;
    }
    let mut out = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(out)
}
