//! `linux.netDevices`: network devices of the host to hand to the container, by name. Whether they exist is known only
//! when they are moved.

use std::collections::BTreeMap;

use oci_spec::runtime::Spec;
use serde::Serialize;

use super::Result;
use super::namespaces::{Kind, Namespaces};
use crate::error::InputError;

/// The longest name in bytes: `IFNAMSIZ` of linux/if.h less the terminating NUL.
const NAME_MAX: usize = 15;

/// Names that the kernel keeps for settings of no device: directories of `/proc/sys/net/ipv4/conf`.
const RESERVED: &[&str] = &[".", "..", "all", "default"];

/// What stands for a number of the kernel's choice, at the end of a name.
const TEMPLATE: &str = "%d";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetDevice {
    /// On the host.
    pub host_name: String,
    /// In the container. With `%d` at its end the kernel puts the first free number there.
    pub container_name: String,
}

impl NetDevice {
    /// The JSON path, for errors.
    pub fn at(&self) -> String {
        format!("linux.netDevices.{}", self.host_name)
    }

    /// The kernel chooses the number at the end of the container's name.
    pub fn is_template(&self) -> bool {
        self.container_name.ends_with(TEMPLATE)
    }
}

/// The devices in the order in which they are moved: fixed names before templates, which could take them otherwise.
///
/// # Errors
/// Names that the kernel does not take, two devices with one name in the container. A container in the network namespace
/// of the host is an obstacle.
pub fn compile(spec: &Spec, namespaces: &Namespaces, obstacles: &mut Vec<InputError>) -> Result<Vec<NetDevice>> {
    let given = spec.linux().as_ref().and_then(|linux| linux.net_devices().as_ref());
    let given: BTreeMap<_, _> = given.into_iter().flatten().collect();
    if !given.is_empty() && !namespaces.has(Kind::Network) {
        let obstacle = InputError::new("linux.netDevices", "the container is in the network namespace of the host");
        obstacles.push(obstacle.hint("add {\"type\": \"network\"} to linux.namespaces"));
    }
    let mut devices: Vec<NetDevice> = Vec::with_capacity(given.len());
    for (host_name, device) in given {
        let at = format!("linux.netDevices.{host_name}");
        check(&at, host_name, host_name)?;
        // An empty name is no name, as in runc: clients that marshal the field always send it.
        let renamed = device.name().as_deref().filter(|name| !name.is_empty());
        if let Some(name) = renamed {
            check(&format!("{at}.name"), name, name.strip_suffix(TEMPLATE).unwrap_or(name))?;
        }
        let container_name = renamed.unwrap_or(host_name).to_owned();
        let device = NetDevice { host_name: host_name.clone(), container_name };
        let rival = devices.iter().find(|other| other.container_name == device.container_name);
        if let Some(rival) = rival.filter(|_| !device.is_template()) {
            let what = format!("{:?} is the container's name of {:?} already", device.container_name, rival.host_name);
            return Err(InputError::new(at, what).hint("give one of them another \"name\""));
        }
        devices.push(device);
    }
    devices.sort_by_key(NetDevice::is_template);
    Ok(devices)
}

/// The rules of the kernel for names (`dev_valid_name` in net/core/dev.c) over `name`, and no `%` in `fixed`, the part
/// of it that is no template.
fn check(at: &str, name: &str, fixed: &str) -> Result<()> {
    // 0xa0 is white space to the kernel, also as a byte of UTF-8.
    let space = |byte: u8| matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0);
    let refused = if fixed.is_empty() || name.len() > NAME_MAX {
        format!("{name:?} is not 1 to {NAME_MAX} bytes long")
    } else if RESERVED.contains(&name) {
        format!("{name:?} is reserved by the kernel")
    } else if name.bytes().any(|byte| matches!(byte, 0 | b'/' | b':') || space(byte)) {
        format!("{name:?} has a slash, a colon, white space or a NUL byte")
    } else if fixed.contains('%') {
        format!("{name:?} has a '%' that does not begin a \"%d\" at the end of a container's name")
    } else {
        return Ok(());
    };
    Err(InputError::new(at, format!("bad name of a network device: {refused}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn compiled(devices: Value, namespaces: Value) -> Result<Vec<NetDevice>> {
        let spec = json!({"ociVersion": "1.3.0", "linux": {"netDevices": devices, "namespaces": namespaces}});
        let spec: Spec = serde_json::from_value(spec).expect("a document");
        let mut obstacles = Vec::new();
        let devices = compile(&spec, &super::super::namespaces::compile(&spec)?, &mut obstacles);
        obstacles.pop().map_or(devices, Err)
    }

    fn names(devices: Value) -> Result<Vec<(String, String)>> {
        let devices = compiled(devices, json!([{"type": "network"}]))?;
        Ok(devices.into_iter().map(|device| (device.host_name, device.container_name)).collect())
    }

    #[test]
    fn a_device_keeps_its_name_unless_it_gets_another() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            names(json!({"eth1": {"name": "net0"}, "eth0.100": {}, "ib0": {"name": ""}})).unwrap(),
            [pair("eth0.100", "eth0.100"), pair("eth1", "net0"), pair("ib0", "ib0")]
        );
        assert_eq!(names(json!({"a": {"name": "b"}, "b": {"name": "a"}})).unwrap().len(), 2);
    }

    #[test]
    fn templates_may_repeat_and_come_last() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            names(json!({"a": {"name": "eth%d"}, "b": {"name": "eth%d"}, "c": {"name": "eth0"}})).unwrap(),
            [pair("c", "eth0"), pair("a", "eth%d"), pair("b", "eth%d")]
        );
    }

    #[test]
    fn names_that_the_kernel_does_not_take_are_refused_by_json_path() {
        for name in
            ["", "sixteen-letters-", ".", "..", "all", "a/b", "a:b", "a b", "a\tb", "a\0", "\u{e0}", "a%d", "a%"]
        {
            let error = names(json!({name: {}})).unwrap_err();
            assert_eq!(error.at, format!("linux.netDevices.{name}"), "{error}");
        }
        for name in ["sixteen-letters-", "..", "default", "a/b", "a%db", "a%%d", "%s%d", "%d"] {
            let error = names(json!({"eth0": {"name": name}})).unwrap_err();
            assert_eq!(error.at, "linux.netDevices.eth0.name", "{error}");
        }
    }

    #[test]
    fn two_devices_cannot_have_one_name_in_the_container() {
        let error = names(json!({"eth0": {"name": "b"}, "b": {}})).unwrap_err();
        assert_eq!(error.at, "linux.netDevices.eth0");
        assert_eq!(error.what, "\"b\" is the container's name of \"b\" already");
    }

    #[test]
    fn the_hosts_network_namespace_takes_no_devices() {
        let error = compiled(json!({"eth0": {}}), json!([{"type": "pid"}])).unwrap_err();
        assert_eq!(error.at, "linux.netDevices");
        assert_eq!(compiled(json!({}), json!([])).unwrap(), []);
        assert!(compiled(json!({"eth0": {}}), json!([{"type": "network", "path": "/run/netns/x"}])).is_ok());
    }
}
