//! What each phase is about to do, in words: the text form of `oarlock plan`. One function per phase of
//! [`super::PHASES`], each reading the same part of the Plan that the phase carries out.

use crate::plan::Plan;
use crate::plan::devices::NodeKind;
use crate::plan::hooks::Hook;
use crate::plan::mounts::{Mount, MountKind};
use crate::plan::namespaces::Kind;
use crate::plan::process::Process;
use crate::plan::seccomp::Load;

pub fn namespaces(plan: &Plan) -> Vec<String> {
    let mut steps: Vec<String> = plan
        .namespaces
        .entries
        .iter()
        .map(|namespace| match &namespace.path {
            Some(path) => format!("join the {:?} namespace {}", namespace.kind, path.display()).to_lowercase(),
            None => format!("new {:?} namespace", namespace.kind).to_lowercase(),
        })
        .collect();
    if let Some(maps) = &plan.id_maps {
        let verb = if maps.of_joined { "expect" } else { "map" };
        let map = |kind: &str, range: &crate::plan::idmap::Range| {
            format!("{verb} {kind} {} to {} on the host, {} of them", range.container, range.host, range.size)
        };
        steps.extend(maps.uids.iter().map(|range| map("uid", range)));
        steps.extend(maps.gids.iter().map(|range| map("gid", range)));
    }
    for offset in &plan.namespaces.time_offsets {
        steps.push(format!("shift the {} clock by {}.{:09} s", offset.clock, offset.secs, offset.nanosecs));
    }
    if plan.new_keyring {
        steps.push(format!("session keyring _ses.{}", plan.id));
    }
    if plan.namespaces.is_new(Kind::Network) {
        steps.push("bring the interface lo up".to_owned());
    }
    steps
}

pub fn rootfs(plan: &Plan) -> Vec<String> {
    let rootfs = &plan.rootfs;
    if plan.mounts_on_the_host() {
        return vec![format!(
            "mount {} over itself on the host, private, until the container is deleted",
            rootfs.path.display()
        )];
    }
    if !plan.namespaces.has(Kind::Mount) {
        return vec![format!("open {}", rootfs.path.display())];
    }
    vec![
        format!("propagation of / becomes {}", propagation(rootfs.propagation.kind, rootfs.propagation.recursive)),
        format!("attach {}", rootfs.path.display()),
    ]
}

fn propagation(kind: u64, recursive: bool) -> String {
    let name = match kind {
        libc::MS_SHARED => "shared",
        libc::MS_SLAVE => "slave",
        libc::MS_PRIVATE => "private",
        _ => "unbindable",
    };
    format!("{}{name}", if recursive { "r" } else { "" })
}

pub fn mounts(plan: &Plan) -> Vec<String> {
    plan.mounts.iter().map(mount).collect()
}

fn mount(mount: &Mount) -> String {
    let what = match &mount.kind {
        MountKind::Bind { source, recursive } => {
            format!("{} {}", if *recursive { "rbind" } else { "bind" }, source.display())
        }
        MountKind::Filesystem { fstype, params, .. } => {
            let params: Vec<String> = params
                .iter()
                .map(|param| param.value.as_ref().map_or(param.key.clone(), |value| format!("{}={value}", param.key)))
                .collect();
            format!("{fstype} {}", params.join(",")).trim_end().to_owned()
        }
        MountKind::Remount { .. } => "remount".to_owned(),
        MountKind::CgroupV1 { hierarchies, .. } => {
            let names: Vec<&str> = hierarchies.iter().map(|hierarchy| hierarchy.name.as_str()).collect();
            format!("cgroup hierarchies {}", names.join(" "))
        }
    };
    let mut text = format!("{} on {} ({})", what, mount.destination.display(), mount.at);
    for (name, change) in [("attributes", mount.attrs), ("recursive attributes", mount.recursive_attrs)] {
        if change.set != 0 || change.clear != 0 {
            text.push_str(&format!(", {name} +{:#x} -{:#x}", change.set, change.clear));
        }
    }
    if let Some(mapping) = &mount.id_mapping {
        text.push_str(if mapping.recursive { ", ids mapped, below too" } else { ", ids mapped" });
    }
    for change in &mount.propagation {
        text.push_str(&format!(", {}", propagation(change.kind, change.recursive)));
    }
    let links = mount.links;
    for (given, words) in [
        (links.copy, "a symlink is copied"),
        (links.bind_source, "from a symlink itself"),
        (links.cover_destination, "over a symlink itself"),
    ] {
        if given {
            text.push_str(&format!(", {words}"));
        }
    }
    if mount.copy_up {
        text.push_str(", with what was there");
    }
    text
}

pub fn dev(plan: &Plan) -> Vec<String> {
    let mut steps = Vec::new();
    if plan.dev.populate {
        steps.extend(plan.dev.nodes.iter().map(|node| {
            let kind = match node.kind {
                NodeKind::Char => format!("c {}:{}", node.major, node.minor),
                NodeKind::Block => format!("b {}:{}", node.major, node.minor),
                NodeKind::Fifo => "fifo".to_owned(),
            };
            let how = if node.bind { "bind" } else { "make" };
            format!("{how} {} {kind} mode {:04o} owner {}:{}", node.path.display(), node.mode, node.uid, node.gid)
        }));
        steps.extend(plan.dev.links.iter().map(|(path, to)| format!("link {} -> {}", path.display(), to.display())));
    }
    if let Some(process) = &plan.process {
        steps.push(format!("make {} if it is missing", process.cwd.display()));
    }
    steps
}

