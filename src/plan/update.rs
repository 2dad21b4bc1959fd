//! `update`: its flags as the document that `--resources` takes, and how a change meets the limits in force. Pure; what
//! the limits come to as files is [`super::cgroup::compile_update`]'s.

use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value, json};

use super::{Result, rdt};
use crate::error::InputError;

/// A flag that stands for one field of the document.
pub struct Flag {
    pub name: &'static str,
    section: &'static str,
    field: &'static str,
    pub kind: Kind,
    /// For `--help`; obsolete ones have none.
    pub help: &'static str,
}

/// How a flag's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A size with a unit, or -1.
    Bytes,
    Unsigned,
    Signed,
    Text,
    /// A line of resctrl's `schemata`, no part of the document; where the host has none, refused in these words (runc's).
    Schema(&'static str),
}

impl Flag {
    fn is_schema(&self) -> bool {
        matches!(self.kind, Kind::Schema(_))
    }
}

const fn flag(name: &'static str, section: &'static str, field: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag { name, section, field, kind, help }
}

const NO_CAT: Kind = Kind::Schema("Intel RDT/CAT: l3 cache schema is not enabled");
const NO_MBA: Kind = Kind::Schema("Intel RDT/MBA: memory bandwidth schema is not enabled");

/// runc's flags.
pub const FLAGS: &[Flag] = &[
    flag("blkio-weight", "blockIO", "weight", Kind::Unsigned, "Weight of its block I/O, from 10 to 1000"),
    flag("cpu-burst", "cpu", "burst", Kind::Unsigned, "Cpu time it may save up beyond the quota, in µs"),
    flag("cpu-idle", "cpu", "idle", Kind::Signed, "1: run only when a cpu is idle (SCHED_IDLE); 0: not so"),
    flag("cpu-period", "cpu", "period", Kind::Unsigned, "Period of the quota, in µs"),
    flag("cpu-quota", "cpu", "quota", Kind::Signed, "Cpu time in each period, in µs; -1 for no limit"),
    flag("cpu-rt-period", "cpu", "realtimePeriod", Kind::Unsigned, "Period of real time, in µs (cgroup v1)"),
    flag("cpu-rt-runtime", "cpu", "realtimeRuntime", Kind::Signed, "Real time in each period, in µs (cgroup v1)"),
    flag("cpu-share", "cpu", "shares", Kind::Unsigned, "Weight of its cpu time, from 2 to 262144"),
    flag("cpuset-cpus", "cpu", "cpus", Kind::Text, "Cpus to run on, such as 0-3,5"),
    flag("cpuset-mems", "cpu", "mems", Kind::Text, "Memory nodes to use, such as 0-1"),
    flag("kernel-memory", "memory", "kernel", Kind::Bytes, ""),
    flag("kernel-memory-tcp", "memory", "kernelTCP", Kind::Bytes, ""),
    flag(
        "memory",
        "memory",
        "limit",
        Kind::Bytes,
        "Limit of memory, with a unit (b, k, m, g) or in bytes; -1 for none",
    ),
    flag("memory-reservation", "memory", "reservation", Kind::Bytes, "Memory to leave it when others are short of it"),
    flag("memory-swap", "memory", "swap", Kind::Bytes, "Limit of memory and swap together; -1 for none"),
    flag("pids-limit", "pids", "limit", Kind::Signed, "Number of processes; -1 for no limit"),
    flag(
        "l3-cache-schema",
        "intelRdt",
        "l3CacheSchema",
        NO_CAT,
        "Share of the L3 cache, such as L3:0=ff;1=f (Intel RDT)",
    ),
    flag(
        "mem-bw-schema",
        "intelRdt",
        "memBwSchema",
        NO_MBA,
        "Share of the memory bandwidth, such as MB:0=50 (Intel RDT)",
    ),
];

/// Fields that the kernel, or v2's one file for two of them, relates to each other: who changes one of them is taken to
/// keep the others.
const RELATED: &[(&str, &[&str])] = &[
    ("memory", &["limit", "swap"]),
    ("cpu", &["quota", "period", "burst"]),
    ("cpu", &["shares", "idle"]),
    ("cpu", &["realtimePeriod", "realtimeRuntime"]),
];

/// Fields in which 0 (or "") has always meant "not given": clients send it for what their user left out.
const UNSET_BY_ZERO: &[(&str, &[&str])] = &[
    ("memory", &["limit", "reservation", "swap", "kernel", "kernelTCP"]),
    ("cpu", &["shares", "quota", "period", "realtimePeriod", "realtimeRuntime", "cpus", "mems"]),
    ("blockIO", &["weight", "leafWeight"]),
];

/// The numbers of an array's items; all else in an item says what they are for.
const ITEM_VALUES: &[&str] = &["limit", "rate", "weight", "leafWeight", "priority"];

