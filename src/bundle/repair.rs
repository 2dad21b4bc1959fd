//! Makes documents that the specification (or runc) accepts acceptable to the model in the `oci-spec` crate, which is
//! stricter or misnames things. Runs only after that model has refused a document. Not for judging values: a repair
//! never changes what a document asks for.

use oci_spec::runtime::Capability;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::explain::kind;
use crate::error::InputError;

/// Sections for other operating systems: valid in a document, without meaning here.
const FOREIGN: &[&str] = &["freebsd", "solaris", "vm", "windows", "zos"];

/// Objects whose keys are the user's own. A null in one of them is no absent property but a wrong value.
const USER_KEYED: &[&str] = &["annotations", "sysctl", "unified", "netDevices", "rdma", "timeOffsets"];

/// Scheduler flags as the specification has them (config.md, "scheduler"), and as the crate has them.
const SCHEDULER_FLAGS: &[(&str, &str)] =
    &[("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"), ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN")];

const CAPABILITY_SETS: &[&str] = &["bounding", "effective", "inheritable", "permitted", "ambient"];

/// The sharing modes of a FreeBSD jail (config-freebsd.md), by property.
const JAIL_MODES: &[(&str, &[&str])] = &[
    ("host", &["new", "inherit"]),
    ("vnet", &["new", "inherit"]),
    ("ip4", &["disable", "new", "inherit"]),
    ("ip6", &["disable", "new", "inherit"]),
    ("sysvmsg", &["disable", "new", "inherit"]),
    ("sysvsem", &["disable", "new", "inherit"]),
    ("sysvshm", &["disable", "new", "inherit"]),
];

/// Refuses what the specification's own test documents want refused in a section for another system.
pub(super) fn refuse_foreign(document: &Value) -> Result<(), InputError> {
    let jail = &document["freebsd"]["jail"];
    if !matches!(jail, Value::Null | Value::Object(_)) {
        return Err(InputError::new("freebsd.jail", format!("expected an object, found {}", kind(jail))));
    }
    for (name, allowed) in JAIL_MODES {
        let at = format!("freebsd.jail.{name}");
        match &jail[*name] {
            Value::Null => {}
            Value::String(mode) if allowed.contains(&mode.as_str()) => {}
            Value::String(mode) => {
                return Err(InputError::new(at, format!("unknown value {mode:?}"))
                    .hint(format!("allowed: {}", allowed.join(", "))));
            }
            other => {
                return Err(InputError::new(at, format!("expected a string, found {}", kind(other))));
            }
        }
    }
    Ok(())
}

/// Repairs a whole configuration in place.
pub(super) fn config(document: &mut Value, warn: &mut Vec<String>) {
    if let Value::Object(top) = document {
        top.retain(|name, _| !FOREIGN.contains(&name.as_str()));
    }
    drop_nulls(document);
    if let Some(Value::Object(process)) = document.get_mut("process") {
        self::process(process, warn);
    }
    if let Some(Value::Object(resources)) = document.get_mut("linux").and_then(|linux| linux.get_mut("resources")) {
        self::resources(resources);
    }
}

/// Repairs a `linux.resources` that stands by itself, in place.
pub(super) fn change(document: &mut Value) {
    drop_nulls(document);
    let Value::Object(document) = document else { return };
    resources(document);
    // The crate reads an absent limit as 0, which would be one.
    if document.get("pids").is_some_and(|pids| pids.as_object().is_some_and(Map::is_empty)) {
        document.remove("pids");
    }
}

/// Go writes null for an empty slice, map or pointer, and reads it as "absent"; the crate does so for some fields only.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            for (name, member) in members {
                if !USER_KEYED.contains(&name.as_str()) {
                    drop_nulls(member);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Repairs the `process` object.
fn process(process: &mut Map<String, Value>, warn: &mut Vec<String>) {
    // Only `cwd` is required by the schema; without `user` runc takes 0:0.
    process.entry("user").or_insert_with(|| Value::Object(Map::new()));
    if let Some(capabilities) = process.get_mut("capabilities") {
        drop_unknown_capabilities(capabilities, warn);
    }
    if let Some(Value::Array(flags)) = process.get_mut("scheduler").and_then(|scheduler| scheduler.get_mut("flags")) {
        for flag in flags {
            if let Some((_, theirs)) = SCHEDULER_FLAGS.iter().find(|(name, _)| flag == name) {
                *flag = Value::from(*theirs);
            }
        }
    }
    if let Some(Value::Object(affinity)) = process.get_mut("execCPUAffinity") {
        canonical(affinity);
    }
}

/// The specification: a capability that cannot be mapped MUST be logged as a warning, and is not granted. runc does the
/// same; without this one unknown name would fail the whole document.
fn drop_unknown_capabilities(capabilities: &mut Value, warn: &mut Vec<String>) {
    for set in CAPABILITY_SETS {
        if let Some(Value::Array(names)) = capabilities.get_mut(*set) {
            names.retain(|name| {
                let known = !name.is_string() || Capability::deserialize(name).is_ok();
                if !known {
                    warn.push(format!("process.capabilities.{set}: ignoring unknown capability {name}"));
                }
                known
            });
        }
    }
}

/// The schema allows blanks and empty elements in a CPU list (`^[0-9, -]*$`); the crate allows neither. Numbers with only
/// blanks between them stay as they are: joining them would make another number.
fn canonical(affinity: &mut Map<String, Value>) {
    for name in ["initial", "final"] {
        if let Some(Value::String(list)) = affinity.get_mut(name) {
            let trimmed =
                |part: &str, at: char| part.split(at).map(|part| part.trim_matches(' ').to_owned()).collect::<Vec<_>>();
            let mut elements: Vec<String> =
                trimmed(list, ',').iter().map(|element| trimmed(element, '-').join("-")).collect();
            elements.retain(|element| !element.is_empty());
            if elements.is_empty() {
                affinity.remove(name);
            } else {
                *list = elements.join(",");
            }
        }
    }
}

/// Repairs the `linux.resources` object.
fn resources(resources: &mut Map<String, Value>) {
    if let Some(Value::Array(rules)) = resources.get_mut("devices") {
        for rule in rules.iter_mut().filter_map(Value::as_object_mut) {
            // An empty type is Go's zero value, which runc reads as "a", like an absent one.
            if rule.get("type").is_some_and(|kind| kind == "") {
                rule.remove("type");
            }
        }
    }
    if let Some(Value::Array(limits)) = resources.get_mut("hugepageLimits") {
        for limit in limits {
            // Unsigned in the schema, signed in the crate. The kernel clamps both to the same "no limit".
            if let Some(bytes) = limit.get_mut("limit").filter(|bytes| bytes.as_u64() > Some(i64::MAX as u64)) {
                *bytes = Value::from(i64::MAX);
            }
        }
    }
}
