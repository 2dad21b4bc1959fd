//! `linux.resources.devices`: the user's rules with the default ones after them. On v2 they become a program that
//! reads them in order; v1 knows one default and a list of exceptions, so there the rules are worked out to that.

use std::path::Path;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, Spec};
use serde::{Deserialize, Serialize};

use super::{Out, Result, Version};
use crate::error::InputError;

pub const MKNOD: u8 = 1;
pub const READ: u8 = 2;
pub const WRITE: u8 = 4;
pub const ALL: u8 = MKNOD | READ | WRITE;

/// One rule. The last that matches a device and an access decides on it; with none, it is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRule {
    pub allow: bool,
    pub typ: DeviceType,
    /// `None`: all.
    pub major: Option<u32>,
    pub minor: Option<u32>,
    /// [`MKNOD`], [`READ`] and [`WRITE`] bits.
    pub access: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeviceType {
    All,
    Block,
    Char,
}

impl std::fmt::Display for DeviceRule {
    /// In the form of v1's files: `c 1:3 rwm`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let typ = match self.typ {
            DeviceType::All => 'a',
            DeviceType::Block => 'b',
            DeviceType::Char => 'c',
        };
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        write!(f, "{typ} {}:{} ", number(self.major), number(self.minor))?;
        let letters = [(READ, "r"), (WRITE, "w"), (MKNOD, "m")];
        letters.iter().filter(|(bit, _)| self.access & bit != 0).try_for_each(|(_, c)| f.write_str(c))
    }
}

const fn allow(typ: DeviceType, major: Option<u32>, minor: Option<u32>, access: u8) -> DeviceRule {
    DeviceRule { allow: true, typ, major, minor, access }
}

/// What every container may use: runc's list. Those with a path make way for `linux.devices` at that path.
const DEFAULTS: [(&str, DeviceRule); 11] = [
    ("", allow(DeviceType::Char, None, None, MKNOD)),
    ("", allow(DeviceType::Block, None, None, MKNOD)),
    ("/dev/null", allow(DeviceType::Char, Some(1), Some(3), ALL)),
    ("/dev/random", allow(DeviceType::Char, Some(1), Some(8), ALL)),
    ("/dev/full", allow(DeviceType::Char, Some(1), Some(7), ALL)),
    ("/dev/tty", allow(DeviceType::Char, Some(5), Some(0), ALL)),
    ("/dev/zero", allow(DeviceType::Char, Some(1), Some(5), ALL)),
    ("/dev/urandom", allow(DeviceType::Char, Some(1), Some(9), ALL)),
    // /dev/pts/*, /dev/ptmx
    ("", allow(DeviceType::Char, Some(136), None, ALL)),
    ("", allow(DeviceType::Char, Some(5), Some(2), ALL)),
    // /dev/net/tun: images with a VPN in them open it without anyone listing it.
    ("", allow(DeviceType::Char, Some(10), Some(200), ALL)),
];

/// Rootless, the rules are checked and left: the kernel takes them from nobody in a user namespace, where it refuses
/// mknod anyway.
pub(super) fn compile(spec: &Spec, rootless: bool, out: &mut Out) -> Result<()> {
    let rules = rules(spec, out)?;
    if rootless {
        return Ok(());
    }
    match out.find("devices") {
        Some(Version::V1) => v1(&rules, out),
        // On v2 device rules are no controller: any directory takes a program, a hybrid host's too.
        _ if out.layout.v2.is_some() => {
            out.limits.devices = Some(rules.into_iter().map(|(rule, _)| rule).collect());
            Ok(())
        }
        _ if users(spec).is_empty() => {
            out.warn.push("no devices cgroup on this host: access to devices is not restricted".into());
            Ok(())
        }
        _ => {
            out.need("devices", "devices", "devices");
            Ok(())
        }
    }
}

fn users(spec: &Spec) -> &[LinuxDeviceCgroup] {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    resources.and_then(|resources| resources.devices().as_deref()).unwrap_or_default()
}

/// All rules in their order, each with the JSON path it comes from.
pub(super) fn rules(spec: &Spec, out: &Out) -> Result<Vec<(DeviceRule, String)>> {
    let user = users(spec);
    let mut rules = Vec::with_capacity(user.len() + DEFAULTS.len());
    for (i, d) in user.iter().enumerate() {
        let at = format!("devices[{i}]");
        parse(d, &at, out, |rule| rules.push((rule, at.clone())))?;
    }
    let own = spec.linux().as_ref().and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
    for (path, rule) in DEFAULTS {
        if path.is_empty() || !own.iter().any(|d| d.path() == Path::new(path)) {
            rules.push((rule, "devices".into()));
        }
    }
    Ok(rules)
}

