//! Limits as properties of a unit. They are read off the writes that the limits were compiled into, so that `resources`,
//! `unified` and `update` need one table. What systemd has no property for is in the files alone, where systemd leaves
//! it as it is; what it has one for would be overwritten when it next looks at the unit.

use std::path::Path;

use oci_spec::runtime::Spec;

use super::super::devices::{self, DeviceRule, DeviceType};
use super::super::{Limits, OnError, Out, Result, Write};
use super::gvariant::{Value, bytes};
use super::{Property, last_of_each};
use crate::host::DeviceName;

/// µs in a second, and in a hundredth of it: systemd keeps a quota as whole percents.
const SECOND: u64 = 1_000_000;
const PERCENT: u64 = SECOND / 100;
/// The kernel's own period of a quota, in µs.
const DEFAULT_PERIOD: u64 = 100_000;
/// More cpus than Linux can be built for (CONFIG_NR_CPUS).
const MAX_CPUS: usize = 1 << 14;

/// Files whose number is a property's, as it is; `max` and v1's -1 are the greatest number.
const NUMBERS: &[(&str, &str)] = &[
    ("memory.max", "MemoryMax"),
    ("memory.high", "MemoryHigh"),
    ("memory.low", "MemoryLow"),
    ("memory.min", "MemoryMin"),
    ("memory.swap.max", "MemorySwapMax"),
    ("memory.limit_in_bytes", "MemoryLimit"),
    ("cpu.weight", "CPUWeight"),
    ("cpu.shares", "CPUShares"),
    ("io.weight", "IOWeight"),
    ("blkio.weight", "BlockIOWeight"),
    ("pids.max", "TasksMax"),
];

/// The properties that `limits` come to, but for the devices.
pub fn of_limits(limits: &Limits) -> Vec<Property> {
    let mut all = Vec::new();
    let writes = || limits.writes.iter().chain(&limits.late);
    for w in writes() {
        all.extend(of_write(w));
    }
    // The two of v1 that make one quota; v2 has them in one file.
    let v1 = |file: &str| writes().rfind(|w| w.file == file);
    let (quota, period) = (v1("cpu.cfs_quota_us"), v1("cpu.cfs_period_us"));
    if let Some(w) = quota.or(period) {
        let (quota, period) = (quota.map(|w| w.value.parse()), period.map(|w| w.value.parse()));
        all.extend(bandwidth(quota.and_then(|n| n.ok()), period.and_then(|n| n.ok()), &w.json));
    }
    // An idle cgroup has no weight, and that is how systemd is told so.
    if let Some(w) = writes().rfind(|w| w.file == "cpu.idle").filter(|w| w.value == "1") {
        all.push(Property::optional("CPUWeight", Value::Uint64(0), &w.json));
    }
    last_of_each(all)
}

fn of_write(w: &Write) -> Vec<Property> {
    let one = |name: &str, value: Value| vec![Property::optional(name, value, &w.json)];
    // Where there are two files for a thing, systemd speaks of the general one.
    let (file, value) = match &w.on_error {
        OnError::Or { file, value } if file == "io.weight" => (file.as_str(), value.as_str()),
        _ => (w.file.as_str(), w.value.as_str()),
    };
    let value = value.trim();
    if let Some((_, name)) = NUMBERS.iter().find(|(known, _)| *known == file) {
        // One of a device has a number before it, and no property.
        let value = value.strip_prefix("default ").unwrap_or(value);
        let number = if matches!(value, "max" | "-1") { Some(u64::MAX) } else { value.parse().ok() };
        return number.map_or_else(Vec::new, |n| one(name, Value::Uint64(n)));
    }
    match file {
        "cpu.max" => {
            let mut words = value.split_whitespace();
            let quota = words.next().and_then(|quota| quota.parse().ok());
            bandwidth(quota, words.next().and_then(|period| period.parse().ok()), &w.json)
        }
        "cpuset.cpus" => bits(value).map_or_else(Vec::new, |bits| one("AllowedCPUs", bytes(&bits))),
        "cpuset.mems" => bits(value).map_or_else(Vec::new, |bits| one("AllowedMemoryNodes", bytes(&bits))),
        "memory.oom.group" => {
            let policy = if value == "1" { "kill" } else { "continue" };
            one("OOMPolicy", Value::Text(policy.into()))
        }
        _ => Vec::new(),
    }
}