pub fn console(plan: &Plan) -> Vec<String> {
    let terminal = plan.process.as_ref().is_some_and(|process| process.terminal);
    if terminal { vec!["open a pty, its slave at /dev/console".to_owned()] } else { Vec::new() }
}

pub fn hooks(plan: &Plan) -> Vec<String> {
    let hooks = &plan.hooks;
    [&hooks.prestart, &hooks.create_runtime, &hooks.create_container].into_iter().flatten().map(hook).collect()
}

fn hook(hook: &Hook) -> String {
    let timeout = hook.timeout.map(|seconds| format!(", {seconds} s at most")).unwrap_or_default();
    format!("run {} ({}){timeout}", hook.path.display(), hook.at)
}

pub fn paths(plan: &Plan) -> Vec<String> {
    let readonly = plan.readonly_paths.iter().map(|path| format!("read-only {}", path.display()));
    let masked = plan.masked_paths.iter().map(|path| format!("mask {}", path.display()));
    readonly.chain(masked).collect()
}

pub fn pivot(plan: &Plan) -> Vec<String> {
    let mut steps = Vec::new();
    if plan.rootfs.readonly {
        steps.push("the root becomes read-only".to_owned());
    }
    steps.push(match (plan.namespaces.has(Kind::Mount), plan.rootfs.no_pivot) {
        (false, _) => "chroot".to_owned(),
        (true, true) => "move the root to / and chroot".to_owned(),
        (true, false) => "pivot_root, unmount the old root".to_owned(),
    });
    steps
}

pub fn names(plan: &Plan) -> Vec<String> {
    let hostname = plan.hostname.iter().map(|name| format!("hostname {name}"));
    let domainname = plan.domainname.iter().map(|name| format!("domainname {name}"));
    hostname.chain(domainname).collect()
}

pub fn sysctl(plan: &Plan) -> Vec<String> {
    plan.sysctl.iter().map(|sysctl| format!("{} = {}", sysctl.path, sysctl.value)).collect()
}

fn loads(plan: &Plan, when: Load) -> bool {
    plan.seccomp.as_ref().is_some_and(|filter| filter.load == when)
}

pub fn process(plan: &Plan) -> Vec<String> {
    let Some(process) = &plan.process else { return Vec::new() };
    let mut steps = scheduling(process);
    let limits = process.rlimits.iter();
    steps.extend(limits.map(|limit| format!("{} {} (hard {})", limit.name, limit.soft, limit.hard)));
    steps.extend(process.apparmor_profile.iter().map(|profile| format!("AppArmor profile {profile}")));
    steps.extend(process.selinux_label.iter().map(|label| format!("SELinux label {label}")));
    steps.push(format!("enter {}", process.cwd.display()));
    if process.no_new_privileges {
        steps.push("no_new_privs".to_owned());
    } else if loads(plan, Load::BeforeCapabilities) {
        steps.push("load the seccomp filter".to_owned());
    }
    let capabilities = &process.capabilities;
    steps.push(format!(
        "become uid {} gid {} groups {:?} umask {:04o}",
        process.uid, process.gid, process.additional_gids, process.umask
    ));
    steps.push(format!(
        "capabilities bounding {:#x} effective {:#x} inheritable {:#x} permitted {:#x} ambient {:#x}",
        capabilities.bounding,
        capabilities.effective,
        capabilities.inheritable,
        capabilities.permitted,
        capabilities.ambient
    ));
    if loads(plan, Load::BeforeStart) {
        steps.push("load the seccomp filter".to_owned());
    }
    if let Some(agent) = plan.seccomp.as_ref().and_then(|filter| filter.listener.as_ref()) {
        steps.push(format!("the seccomp agent at {} answers from here on", agent.path.display()));
    }
    steps
}

fn scheduling(process: &Process) -> Vec<String> {
    let mut steps = Vec::new();
    if let Some(to) = process.scheduler {
        steps.push(format!(
            "scheduling policy {} flags {:#x} nice {} priority {}",
            to.policy, to.flags, to.nice, to.priority
        ));
    }
    steps.extend(process.io_priority.map(|value| format!("I/O priority {value:#x}")));
    steps.extend(process.personality.map(|value| format!("personality {value:#x}")));
    if let Some(policy) = &process.memory_policy {
        let nodes = policy.nodes.as_ref().map(|nodes| format!(" of nodes {nodes}")).unwrap_or_default();
        steps.push(format!("memory policy {:#x}{nodes}", policy.mode));
    }
    steps
}

pub fn start(plan: &Plan) -> Vec<String> {
    let mut steps = vec!["wait for start".to_owned()];
    steps.extend(plan.hooks.start_container.iter().map(hook));
    if let Some(process) = &plan.process {
        if loads(plan, Load::Last) {
            steps.push("load the seccomp filter".to_owned());
        }
        steps.push(format!("execute {:?}", process.args));
    }
    steps
}