/// The document that `given` flags (name and value) stand for. An empty value is none, as in runc.
///
/// # Errors
/// The flag whose value is not of its kind.
pub fn document(given: &[(&Flag, String)]) -> Result<Value> {
    let mut document = json!({});
    for (flag, text) in given.iter().filter(|(flag, text)| !text.is_empty() && !flag.is_schema()) {
        let refuse = |what: String| InputError::new(format!("--{}", flag.name), what);
        let value = match flag.kind {
            Kind::Text => Some(Value::from(text.as_str())),
            Kind::Bytes if text == "-1" => Some(Value::from(-1)),
            Kind::Bytes => size(text).map(Value::from),
            Kind::Signed => text.parse::<i64>().ok().map(Value::from),
            Kind::Unsigned => text.parse::<u64>().ok().map(Value::from),
            Kind::Schema(_) => None,
        };
        let hint = match flag.kind {
            Kind::Bytes => "a number of bytes, or one with a unit (b, k, m, g, t, p); -1 for no limit",
            _ => "a whole number",
        };
        document[flag.section][flag.field] =
            value.ok_or_else(|| refuse(format!("invalid value {text:?}")).hint(hint))?;
    }
    Ok(document)
}

/// The lines of `schemata` that `given` flags stand for, and what to say where the host has no place for them.
///
/// # Errors
/// The flag whose value is no line.
pub fn schemata(given: &[(&Flag, String)]) -> Result<Option<(Vec<String>, InputError)>> {
    let (mut lines, mut without) = (Vec::new(), None);
    for (flag, text) in given.iter().filter(|(_, text)| !text.is_empty()) {
        let Kind::Schema(what) = flag.kind else { continue };
        let at = format!("--{}", flag.name);
        lines.push(if flag.field == "memBwSchema" { rdt::memory_bandwidth(&at, text)? } else { rdt::line(&at, text)? });
        without.get_or_insert_with(|| InputError::new(at, what).hint("the host has no resctrl file system"));
    }
    Ok(without.map(|without| (lines, without)))
}

/// The flag that stands for the field at a JSON path, or the path.
pub fn name_flag(at: String) -> String {
    let flag = FLAGS.iter().find(|flag| at == format!("{}.{}", flag.section, flag.field));
    flag.map_or(at, |flag| format!("--{}", flag.name))
}

/// Bytes, as Docker's go-units reads them: `512`, `64m`, `1.5g`, `10 MiB`; the units are powers of 1024.
fn size(text: &str) -> Option<i64> {
    let unit = text.find(|c: char| !matches!(c, '0'..='9' | '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if unit != "i" && unit != "ib" => 0,
        prefix => 1 + i32::try_from("kmgtp".find(prefix).filter(|_| prefix.len() == 1)?).ok()?,
    };
    if !matches!(unit.get(power.min(1) as usize..), Some("" | "b" | "ib")) {
        return None;
    }
    // A float, for the sake of 1.5g; beyond 2^53 a byte more or less is no matter.
    let bytes = number.parse::<f64>().ok()? * 1024f64.powi(power);
    (bytes < i64::MAX as f64).then_some(bytes as i64)
}

/// What a change comes to.
#[derive(Debug, PartialEq)]
pub struct Update {
    /// What has to be compiled: the change, and of the limits in force those that it must be seen together with.
    pub apply: LinuxResources,
    /// All limits as they are after it.
    pub merged: LinuxResources,
}

/// Lets `change` meet the limits in force.
pub fn update(current: Option<&LinuxResources>, change: &LinuxResources) -> serde_json::Result<Update> {
    let mut change = serde_json::to_value(change)?;
    // The rules for devices stay as they are: an update cannot say which of them it means.
    change.as_object_mut().map(|all| all.remove("devices"));
    for (section, fields) in UNSET_BY_ZERO {
        if let Some(Value::Object(section)) = change.get_mut(*section) {
            section.retain(|name, value| !fields.contains(&name.as_str()) || *value != json!(0) && *value != json!(""));
        }
    }
    if let Some(Value::Object(memory)) = change.get_mut("memory")
        && memory.get("limit") == Some(&json!(-1))
    {
        // Unlimited memory with the swap left out has always meant both.
        memory.entry("swap").or_insert(json!(-1));
    }
    let mut merged = current.map_or_else(|| Ok(json!({})), serde_json::to_value)?;
    let mut apply = change.clone();
    for (section, fields) in RELATED {
        let (Some(Value::Object(ours)), Some(Value::Object(theirs))) = (apply.get_mut(*section), merged.get(*section))
        else {
            continue;
        };
        if fields.iter().any(|field| ours.contains_key(*field)) {
            for field in *fields {
                if let Some(value) = theirs.get(*field) {
                    ours.entry(*field).or_insert_with(|| value.clone());
                }
            }
        }
    }
    merge(&mut merged, change);
    Ok(Update { apply: serde_json::from_value(apply)?, merged: serde_json::from_value(merged)? })
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => {
            for item in from {
                match into.iter_mut().find(|known| subject(known) == subject(&item)) {
                    Some(known) => merge(known, item),
                    None => into.push(item),
                }
            }
        }
        (into, from) => *into = from,
    }
}

