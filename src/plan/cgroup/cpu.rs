//! `linux.resources.cpu`: shares, bandwidth, real time, idle; and the cpuset.

use oci_spec::runtime::LinuxCpu;

use super::{OnError, Out, Result, Version};

/// µs; the kernel's bounds for a bandwidth period, and its lower one for a quota (kernel/sched/core.c).
const PERIOD: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;
const DEFAULT_PERIOD: u64 = 100_000;
/// The kernel clamps `cpu.shares` to these without a word.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

pub(super) fn compile(cpu: &LinuxCpu, out: &mut Out) -> Result<()> {
    shares_and_idle(cpu, out)?;
    bandwidth(cpu, out)?;
    realtime(cpu, out)
}

fn shares_and_idle(cpu: &LinuxCpu, out: &mut Out) -> Result<()> {
    let idle = match cpu.idle() {
        None => None,
        Some(n @ (0 | 1)) => Some((n, out.need("cpu", "cpu", "cpu.idle"))),
        Some(n) => return out.refuse("cpu.idle", format!("{n} is neither 0 nor 1")),
    };
    // Shares are EINVAL while a cgroup is idle: it must stop being so first, and become so last.
    if let Some((0, _)) = idle {
        out.write("cpu", "cpu.idle", 0, "cpu.idle");
    }
    if let Some(shares) = cpu.shares().filter(|s| *s != 0) {
        let on_error = if matches!(idle, Some((1, _))) { OnError::IgnoreInvalid } else { OnError::Fail };
        match out.need("cpu", "cpu", "cpu.shares") {
            Version::V1 if shares < *SHARES.start() => {
                return out.refuse("cpu.shares", format!("the minimum allowed cpu-shares is {}", SHARES.start()));
            }
            Version::V1 if shares > *SHARES.end() => {
                return out.refuse("cpu.shares", format!("the maximum allowed cpu-shares is {}", SHARES.end()));
            }
            Version::V1 => out.write_or("cpu", "cpu.shares", shares, "cpu.shares", on_error),
            Version::V2 => out.write_or("cpu", "cpu.weight", weight(shares), "cpu.shares", on_error),
        }
    }
    if let Some((1, _)) = idle {
        out.write("cpu", "cpu.idle", 1, "cpu.idle");
    }
    Ok(())
}

