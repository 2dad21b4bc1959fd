//! Statistics of a v2 directory, in v1's terms where runc's shape asks for them. Not for v1's files.

use std::path::Path;

use anyhow::{Context, Result};

use super::read::{hugetlb, key, keyed, number, text, value};
use super::{Blkio, BlkioEntry, Hugetlb, MemoryEntry, Psi, PsiData, Stats};

/// Reads what belongs to this side: `free` says of a v1 controller whether no v1 hierarchy holds it. Pressure is known
/// on v2 only.
pub fn read(dir: &Path, free: impl Fn(&str) -> bool, stats: &mut Stats) -> Result<()> {
    if free("cpu") && free("cpuacct") {
        cpu(dir, stats)?;
    }
    if free("memory") {
        memory(dir, stats)?;
    }
    if free("pids") {
        stats.pids.current = number(dir, "pids.current")?;
        stats.pids.limit = Some(number(dir, "pids.max")?).filter(|limit| *limit != u64::MAX).unwrap_or_default();
    }
    if free("blkio") {
        io(dir, &mut stats.blkio)?;
    }
    if free("hugetlb") {
        stats.hugetlb = hugetlb(dir, ".current", |name, plain| {
            Ok(Hugetlb {
                usage: number(dir, &format!("{name}.current"))?,
                max: 0,
                // Reservations have no events of their own.
                failcnt: key(&keyed(dir, &format!("{plain}.events"))?, "max"),
            })
        })?;
    }
    stats.cpu.psi = pressure(dir, "cpu.pressure")?;
    stats.memory.psi = pressure(dir, "memory.pressure")?;
    stats.blkio.psi = pressure(dir, "io.pressure")?;
    Ok(())
}

fn cpu(dir: &Path, stats: &mut Stats) -> Result<()> {
    let stat = keyed(dir, "cpu.stat")?;
    let nanoseconds = |name: &str| key(&stat, name) * 1000;
    let (usage, throttling) = (&mut stats.cpu.usage, &mut stats.cpu.throttling);
    usage.total = nanoseconds("usage_usec");
    usage.user = nanoseconds("user_usec");
    usage.kernel = nanoseconds("system_usec");
    throttling.periods = key(&stat, "nr_periods");
    throttling.throttled_periods = key(&stat, "nr_throttled");
    throttling.throttled_time = nanoseconds("throttled_usec");
    Ok(())
}

fn memory(dir: &Path, stats: &mut Stats) -> Result<()> {
    let memory = &mut stats.memory;
    memory.raw = keyed(dir, "memory.stat")?;
    memory.cache = key(&memory.raw, "file");
    memory.usage = entry(dir, "memory")?;
    // v1 counts memory and swap together. The peak of the sum is not the sum of the peaks: it is unknown.
    let swap = entry(dir, "memory.swap")?;
    memory.swap = MemoryEntry {
        limit: swap.limit.saturating_add(memory.usage.limit),
        usage: swap.usage + memory.usage.usage,
        max: 0,
        failcnt: swap.failcnt,
    };
    Ok(())
}

/// The peaks exist since Linux 5.19 (memory) and 6.5 (swap).
fn entry(dir: &Path, kind: &str) -> Result<MemoryEntry> {
    let number = |what: &str| number(dir, &format!("{kind}.{what}"));
    Ok(MemoryEntry { limit: number("max")?, usage: number("current")?, max: number("peak")?, failcnt: 0 })
}

/// Lines `MAJ:MIN rbytes=… wbytes=… rios=… wios=… …`.
fn io(dir: &Path, blkio: &mut Blkio) -> Result<()> {
    for line in text(dir, "io.stat")?.unwrap_or_default().lines() {
        let mut fields = line.split_whitespace();
        let Some((major, minor)) = fields.next().and_then(|device| device.split_once(':')) else { continue };
        let (major, minor) = (value(major)?, value(minor)?);
        for (name, count) in fields.filter_map(|field| field.split_once('=')) {
            let (list, op) = match name {
                "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
                "rios" => (&mut blkio.io_serviced_recursive, "Read"),
                "wios" => (&mut blkio.io_serviced_recursive, "Write"),
                // Discards, and iocost's numbers, have no place in the shape.
                _ => continue,
            };
            list.push(BlkioEntry { major, minor, op: op.to_owned(), value: value(count)? });
        }
    }
    Ok(())
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full` (cpu: since Linux 5.13).
fn pressure(dir: &Path, name: &str) -> Result<Option<Psi>> {
    let Some(text) = text(dir, name)? else { return Ok(None) };
    let mut psi = Psi::default();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        let data = match fields.next() {
            Some("some") => &mut psi.some,
            Some("full") => &mut psi.full,
            _ => continue,
        };
        *data = pressures(fields).with_context(|| format!("{name}: {line:?}"))?;
    }
    Ok(Some(psi))
}

fn pressures<'a>(fields: impl Iterator<Item = &'a str>) -> Result<PsiData> {
    let mut data = PsiData::default();
    for (name, text) in fields.filter_map(|field| field.split_once('=')) {
        match name {
            "avg10" => data.avg10 = text.parse()?,
            "avg60" => data.avg60 = text.parse()?,
            "avg300" => data.avg300 = text.parse()?,
            "total" => data.total = text.parse()?,
            _ => {}
        }
    }
    Ok(data)
}
