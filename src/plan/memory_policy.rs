//! `linux.memoryPolicy`: which memory nodes the container's pages come from, as the arguments of set_mempolicy(2). Not for
//! which nodes it may use at all: that is the cpuset's `mems`.

use oci_spec::runtime::{LinuxMemoryPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, Spec};
use serde::{Deserialize, Serialize};

use super::Result;
use super::mask::Mask;
use crate::error::InputError;

/// The modes with their numbers (linux/mempolicy.h). MPOL_PREFERRED_MANY came with Linux 5.15,
/// MPOL_WEIGHTED_INTERLEAVE with 6.9.
const MODES: &[(MemoryPolicyModeType, u32)] = &[
    (MemoryPolicyModeType::MpolDefault, 0),
    (MemoryPolicyModeType::MpolPreferred, 1),
    (MemoryPolicyModeType::MpolBind, 2),
    (MemoryPolicyModeType::MpolInterleave, 3),
    (MemoryPolicyModeType::MpolLocal, 4),
    (MemoryPolicyModeType::MpolPreferredMany, 5),
    (MemoryPolicyModeType::MpolWeightedInterleave, 6),
];

const NUMA_BALANCING: u32 = 1 << 13;
const RELATIVE_NODES: u32 = 1 << 14;
const STATIC_NODES: u32 = 1 << 15;

/// The flags, which go into the same word.
const FLAGS: &[(MemoryPolicyFlagType, u32)] = &[
    (MemoryPolicyFlagType::MpolFNumaBalancing, NUMA_BALANCING),
    (MemoryPolicyFlagType::MpolFRelativeNodes, RELATIVE_NODES),
    (MemoryPolicyFlagType::MpolFStaticNodes, STATIC_NODES),
];

/// What set_mempolicy(2) gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPolicy {
    /// The mode, with its flags.
    pub mode: u32,
    pub nodes: Option<Mask>,
}

/// The names of the modes that a document may use, sorted.
pub fn mode_names() -> Vec<String> {
    sorted(MODES)
}

/// The names of the flags that a document may use, sorted.
pub fn flag_names() -> Vec<String> {
    sorted(FLAGS)
}

fn sorted<T: ToString>(table: &[(T, u32)]) -> Vec<String> {
    let mut names: Vec<String> = table.iter().map(|(name, _)| name.to_string()).collect();
    names.sort();
    names
}

/// # Errors
/// What set_mempolicy(2) would answer with EINVAL on any host.
pub fn compile(spec: &Spec) -> Result<Option<MemoryPolicy>> {
    let Some(given) = spec.linux().as_ref().and_then(|linux| linux.memory_policy().as_ref()) else { return Ok(None) };
    policy(given).map(Some)
}

fn policy(given: &LinuxMemoryPolicy) -> Result<MemoryPolicy> {
    use MemoryPolicyModeType::{MpolBind, MpolDefault, MpolLocal, MpolPreferred, MpolPreferredMany};
    const NODES: &str = "linux.memoryPolicy.nodes";
    const FLAG: &str = "linux.memoryPolicy.flags";
    let mode = given.mode();
    let nodes = Mask::parse(NODES, given.nodes().as_deref().unwrap_or_default())?;
    match mode {
        MpolDefault | MpolLocal if nodes.is_some() => return Err(InputError::new(NODES, format!("{mode} takes none"))),
        MpolDefault | MpolLocal | MpolPreferred => {}
        _ if nodes.is_none() => return Err(InputError::new(NODES, format!("{mode} needs at least one"))),
        _ => {}
    }
    let flags = given.flags().iter().flatten().fold(0, |flags, flag| flags | number(FLAGS, flag));
    let both = STATIC_NODES | RELATIVE_NODES;
    if flags & both == both {
        return Err(InputError::new(FLAG, "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other"));
    }
    if flags & both != 0 && nodes.is_none() {
        return Err(InputError::new(FLAG, "say what the nodes mean, and there are none"));
    }
    if flags & NUMA_BALANCING != 0 && !matches!(mode, MpolBind | MpolPreferredMany) {
        return Err(InputError::new(FLAG, "MPOL_F_NUMA_BALANCING is for MPOL_BIND and MPOL_PREFERRED_MANY alone"));
    }
    Ok(MemoryPolicy { mode: number(MODES, &mode) | flags, nodes })
}

fn number<T: PartialEq>(table: &[(T, u32)], name: &T) -> u32 {
    table.iter().find(|(known, _)| known == name).map_or(0, |(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error, spec};
    use super::*;
    use serde_json::{Value, json};

    fn with(policy: Value) -> Result<MemoryPolicy> {
        compile(&spec(json!({ "linux": { "memoryPolicy": policy } }))).map(Option::unwrap)
    }

    #[test]
    fn every_mode_and_flag_has_the_kernels_number() {
        for (mode, nodes, number) in [
            ("DEFAULT", "", 0),
            ("PREFERRED", "1", 1),
            ("PREFERRED", "", 1),
            ("BIND", "0-1", 2),
            ("INTERLEAVE", "0, 2", 3),
            ("LOCAL", "", 4),
            ("PREFERRED_MANY", "1", 5),
            ("WEIGHTED_INTERLEAVE", "1100", 6),
        ] {
            let policy = with(json!({ "mode": format!("MPOL_{mode}"), "nodes": nodes })).unwrap();
            assert_eq!(policy.mode, number, "{mode}");
            assert_eq!(policy.nodes.map_or_else(String::new, |mask| mask.to_string()), nodes.replace(' ', ""));
        }
        for (flag, bit) in [("NUMA_BALANCING", 0x2000), ("RELATIVE_NODES", 0x4000), ("STATIC_NODES", 0x8000)] {
            let flags = json!([format!("MPOL_F_{flag}")]);
            assert_eq!(with(json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": flags })).unwrap().mode, 2 | bit);
        }
        assert_eq!((mode_names().len(), flag_names().len()), (7, 3));
        assert_eq!(compile(&spec(json!({}))), Ok(None));
    }

    #[test]
    fn what_no_kernel_takes_is_refused_by_its_path() {
        let (stat, rel, numa) = ("MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES", "MPOL_F_NUMA_BALANCING");
        for (mode, nodes, flags, expected) in [
            ("DEFAULT", "0", json!([]), "nodes: MPOL_DEFAULT takes none"),
            ("LOCAL", "0", json!([]), "nodes: MPOL_LOCAL takes none"),
            ("BIND", "", json!([]), "nodes: MPOL_BIND needs at least one"),
            ("INTERLEAVE", " , ", json!([]), "nodes: MPOL_INTERLEAVE needs at least one"),
            ("BIND", "x", json!([]), "nodes: \"x\" is no number"),
            ("BIND", "0", json!([stat, rel]), "flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude"),
            ("PREFERRED", "", json!([rel]), "flags: say what the nodes mean"),
            ("INTERLEAVE", "0", json!([numa]), "flags: MPOL_F_NUMA_BALANCING is for MPOL_BIND"),
        ] {
            let text = error(with(json!({ "mode": format!("MPOL_{mode}"), "nodes": nodes, "flags": flags })));
            assert!(text.starts_with(&format!("linux.memoryPolicy.{expected}")), "{text}");
        }
    }
}