fn parse(d: &LinuxDeviceCgroup, at: &str, out: &Out, mut push: impl FnMut(DeviceRule)) -> Result<()> {
    let typ = match d.typ() {
        None | Some(LinuxDeviceType::A) => DeviceType::All,
        Some(LinuxDeviceType::B) => DeviceType::Block,
        Some(LinuxDeviceType::C) => DeviceType::Char,
        Some(other) => {
            return out.refuse(&format!("{at}.type"), format!("{:?} is not a, b or c", other.as_str()));
        }
    };
    // -1, runc's own word for "all", is seen in configs.
    let number = |field: &str, n: Option<i64>| match n {
        None | Some(-1) => Ok(None),
        Some(n) => match u32::try_from(n) {
            Ok(n) => Ok(Some(n)),
            Err(_) => out.refuse(&format!("{at}.{field}"), format!("{n} is no device number")),
        },
    };
    let (major, minor) = (number("major", d.major())?, number("minor", d.minor())?);
    let mut access = 0;
    for c in d.access().as_deref().unwrap_or_default().chars() {
        access |= match c {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            _ => return out.refuse(&format!("{at}.access"), format!("{c:?} is not r, w or m")),
        };
    }
    if access == 0 {
        let at = out.at(&format!("{at}.access"));
        return Err(InputError::new(at, "device access field cannot be empty").hint("any of r, w, m"));
    }
    let rule = DeviceRule { allow: d.allow(), typ, major, minor, access };
    if typ == DeviceType::All && (access, major, minor) != (ALL, None, None) {
        // v1 would take "a" for everything whatever follows it; said of both types it means what it says.
        push(DeviceRule { typ: DeviceType::Block, ..rule });
        push(DeviceRule { typ: DeviceType::Char, ..rule });
    } else {
        push(rule);
    }
    Ok(())
}

/// Whether what no rule matches is allowed, and the exceptions to that.
type Exceptions<'a> = (bool, Vec<(DeviceRule, &'a str)>);

/// Works the rules out to a default and its exceptions, each with the JSON path it came from.
pub(super) fn work_out<'a>(rules: &'a [(DeviceRule, String)], out: &Out) -> Result<Exceptions<'a>> {
    let mut allow = false;
    let mut exceptions: Vec<(DeviceRule, &str)> = Vec::new();
    for (rule, at) in rules {
        if rule.typ == DeviceType::All {
            (allow, exceptions) = (rule.allow, Vec::new());
        } else if rule.allow != allow {
            match exceptions.iter_mut().find(|(e, _)| same(e, rule)) {
                Some((e, _)) => e.access |= rule.access,
                None => exceptions.push((*rule, at)),
            }
        } else {
            take_back(&mut exceptions, rule, at, out)?;
        }
    }
    Ok((allow, exceptions))
}

/// v1: writes default and exceptions to a fresh state.
fn v1(rules: &[(DeviceRule, String)], out: &mut Out) -> Result<()> {
    let (allow, exceptions) = work_out(rules, out)?;
    // Everything is denied first: an existing cgroup keeps nothing, and the rules in force never exceed these.
    let (all, file) = if allow { ("devices.allow", "devices.deny") } else { ("devices.deny", "devices.allow") };
    out.write("devices", "devices.deny", "a *:* rwm", "devices");
    if allow {
        out.write("devices", all, "a *:* rwm", "devices");
    }
    for (rule, at) in &exceptions {
        out.write("devices", file, rule, at);
    }
    Ok(())
}

/// The same devices, whatever the access.
fn same(a: &DeviceRule, b: &DeviceRule) -> bool {
    (a.typ, a.major, a.minor) == (b.typ, b.major, b.minor)
}

/// Takes `rule`'s access away from the exceptions it covers. The kernel removes exceptions only by their exact numbers:
/// a hole in a wider one cannot be had.
fn take_back(exceptions: &mut Vec<(DeviceRule, &str)>, rule: &DeviceRule, at: &str, out: &Out) -> Result<()> {
    let covers = |wide: Option<u32>, narrow: Option<u32>| wide.is_none() || wide == narrow;
    for (e, _) in exceptions.iter_mut().filter(|(e, _)| e.typ == rule.typ && e.access & rule.access != 0) {
        if covers(rule.major, e.major) && covers(rule.minor, e.minor) {
            e.access &= !rule.access;
        } else if (covers(e.major, rule.major) || covers(rule.major, e.major))
            && (covers(e.minor, rule.minor) || covers(rule.minor, e.minor))
        {
            let at = out.at(at);
            return Err(InputError::new(
                at,
                format!("\"{rule}\" is not supported by devices cgroupv1 (cannot punch hole in wildcard rule \"{e}\")"),
            )
            .hint("on cgroup v1 list the devices one by one instead of by a wildcard"));
        }
    }
    exceptions.retain(|(e, _)| e.access != 0);
    Ok(())
}
