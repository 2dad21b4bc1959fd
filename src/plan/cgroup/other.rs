//! The small controllers: pids, hugetlb, net_cls, net_prio, rdma; and `unified`, v2's files by name.

use std::collections::{BTreeMap, HashMap};

use oci_spec::runtime::{LinuxHugepageLimit, LinuxNetwork, LinuxPids, LinuxRdma};

use super::{OnError, Out, Result, Version};
use crate::cgroup::layout::Kind;
use crate::error::InputError;
use crate::plan::no_nul;

/// -1 is unlimited; 0 is a limit like any other since runtime-spec 1.3.
pub(super) fn pids(pids: &LinuxPids, update: bool, out: &mut Out) -> Result<()> {
    let limit = pids.limit();
    if limit < -1 {
        return out.refuse("pids.limit", format!("{limit} is negative (-1 means unlimited)"));
    }
    let Some(version) = out.need_unless(limit == -1, "pids", "pids", "pids.limit") else {
        return Ok(());
    };
    let value = if limit == -1 { "max".to_owned() } else { limit.to_string() };
    out.write("pids", "pids.max", value, "pids.limit");
    if limit == 0 && version == Version::V2 && !update {
        // clone3 into a cgroup without room for one process is EAGAIN, so init must be in it first.
        out.limits.late.extend(out.limits.writes.pop());
    }
    Ok(())
}

pub(super) fn hugepages(limits: &[LinuxHugepageLimit], out: &mut Out) -> Result<()> {
    for (i, l) in limits.iter().enumerate() {
        let at = format!("hugepageLimits[{i}]");
        let (size, limit) = (l.page_size(), l.limit());
        // Also what keeps a path out of the file's name.
        if !is_page_size(size) {
            let at = out.at(&format!("{at}.pageSize"));
            return Err(InputError::new(at, format!("{size:?} is not of the form 2MB")).hint("<number>KB, MB or GB"));
        }
        if limit < 0 {
            return out.refuse(&format!("{at}.limit"), format!("{limit} is negative"));
        }
        let suffix = match out.need("hugetlb", "hugetlb", &at) {
            Version::V1 => "limit_in_bytes",
            Version::V2 => "max",
        };
        let field = format!("{at}.limit");
        out.write("hugetlb", format!("hugetlb.{size}.{suffix}"), limit, &field);
        // Reservations are counted since Linux 5.7; without it mmap reserves freely and the fault is what fails.
        out.write_or("hugetlb", format!("hugetlb.{size}.rsvd.{suffix}"), limit, &field, OnError::IgnoreMissing);
    }
    Ok(())
}

/// `^[1-9][0-9]*[KMG]B$`
fn is_page_size(size: &str) -> bool {
    let digits = size.trim_end_matches(|c: char| !c.is_ascii_digit());
    matches!(&size[digits.len()..], "KB" | "MB" | "GB")
        && !digits.starts_with('0')
        && !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
}

pub(super) fn network(network: &LinuxNetwork, out: &mut Out) -> Result<()> {
    let v1_only = |controller, field: &str, out: &mut Out| match out.layout.kind() {
        Kind::V2 => {
            out.only_v1(field, &format!("cgroup v2 has no {controller} controller: use nftables' \"socket cgroupv2\""))
        }
        Kind::V1 | Kind::Hybrid => {
            out.need(controller, controller, field);
        }
    };
    if let Some(id) = network.class_id().filter(|id| *id != 0) {
        v1_only("net_cls", "network.classID", out);
        out.write("net_cls", "net_cls.classid", id, "network.classID");
    }
    for (i, p) in network.priorities().iter().flatten().enumerate() {
        let at = format!("network.priorities[{i}]");
        v1_only("net_prio", &at, out);
        let name = format!("{at}.name");
        no_nul(&out.at(&name), p.name())?;
        if p.name().is_empty() || p.name().contains(|c: char| c.is_whitespace() || c == '/') {
            return out.refuse(&name, format!("{:?} is no interface name", p.name()));
        }
        out.write("net_prio", "net_prio.ifpriomap", format!("{} {}", p.name(), p.priority()), &at);
    }
    Ok(())
}

pub(super) fn rdma(devices: &HashMap<String, LinuxRdma>, out: &mut Out) -> Result<()> {
    for (name, limit) in devices.iter().collect::<BTreeMap<_, _>>() {
        let at = format!("rdma[{name:?}]");
        no_nul(&out.at(&at), name)?;
        if name.is_empty() || name.contains(char::is_whitespace) {
            return out.refuse(&at, "is no device name");
        }
        let mut value = name.clone();
        for (key, n) in [("hca_handle", limit.hca_handles()), ("hca_object", limit.hca_objects())] {
            if let Some(n) = n {
                value.push_str(&format!(" {key}={n}"));
            }
        }
        if value == *name {
            return out.refuse(&at, "needs hcaHandles or hcaObjects");
        }
        out.need("rdma", "rdma", &at);
        out.write("rdma", "rdma.max", value, &at);
    }
    Ok(())
}

/// Written last, so that it overrules. A value of several lines is written line by line: the kernel takes one at a time.
pub(super) fn unified(files: &HashMap<String, String>, out: &mut Out) -> Result<()> {
    for (file, value) in files.iter().collect::<BTreeMap<_, _>>() {
        let at = format!("unified[{file:?}]");
        no_nul(&out.at(&at), file)?;
        no_nul(&out.at(&at), value)?;
        if file.contains('/') {
            return out.refuse(&at, "must be a file name (no slashes)");
        }
        let Some((controller, parameter)) = file.split_once('.').filter(|(c, p)| !c.is_empty() && !p.is_empty()) else {
            return out.refuse(&at, "must be in the form CONTROLLER.PARAMETER");
        };
        let Some(v2) = &out.layout.v2 else {
            return out.refuse(&at, "cannot use unified on cgroup v1");
        };
        // PSI's files (cpu.pressure) are there without their controllers.
        let core = controller == "cgroup" || parameter == "pressure";
        if !core && !v2.controllers.iter().any(|c| c == controller) {
            let at = out.at(&at);
            return Err(InputError::new(at, format!("controller {controller:?} not available"))
                .hint(format!("this host's v2 controllers: {}", v2.controllers.join(" "))));
        }
        let controller = if core { "cgroup" } else { controller };
        for line in value.lines().filter(|l| !l.trim().is_empty()) {
            out.write(controller, file.as_str(), line, &at);
        }
    }
    Ok(())
}
