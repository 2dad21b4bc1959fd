//! Statistics of one v1 hierarchy. Not for v2's files, whose names and units differ.

use std::path::Path;

use anyhow::{Context, Result};

use super::read::{hugetlb, key, keyed, list, number, numbers, text, value};
use super::{Blkio, BlkioEntry, Hugetlb, MemoryEntry, Stats};
use crate::plan::cgroup::Dir;

/// USER_HZ, the unit of cpuacct.stat: 100 on every architecture that matters here (time(7)).
const TICK_NS: u64 = 1_000_000_000 / 100;

type Reader = fn(&Path, &mut Stats) -> Result<()>;

const READERS: &[(&str, Reader)] = &[
    ("cpu", cpu),
    ("cpuacct", cpuacct),
    ("cpuset", cpuset),
    ("memory", memory),
    ("pids", pids),
    ("blkio", blkio),
    ("hugetlb", huge_pages),
];

/// Reads what the controllers of `dir` know.
pub fn read(dir: &Dir, stats: &mut Stats) -> Result<()> {
    let path = dir.path();
    READERS.iter().filter(|(controller, _)| dir.has(controller)).try_for_each(|(_, read)| read(&path, stats))
}

fn cpu(dir: &Path, stats: &mut Stats) -> Result<()> {
    let stat = keyed(dir, "cpu.stat")?;
    let throttling = &mut stats.cpu.throttling;
    throttling.periods = key(&stat, "nr_periods");
    throttling.throttled_periods = key(&stat, "nr_throttled");
    throttling.throttled_time = key(&stat, "throttled_time");
    Ok(())
}

fn cpuacct(dir: &Path, stats: &mut Stats) -> Result<()> {
    let usage = &mut stats.cpu.usage;
    usage.total = number(dir, "cpuacct.usage")?;
    usage.percpu = numbers(dir, "cpuacct.usage_percpu")?;
    let stat = keyed(dir, "cpuacct.stat")?;
    usage.user = key(&stat, "user") * TICK_NS;
    usage.kernel = key(&stat, "system") * TICK_NS;
    // A header, then "cpu user system" for each (Linux 4.11).
    for line in text(dir, "cpuacct.usage_all")?.unwrap_or_default().lines().skip(1) {
        let mut fields = line.split(' ').skip(1).map(value);
        if let (Some(user), Some(system)) = (fields.next(), fields.next()) {
            usage.percpu_user.push(user?);
            usage.percpu_kernel.push(system?);
        }
    }
    Ok(())
}

fn cpuset(dir: &Path, stats: &mut Stats) -> Result<()> {
    // Android mounts the hierarchy with `noprefix`.
    let prefix = if dir.join("cpuset.cpus").exists() { "cpuset." } else { "" };
    let name = |file: &str| format!("{prefix}{file}");
    let set = &mut stats.cpuset;
    set.cpus = list(dir, &name("cpus"))?;
    set.mems = list(dir, &name("mems"))?;
    for (file, field) in [
        ("cpu_exclusive", &mut set.cpu_exclusive),
        ("mem_hardwall", &mut set.mem_hardwall),
        ("mem_exclusive", &mut set.mem_exclusive),
        ("memory_migrate", &mut set.memory_migrate),
        ("memory_spread_page", &mut set.memory_spread_page),
        ("memory_spread_slab", &mut set.memory_spread_slab),
        ("memory_pressure", &mut set.memory_pressure),
        ("sched_load_balance", &mut set.sched_load_balance),
    ] {
        *field = number(dir, &name(file))?;
    }
    // The one that may be negative: -1, the host's default.
    let level = name("sched_relax_domain_level");
    if let Some(text) = text(dir, &level)? {
        set.sched_relax_domain_level = text.trim().parse().with_context(|| level)?;
    }
    Ok(())
}

fn memory(dir: &Path, stats: &mut Stats) -> Result<()> {
    let memory = &mut stats.memory;
    memory.raw = keyed(dir, "memory.stat")?;
    memory.cache = key(&memory.raw, "cache");
    memory.usage = entry(dir, "memory")?;
    memory.swap = entry(dir, "memory.memsw")?;
    memory.kernel = entry(dir, "memory.kmem")?;
    memory.kernel_tcp = entry(dir, "memory.kmem.tcp")?;
    Ok(())
}

