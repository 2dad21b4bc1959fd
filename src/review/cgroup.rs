//! Devices that the container may use, and limits that it lacks.

use super::{Review, Severity};
use crate::plan::devices::NodeKind;

/// Character devices that are memory or hardware: `/dev/mem`, `/dev/kmem`, `/dev/port` (devices.txt of the kernel).
const MEMORY: &[(u32, u32)] = &[(1, 1), (1, 2), (1, 4)];

pub(super) fn look(review: &mut Review<'_>) {
    device_rules(review);
    device_nodes(review);
    limits(review);
}

/// Rules that allow every device, in the form that v1's files have and in v2's.
fn device_rules(review: &mut Review<'_>) {
    let limits = &review.plan.cgroup.limits;
    let v1 = limits.writes.iter().any(|write| write.file == "devices.allow" && write.value.starts_with("a"));
    let v2 = limits.devices.iter().flatten().rev().find(|rule| {
        // The first that speaks of every device, from the end, decides.
        rule.typ == crate::plan::cgroup::DeviceType::All && rule.major.is_none() && rule.minor.is_none()
    });
    if v1 || v2.is_some_and(|rule| rule.allow) {
        review.add(
            review.unless_mapped(Severity::Danger),
            "all-devices",
            "linux.resources.devices",
            "every device of the host may be used, its disks too",
            "begin with {\"allow\": false, \"access\": \"rwm\"} and allow what is needed",
        );
    }
}

fn device_nodes(review: &mut Review<'_>) {
    let plan = review.plan;
    for node in plan.dev.nodes.iter().filter(|node| node.at.starts_with("linux.devices")) {
        let (severity, what) = match node.kind {
            NodeKind::Block => {
                (Severity::Danger, "a block device: what is on it can be read and changed beneath every permission")
            }
            NodeKind::Char if MEMORY.contains(&(node.major, node.minor)) => (Severity::Danger, "the host's memory"),
            _ => continue,
        };
        let what = format!("{} is {what}", node.path.display());
        review.add(severity, "device-node", &node.at, what, "leave it out");
    }
}

/// Without these one container can starve the host.
fn limits(review: &mut Review<'_>) {
    let limits = &review.plan.cgroup.limits;
    let set = |name: &str| {
        limits
            .writes
            .iter()
            .chain(&limits.late)
            .any(|write| write.json.ends_with(name) && write.value != "max" && write.value != "-1")
    };
    let (pids, memory) = (set("pids.limit"), set("memory.limit"));
    if !pids {
        let what = "the container may fill the host's process table";
        review.add(Severity::Warning, "no-pids-limit", "linux.resources.pids.limit", what, "set a limit");
    }
    if !memory {
        let what = "the container may use all of the host's memory";
        review.add(Severity::Note, "no-memory-limit", "linux.resources.memory.limit", what, "set a limit");
    }
}
