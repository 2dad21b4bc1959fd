//! `linux.intelRdt`: the share of caches and memory bandwidth that the container's processes get, as what is asked of the
//! resctrl file system. Whether the host has one, and takes the numbers, is found when it is written to.

use oci_spec::runtime::{LinuxIntelRdt, Spec};
use serde::Serialize;

use super::{Result, no_nul};
use crate::error::InputError;

/// Directories that resctrl has in a group for purposes of its own.
const RESERVED: &[&str] = &["info", "mon_data", "mon_groups"];

/// How the line for memory bandwidth begins.
const BANDWIDTH: &str = "MB:";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IntelRdt {
    /// The group's directory; empty for the root, the class that everybody is in by default.
    pub group: String,
    /// The document names the group: one that is there is shared, if its shares are those asked for.
    pub named: bool,
    /// Lines for the group's `schemata`.
    pub schemata: Vec<String>,
    /// A monitoring group of the container's own.
    pub monitoring: bool,
}

/// # Errors
/// A `closID` that is no directory name, lines that are none.
pub fn compile(spec: &Spec, id: &str) -> Result<Option<IntelRdt>> {
    let Some(given) = spec.linux().as_ref().and_then(|linux| linux.intel_rdt().as_ref()) else { return Ok(None) };
    let class = given.clos_id().as_deref().filter(|class| !class.is_empty());
    let group = match class {
        None => id,
        Some("/") => "",
        Some(class) => {
            let at = "linux.intelRdt.closID";
            if no_nul(at, class)?.contains('/') || [".", ".."].contains(&class) || RESERVED.contains(&class) {
                return Err(InputError::new(at, format!("{class:?} is no name of a group"))
                    .hint("give the name of one directory, or \"/\" for the default class"));
            }
            class
        }
    };
    Ok(Some(IntelRdt {
        group: group.to_owned(),
        named: class.is_some(),
        schemata: schemata(given)?,
        monitoring: given.enable_monitoring().unwrap_or(false),
    }))
}

fn schemata(given: &LinuxIntelRdt) -> Result<Vec<String>> {
    let (cache, bandwidth) = (given.l3_cache_schema().as_deref(), given.mem_bw_schema().as_deref());
    let bandwidth = bandwidth.filter(|line| !line.is_empty());
    let mut lines: Vec<String> = Vec::new();
    // Several lines have been common here; the one for memory bandwidth gives way to its own property (config-linux.md).
    let cache = cache.unwrap_or_default().lines().filter(|line| bandwidth.is_none() || !line.starts_with(BANDWIDTH));
    for line in cache.filter(|line| !line.is_empty()) {
        lines.push(self::line("linux.intelRdt.l3CacheSchema", line)?);
    }
    if let Some(line) = bandwidth {
        lines.push(memory_bandwidth("linux.intelRdt.memBwSchema", line)?);
    }
    // Last, so that they stand against the others.
    for (i, line) in given.schemata().iter().flatten().enumerate() {
        lines.push(self::line(&format!("linux.intelRdt.schemata[{i}]"), line)?);
    }
    Ok(lines)
}

/// The line for memory bandwidth, from a document or from `update`.
pub fn memory_bandwidth(at: &str, line: &str) -> Result<String> {
    if !line.starts_with(BANDWIDTH) {
        return Err(
            InputError::new(at, format!("{line:?} does not begin with {BANDWIDTH:?}")).hint("it is like MB:0=50")
        );
    }
    self::line(at, line)
}

/// A line of `schemata`: a resource, a colon, and a value for each domain.
pub fn line(at: &str, line: &str) -> Result<String> {
    if line.contains('\n') {
        return Err(InputError::new(at, "has a line break"));
    }
    if !no_nul(at, line)?.contains(':') {
        return Err(InputError::new(at, format!("{line:?} is no line of schemata")).hint("it is like L3:0=ff;1=f"));
    }
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error, spec};
    use super::*;
    use serde_json::{Value, json};

    fn with(rdt: Value) -> Result<IntelRdt> {
        compile(&spec(json!({ "linux": { "intelRdt": rdt } })), "id").map(Option::unwrap)
    }

    /// Proves: linux.intelRdt.{closID,l3CacheSchema,memBwSchema,schemata,enableMonitoring}
    #[test]
    fn a_document_becomes_a_group_and_its_lines() {
        let plain = with(json!({})).unwrap();
        let own = IntelRdt { group: "id".into(), named: false, schemata: Vec::new(), monitoring: false };
        assert_eq!(plain, own);
        assert_eq!(with(json!({ "closID": "" })).unwrap(), own);
        assert_eq!(
            with(json!({ "closID": "gold" })).unwrap(),
            IntelRdt { group: "gold".into(), named: true, ..own.clone() }
        );
        assert_eq!(
            with(json!({ "closID": "/" })).unwrap(),
            IntelRdt { group: String::new(), named: true, ..own.clone() }
        );
        for flag in [true, false] {
            assert_eq!(with(json!({ "enableMonitoring": flag })).unwrap().monitoring, flag);
        }
        let lines = |rdt: Value| with(rdt).unwrap().schemata;
        assert_eq!(lines(json!({ "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20" })), ["L3:0=f", "MB:0=20"]);
        assert_eq!(
            lines(json!({ "l3CacheSchema": "L3:0=f\nMB:0=70", "memBwSchema": "MB:0=20" })),
            ["L3:0=f", "MB:0=20"]
        );
        assert_eq!(lines(json!({ "l3CacheSchema": "L3:0=f\nMB:0=70" })), ["L3:0=f", "MB:0=70"]);
        let all = json!({ "l3CacheSchema": "L3:0=f", "schemata": ["L2:0=3", "L3:0=7"] });
        assert_eq!(lines(all), ["L3:0=f", "L2:0=3", "L3:0=7"]);
        assert_eq!(compile(&spec(json!({})), "id"), Ok(None));
    }

    #[test]
    fn mistakes_are_named_by_their_path() {
        for (rdt, at) in [
            (json!({ "closID": "a/b" }), "closID"),
            (json!({ "closID": ".." }), "closID"),
            (json!({ "closID": "info" }), "closID"),
            (json!({ "closID": "a\0" }), "closID"),
            (json!({ "memBwSchema": "L3:0=f" }), "memBwSchema"),
            (json!({ "memBwSchema": "MB:0=2\nL3:0=f" }), "memBwSchema"),
            (json!({ "l3CacheSchema": "0=f" }), "l3CacheSchema"),
            (json!({ "schemata": ["L3:0=f", "x"] }), "schemata[1]"),
            (json!({ "schemata": ["L3:0=f\nMB:0=1"] }), "schemata[0]"),
        ] {
            let text = error(with(rdt));
            assert!(text.starts_with(&format!("linux.intelRdt.{at}: ")), "{text}");
        }
    }
}