/// Some kinds are optional in the kernel.
fn entry(dir: &Path, kind: &str) -> Result<MemoryEntry> {
    let number = |what: &str| number(dir, &format!("{kind}.{what}"));
    Ok(MemoryEntry {
        limit: number("limit_in_bytes")?,
        usage: number("usage_in_bytes")?,
        max: number("max_usage_in_bytes")?,
        failcnt: number("failcnt")?,
    })
}

fn pids(dir: &Path, stats: &mut Stats) -> Result<()> {
    stats.pids.current = number(dir, "pids.current")?;
    stats.pids.limit = Some(number(dir, "pids.max")?).filter(|limit| *limit != u64::MAX).unwrap_or_default();
    Ok(())
}

fn huge_pages(dir: &Path, stats: &mut Stats) -> Result<()> {
    stats.hugetlb = hugetlb(dir, ".usage_in_bytes", |name, _| {
        Ok(Hugetlb {
            usage: number(dir, &format!("{name}.usage_in_bytes"))?,
            max: number(dir, &format!("{name}.max_usage_in_bytes"))?,
            failcnt: number(dir, &format!("{name}.failcnt"))?,
        })
    })?;
    Ok(())
}

type Field = fn(&mut Blkio) -> &mut Vec<BlkioEntry>;

const BYTES: Field = |b| &mut b.io_service_bytes_recursive;
const SERVICED: Field = |b| &mut b.io_serviced_recursive;

/// An I/O scheduler's own counters, below its prefix.
const SCHEDULER: [(&str, Field); 8] = [
    ("sectors_recursive", |b| &mut b.sectors_recursive),
    ("io_service_time_recursive", |b| &mut b.io_service_time_recursive),
    ("io_wait_time_recursive", |b| &mut b.io_wait_time_recursive),
    ("io_merged_recursive", |b| &mut b.io_merged_recursive),
    ("io_queued_recursive", |b| &mut b.io_queued_recursive),
    ("time_recursive", |b| &mut b.io_time_recursive),
    ("io_serviced_recursive", SERVICED),
    ("io_service_bytes_recursive", BYTES),
];
const COUNTED: [(&str, Field); 2] = [("io_serviced_recursive", SERVICED), ("io_service_bytes_recursive", BYTES)];
const COUNTED_HERE: [(&str, Field); 2] = [("io_serviced", SERVICED), ("io_service_bytes", BYTES)];

/// Who may be counting, the best first; one whose first file is missing or empty is not. BFQ's full set needs a kernel
/// built to debug it, CFQ is gone since Linux 5.0, throttling counts always.
const SOURCES: [(&str, &[(&str, Field)]); 5] = [
    ("blkio.bfq", &SCHEDULER),
    ("blkio.bfq", &COUNTED),
    ("blkio", &SCHEDULER),
    ("blkio.throttle", &COUNTED),
    ("blkio.throttle", &COUNTED_HERE),
];

fn blkio(dir: &Path, stats: &mut Stats) -> Result<()> {
    for (prefix, files) in SOURCES {
        let mut found = Vec::new();
        for (name, field) in files {
            let entries = blkio_file(dir, &format!("{prefix}.{name}"))?;
            if entries.is_empty() && found.is_empty() {
                break;
            }
            found.push((field, entries));
        }
        if !found.is_empty() {
            for (field, entries) in found {
                *field(&mut stats.blkio) = entries;
            }
            return Ok(());
        }
    }
    Ok(())
}

/// Lines `MAJ:MIN [OP] VALUE`, and one with the total.
fn blkio_file(dir: &Path, name: &str) -> Result<Vec<BlkioEntry>> {
    let mut entries = Vec::new();
    for line in text(dir, name)?.unwrap_or_default().lines() {
        let fields: Vec<&str> = line.split([' ', ':']).filter(|field| !field.is_empty()).collect();
        let (major, minor, op, count) = match fields[..] {
            [major, minor, op, count] => (major, minor, op, count),
            [major, minor, count] => (major, minor, "", count),
            _ => continue,
        };
        let (major, minor, value) = (value(major)?, value(minor)?, value(count)?);
        entries.push(BlkioEntry { major, minor, op: op.to_owned(), value });
    }
    Ok(entries)
}