/// A quota that is no positive number is unlimited.
fn bandwidth(quota: Option<i64>, period: Option<u64>, json: &str) -> Vec<Property> {
    let mut all = Vec::new();
    if let Some(period) = period.filter(|p| *p > 0) {
        all.push(Property::optional("CPUQuotaPeriodUSec", Value::Uint64(period), json));
    }
    let quota = quota.and_then(|quota| u64::try_from(quota).ok()).filter(|quota| *quota > 0);
    let per_second = quota.map_or(u64::MAX, |quota| {
        let period = period.filter(|p| *p > 0).unwrap_or(DEFAULT_PERIOD);
        let exact = u128::from(quota) * u128::from(SECOND) / u128::from(period);
        // Up to the next percent, or after a daemon-reload it would be less than was asked for.
        u64::try_from(exact).map_or(u64::MAX, |exact| exact.div_ceil(PERCENT).saturating_mul(PERCENT))
    });
    all.push(Property::optional("CPUQuotaPerSecUSec", Value::Uint64(per_second), json));
    all
}

/// `0-3,5` as a bit for each, the first in the lowest bit of the first byte. `None` for what only the kernel understands
/// (`N`, `all`, groups).
fn bits(list: &str) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    for item in list.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|item| !item.is_empty()) {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MAX_CPUS {
            return None;
        }
        for cpu in first..=last {
            if bits.len() <= cpu / 8 {
                bits.resize(cpu / 8 + 1, 0);
            }
            bits[cpu / 8] |= 1 << (cpu % 8);
        }
    }
    (!bits.is_empty()).then_some(bits)
}

pub(super) const DEVICE_POLICY: &str = "DevicePolicy";
/// The value of it that allows what `DeviceAllow` lists, and nothing else.
pub(super) const STRICT: &str = "strict";

/// The device rules, as far as systemd can say them. On v2 it puts a filter of its own beside ours, and a device must pass
/// both: where one of the rules is beyond it, its filter is left off rather than narrower than ours. On v1 it writes the
/// files that we write, whenever it likes: see `keep_rules` in `cgroup::devices`.
pub(super) fn of_devices(spec: &Spec, names: &[DeviceName], out: &Out) -> Result<Vec<Property>> {
    const AT: &str = "linux.resources.devices";
    let rules = devices::rules(spec, out)?;
    let allowed: Option<Vec<Value>> = match devices::work_out(&rules, out) {
        Ok((false, exceptions)) => exceptions
            .iter()
            .map(|(rule, _)| Some((path(rule, names)?, access(rule))))
            .map(|entry| {
                let (path, access) = entry?;
                Some(Value::Struct(vec![Value::Text(path), Value::Text(access)]))
            })
            .collect(),
        _ => None,
    };
    let policy = if allowed.is_some() { STRICT } else { "auto" };
    // Reset first: a template or drop-in could have given the unit some.
    let list = |entries| Property::new("DeviceAllow", Value::Array("(ss)".into(), entries), AT);
    Ok(vec![Property::new(DEVICE_POLICY, Value::Text(policy.into()), AT), list(allowed.unwrap_or_default())])
}

/// systemd's name for the devices of a rule.
fn path(rule: &DeviceRule, names: &[DeviceName]) -> Option<String> {
    let (class, block) = match rule.typ {
        DeviceType::All => return None,
        DeviceType::Block => ("block", true),
        DeviceType::Char => ("char", false),
    };
    match (rule.major, rule.minor) {
        (None, None) => Some(format!("{class}-*")),
        (Some(major), Some(minor)) => {
            Some(Path::new("/dev").join(class).join(format!("{major}:{minor}")).display().to_string())
        }
        (Some(major), None) => {
            let named = |name: &&DeviceName| name.block == block && name.major == major;
            // Another major of the same name would be allowed with it.
            let name = &names.iter().find(named)?.name;
            let alone = names.iter().filter(|other| other.block == block && other.name == *name).count() == 1;
            alone.then(|| format!("{class}-{name}"))
        }
        (None, Some(_)) => None,
    }
}

fn access(rule: &DeviceRule) -> String {
    let letters = [(devices::READ, 'r'), (devices::WRITE, 'w'), (devices::MKNOD, 'm')];
    letters.iter().filter(|(bit, _)| rule.access & bit != 0).map(|(_, letter)| letter).collect()
}
