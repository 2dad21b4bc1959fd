//! Texts with a form of their own, each where a document has it.

use serde_json::{Map, Value, json};

use super::config::everywhere;
use super::json::base;
use crate::error::InputError;
use crate::plan::cgroup::gvariant;
use crate::plan::mask::Mask;
use crate::plan::rdt;

fn lines(data: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(data).split('\n').map(str::to_owned).collect()
}

/// Destination, type, source and options of a mount, a line each.
pub fn mount_options(data: &[u8]) {
    let lines = lines(data);
    let line = |i: usize| lines.get(i).map_or("", String::as_str);
    let mut document = base();
    let mut mount = json!({ "destination": line(0), "source": line(2), "options": lines.get(3..).unwrap_or_default() });
    if !line(1).is_empty() {
        mount["type"] = line(1).into();
    }
    document["mounts"] = json!([mount]);
    everywhere(&document);
}

/// Lists of processors and memory nodes, and lines of resctrl.
pub fn lists(data: &[u8]) {
    let lines = lines(data);
    let line = |i: usize| lines.get(i).map_or("", String::as_str);
    if let Ok(Some(mask)) = Mask::parse("list", line(0)) {
        let again = Mask::parse("list", &mask.to_string()).expect("what it prints, it reads");
        assert_eq!(again, Some(mask));
    }
    let _ = (rdt::line("line", line(3)), rdt::memory_bandwidth("line", line(3)));
    let mut document = base();
    document["linux"]["resources"] = json!({ "cpu": { "cpus": line(0), "mems": line(1) } });
    document["process"]["execCPUAffinity"] = json!({ "initial": line(0), "final": line(1) });
    document["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_BIND", "nodes": line(1), "flags": [] });
    document["linux"]["intelRdt"] = json!({ "closID": line(2), "l3CacheSchema": line(3), "memBwSchema": line(4),
                                            "schemata": lines.get(5..).unwrap_or_default() });
    // Each by itself as well: the first mistake hides what is wrong with the others.
    for path in ["/linux/memoryPolicy", "/linux/intelRdt", "/process/execCPUAffinity"] {
        everywhere(&document);
        if let Some(place) = document.pointer_mut(path) {
            *place = Value::Null;
        }
    }
    everywhere(&document);
}

/// `linux.cgroupsPath`, as a path and as `slice:prefix:name`.
pub fn cgroup_path(data: &[u8]) {
    let mut document = base();
    document["linux"]["cgroupsPath"] = String::from_utf8_lossy(data).into();
    everywhere(&document);
}

/// Lines of `name=value`.
pub fn sysctl(data: &[u8]) {
    let mut document = base();
    document["linux"]["sysctl"] = pairs(data).into();
    document["linux"]["namespaces"].as_array_mut().expect("an array").push(json!({ "type": "user" }));
    document["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    document["linux"]["gidMappings"] = document["linux"]["uidMappings"].clone();
    everywhere(&document);
}

/// Lines of `name=value`.
pub fn annotations(data: &[u8]) {
    let mut document = base();
    document["annotations"] = pairs(data).into();
    everywhere(&document);
}

fn pairs(data: &[u8]) -> Map<String, Value> {
    let lines = lines(data);
    let pairs = lines.iter().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// A value of D-Bus in GVariant's text form.
pub fn gvariant(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = gvariant::parse_seconds(&text);
    match gvariant::parse(&text) {
        Ok(value) => {
            let printed = value.to_string();
            assert_eq!(gvariant::parse(&printed), Ok(value), "{printed}");
        }
        Err(error) => super::holds::input_error(&InputError::new("annotation", error)),
    }
}