/// What the item of an array is about: a device, a page size.
fn subject(item: &Value) -> Option<Map<String, Value>> {
    let mut subject = item.as_object()?.clone();
    subject.retain(|name, _| !ITEM_VALUES.contains(&name.as_str()));
    Some(subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(document: Value) -> LinuxResources {
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512b", 512),
            ("64k", 65_536),
            ("64K", 65_536),
            ("64kb", 65_536),
            ("64KiB", 65_536),
            ("10 MiB", 10 << 20),
            ("1.5g", 3 << 29),
            ("2T", 2 << 40),
            ("1p", 1 << 50),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "m", "-5", "1x", "1mm", "1mi", "1i", "1ib", "1 ", "1  m", "1.2.3", "1bk", "0x10", "99999999p"]
        {
            let expect = if text == "1 " { Some(1) } else { None };
            assert_eq!(size(text), expect, "{text:?}");
        }
    }

    fn given(name: &str, value: &str) -> (&'static Flag, String) {
        (FLAGS.iter().find(|flag| flag.name == name).unwrap(), value.to_owned())
    }

    #[test]
    fn every_flag_becomes_its_field() {
        let honoured = || FLAGS.iter().filter(|flag| !flag.is_schema());
        let given: Vec<(&Flag, String)> = honoured().map(|flag| (flag, "10".to_owned())).collect();
        let document = document(&given).unwrap();
        // And each of them is a field of the document's model.
        let model = serde_json::to_value(resources(document.clone())).unwrap();
        for flag in honoured() {
            let expect = if flag.kind == Kind::Text { json!("10") } else { json!(10) };
            assert_eq!(document[flag.section][flag.field], expect, "{}", flag.name);
            assert_eq!(model[flag.section][flag.field], expect, "{}", flag.name);
            assert_eq!(name_flag(format!("{}.{}", flag.section, flag.field)), format!("--{}", flag.name));
        }
    }

    #[test]
    fn a_value_that_is_no_number_is_refused_by_its_flag() {
        for (flag, text) in [
            ("memory", "12q"),
            ("memory", "-2"),
            ("cpu-period", "-1"),
            ("cpu-quota", "1.5"),
            ("pids-limit", "18446744073709551615"),
            ("blkio-weight", "x"),
        ] {
            let error = document(&[given(flag, text)]).unwrap_err();
            assert_eq!(error.at, format!("--{flag}"), "{error}");
        }
        for (flag, text) in [("l3-cache-schema", "f"), ("mem-bw-schema", "L3:0=f"), ("mem-bw-schema", "MB:0=1\nL3:0=f")]
        {
            let error = schemata(&[given(flag, text)]).unwrap_err();
            assert_eq!(error.at, format!("--{flag}"), "{error}");
        }
        let both = [given("l3-cache-schema", "L3:0=f"), given("mem-bw-schema", "MB:0=20"), given("cpu-idle", "1")];
        let (lines, without) = schemata(&both).unwrap().unwrap();
        assert_eq!((lines.join(" ").as_str(), without.at.as_str()), ("L3:0=f MB:0=20", "--l3-cache-schema"));
        assert_eq!(document(&both).unwrap(), json!({"cpu": {"idle": 1}}));
        assert_eq!(schemata(&[given("cpu-idle", "1")]), Ok(None));
        let document = document(&[given("memory", "-1"), given("cpuset-cpus", "")]).unwrap();
        assert_eq!(document, json!({"memory": {"limit": -1}}));
    }

    #[test]
    fn a_change_is_applied_with_what_it_relates_to_and_merged_into_the_rest() {
        let current = resources(json!({
            "cpu": {"quota": 20_000, "period": 50_000, "shares": 512},
            "memory": {"limit": 100, "swap": 200, "reservation": 50},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}, {"pageSize": "1GB", "limit": 2}],
            "pids": {"limit": 7},
        }));
        let change = resources(json!({
            "cpu": {"quota": 30_000, "shares": 0},
            "memory": {"limit": 150, "swap": 0},
            "hugepageLimits": [{"pageSize": "1GB", "limit": 3}],
            "devices": [{"allow": true, "access": "rwm"}],
        }));
        let update = update(Some(&current), &change).unwrap();
        let apply = resources(json!({
            "cpu": {"quota": 30_000, "period": 50_000},
            "memory": {"limit": 150, "swap": 200},
            "hugepageLimits": [{"pageSize": "1GB", "limit": 3}],
        }));
        assert_eq!(update.apply, apply);
        let merged = resources(json!({
            "cpu": {"quota": 30_000, "period": 50_000, "shares": 512},
            "memory": {"limit": 150, "swap": 200, "reservation": 50},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}, {"pageSize": "1GB", "limit": 3}],
            "pids": {"limit": 7},
        }));
        assert_eq!(update.merged, merged);
    }

    #[test]
    fn no_limit_on_memory_is_none_on_swap_either() {
        let current = resources(json!({"memory": {"limit": 100, "swap": 200}}));
        let change = resources(json!({"memory": {"limit": -1}}));
        let update = update(Some(&current), &change).unwrap();
        assert_eq!(update.merged, resources(json!({"memory": {"limit": -1, "swap": -1}})));
        assert_eq!(update.apply, update.merged);
    }
}
