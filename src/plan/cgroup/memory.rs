//! `linux.resources.memory`. The document counts swap as memory + swap (v1's memsw); v2 counts it alone.

use oci_spec::runtime::LinuxMemory;

use super::{Check, OnError, Out, Result, Version};

const UNLIMITED: i64 = -1;

pub(super) fn compile(memory: &LinuxMemory, update: bool, out: &mut Out) -> Result<()> {
    // 0 has always meant "not set": clients send it for a field that their user left out.
    let number = |field: &str, value: Option<i64>| match value {
        None | Some(0) => Ok(None),
        Some(n) if n < UNLIMITED => out.refuse(field, format!("{n} is negative (-1 means unlimited)")),
        some => Ok(some),
    };
    let limit = number("memory.limit", memory.limit())?;
    let reservation = number("memory.reservation", memory.reservation())?;
    let mut swap = number("memory.swap", memory.swap())?;

    let unlimited = [limit, reservation, swap].iter().flatten().all(|n| *n == UNLIMITED);
    let first = match (limit, reservation, swap) {
        (Some(_), ..) => "memory.limit",
        (_, Some(_), _) => "memory.reservation",
        _ => "memory.swap",
    };
    if [limit, reservation, swap].iter().any(Option::is_some)
        && let Some(version) = out.need_unless(unlimited, "memory", "memory", first)
    {
        let implied = limit == Some(UNLIMITED) && swap.is_none();
        if implied {
            // "Unlimited memory" with the swap left out has always meant both.
            swap = Some(UNLIMITED);
        }
        check_swap(limit, swap, version, update, out)?;
        match version {
            Version::V1 => v1(limit, reservation, swap, out),
            Version::V2 => v2(limit, reservation, swap, memory.check_before_update() == Some(true), out),
        }
    }
    switches(memory, out)
}

/// The relations between limit and swap that the kernel would refuse with a bare EINVAL.
fn check_swap(limit: Option<i64>, swap: Option<i64>, version: Version, update: bool, out: &Out) -> Result<()> {
    let Some(swap) = swap.filter(|s| *s != UNLIMITED) else {
        return Ok(());
    };
    match limit {
        // v1 keeps the limit that an earlier write set.
        None if update && version == Version::V1 => Ok(()),
        None => out.refuse("memory.swap", "unable to set swap limit without memory limit"),
        Some(UNLIMITED) if version == Version::V1 => {
            out.refuse("memory.swap", format!("{swap} bytes of memory and swap, but memory.limit is unlimited"))
        }
        Some(limit) if swap < limit => {
            out.refuse("memory.swap", format!("memory+swap limit should be >= memory limit ({swap} < {limit})"))
        }
        Some(_) => Ok(()),
    }
}

fn v1(limit: Option<i64>, reservation: Option<i64>, swap: Option<i64>, out: &mut Out) {
    if let Some(limit) = limit {
        // The kernel keeps limit <= memsw at every step. Lowering both, the limit must go first; raising both, it gets
        // EINVAL and goes last.
        let on_error = if swap.is_some() { OnError::RetryLast } else { OnError::Fail };
        out.write_or("memory", "memory.limit_in_bytes", limit, "memory.limit", on_error);
    }
    if let Some(swap) = swap {
        // Without swap accounting memsw does not exist, and swap is unlimited.
        let on_error = if swap == UNLIMITED { OnError::IgnoreMissing } else { OnError::Fail };
        out.write_or("memory", "memory.memsw.limit_in_bytes", swap, "memory.swap", on_error);
    }
    if let Some(reservation) = reservation {
        out.write("memory", "memory.soft_limit_in_bytes", reservation, "memory.reservation");
    }
}

fn v2(limit: Option<i64>, reservation: Option<i64>, swap: Option<i64>, check: bool, out: &mut Out) {
    let max = |n: i64| {
        if n == UNLIMITED { "max".to_owned() } else { n.to_string() }
    };
    if check {
        for (field, value) in [("memory.swap", swap), ("memory.limit", limit)] {
            if let Some(value) = value.and_then(|v| u64::try_from(v).ok()) {
                let json = out.at(field);
                out.limits.checks.push(Check {
                    controller: "memory".into(),
                    file: "memory.current".into(),
                    value,
                    json,
                });
            }
        }
    }
    if let Some(swap) = swap {
        let own = match limit {
            Some(limit) if limit != UNLIMITED && swap != UNLIMITED => swap - limit,
            _ => swap,
        };
        // Without swap accounting the file does not exist; "none" and "unlimited" then hold as they are.
        let on_error = if own <= 0 { OnError::IgnoreMissing } else { OnError::Fail };
        out.write_or("memory", "memory.swap.max", max(own), "memory.swap", on_error);
    }
    if let Some(limit) = limit {
        out.write("memory", "memory.max", max(limit), "memory.limit");
    }
    if let Some(reservation) = reservation {
        out.write("memory", "memory.low", max(reservation), "memory.reservation");
    }
}

/// The rest: swappiness, the OOM killer, hierarchy, kernel memory.
fn switches(memory: &LinuxMemory, out: &mut Out) -> Result<()> {
    // Docker sends -1 through an unsigned field for "not set".
    if let Some(n) = memory.swappiness().filter(|n| *n != u64::MAX) {
        if n > 100 {
            return out.refuse("memory.swappiness", format!("{n} is not in 0..=100"));
        }
        match out.need("memory", "memory", "memory.swappiness") {
            Version::V1 => out.write("memory", "memory.swappiness", n, "memory.swappiness"),
            Version::V2 => {
                out.only_v1("memory.swappiness", "cgroup v2 has no swappiness of its own");
            }
        }
    }
    if memory.disable_oom_killer() == Some(true) {
        match out.need("memory", "memory", "memory.disableOOMKiller") {
            Version::V1 => out.write("memory", "memory.oom_control", 1, "memory.disableOOMKiller"),
            Version::V2 => {
                out.only_v1("memory.disableOOMKiller", "cgroup v2 cannot disable the OOM killer");
            }
        }
    }
    match memory.use_hierarchy() {
        Some(true) if out.need("memory", "memory", "memory.useHierarchy") == Version::V1 => {
            out.write_or("memory", "memory.use_hierarchy", 1, "memory.useHierarchy", OnError::IgnoreMissing);
        }
        Some(false) => {
            let at = out.at("memory.useHierarchy");
            out.warn.push(format!("{at}: false has no effect: memory is always counted hierarchically (Linux 5.11)"));
        }
        _ => {}
    }
    kernel(memory, out)
}

fn kernel(memory: &LinuxMemory, out: &mut Out) -> Result<()> {
    for (field, value) in [("memory.kernel", memory.kernel()), ("memory.kernelTCP", memory.kernel_tcp())] {
        let Some(value) = value.filter(|v| *v != 0) else {
            continue;
        };
        if value < UNLIMITED {
            return out.refuse(field, format!("{value} is negative (-1 means unlimited)"));
        }
        if field == "memory.kernelTCP" && out.find("memory") == Some(Version::V1) {
            out.write_or("memory", "memory.kmem.tcp.limit_in_bytes", value, field, OnError::IgnoreMissing);
        } else {
            // v1 refuses memory.kmem.limit_in_bytes since Linux 5.16; v2 counts kernel memory in memory.max.
            let at = out.at(field);
            out.warn.push(format!("{at}: ignored: the kernel has no separate limit for kernel memory"));
        }
    }
    Ok(())
}
