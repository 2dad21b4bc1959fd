//! What limits and measures containers: cgroups, systemd, pressure, huge pages, resctrl.

use std::fs;
use std::path::Path;

use super::{Section, State};
use crate::cgroup::layout::{Kind, Layout};
use crate::sys::bpf::{Insn, Reg, load_cgroup_device};

/// What a document can limit: its field in `linux.resources`, the controller on v1 and the one on v2 (empty: none).
const CONTROLLERS: &[(&str, &str, &str)] = &[
    ("cpu", "cpu", "cpu"),
    ("cpu.cpus", "cpuset", "cpuset"),
    ("memory", "memory", "memory"),
    ("pids", "pids", "pids"),
    ("blockIO", "blkio", "io"),
    ("hugepageLimits", "hugetlb", "hugetlb"),
    ("rdma", "rdma", "rdma"),
    ("network.classID", "net_cls", ""),
    ("network.priorities", "net_prio", ""),
];

pub(super) fn cgroup(layout: &Layout) -> Section {
    let mut section = Section::new("cgroup");
    let kind = match layout.kind() {
        Kind::V1 => "v1",
        Kind::Hybrid => "hybrid: v1 with v2 beside it",
        Kind::V2 => "v2",
    };
    if layout.v1.is_empty() && layout.v2.is_none() {
        let cost = "containers run without limits, and need --cgroup-manager disabled";
        section.add("layout", State::Missing, "no cgroup hierarchy below /sys/fs/cgroup", Some(cost));
        return section;
    }
    section.ok("layout", kind);
    for (field, v1, v2) in CONTROLLERS {
        let on_v1 = layout.v1(v1).map(|hierarchy| hierarchy.mount.display().to_string());
        let on_v2 = layout.v2.as_ref().filter(|unified| unified.controllers.iter().any(|name| name == v2));
        let place = on_v1.or_else(|| on_v2.map(|unified| format!("{v2} in {}", unified.mount.display())));
        let there = place.is_some();
        // v1's two for networks have no heir in v2: there, nobody wants for them.
        if there || layout.kind() != Kind::V2 || !v2.is_empty() {
            let name = format!("linux.resources.{field}");
            section.has(
                name,
                there,
                place.unwrap_or("no such controller".into()),
                "containers with this limit are refused",
            );
        }
    }
    devices(&mut section, layout);
    let init = Path::new("/run/systemd/system").is_dir();
    let detail = if init { "runs this host" } else { "does not run this host" };
    section.has("systemd", init, detail, "--systemd-cgroup is refused: use the cgroupfs driver");
    section
}

/// v1 has a controller for devices; v2 takes a program.
fn devices(section: &mut Section, layout: &Layout) {
    const COST: &str = "access to devices is not restricted, and containers with device rules are refused";
    const NAME: &str = "linux.resources.devices";
    match layout.v1("devices") {
        Some(hierarchy) => section.ok(NAME, hierarchy.mount.display().to_string()),
        None => {
            let program = load_cgroup_device(&[Insn::set(Reg::R0, 1), Insn::exit()]);
            section.tried(NAME, &program, State::Missing, COST);
        }
    }
}

pub(super) fn other() -> Section {
    let mut section = Section::new("resources");
    section.path("pressure", "/proc/pressure/cpu", "`events` tells no psi");
    section.path("resctrl", "/sys/fs/resctrl/schemata", "containers with linux.intelRdt are refused");
    let sizes: Vec<String> = fs::read_dir("/sys/kernel/mm/hugepages")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("hugepages-").map(str::to_owned))
        .collect();
    section.has(
        "huge pages",
        !sizes.is_empty(),
        sizes.join(" "),
        "containers with linux.resources.hugepageLimits are refused",
    );
    section
}
