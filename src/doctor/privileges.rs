//! Who we are here: security modules, capabilities, what rootless containers need.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use caps::{CapSet, Capability};

use super::{Section, State};
use crate::host;
use crate::review::Modules;

pub(super) fn security_modules() -> Section {
    let mut section = Section::new("security modules");
    let Modules { apparmor, selinux } = host::security_modules();
    for (name, active, cost) in [
        ("AppArmor", apparmor, "containers with process.apparmorProfile are refused"),
        ("SELinux", selinux, "containers with process.selinuxLabel or linux.mountLabel are refused"),
    ] {
        section.has(name, active, if active { "active" } else { "not active" }, cost);
    }
    section
}

/// Capabilities that we lack; each is one that a container's may ask for, and some are needed to make one.
pub(super) fn capabilities() -> Result<Section> {
    let mut section = Section::new("privileges");
    let permitted = caps::read(None, CapSet::Permitted).context("read our capabilities")?;
    let mut lacking: Vec<Capability> = caps::all().into_iter().filter(|cap| !permitted.contains(cap)).collect();
    lacking.sort_by_key(Capability::index);
    let rootless = host::is_rootless()?;
    let detail = match (rootless, lacking.is_empty()) {
        (_, true) => "all".to_owned(),
        (true, false) => format!("{} of {}: rootless", permitted.len(), permitted.len() + lacking.len()),
        (false, false) => {
            let names: Vec<String> = lacking.iter().map(ToString::to_string).collect();
            format!("without {}", names.join(" "))
        }
    };
    section.has(
        "capabilities",
        lacking.is_empty(),
        detail,
        "containers that ask for them, or for what they allow, are refused by the kernel",
    );
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
    section.ok("open files", format!("{hard} at most"));
    Ok(section)
}

/// Programs that write id maps for users without privileges (newuidmap(1)), and whose ids they may map (subuid(5)).
pub(super) fn rootless() -> Section {
    let mut section = Section::new("rootless");
    for program in ["newuidmap", "newgidmap"] {
        let found = find(program);
        let detail = found.as_ref().map_or("not on PATH".into(), |path| path.display().to_string());
        section.has(program, found.is_some(), detail, "rootless containers can map one id only");
    }
    for file in ["/etc/subuid", "/etc/subgid"] {
        let users = fs::read_to_string(file).unwrap_or_default();
        let users: Vec<&str> = users.lines().filter_map(|line| line.split_once(':')).map(|(user, _)| user).collect();
        let detail = if users.is_empty() { format!("nobody in {file}") } else { format!("for {}", users.join(" ")) };
        section.has(file, !users.is_empty(), detail, "rootless containers can map one id only");
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
    match runtime {
        Some(directory) => section.ok("XDG_RUNTIME_DIR", directory.to_string_lossy()),
        None => section.add("XDG_RUNTIME_DIR", State::Missing, "not set", Some("rootless, --root must be given")),
    }
    section
}

fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|path| fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0))
}