/// v1's shares (2..=262144, 1024 by default) as v2's weight (1..=10000, 100 by default): the quadratic in log2 through
/// these three points that runc 1.3.2, crun 1.23 and Kubernetes use.
fn weight(shares: u64) -> u64 {
    if shares <= *SHARES.start() {
        return 1;
    }
    if shares >= *SHARES.end() {
        return 10_000;
    }
    let l = (shares as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    // Rounded up, but a power of ten that floating point missed by a hair stays one.
    (10f64.powf(exponent) - 1e-9).ceil() as u64
}

fn bandwidth(cpu: &LinuxCpu, out: &mut Out) -> Result<()> {
    let period = cpu.period().filter(|p| *p != 0);
    if let Some(p) = period.filter(|p| !PERIOD.contains(p)) {
        return out.refuse("cpu.period", format!("{p} µs is not in {}..={}", PERIOD.start(), PERIOD.end()));
    }
    let quota = cpu.quota().filter(|q| *q != 0);
    if let Some(q) = quota.filter(|q| *q != -1 && *q < *PERIOD.start() as i64) {
        return out.refuse("cpu.quota", format!("{q} µs: the least is {} (-1 means unlimited)", PERIOD.start()));
    }
    if let (Some(burst), Some(q)) = (cpu.burst(), quota.and_then(|q| u64::try_from(q).ok()))
        && burst > q
    {
        return out.refuse("cpu.burst", format!("{burst} µs exceeds cpu.quota ({q})"));
    }
    let first = if quota.is_some() {
        "cpu.quota"
    } else if period.is_some() {
        "cpu.period"
    } else if cpu.burst().is_some() {
        "cpu.burst"
    } else {
        return Ok(());
    };
    let unlimited = quota.unwrap_or(-1) == -1 && period.is_none() && cpu.burst().unwrap_or(0) == 0;
    let Some(version) = out.need_unless(unlimited, "cpu", "cpu", first) else {
        return Ok(());
    };
    // A burst of 0 is what a kernel before 5.14, which lacks the file, has anyway. And period and burst can be EINVAL
    // against the quota still in force (an update): then they go after the quota.
    let on_burst = |b: u64| match (b, quota) {
        (0, _) => OnError::IgnoreMissing,
        (_, Some(_)) => OnError::RetryLast,
        _ => OnError::Fail,
    };
    match version {
        Version::V1 => {
            if let Some(p) = period {
                let on_error = if quota.is_some() { OnError::RetryLast } else { OnError::Fail };
                out.write_or("cpu", "cpu.cfs_period_us", p, "cpu.period", on_error);
            }
            if let Some(b) = cpu.burst() {
                out.write_or("cpu", "cpu.cfs_burst_us", b, "cpu.burst", on_burst(b));
            }
            if let Some(q) = quota {
                out.write("cpu", "cpu.cfs_quota_us", q, "cpu.quota");
            }
        }
        Version::V2 => {
            if let Some(b) = cpu.burst() {
                out.write_or("cpu", "cpu.max.burst", b, "cpu.burst", on_burst(b));
            }
            if quota.is_some() || period.is_some() {
                let quota = quota.filter(|q| *q > 0).map_or("max".to_owned(), |q| q.to_string());
                out.write("cpu", "cpu.max", format!("{quota} {}", period.unwrap_or(DEFAULT_PERIOD)), first);
            }
        }
    }
    Ok(())
}

/// Real-time bandwidth must stand before a real-time process joins, and exists on v1 only.
fn realtime(cpu: &LinuxCpu, out: &mut Out) -> Result<()> {
    let period = cpu.realtime_period().filter(|p| *p != 0);
    let runtime = cpu.realtime_runtime().filter(|r| *r != 0);
    if let Some(r) = runtime.filter(|r| *r < -1) {
        return out.refuse("cpu.realtimeRuntime", format!("{r} is negative (-1 means unlimited)"));
    }
    for (field, file, value) in [
        ("cpu.realtimePeriod", "cpu.rt_period_us", period.map(|p| p.to_string())),
        ("cpu.realtimeRuntime", "cpu.rt_runtime_us", runtime.map(|r| r.to_string())),
    ] {
        let Some(value) = value else { continue };
        match out.need("cpu", "cpu", field) {
            Version::V1 => out.write("cpu", file, value, field),
            Version::V2 => out.only_v1(field, "cgroup v2 has no real-time bandwidth"),
        }
    }
    Ok(())
}

/// The cpuset, written before all else: on v1 nobody can join one without cpus and mems.
pub(super) fn cpuset(cpu: &LinuxCpu, out: &mut Out) -> Result<()> {
    for (field, name, value) in [("cpu.cpus", "cpus", cpu.cpus()), ("cpu.mems", "mems", cpu.mems())] {
        let Some(list) = value.as_deref().map(str::trim).filter(|l| !l.is_empty()) else {
            continue;
        };
        if let Err(why) = check_list(list) {
            return out.refuse(field, format!("{list:?} is not a list such as \"0-3,5\": {why}"));
        }
        let file = format!("cpuset.{name}");
        match out.need("cpuset", "cpuset", field) {
            // Android mounts the hierarchy with `noprefix`.
            Version::V1 => {
                let other = OnError::Or { file: name.into(), value: list.into() };
                out.write_or("cpuset", file, list, field, other);
            }
            Version::V2 => out.write("cpuset", file, list, field),
        }
    }
    Ok(())
}

/// The kernel's list format (cpuset(7)): numbers and ranges, `N` for the last, `all`, `0-15:2/4` for groups of a range.
fn check_list(list: &str) -> std::result::Result<(), String> {
    let number = |s: &str| match s {
        "N" => Ok(u32::MAX),
        _ if s.bytes().all(|b| b.is_ascii_digit()) => s.parse().map_err(|_| format!("{s:?} is no number")),
        _ => Err(format!("{s:?} is no number")),
    };
    for item in list.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|i| !i.is_empty()) {
        let (range, group) = item.split_once(':').map_or((item, None), |(r, g)| (r, Some(g)));
        match range.split_once('-') {
            Some((first, last)) if number(first)? > number(last)? => {
                return Err(format!("{range:?} runs backwards"));
            }
            Some(_) => {}
            None if range == "all" => {}
            None => {
                number(range)?;
            }
        }
        if let Some(group) = group {
            let (used, size) = group.split_once('/').ok_or_else(|| format!("{group:?} is not USED/SIZE"))?;
            let (used, size): (u32, u32) = (number(used)?, number(size)?);
            if size == 0 || used > size {
                return Err(format!("{group:?} uses more than there is"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_by_the_quadratic_formula() {
        // The values of runc's and crun's own tests.
        for (shares, expect) in
            [(1, 1), (2, 1), (1024, 100), (262_144, 10_000), (300_000, 10_000), (512, 59), (2048, 174), (10, 4)]
        {
            assert_eq!(weight(shares), expect, "{shares}");
        }
    }

    #[test]
    fn cpu_lists_are_checked_as_the_kernel_reads_them() {
        for good in ["0", "0-3,5", "0-15:2/4", "all", "0-N", "1, 3", "1,,2"] {
            assert_eq!(check_list(good), Ok(()), "{good}");
        }
        for bad in ["a", "3-1", "-1", "0-", "0-3:4", "0-3:2/0", "0-3:5/4", "0x1", "99999999999", "+1"] {
            assert!(check_list(bad).is_err(), "{bad}");
        }
    }
}
